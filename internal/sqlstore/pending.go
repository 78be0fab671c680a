package sqlstore

import (
	"context"
	"errors"
	"time"

	"chancery/internal/acmeserver"
	"chancery/internal/ca"
	"chancery/internal/sqldb"
)

// pendingSchema counts what an account has under way.
var pendingSchema = []string{
	`CREATE INDEX authorizations_pending ON authorizations (account, expires) WHERE status = 'pending'`,
}

// errCrowded labels the conflict of a batch that would give an account more pending
// authorisations than it may have.
var errCrowded = errors.New("too many pending authorizations")

// room is the statement that lets a batch add authorisations, at least one, to their
// account only if no more than the write's most are pending then. It looks at as many
// index entries at most.
func room(fresh []acmeserver.Authorization, w acmeserver.Write) sqldb.Statement {
	return sqldb.Statement{
		SQL: `SELECT 1 FROM (SELECT COUNT(*) AS n FROM (SELECT expires FROM authorizations
			WHERE status = 'pending' AND account = $1 AND expires > $2 LIMIT $3) AS found) AS pending WHERE n < $3`,
		Args: []any{fresh[0].Account, millis(w.Event.At), max(w.MostPending-len(fresh)+1, 0)}, Want: 1, Label: errCrowded,
		Scan: func(sqldb.Row) error { return nil },
	}
}

// crowded is the refusal of such a batch, with when there will be room if the account
// does nothing about it.
func (s *Store) crowded(ctx context.Context, fresh []acmeserver.Authorization, w acmeserver.Write) error {
	e := &ca.Error{Kind: ca.Limited}
	if len(fresh) > w.MostPending {
		e.Detail = "the names need more authorizations than an account may have pending at once; make several orders, one after the other"
		return e
	}
	e.Detail = "this account has too many pending authorizations: meet their challenges, deactivate those that are not needed, or wait until they expire"
	now := w.Event.At
	var expires int64
	err := s.db.One(ctx, `SELECT expires FROM authorizations WHERE status = 'pending' AND account = $1 AND expires > $2
		ORDER BY expires DESC LIMIT 1 OFFSET $3`, []any{fresh[0].Account, millis(now), w.MostPending - len(fresh)}, &expires)
	switch {
	case errors.Is(err, sqldb.ErrNoRows): // some were met meanwhile
		e.RetryAfter = time.Second
	case err != nil:
		return refuse(err)
	default:
		e.RetryAfter = instant(expires).Sub(now)
	}
	return e
}
