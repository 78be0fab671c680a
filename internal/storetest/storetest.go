// Package storetest holds the behaviour suites that every store must pass, on
// every engine, and what tests need to stand up a core: it is imported by tests
// only.
package storetest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"chancery/internal/ca"
	"chancery/internal/peertest"
	"chancery/internal/sqldb"
	"chancery/internal/sqlstore"
)

// Each runs the test on a fresh, migrated database of both engines; PostgreSQL
// is skipped, with the reason, where none can be started.
func Each(t *testing.T, test func(t *testing.T, db *sqldb.DB)) {
	t.Run("sqlite", func(t *testing.T) { test(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, open(t, peertest.Postgres(t))) })
}

// SQLite gives a fresh, migrated SQLite database. The migrations run once for a
// process: each test gets a copy of what they made.
func SQLite(t testing.TB) *sqldb.DB {
	t.Helper()
	file, err := migrated()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "chancery.db")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return open(t, "sqlite:"+name)
}

var migrated = sync.OnceValues(func() (file []byte, err error) {
	dir, err := os.MkdirTemp("", "storetest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "chancery.db")
	db, err := sqldb.Open(context.Background(), sqldb.Config{URL: "sqlite:" + name})
	if err != nil {
		return nil, err
	}
	// Closing moves all into the one file.
	if err := errors.Join(sqlstore.Migrate(context.Background(), db), db.Close()); err != nil {
		return nil, err
	}
	if rest, err := os.Stat(name + "-wal"); err == nil && rest.Size() > 0 {
		return nil, errors.New("storetest: the closed database is not in one file")
	}
	return os.ReadFile(name)
})

func open(t testing.TB, url string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(context.Background(), sqldb.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := sqlstore.Migrate(context.Background(), db); err != nil {
		t.Fatal(err)
	}
	return db
}

// Keys is a key store in memory.
type Keys struct {
	mu   sync.Mutex
	held map[string]crypto.Signer
}

// Load implements [ca.Keys].
func (k *Keys) Load(_ context.Context, name string) (crypto.Signer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s, ok := k.held[name]; ok {
		return s, nil
	}
	return nil, ca.Errorf(ca.NotFound, "no key %s", name)
}

// Generate implements [ca.Keys].
func (k *Keys) Generate(_ context.Context, name, algorithm string) (signer crypto.Signer, err error) {
	switch algorithm {
	case "ecdsa-p256":
		signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ecdsa-p384":
		signer, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ecdsa-p521":
		signer, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "rsa-2048":
		signer, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ed25519":
		_, signer, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = fmt.Errorf("no algorithm %q", algorithm)
	}
	if err == nil {
		k.Put(name, signer)
	}
	return signer, err
}

// Put stores a key made elsewhere.
func (k *Keys) Put(name string, signer crypto.Signer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held == nil {
		k.held = map[string]crypto.Signer{}
	}
	k.held[name] = signer
}

// Seals seals with a fixed secret.
type Seals struct{}

// Seal implements [ca.Seals] for an empty plain text.
func (Seals) Seal(_, associated []byte) []byte {
	mac := hmac.New(sha256.New, []byte("storetest"))
	mac.Write(associated)
	return mac.Sum(nil)
}

// Open implements [ca.Seals].
func (s Seals) Open(sealed, associated []byte) ([]byte, error) {
	if !hmac.Equal(sealed, s.Seal(nil, associated)) {
		return nil, fmt.Errorf("the seal does not fit")
	}
	return nil, nil
}

// Plan is a small hierarchy for tests.
var Plan = ca.Plan{
	Organization: "Example", RootKey: "ecdsa-p384", IssuerKey: "ecdsa-p256",
	RootLife: 20 * 365 * 24 * time.Hour, IssuerLife: 5 * 365 * 24 * time.Hour,
	Shards: 1, StatusURL: "http://status.example",
}

// Authority gives a core over the store; clock nil is the real one. It knows
// no issuers: call Found.
func Authority(t testing.TB, store *sqlstore.Store, keys ca.Keys, clock func() time.Time) *ca.Authority {
	t.Helper()
	if clock == nil {
		clock = time.Now
	}
	a, err := ca.New(ca.Config{
		Ledger: store, Recovery: store, Revocations: store, Hierarchy: store, Keys: keys,
		Profiles: ca.Shipped(), Clock: clock, Seals: Seals{}, CRLLife: 7 * 24 * time.Hour, CRLRefresh: 24 * time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}
