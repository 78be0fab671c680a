package device

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"chancery/est"
	"chancery/internal/durable"
	"chancery/internal/enroll/install"
	"chancery/internal/token"
	"chancery/internal/token/fault"
)

// crashed does something until a step of durable writing at which it is to crash. It gives
// the step, and whether it ended without one.
func crashed(t *testing.T, at func(step string) bool, do func() error) (step string, ended bool) {
	t.Helper()
	type crash struct{}
	defer func() {
		durable.Trace = nil
		if r := recover(); r != nil {
			if _, ours := r.(crash); !ours {
				panic(r)
			}
		}
	}()
	durable.Trace = func(now string) {
		if at(now) {
			step = now
			panic(crash{})
		}
	}
	if err := do(); err != nil {
		t.Fatalf("%q: %v", step, err)
	}
	return step, true
}

// A renewal that crashes, where the next file is begun or something is taken away, is
// finished, and no key gets a second certificate by the next one: also if keys of
// generations that are gone are still in the token.
func TestTokenRenewalCrashes(t *testing.T) {
	s, h := start(t), softToken(t)
	d := s.open(t, t.TempDir(), h.helped)
	certified := map[string]string{}
	renewed := func(at string) {
		state, err := d.State()
		if err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		chain, err := d.certificates(state)
		if err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		key := string(chain[0].RawSubjectPublicKeyInfo)
		if earlier, again := certified[key]; again && earlier != state.Current.Generation {
			t.Errorf("%s: %s has the key of %s", at, state.Current.Generation, earlier)
		}
		certified[key] = state.Current.Generation
	}
	if err := get(t, d, h.settings, Ask{Fingerprint: s.fingerprint()}); err != nil {
		t.Fatal(err)
	}
	renewed("first")
	met := map[string]bool{}
	for n := 1; ; n++ {
		left := n
		at, ended := crashed(t, func(step string) bool {
			what, path, _ := strings.Cut(step, " ")
			if what == "sync" || what == "write" || what == "rename" && filepath.Ext(path) != "" || filepath.Ext(path) == ".pem" {
				return false
			}
			left--
			return left == 0
		}, func() error { return get(t, d, h.settings, Ask{}) })
		what, _, _ := strings.Cut(at, " ")
		met[what] = true
		if ended {
			break
		}
		if n > 40 {
			t.Fatalf("%s: there is no end to it", at)
		}
		renewed(at)
		// This ends what was begun, or renews once more: what the crash left is to go.
		if err := get(t, d, h.settings, Ask{}); err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		renewed(at)
	}
	for _, what := range []string{"create", "mkdir", "rename", "swap", "remove", "delete"} {
		if !met[what] {
			t.Errorf("no crash at a step %q: is Step called?", what)
		}
	}
	numbers, err := install.Generations(d.dir)
	if err != nil || len(certified) < install.GenerationsKept+5 || len(numbers) != install.GenerationsKept || h.keys(t) != install.GenerationsKept {
		t.Errorf("%d keys were certified; there are %d generations and %d keys, %v", len(certified), len(numbers), h.keys(t), err)
	}
}

// A token that does not let a key be deleted now has the wanted kind made beside it; and the
// key goes when it can.
func TestTokenThatKeepsKeys(t *testing.T) {
	s, h := start(t), softToken(t)
	kept := 0
	d := s.open(t, t.TempDir(), func(o *Options) {
		h.helped(o)
		o.Observe = func(e Event) {
			if e.Kind == Warned && strings.Contains(e.Message, "still in its token") {
				kept++
			}
		}
	})
	s.set(func() { s.refuse = 403 })
	if err := get(t, d, h.settings, Ask{Fingerprint: s.fingerprint()}); err == nil {
		t.Fatal("enrolled")
	}
	s.set(func() { s.refuse = 0 })
	aside, deletions := h.helper+".aside", 0
	durable.Trace = func(step string) {
		switch what, _, _ := strings.Cut(step, " "); {
		case what == "delete" && deletions == 0:
			deletions++
			// Its helper is not there for a moment.
			if err := errors.Join(d.tokens.Close(), os.Rename(h.helper, aside)); err != nil {
				t.Error(err)
			}
		case deletions == 1:
			deletions++
			if err := os.Rename(aside, h.helper); err != nil {
				t.Error(err)
			}
			d.tokens = s.open(t, d.dir, h.helped).tokens
		}
	}
	defer func() { durable.Trace = nil }()
	err := get(t, d, func(x *Settings) error {
		x.KeyType = "ecdsa-p384"
		return h.settings(x)
	}, Ask{})
	if b, failed := d.Bundle(); err != nil || failed != nil || kept != 1 || install.KeyType(b.Key.Public()) != "ecdsa-p384" || h.keys(t) != 1 {
		t.Errorf("%d keys were kept, %d are there, %v, %v", kept, h.keys(t), err, failed)
	}
	d.release()
}

// A key is made once for the requests that follow one another, also of a kind that the
// command line does not offer, and of one of which the server leaves the size open.
func TestTokenKindIsMadeOnce(t *testing.T) {
	s, h := start(t), softToken(t)
	s.set(func() { s.refuse = 403 })
	for wanted, kind := range map[string]string{"ecdsa-p521": "ecdsa-p521", "rsa": "rsa-2048"} {
		s.set(func() { s.keys = nil })
		d := s.open(t, t.TempDir(), h.helped)
		for range 2 {
			if err := get(t, d, h.settings, Ask{Fingerprint: s.fingerprint(), Wanted: &est.Wanted{Key: wanted}}); err == nil {
				t.Fatal("enrolled")
			}
		}
		if len(s.keys) != 2 || s.keys[0] != s.keys[1] {
			t.Errorf("%s: %d requests, with different keys", wanted, len(s.keys))
			continue
		}
		key, err := x509.ParsePKIXPublicKey([]byte(s.keys[0]))
		spec, _ := est.ParseKeySpec(kind)
		if err != nil || !spec.Fits(key) {
			t.Errorf("%s: the key is %T, %v", wanted, key, err)
		}
	}
}

// What a name leaves open is decided in one way, wherever the key is made.
func TestKindOf(t *testing.T) {
	for name, want := range map[string]string{
		"": "ecdsa-p256", "ecdsa": "ecdsa-p256", "rsa": "rsa-2048", "rsa-3072": "rsa-3072", "ecdsa-p521": "ecdsa-p521", "ed25519": "ed25519",
	} {
		if kind, err := kindOf(name); err != nil || kind.Name() != want {
			t.Errorf("%q is %q, %v", name, kind.Name(), err)
		}
	}
	for _, name := range install.KeyTypes() {
		if kind, err := kindOf(name); err != nil || kind.Name() != name {
			t.Errorf("%q, which can be chosen, is %q, %v", name, kind.Name(), err)
		}
	}
	if _, err := kindOf("x25519"); !errors.Is(err, errX25519) {
		t.Error(err)
	}
	if _, err := kindOf("dsa"); !est.Is(err, est.Unsupported) {
		t.Error(err)
	}
	s := start(t)
	d := s.open(t, t.TempDir(), nil)
	err := get(t, d, plain, Ask{Fingerprint: s.fingerprint(), Wanted: &est.Wanted{Key: "rsa"}})
	if b, failed := d.Bundle(); err != nil || failed != nil || install.KeyType(b.Key.Public()) != "rsa-2048" {
		t.Errorf("%v, %v", err, failed)
	}
}

// made names a key of a token.
func made(id string) string {
	return "pkcs11:token=T;object=chancery%20est%20g00000" + id + ";id=%0" + id + "?module-path=/m.so"
}

// nameFile gives what stands in a file in the place of such a key.
func nameFile(t *testing.T, name string) []byte {
	t.Helper()
	ref, err := token.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return ref.File()
}

// Keys that something names stay, those that were certified are never taken, and where a
// file cannot be read none is deleted.
func TestFreeKeys(t *testing.T) {
	var told []string
	d, err := Open(t.TempDir(), Options{Observe: func(e Event) { told = append(told, e.Message) }})
	if err != nil {
		t.Fatal(err)
	}
	put := func(data []byte, name ...string) string {
		path := d.path(name...)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, data, 0o600)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	put(nameFile(t, made("1")), "g000007", install.KeyFile)
	put(nameFile(t, made("2")), pendingKey)
	elsewhere := put(nameFile(t, made("3")), "seal.pem")
	all := func() *State {
		s := &State{Pending: &Pending{}, Spent: []string{made("5")}}
		for _, id := range []string{"1", "2", "3", "4", "5", "6"} {
			s.Made = append(s.Made, made(id))
		}
		return s
	}
	names := func(refs []token.Ref) (list []string) {
		for _, r := range refs {
			list = append(list, string(rune('0'+r.PKCS11.ID[0])))
		}
		return list
	}
	for _, c := range []struct {
		name         string
		maker, seal  string
		spare, spent []string
	}{
		{"nothing", "", "", []string{"3", "4", "6"}, []string{"5"}},
		{"by file", "", elsewhere, []string{"4", "6"}, []string{"5"}},
		{"by id", "pkcs11:id=%06?module-path=/other.so", made("5"), []string{"3", "4"}, nil},
		{"by label", "pkcs11:object=chancery%20est%20g000004?module-path=/m.so", "", []string{"3", "6"}, []string{"5"}},
		{"another token", "pkcs11:token=U?module-path=/m.so", "tpm:0x81000001", []string{"3", "4", "6"}, []string{"5"}},
		{"any of the token", "pkcs11:token=T?module-path=/m.so", "", nil, nil},
		{"not there", d.path("gone.pem"), "", []string{"3", "4", "6"}, []string{"5"}},
	} {
		s := all()
		if c.maker != "" {
			s.Settings.Maker = &Files{Key: c.maker}
		}
		if c.seal != "" {
			s.Settings.SealTo = &Files{Key: c.seal}
		}
		f, err := d.free(s)
		if err != nil || f.unread != nil || !slices.Equal(names(f.spare), c.spare) || !slices.Equal(names(f.spent), c.spent) {
			t.Errorf("%s: spare %q, spent %q, %v, %v", c.name, names(f.spare), names(f.spent), f.unread, err)
		}
	}
	s := all()
	d.spendCertified(s)
	if !slices.Equal(s.Spent, []string{made("5"), made("1")}) {
		t.Errorf("%q were certified", s.Spent)
	}

	damaged := put([]byte("Key: pkcs11:\n"), "g000003", install.KeyFile)
	s = all()
	if err := d.sweep(t.Context(), s); err != nil || len(s.Made) != 6 || len(told) != 1 || !strings.Contains(told[0], damaged) || !strings.Contains(told[0], "backup") {
		t.Errorf("%q, %q, %v", s.Made, told, err)
	}
	where, err := token.Parse("pkcs11:token=T?module-path=/m.so")
	if err != nil {
		t.Fatal(err)
	}
	if ref, old, err := d.plan(s, where); err != nil || !old || ref.PKCS11.ID[0] != 3 {
		t.Errorf("%s, %t, %v", ref, old, err)
	}
	if d.spendCertified(s); len(s.Spent) != 6 {
		t.Errorf("%q were certified", s.Spent)
	}
	if ref, old, err := d.plan(s, where); err != nil || old || len(ref.PKCS11.ID) != 16 {
		t.Errorf("%s, %t, %v", ref, old, err)
	}
}

// Of the keys in a state of an older version nobody knows which had a certificate.
func TestOlderStateHasNoSpareKeys(t *testing.T) {
	d, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.path(stateFile), []byte(`{"format": 3, "body": {"settings": {"server": "x"}, "made": ["`+made("1")+`"]}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := d.State(); err != nil || !slices.Equal(s.Spent, s.Made) || len(s.Spent) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}

// What cannot be tidied up does not make a certificate fail that is in use by then.
func TestUntidyCertificateIsDeployed(t *testing.T) {
	s := start(t)
	var told []string
	d := s.open(t, t.TempDir(), func(o *Options) {
		o.Observe = func(e Event) { told = append(told, e.Message) }
	})
	out := filepath.Join(t.TempDir(), "cert.pem")
	settings := func(x *Settings) error {
		x.Install.Cert = out
		return plain(x)
	}
	err := locked(t, d, settings, func(state *State) error {
		state.Made = []string{"pkcs11:"}
		_, err := d.Enroll(t.Context(), state, Ask{Fingerprint: s.fingerprint()})
		return err
	})
	if _, missing := os.Stat(out); err != nil || missing != nil {
		t.Errorf("%v, %v", err, missing)
	}
	if !slices.ContainsFunc(told, func(text string) bool {
		return strings.Contains(text, "still there") && strings.Contains(text, stateFile)
	}) {
		t.Errorf("%q", told)
	}
}

// Of a place where no key can be made nothing is kept: there is none to be deleted later.
func TestNoKeyOfATokenThatIsNotThere(t *testing.T) {
	s, h := start(t), softToken(t)
	for name, wrong := range map[string]struct{ old, new, pin string }{
		"another token":   {"token=device", "token=nosuch", "4711"},
		"another library": {h.module, filepath.Join(h.dir, "nosuch.so"), "4711"},
		"another PIN":     {"", "", "0815"},
	} {
		h.setPIN(t, wrong.pin)
		d := s.open(t, t.TempDir(), h.helped)
		err := get(t, d, func(x *Settings) error {
			failed := h.settings(x)
			x.KeyIn = strings.Replace(x.KeyIn, wrong.old, wrong.new, 1)
			return failed
		}, Ask{Fingerprint: s.fingerprint()})
		if _, is := errors.AsType[*fault.Error](err); !is {
			t.Errorf("%s: %v", name, err)
		}
		if state, err := d.State(); err != nil || len(state.Made) > 0 {
			t.Errorf("%s: %q, %v", name, state.Made, err)
		}
		h.setPIN(t, "4711")
		if err := get(t, d, h.settings, Ask{}); err != nil {
			t.Errorf("%s, then the right one: %v", name, err)
		}
		if state, err := d.State(); err != nil || len(state.Made) != 1 {
			t.Errorf("%s, then the right one: %q, %v", name, state.Made, err)
		}
		d.release()
	}
}
