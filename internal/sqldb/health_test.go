package sqldb_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"chancery/internal/sqldb"
)

// A disk that is full is seen, said once, and seen to be free again.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a small disk")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no small disk can be mounted here: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	var log bytes.Buffer
	ctx := context.Background()
	db, err := sqldb.Open(ctx, sqldb.Config{URL: "sqlite:" + filepath.Join(dir, "db"), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(ctx, []sqldb.Migration{{Number: 1, Name: "t", SQL: []string{"CREATE TABLE t (x BYTEA)"}}}); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(dir, "ballast")
	os.WriteFile(ballast, make([]byte, 2<<20), 0o600) // as much as fits
	row := make([]byte, 64<<10)
	for range 64 {
		if _, err = db.Exec(ctx, "INSERT INTO t (x) VALUES ($1)", row); err != nil {
			break
		}
	}
	if err == nil {
		t.Fatal("the disk never filled up")
	}
	if err := db.Writable(ctx); err == nil {
		t.Error("a full disk is called writable")
	}
	if n := strings.Count(log.String(), "cannot be written"); n != 1 {
		t.Errorf("it was said %d times: %s", n, log.String())
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := db.Writable(ctx); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if !strings.Contains(log.String(), "written again") {
		t.Errorf("the log does not say that it is over: %s", log.String())
	}
}
