package estserver_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/internal/admin"
	"chancery/internal/ca"
	"chancery/internal/certtest"
	"chancery/internal/estserver"
)

// office serves a room's operations as the daemon does, and calls them.
type office struct {
	t      testing.TB
	client *admin.Client
}

func (w *world) office() *office {
	w.t.Helper()
	dir, err := os.MkdirTemp("", "est-")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := admin.Listen(path)
	if err != nil {
		w.t.Fatal(err)
	}
	s := admin.NewServer(w.server.Operations()...)
	s.Log = w.config.Logger
	s.Classify = func(err error) (kind, detail string, ok bool) {
		e, ok := errors.AsType[*ca.Error](err)
		if !ok {
			return "", "", false
		}
		return string(e.Kind), e.Detail, true
	}
	front := s.HTTP()
	go front.Serve(l)
	c := admin.Dial(path)
	w.t.Cleanup(func() { c.Close(); front.Close() })
	return &office{w.t, c}
}

func call[In, Out any](o *office, name string, in In) (Out, error) {
	return admin.Call[In, Out](context.Background(), o.client, name, in)
}

func done[In, Out any](o *office, name string, in In) Out {
	o.t.Helper()
	out, err := call[In, Out](o, name, in)
	if err != nil {
		o.t.Fatalf("%s: %v", name, err)
	}
	return out
}

// declined wants an operation to fail with a kind and words.
func declined[In any](o *office, name string, in In, kind ca.Kind, words string) {
	o.t.Helper()
	_, err := call[In, struct{}](o, name, in)
	told, ok := errors.AsType[*admin.Error](err)
	if !ok || told.Kind != string(kind) || !strings.Contains(told.Detail, words) {
		o.t.Errorf("%s of %v gave %v; want %s with %q", name, in, err, kind, words)
	}
}

func TestUserOperations(t *testing.T) {
	w := newWorld(t, nil, plainLabel(), estserver.Label{Name: "floor", Profile: "device", Operations: allOperations, Accept: anyWay})
	o := w.office()
	made := done[estserver.UserWanted, estserver.CredentialMade](o, "est.user.add", estserver.UserWanted{Grant: estserver.Grant{User: "line", Names: []string{"*.example"}, Labels: []string{""}}})
	if len(made.Password) != 26 || strings.Contains(fmt.Sprint(made)+fmt.Sprintf("%#v", made), made.Password) {
		t.Errorf("made %+v", made)
	}
	csr := asking("x.example", "x.example").keyed(t).der(t)
	if r := w.basic("line", made.Password).post("simpleenroll", csr); r.StatusCode != http.StatusOK {
		t.Errorf("with the password: %s %s", r.Status, r.words())
	}
	if r := w.basic("line", made.Password).post("floor/simpleenroll", csr); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("under another label: %s", r.Status)
	}
	chosen := estserver.UserWanted{Grant: estserver.Grant{User: "own", Expires: w.now().Add(time.Hour)}, Password: "correct horse"}
	if got := done[estserver.UserWanted, estserver.CredentialMade](o, "est.user.add", chosen); got.Password != "" {
		t.Errorf("a chosen password comes back: %q", got.Password)
	}
	for _, bad := range []struct {
		in    estserver.UserWanted
		kind  ca.Kind
		words string
	}{
		{estserver.UserWanted{Grant: estserver.Grant{User: "line"}}, ca.Conflict, "already"},
		{estserver.UserWanted{Grant: estserver.Grant{User: "a:b"}}, ca.Invalid, "no colon"},
		{estserver.UserWanted{Grant: estserver.Grant{User: "a\x00"}}, ca.Invalid, "control character"},
		{estserver.UserWanted{Grant: estserver.Grant{User: strings.Repeat("a", 300)}}, ca.Invalid, "at most"},
		{estserver.UserWanted{Grant: estserver.Grant{User: "b"}, Password: "short"}, ca.Invalid, "at least 12 characters"},
		{estserver.UserWanted{Grant: estserver.Grant{User: "b"}, Password: "new\nline in it"}, ca.Invalid, "control character"},
		{estserver.UserWanted{Grant: estserver.Grant{User: "b", Labels: []string{"no"}}}, ca.Invalid, `no label "no"`},
		{estserver.UserWanted{Grant: estserver.Grant{User: "b", Labels: []string{"", ""}}}, ca.Invalid, "twice"},
		{estserver.UserWanted{Grant: estserver.Grant{User: "b", Names: []string{"a*b*c"}}}, ca.Invalid, "more than one *"},
		{estserver.UserWanted{Grant: estserver.Grant{User: "b", Names: make([]string, 101)}}, ca.Invalid, "at most 100"},
		{estserver.UserWanted{Grant: estserver.Grant{User: "b", Expires: w.now().Add(-time.Second)}}, ca.Invalid, "time to come"},
	} {
		declined(o, "est.user.add", bad.in, bad.kind, bad.words)
	}
	list := done[estserver.Page, estserver.UsersShown](o, "est.user.list", estserver.Page{})
	if len(list.Users) != 2 || list.Users[0].User != "own" && list.Users[1].User != "own" {
		t.Errorf("%+v", list)
	}
	declined(o, "est.user.list", estserver.Page{Limit: 1001}, ca.Invalid, "1 to 1000")
	declined(o, "est.user.list", estserver.Page{Cursor: "x"}, ca.Invalid, "cursor")
	done[estserver.UserNamed, struct{}](o, "est.user.remove", estserver.UserNamed{User: "line"})
	declined(o, "est.user.remove", estserver.UserNamed{User: "line"}, ca.NotFound, `no user "line"`)
	if len(w.details("est-user.added", made.ID)) != 1 || len(w.details("est-user.removed", made.ID)) != 1 {
		t.Error("the events are not there")
	}
	if strings.Contains(w.log.String(), made.Password) || strings.Contains(w.log.String(), "correct horse") {
		t.Error("the log has a password")
	}
}

// TestUserReplaced: another password at one stroke, at once, with what the user may and
// an event.
func TestUserReplaced(t *testing.T) {
	w := newWorld(t, func(c *estserver.Config) { c.Digest = estserver.DigestMD5 }, plainLabel(), estserver.Label{Name: "floor", Profile: "device", Operations: allOperations, Accept: anyWay})
	o := w.office()
	type made = estserver.CredentialMade
	grant := estserver.Grant{User: "line", Names: []string{"*.example"}, Labels: []string{""}, Expires: w.now().Add(time.Hour).Truncate(time.Second)}
	first := done[estserver.UserWanted, made](o, "est.user.add", estserver.UserWanted{Grant: grant, CMC: true})
	csr := asking("x.example", "x.example").keyed(t).der(t)
	granted(t, w.basic("line", first.Password).post("simpleenroll", csr)) // it is remembered now
	replace := estserver.UserWanted{Grant: estserver.Grant{User: "line"}, Replace: true}
	second := done[estserver.UserWanted, made](o, "est.user.add", replace)
	if second.ID == first.ID || second.Password == first.Password || !second.Expires.Equal(grant.Expires) {
		t.Errorf("%v of %v", second, first)
	}
	refused(t, w.basic("line", first.Password).post("simpleenroll", csr), http.StatusUnauthorized)
	granted(t, w.basic("line", second.Password).post("simpleenroll", csr))
	refused(t, w.basic("line", second.Password).post("floor/simpleenroll", csr), http.StatusUnauthorized)
	list, err := w.store.Credentials(t.Context(), estserver.CredentialQuery{User: "line", Limit: 10})
	if err != nil || len(list) != 1 || list[0].ID != second.ID || list[0].HA1["MD5"] != estserver.DigestHA1("line", "devices", second.Password)["MD5"] || list[0].Sealed == nil {
		t.Errorf("%d credentials, %v: %+v", len(list), err, list)
	}
	if d := w.details("est-user.replaced", second.ID); len(d) != 1 || d[0]["replaces"] != first.ID || d[0]["names"] != "*.example" {
		t.Errorf("the events are %v", d)
	}
	replace.Names, replace.Labels = []string{"y.example"}, []string{"floor"}
	third := done[estserver.UserWanted, made](o, "est.user.add", replace)
	refused(t, w.basic("line", third.Password).post("floor/simpleenroll", csr), http.StatusForbidden, "x.example")
	// Nothing is half done.
	stale := list[0]
	stale.ID, stale.Replaces = ca.NewID(), second.ID
	if err := w.store.AddCredential(t.Context(), stale, ca.Principal{Room: "admin", ID: "x"}.Event(w.now(), "est-user.replaced", stale.ID)); ca.KindOf(err) != ca.Conflict {
		t.Errorf("two replacements of one: %v", err)
	}
	if list, err := w.store.Credentials(t.Context(), estserver.CredentialQuery{User: "line", Limit: 10}); err != nil || len(list) != 1 || list[0].ID != third.ID {
		t.Errorf("%v, %v", list, err)
	}
	declined(o, "est.user.add", estserver.UserWanted{Grant: estserver.Grant{User: "nobody"}, Replace: true}, ca.NotFound, `no user "nobody"`)
	w.pass(2 * time.Hour)
	declined(o, "est.user.add", estserver.UserWanted{Grant: estserver.Grant{User: "line"}, Replace: true}, ca.Invalid, "time to come")
}

// Digest's hashes are kept where it is on, and MD5's only where that is.
func TestUserDigests(t *testing.T) {
	for digest, want := range map[string][]string{"": {}, "sha-256": {"SHA-256"}, "md5": {"SHA-256", "MD5"}} {
		w := newWorld(t, func(c *estserver.Config) { c.Digest = digest }, plainLabel())
		o := w.office()
		made := done[estserver.UserWanted, estserver.CredentialMade](o, "est.user.add", estserver.UserWanted{Grant: estserver.Grant{User: "u"}})
		if list := done[estserver.Page, estserver.UsersShown](o, "est.user.list", estserver.Page{}); !slices.Equal(list.Users[0].Digest, want) {
			t.Errorf("digest %q keeps %v", digest, list.Users[0].Digest)
		}
		stored, err := w.store.Credentials(context.Background(), estserver.CredentialQuery{User: "u", Limit: 1})
		if err != nil || len(stored) != 1 || len(stored[0].HA1) != len(want) {
			t.Fatalf("stored %+v, %v", stored, err)
		}
		for algorithm, hash := range stored[0].HA1 {
			if hash != estserver.DigestHA1("u", "devices", made.Password)[algorithm] {
				t.Errorf("%s of another password", algorithm)
			}
		}
	}
}

func TestOneTimeOperations(t *testing.T) {
	manual := manualLabel()
	manual.Name = "slow"
	w := newWorld(t, nil, plainLabel(), manual)
	o := w.office()
	states := func() map[string]string {
		t.Helper()
		got := map[string]string{}
		for cursor, pages := "", 0; ; pages++ {
			list := done[estserver.Page, estserver.OneTimesShown](o, "est.otp.list", estserver.Page{Cursor: cursor, Limit: 2})
			for _, p := range list.Passwords {
				got[p.ID] = p.State
				if (p.State == estserver.StateSpent) != (p.Serial != "") || (p.State == estserver.StateWaiting) != (p.Request != "") {
					t.Errorf("%+v", p)
				}
			}
			if cursor = list.Cursor; cursor == "" || pages > 10 {
				return got
			}
		}
	}
	add := func(in estserver.Grant) estserver.CredentialMade {
		t.Helper()
		in.Names = append(in.Names, "*.example", "CN=*")
		return done[estserver.OneTimeWanted, estserver.CredentialMade](o, "est.otp.add", estserver.OneTimeWanted{Grant: in})
	}
	unused, spent, waiting := add(estserver.Grant{}), add(estserver.Grant{User: "u"}), add(estserver.Grant{})
	ending := add(estserver.Grant{Expires: w.now().Add(time.Minute)})
	if len(unused.Password) != 26 || unused.Password == unused.ID {
		t.Errorf("made %q", unused.Password)
	}
	csr := asking("x.example", "x.example").keyed(t).der(t)
	if r := w.basic("u", spent.Password).post("simpleenroll", csr); r.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", r.Status, r.words())
	}
	if r := w.basic("", waiting.Password).post("slow/simpleenroll", csr); r.StatusCode != http.StatusAccepted {
		t.Fatalf("%s %s", r.Status, r.words())
	}
	w.pass(2 * time.Minute)
	want := map[string]string{unused.ID: estserver.StateUnused, spent.ID: estserver.StateSpent, waiting.ID: estserver.StateWaiting, ending.ID: estserver.StateEnded}
	for id, state := range states() {
		if state != want[id] {
			t.Errorf("%s is %s; want %s", id, state, want[id])
		}
		delete(want, id)
	}
	if len(want) != 0 {
		t.Errorf("not listed: %v", want)
	}
	done[estserver.Named, struct{}](o, "est.otp.remove", estserver.Named{ID: unused.ID})
	declined(o, "est.otp.remove", estserver.Named{ID: unused.ID}, ca.NotFound, "not any more")
	declined(o, "est.otp.remove", estserver.Named{ID: "x"}, ca.NotFound, "26 characters")
	if r := w.basic("", unused.Password).post("simpleenroll", csr); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("a password that was removed: %s", r.Status)
	}
	if len(w.details("est-password.added", unused.ID)) != 1 || len(w.details("est-password.removed", unused.ID)) != 1 {
		t.Error("the events are not there")
	}
}

func TestRequestOperations(t *testing.T) {
	w := newWorld(t, nil, manualLabel())
	o := w.office()
	w.standing("u", "password of u")
	csr := asking("x.example", "x.example").keyed(t).der(t)
	other := asking("y.example", "y.example").keyed(t).der(t)
	c := w.basic("u", "password of u")
	id := w.waits(c.post("simpleenroll", csr)).ID
	shown := done[estserver.Named, estserver.RequestShown](o, "est.requests.show", estserver.Named{ID: id})
	block, _ := pem.Decode([]byte(shown.CSR))
	if shown.State != estserver.Undecided || shown.Identity != "user:u" || !slices.Equal(shown.Names, []string{"dns:x.example"}) || block == nil || string(block.Bytes) != string(csr) {
		t.Errorf("%+v", shown)
	}
	declined(o, "est.requests.refuse", estserver.RequestDecided{ID: id, Reason: " "}, ca.Invalid, "say why")
	declined(o, "est.requests.approve", estserver.RequestDecided{ID: id, Reason: "two\nlines"}, ca.Invalid, "one line")
	declined(o, "est.requests.approve", estserver.RequestDecided{ID: ca.NewID()}, ca.NotFound, "no such request")
	declined(o, "est.requests.show", estserver.Named{ID: "x"}, ca.NotFound, "26 characters")
	declined(o, "est.requests.list", estserver.RequestsWanted{State: "odd"}, ca.Invalid, "not one of")

	got := done[estserver.RequestDecided, estserver.RequestShown](o, "est.requests.approve", estserver.RequestDecided{ID: id, Reason: "seen"})
	if got.State != estserver.Approved || got.Reason != "seen" || got.By == "" || got.Serial != "" {
		t.Errorf("%+v", got)
	}
	declined(o, "est.requests.refuse", estserver.RequestDecided{ID: id, Reason: "late"}, ca.Conflict, "decided before")
	if r := c.post("simpleenroll", csr); r.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", r.Status, r.words())
	}
	if got := done[estserver.Named, estserver.RequestShown](o, "est.requests.show", estserver.Named{ID: id}); got.Serial == "" {
		t.Errorf("the certificate is not shown: %+v", got)
	}
	second := w.waits(c.post("simpleenroll", other)).ID
	done[estserver.RequestDecided, estserver.RequestShown](o, "est.requests.refuse", estserver.RequestDecided{ID: second, Reason: "nobody knows y"})
	if r := c.post("simpleenroll", other); r.StatusCode != http.StatusForbidden || !strings.Contains(r.words(), "nobody knows y") {
		t.Errorf("%s %s", r.Status, r.words())
	}
	none := "nothere"
	for _, q := range []struct {
		in   estserver.RequestsWanted
		want int
	}{{estserver.RequestsWanted{}, 2}, {estserver.RequestsWanted{State: estserver.Refused}, 1}, {estserver.RequestsWanted{State: estserver.Undecided}, 0}, {estserver.RequestsWanted{Label: &none}, 0}} {
		if list := done[estserver.RequestsWanted, estserver.RequestsShown](o, "est.requests.list", q.in); len(list.Requests) != q.want {
			t.Errorf("%+v has %d", q.in, len(list.Requests))
		}
	}
	if len(w.details("est-request.approved", id)) != 1 || len(w.details("est-request.refused", second)) != 1 {
		t.Error("the events are not there")
	}
}

func TestKeyOperations(t *testing.T) {
	real := newSeals(t)
	w := newWorld(t, func(c *estserver.Config) { c.Seals = real }, plainLabel())
	o := w.office()
	add := func(in estserver.KeyWanted) estserver.KeyShown {
		t.Helper()
		return done[estserver.KeyWanted, estserver.KeyShown](o, "est.key.add", in)
	}
	secret := []byte("0123456789abcdef")
	if got := add(estserver.KeyWanted{ID: "00:AA", Key: secret, Comment: "of 7"}); got.ID != "00aa" || got.Kind != estserver.Symmetric || got.Key != "AES-128" {
		t.Errorf("%+v", got)
	}
	stored, err := w.store.DeviceKey(context.Background(), estserver.Symmetric, []byte{0, 0xaa})
	if err != nil || len(stored.Sealed) == 0 || strings.Contains(string(stored.Sealed), string(secret)) {
		t.Fatalf("stored %x, %v", stored.Sealed, err)
	}
	key := certtest.Key(t)
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha1.Sum(point)
	if got := add(estserver.KeyWanted{Public: pemBlock("PUBLIC KEY", der)}); got.ID != hex.EncodeToString(sum[:]) || got.Key != "EC P-256" {
		t.Errorf("%+v; want the id %x", got, sum)
	}
	holder := certificateFor(t, &key.PublicKey, x509.KeyUsageKeyAgreement)
	if got := add(estserver.KeyWanted{Public: holder}); got.ID != "0102" || !strings.Contains(got.Key, "CN=holder") {
		t.Errorf("%+v", got)
	}
	if got := add(estserver.KeyWanted{Public: holder, ID: "ff"}); got.ID != "ff" {
		t.Errorf("%+v", got)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skip("this Go makes no weak keys to try")
	}
	_, signing, _ := ed25519.GenerateKey(rand.Reader)
	odd, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	for _, bad := range []struct {
		in    estserver.KeyWanted
		kind  ca.Kind
		words string
	}{
		{estserver.KeyWanted{ID: "00aa", Key: secret}, ca.Conflict, "already"},
		{estserver.KeyWanted{ID: "01", Key: secret[:5]}, ca.Invalid, "16, 24 or 32"},
		{estserver.KeyWanted{Key: secret}, ca.Invalid, "needs the identifier"},
		{estserver.KeyWanted{ID: "hex:zz", Key: secret}, ca.Invalid, "hexadecimal digits"},
		{estserver.KeyWanted{ID: strings.Repeat("00", 129), Key: secret}, ca.Invalid, "128 octets"},
		{estserver.KeyWanted{ID: "01"}, ca.Invalid, "give one key"},
		{estserver.KeyWanted{ID: "01", Key: secret, Public: holder}, ca.Invalid, "give one key"},
		{estserver.KeyWanted{Public: "x"}, ca.Invalid, "one block of PEM"},
		{estserver.KeyWanted{Public: holder + holder}, ca.Invalid, "one block of PEM"},
		{estserver.KeyWanted{Public: pemBlock("EC PRIVATE KEY", der)}, ca.Invalid, "neither a certificate nor a public key"},
		{estserver.KeyWanted{Public: pemBlock("PUBLIC KEY", der[:20])}, ca.Invalid, "cannot be read"},
		{estserver.KeyWanted{Public: pemBlock("PUBLIC KEY", spki(t, &weak.PublicKey))}, ca.Invalid, "2048 are the least"},
		{estserver.KeyWanted{Public: pemBlock("PUBLIC KEY", spki(t, signing.Public()))}, ca.Invalid, "nothing can be encrypted"},
		{estserver.KeyWanted{Public: pemBlock("PUBLIC KEY", spki(t, &odd.PublicKey))}, ca.Invalid, "nothing can be encrypted"},
		{estserver.KeyWanted{Public: certificateFor(t, &key.PublicKey, x509.KeyUsageDigitalSignature)}, ca.Invalid, "does not allow keyAgreement"},
		{estserver.KeyWanted{ID: "01", Key: secret, Comment: "a\nb"}, ca.Invalid, "one line"},
	} {
		declined(o, "est.key.add", bad.in, bad.kind, bad.words)
	}
	if list := done[estserver.Page, estserver.KeysShown](o, "est.key.list", estserver.Page{}); len(list.Keys) != 4 {
		t.Errorf("%+v", list)
	}
	done[estserver.KeyNamed, struct{}](o, "est.key.remove", estserver.KeyNamed{Kind: estserver.Symmetric, ID: "00:aa"})
	declined(o, "est.key.remove", estserver.KeyNamed{Kind: estserver.Symmetric, ID: "00aa"}, ca.NotFound, "no such key")
	declined(o, "est.key.remove", estserver.KeyNamed{Kind: "odd", ID: "00aa"}, ca.Invalid, "symmetric or asymmetric")
	declined(o, "est.key.remove", estserver.KeyNamed{Kind: estserver.Symmetric}, ca.Invalid, "128 octets")
	declined(o, "est.archive.get", estserver.CertificateNamed{Serial: "40"}, ca.NotFound, "archived")
	declined(o, "est.archive.get", estserver.CertificateNamed{Serial: "x"}, ca.Invalid, "serial number")
	if len(w.details("est-key.added", "00aa")) != 1 || len(w.details("est-key.removed", "00aa")) != 1 {
		t.Error("the events are not there")
	}
	if strings.Contains(fmt.Sprintf("%v %#v", estserver.KeyWanted{Key: secret}, estserver.KeyWanted{Key: secret}), string(secret)) {
		t.Error("a key shows itself")
	}
}

func pemBlock(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func spki(t *testing.T, key crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func certificateFor(t *testing.T, key crypto.PublicKey, use x509.KeyUsage) string {
	t.Helper()
	signer := certtest.Key(t)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "holder"},
		SubjectKeyId: []byte{1, 2}, KeyUsage: use, NotAfter: time.Now().Add(time.Hour)}, &x509.Certificate{Subject: pkix.Name{CommonName: "i"}}, key, signer)
	if err != nil {
		t.Fatal(err)
	}
	return pemBlock("CERTIFICATE", der)
}

// TestKeysNamedByText: an identifier that people wrote as a text is shown as one besides.
func TestKeysNamedByText(t *testing.T) {
	w := newWorld(t, nil, plainLabel())
	o := w.office()
	for id, want := range map[string]string{
		"device-17": "device-17", "größer": "größer", "a b": "a b",
		"00:AA": "", "hex:6465766963652d3138": "device-18",
		"hex:3031":   "", // "01" is hex itself
		"hex:61200a": "", "hex:1b5b316d61": "", "hex:e280ae61": "", "hex:2061": "", "hex:ff": "",
	} {
		got := done[estserver.KeyWanted, estserver.KeyShown](o, "est.key.add", estserver.KeyWanted{ID: id, Key: []byte("0123456789abcdef")})
		if got.Text != want {
			t.Errorf("%q is shown as %q", id, got.Text)
		}
		if want != "" {
			done[estserver.KeyNamed, struct{}](o, "est.key.remove", estserver.KeyNamed{Kind: estserver.Symmetric, ID: got.Text})
		}
	}
}
