package sqldb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"time"
)

const migrationTable = `CREATE TABLE IF NOT EXISTS schema_migrations (
	number BIGINT NOT NULL PRIMARY KEY,
	name TEXT NOT NULL,
	checksum TEXT NOT NULL,
	applied BIGINT NOT NULL
)`

// Migration is one step of the schema. Steps only add: a release serves its own
// schema N and the one before, so that replicas can be replaced one by one.
type Migration struct {
	Number int      // 1, 2, 3 … without a gap
	Name   string   // for people
	SQL    []string // run in order, in one transaction; never changed once released
}

// checksum covers the SQL only: a better name is no change of the schema.
func (m Migration) checksum() string {
	h := sha256.New()
	for _, s := range m.SQL {
		fmt.Fprintf(h, "%d:", len(s))
		io.WriteString(h, s)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Migrate brings the schema forward: each missing migration in a transaction of
// its own, recorded in schema_migrations, one replica at a time. It may be called
// at every start. ErrSchema is returned, and nothing changed, if a migration was
// edited after it had been applied or the schema is more than one ahead.
func (db *DB) Migrate(ctx context.Context, migrations []Migration) error {
	for i, m := range migrations {
		if m.Number != i+1 {
			return fmt.Errorf("%w: migration %q has number %d where %d is due", ErrSchema, m.Name, m.Number, i+1)
		}
	}
	for {
		more := false
		err := db.engine.exclusive(ctx, func(tx transaction) error {
			var err error
			more, err = migrateOne(tx, migrations)
			return err
		})
		if err != nil || !more {
			return err
		}
	}
}

// migrateOne applies the first missing migration and reports whether others remain.
func migrateOne(tx transaction, migrations []Migration) (more bool, err error) {
	for _, table := range []string{migrationTable, leaseTable} {
		if _, err := tx.exec(table); err != nil {
			return false, err
		}
	}
	applied, err := checkApplied(tx, migrations)
	if err != nil || applied >= len(migrations) {
		return false, err
	}
	m := migrations[applied]
	for i, s := range m.SQL {
		if _, err := tx.exec(s); err != nil {
			return false, fmt.Errorf("migration %d (%s), statement %d: %w", m.Number, m.Name, i+1, err)
		}
	}
	_, err = tx.exec(`INSERT INTO schema_migrations (number, name, checksum, applied) VALUES ($1, $2, $3, $4)`,
		int64(m.Number), m.Name, m.checksum(), time.Now().UnixMilli())
	return applied+1 < len(migrations), err
}

// checkApplied compares the record with what this program knows and returns how
// many migrations the schema has.
func checkApplied(tx transaction, migrations []Migration) (int, error) {
	applied := 0
	err := tx.query(read{
		sql: `SELECT number, name, checksum FROM schema_migrations ORDER BY number`,
		scan: func(r Row) error {
			var number int
			var name, sum string
			if err := r.Scan(&number, &name, &sum); err != nil {
				return err
			}
			applied++
			if number != applied {
				return fmt.Errorf("%w: schema_migrations has %d where %d is due: the record was edited; restore it from a backup", ErrSchema, number, applied)
			}
			if number <= len(migrations) && sum != migrations[number-1].checksum() {
				return fmt.Errorf("%w: migration %d (%s) was applied in another form than this program knows: run the release that made this database, or restore a backup", ErrSchema, number, name)
			}
			return nil
		},
	})
	if err != nil {
		return 0, err
	}
	if applied > len(migrations)+1 {
		return 0, fmt.Errorf("%w: the database has schema %d, this program serves %d and %d: install the release that the database was last used with, or a newer one", ErrSchema, applied, len(migrations), len(migrations)+1)
	}
	return applied, nil
}
