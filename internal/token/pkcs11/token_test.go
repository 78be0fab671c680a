//lint:file-ignore SA1019 what is deprecated of RSA is what servers send

package pkcs11_test

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"chancery/internal/peertest"
	"chancery/internal/token/fault"
	"chancery/internal/token/loader"
	"chancery/internal/token/pin"
	"chancery/internal/token/pkcs11"
)

// The test's program is the helper, too, by the name under which it is started.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == pkcs11.Program {
		os.Exit(loader.Main())
	}
	os.Exit(m.Run())
}

func helperPath(t *testing.T) string {
	t.Helper()
	if !loader.Able {
		peertest.Missing(t, "these tests were built without cgo")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), pkcs11.Program)
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// giver gives one PIN and counts how often it is asked.
type giver struct {
	mutex  sync.Mutex
	pin    string
	asked  []pin.Question
	wrongs []string // none of which is given again, as the contract is
}

func (g *giver) PIN(_ context.Context, q pin.Question) ([]byte, error) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.asked = append(g.asked, q)
	if slices.Contains(g.wrongs, g.pin) {
		return nil, &fault.Error{Kind: fault.WrongPIN, Reason: "it was wrong before"}
	}
	return []byte(g.pin), nil
}

func (g *giver) Wrong(_ pin.Question, secret []byte) { g.wrongs = append(g.wrongs, string(secret)) }

type stage struct {
	hsm    *peertest.SoftHSM
	helper string
	giver  *giver
}

func set(t *testing.T) *stage {
	t.Helper()
	s := &stage{hsm: peertest.Tokens(t), helper: helperPath(t), giver: &giver{pin: "4711"}}
	s.hsm.Init(t, "device", "4711")
	return s
}

func (s *stage) open(t *testing.T, label string) (*pkcs11.Token, error) {
	t.Helper()
	token, err := pkcs11.Open(t.Context(), pkcs11.Address{Module: s.hsm.Module, Token: label}, pkcs11.Options{Helper: s.helper, PINs: s.giver})
	if err == nil {
		t.Cleanup(func() { token.Close() })
	}
	return token, err
}

func (s *stage) opened(t *testing.T) *pkcs11.Token {
	t.Helper()
	token, err := s.open(t, "device")
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestKeysSign(t *testing.T) {
	s := set(t)
	token := s.opened(t)
	text := sha256.Sum256([]byte("text"))
	long := sha512.Sum512([]byte("text"))
	for kind, want := range map[string]func(t *testing.T, k *pkcs11.Key){
		"ecdsa-p256": func(t *testing.T, k *pkcs11.Key) {
			for _, digest := range [][]byte{text[:], long[:]} {
				signature, err := k.Sign(rand.Reader, digest, crypto.SHA256)
				if err != nil || !ecdsa.VerifyASN1(k.Public().(*ecdsa.PublicKey), digest, signature) {
					t.Errorf("%d octets: %v", len(digest), err)
				}
			}
		},
		"ecdsa-p384": func(t *testing.T, k *pkcs11.Key) {
			signature, err := k.Sign(rand.Reader, text[:], crypto.SHA256)
			if err != nil || !ecdsa.VerifyASN1(k.Public().(*ecdsa.PublicKey), text[:], signature) || k.Public().(*ecdsa.PublicKey).Curve != elliptic.P384() {
				t.Error(err)
			}
		},
		"rsa-2048": func(t *testing.T, k *pkcs11.Key) {
			public := k.Public().(*rsa.PublicKey)
			signature, err := k.Sign(rand.Reader, text[:], crypto.SHA256)
			if err != nil || rsa.VerifyPKCS1v15(public, crypto.SHA256, text[:], signature) != nil {
				t.Error(err)
			}
			for _, salt := range []int{rsa.PSSSaltLengthEqualsHash, rsa.PSSSaltLengthAuto, 20} {
				o := &rsa.PSSOptions{SaltLength: salt, Hash: crypto.SHA512}
				signature, err := k.Sign(rand.Reader, long[:], o)
				if err != nil || rsa.VerifyPSS(public, crypto.SHA512, long[:], signature, o) != nil {
					t.Errorf("PSS, salt %d: %v", salt, err)
				}
			}
			if _, err := k.Sign(rand.Reader, make([]byte, 16), crypto.MD5); !fault.Is(err, fault.Unfit) {
				t.Errorf("MD5: %v", err)
			}
			if _, err := k.Exchanger(); !fault.Is(err, fault.Unfit) {
				t.Errorf("an RSA key exchanges: %v", err)
			}
		},
	} {
		t.Run(kind, func(t *testing.T) {
			a := pkcs11.Address{Object: "key 1", ID: []byte(kind)}
			made, err := token.Make(t.Context(), a, kind)
			check(t, err)
			want(t, made)
			// The same once more is the same key: a crash leaves none behind.
			again, err := token.Make(t.Context(), a, kind)
			check(t, err)
			found, err := token.Key(t.Context(), pkcs11.Address{ID: a.ID})
			check(t, err)
			type comparable interface{ Equal(crypto.PublicKey) bool }
			if public := made.Public().(comparable); !public.Equal(again.Public()) || !public.Equal(found.Public()) {
				t.Error("other keys")
			}
			if found.Address().Object != "key 1" {
				t.Errorf("%+v", found.Address())
			}
		})
	}
	if len(s.giver.asked) != 1 || !strings.Contains(s.giver.asked[0].Of, `"device"`) {
		t.Errorf("asked for the PIN: %+v", s.giver.asked)
	}
}

// Signatures are made together, by more callers than there are sessions.
func TestKeysSignTogether(t *testing.T) {
	s := set(t)
	token := s.opened(t)
	k, err := token.Make(t.Context(), pkcs11.Address{Object: "k", ID: []byte{1}}, "ecdsa-p256")
	check(t, err)
	var group sync.WaitGroup
	for i := range 40 {
		group.Go(func() {
			digest := sha256.Sum256([]byte{byte(i)})
			signature, err := k.Sign(rand.Reader, digest[:], crypto.SHA256)
			if err != nil || !ecdsa.VerifyASN1(k.Public().(*ecdsa.PublicKey), digest[:], signature) {
				t.Error(err)
			}
			if _, err := token.Key(t.Context(), pkcs11.Address{Object: "no such key"}); !fault.Is(err, fault.Missing) {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

func TestKeysThatAreNotThere(t *testing.T) {
	s := set(t)
	token := s.opened(t)
	_, err := token.Key(t.Context(), pkcs11.Address{Object: "k"})
	if !fault.Is(err, fault.Missing) || !strings.Contains(err.Error(), "no private keys") {
		t.Errorf("missing: %v", err)
	}
	for _, id := range []byte{1, 2} {
		_, err := token.Make(t.Context(), pkcs11.Address{Object: "k", ID: []byte{id}}, "ecdsa-p256")
		check(t, err)
	}
	if _, err = token.Key(t.Context(), pkcs11.Address{Object: "k"}); !fault.Is(err, fault.Ambiguous) || !strings.Contains(err.Error(), "id 02") {
		t.Errorf("ambiguous: %v", err)
	}
	if _, err = token.Key(t.Context(), pkcs11.Address{Object: "x"}); !fault.Is(err, fault.Missing) || !strings.Contains(err.Error(), `"k" (id 01)`) {
		t.Errorf("missing: %v", err)
	}
	second := pkcs11.Address{Object: "k", ID: []byte{2}}
	check(t, token.Remove(t.Context(), second))
	check(t, token.Remove(t.Context(), second)) // nothing is there any more
	if _, err = token.Key(t.Context(), second); !fault.Is(err, fault.Missing) {
		t.Errorf("removed: %v", err)
	}
	_, err = token.Key(t.Context(), pkcs11.Address{Object: "k"})
	check(t, err)
	if _, err = token.Make(t.Context(), pkcs11.Address{Object: "k", ID: []byte{9}}, "ed25519"); !fault.Is(err, fault.Unfit) {
		t.Errorf("Ed25519: %v", err)
	}
}

func TestTokensThatAreNotThere(t *testing.T) {
	s := set(t)
	s.hsm.Init(t, "other", "4711")
	for name, test := range map[string]struct {
		address pkcs11.Address
		kind    fault.Kind
		words   string
	}{
		"no such token": {pkcs11.Address{Module: s.hsm.Module, Token: "x"}, fault.Absent, `"device"`},
		"no such slot":  {pkcs11.Address{Module: s.hsm.Module, Slot: new(uint64)}, fault.Absent, "plug it in"},
		"several":       {pkcs11.Address{Module: s.hsm.Module}, fault.Ambiguous, `"other"`},
		"no library":    {pkcs11.Address{Module: "/no/such/library.so"}, fault.Absent, "module-path"},
		"another file":  {pkcs11.Address{Module: "/etc/passwd"}, fault.Absent, "no PKCS#11 library"},
	} {
		_, err := pkcs11.Open(t.Context(), test.address, pkcs11.Options{Helper: s.helper, PINs: s.giver})
		if !fault.Is(err, test.kind) || !strings.Contains(err.Error(), test.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
	loose := filepath.Join(t.TempDir(), "m.so")
	check(t, os.WriteFile(loose, nil, 0o600))
	check(t, os.Chmod(loose, 0o666))
	_, err := pkcs11.Open(t.Context(), pkcs11.Address{Module: loose}, pkcs11.Options{Helper: s.helper, PINs: s.giver})
	if !fault.Is(err, fault.Absent) || !strings.Contains(err.Error(), "others could exchange it") {
		t.Errorf("a library that others can write: %v", err)
	}
	_, err = pkcs11.Open(t.Context(), pkcs11.Address{Module: s.hsm.Module, Token: "device"}, pkcs11.Options{Helper: "/no/such/helper", PINs: s.giver})
	if !fault.Is(err, fault.Absent) {
		t.Errorf("no helper: %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := pkcs11.Open(t.Context(), pkcs11.Address{Module: s.hsm.Module, Token: "device"}, pkcs11.Options{PINs: s.giver}); !fault.Is(err, fault.Absent) || !strings.Contains(err.Error(), "install") {
		t.Errorf("no helper in PATH: %v", err)
	}
	if len(s.giver.asked) != 0 {
		t.Errorf("a PIN was asked for: %+v", s.giver.asked)
	}
}

// A wrong PIN is shown to the token once, and said to be wrong.
func TestWrongPIN(t *testing.T) {
	s := set(t)
	s.giver.pin = "1234"
	_, err := s.open(t, "device")
	if !fault.Is(err, fault.WrongPIN) || strings.Contains(err.Error(), "1234") {
		t.Fatal(err)
	}
	if len(s.giver.wrongs) != 1 || s.giver.wrongs[0] != "1234" {
		t.Errorf("told of %q", s.giver.wrongs)
	}
	s.giver.pin = "4711"
	s.opened(t)
	if asked := s.giver.asked; len(asked) != 2 || asked[0].Low || !asked[1].Low || asked[1].ID != asked[0].ID {
		t.Errorf("%+v", asked)
	}
}

// When the helper dies, the next signature is made by another one, for which the PIN is
// asked for again; when that is wrong by then, it is tried once.
func TestHelperThatDies(t *testing.T) {
	s := set(t)
	token := s.opened(t)
	k, err := token.Make(t.Context(), pkcs11.Address{Object: "k", ID: []byte{1}}, "ecdsa-p256")
	check(t, err)
	digest := sha256.Sum256(nil)
	check(t, token.Kill())
	if _, err := k.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil {
		t.Fatal(err)
	}
	if len(s.giver.asked) != 2 {
		t.Errorf("asked %d times", len(s.giver.asked))
	}
	s.giver.pin = "1234"
	check(t, token.Kill())
	for range 3 {
		if _, err := k.Sign(rand.Reader, digest[:], crypto.SHA256); !fault.Is(err, fault.WrongPIN) {
			t.Fatal(err)
		}
	}
	if len(s.giver.wrongs) != 1 {
		t.Errorf("a wrong PIN was tried %d times", len(s.giver.wrongs))
	}
	s.giver.pin = "4711" // somebody corrects it
	if _, err := k.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil {
		t.Error(err)
	}
	check(t, token.Close())
	if _, err := k.Sign(rand.Reader, digest[:], crypto.SHA256); !fault.Is(err, fault.Gone) {
		t.Error(err)
	}
}

// Keys that other programs made decrypt and agree on secrets, where they may.
func TestKeysDecrypt(t *testing.T) {
	s := set(t)
	tool := peertest.Need(t, "pkcs11-tool")
	for _, args := range [][]string{{"--key-type", "rsa:2048", "--label", "r", "--id", "01", "--usage-decrypt"}, {"--key-type", "EC:prime256v1", "--label", "e", "--id", "02", "--usage-derive"}} {
		cmd := exec.Command(tool, append([]string{"--module", s.hsm.Module, "--token-label", "device", "--login", "--pin", "4711", "--keypairgen"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	token := s.opened(t)
	r, err := token.Key(t.Context(), pkcs11.Address{Object: "r"})
	check(t, err)
	sealed, err := rsa.EncryptPKCS1v15(rand.Reader, r.Public().(*rsa.PublicKey), []byte("0123456789abcdef"))
	check(t, err)
	for name, opts := range map[string]crypto.DecrypterOpts{"plain": nil, "key": &rsa.PKCS1v15DecryptOptions{SessionKeyLen: 16}} {
		if plain, err := r.Decrypt(rand.Reader, sealed, opts); err != nil || string(plain) != "0123456789abcdef" {
			t.Errorf("%s: %q, %v", name, plain, err)
		}
	}
	sealed[9] ^= 1
	if plain, err := r.Decrypt(rand.Reader, sealed, &rsa.PKCS1v15DecryptOptions{SessionKeyLen: 16}); err != nil || len(plain) != 16 {
		t.Errorf("what is damaged is told from what is not: %d octets, %v", len(plain), err)
	}
	e, err := token.Key(t.Context(), pkcs11.Address{Object: "e"})
	check(t, err)
	mine, err := e.Exchanger()
	check(t, err)
	other, err := ecdh.P256().GenerateKey(rand.Reader)
	check(t, err)
	got, err := mine.ECDH(other.PublicKey())
	check(t, err)
	want, err := other.ECDH(mine.PublicKey())
	check(t, err)
	if string(got) != string(want) {
		t.Error("another secret")
	}
}
