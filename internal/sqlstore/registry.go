package sqlstore

import (
	"context"
	"errors"
	"time"

	"chancery/internal/ca"
	"chancery/internal/registry"
	"chancery/internal/sqldb"
)

// registrySchema holds external account keys. Their secrets are sealed under a
// key that is not in the database: who reads the table cannot open an account.
var registrySchema = []string{
	`CREATE TABLE external_keys (
		id TEXT NOT NULL PRIMARY KEY, label TEXT NOT NULL, sealed BYTEA NOT NULL,
		room TEXT NOT NULL, actor TEXT NOT NULL,
		created BIGINT NOT NULL, expires BIGINT NOT NULL, withdrawn BIGINT NOT NULL,
		used BIGINT NOT NULL, account TEXT NOT NULL)`,
	`CREATE INDEX external_keys_by_age ON external_keys (created)`,
}

const keyColumns = `id, label, sealed, room, actor, created, expires, withdrawn, used, account`

// CreateExternalKey implements [registry.Store].
func (s *Store) CreateExternalKey(ctx context.Context, k registry.Key, event ca.Event) error {
	return refuse(s.db.Batch(ctx, sqldb.Statement{
		SQL:  `INSERT INTO external_keys (` + keyColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, '')`,
		Args: []any{k.ID, k.Label, k.Sealed, k.By.Room, k.By.ID, millis(k.CreatedAt), millis(k.ExpiresAt)},
		Want: 1, Label: errExists,
	}, record(event)))
}

// ExternalKey implements [registry.Store].
func (s *Store) ExternalKey(ctx context.Context, id string) (registry.Key, error) {
	found, err := s.externalKeys(ctx, ` WHERE id = $1`, id)
	if err == nil && len(found) == 0 {
		err = sqldb.ErrNoRows
	}
	if err != nil {
		return registry.Key{}, missing(err, "there is no such external account key")
	}
	return found[0], nil
}

// ExternalKeys implements [registry.Store].
func (s *Store) ExternalKeys(ctx context.Context) ([]registry.Key, error) {
	found, err := s.externalKeys(ctx, ` ORDER BY created DESC`)
	return found, refuse(err)
}

func (s *Store) externalKeys(ctx context.Context, where string, args ...any) ([]registry.Key, error) {
	var found []registry.Key
	err := s.db.Query(ctx, `SELECT `+keyColumns+` FROM external_keys`+where, args, func(row sqldb.Row) error {
		var k registry.Key
		var created, expires, withdrawn, used int64
		err := row.Scan(&k.ID, &k.Label, &k.Sealed, &k.By.Room, &k.By.ID, &created, &expires, &withdrawn, &used, &k.Account)
		k.CreatedAt, k.ExpiresAt = instant(created), instant(expires)
		k.WithdrawnAt, k.UsedAt = instant(withdrawn), instant(used)
		found = append(found, k)
		return err
	})
	return found, err
}

// WithdrawExternalKey implements [registry.Store].
func (s *Store) WithdrawExternalKey(ctx context.Context, id string, at time.Time, event ca.Event) error {
	err := s.db.Batch(ctx, sqldb.Statement{
		SQL:  `UPDATE external_keys SET withdrawn = $1 WHERE id = $2 AND used = 0 AND withdrawn = 0`,
		Args: []any{millis(at), id}, Want: 1, Label: errStale,
	}, record(event))
	if errors.Is(err, errStale) {
		return ca.Errorf(ca.Conflict, "the external account key was used or withdrawn before; if an account was opened with it, close that account")
	}
	return refuse(err)
}

// useKey is the statement that marks an external key as used by an account; a
// key that cannot be used any more is a conflict labelled errStale.
func useKey(id, account string, at time.Time) sqldb.Statement {
	return sqldb.Statement{
		SQL: `UPDATE external_keys SET used = $1, account = $2
			WHERE id = $3 AND used = 0 AND withdrawn = 0 AND (expires = 0 OR expires > $1)`,
		Args: []any{millis(at), account, id}, Want: 1, Label: errStale,
	}
}
