package sqldb_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chancery/internal/peertest"
	"chancery/internal/sqldb"

	"github.com/jackc/pgx/v5"
)

// TestMain makes the test binary its own victim: with SQLDB_CHILD it writes
// batches into that database from eight goroutines, and a line for each that was
// acknowledged, until it is killed.
func TestMain(m *testing.M) {
	if url := os.Getenv("SQLDB_CHILD"); url != "" {
		child(url)
	}
	os.Exit(m.Run())
}

func child(url string) {
	ctx := context.Background()
	db, err := sqldb.Open(ctx, sqldb.Config{URL: url})
	if err == nil {
		err = db.Migrate(ctx, schema)
	}
	if err != nil {
		fmt.Println("child:", err)
		os.Exit(1)
	}
	var next atomic.Int64
	for range 8 {
		go func() {
			for {
				i := int(next.Add(1))
				if err := db.Batch(ctx, insert(2*i, fmt.Sprint("a", i)), insert(2*i+1, fmt.Sprint("b", i))); err != nil {
					fmt.Println("child:", err)
					os.Exit(1)
				}
				os.Stdout.WriteString(fmt.Sprintf("ok %d\n", i))
			}
		}()
	}
	select {}
}

// spawn starts a child on the database and returns its lines.
func spawn(t *testing.T, url string, env ...string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), "SQLDB_CHILD="+url), env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return cmd, bufio.NewScanner(out)
}

// acknowledged reads the child's lines up to limit, kills it, and reads the rest.
func acknowledged(t *testing.T, cmd *exec.Cmd, lines *bufio.Scanner, limit int) []int {
	t.Helper()
	var out []int
	for lines.Scan() {
		var i int
		if _, err := fmt.Sscanf(lines.Text(), "ok %d", &i); err != nil {
			t.Fatal(lines.Text())
		}
		out = append(out, i)
		if len(out) == limit {
			cmd.Process.Kill()
		}
	}
	cmd.Wait()
	return out
}

// verify finds every acknowledged batch, and no half of any.
func verify(t *testing.T, db *sqldb.DB, batches []int) {
	t.Helper()
	for _, i := range batches {
		var n int
		if err := db.One(t.Context(), `SELECT count(*) FROM things WHERE id = $1 OR id = $2`, []any{2 * i, 2*i + 1}, &n); err != nil || n != 2 {
			t.Fatalf("batch %d was acknowledged and has %d rows, %v", i, n, err)
		}
	}
	var odd, even int
	if err := db.One(t.Context(), `SELECT count(*), coalesce(sum(id % 2), 0) FROM things`, nil, &even, &odd); err != nil || even != 2*odd {
		t.Errorf("%d rows, %d of them second halves, %v", even, odd, err)
	}
}

func TestAcknowledgedSurvivesKill(t *testing.T) {
	for name, url := range map[string]func() string{
		"sqlite":   func() string { return "sqlite:" + filepath.Join(t.TempDir(), "c.db") },
		"postgres": func() string { return peertest.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			url := url()
			cmd, lines := spawn(t, url)
			batches := acknowledged(t, cmd, lines, 300)
			if len(batches) < 300 {
				t.Fatalf("only %d batches", len(batches))
			}
			verify(t, open(t, url), batches)
		})
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.db")
	cmd, lines := spawn(t, "sqlite:"+path)
	if !lines.Scan() {
		t.Fatal("the child says nothing")
	}
	_, err := sqldb.Open(t.Context(), sqldb.Config{URL: "sqlite:" + path})
	var locked *sqldb.Locked
	if !errors.As(err, &locked) || locked.PID != cmd.Process.Pid || !strings.Contains(err.Error(), fmt.Sprint(cmd.Process.Pid)) {
		t.Errorf("child %d, error %v", cmd.Process.Pid, err)
	}
	acknowledged(t, cmd, lines, 1)
	open(t, "sqlite:"+path) // the lock ended with the process
}

func TestFileModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	db := open(t, "sqlite:"+filepath.Join(dir, "c.db"))
	if err := db.Migrate(t.Context(), schema); err != nil {
		t.Fatal(err)
	}
	seen := ""
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		seen += d.Name() + " "
		return err
	})
	if err != nil || seen != "store c.db c.db-shm c.db-wal c.db.lock " {
		t.Error(seen, err)
	}
}

func TestSQLiteSettings(t *testing.T) {
	db := open(t, "sqlite:"+filepath.Join(t.TempDir(), "c.db"))
	var journal, inserted string
	if err := db.One(t.Context(), `PRAGMA journal_mode`, nil, &journal); err != nil || journal != "wal" {
		t.Error(journal, err)
	}
	// The writer's own settings are seen through a statement that returns rows.
	for pragma, want := range map[string]int{"synchronous": 2, "foreign_keys": 1} {
		var got int
		err := db.Batch(t.Context(), sqldb.Statement{SQL: "PRAGMA " + pragma, Want: 1,
			Scan: func(r sqldb.Row) error { return r.Scan(&got) }})
		if err != nil || got != want {
			t.Errorf("%s = %d, %v", pragma, got, err)
		}
	}
	if err := db.Migrate(t.Context(), schema); err != nil {
		t.Fatal(err)
	}
	if err := db.One(t.Context(), `INSERT INTO things (id) VALUES (1) RETURNING name`, nil, &inserted); err == nil {
		t.Error("a query wrote")
	}
}

func TestBadURLs(t *testing.T) {
	for _, bad := range []string{
		"", "mysql://u:geheim@h/d", "sqlite:", "sqlite::memory:", "postgres://u:geheim@h:port/d",
		"postgres://u:geheim@/d?host=/nowhere", "postgres://u:ge%zzgeheim@h/d", "postgres://u:geheim@127.0.0.1:1/d",
	} {
		var log bytes.Buffer
		db, err := sqldb.Open(t.Context(), sqldb.Config{URL: bad, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err == nil {
			db.Close()
			t.Errorf("%q was opened", bad)
			continue
		}
		if strings.Contains(err.Error()+log.String(), "geheim") {
			t.Errorf("%q: the password shows: %v %s", bad, err, log.String())
		}
		if refused := strings.Contains(bad, "127.0.0.1") || strings.Contains(bad, "nowhere"); refused != errors.Is(err, sqldb.ErrUnavailable) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestPostgresSettings(t *testing.T) {
	dsn := peertest.Postgres(t)
	admin, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	if _, err := admin.Exec(t.Context(), `ALTER DATABASE `+admin.Config().Database+` SET synchronous_commit = off`); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	db, err := sqldb.Open(t.Context(), sqldb.Config{URL: dsn, LockTimeout: 1500 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	var name, lock, statement, isolation string
	err = db.One(t.Context(), `SELECT current_setting('application_name'), current_setting('lock_timeout'), current_setting('statement_timeout'), current_setting('transaction_isolation')`,
		nil, &name, &lock, &statement, &isolation)
	if err != nil || name != "chancery" || lock != "1500ms" || statement != "30s" || isolation != "read committed" {
		t.Error(name, lock, statement, isolation, err)
	}
	db.Close()
	if n := strings.Count(log.String(), "synchronous_commit=off"); n != 1 {
		t.Errorf("%d warnings: %s", n, log.String())
	}
}

// TestDeadlockIsRetried lets two batches take two rows in opposite order.
func TestDeadlockIsRetried(t *testing.T) {
	db := open(t, peertest.Postgres(t))
	if err := db.Migrate(t.Context(), schema); err != nil {
		t.Fatal(err)
	}
	if err := db.Batch(t.Context(), insert(1, "a"), insert(2, "b")); err != nil {
		t.Fatal(err)
	}
	add := func(id int) sqldb.Statement {
		return sqldb.Statement{SQL: `UPDATE things SET size = coalesce(size, 0) + 1 WHERE id = $1 RETURNING id`, Args: []any{id}, Want: 1,
			Scan: func(sqldb.Row) error { return nil }}
	}
	// They meet if both have their first row within the other's nap.
	rounds := 0
	for nap := 0.1; rounds == 0 || db.Stats().Retries == 0 && nap < 20; nap *= 3 {
		rounds++
		pause := sqldb.Statement{SQL: fmt.Sprintf(`SELECT pg_sleep(%g)`, nap), Want: 1}
		var wg sync.WaitGroup
		for _, batch := range [][]sqldb.Statement{{add(1), pause, add(2)}, {add(2), pause, add(1)}} {
			wg.Go(func() {
				if err := db.Batch(t.Context(), batch...); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	var sum int
	if err := db.One(t.Context(), `SELECT sum(size) FROM things`, nil, &sum); err != nil || sum != 4*rounds {
		t.Error(sum, rounds, err)
	}
	if s := db.Stats(); s.Retries == 0 {
		t.Errorf("no deadlock happened in %d rounds: %+v", rounds, s)
	}
}

// TestLockedRowIsBusy meets a row that a foreign transaction holds.
func TestLockedRowIsBusy(t *testing.T) {
	dsn := peertest.Postgres(t)
	db, err := sqldb.Open(t.Context(), sqldb.Config{URL: dsn, LockTimeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(t.Context(), schema); err != nil {
		t.Fatal(err)
	}
	if err := db.Batch(t.Context(), insert(1, "a")); err != nil {
		t.Fatal(err)
	}
	other, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(t.Context())
	if _, err := other.Exec(t.Context(), `BEGIN; UPDATE things SET size = 1`); err != nil {
		t.Fatal(err)
	}
	if err := db.Batch(t.Context(), insert(2, "b"), sqldb.Statement{SQL: `UPDATE things SET size = 2 WHERE id = 1`, Want: 1}); !errors.Is(err, sqldb.ErrBusy) {
		t.Error(err)
	}
	if n := count(t, db); n != 1 {
		t.Errorf("%d rows", n)
	}
}

// wire is a relay to the server that can be cut.
type wire struct {
	listener net.Listener
	mu       sync.Mutex
	conns    []net.Conn
	watch    string // cut, once this text has been sent to the server
}

func relay(t *testing.T, socket string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l}
	t.Cleanup(func() { l.Close(); w.cut() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("unix", socket)
			if err != nil {
				client.Close()
				continue
			}
			w.mu.Lock()
			w.conns = append(w.conns, client, server)
			w.mu.Unlock()
			go w.copy(server, client, true)
			go w.copy(client, server, false)
		}
	}()
	return w
}

func (w *wire) copy(to, from net.Conn, upward bool) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			to.Close()
			return
		}
		w.mu.Lock()
		meet := upward && w.watch != "" && bytes.Contains(buffer[:n], []byte(w.watch))
		if meet {
			w.watch = ""
			from.Close() // the server gets the message, its answer finds nobody
		}
		w.mu.Unlock()
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		c.Close()
	}
	w.conns = nil
}

// TestCutConnections cuts the connection at each stage: before the commit the
// batch is simply repeated, at the commit its fate is called uncertain.
func TestCutConnections(t *testing.T) {
	dsn := peertest.Postgres(t)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	host := u.Query().Get("host")
	if !strings.HasPrefix(host, "/") {
		peertest.Missing(t, "needs a server on a Unix socket")
	}
	w := relay(t, filepath.Join(host, ".s.PGSQL.5432"))
	db := open(t, "postgres://postgres@"+w.listener.Addr().String()+u.Path+"?sslmode=disable")
	if err := db.Migrate(t.Context(), schema); err != nil {
		t.Fatal(err)
	}
	pair := func(i int) error {
		return db.Batch(t.Context(), insert(i, fmt.Sprint("n", i)), insert(i+1, fmt.Sprint("n", i+1)))
	}
	if err := pair(0); err != nil {
		t.Fatal(err)
	}
	watch := func(text string) {
		w.mu.Lock()
		w.watch = text
		w.mu.Unlock()
	}
	w.cut()
	if err := pair(10); err != nil {
		t.Error("after idle connections were cut:", err)
	}
	watch("n20")
	if err := pair(20); err != nil {
		t.Error("cut while sending:", err)
	}
	watch("COMMIT")
	if err := pair(30); !errors.Is(err, sqldb.ErrUncertain) {
		t.Error("cut while committing:", err)
	}
	watch("n40")
	if err := db.Batch(t.Context(), insert(40, "n40")); !errors.Is(err, sqldb.ErrUncertain) {
		t.Error("cut while autocommitting:", err)
	}
	w.listener.Close()
	w.cut()
	if err := pair(50); !errors.Is(err, sqldb.ErrUnavailable) {
		t.Error("server gone:", err)
	}
	direct := open(t, dsn)
	var n int
	if err := direct.One(t.Context(), `SELECT count(*) FROM things WHERE id < 30`, nil, &n); err != nil || n != 6 {
		t.Errorf("%d rows, want 6, %v", n, err)
	}
}
