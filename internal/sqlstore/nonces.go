package sqlstore

import (
	"context"
	"errors"
	"time"

	"chancery/internal/sqldb"
)

// NonceKey is a key under which nonces are authenticated.
type NonceKey struct {
	ID      uint32
	Secret  []byte
	Created time.Time
}

// NonceKeys gives every nonce key that is kept.
func (s *Store) NonceKeys(ctx context.Context) ([]NonceKey, error) {
	var keys []NonceKey
	err := s.db.Query(ctx, `SELECT id, secret, created FROM nonce_keys`, nil, func(row sqldb.Row) error {
		var k NonceKey
		var id, created int64
		err := row.Scan(&id, &k.Secret, &created)
		k.ID, k.Created = uint32(id), instant(created)
		keys = append(keys, k)
		return err
	})
	return keys, refuse(err)
}

// AddNonceKey stores a key, unless the id is taken, and deletes stale ones.
func (s *Store) AddNonceKey(ctx context.Context, k NonceKey, stale []uint32) error {
	batch := []sqldb.Statement{{
		SQL:  `INSERT INTO nonce_keys (id, secret, created) VALUES ($1, $2, $3)`,
		Args: []any{int64(k.ID), k.Secret, millis(k.Created)}, Want: 1, Label: errExists,
	}}
	for _, id := range stale {
		batch = append(batch, sqldb.Statement{SQL: `DELETE FROM nonce_keys WHERE id = $1`, Args: []any{int64(id)}, Want: sqldb.AnyRows})
	}
	err := s.db.Batch(ctx, batch...)
	if errors.Is(err, errExists) {
		return nil
	}
	return refuse(err)
}
