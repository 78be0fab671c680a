package peertest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Postgres returns the URL of a fresh, empty database on a real server, which is
// dropped when the test ends. The server is that of CHANCERY_TEST_POSTGRES (the
// URL of a superuser), or a private one started once per test process. Without
// either the test is skipped, or fails if CHANCERY_PEERS=required.
func Postgres(t testing.TB) string {
	t.Helper()
	server := os.Getenv("CHANCERY_TEST_POSTGRES")
	if server == "" {
		Need(t, "initdb")
		own, err := private()
		if err != nil {
			t.Fatal(err)
		}
		server = own.url
	}
	name := "test_" + strings.ToLower(rand.Text())
	administer(t, server, "CREATE DATABASE "+name)
	t.Cleanup(func() { administer(t, server, "DROP DATABASE "+name+" WITH (FORCE)") })
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal("CHANCERY_TEST_POSTGRES is not a URL like postgres://user:password@host:5432/postgres")
	}
	u.Path = "/" + name
	return u.String()
}

func administer(t testing.TB, server, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// ownServer is the server of this test process.
type ownServer struct {
	url string
	// leash is the server's standard input. Nobody writes to it or closes it: its
	// end is the end of this process. It is kept here so that the garbage
	// collector does not close it before.
	leash io.Closer
}

// private starts the process's own server, once.
var private = sync.OnceValues(startPostgres)

// script runs the server until the standard input ends, which the kernel sees to
// when the test process is gone, then stops it and removes its directory.
const script = `
"$1" -D "$2/data" -k "$2" -c listen_addresses= -c shared_buffers=16MB -c max_connections=200 \
	-c wal_level=minimal -c max_wal_senders=0 -c autovacuum=off </dev/null &
read -r _
kill -QUIT $!
wait $!
rm -rf "$2"
`

func startPostgres() (*ownServer, error) {
	// The path of a Unix socket is limited to about 100 bytes, and the directory
	// must be open to the user the server runs as: $TMPDIR may be neither.
	dir, err := os.MkdirTemp("/tmp", "peertest-postgres-")
	if err != nil {
		return nil, err
	}
	attributes, err := serverUser(dir)
	if err != nil {
		return nil, err
	}
	initdb := exec.Command(find("initdb"), "-D", filepath.Join(dir, "data"), "-U", "postgres",
		"-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, attributes
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	server := exec.Command("/bin/sh", "-c", script, "sh", find("postgres"), dir)
	server.Dir, server.SysProcAttr = "/", attributes
	server.Stdout, server.Stderr = log, log
	leash, err := server.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := server.Start(); err != nil {
		return nil, err
	}
	dsn := "postgres://postgres@/postgres?host=" + url.QueryEscape(dir)
	if err := answers(dsn); err != nil {
		text, _ := os.ReadFile(filepath.Join(dir, "log"))
		return nil, fmt.Errorf("PostgreSQL does not start: %w\n%s", err, text)
	}
	return &ownServer{url: dsn, leash: leash}, nil
}

// serverUser prepares dir for the user that may run the server: PostgreSQL
// refuses root. A session of its own keeps a Ctrl-C at the terminal from the
// script before it can clean up.
func serverUser(dir string) (*syscall.SysProcAttr, error) {
	attributes := &syscall.SysProcAttr{Setsid: true}
	if os.Getuid() != 0 {
		return attributes, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("root cannot run PostgreSQL, and there is no user for it: %w", err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	attributes.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attributes, os.Chown(dir, int(uid), int(gid))
}

// answers waits until the server takes connections.
func answers(dsn string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, dsn)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}
