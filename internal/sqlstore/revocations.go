package sqlstore

import (
	"context"
	"errors"
	"time"

	"chancery/internal/ca"
	"chancery/internal/sqldb"
)

// Revoke implements [ca.Revocations].
func (s *Store) Revoke(ctx context.Context, in ca.Revocation) (ca.Record, error) {
	var r ca.Record
	serial := in.Serial.Bytes()
	batch := append(spend(in.Once), sqldb.Statement{
		SQL: `UPDATE certificates SET revoked = CASE WHEN revoked = 0 THEN $1 ELSE revoked END, reason = $2
			WHERE serial = $3 AND (revoked = 0 OR ($2 = 1 AND reason <> 1)) RETURNING ` + recordColumns,
		Args: []any{millis(in.At), int64(in.Reason), serial}, Want: 1, Label: errStale,
		Scan: func(row sqldb.Row) error { return scanRecord(row, &r) },
	}, sqldb.Statement{
		SQL: `INSERT INTO crls (issuer, shard, number, this_update, next_update, der, noted, built)
			SELECT issuer, shard, 0, 0, 0, NULL, 1, 0 FROM certificates WHERE serial = $1
			ON CONFLICT (issuer, shard) DO UPDATE SET noted = crls.noted + 1`,
		Args: []any{serial}, Want: 1,
	})
	if in.Reason == ca.KeyCompromise {
		batch = append(batch, sqldb.Statement{
			SQL: `INSERT INTO blocked_keys (key_hash, at)
				SELECT key_hash, CAST($1 AS BIGINT) FROM certificates WHERE serial = $2 AND key_hash IS NOT NULL
				ON CONFLICT (key_hash) DO NOTHING`,
			Args: []any{millis(in.At), serial}, Want: sqldb.AnyRows,
		})
	}
	err := s.db.Batch(ctx, append(batch, record(in.Event))...)
	s.standings.forget() // whatever came of it
	if errors.Is(err, errStale) {
		old, err := s.BySerial(ctx, in.Serial)
		if err != nil {
			return ca.Record{}, err
		}
		return old, ca.Errorf(ca.Revoked, "the certificate was revoked at %s (%s)", old.RevokedAt.Format(time.RFC3339), old.Reason)
	}
	return r, refuse(err)
}

// KeyBlocked implements [ca.Revocations].
func (s *Store) KeyBlocked(ctx context.Context, keyHash []byte) (bool, error) {
	var n int64
	err := s.db.One(ctx, `SELECT COUNT(*) FROM blocked_keys WHERE key_hash = $1`, []any{keyHash}, &n)
	return n > 0, refuse(err)
}

// Revoked implements [ca.Revocations].
func (s *Store) Revoked(ctx context.Context, of ca.CRLRecord, after time.Time, each func(ca.RevokedEntry) error) error {
	err := s.db.Query(ctx, `SELECT serial, revoked, reason FROM certificates
		WHERE issuer = $1 AND shard = $2 AND revoked > 0 AND not_after > $3
		UNION ALL SELECT serial, at, reason FROM imported_revocations i
		WHERE issuer = $1 AND shard = $2 AND until > $3 AND NOT EXISTS
			(SELECT 1 FROM certificates c WHERE c.serial = i.serial AND c.issuer = i.issuer AND c.revoked > 0)
		ORDER BY serial`,
		[]any{of.Issuer, of.Shard, millis(after)}, func(row sqldb.Row) error {
			e, err := scanEntry(row)
			if err != nil {
				return err
			}
			return each(e)
		})
	return refuse(err)
}

// ImportedRevocation implements [ca.Revocations].
func (s *Store) ImportedRevocation(ctx context.Context, issuer string, serial ca.Serial) (ca.RevokedEntry, error) {
	var e ca.RevokedEntry
	found := false
	err := s.db.Query(ctx, `SELECT serial, at, reason FROM imported_revocations WHERE issuer = $1 AND serial = $2`,
		[]any{issuer, serial.Bytes()}, func(row sqldb.Row) (err error) {
			found = true
			e, err = scanEntry(row)
			return err
		})
	if err != nil {
		return e, refuse(err)
	}
	if !found {
		return e, &ca.Error{Kind: ca.NotFound, Detail: "no certificate with this serial number was revoked before its authority was imported"}
	}
	return e, nil
}

func scanEntry(row sqldb.Row) (ca.RevokedEntry, error) {
	var serial []byte
	var at, reason int64
	err := row.Scan(&serial, &at, &reason)
	return ca.RevokedEntry{Serial: ca.SerialOfBytes(serial), At: instant(at), Reason: ca.Reason(reason)}, err
}

// CRL implements [ca.Revocations].
func (s *Store) CRL(ctx context.Context, issuer string, shard int) (ca.CRLRecord, error) {
	r := ca.CRLRecord{Issuer: issuer, Shard: shard}
	var this, next int64
	err := s.db.One(ctx, `SELECT number, this_update, next_update, der, noted, built FROM crls WHERE issuer = $1 AND shard = $2`,
		[]any{issuer, shard}, &r.Number, &this, &next, &r.DER, &r.Noted, &r.Built)
	if errors.Is(err, sqldb.ErrNoRows) {
		return r, nil
	}
	r.ThisUpdate, r.NextUpdate = instant(this), instant(next)
	return r, refuse(err)
}

// SaveCRL implements [ca.Revocations].
func (s *Store) SaveCRL(ctx context.Context, r ca.CRLRecord, e ca.Event) error {
	err := s.db.Batch(ctx, sqldb.Statement{
		SQL: `INSERT INTO crls (issuer, shard, number, this_update, next_update, der, noted, built)
			VALUES ($1, $2, $3, $4, $5, $6, 0, $7)
			ON CONFLICT (issuer, shard) DO UPDATE SET number = excluded.number, this_update = excluded.this_update,
			next_update = excluded.next_update, der = excluded.der, built = excluded.built
			WHERE crls.number = $8`,
		Args: []any{r.Issuer, r.Shard, r.Number, millis(r.ThisUpdate), millis(r.NextUpdate), r.DER, r.Built, r.After},
		Want: 1, Label: errStale,
	}, record(e))
	if errors.Is(err, errStale) {
		return ca.Errorf(ca.Conflict, "another process has made CRL %d of issuer %s", r.Number, r.Issuer)
	}
	return refuse(err)
}
