package daemon_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chancery/internal/config"
	"chancery/internal/daemon"
)

// initialise runs Init on a directory with a changed default configuration.
func initialise(t *testing.T, dir string, change func(*config.Config)) error {
	t.Helper()
	c := config.Default()
	c.Data, c.Profiles = dir, filepath.Join(dir, "profiles")
	c.URL = config.URL{Base: "https://localhost:8443", Status: "http://localhost:8443"}
	if change != nil {
		change(c)
	}
	_, err := daemon.Init(context.Background(), daemon.Options{Config: c, Logger: slog.New(slog.DiscardHandler)})
	return err
}

func wantError(t *testing.T, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Fatalf("got %v; want an error that says %q", err, words)
	}
}

// A lost database must not quietly become a new, unbound authority.
func TestLostDatabase(t *testing.T) {
	dir := t.TempDir()
	if err := initialise(t, dir, func(c *config.Config) { c.Hierarchy.Domains = []string{"corp.example"} }); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"chancery.db", "chancery.db-wal", "chancery.db-shm"} {
		os.Remove(filepath.Join(dir, name))
	}
	wantError(t, initialise(t, dir, nil), "restore the database")
}

// What the configuration says of domains is so, or nothing starts.
func TestDomainsOfAnotherAuthority(t *testing.T) {
	dir := t.TempDir()
	if err := initialise(t, dir, nil); err != nil {
		t.Fatal(err)
	}
	wantError(t, initialise(t, dir, func(c *config.Config) { c.Hierarchy.Domains = []string{"corp.example"} }), "may certify every name")
}

// A configuration that cannot work leaves no authority behind.
func TestNothingIsFoundedForNothing(t *testing.T) {
	for words, change := range map[string]func(*config.Config){
		"acme.profiles":   func(c *config.Config) { c.ACME.Profiles = []string{"nope"} },
		"name constraint": func(c *config.Config) { c.Hierarchy.Domains = []string{"*.corp.example"} },
	} {
		dir := t.TempDir()
		wantError(t, initialise(t, dir, change), words)
		keys, err := filepath.Glob(filepath.Join(dir, "keys", "*.key.age"))
		if err != nil || len(keys) > 0 {
			t.Errorf("%s: keys were made: %v %v", words, keys, err)
		}
		if err := initialise(t, dir, nil); err != nil {
			t.Errorf("%s: the directory is of no use any more: %v", words, err)
		}
	}
}
