package sqldb_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"chancery/internal/peertest"
	"chancery/internal/sqldb"
)

func steps(n int) []sqldb.Migration {
	out := append([]sqldb.Migration(nil), schema...)
	for i := len(out) + 1; i <= n; i++ {
		out = append(out, sqldb.Migration{Number: i, Name: fmt.Sprint("step ", i), SQL: []string{
			fmt.Sprintf(`CREATE TABLE step%d (a BIGINT)`, i),
			fmt.Sprintf(`INSERT INTO step%d (a) VALUES (%d)`, i, i),
		}})
	}
	return out
}

func TestMigrate(t *testing.T) {
	engines(t, func(t *testing.T, url string, db *sqldb.DB) {
		edited := steps(1)
		edited[0].SQL = []string{`CREATE TABLE other (a BIGINT)`}
		broken := steps(4)
		broken[3].SQL = append(broken[3].SQL, `INSERT INTO nowhere (a) VALUES (1)`)
		for _, c := range []struct {
			name       string
			migrations []sqldb.Migration
			refused    bool
			want       int // steps applied afterwards
		}{
			{"forward", steps(3), false, 3},
			{"again", steps(3), false, 3},
			{"the release before", steps(2), false, 3},
			{"two releases before", steps(1), true, 3},
			{"edited", edited, true, 3},
			{"a gap", []sqldb.Migration{{Number: 2}}, true, 3},
			{"broken in the middle", broken, false, 3},
			{"mended", steps(5), false, 5},
		} {
			err := db.Migrate(t.Context(), c.migrations)
			if errors.Is(err, sqldb.ErrSchema) != c.refused || (err != nil) != (c.refused || c.name == "broken in the middle") {
				t.Errorf("%s: %v", c.name, err)
			}
			var n int
			if err := db.One(t.Context(), `SELECT count(*) FROM schema_migrations`, nil, &n); err != nil || n != c.want {
				t.Errorf("%s: %d steps, %v", c.name, n, err)
			}
		}
		if _, err := db.Exec(t.Context(), `DELETE FROM schema_migrations WHERE number = 2`); err != nil {
			t.Fatal(err)
		}
		if err := db.Migrate(t.Context(), steps(5)); !errors.Is(err, sqldb.ErrSchema) {
			t.Errorf("a record with a hole: %v", err)
		}
	})
}

// TestMigrateTogether starts three replicas at once.
func TestMigrateTogether(t *testing.T) {
	url := peertest.Postgres(t)
	var wg sync.WaitGroup
	for range 3 {
		db := open(t, url)
		wg.Go(func() {
			if err := db.Migrate(t.Context(), steps(6)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var n int
	if err := open(t, url).One(t.Context(), `SELECT count(*) FROM schema_migrations`, nil, &n); err != nil || n != 6 {
		t.Error(n, err)
	}
}

// TestMigrateUnderUse changes a table whose statements are prepared everywhere.
func TestMigrateUnderUse(t *testing.T) {
	engines(t, func(t *testing.T, url string, db *sqldb.DB) {
		if err := db.Batch(t.Context(), insert(3, "c")); err != nil {
			t.Fatal(err)
		}
		read := func(columns int) {
			t.Helper()
			dest := make([]any, columns)
			for i := range dest {
				dest[i] = new(any)
			}
			for range 20 {
				if err := db.One(t.Context(), `SELECT * FROM things`, nil, dest...); err != nil {
					t.Fatal(err)
				}
			}
		}
		read(4)
		more := append(steps(1), sqldb.Migration{Number: 2, Name: "colour", SQL: []string{`ALTER TABLE things ADD COLUMN colour TEXT`}})
		if err := db.Migrate(t.Context(), more); err != nil {
			t.Fatal(err)
		}
		read(5)
		if err := db.Batch(t.Context(), insert(1, "a"), insert(2, "b")); err != nil {
			t.Error(err)
		}
	})
}
