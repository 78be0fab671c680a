package keys

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"chancery/internal/durable"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// newStore opens a directory that unlocks itself.
func newStore(tb testing.TB) (*Store, string) {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "keys")
	s, err := Open(Config{Dir: dir})
	if err != nil {
		tb.Fatal(err)
	}
	return s, dir
}

func equal(a, b crypto.PublicKey) bool {
	return a.(interface{ Equal(crypto.PublicKey) bool }).Equal(b)
}

func TestGenerateLoadSign(t *testing.T) {
	s, dir := newStore(t)
	for _, a := range Algorithms() {
		t.Run(string(a), func(t *testing.T) {
			made, err := s.Generate(t.Context(), string(a), a)
			if err != nil {
				t.Fatal(err)
			}
			again := must(Open(Config{Dir: dir}))
			loaded, err := again.Load(t.Context(), string(a))
			if err != nil {
				t.Fatal(err)
			}
			if !equal(made.Public(), loaded.Public()) {
				t.Fatal("another key was loaded")
			}
			message := []byte("message")
			signature := sign(t, loaded, message)
			checkWithOpenSSL(t, loaded.Public(), message, signature)
			if text := fmt.Sprintf("%v %+v %#v", loaded, loaded, loaded); len(text) > 200 {
				t.Fatalf("a signer prints as %s", text)
			}
		})
	}
	names := must(s.List())
	want := []string{"ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519", "rsa-2048", "rsa-3072", "rsa-4096"}
	if !slices.Equal(names, want) {
		t.Fatalf("got %q", names)
	}
}

// sign signs SHA-256 of the message, or, with Ed25519, the message.
func sign(t *testing.T, key crypto.Signer, message []byte) []byte {
	t.Helper()
	sum := sha256.Sum256(message)
	digest, opts := sum[:], crypto.SignerOpts(crypto.SHA256)
	ok := false
	if _, pure := key.Public().(ed25519.PublicKey); pure {
		digest, opts = message, crypto.Hash(0)
	}
	signature, err := key.Sign(rand.Reader, digest, opts)
	if err != nil {
		t.Fatal(err)
	}
	switch public := key.Public().(type) {
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(public, digest, signature)
	case *rsa.PublicKey:
		ok = rsa.VerifyPKCS1v15(public, crypto.SHA256, digest, signature) == nil
	case ed25519.PublicKey:
		ok = ed25519.Verify(public, message, signature)
	}
	if !ok {
		t.Fatal("the signature does not verify")
	}
	return signature
}

// checkWithOpenSSL has another implementation verify, where there is one.
func checkWithOpenSSL(t *testing.T, public crypto.PublicKey, message, signature []byte) {
	t.Helper()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl here")
	}
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	spki := must(x509.MarshalPKIXPublicKey(public))
	args := []string{"pkeyutl", "-verify", "-pubin", "-rawin",
		"-inkey", file("key", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})),
		"-in", file("message", message), "-sigfile", file("signature", signature)}
	if _, pure := public.(ed25519.PublicKey); !pure {
		args = append(args, "-digest", "sha256")
	}
	if out, err := exec.Command(openssl, args...).CombinedOutput(); err != nil {
		t.Fatalf("openssl refuses the signature: %v\n%s", err, out)
	}
}

// No interface of the signer leads to the private key.
func TestSignerKeepsItsKey(t *testing.T) {
	s, _ := newStore(t)
	key := must(s.Generate(t.Context(), "a", ECDSAP256))
	if _, err := x509.MarshalPKCS8PrivateKey(key); err == nil {
		t.Fatal("the private key can be exported")
	}
	// It is good for certificates all the same.
	template := &x509.Certificate{SerialNumber: must(rand.Int(rand.Reader, elliptic.P256().Params().N))}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	if cert := must(x509.ParseCertificate(der)); cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) != nil {
		t.Fatal("the certificate's signature is wrong")
	}
}

func TestImport(t *testing.T) {
	s, _ := newStore(t)
	pkcs8 := func(key any) []byte { return must(x509.MarshalPKCS8PrivateKey(key)) }
	good := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	imported, err := s.Import(t.Context(), "old", pkcs8(good))
	if err != nil || !equal(imported.Public(), good.Public()) {
		t.Fatal(err)
	}
	if loaded := must(s.Load(t.Context(), "old")); !equal(loaded.Public(), good.Public()) {
		t.Fatal("another key was loaded")
	}
	if _, err := s.Import(t.Context(), "old", pkcs8(good)); !errors.Is(err, ErrExists) {
		t.Fatalf("got %v", err)
	}
	small := must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	if _, err := s.Import(t.Context(), "small", pkcs8(small)); !errors.Is(err, ErrAlgorithm) {
		t.Fatalf("got %v", err)
	}
	if _, err := s.Import(t.Context(), "junk", []byte("junk")); err == nil {
		t.Fatal("junk was imported")
	}
}

func TestRefusals(t *testing.T) {
	s, dir := newStore(t)
	must(s.Generate(t.Context(), "a", Ed25519))
	before := must(os.ReadFile(filepath.Join(dir, "a.key.age")))
	if _, err := s.Generate(t.Context(), "a", Ed25519); !errors.Is(err, ErrExists) {
		t.Errorf("again: %v", err)
	}
	if after := must(os.ReadFile(filepath.Join(dir, "a.key.age"))); !bytes.Equal(before, after) {
		t.Error("the key was overwritten")
	}
	if _, err := s.Generate(t.Context(), "b", "rsa-1024"); !errors.Is(err, ErrAlgorithm) {
		t.Errorf("small: %v", err)
	}
	if _, err := s.Load(t.Context(), "missing"); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing: %v", err)
	}
	for _, name := range []string{"", "A", "../a", "a/b", ".a", "a.b", "-a", "a\x00", strings.Repeat("a", 65)} {
		if _, err := s.Load(t.Context(), name); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Generate(cancelled, "c", Ed25519); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestRetire(t *testing.T) {
	s, dir := newStore(t)
	first := must(s.Generate(t.Context(), "a", Ed25519))
	for range 2 {
		if err := s.Retire(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Load(t.Context(), "a"); !errors.Is(err, ErrNotFound) || len(must(s.List())) != 0 {
			t.Fatalf("a retired key is still there: %v", err)
		}
		must(s.Generate(t.Context(), "a", Ed25519))
	}
	if err := s.Retire(t.Context(), "b"); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	// Nothing is lost: put back by hand, the first key is there again.
	if err := os.Rename(filepath.Join(dir, "a.key.age.retired"), filepath.Join(dir, "a.key.age")); err != nil {
		t.Fatal(err)
	}
	if again := must(s.Load(t.Context(), "a")); !equal(first.Public(), again.Public()) {
		t.Fatal("the retired file holds another key")
	}
	must(os.Stat(filepath.Join(dir, "a.key.age.retired.2")))
}

func TestPermissions(t *testing.T) {
	old := syscall.Umask(0) // the most careless there is
	defer syscall.Umask(old)
	top := t.TempDir()
	if err := os.Chmod(top, 0o755); err != nil { // everybody's, by this mask
		t.Fatal(err)
	}
	dir := filepath.Join(top, "keys")
	s := must(Open(Config{Dir: dir}))
	must(s.Generate(t.Context(), "a", Ed25519))
	must(s.Sealer(t.Context(), "b"))
	must(s.Generate(t.Context(), "c", Ed25519))
	if err := s.Retire(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	must(durable.Stage(private(filepath.Join(dir, "x"), []byte("x"))))
	entries := must(os.ReadDir(dir))
	if len(entries) != 6 {
		t.Fatalf("%d files", len(entries))
	}
	for _, e := range entries {
		if mode := must(e.Info()).Mode(); mode != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), mode)
		}
	}
	if mode := must(os.Stat(dir)).Mode().Perm(); mode != 0o700 {
		t.Errorf("the directory has mode %v", mode)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrPermissions) || !strings.Contains(err.Error(), "chmod 700 "+dir) {
		t.Errorf("an open directory: %v", err)
	}
}

// Keys that another user put there are none of ours.
func TestPreparedByAnother(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give files to another user")
	}
	for _, name := range []string{"", "a.key.age", "identity"} {
		s, dir := newStore(t)
		must(s.Generate(t.Context(), "a", Ed25519))
		if err := os.Chown(filepath.Join(dir, name), 54321, 54321); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrPermissions) || !strings.Contains(err.Error(), "user 54321") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestLeftovers(t *testing.T) {
	s, dir := newStore(t)
	must(s.Generate(t.Context(), "a", Ed25519))
	left := must(durable.Stage(private(filepath.Join(dir, "b.key.age"), []byte("half a ke"))))
	live := must(durable.Stage(private(filepath.Join(dir, "b.key.age"), []byte("being written"))))
	longAgo := time.Now().Add(-2 * temporaryAge)
	if err := os.Chtimes(left, longAgo, longAgo); err != nil {
		t.Fatal(err)
	}
	s = must(Open(Config{Dir: dir}))
	if names := must(s.List()); !slices.Equal(names, []string{"a"}) {
		t.Fatalf("got %q", names)
	}
	if _, err := os.Stat(left); !missing(err) {
		t.Fatal("the leftover is still there")
	}
	must(os.Stat(live))
}

// A crash at any point of the first start leaves what the next one completes.
func TestInterruptedStart(t *testing.T) {
	dir := t.TempDir()
	must(unlockSecret(dir, true)) // and then the power went
	s := must(Open(Config{Dir: dir}))
	key := must(s.Generate(t.Context(), "a", Ed25519))
	s = must(Open(Config{Dir: dir}))
	if !equal(key.Public(), must(s.Load(t.Context(), "a")).Public()) {
		t.Fatal("the key changed")
	}
}

func TestDamage(t *testing.T) {
	s, dir := newStore(t)
	for _, name := range []string{"a", "b"} {
		must(s.Generate(t.Context(), name, Ed25519))
	}
	path := filepath.Join(dir, "a.key.age")
	good, other := must(os.ReadFile(path)), must(os.ReadFile(filepath.Join(dir, "b.key.age")))
	flipped := bytes.Clone(good)
	flipped[len(flipped)-5] ^= 1
	for name, data := range map[string][]byte{
		"empty": {}, "half a header": good[:50], "truncated": good[:len(good)-1], "flipped": flipped,
		"longer": append(bytes.Clone(good), 0), "swapped": other, "huge": make([]byte, fileLimit+1), "text": []byte("hello"),
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Load(t.Context(), "a"); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	identity := filepath.Join(dir, "identity")
	whole := must(os.ReadFile(identity))
	for _, data := range [][]byte{{}, whole[:30], whole[:len(whole)-3]} {
		if err := os.WriteFile(identity, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrDamaged) {
			t.Errorf("an identity of %d octets: %v", len(data), err)
		}
	}
}

func TestPassphrase(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	right, wrong, next := NewSecret([]byte("correct horse")), NewSecret([]byte("wrong")), NewSecret([]byte("battery staple"))
	s := must(Open(Config{Dir: dir, Secret: right}))
	key := must(s.Generate(t.Context(), "a", Ed25519))
	if _, err := os.Stat(filepath.Join(dir, "unlock")); !missing(err) {
		t.Error("an unlock file was made although there is a passphrase")
	}
	_, err := Open(Config{Dir: dir, Secret: wrong})
	if !errors.Is(err, ErrLocked) || strings.Contains(err.Error(), "wrong") {
		t.Errorf("wrong: %v", err)
	}
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrLocked) {
		t.Errorf("none: %v", err)
	}
	if err := s.ChangePassphrase(Secret{}); !errors.Is(err, ErrSecret) {
		t.Errorf("empty: %v", err)
	}
	if err := s.ChangePassphrase(next); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir, Secret: right}); !errors.Is(err, ErrLocked) {
		t.Errorf("the old passphrase: %v", err)
	}
	s = must(Open(Config{Dir: dir, Secret: next}))
	if !equal(key.Public(), must(s.Load(t.Context(), "a")).Public()) {
		t.Error("the key changed")
	}
}

func TestFromUnlockFileToPassphrase(t *testing.T) {
	s, dir := newStore(t)
	secret := NewSecret([]byte("typed"))
	if err := s.ChangePassphrase(secret); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "unlock")); !missing(err) {
		t.Fatal("the useless unlock file is still there")
	}
	must(Open(Config{Dir: dir, Secret: secret}))
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrLocked) {
		t.Fatalf("got %v", err)
	}
}

func TestLostUnlockFile(t *testing.T) {
	_, dir := newStore(t)
	unlock := filepath.Join(dir, "unlock")
	if err := os.Chmod(unlock, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrPermissions) || !strings.Contains(err.Error(), "chmod 600 "+unlock) {
		t.Fatalf("got %v", err)
	}
	if err := os.Remove(unlock); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrLocked) {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(unlock); !missing(err) {
		t.Fatal("another secret was made, as if that could open anything")
	}
}

// TestMain is also the second process of TestTwoProcesses.
func TestMain(m *testing.M) {
	dir := os.Getenv("CHANCERY_TEST_KEYS")
	if dir == "" {
		passphraseWork = 10
		os.Exit(m.Run())
	}
	s, err := Open(Config{Dir: dir})
	if err == nil {
		_, err = s.Generate(context.Background(), "same", ECDSAP256)
	}
	switch {
	case err == nil:
		fmt.Print("made")
	case errors.Is(err, ErrExists):
		fmt.Print("exists")
	default:
		fmt.Print(err)
	}
	os.Exit(0)
}

func TestTwoProcesses(t *testing.T) {
	for range 5 {
		dir := filepath.Join(t.TempDir(), "keys")
		var outcomes [3]string
		var group sync.WaitGroup
		for i := range outcomes {
			group.Go(func() {
				c := exec.Command(os.Args[0])
				c.Env = append(os.Environ(), "CHANCERY_TEST_KEYS="+dir)
				out, err := c.Output()
				if err != nil {
					t.Error(err)
				}
				outcomes[i] = string(out)
			})
		}
		group.Wait()
		slices.Sort(outcomes[:])
		if outcomes != [3]string{"exists", "exists", "made"} {
			t.Fatalf("got %q", outcomes)
		}
		s := must(Open(Config{Dir: dir}))
		must(s.Load(t.Context(), "same"))
	}
}
