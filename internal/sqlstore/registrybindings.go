package sqlstore

import (
	"context"
	"errors"
	"strconv"
	"time"

	"chancery/internal/ca"
	"chancery/internal/registry"
	"chancery/internal/sqldb"
)

// errUnverified marks a binding by mail to an address that is not, or not known
// to be, the customer's.
var errUnverified = errors.New("address not verified")

const bindingColumns = `id, account, account_url, customer, via, domain, contact, thumb, state,
	asked, expires, decided, room, actor, reason, told`

// Ask implements [registry.BindingStore].
func (s *Store) Ask(ctx context.Context, q registry.Question, event ca.Event) error {
	b := &q.Binding
	batch := []sqldb.Statement{served(b.Customer), {
		SQL:  `UPDATE bindings SET state = 'expired' WHERE account = $1 AND customer = $2 AND state = 'pending' AND expires <= $3`,
		Args: []any{b.Account, b.Customer, millis(b.AskedAt)}, Want: sqldb.AnyRows,
	}, insertBinding(q), askByMail(b), record(event)}
	err := s.db.Batch(ctx, batch...)
	switch {
	case errors.Is(err, errUnverified):
		return ca.Errorf(ca.Denied, "the address is not, or not known to be, the customer's")
	case errors.Is(err, errStale):
		return ca.Errorf(ca.Conflict, "the question is open, was refused lately, or there were too many")
	}
	return unserved(err)
}

// insertBinding asks only where nothing stands against it: no open question of
// the same account, which the index bindings_open sees, no refusal lately, and
// not too many questions.
func insertBinding(q registry.Question) sqldb.Statement {
	b := &q.Binding
	return sqldb.Statement{
		SQL: `INSERT INTO bindings (` + bindingColumns + `)
			SELECT $1, $2, $3, $4, $5, $6, $7, $8, 'pending', CAST($9 AS BIGINT), CAST($10 AS BIGINT), 0, '', '', '', 0
			WHERE NOT EXISTS (SELECT 1 FROM bindings WHERE account = $2 AND customer = $4 AND state IN ('refused', 'ended') AND decided > CAST($11 AS BIGINT))
			AND (SELECT COUNT(*) FROM bindings WHERE customer = $4 AND via = $5 AND asked > CAST($12 AS BIGINT)) < CAST($13 AS BIGINT)
			AND ($5 <> 'mail' OR (SELECT COUNT(*) FROM bindings WHERE contact = $7 AND via = 'mail' AND asked > CAST($12 AS BIGINT)) < CAST($14 AS BIGINT))`,
		Args: []any{b.ID, b.Account, b.AccountURL, b.Customer, string(b.Via), b.Domain, b.Contact, b.Thumbprint,
			millis(b.AskedAt), millis(b.ExpiresAt), millis(q.RefusedSince), millis(q.Since), q.PerCustomer, q.PerContact},
		Want: 1, Label: errStale,
	}
}

// askByMail puts letters beside the question: to the claimed address if the claim
// is all there is, else to all of the customer's.
func askByMail(b *registry.Binding) sqldb.Statement {
	st := sqldb.Statement{
		SQL: `INSERT INTO letters (kind, subject, address, hashes, created, due, dies, tries, guesses, sent)
			SELECT 'binding', $1, address, $2, CAST($3 AS BIGINT), CAST($3 AS BIGINT), CAST($4 AS BIGINT), 0, 0, 0
			FROM customer_contacts WHERE customer = $5 AND verified > 0`,
		Args: []any{b.ID, []byte{}, millis(b.AskedAt), millis(b.ExpiresAt), b.Customer}, Want: sqldb.AnyRows,
	}
	if b.Via == registry.ViaMail {
		st.SQL += ` AND address = $6`
		st.Args = append(st.Args, b.Contact)
		st.Want, st.Label = 1, errUnverified
	}
	return st
}

// Binding implements [registry.BindingStore].
func (s *Store) Binding(ctx context.Context, id string) (registry.Binding, error) {
	found, err := s.bindings(ctx, ` WHERE b.id = $1`, id)
	if err == nil && len(found) == 0 {
		err = sqldb.ErrNoRows
	}
	if err != nil {
		return registry.Binding{}, missing(err, "there is no such binding; see: chancery binding list")
	}
	return found[0], nil
}

// Bindings implements [registry.BindingStore].
func (s *Store) Bindings(ctx context.Context, q registry.BindingQuery) ([]registry.Binding, error) {
	var c conditions
	for column, value := range map[string]string{"b.account": q.Account, "b.customer": q.Customer} {
		if value != "" {
			c.add(column+` = %s`, value)
		}
	}
	switch q.State {
	case "":
	case registry.Pending:
		c.add(`b.state = 'pending' AND b.expires > %s`, millis(q.Now))
	case registry.TimedOut:
		c.add(`(b.state = 'expired' OR b.state = 'pending' AND b.expires <= %s)`, millis(q.Now))
	default:
		c.add(`b.state = %s`, string(q.State))
	}
	c.args = append(c.args, q.Limit)
	found, err := s.bindings(ctx, c.where()+` ORDER BY b.asked DESC LIMIT $`+strconv.Itoa(len(c.args)), c.args...)
	return found, refuse(err)
}

func (s *Store) bindings(ctx context.Context, where string, args ...any) ([]registry.Binding, error) {
	var found []registry.Binding
	query := `SELECT b.id, b.account, b.account_url, b.customer, b.via, b.domain, b.contact, b.thumb, b.state,
			b.asked, b.expires, b.decided, b.room, b.actor, b.reason, b.told, COALESCE(c.name, ''), COALESCE(c.suspended, 0)
		FROM bindings b LEFT JOIN customers c ON c.id = b.customer`
	err := s.db.Query(ctx, query+where, args, func(row sqldb.Row) error {
		var b registry.Binding
		err := scanBinding(row, &b)
		found = append(found, b)
		return err
	})
	return found, err
}

func scanBinding(row sqldb.Row, b *registry.Binding, more ...any) error {
	var asked, expires, decided, told, suspended int64
	err := row.Scan(append([]any{&b.ID, &b.Account, &b.AccountURL, &b.Customer, &b.Via, &b.Domain, &b.Contact, &b.Thumbprint, &b.State,
		&asked, &expires, &decided, &b.DecidedBy.Room, &b.DecidedBy.ID, &b.Reason, &told, &b.CustomerName, &suspended}, more...)...)
	b.AskedAt, b.ExpiresAt, b.DecidedAt, b.ToldAt, b.Suspended = instant(asked), instant(expires), instant(decided), instant(told), suspended > 0
	return err
}

// Decide implements [registry.BindingStore].
func (s *Store) Decide(ctx context.Context, b registry.Binding, event ca.Event) error {
	batch := []sqldb.Statement{{
		SQL: `UPDATE bindings SET state = $1, decided = $2, room = $3, actor = $4, reason = $5
			WHERE id = $6 AND state = 'pending' AND expires > $2`,
		Args: []any{string(b.State), millis(b.DecidedAt), b.DecidedBy.Room, b.DecidedBy.ID, b.Reason, b.ID}, Want: 1, Label: errStale,
	}, {
		// A letter that may be on its way keeps its tokens, so that its link can say what was decided.
		SQL:  `UPDATE letters SET sent = $1 WHERE kind = 'binding' AND subject = $2 AND sent = 0`,
		Args: []any{millis(b.DecidedAt), b.ID}, Want: sqldb.AnyRows,
	}, record(event)}
	if b.State == registry.Confirmed {
		batch = append([]sqldb.Statement{served(b.Customer)}, batch...)
	}
	err := s.db.Batch(ctx, batch...)
	if errors.Is(err, errStale) {
		return ca.Errorf(ca.Conflict, "the binding is not open any more")
	}
	return unserved(err)
}

// EndBinding implements [registry.BindingStore].
func (s *Store) EndBinding(ctx context.Context, b registry.Binding, event ca.Event) error {
	err := s.db.Batch(ctx, sqldb.Statement{
		SQL: `UPDATE bindings SET state = $1, decided = $2, room = $3, actor = $4, reason = $5
			WHERE id = $6 AND state = 'confirmed'`,
		Args: []any{string(b.State), millis(b.DecidedAt), b.DecidedBy.Room, b.DecidedBy.ID, b.Reason, b.ID}, Want: 1, Label: errStale,
	}, record(event))
	if errors.Is(err, errStale) {
		return ca.Errorf(ca.Conflict, "the binding is not confirmed, or not any more")
	}
	return refuse(err)
}

// DueLetters implements [registry.LetterStore].
func (s *Store) DueLetters(ctx context.Context, now time.Time, limit int) ([]registry.Due, error) {
	var found []registry.Due
	query := `SELECT COALESCE(b.id, ''), COALESCE(b.account, ''), COALESCE(b.account_url, ''), COALESCE(b.customer, ''), COALESCE(b.via, ''),
			COALESCE(b.domain, ''), COALESCE(b.contact, ''), COALESCE(b.thumb, ''), COALESCE(b.state, ''), COALESCE(b.asked, 0),
			COALESCE(b.expires, 0), COALESCE(b.decided, 0), COALESCE(b.room, ''), COALESCE(b.actor, ''), COALESCE(b.reason, ''),
			COALESCE(b.told, 0), COALESCE(c.name, ''), COALESCE(c.suspended, 0),
			l.kind, l.subject, l.address, l.hashes, l.due, l.dies, l.tries
		FROM letters l LEFT JOIN bindings b ON l.kind = 'binding' AND b.id = l.subject
			LEFT JOIN customers c ON c.id = CASE WHEN l.kind = 'binding' THEN b.customer ELSE l.subject END
		WHERE l.sent = 0 AND l.due <= $1 AND l.dies > $1 AND COALESCE(c.suspended, 0) = 0 ORDER BY l.due LIMIT $2`
	err := s.db.Query(ctx, query, []any{millis(now), limit}, func(row sqldb.Row) error {
		var d registry.Due
		var due, dies int64
		err := scanBinding(row, &d.Binding, &d.Kind, &d.Subject, &d.Address, &d.Hashes, &due, &dies, &d.Tries)
		d.At, d.Dies = instant(due), instant(dies)
		found = append(found, d)
		return err
	})
	return found, refuse(err)
}

const thisLetter = ` WHERE kind = $1 AND subject = $2 AND address = $3`

// ClaimLetter implements [registry.LetterStore].
func (s *Store) ClaimLetter(ctx context.Context, was, next registry.Due) error {
	err := s.db.Batch(ctx, sqldb.Statement{
		SQL:  `UPDATE letters SET hashes = $4, due = $5, tries = $6` + thisLetter + ` AND sent = 0 AND due = $7 AND tries = $8`,
		Args: []any{was.Kind, was.Subject, was.Address, next.Hashes, millis(next.At), next.Tries, millis(was.At), was.Tries},
		Want: 1, Label: errStale,
	})
	if errors.Is(err, errStale) {
		return ca.Errorf(ca.Conflict, "somebody else sends the letter, or it is not wanted any more")
	}
	return refuse(err)
}

// LetterSent implements [registry.LetterStore].
func (s *Store) LetterSent(ctx context.Context, d registry.Due, event ca.Event) error {
	return refuse(s.db.Batch(ctx, sqldb.Statement{
		SQL:  `UPDATE letters SET sent = $4` + thisLetter + ` AND sent = 0`,
		Args: []any{d.Kind, d.Subject, d.Address, millis(event.At)}, Want: sqldb.AnyRows,
	}, sqldb.Statement{
		SQL:  `UPDATE bindings SET told = $1 WHERE id = $2 AND told = 0`,
		Args: []any{millis(event.At), d.Binding.ID}, Want: sqldb.AnyRows,
	}, record(event)))
}

// LetterHashes implements [registry.LetterStore].
func (s *Store) LetterHashes(ctx context.Context, kind, subject string) ([][]byte, error) {
	var all [][]byte
	err := s.db.Query(ctx, `SELECT hashes FROM letters WHERE kind = $1 AND subject = $2`, []any{kind, subject}, func(row sqldb.Row) error {
		var hashes []byte
		err := row.Scan(&hashes)
		all = append(all, hashes)
		return err
	})
	return all, refuse(err)
}

// SweepLetters implements [registry.LetterStore].
func (s *Store) SweepLetters(ctx context.Context, before time.Time) error {
	_, err := s.db.Exec(ctx, `DELETE FROM letters WHERE dies < $1`, millis(before))
	return refuse(err)
}
