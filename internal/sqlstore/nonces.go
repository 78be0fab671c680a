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

// seenSchema holds what processes tell each other, and their successors, of the
// nonces that were spent without a row in spent.
var seenSchema = []string{
	`CREATE TABLE seen_nonces (
		id TEXT NOT NULL PRIMARY KEY, process TEXT NOT NULL, at BIGINT NOT NULL, bits BYTEA NOT NULL)`,
	`CREATE INDEX seen_nonces_by_age ON seen_nonces (at)`,
}

// SeenNonces is one message of a process about nonces that it saw spent.
type SeenNonces struct {
	ID      string    // of the message
	Process string    // who saw them
	At      time.Time // when it was sent, by the sender's clock
	Bits    []byte    // as internal/nonce writes them; the store does not read them
}

// AddSeenNonces stores a message. Storing it again, when the first time is in
// doubt, does nothing.
func (s *Store) AddSeenNonces(ctx context.Context, m SeenNonces) error {
	_, err := s.db.Exec(ctx, `INSERT INTO seen_nonces (id, process, at, bits) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING`,
		m.ID, m.Process, millis(m.At), m.Bits)
	return refuse(err)
}

// SeenNonces calls each with every message sent at or after since, in no order,
// but for those of the process except. It ends at each's first error, which it
// returns. What commits late may have an earlier time than what was read before.
func (s *Store) SeenNonces(ctx context.Context, since time.Time, except string, each func(SeenNonces) error) error {
	err := s.db.Query(ctx, `SELECT id, process, at, bits FROM seen_nonces WHERE at >= $1 AND process <> $2`,
		[]any{millis(since), except}, func(row sqldb.Row) error {
			var m SeenNonces
			var at int64
			if err := row.Scan(&m.ID, &m.Process, &at, &m.Bits); err != nil {
				return err
			}
			m.At = instant(at)
			return each(m)
		})
	return refuse(err)
}

// SweepSeenNonces deletes up to limit messages sent before the given time, and
// says how many. If there are none, nothing is written.
func (s *Store) SweepSeenNonces(ctx context.Context, before time.Time, limit int) (int, error) {
	var one int64
	err := s.db.One(ctx, `SELECT 1 FROM seen_nonces WHERE at < $1 LIMIT 1`, []any{millis(before)}, &one)
	if errors.Is(err, sqldb.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, refuse(err)
	}
	n, err := s.db.Exec(ctx, `DELETE FROM seen_nonces WHERE id IN
		(SELECT id FROM seen_nonces WHERE at < $1 LIMIT $2)`, millis(before), limit)
	return int(n), refuse(err)
}
