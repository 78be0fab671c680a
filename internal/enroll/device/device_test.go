package device

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/est"
	"chancery/internal/durable"
	"chancery/internal/enroll/install"
)

func enroll(t testing.TB, d *Device, ask Ask) (o *Outcome, err error) {
	t.Helper()
	failed := locked(t, d, plain, func(s *State) error { o, err = d.Enroll(t.Context(), s, ask); return nil })
	return o, errors.Join(failed, err)
}

// From nothing to a certificate, and to its successor.
func TestFromBootstrapToRenewal(t *testing.T) {
	s := start(t)
	s.user = "u:p"
	dir := filepath.Join(t.TempDir(), "state", "device")
	d := s.open(t, dir, nil)
	s.before = func(op est.Operation) { // the key is durable before the request is sent
		_, err := os.Stat(filepath.Join(dir, pendingKey))
		if wanted := op == est.SimpleEnroll || op == est.SimpleReenroll; (err == nil) != wanted {
			t.Errorf("%s: the pending key: %v", op, err)
		}
	}
	got, err := enroll(t, d, Ask{Fingerprint: s.fingerprint(), Login: &est.Login{User: "u", Password: "p"}})
	if err != nil || !got.Linked || got.Deployed != nil {
		t.Fatalf("%+v, %v", got, err)
	}
	first, err := d.Bundle()
	if err != nil || len(first.Chain) != 2 || !first.Chain[1].Equal(s.below.Cert) {
		t.Fatalf("%d certificates, %v", len(first.Chain), err)
	}
	for path, mode := range map[string]fs.FileMode{
		dir: 0o700, got.Paths.Key: 0o600, got.Paths.Cert: 0o644, filepath.Join(dir, stateFile): 0o600, filepath.Join(dir, explicitFile): 0o644,
	} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil || bytes.Contains(text, []byte(`"p"`)) || bytes.Contains(text, []byte("assword")) {
		t.Errorf("%s, %v", text, err)
	}
	if s.passwords != 1 {
		t.Errorf("the password was sent %d times", s.passwords)
	}
	// Another process renews: with the certificate, another key, and no password.
	again := s.open(t, dir, nil)
	err = locked(t, again, nil, func(state *State) error {
		got, err := again.Reenroll(t.Context(), state, Ask{})
		if err == nil && !got.Shown {
			t.Error("the certificate was not shown")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	second, err := again.Bundle()
	if err != nil || second.Chain[0].Equal(first.Chain[0]) || bytes.Equal(second.Chain[0].RawSubjectPublicKeyInfo, first.Chain[0].RawSubjectPublicKeyInfo) || !slices.Equal(second.Chain[0].DNSNames, first.Chain[0].DNSNames) {
		t.Errorf("%v", err)
	}
	if target, err := os.Readlink(d.Lineage()); err != nil || target != "g000002" || s.passwords != 1 {
		t.Errorf("%s, %v, %d passwords", target, err, s.passwords)
	}
	err = locked(t, again, func(s *Settings) error { s.ReuseKey = true; return nil }, func(state *State) error {
		_, err := again.Reenroll(t.Context(), state, Ask{})
		return err
	})
	third, _ := again.Bundle()
	if err != nil || !bytes.Equal(third.Chain[0].RawSubjectPublicKeyInfo, second.Chain[0].RawSubjectPublicKeyInfo) {
		t.Errorf("the key was not kept: %v", err)
	}
}

func TestBootstrapNeedsAWord(t *testing.T) {
	s := start(t)
	for name, test := range map[string]struct {
		person Person
		print  string
		good   bool
	}{
		"nobody and no fingerprint": {nil, "", false},
		"a person who says no":      {&nobody{}, "", false},
		"a person who says yes":     {&yes{}, "", true},
		"a fingerprint":             {&nobody{}, s.fingerprint(), true},
		"a wrong one":               {&yes{}, "sha256:" + strings.Repeat("00", 32), false},
	} {
		t.Run(name, func(t *testing.T) {
			before := s.count(est.CACerts)
			d := s.open(t, t.TempDir(), func(o *Options) { o.Person = test.person })
			_, err := enroll(t, d, Ask{Fingerprint: test.print})
			if (err == nil) != test.good {
				t.Errorf("%v", err)
			}
			if test.person == nil && (!errors.Is(err, ErrNobody) || s.count(est.CACerts) != before) {
				t.Errorf("asked the server first: %v", err)
			}
			if _, err := os.Stat(d.path(explicitFile)); (err == nil) != test.good {
				t.Errorf("anchors: %v", err)
			}
			if n, ok := test.person.(*nobody); ok && test.print != "" && n.asked > 0 {
				t.Error("a person was asked though there is a fingerprint")
			}
		})
	}
}

// A request that waits is taken up by another process with the same key, and the secrets
// are found where they were.
func TestPendingIsTakenUp(t *testing.T) {
	s := start(t)
	s.user, s.waits = "u:s3cret", 2
	dir, word := t.TempDir(), filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(word, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	clock := func(o *Options) { o.Now = func() time.Time { return now } }
	d := s.open(t, dir, clock)
	_, err := enroll(t, d, Ask{Fingerprint: s.fingerprint(), Login: &est.Login{User: "u", Password: "s3cret"}, Where: &Login{Use: true, User: "u", Password: "file:" + word}})
	p, ok := errors.AsType[*est.PendingError](err)
	if !ok || p.After != time.Second || p.Text != "the people are asked" {
		t.Fatalf("%v", err)
	}
	if text, _ := os.ReadFile(d.path(stateFile)); bytes.Contains(text, []byte("s3cret")) {
		t.Errorf("the password is kept: %s", text)
	}
	// Too early: the server is not asked.
	before := s.count(est.SimpleEnroll)
	if _, err := enroll(t, s.open(t, dir, clock), Ask{}); err == nil || s.count(est.SimpleEnroll) != before {
		t.Errorf("%v", err)
	}
	other := s.open(t, dir, clock)
	err = locked(t, other, nil, func(state *State) error { _, err := other.ServerKey(t.Context(), state, Ask{}); return err })
	if _, ok := errors.AsType[*UnderWayError](err); !ok {
		t.Errorf("another operation is begun: %v", err)
	}
	now = now.Add(2 * time.Second)
	if _, err := enroll(t, s.open(t, dir, clock), Ask{}); err == nil {
		t.Error("the second 202 is lost")
	}
	now = now.Add(2 * time.Second)
	if _, err := enroll(t, s.open(t, dir, clock), Ask{}); err != nil {
		t.Fatal(err)
	}
	if len(slices.Compact(slices.Clone(s.keys))) != 1 {
		t.Error("several keys were asked for")
	}
	state, err := d.State()
	if err != nil || state.Pending != nil {
		t.Errorf("%+v, %v", state, err)
	}
	// Waiting in one process.
	s.set(func() { s.waits = 1 })
	if _, err := enroll(t, s.open(t, t.TempDir(), func(o *Options) { o.Wait = true }), Ask{Fingerprint: s.fingerprint(), Login: &est.Login{User: "u", Password: "s3cret"}}); err != nil {
		t.Error(err)
	}
}

// What the server refuses is forgotten; what nobody answered is kept, with its key.
func TestRefusedAndLost(t *testing.T) {
	s := start(t)
	for status, kept := range map[int]bool{403: false, 400: false, 404: false, 500: true, 503: true, 429: true} {
		s.set(func() { s.refuse = status })
		d := s.open(t, t.TempDir(), nil)
		if _, err := enroll(t, d, Ask{Fingerprint: s.fingerprint()}); err == nil {
			t.Errorf("%d: enrolled", status)
		}
		state, err := d.State()
		if err != nil || (state.Pending != nil) != kept {
			t.Errorf("%d: %+v, %v", status, state.Pending, err)
		}
		if _, err := os.Stat(d.path(pendingKey)); (err == nil) != kept {
			t.Errorf("%d: the key: %v", status, err)
		}
		if !kept {
			continue
		}
		s.set(func() { s.refuse, s.keys = 0, nil })
		before, err := os.ReadFile(d.path(pendingKey))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := enroll(t, d, Ask{}); err != nil {
			t.Errorf("%d: %v", status, err)
		}
		if after, err := os.ReadFile(d.Paths().Key); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%d: another key is certified: %v", status, err)
		}
	}
}

// A crash at any step leaves a request that can be finished or a certificate that is in
// use, and what was sent with a key is finished with that key.
func TestCrashAnywhere(t *testing.T) {
	s := start(t)
	type crash struct{ step string }
	defer func() { durable.Trace = nil }()
	for n := 1; ; n++ {
		dir := t.TempDir()
		s.set(func() { s.keys, s.issued = nil, map[string]int{} })
		left, at := n, ""
		durable.Trace = func(step string) {
			if left--; left == 0 {
				at = step
				panic(crash{step})
			}
		}
		attempt := func() (ended bool) {
			defer func() {
				if r := recover(); r != nil {
					if _, ours := r.(crash); !ours {
						panic(r)
					}
				}
			}()
			d := s.open(t, dir, nil)
			unlock, err := d.Lock(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer unlock()
			state, err := d.Configure(plain)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.Enroll(t.Context(), state, Ask{Fingerprint: s.fingerprint()}); err != nil {
				t.Fatalf("step %d, %s: %v", n, at, err)
			}
			return true
		}
		ended := attempt()
		durable.Trace = nil
		if ended {
			if n < 20 {
				t.Fatalf("only %d steps: is Trace called?", n)
			}
			return
		}
		d := s.open(t, dir, nil)
		unlock, err := d.Lock(t.Context())
		if err != nil {
			t.Fatalf("step %d, %s: %v", n, at, err)
		}
		unlock()
		if state, err := d.State(); err == nil && state.Current != nil {
			b, err := d.Bundle()
			if err != nil || b.Check() != nil {
				t.Errorf("step %d, %s: %v", n, at, err)
			}
			if target, err := os.Readlink(d.Lineage()); err != nil || target != state.Current.Generation {
				t.Errorf("step %d, %s: the link leads to %q, %v", n, at, target, err)
			}
			continue
		}
		if _, err := enroll(t, d, Ask{Fingerprint: s.fingerprint()}); err != nil {
			t.Errorf("step %d, %s: %v", n, at, err)
		}
		if keys := slices.Compact(slices.Clone(s.keys)); len(keys) != 1 {
			t.Errorf("step %d, %s: %d keys were asked for", n, at, len(keys))
		}
	}
}

func TestServerKeysAreEncrypted(t *testing.T) {
	s := start(t)
	s.usage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyAgreement
	dir := t.TempDir()
	d := s.open(t, dir, nil)
	if _, err := enroll(t, d, Ask{Fingerprint: s.fingerprint()}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kek")
	if err := os.WriteFile(file, bytes.Repeat([]byte{'k'}, 16), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		change func(*Settings) error
		sealed bool
	}{
		{"to the current certificate's key", nil, true},
		{"to a shared key", func(s *Settings) error { s.Shared = &SharedKey{ID: []byte("k1"), Key: "file:" + file}; return nil }, true},
		{"not, by express wish", func(s *Settings) error { s.Shared, s.PlainKey = nil, true; return nil }, false},
	} {
		err := locked(t, d, test.change, func(state *State) error { _, err := d.ServerKey(t.Context(), state, Ask{}); return err })
		if err != nil || s.sealed != test.sealed {
			t.Errorf("%s: %t, %v", test.name, s.sealed, err)
		}
		if b, err := d.Bundle(); err != nil || b.Check() != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	state, err := d.State()
	if err != nil || !state.Current.ServerKey {
		t.Errorf("%+v, %v", state.Current, err)
	}
}

// A new root that the old one vouches for is taken over, with the file for others.
func TestRollover(t *testing.T) {
	s := start(t)
	out := filepath.Join(t.TempDir(), "roots.pem")
	d := s.open(t, t.TempDir(), nil)
	err := locked(t, d, func(x *Settings) error { x.AnchorsOut = out; return plain(x) }, func(state *State) error {
		_, err := d.Enroll(t.Context(), state, Ask{Fingerprint: s.fingerprint()})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	key := makeKey(t)
	template := rootTemplate("Root")
	template.NotAfter = template.NotAfter.Add(time.Hour * 24)
	next := sign(t, nil, template, key)
	cross := sign(t, s.ca, rootTemplate("Root"), key)
	stranger := sign(t, nil, rootTemplate("Root"), makeKey(t))
	s.set(func() { s.bag = append(s.bag, next, cross, stranger) })
	err = locked(t, d, nil, func(state *State) error {
		changed, err := d.Refresh(t.Context(), state)
		if err == nil && !changed {
			t.Error("nothing changed")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{out, d.path(explicitFile)} {
		all, err := readCertificates(path)
		if err != nil || len(all) != 2 || !all[0].Equal(s.ca.Cert) || !all[1].Equal(next) {
			t.Errorf("%s: %d certificates, %v", path, len(all), err)
		}
	}
}

// Over Implicit anchors the CA's own are fetched, and the Implicit ones are off then.
func TestImplicitAnchorsAreOffAfterwards(t *testing.T) {
	s := start(t)
	file := filepath.Join(t.TempDir(), "web.pem")
	if err := os.WriteFile(file, install.EncodeCertificates(s.ca.Cert), 0o644); err != nil {
		t.Fatal(err)
	}
	d := s.open(t, t.TempDir(), nil)
	err := locked(t, d, func(x *Settings) error { x.Implicit = file; return plain(x) }, func(state *State) error {
		_, err := d.Enroll(t.Context(), state, Ask{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	state, err := d.State()
	if err != nil || !state.ImplicitOff {
		t.Fatalf("%+v, %v", state, err)
	}
	trust, err := d.Trust(state)
	if err != nil || !trust.ImplicitOff || len(trust.Explicit) != 1 {
		t.Errorf("%+v, %v", trust, err)
	}
	state.Settings.KeepImplicit = true
	if trust, err := d.Trust(state); err != nil || trust.ImplicitOff {
		t.Errorf("%+v, %v", trust, err)
	}
}

func TestFilesOfOthers(t *testing.T) {
	s := start(t)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); err == nil {
		t.Error("a directory that everybody can change is taken")
	}
	d := s.open(t, t.TempDir(), nil)
	if _, err := enroll(t, d, Ask{Fingerprint: s.fingerprint()}); err != nil {
		t.Fatal(err)
	}
	path := d.path(stateFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "damaged": string(good[:len(good)/2]), "a newer one": `{"format": 2, "body": {"later": 1}}`, "a stranger": `{"format": 1, "body": {"later": 1}}`,
		"a way out": `{"format": 1, "body": {"settings":{"server":"x"},"current":{"generation":"../../etc"}}}`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := d.State(); err == nil {
			t.Errorf("%s is read", name)
		} else if _, ok := errors.AsType[*FileError](err); !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o622); err != nil {
		t.Fatal(err)
	}
	if _, err := d.State(); err == nil {
		t.Error("a state that others can change is read")
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for name, change := range map[string]func(*Settings){
		"a bad address": func(s *Settings) { s.IP = []string{"1.2.3"} }, "a bad URI": func(s *Settings) { s.URI = []string{"x"} }, "a space in a name": func(s *Settings) { s.DNS = []string{"bad name"} },
		"an unknown key": func(s *Settings) { s.KeyType = "dsa" }, "no way to link": func(s *Settings) { s.Linking = "perhaps" }, "an old TLS": func(s *Settings) { s.MaxTLS = "1.1" },
		"plain HTTP": func(s *Settings) { s.Server = "http://x" }, "a name that is not ASCII": func(s *Settings) { s.DNS = []string{"ä.example"} },
	} {
		s := Settings{Server: serverName, DNS: []string{"a.example"}}
		change(&s)
		if err := s.Check(); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	s := start(t)
	d := s.open(t, t.TempDir(), nil)
	if _, err := enroll(t, d, Ask{Fingerprint: s.fingerprint()}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Configure(func(s *Settings) error { s.Server = "other.example"; return nil }); err == nil {
		t.Error("a device moves to another server, with the anchors of this one")
	}
}

func TestNothingToCertify(t *testing.T) {
	s := start(t)
	d := s.open(t, t.TempDir(), nil)
	err := locked(t, d, func(s *Settings) error { s.Server = serverName; return nil }, func(state *State) error {
		_, err := d.Enroll(t.Context(), state, Ask{Fingerprint: s.fingerprint()})
		return err
	})
	if !errors.Is(err, ErrNameless) || len(s.asked) > 0 {
		t.Errorf("%v", err)
	}
}

func TestLocksAndContexts(t *testing.T) {
	s := start(t)
	d := s.open(t, t.TempDir(), nil)
	unlock, err := d.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Lock(over); err == nil {
		t.Error("two work at once")
	}
	unlock()
	if _, err := d.Bundle(); !errors.Is(err, ErrNone) {
		t.Errorf("%v", err)
	}
}
