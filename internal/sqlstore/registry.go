package sqlstore

import (
	"cmp"
	"context"
	"errors"
	"time"

	"chancery/internal/ca"
	"chancery/internal/registry"
	"chancery/internal/sqldb"
)

const keyColumns = `k.id, k.label, k.sealed, k.room, k.actor, k.created, k.expires, k.withdrawn, k.used, k.account,
	k.customer, k.algorithm, k.most, k.uses, COALESCE(c.name, ''), COALESCE(c.suspended, 0)`

// CreateExternalKey implements [registry.KeyStore].
func (s *Store) CreateExternalKey(ctx context.Context, k registry.Key, event ca.Event) error {
	batch := []sqldb.Statement{{
		SQL: `INSERT INTO external_keys (id, label, sealed, room, actor, created, expires, withdrawn, used, account, customer, algorithm, most, uses)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, '', $8, $9, $10, 0)`,
		Args: []any{k.ID, k.Label, k.Sealed, k.By.Room, k.By.ID, millis(k.CreatedAt), millis(k.ExpiresAt), k.Customer, k.Algorithm, cmp.Or(k.Most, 1)},
		Want: 1, Label: errExists,
	}, record(event)}
	if k.Customer != "" {
		batch = append(batch, served(k.Customer))
	}
	return unserved(s.db.Batch(ctx, batch...))
}

// ExternalKey implements [registry.KeyStore].
func (s *Store) ExternalKey(ctx context.Context, id string) (registry.Key, error) {
	found, err := s.externalKeys(ctx, ` WHERE k.id = $1`, id)
	if err == nil && len(found) == 0 {
		err = sqldb.ErrNoRows
	}
	if err != nil {
		return registry.Key{}, missing(err, "there is no such external account key")
	}
	return found[0], nil
}

func (s *Store) externalKeys(ctx context.Context, where string, args ...any) ([]registry.Key, error) {
	var found []registry.Key
	query := `SELECT ` + keyColumns + ` FROM external_keys k LEFT JOIN customers c ON c.id = k.customer` + where
	err := s.db.Query(ctx, query, args, func(row sqldb.Row) error {
		var k registry.Key
		var created, expires, withdrawn, used, suspended int64
		err := row.Scan(&k.ID, &k.Label, &k.Sealed, &k.By.Room, &k.By.ID, &created, &expires, &withdrawn, &used, &k.Account,
			&k.Customer, &k.Algorithm, &k.Most, &k.Uses, &k.CustomerName, &suspended)
		k.CreatedAt, k.ExpiresAt = instant(created), instant(expires)
		k.WithdrawnAt, k.UsedAt, k.Suspended = instant(withdrawn), instant(used), suspended > 0
		found = append(found, k)
		return err
	})
	return found, err
}

// WithdrawExternalKey implements [registry.KeyStore].
func (s *Store) WithdrawExternalKey(ctx context.Context, id string, at time.Time, event ca.Event) error {
	err := s.db.Batch(ctx, sqldb.Statement{
		SQL:  `UPDATE external_keys SET withdrawn = $1 WHERE id = $2 AND withdrawn = 0 AND ` + usesLeft,
		Args: []any{millis(at), id}, Want: 1, Label: errStale,
	}, record(event))
	if errors.Is(err, errStale) {
		return ca.Errorf(ca.Conflict, "the external account key was used up or withdrawn before; if an account was opened with it, close that account")
	}
	return refuse(err)
}

// KeyAccounts implements [registry.KeyStore].
func (s *Store) KeyAccounts(ctx context.Context, id string) ([]string, error) {
	var accounts []string
	err := s.db.Query(ctx, `SELECT account FROM external_key_uses WHERE external_key = $1 ORDER BY at DESC LIMIT 1000`, []any{id}, func(row sqldb.Row) error {
		var account string
		err := row.Scan(&account)
		accounts = append(accounts, account)
		return err
	})
	return accounts, refuse(err)
}

// usesLeft is true of a key with which an account more can be opened. A release
// that knew no counts wrote "used" alone.
const usesLeft = `(most < 0 OR uses < most) AND (most <> 1 OR used = 0)`

// useKey are the statements that count an account as opened with an external
// key, and bind it to the key's customer. A key that cannot be used any more is a
// conflict labelled errStale.
func useKey(id, account string, at time.Time) []sqldb.Statement {
	return []sqldb.Statement{{
		SQL: `UPDATE external_keys SET uses = uses + 1,
				account = CASE WHEN used = 0 THEN $2 ELSE account END, used = CASE WHEN used = 0 THEN CAST($1 AS BIGINT) ELSE used END
			WHERE id = $3 AND withdrawn = 0 AND (expires = 0 OR expires > CAST($1 AS BIGINT)) AND ` + usesLeft + `
			AND (customer = '' OR EXISTS (SELECT 1 FROM customers c WHERE c.id = customer AND c.suspended = 0))`,
		Args: []any{millis(at), account, id}, Want: 1, Label: errStale,
	}, {
		SQL:  `INSERT INTO external_key_uses (account, external_key, at) VALUES ($1, $2, $3)`,
		Args: []any{account, id, millis(at)}, Want: 1,
	}, {
		SQL: `INSERT INTO bindings (` + bindingColumns + `)
			SELECT $1, $2, '', customer, 'eab', '', '', '', 'confirmed', CAST($3 AS BIGINT), 0, CAST($3 AS BIGINT), room, actor, '', 0
			FROM external_keys WHERE id = $4 AND customer <> ''`,
		Args: []any{ca.NewID(), account, millis(at), id}, Want: sqldb.AnyRows,
	}}
}
