// Package sqlstore keeps every table, one file for each room: it fits the
// rooms' and the core's storage interfaces onto sqldb's two engines with one
// text of SQL. It decides nothing: what a row means is its room's business.
package sqlstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"chancery/internal/acmeserver"
	"chancery/internal/ca"
	"chancery/internal/sqldb"
)

// Store is the one implementation of all storage interfaces.
type Store struct {
	db        *sqldb.DB
	standings standings
}

// New gives a store on an open database whose migrations ran.
func New(db *sqldb.DB) *Store { return &Store{db: db} }

// Labels of conflicts, found by errors.Is after a failed batch.
var (
	errSpent  = errors.New("single-use token spent before")
	errExists = errors.New("row exists")
	errStale  = errors.New("row changed meanwhile")
	errEnded  = errors.New("a ground of the act has ended")
	errGround = errors.New("the act rests on a ground of a kind that the store does not know")
)

// spend are the statements that spend a single-use token and see that what the act rests
// on still stands; with none, nothing.
func spend(o *ca.Once) []sqldb.Statement {
	if o == nil {
		return nil
	}
	return append([]sqldb.Statement{{
		SQL:  `INSERT INTO spent (token, expires) VALUES ($1, $2)`,
		Args: []any{o.ID, millis(o.Expires)}, Want: 1, Label: errSpent,
	}}, standing(o.Grounds)...)
}

// grounds are the tables of the grounds that acts rest on, by kind, in the order in which
// rows are held.
var grounds = []struct{ kind, table string }{
	{acmeserver.GroundAccount, "acme_accounts"}, {acmeserver.GroundAuthorization, "authorizations"},
}

// standing are the statements that see that all grounds stand, one for each kind. Of an
// unknown kind nobody can tell, so no act rests on it: its statement never holds.
func standing(on []ca.Ground) (all []sqldb.Statement) {
	byKind := map[string][]string{}
	for _, g := range on {
		byKind[g.Kind] = append(byKind[g.Kind], g.ID)
	}
	for _, of := range grounds {
		ids := byKind[of.kind]
		delete(byKind, of.kind)
		slices.Sort(ids)
		if ids = slices.Compact(ids); len(ids) > 0 {
			all = append(all, sqldb.Statement{
				SQL:  `SELECT id FROM ` + of.table + ` WHERE status = 'valid' AND id IN (` + marks(1, len(ids)) + `)`,
				Args: anys(ids), Want: int64(len(ids)), Label: errEnded, Hold: true, Scan: func(sqldb.Row) error { return nil },
			})
		}
	}
	for kind := range byKind {
		all = append(all, sqldb.Statement{
			SQL: `SELECT id FROM acme_accounts WHERE 1 = 0`, Want: 1, Label: fmt.Errorf("%w: %q", errGround, kind),
			Scan: func(sqldb.Row) error { return nil },
		})
	}
	return all
}

// record is the statement that writes an event.
func record(e ca.Event) sqldb.Statement {
	var detail []byte
	if len(e.Detail) > 0 {
		detail, _ = json.Marshal(e.Detail) // a map of strings always encodes
	}
	return sqldb.Statement{
		SQL:  `INSERT INTO events (id, at, kind, room, actor, subject, detail) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		Args: []any{e.ID, millis(e.At), e.Kind, e.By.Room, e.By.ID, e.Subject, string(detail)}, Want: 1,
	}
}

// millis is how times are stored: Unix milliseconds, 0 for none.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// instant reads what millis wrote.
func instant(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// refuse maps the engines' errors that every write can meet to the core's
// error; others pass as they are.
func refuse(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errSpent):
		return &ca.Error{Kind: ca.Replayed, Detail: "this request was made before; make it again with a fresh nonce"}
	case errors.Is(err, errEnded):
		return &ca.Error{Kind: ca.Denied, Detail: "the account, or an authorization of the order, was ended meanwhile", Err: ca.ErrEnded}
	case errors.Is(err, sqldb.ErrUnavailable), errors.Is(err, sqldb.ErrBusy), errors.Is(err, sqldb.ErrUncertain):
		return &ca.Error{Kind: ca.Unavailable, Detail: "the database does not answer; try again in a moment", RetryAfter: 5 * time.Second, Err: err}
	}
	return err
}

// missing turns "no rows" into the core's NotFound with the given words.
func missing(err error, words string) error {
	if errors.Is(err, sqldb.ErrNoRows) {
		return &ca.Error{Kind: ca.NotFound, Detail: words}
	}
	return refuse(err)
}
