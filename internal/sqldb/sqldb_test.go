package sqldb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/internal/peertest"
	"chancery/internal/sqldb"
)

var errTaken = errors.New("the name is taken")

var schema = []sqldb.Migration{{Number: 1, Name: "things", SQL: []string{
	`CREATE TABLE things (id BIGINT NOT NULL PRIMARY KEY, name TEXT UNIQUE, data BYTEA, size BIGINT CHECK (size >= 0))`,
	`CREATE TABLE parts (id BIGINT NOT NULL PRIMARY KEY, thing BIGINT NOT NULL REFERENCES things (id))`,
}}}

// engines runs a test on a fresh, migrated database of each engine.
func engines(t *testing.T, test func(t *testing.T, url string, db *sqldb.DB)) {
	for _, engine := range []struct {
		name string
		url  func(testing.TB) string
	}{
		{"sqlite", func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "new", "a b?%.db") }},
		{"postgres", peertest.Postgres},
	} {
		t.Run(engine.name, func(t *testing.T) {
			url := engine.url(t)
			db := open(t, url)
			if db.Engine() != engine.name {
				t.Fatalf("engine is %q", db.Engine())
			}
			if err := db.Migrate(t.Context(), schema); err != nil {
				t.Fatal(err)
			}
			test(t, url, db)
		})
	}
}

func open(t testing.TB, url string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(context.Background(), sqldb.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func insert(id int, name string) sqldb.Statement {
	return sqldb.Statement{
		SQL: `INSERT INTO things (id, name) VALUES ($1, $2)`, Args: []any{id, name}, Want: 1, Label: errTaken,
	}
}

func count(t testing.TB, db *sqldb.DB) (n int) {
	t.Helper()
	if err := db.One(context.Background(), `SELECT count(*) FROM things`, nil, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTypesComeBack(t *testing.T) {
	type word string
	type key [4]byte
	name, none := "12", (*string)(nil)
	engines(t, func(t *testing.T, _ string, db *sqldb.DB) {
		for i, c := range []struct {
			args             []any // name, data, size
			name, data, size any
		}{
			{[]any{"12", []byte("12"), 12}, "12", []byte("12"), int64(12)},
			{[]any{"", []byte{}, int64(1)<<62 + 1}, "", []byte{}, int64(1)<<62 + 1},
			{[]any{nil, nil, nil}, nil, nil, nil},
			{[]any{none, []byte(nil), (*int)(nil)}, nil, nil, nil},
			{[]any{word("ä€"), key{0, 1, 255, 0}, true}, "ä€", []byte{0, 1, 255, 0}, int64(1)},
			{[]any{&name, bytes.Repeat([]byte{7}, 100_000), uint8(9)}, "12", bytes.Repeat([]byte{7}, 100_000), int64(9)},
			{[]any{"1e3", []byte("1e3"), false}, "1e3", []byte("1e3"), int64(0)},
		} {
			args := append([]any{i}, c.args...)
			if c.name == "12" {
				if _, err := db.Exec(t.Context(), `DELETE FROM things WHERE name = $1`, "12"); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := db.Exec(t.Context(), `INSERT INTO things (id, name, data, size) VALUES ($1, $2, $3, $4)`, args...); err != nil {
				t.Errorf("case %d: %v", i, err)
				continue
			}
			var name, data, size any
			if err := db.One(t.Context(), `SELECT name, data, size FROM things WHERE id = $1`, []any{i}, &name, &data, &size); err != nil {
				t.Fatal(err)
			}
			for _, pair := range [][2]any{{name, c.name}, {data, c.data}, {size, c.size}} {
				if got, want := fmt.Sprintf("%T %v", pair[0], pair[0]), fmt.Sprintf("%T %v", pair[1], pair[1]); got != want {
					t.Errorf("case %d: got %.60s, want %.60s", i, got, want)
				}
			}
		}
		for _, bad := range []any{1.5, time.Now(), struct{}{}, uint64(1) << 63, "a\x00b", "\xff"} {
			if _, err := db.Exec(t.Context(), `UPDATE things SET name = $1`, bad); !errors.Is(err, sqldb.ErrValue) {
				t.Errorf("%T %v as argument: %v", bad, bad, err)
			}
		}
	})
}

func TestScanTargets(t *testing.T) {
	type word string
	engines(t, func(t *testing.T, _ string, db *sqldb.DB) {
		if _, err := db.Exec(t.Context(), `INSERT INTO things (id, name, data, size) VALUES (300, 'a', $1, 1)`, []byte{1, 2}); err != nil {
			t.Fatal(err)
		}
		var (
			id    int16
			name  word
			data  [2]byte
			big   bool
			ptr   *string
			count *int
		)
		row := `SELECT id, name, data, size, name, size FROM things`
		if err := db.One(t.Context(), row, nil, &id, &name, &data, &big, &ptr, &count); err != nil {
			t.Fatal(err)
		}
		if id != 300 || name != "a" || data != [2]byte{1, 2} || !big || *ptr != "a" || *count != 1 {
			t.Error(id, name, data, big, *ptr, *count)
		}
		var total, there int
		if err := db.One(t.Context(), `SELECT sum(size), EXISTS (SELECT 1 FROM things) FROM things`, nil, &total, &there); err != nil || total != 1 || there != 1 {
			t.Error(total, there, err)
		}
		var small int8
		var wrong [3]byte
		for _, c := range []struct {
			column string
			dest   any
		}{{"id", &small}, {"data", &wrong}, {"name", &data}, {"data", &name}, {"id", &big}, {"NULL", &id}, {"id", id}} {
			if err := db.One(t.Context(), "SELECT "+c.column+" FROM things", nil, c.dest); !errors.Is(err, sqldb.ErrValue) {
				t.Errorf("%s into %T: %v", c.column, c.dest, err)
			}
		}
		if err := db.One(t.Context(), `SELECT id FROM things WHERE id = 0`, nil, &id); !errors.Is(err, sqldb.ErrNoRows) {
			t.Error(err)
		}
		stop := errors.New("enough")
		if err := db.Query(t.Context(), `SELECT id FROM things`, nil, func(sqldb.Row) error { return stop }); err != stop {
			t.Error(err)
		}
	})
}

func TestBatchIsAllOrNothing(t *testing.T) {
	errScan := errors.New("scan does not like it")
	engines(t, func(t *testing.T, _ string, db *sqldb.DB) {
		if err := db.Batch(t.Context(), insert(1, "one")); err != nil {
			t.Fatal(err)
		}
		update := sqldb.Statement{SQL: `UPDATE things SET size = 5 WHERE id = $1`, Args: []any{99}, Want: 1, Label: errTaken}
		all := sqldb.Statement{SQL: `UPDATE things SET size = 5`, Want: 0, Label: errTaken}
		for _, c := range []struct {
			name  string
			batch []sqldb.Statement
			index int // of the conflict, or -1
			is    error
		}{
			{"primary key", []sqldb.Statement{insert(2, "two"), insert(1, "x")}, 1, errTaken},
			{"unique", []sqldb.Statement{insert(2, "two"), insert(3, "three"), insert(4, "one")}, 2, errTaken},
			{"alone", []sqldb.Statement{insert(1, "x")}, 0, errTaken},
			{"too few rows", []sqldb.Statement{insert(2, "two"), update, insert(3, "three")}, 1, errTaken},
			{"too few rows alone", []sqldb.Statement{update}, 0, errTaken},
			{"too many rows alone", []sqldb.Statement{all}, 0, errTaken},
			{"two values for one", []sqldb.Statement{{SQL: `INSERT INTO things (id) VALUES (7), (8)`, Want: 1}}, 0, sqldb.ErrConflict},
			{"check", []sqldb.Statement{insert(2, "two"), {SQL: `INSERT INTO things (id, size) VALUES (3, -1)`, Want: 1}}, -1, sqldb.ErrConstraint},
			{"not null", []sqldb.Statement{insert(2, "two"), {SQL: `INSERT INTO things (id) VALUES (NULL)`, Want: 1}}, -1, sqldb.ErrConstraint},
			{"foreign key", []sqldb.Statement{insert(2, "two"), {SQL: `INSERT INTO parts (id, thing) VALUES (1, 77)`, Want: 1}}, -1, sqldb.ErrConstraint},
			{"scan", []sqldb.Statement{insert(2, "two"), {SQL: `UPDATE things SET size = 9 RETURNING id`, Want: 2,
				Scan: func(sqldb.Row) error { return errScan }}}, -1, errScan},
		} {
			err := db.Batch(t.Context(), c.batch...)
			if !errors.Is(err, c.is) {
				t.Errorf("%s: %v", c.name, err)
			}
			var conflict *sqldb.Conflict
			switch is := errors.As(err, &conflict); {
			case is != (c.index >= 0) || is != errors.Is(err, sqldb.ErrConflict):
				t.Errorf("%s: a conflict: %v", c.name, is)
			case is && conflict.Index != c.index:
				t.Errorf("%s: conflict at %d, want %d", c.name, conflict.Index, c.index)
			}
			var sum int
			if err := db.One(t.Context(), `SELECT count(*) + count(size) FROM things`, nil, &sum); err != nil || sum != 1 {
				t.Errorf("%s: left traces: %d, %v", c.name, sum, err)
			}
		}
		// A scan that panics, and SQL that is wrong, harm nobody else.
		panicking := sqldb.Statement{SQL: `UPDATE things SET size = 9 RETURNING id`, Want: 1, Scan: func(sqldb.Row) error { panic("oops") }}
		for _, s := range []sqldb.Statement{panicking, {SQL: `UPDATE nothing SET a = 1`}} {
			if err := db.Batch(t.Context(), insert(2, "two"), s); err == nil || errors.Is(err, sqldb.ErrConflict) {
				t.Error(err)
			}
		}
		if err := db.Batch(t.Context(), insert(2, "two"), insert(3, "three")); err != nil || count(t, db) != 3 {
			t.Error(err, count(t, db))
		}
	})
}

func TestReturning(t *testing.T) {
	engines(t, func(t *testing.T, _ string, db *sqldb.DB) {
		var got []string
		err := db.Batch(t.Context(), insert(1, "a"), insert(2, "b"), sqldb.Statement{
			SQL: `UPDATE things SET size = $1 WHERE id > 0 RETURNING id, name`, Args: []any{3}, Want: 2,
			Scan: func(r sqldb.Row) error {
				var id int
				var name string
				err := r.Scan(&id, &name)
				got = append(got, fmt.Sprint(id, name))
				return err
			},
		}, insert(3, "c"))
		if err != nil || len(got) != 2 || strings.Join(got, "") != "1 a2 b" && strings.Join(got, "") != "1a2b" {
			t.Error(got, err)
		}
		if n, err := db.Exec(t.Context(), `INSERT INTO things (id) VALUES (3) ON CONFLICT (id) DO NOTHING`); n != 0 || err != nil {
			t.Error(n, err)
		}
		if n, err := db.Exec(t.Context(), `DELETE FROM things`); n != 3 || err != nil {
			t.Error(n, err)
		}
	})
}

// TestNeighboursDoNotSuffer lets one batch of 50 parallel ones fail in its middle.
func TestNeighboursDoNotSuffer(t *testing.T) {
	engines(t, func(t *testing.T, _ string, db *sqldb.DB) {
		if err := db.Batch(t.Context(), insert(1000, "there")); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				batch := []sqldb.Statement{insert(2*i, fmt.Sprint("a", i)), insert(2*i+1, fmt.Sprint("b", i))}
				if i == 25 {
					batch = append(batch, insert(2000, "there"))
				}
				if err := db.Batch(t.Context(), batch...); errors.Is(err, errTaken) != (i == 25) {
					t.Errorf("batch %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if n := count(t, db); n != 99 {
			t.Errorf("%d rows, want 99", n)
		}
		if s := db.Stats(); s.Rollbacks != 1 || s.Batches != 50 {
			t.Errorf("%+v", s)
		}
	})
}

func TestGroupCommit(t *testing.T) {
	engines(t, func(t *testing.T, _ string, db *sqldb.DB) {
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range 200 {
			wg.Go(func() {
				<-start
				if err := db.Batch(t.Context(), insert(i, fmt.Sprint(i))); err != nil {
					t.Error(err)
				}
			})
		}
		close(start)
		wg.Wait()
		s := db.Stats()
		if s.Batches != 200 || count(t, db) != 200 || s.Waits < 200 {
			t.Errorf("%+v", s)
		}
		if grouped := s.Commits < 200; grouped != (db.Engine() == "sqlite") {
			t.Errorf("%d commits for 200 batches", s.Commits)
		}
	})
}

func TestEndedContext(t *testing.T) {
	engines(t, func(t *testing.T, _ string, db *sqldb.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := db.Batch(ctx, insert(1, "a")); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := db.Query(ctx, `SELECT 1`, nil, func(sqldb.Row) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		// Whatever moment the cancellation meets, the answer must be the truth.
		told := map[int]bool{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range 300 {
			ctx, cancel := context.WithCancel(t.Context())
			wg.Go(func() {
				err := db.Batch(ctx, insert(i, fmt.Sprint(i)), insert(i+1000, fmt.Sprint(i+1000)))
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("batch %d: %v", i, err)
				}
				mu.Lock()
				defer mu.Unlock()
				told[i] = err == nil
			})
			wg.Go(func() {
				time.Sleep(time.Duration(i%30) * 100 * time.Microsecond)
				cancel()
			})
		}
		wg.Wait()
		stored := map[int]bool{}
		err := db.Query(t.Context(), `SELECT id FROM things WHERE id < 1000`, nil, func(r sqldb.Row) error {
			var id int
			err := r.Scan(&id)
			stored[id] = true
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, ok := range told {
			if ok != stored[i] {
				t.Errorf("batch %d: reported durable %v, is %v", i, ok, stored[i])
			}
		}
		if 2*len(stored) != count(t, db) {
			t.Error("half a batch was stored")
		}
	})
}

// TestReadersDoNotWait reads while a write transaction is open and sees none of it.
func TestReadersDoNotWait(t *testing.T) {
	engines(t, func(t *testing.T, _ string, db *sqldb.DB) {
		inside, leave := make(chan struct{}), make(chan struct{})
		result := make(chan error)
		go func() {
			result <- db.Batch(context.Background(), insert(1, "a"), sqldb.Statement{
				SQL: `UPDATE things SET size = 1 RETURNING id`, Want: 1,
				Scan: func(sqldb.Row) error { close(inside); <-leave; return nil },
			})
		}()
		<-inside
		if n := count(t, db); n != 0 {
			t.Errorf("a reader sees %d uncommitted rows", n)
		}
		close(leave)
		if err := <-result; err != nil || count(t, db) != 1 {
			t.Error(err)
		}
	})
}

func TestLeases(t *testing.T) {
	engines(t, func(t *testing.T, _ string, db *sqldb.DB) {
		start := time.UnixMilli(1_700_000_000_000)
		for i, c := range []struct {
			holder string
			after  time.Duration
			want   bool
		}{
			{"a", 0, true}, {"b", 0, false}, {"b", 9 * time.Second, false},
			{"a", 9 * time.Second, true},   // renewed, until 19 s
			{"b", 18 * time.Second, false}, // so this is too early
			{"b", 19 * time.Second, true},  // expired: taken over, until 29 s
			{"a", 20 * time.Second, false},
		} {
			got, err := db.Lease(t.Context(), sqldb.Lease{Name: "sweep", Holder: c.holder, For: 10 * time.Second, Now: start.Add(c.after)})
			if err != nil || got != c.want {
				t.Errorf("step %d: %v, %v", i, got, err)
			}
		}
		take := func(holder string) bool {
			ok, err := db.Lease(t.Context(), sqldb.Lease{Name: "sweep", Holder: holder, For: time.Second, Now: start.Add(20 * time.Second)})
			if err != nil {
				t.Error(err)
			}
			return ok
		}
		if err := db.Release(t.Context(), "sweep", "a"); err != nil || take("a") {
			t.Error("one who does not hold the lease released it", err)
		}
		if err := db.Release(t.Context(), "sweep", "b"); err != nil || !take("a") {
			t.Error("the released lease is not free", err)
		}
		if _, err := db.Lease(t.Context(), sqldb.Lease{Name: "sweep"}); err == nil {
			t.Error("a lease without a holder was given")
		}
		if s := db.Stats(); s.Batches != 0 {
			t.Errorf("leases are counted: %+v", s)
		}
	})
}

// TestOneHolder lets many ask for the same lease at once.
func TestOneHolder(t *testing.T) {
	engines(t, func(t *testing.T, _ string, db *sqldb.DB) {
		var wg sync.WaitGroup
		holders := make(chan int, 20)
		for i := range 20 {
			wg.Go(func() {
				ok, err := db.Lease(t.Context(), sqldb.Lease{Name: "x", Holder: fmt.Sprint(i), For: time.Minute, Now: time.UnixMilli(1)})
				if err != nil {
					t.Error(err)
				}
				if ok {
					holders <- i
				}
			})
		}
		wg.Wait()
		if len(holders) != 1 {
			t.Errorf("%d holders", len(holders))
		}
	})
}

func TestClosed(t *testing.T) {
	engines(t, func(t *testing.T, _ string, db *sqldb.DB) {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := db.Batch(t.Context(), insert(1, "a")); !errors.Is(err, sqldb.ErrUnavailable) {
			t.Error(err)
		}
		if err := db.Ping(t.Context()); !errors.Is(err, sqldb.ErrUnavailable) {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error("closed twice:", err)
		}
	})
}
