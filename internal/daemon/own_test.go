package daemon_test

import (
	"os"
	"path/filepath"
	"testing"

	"chancery/internal/config"
)

// A directory that others may change is no data directory, and nothing is made in it.
func TestOpenDataDirectory(t *testing.T) {
	dir := t.TempDir()
	works(t, os.Chmod(dir, 0o777))
	wantError(t, initialise(t, dir, nil), "chmod 700 "+dir)
	if made, err := os.ReadDir(dir); err != nil || len(made) != 0 {
		t.Errorf("made: %v, %v", made, err)
	}
	works(t, os.Chmod(dir, 0o755))
	database := filepath.Join(dir, "open")
	works(t, os.Mkdir(database, 0o755))
	works(t, os.Chmod(database, 0o777))
	wantError(t, initialise(t, dir, func(c *config.Config) { c.Database.URL = "sqlite:" + database + "/x.db" }), "database.url")
}

// What another user prepared is not taken.
func TestDataDirectoryOfAnother(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give files to another user")
	}
	for _, name := range []string{".", "admin", "keys", "keys/identity", "chancery.db"} {
		dir := t.TempDir()
		if err := initialise(t, dir, nil); err != nil {
			t.Fatal(err)
		}
		works(t, os.Chown(filepath.Join(dir, name), 54321, 54321))
		wantError(t, initialise(t, dir, nil), "user 54321")
	}
	dir := t.TempDir()
	works(t, os.Symlink(t.TempDir(), filepath.Join(dir, "keys")))
	works(t, os.Lchown(filepath.Join(dir, "keys"), 54321, 54321))
	wantError(t, initialise(t, dir, nil), "is a symbolic link of user 54321")
}

// A profile that others may change says what is certified no better than they do.
func TestProfileOfAnother(t *testing.T) {
	dir := t.TempDir()
	works(t, os.Mkdir(filepath.Join(dir, "profiles"), 0o755))
	file := filepath.Join(dir, "profiles", "mine.toml")
	works(t, os.WriteFile(file, nil, 0o600))
	works(t, os.Chmod(file, 0o666))
	wantError(t, initialise(t, dir, nil), "chmod go-w "+file)
}

func works(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
