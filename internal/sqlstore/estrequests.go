package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"chancery/internal/ca"
	"chancery/internal/estserver"
	"chancery/internal/sqldb"
)

const pendingColumns = `id, digest, label, operation, identity, subject, names, key_hash, csr, password, address,
	state, reason, room, actor, created, decided, expires, attempts, passphrase`

// Labels of what can stand against an EST request.
var (
	errBound   = errors.New("one-time password bound elsewhere")
	errTooMany = errors.New("too many undecided")
)

func scanPending(row sqldb.Row, p *estserver.Pending) error {
	var names string
	var created, decided, expires int64
	err := row.Scan(&p.ID, &p.Digest, &p.Label, &p.Operation, &p.Identity, &p.Subject, &names, &p.KeyHash, &p.CSR, &p.Password, &p.Address,
		&p.State, &p.Reason, &p.DecidedBy.Room, &p.DecidedBy.ID, &created, &decided, &expires, &p.Attempts, &p.Passphrase)
	if err != nil {
		return err
	}
	p.Created, p.Decided, p.Expires = instant(created), instant(decided), instant(expires)
	p.Names, err = splitNames(names)
	return err
}

// Request implements [estserver.Requests].
func (s *Store) Request(ctx context.Context, digest []byte) (estserver.Pending, error) {
	return s.pending(ctx, `digest = $1`, digest)
}

// RequestByID implements [estserver.Requests].
func (s *Store) RequestByID(ctx context.Context, id string) (estserver.Pending, error) {
	return s.pending(ctx, `id = $1`, id)
}

func (s *Store) pending(ctx context.Context, which string, arg any) (estserver.Pending, error) {
	found, err := s.pendings(ctx, ` WHERE `+which, arg)
	if err == nil && len(found) == 0 {
		err = sqldb.ErrNoRows
	}
	if err != nil {
		return estserver.Pending{}, missing(err, "there is no such request; see: chancery est requests")
	}
	return found[0], nil
}

func (s *Store) pendings(ctx context.Context, rest string, args ...any) ([]estserver.Pending, error) {
	var found []estserver.Pending
	err := s.db.Query(ctx, `SELECT `+pendingColumns+` FROM est_requests`+rest, args, func(row sqldb.Row) error {
		var p estserver.Pending
		err := scanPending(row, &p)
		found = append(found, p)
		return err
	})
	return found, err
}

// AddRequest implements [estserver.Requests]. One of the same digest that has run
// out makes room for the new one.
func (s *Store) AddRequest(ctx context.Context, p estserver.Pending, limit int, e ca.Event) (estserver.Pending, error) {
	batch := append(makeRoom(p), sqldb.Statement{
		// Its row stays locked until the commit, so that no two count at a time.
		SQL:  `INSERT INTO est_askers (identity, turn) VALUES ($1, 1) ON CONFLICT (identity) DO UPDATE SET turn = est_askers.turn + 1`,
		Args: []any{p.Identity}, Want: 1,
	}, sqldb.Statement{
		SQL: `UPDATE est_askers SET turn = turn + 1 WHERE identity = $1 AND
			(SELECT COUNT(*) FROM est_requests WHERE identity = $1 AND state = 'pending' AND expires > CAST($2 AS BIGINT) AND digest <> $3) < CAST($4 AS BIGINT)`,
		Args: []any{p.Identity, millis(p.Created), p.Digest, limit}, Want: 1, Label: errTooMany,
	}, sqldb.Statement{
		SQL: `INSERT INTO est_requests (` + pendingColumns + `)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'pending', '', '', '', $12, 0, $13, 0, $14)`,
		Args: []any{p.ID, p.Digest, p.Label, p.Operation, p.Identity, p.Subject, joinNames(p.Names), p.KeyHash, p.CSR,
			p.Password, p.Address, millis(p.Created), millis(p.Expires), p.Passphrase},
		Want: 1, Label: errExists,
	})
	if p.Password != "" {
		batch = append(batch, sqldb.Statement{
			SQL:  `UPDATE est_credentials SET request = $1 WHERE id = $2 AND one_time = 1 AND (request = '' OR request = $1)`,
			Args: []any{p.ID, []byte(p.Password)}, Want: 1, Label: errBound,
		})
	}
	err := s.db.Batch(ctx, append(batch, record(e))...)
	switch {
	case errors.Is(err, errExists), errors.Is(err, errTooMany):
		stored, lookup := s.Request(ctx, p.Digest)
		if lookup == nil && stored.Expires.After(p.Created) {
			return stored, nil
		}
		if lookup != nil && ca.KindOf(lookup) != ca.NotFound {
			return estserver.Pending{}, lookup
		}
		if errors.Is(err, errExists) {
			return estserver.Pending{}, ca.Errorf(ca.Unavailable, "the request was withdrawn at the same moment; send it again")
		}
		return estserver.Pending{}, &ca.Error{Kind: ca.Limited, RetryAfter: time.Hour,
			Detail: fmt.Sprintf("%d requests of yours wait for a decision, and no more may; ask again when they are decided", limit)}
	case errors.Is(err, errBound):
		return estserver.Pending{}, ca.Errorf(ca.Conflict, "the one-time password belongs to another request; ask for another one")
	case err != nil:
		return estserver.Pending{}, refuse(err)
	}
	p.State = estserver.Undecided
	return p, nil
}

// makeRoom removes what has the digest of a new request and has run out.
func makeRoom(p estserver.Pending) []sqldb.Statement {
	const old = ` WHERE digest = $1 AND expires <= $2`
	args := []any{p.Digest, millis(p.Created)}
	return []sqldb.Statement{
		freePasswords(`SELECT id FROM est_requests`+old, args...),
		{SQL: `DELETE FROM est_requests` + old, Args: args, Want: sqldb.AnyRows},
	}
}

// freePasswords is the statement that unbinds the one-time passwords of the requests
// whose ids a query gives. That one is spent is the ledger's to say.
func freePasswords(ids string, args ...any) sqldb.Statement {
	return sqldb.Statement{
		SQL:  `UPDATE est_credentials SET request = '' WHERE request <> '' AND request IN (` + ids + `)`,
		Args: args, Want: sqldb.AnyRows,
	}
}

// DecideRequest implements [estserver.Requests]. A refusal gives the one-time
// password back, as no certificate will come of it.
func (s *Store) DecideRequest(ctx context.Context, d estserver.Decision, e ca.Event) (estserver.Pending, error) {
	var p estserver.Pending
	batch := []sqldb.Statement{{
		SQL: `UPDATE est_requests SET state = $1, reason = $2, room = $3, actor = $4, decided = $5, expires = $6
			WHERE id = $7 AND state = 'pending' AND expires > $5 RETURNING ` + pendingColumns,
		Args: []any{string(d.State), d.Reason, d.By.Room, d.By.ID, millis(d.At), millis(d.Expires), d.ID}, Want: 1, Label: errStale,
		Scan: func(row sqldb.Row) error { return scanPending(row, &p) },
	}}
	if d.State == estserver.Refused {
		batch = append(batch, freePasswords(`$1`, d.ID))
	}
	err := s.db.Batch(ctx, append(batch, record(e))...)
	if errors.Is(err, errStale) {
		was, err := s.RequestByID(ctx, d.ID)
		switch {
		case err != nil:
			return estserver.Pending{}, err
		case was.State != estserver.Undecided:
			return was, ca.Errorf(ca.Conflict, "the request was decided before: %s", was.State)
		}
		return was, ca.Errorf(ca.Conflict, "the request has expired; who asked must ask again")
	}
	return p, refuse(err)
}

// CountDelivery implements [estserver.Requests].
func (s *Store) CountDelivery(ctx context.Context, id string, attempts int) error {
	err := s.db.Batch(ctx, sqldb.Statement{
		SQL:  `UPDATE est_requests SET attempts = attempts + 1 WHERE id = $1 AND attempts = $2`,
		Args: []any{id, attempts}, Want: 1, Label: errStale,
	})
	if errors.Is(err, errStale) {
		return ca.Errorf(ca.Conflict, "another connection is answering this request; ask again in a moment")
	}
	return refuse(err)
}

// ListRequests implements [estserver.Requests].
func (s *Store) ListRequests(ctx context.Context, q estserver.RequestQuery) ([]estserver.Pending, string, error) {
	var c conditions
	switch {
	case q.State == estserver.Undecided:
		c.add(`state = 'pending' AND expires > %s`, millis(q.Now))
	case q.State != "":
		c.add(`state = %s`, string(q.State))
	}
	if q.Label != nil {
		c.add(`label = %s`, *q.Label)
	}
	return page(paging{cursor: q.Cursor, limit: q.Limit, key: "digest", only: &c}, func(rest string) ([]estserver.Pending, error) {
		return s.pendings(ctx, rest, c.args...)
	}, func(p *estserver.Pending) place { return place{millis(p.Created), p.Digest} })
}
