package sqldb_test

import (
	"errors"
	"testing"
	"time"

	"chancery/internal/peertest"
	"chancery/internal/sqldb"
)

// What a batch holds nobody changes before the batch is done: on PostgreSQL a lock sees to
// it; SQLite has one writer.
func TestHold(t *testing.T) {
	url := peertest.Postgres(t)
	db := open(t, url)
	if err := db.Migrate(t.Context(), schema); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(t.Context(), `INSERT INTO things (id, size) VALUES (1, 1)`); err != nil {
		t.Fatal(err)
	}
	impatient, err := sqldb.Open(t.Context(), sqldb.Config{URL: url, LockTimeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer impatient.Close()
	change := func() error {
		_, err := impatient.Exec(t.Context(), `UPDATE things SET size = size + 1 WHERE id = 1`)
		return err
	}
	for _, hold := range []bool{true, false} {
		var meanwhile error
		err := db.Batch(t.Context(), sqldb.Statement{SQL: `SELECT id FROM things WHERE id = 1`, Want: 1, Hold: hold, Scan: func(sqldb.Row) error { return nil }},
			sqldb.Statement{SQL: `SELECT 1`, Want: 1, Scan: func(sqldb.Row) error { meanwhile = change(); return nil }})
		if err != nil || errors.Is(meanwhile, sqldb.ErrBusy) != hold {
			t.Errorf("held %v: %v, meanwhile %v", hold, err, meanwhile)
		}
	}
	if err := change(); err != nil {
		t.Error(err)
	}
}
