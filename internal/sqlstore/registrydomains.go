package sqlstore

import (
	"context"
	"errors"
	"strings"

	"chancery/internal/ca"
	"chancery/internal/registry"
	"chancery/internal/sqldb"
)

// AddContact implements [registry.ContactStore].
func (s *Store) AddContact(ctx context.Context, c registry.ContactChange, event ca.Event) error {
	err := s.db.Batch(ctx, served(c.Customer), sqldb.Statement{
		SQL: `INSERT INTO customer_contacts (customer, address, added, verified, how) VALUES ($1, $2, $3, 0, '')
			ON CONFLICT (customer, address) DO UPDATE SET added = $3 WHERE customer_contacts.verified = 0`,
		Args: []any{c.Customer, c.Address, millis(event.At)}, Want: 1, Label: errStale,
	}, sqldb.Statement{
		SQL: `INSERT INTO letters (kind, subject, address, hashes, created, due, dies, tries, guesses, sent)
			VALUES ('code', $1, $2, $3, $4, $4, $5, 0, 0, 0)
			ON CONFLICT (kind, subject, address) DO UPDATE SET hashes = $3, created = $4, due = $4, dies = $5, tries = 0, guesses = 0, sent = 0`,
		Args: []any{c.Customer, c.Address, []byte{}, millis(event.At), millis(c.CodeUntil)}, Want: 1,
	}, record(event))
	if errors.Is(err, errStale) {
		return ca.Errorf(ca.Conflict, "the address is the customer's already, and verified")
	}
	return unserved(err)
}

// VerifyContact implements [registry.ContactStore].
func (s *Store) VerifyContact(ctx context.Context, c registry.ContactChange, event ca.Event) error {
	err := s.db.Batch(ctx, served(c.Customer), sqldb.Statement{
		SQL:  `UPDATE customer_contacts SET verified = $1, how = $2 WHERE customer = $3 AND address = $4 AND verified = 0`,
		Args: []any{millis(event.At), c.How, c.Customer, c.Address}, Want: 1, Label: errStale,
	}, sqldb.Statement{
		SQL:  `DELETE FROM letters WHERE kind = 'code' AND subject = $1 AND address = $2`,
		Args: []any{c.Customer, c.Address}, Want: sqldb.AnyRows,
	}, record(event))
	if errors.Is(err, errStale) {
		return ca.Errorf(ca.Conflict, "the customer has no such address that is not verified yet; add it first: chancery customer contact add")
	}
	return unserved(err)
}

// RemoveContact implements [registry.ContactStore].
func (s *Store) RemoveContact(ctx context.Context, c registry.ContactChange, event ca.Event) error {
	err := s.db.Batch(ctx, sqldb.Statement{
		SQL:  `DELETE FROM customer_contacts WHERE customer = $1 AND address = $2`,
		Args: []any{c.Customer, c.Address}, Want: 1, Label: errStale,
	}, sqldb.Statement{
		// Codes, questions that were not sent yet, and the links in those that were.
		SQL: `DELETE FROM letters WHERE address = $2 AND (kind = 'code' AND subject = $1
			OR kind = 'binding' AND subject IN (SELECT id FROM bindings WHERE customer = $1))`,
		Args: []any{c.Customer, c.Address}, Want: sqldb.AnyRows,
	}, record(event))
	if errors.Is(err, errStale) {
		return ca.Errorf(ca.NotFound, "the customer has no such address")
	}
	return refuse(err)
}

// CustomersByContact implements [registry.ContactStore].
func (s *Store) CustomersByContact(ctx context.Context, address string) ([]registry.Customer, error) {
	found, err := s.customers(ctx, ` WHERE suspended = 0 AND id IN (SELECT customer FROM customer_contacts WHERE address = $1 AND verified > 0)`, address)
	return found, refuse(err)
}

// GuessCode implements [registry.ContactStore].
func (s *Store) GuessCode(ctx context.Context, g registry.Guess) (hashes []byte, err error) {
	err = s.db.Batch(ctx, sqldb.Statement{
		SQL: `UPDATE letters SET guesses = guesses + 1
			WHERE kind = 'code' AND subject = $1 AND address = $2 AND dies > $3 AND guesses < $4 RETURNING hashes`,
		Args: []any{g.Customer, g.Address, millis(g.Now), g.Most}, Want: 1, Label: errStale,
		Scan: func(row sqldb.Row) error { return row.Scan(&hashes) },
	})
	if errors.Is(err, errStale) {
		return nil, ca.Errorf(ca.Denied, "there is no code to compare with: none was sent, it has ended, or there were too many tries; add the address again for another code")
	}
	return hashes, refuse(err)
}

const domainColumns = `customer, name, token, added, proven, expires, how`

// AddDomain implements [registry.DomainStore].
func (s *Store) AddDomain(ctx context.Context, d registry.Domain, event ca.Event) error {
	err := s.db.Batch(ctx, append([]sqldb.Statement{served(d.Customer), {
		SQL:  `INSERT INTO customer_domains (` + domainColumns + `) VALUES ($1, $2, $3, $4, 0, 0, '')`,
		Args: []any{d.Customer, d.Name, d.Token, millis(d.AddedAt)}, Want: 1, Label: errExists,
	}}, append(below(d), record(event))...)...)
	if errors.Is(err, errExists) {
		return ca.Errorf(ca.Conflict, "the customer has registered %s already", d.Name)
	}
	return unserved(err)
}

// below are the statements that note a domain under each name above it.
func below(d registry.Domain) (all []sqldb.Statement) {
	for _, above := range namesAbove(d.Name) {
		all = append(all, sqldb.Statement{
			SQL:  `INSERT INTO customer_domains_below (above, customer, name) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
			Args: []any{above, d.Customer, d.Name}, Want: sqldb.AnyRows,
		})
	}
	return all
}

func namesAbove(name string) (all []string) {
	for {
		_, above, more := strings.Cut(name, ".")
		if !more {
			return all
		}
		all, name = append(all, above), above
	}
}

// Domains implements [registry.DomainStore].
func (s *Store) Domains(ctx context.Context, customer string) ([]registry.Domain, error) {
	found, err := s.domains(ctx, ` WHERE customer = $1 ORDER BY added`, customer)
	return found, refuse(err)
}

// Domain implements [registry.DomainStore].
func (s *Store) Domain(ctx context.Context, customer, name string) (registry.Domain, error) {
	found, err := s.domains(ctx, ` WHERE customer = $1 AND name = $2`, customer, name)
	if err == nil && len(found) == 0 {
		err = sqldb.ErrNoRows
	}
	if err != nil {
		return registry.Domain{}, missing(err, "the customer has not registered this domain; see: chancery customer domain add")
	}
	return found[0], nil
}

func (s *Store) domains(ctx context.Context, where string, args ...any) ([]registry.Domain, error) {
	var found []registry.Domain
	err := s.db.Query(ctx, `SELECT `+domainColumns+` FROM customer_domains`+where, args, func(row sqldb.Row) error {
		var d registry.Domain
		var added, proven, expires int64
		err := row.Scan(&d.Customer, &d.Name, &d.Token, &added, &proven, &expires, &d.How)
		d.AddedAt, d.ProvenAt, d.Expires = instant(added), instant(proven), instant(expires)
		found = append(found, d)
		return err
	})
	return found, err
}

// ProveDomain implements [registry.DomainStore].
func (s *Store) ProveDomain(ctx context.Context, d registry.Domain, event ca.Event) error {
	err := s.db.Batch(ctx, served(d.Customer), sqldb.Statement{
		SQL:  `UPDATE customer_domains SET proven = $1, expires = $2, how = $3 WHERE customer = $4 AND name = $5 AND token = $6`,
		Args: []any{millis(d.ProvenAt), millis(d.Expires), d.How, d.Customer, d.Name, d.Token},
		Want: 1, Label: errStale,
	}, record(event))
	if errors.Is(err, errStale) {
		return ca.Errorf(ca.Conflict, "the domain was removed meanwhile")
	}
	return unserved(err)
}

// RemoveDomain implements [registry.DomainStore].
func (s *Store) RemoveDomain(ctx context.Context, d registry.Domain, event ca.Event) error {
	above := append(namesAbove(d.Name), "") // the last is above none
	err := s.db.Batch(ctx, sqldb.Statement{
		SQL:  `DELETE FROM customer_domains WHERE customer = $1 AND name = $2`,
		Args: []any{d.Customer, d.Name}, Want: 1, Label: errStale,
	}, sqldb.Statement{
		SQL: `DELETE FROM customer_domains_below WHERE customer = $1 AND name = $2 AND above IN
			(` + marks(3, len(above)) + `)`,
		Args: append([]any{d.Customer, d.Name}, anys(above)...), Want: sqldb.AnyRows,
	}, record(event))
	if errors.Is(err, errStale) {
		return ca.Errorf(ca.NotFound, "the customer has not registered this domain")
	}
	return refuse(err)
}

// Holders implements [registry.DomainStore].
func (s *Store) Holders(ctx context.Context, q registry.HolderQuery) ([]registry.Holder, error) {
	var c conditions
	known := `CAST(0 AS BIGINT)`
	if len(q.Contacts) > 0 {
		known = `(SELECT COUNT(*) FROM customer_contacts a WHERE a.customer = k.id AND a.verified > 0 AND a.address IN (` + c.list(q.Contacts) + `))`
	}
	query := `SELECT k.id, k.suspended, ` + known + ` FROM customers k WHERE k.id IN (SELECT d.customer FROM customer_domains d
		WHERE d.name IN (` + c.list(q.Names) + `) AND d.proven > 0
		AND (d.expires > ` + c.next(millis(q.Now)) + ` OR k.suspended > 0 AND d.expires > k.suspended))`
	var found []registry.Holder
	err := s.db.Query(ctx, query, c.args, func(row sqldb.Row) error {
		var h registry.Holder
		var suspended, contacts int64
		err := row.Scan(&h.Customer, &suspended, &contacts)
		h.Suspended, h.Known = suspended > 0, contacts > 0
		found = append(found, h)
		return err
	})
	if err != nil || q.Above == "" {
		return found, refuse(err)
	}
	err = s.db.Query(ctx, `SELECT k.id, k.suspended, d.name FROM customer_domains_below b
		JOIN customer_domains d ON d.customer = b.customer AND d.name = b.name JOIN customers k ON k.id = d.customer
		WHERE b.above = $1 AND d.proven > 0 AND (d.expires > $2 OR k.suspended > 0 AND d.expires > k.suspended) LIMIT $3`,
		[]any{q.Above, millis(q.Now), registry.MostBelow}, func(row sqldb.Row) error {
			var h registry.Holder
			var suspended int64
			err := row.Scan(&h.Customer, &suspended, &h.Below)
			h.Suspended = suspended > 0
			found = append(found, h)
			return err
		})
	return found, refuse(err)
}

// list gives the placeholders of so many arguments more, one at least.
func (c *conditions) list(values []string) string {
	marks := make([]string, 0, len(values))
	for _, v := range values {
		marks = append(marks, c.next(v))
	}
	return strings.Join(marks, ", ")
}
