package sqldb

import (
	"context"
	"errors"
	"time"
)

const leaseTable = `CREATE TABLE IF NOT EXISTS leases (
	name TEXT NOT NULL PRIMARY KEY,
	holder TEXT NOT NULL,
	expires BIGINT NOT NULL
)`

// Lease is a claim to do some named work alone for a while.
type Lease struct {
	Name   string        // of the work
	Holder string        // who asks; different for each process
	For    time.Duration // from Now; until then nobody else gets it
	Now    time.Time     // the caller's clock; replicas' clocks must agree to well within For
}

// Lease takes the lease if it is free, expired or the holder's own already, and
// reports whether the holder has it now. Its table is made by Migrate.
func (db *DB) Lease(ctx context.Context, l Lease) (bool, error) {
	if l.Name == "" || l.Holder == "" || l.For <= 0 {
		return false, errors.New("sqldb: a lease needs a name, a holder and a time")
	}
	w := &work{statements: []Statement{{
		SQL: `INSERT INTO leases (name, holder, expires) VALUES ($1, $2, $3)
			ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires = excluded.expires
			WHERE leases.holder = excluded.holder OR leases.expires <= $4`,
		Args: []any{l.Name, l.Holder, l.Now.Add(l.For).UnixMilli(), l.Now.UnixMilli()},
		Want: AnyRows,
	}}}
	if err := db.submit(ctx, w); err != nil {
		return false, err
	}
	return w.affected[0] == 1, nil
}

// Release gives the lease back if the holder still has it; otherwise it does nothing.
func (db *DB) Release(ctx context.Context, name, holder string) error {
	return db.submit(ctx, &work{statements: []Statement{{
		SQL:  `DELETE FROM leases WHERE name = $1 AND holder = $2`,
		Args: []any{name, holder},
		Want: AnyRows,
	}}})
}
