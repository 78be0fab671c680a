package sqlstore

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"chancery/internal/ca"
	"chancery/internal/sqldb"
)

const recordColumns = `serial, request, room, actor, profile, issuer, key_hash, names, subject,
	not_before, not_after, intended, lease, settled, tbs, seal, der, revoked, reason`

// scanRecord reads recordColumns.
func scanRecord(row sqldb.Row, r *ca.Record) error {
	var serial []byte
	var names string
	var from, to, intended, lease, settled, revoked, reason int64
	err := row.Scan(&serial, &r.Request, &r.By.Room, &r.By.ID, &r.Profile, &r.Issuer, &r.KeyHash, &names, &r.Subject,
		&from, &to, &intended, &lease, &settled, &r.TBS, &r.Seal, &r.DER, &revoked, &reason)
	if err != nil {
		return err
	}
	r.Serial = ca.SerialOfBytes(serial)
	r.NotBefore, r.NotAfter, r.IntendedAt = instant(from), instant(to), instant(intended)
	r.Lease, r.SettledAt, r.RevokedAt, r.Reason = instant(lease), instant(settled), instant(revoked), ca.Reason(reason)
	r.Names, err = splitNames(names)
	return err
}

// joinNames and splitNames keep names as lines "type:value".
func joinNames(names []ca.Identifier) string {
	lines := make([]string, len(names))
	for i, n := range names {
		lines[i] = n.String()
	}
	return strings.Join(lines, "\n")
}

func splitNames(text string) ([]ca.Identifier, error) {
	if text == "" {
		return nil, nil
	}
	var names []ca.Identifier
	for line := range strings.SplitSeq(text, "\n") {
		kind, value, _ := strings.Cut(line, ":")
		n, err := ca.ParseIdentifier(kind, value)
		if err != nil {
			return nil, err
		}
		names = append(names, n)
	}
	return names, nil
}

// Intend implements [ca.Ledger].
func (s *Store) Intend(ctx context.Context, in ca.Intent) (ca.Record, error) {
	batch := append(spend(in.Once), sqldb.Statement{
		SQL: `INSERT INTO certificates (` + recordColumns + `, shard, alike)
			SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, $14, $15, NULL, 0, 0, $16, $17
			WHERE NOT EXISTS (SELECT 1 FROM blocked_keys WHERE key_hash = $7)`,
		Args: []any{in.Serial.Bytes(), in.Request, in.By.Room, in.By.ID, in.Profile, in.Issuer, in.KeyHash, joinNames(in.Names), in.Subject,
			millis(in.NotBefore), millis(in.NotAfter), millis(in.At), millis(in.Lease), in.TBS, in.Seal, in.Shard, likeness(in.Subject, in.Names)},
		Want: 1, Label: errExists,
	})
	for _, n := range in.Names {
		batch = append(batch, sqldb.Statement{
			SQL:  `INSERT INTO certificate_names (name, serial) VALUES ($1, $2)`,
			Args: []any{n.String(), in.Serial.Bytes()}, Want: 1,
		})
	}
	err := s.db.Batch(ctx, append(batch, record(in.Event))...)
	if errors.Is(err, errExists) {
		// Nothing was written: the request has a record, or else the key is blocked.
		r, err := s.ByRequest(ctx, in.Request)
		if ca.KindOf(err) == ca.NotFound {
			return r, ca.Errorf(ca.BadKey, "a certificate with this key was revoked because the key was compromised; make a new key")
		}
		return r, err
	}
	if err != nil {
		return ca.Record{}, refuse(err)
	}
	return ca.Record{
		Serial: in.Serial, Request: in.Request, By: in.By, Profile: in.Profile, Issuer: in.Issuer, KeyHash: in.KeyHash,
		Names: in.Names, Subject: in.Subject, NotBefore: in.NotBefore, NotAfter: in.NotAfter,
		IntendedAt: in.At, Lease: in.Lease, TBS: in.TBS, Seal: in.Seal,
	}, nil
}

// Settle implements [ca.Ledger].
func (s *Store) Settle(ctx context.Context, in ca.Settlement) (ca.Record, error) {
	var r ca.Record
	err := s.db.Batch(ctx, sqldb.Statement{
		SQL: `UPDATE certificates SET der = $1, settled = $2, tbs = NULL, seal = NULL, key_id = $4
			WHERE serial = $3 AND settled = 0 AND revoked = 0 RETURNING ` + recordColumns,
		Args: []any{in.DER, millis(in.At), in.Serial.Bytes(), keyIDOf(in.DER)}, Want: 1, Label: errStale,
		Scan: func(row sqldb.Row) error { return scanRecord(row, &r) },
	}, record(in.Event))
	if errors.Is(err, errStale) {
		return s.BySerial(ctx, in.Serial)
	}
	return r, refuse(err)
}

// ByRequest implements [ca.Ledger].
func (s *Store) ByRequest(ctx context.Context, id string) (ca.Record, error) {
	return s.oneRecord(ctx, `request = $1`, id, "no certificate was asked for by this request")
}

// BySerial implements [ca.Ledger].
func (s *Store) BySerial(ctx context.Context, serial ca.Serial) (ca.Record, error) {
	return s.oneRecord(ctx, `serial = $1`, serial.Bytes(), "no certificate with this serial number was issued here")
}

func (s *Store) oneRecord(ctx context.Context, where string, arg any, absent string) (ca.Record, error) {
	var r ca.Record
	found := false
	err := s.db.Query(ctx, `SELECT `+recordColumns+` FROM certificates WHERE `+where, []any{arg}, func(row sqldb.Row) error {
		found = true
		return scanRecord(row, &r)
	})
	if err != nil {
		return ca.Record{}, refuse(err)
	}
	if !found {
		return ca.Record{}, &ca.Error{Kind: ca.NotFound, Detail: absent}
	}
	return r, nil
}

// Claim implements [ca.Recovery].
func (s *Store) Claim(ctx context.Context, in ca.Claim) ([]ca.Record, error) {
	var c conditions
	c.add(`settled = 0 AND revoked = 0 AND lease < %s AND not_after > %s`, millis(in.Now), millis(in.Now))
	for _, issuer := range in.Except {
		c.add(`issuer <> %s`, issuer)
	}
	// Looking first keeps the usual case, nothing to do, free of a commit.
	var waiting int64
	err := s.db.One(ctx, `SELECT COUNT(*) FROM certificates`+c.where(), c.args, &waiting)
	if err != nil || waiting == 0 {
		return nil, refuse(err)
	}
	limit, until := c.next(in.Limit), c.next(millis(in.Until))
	claimed := map[ca.Serial]ca.Record{} // the engine may repeat the batch, and Scan with it
	err = s.db.Batch(ctx, sqldb.Statement{
		SQL: `UPDATE certificates SET lease = ` + until + c.where() + ` AND serial IN
			(SELECT serial FROM certificates` + c.where() + ` ORDER BY lease LIMIT ` + limit + `) RETURNING ` + recordColumns,
		Args: c.args, Want: sqldb.AnyRows,
		Scan: func(row sqldb.Row) error {
			var r ca.Record
			err := scanRecord(row, &r)
			claimed[r.Serial] = r
			return err
		},
	})
	if err != nil {
		return nil, refuse(err)
	}
	return slices.Collect(maps.Values(claimed)), nil
}

// Authorities implements [ca.Recovery].
func (s *Store) Authorities(ctx context.Context) ([]ca.Record, error) {
	var all []ca.Record
	err := s.db.Query(ctx, `SELECT `+recordColumns+` FROM certificates WHERE profile = 'authority' AND settled > 0 AND revoked = 0`, nil,
		func(row sqldb.Row) error {
			var r ca.Record
			err := scanRecord(row, &r)
			all = append(all, r)
			return err
		})
	return all, refuse(err)
}
