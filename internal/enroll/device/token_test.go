package device

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/est"
	"chancery/internal/enroll/install"
	"chancery/internal/peertest"
	"chancery/internal/token"
	"chancery/internal/token/fault"
	"chancery/internal/token/loader"
	"chancery/internal/token/pkcs11"
)

// The test's program is the PKCS#11 helper, too, by the name under which it is started.
func init() {
	if filepath.Base(os.Args[0]) == pkcs11.Program {
		os.Exit(loader.Main())
	}
}

// hsm is a token for a device.
type hsm struct {
	place, helper, pin string
	module, dir        string
}

func softToken(t *testing.T) *hsm {
	t.Helper()
	if !loader.Able {
		peertest.Missing(t, "these tests were built without cgo")
	}
	soft := peertest.Tokens(t)
	soft.Init(t, "device", "4711")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	h := &hsm{helper: filepath.Join(dir, pkcs11.Program), pin: filepath.Join(dir, "pin"), module: soft.Module, dir: soft.Dir}
	if err := os.Symlink(self, h.helper); err != nil {
		t.Fatal(err)
	}
	h.place = token.Ref{PKCS11: &pkcs11.Address{Module: soft.Module, Token: "device"}, PIN: "file:" + h.pin}.String()
	h.setPIN(t, "4711")
	return h
}

func (h *hsm) setPIN(t *testing.T, pin string) {
	t.Helper()
	if err := os.WriteFile(h.pin, []byte(pin+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (h *hsm) helped(o *Options) { o.Helper = h.helper }

func (h *hsm) settings(s *Settings) error {
	s.KeyIn = h.place
	return plain(s)
}

// keys counts the key pairs in the token.
func (h *hsm) keys(t *testing.T) int {
	t.Helper()
	objects, err := filepath.Glob(filepath.Join(h.dir, "*", "*.object"))
	if err != nil || len(objects)%2 != 1 {
		t.Fatalf("%q, %v", objects, err)
	}
	return (len(objects) - 1) / 2 // one of them is the token itself
}

// get enrols or renews.
func get(t *testing.T, d *Device, change func(*Settings) error, ask Ask) error {
	t.Helper()
	return locked(t, d, change, func(s *State) error {
		if s.Current != nil && !ask.Anew && (s.Pending == nil || s.Pending.Operation == est.SimpleReenroll) {
			_, err := d.Reenroll(t.Context(), s, ask)
			return err
		}
		_, err := d.Enroll(t.Context(), s, ask)
		return err
	})
}

// Keys in the token go when the files of their generation do, and no others.
func TestTokenGenerations(t *testing.T) {
	s, h := start(t), softToken(t)
	d := s.open(t, t.TempDir(), h.helped)
	for n := range install.GenerationsKept + 1 {
		if err := get(t, d, h.settings, Ask{Fingerprint: s.fingerprint()}); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(d.Paths().Key)
		if err != nil || !strings.Contains(string(text), "object=chancery%20est%20"+install.GenerationName(n+1)+";id=%") || strings.Contains(string(text), "PRIVATE KEY") {
			t.Errorf("%s, %v", text, err)
		}
	}
	state, err := d.State()
	if err != nil || len(state.Made) != install.GenerationsKept || h.keys(t) != install.GenerationsKept {
		t.Errorf("%d keys, %q, %v", h.keys(t), state.Made, err)
	}
	if b, err := d.Bundle(); err != nil || b.Check() != nil {
		t.Error(err)
	}
	d.release()
}

// A request that the server refuses, or that is forgotten, leaves a key which the next one
// takes; another kind of key makes it go.
func TestTokenKeysAreNotLeaked(t *testing.T) {
	s, h := start(t), softToken(t)
	d := s.open(t, t.TempDir(), h.helped)
	s.set(func() { s.refuse = 403 })
	for range 3 {
		if err := get(t, d, h.settings, Ask{Fingerprint: s.fingerprint()}); err == nil {
			t.Fatal("enrolled")
		}
	}
	s.set(func() { s.refuse = 500 })
	for range 2 {
		if err := get(t, d, h.settings, Ask{Anew: true}); err == nil {
			t.Fatal("enrolled")
		}
	}
	if n := h.keys(t); n != 1 {
		t.Errorf("%d keys are in the token", n)
	}
	s.set(func() { s.refuse = 0 })
	err := get(t, d, func(x *Settings) error {
		x.KeyType = "ecdsa-p384"
		return h.settings(x)
	}, Ask{Anew: true})
	if n := h.keys(t); err != nil || n != 1 {
		t.Errorf("%d keys are in the token, %v", n, err)
	}
	if b, err := d.Bundle(); err != nil || install.KeyType(b.Key.Public()) != "ecdsa-p384" {
		t.Error(err)
	}
	d.release()
}

// A crash at any step leaves a key in the token that the next attempt finds.
func TestTokenCrashAnywhere(t *testing.T) {
	s, h := start(t), softToken(t)
	// With the CA known, so that what is tried at each step is the key's way alone.
	template := t.TempDir()
	err := locked(t, s.open(t, template, nil), plain, func(state *State) error {
		return s.open(t, template, nil).Bootstrap(t.Context(), state, s.fingerprint())
	})
	if err != nil {
		t.Fatal(err)
	}
	// Each write has several steps, so that every sort is met; around the making of the key
	// each one counts.
	stride := func(n int) int {
		if n >= 5 && n <= 14 {
			return 1
		}
		return 11
	}
	made := false // a crash was met with the key in the token, and in no file
	for n := 5; ; n += stride(n) {
		dir := filepath.Join(t.TempDir(), "d")
		if err := os.CopyFS(dir, os.DirFS(template)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Chmod(dir, 0o700), os.Chmod(filepath.Join(dir, stateFile), 0o600)); err != nil {
			t.Fatal(err)
		}
		before := h.keys(t)
		left := n
		at, ended := crashed(t, func(string) bool { left--; return left == 0 }, func() error { return get(t, s.open(t, dir, h.helped), h.settings, Ask{}) })
		_, err := os.Stat(filepath.Join(dir, pendingKey))
		made = made || h.keys(t) > before && err != nil
		if ended {
			if n < 20 || !made {
				t.Fatalf("only %d steps, and the key was made in one: %t", n, made)
			}
			return
		}
		d := s.open(t, dir, h.helped)
		if state, err := d.State(); err == nil && state.Current == nil {
			if err := get(t, d, h.settings, Ask{}); err != nil {
				t.Errorf("step %d, %s: %v", n, at, err)
			}
		}
		if made := h.keys(t) - before; made != 1 {
			t.Errorf("step %d, %s: %d keys were made", n, at, made)
		}
	}
}

// The agent renews with keys in the token; a wrong PIN is tried once however often it looks,
// and when it is right again all goes on.
func TestTokenAgent(t *testing.T) {
	s, h, c := start(t), softToken(t), &clock{}
	d := s.open(t, t.TempDir(), func(o *Options) {
		h.helped(o)
		o.Now = c.now
	})
	if err := get(t, d, h.settings, Ask{Fingerprint: s.fingerprint()}); err != nil {
		t.Fatal(err)
	}
	day := 24 * time.Hour
	c.move(22 * day)
	s.set(func() { s.life = 90 * day })
	if p := pass(t, d); p.Err != nil || !slices.Contains(p.Did, JobRenew) {
		t.Errorf("%+v", p)
	}
	c.move(43 * day)
	s.set(func() { s.life = 400 * day })
	h.setPIN(t, "1234")
	if p := pass(t, d); !fault.Is(p.Err, fault.WrongPIN) {
		t.Errorf("%+v", p)
	}
	for range 3 {
		c.move(time.Hour)
		if p := pass(t, d); !fault.Is(p.Err, fault.WrongPIN) || !strings.Contains(p.Err.Error(), "before") {
			t.Errorf("%+v", p)
		}
	}
	if text, err := os.ReadFile(filepath.Join(d.Dir(), refusedFile)); err != nil || strings.Contains(string(text), "1234") {
		t.Errorf("%s, %v", text, err)
	}
	h.setPIN(t, "4711")
	c.move(time.Hour)
	if p := pass(t, d); p.Err != nil {
		t.Errorf("%+v", p)
	}
	if state, err := d.State(); err != nil || generationOf(state) != 3 || h.keys(t) != 3 {
		t.Errorf("%+v, %v", state, err)
	}
}

// generationOf is the number of the certificate in use.
func generationOf(s *State) int { return install.GenerationNumber(s.Current.Generation) }

// The same with a TPM, which goes away for a while.
func TestTPMAgent(t *testing.T) {
	s, c, at := start(t), &clock{}, peertest.TPM(t)
	socket := filepath.Join(t.TempDir(), "tpm")
	if err := os.Symlink(at, socket); err != nil {
		t.Fatal(err)
	}
	d := s.open(t, t.TempDir(), func(o *Options) { o.Now = c.now })
	settings := func(x *Settings) error {
		x.KeyIn = "tpm:?device=" + socket
		return plain(x)
	}
	if err := get(t, d, settings, Ask{Fingerprint: s.fingerprint()}); err != nil {
		t.Fatal(err)
	}
	day := 24 * time.Hour
	c.move(22 * day)
	s.set(func() { s.life = 90 * day })
	if p := pass(t, d); p.Err != nil || !slices.Contains(p.Did, JobRenew) {
		t.Errorf("%+v", p)
	}
	c.move(43 * day)
	s.set(func() { s.life = 400 * day })
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	if p := pass(t, d); !fault.Is(p.Err, fault.Absent) {
		t.Errorf("without its TPM: %+v", p)
	}
	if err := os.Symlink(at, socket); err != nil {
		t.Fatal(err)
	}
	c.move(time.Hour)
	if p := pass(t, d); p.Err != nil || !slices.Contains(p.Did, JobRenew) {
		t.Errorf("%+v", p)
	}
	// Another TPM has not made this key: nothing goes but a new beginning.
	if err := errors.Join(os.Remove(socket), os.Symlink(peertest.TPM(t), socket)); err != nil {
		t.Fatal(err)
	}
	if err := get(t, d, nil, Ask{}); !fault.Is(err, fault.Missing) {
		t.Errorf("with another TPM: %v", err)
	}
	if state, err := d.State(); err != nil || state.Pending != nil {
		t.Errorf("what could not even be begun is under way: %+v, %v", state.Pending, err)
	}
	if err := get(t, d, nil, Ask{Anew: true}); err != nil {
		t.Error(err)
	}
}

// What would have a key written that does not leave where it is is refused before anything
// is asked.
func TestKeysThatStay(t *testing.T) {
	s := start(t)
	for name, change := range map[string]func(*Settings){
		"key":      func(x *Settings) { x.Install.Key = "/etc/web.key" },
		"combined": func(x *Settings) { x.Install.Combined = "/etc/web.pem" },
		"id":       func(x *Settings) { x.KeyIn = "pkcs11:id=%01?module-path=/m.so" },
		"file":     func(x *Settings) { x.KeyIn = "tpm:/etc/key.pem" },
		"no name":  func(x *Settings) { x.KeyIn = "/etc/key.pem" },
		"maker":    func(x *Settings) { x.Maker = &Files{Cert: "/c", Key: "pkcs11:token=T"} },
	} {
		d := s.open(t, t.TempDir(), nil)
		_, err := d.Configure(func(x *Settings) error {
			x.KeyIn = "tpm:"
			change(x)
			return plain(x)
		})
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if len(s.asked) > 0 {
		t.Errorf("the server was asked: %q", s.asked)
	}
}

// A PIN that nobody gave is asked for where somebody is.
func TestPINIsAsked(t *testing.T) {
	s, h := start(t), softToken(t)
	var asked []string
	d := s.open(t, t.TempDir(), func(o *Options) {
		h.helped(o)
		o.PIN = func(_ context.Context, of string) ([]byte, error) {
			asked = append(asked, of)
			return []byte("4711"), nil
		}
	})
	err := get(t, d, func(x *Settings) error {
		x.KeyIn = "pkcs11:token=device?module-path=" + h.module
		return plain(x)
	}, Ask{Fingerprint: s.fingerprint()})
	if err != nil || len(asked) != 1 || !strings.Contains(asked[0], `"device"`) {
		t.Errorf("%q, %v", asked, err)
	}
	// Under one lock once; under the next again, as nothing is kept; and no more when it is
	// said where it is.
	if err := get(t, d, nil, Ask{}); err != nil || len(asked) != 2 {
		t.Errorf("%q, %v", asked, err)
	}
	if err := get(t, d, h.settings, Ask{}); err != nil || len(asked) != 2 || h.keys(t) != 3 {
		t.Errorf("%q, %d keys, %v", asked, h.keys(t), err)
	}
}

// A key that the server makes comes encrypted to one in a token, where that may decrypt;
// where it may not, that is found out before anything is sent.
func TestServerKeyToToken(t *testing.T) {
	s, h := start(t), softToken(t)
	tool := peertest.Need(t, "pkcs11-tool")
	out, err := exec.Command(tool, "--module", h.module, "--token-label", "device", "--login", "--pin", "4711", "--keypairgen",
		"--key-type", "EC:prime256v1", "--label", "maker", "--id", "01", "--usage-derive", "--usage-sign").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	name := "pkcs11:token=device;object=maker?module-path=" + h.module + "&pin-source=file:" + h.pin
	ref, err := token.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	tokens := token.New(token.Options{Read: readPIN, Helper: h.helper})
	defer tokens.Close()
	key, err := tokens.Open(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	cert := sign(t, s.below, x509.Certificate{Subject: pkix.Name{CommonName: "maker"}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyAgreement}, key)
	file := filepath.Join(t.TempDir(), "maker.pem")
	if err := os.WriteFile(file, install.EncodeCertificates(cert), 0o600); err != nil {
		t.Fatal(err)
	}
	d := s.open(t, t.TempDir(), h.helped)
	err = locked(t, d, func(x *Settings) error {
		x.Maker, x.SealTo = &Files{Cert: file, Key: name}, &Files{Cert: file, Key: name}
		return plain(x)
	}, func(state *State) error {
		_, err := d.ServerKey(t.Context(), state, Ask{Fingerprint: s.fingerprint()})
		return err
	})
	if err != nil || !s.sealed {
		t.Errorf("%t, %v", s.sealed, err)
	}
	d.release()

	// The key in use was made in the token, for signatures alone.
	s.usage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyAgreement
	d = s.open(t, t.TempDir(), h.helped)
	if err := get(t, d, h.settings, Ask{Fingerprint: s.fingerprint()}); err != nil {
		t.Fatal(err)
	}
	err = locked(t, d, nil, func(state *State) error {
		_, err := d.ServerKey(t.Context(), state, Ask{})
		return err
	})
	if err != nil || s.sealed {
		t.Errorf("%t, %v", s.sealed, err)
	}
}
