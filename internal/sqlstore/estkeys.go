package sqlstore

import (
	"bytes"
	"context"
	"errors"

	"chancery/internal/ca"
	"chancery/internal/estserver"
	"chancery/internal/sqldb"
)

const (
	deviceKeyColumns = `name, sealed, public, comment, created`
	noDeviceKey      = "there is no such key; see: chancery est key list"
)

// deviceKeyName is what a key is found by: its kind and identifier.
func deviceKeyName(kind estserver.KeyKind, id []byte) []byte {
	return append([]byte(kind+":"), id...)
}

// deviceKeys reads what follows FROM.
func (s *Store) deviceKeys(ctx context.Context, rest string, args ...any) ([]estserver.DeviceKey, error) {
	var found []estserver.DeviceKey
	err := s.db.Query(ctx, `SELECT `+deviceKeyColumns+` FROM est_device_keys`+rest, args, func(row sqldb.Row) error {
		var k estserver.DeviceKey
		var name []byte
		var created int64
		err := row.Scan(&name, &k.Sealed, &k.Public, &k.Comment, &created)
		kind, id, _ := bytes.Cut(name, []byte(":"))
		k.Kind, k.ID, k.Created = estserver.KeyKind(kind), id, instant(created)
		found = append(found, k)
		return err
	})
	return found, err
}

// DeviceKey implements [estserver.DeviceKeys].
func (s *Store) DeviceKey(ctx context.Context, kind estserver.KeyKind, id []byte) (estserver.DeviceKey, error) {
	found, err := s.deviceKeys(ctx, ` WHERE name = $1`, deviceKeyName(kind, id))
	if err == nil && len(found) == 0 {
		err = sqldb.ErrNoRows
	}
	if err != nil {
		return estserver.DeviceKey{}, missing(err, noDeviceKey)
	}
	return found[0], nil
}

// AddDeviceKey implements [estserver.DeviceKeys].
func (s *Store) AddDeviceKey(ctx context.Context, k estserver.DeviceKey, e ca.Event) error {
	err := s.db.Batch(ctx, sqldb.Statement{
		SQL:  `INSERT INTO est_device_keys (` + deviceKeyColumns + `) VALUES ($1, $2, $3, $4, $5)`,
		Args: []any{deviceKeyName(k.Kind, k.ID), k.Sealed, k.Public, k.Comment, millis(k.Created)}, Want: 1, Label: errExists,
	}, record(e))
	if errors.Is(err, errExists) {
		return ca.Errorf(ca.Conflict, "there is a key with this identifier already; remove it first: chancery est key remove")
	}
	return refuse(err)
}

// RemoveDeviceKey implements [estserver.DeviceKeys].
func (s *Store) RemoveDeviceKey(ctx context.Context, kind estserver.KeyKind, id []byte, e ca.Event) error {
	err := s.db.Batch(ctx, sqldb.Statement{
		SQL: `DELETE FROM est_device_keys WHERE name = $1`, Args: []any{deviceKeyName(kind, id)}, Want: 1, Label: errStale,
	}, record(e))
	if errors.Is(err, errStale) {
		return ca.Errorf(ca.NotFound, noDeviceKey)
	}
	return refuse(err)
}

// ListDeviceKeys implements [estserver.DeviceKeys].
func (s *Store) ListDeviceKeys(ctx context.Context, cursor string, limit int) ([]estserver.DeviceKey, string, error) {
	var c conditions
	return page(paging{cursor: cursor, limit: limit, key: "name", only: &c}, func(rest string) ([]estserver.DeviceKey, error) {
		return s.deviceKeys(ctx, rest, c.args...)
	}, func(k *estserver.DeviceKey) place { return place{millis(k.Created), deviceKeyName(k.Kind, k.ID)} })
}

// Archive implements [estserver.DeviceKeys].
func (s *Store) Archive(ctx context.Context, serial ca.Serial, enveloped []byte, e ca.Event) error {
	err := s.db.Batch(ctx, sqldb.Statement{
		SQL:  `INSERT INTO est_archive (serial, enveloped, created) VALUES ($1, $2, $3)`,
		Args: []any{serial.Bytes(), enveloped, millis(e.At)}, Want: 1, Label: errExists,
	}, record(e))
	if errors.Is(err, errExists) {
		return ca.Errorf(ca.Conflict, "a copy of this certificate's key is archived already")
	}
	return refuse(err)
}

// Archived implements [estserver.DeviceKeys].
func (s *Store) Archived(ctx context.Context, serial ca.Serial) ([]byte, error) {
	var enveloped []byte
	err := s.db.One(ctx, `SELECT enveloped FROM est_archive WHERE serial = $1`, []any{serial.Bytes()}, &enveloped)
	return enveloped, missing(err, "no copy of this certificate's key is archived")
}

// KeepPassphrase implements [estserver.Passphrases].
func (s *Store) KeepPassphrase(ctx context.Context, k estserver.Passphrase, e ca.Event) error {
	return refuse(s.db.Batch(ctx, sqldb.Statement{
		SQL: `INSERT INTO est_passphrases (serial, hash, created) VALUES ($1, $2, $3)
			ON CONFLICT (serial) DO UPDATE SET hash = excluded.hash, created = excluded.created`,
		Args: []any{k.Serial.Bytes(), k.Hash, millis(k.Created)}, Want: 1,
	}, record(e)))
}

// Passphrase implements [estserver.Passphrases].
func (s *Store) Passphrase(ctx context.Context, serial ca.Serial) (estserver.Passphrase, error) {
	k, created := estserver.Passphrase{Serial: serial}, int64(0)
	err := s.db.One(ctx, `SELECT hash, created FROM est_passphrases WHERE serial = $1`, []any{serial.Bytes()}, &k.Hash, &created)
	k.Created = instant(created)
	return k, missing(err, "no passphrase revokes this certificate")
}
