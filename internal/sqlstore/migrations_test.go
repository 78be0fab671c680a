package sqlstore

import (
	"path/filepath"
	"testing"
	"time"

	"chancery/internal/ca"
	"chancery/internal/peertest"
	"chancery/internal/sqldb"
)

// What was imported under the first schema stood among the certificates.
func TestImportedRevocationsMove(t *testing.T) {
	for engine, url := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "chancery.db") },
		"postgres": func(t *testing.T) string { return peertest.Postgres(t) },
	} {
		t.Run(engine, func(t *testing.T) {
			ctx := t.Context()
			db, err := sqldb.Open(ctx, sqldb.Config{URL: url(t)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() })
			if err := db.Migrate(ctx, migrations[:5]); err != nil {
				t.Fatal(err)
			}
			const row = `INSERT INTO certificates (` + recordColumns + `, shard)
				VALUES ($1, $2, 'core', $3, '', 'issuer', NULL, '', '', 0, 9000, 1, 0, 0, NULL, NULL, NULL, 2000, 4, 3)`
			for serial, actor := range map[string]string{"\x01": "import", "\x02": "itself"} {
				if _, err := db.Exec(ctx, row, []byte(serial), "core:"+serial, actor); err != nil {
					t.Fatal(err)
				}
			}
			if err := Migrate(ctx, db); err != nil {
				t.Fatal(err)
			}
			s := New(db)
			if e, err := s.ImportedRevocation(ctx, "issuer", "01"); err != nil || e.Reason != ca.Superseded || e.At.UnixMilli() != 2000 {
				t.Errorf("%+v, %v", e, err)
			}
			if _, err := s.BySerial(ctx, "01"); ca.KindOf(err) != ca.NotFound {
				t.Errorf("it was left where it was: %v", err)
			}
			if _, err := s.BySerial(ctx, "02"); err != nil {
				t.Errorf("our own went, too: %v", err)
			}
			n := 0
			if err := s.Revoked(ctx, ca.CRLRecord{Issuer: "issuer", Shard: 3}, time.UnixMilli(8000), func(ca.RevokedEntry) error { n++; return nil }); err != nil || n != 2 {
				t.Errorf("%d entries, %v", n, err)
			}
		})
	}
}
