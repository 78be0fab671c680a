//go:build crashpoints

package sqldb_test

import (
	"os"
	"path/filepath"
	"testing"

	"chancery/internal/peertest"
)

// TestCrashPoints lets a child die at its tenth commit.
func TestCrashPoints(t *testing.T) {
	urls := map[string]func() string{
		"sqlite":   func() string { return "sqlite:" + filepath.Join(t.TempDir(), "c.db") },
		"postgres": func() string { return peertest.Postgres(t) },
	}
	for engine, url := range urls {
		for _, when := range []string{"before:1", "before:10", "after:10"} {
			t.Run(engine+" "+when, func(t *testing.T) {
				url := url()
				cmd, lines := spawn(t, url, "CHANCERY_CRASH="+when)
				batches := acknowledged(t, cmd, lines, 0)
				// Several are under way at once, and only the counted tenth is certain.
				if len(batches) > 9 {
					t.Errorf("%d batches acknowledged", len(batches))
				}
				db := open(t, url)
				verify(t, db, batches)
				if n := count(t, db) / 2; when == "after:10" && n < 10 || when == "before:1" && n > 7 {
					t.Errorf("%d batches stored", n)
				}
			})
		}
		t.Run(engine+" from", func(t *testing.T) {
			url, start := url(), filepath.Join(t.TempDir(), "start")
			cmd, lines := spawn(t, url, "CHANCERY_CRASH=after:1", "CHANCERY_CRASH_FROM="+start)
			for range 50 {
				if !lines.Scan() {
					t.Fatal("died before it was allowed to")
				}
			}
			if err := os.WriteFile(start, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			acknowledged(t, cmd, lines, 0)
		})
	}
}
