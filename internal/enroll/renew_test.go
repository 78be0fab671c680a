package enroll_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"chancery/internal/enroll"
	"chancery/internal/enroll/install"
	"chancery/internal/enroll/vault"
)

// A renewal stays with the CA that issued last while that ranks with the best, leaves it
// for one that the owner prefers now, and for the next when it fails, unless it is pinned.
func TestRenewalKeepsItsCA(t *testing.T) {
	r := newRig(t, plain(3)...)
	equals := []string{issue("ca1.test"), issue("ca2.test"), issue("ca3.test")}
	r.set("shop.example", equals...)
	c := r.client("")
	first := c.get(t, enroll.Options{}, "shop.example").Issued.Issuer
	for range 3 {
		if out := c.get(t, enroll.Options{Force: true}, "shop.example"); out.Issued.Issuer != first {
			t.Fatalf("a renewal went from %s to %s", first, out.Issued.Issuer)
		}
	}
	if n := len(c.told("ca-changed")); n != 0 {
		t.Errorf("%d messages of a change that was none", n)
	}
	var last *house
	for _, h := range r.houses {
		if h.issuer == first {
			last = h
		}
	}
	last.set(noTLS)
	pinned, err := c.Renew(t.Context(), "shop.example", enroll.Options{Force: true, PinCA: true})
	if err == nil || pinned.Result != enroll.StillValid || len(pinned.Attempts) != 1 {
		t.Errorf("pinned: %+v, %v", pinned, err)
	}
	next := c.get(t, enroll.Options{Force: true}, "shop.example").Issued.Issuer
	if next == first {
		t.Errorf("the faulty %s issued", next)
	}
	if n := c.told("ca-changed"); len(n) != 1 || !strings.Contains(n[0].Text, first) {
		t.Errorf("messages of the change: %+v", n)
	}
	last.set(nil)
	c.clock.add(2 * time.Hour)
	// The owner prefers another now.
	best := "ca1.test"
	if next == best {
		best = "ca2.test"
	}
	r.set("shop.example", append(equals[:0:0], issue(best), issue(next, "priority=1"))...)
	if out := c.get(t, enroll.Options{Force: true}, "shop.example"); out.Issued.Issuer != best {
		t.Errorf("%s issued, the owner prefers %s", out.Issued.Issuer, best)
	}
}

// self makes a certificate of nobody's.
func self(t *testing.T, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Old Trust EV"}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), Policies: []x509.OID{oid(t, "2.23.140.1.1")}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func oid(t *testing.T, text string) x509.OID {
	t.Helper()
	o, err := x509.ParseOID(text)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// A certificate that this client did not obtain is replaced only when told (§8.1.1), and
// the first run says where it is from and who comes next.
func TestExistingCertificateStays(t *testing.T) {
	r := newRig(t, plain(1)...)
	r.set("shop.example", issue("ca1.test"))
	dir := t.TempDir()
	path := filepath.Join(dir, "fullchain.pem")
	old := self(t, "shop.example")
	if err := os.WriteFile(path, old, 0o644); err != nil {
		t.Fatal(err)
	}
	c := r.client("")
	want := vault.Sheet{Names: []string{"shop.example"}, Install: install.Target{FullChain: path, Key: filepath.Join(dir, "key.pem")}}
	out, err := c.Get(t.Context(), want, enroll.Options{})
	var change *enroll.ChangeError
	if !errors.As(err, &change) || change.Next != "ca1.test" || !strings.Contains(change.In.Issuer, "Old Trust") || change.In.Kind != "ca-ev" {
		t.Fatalf("%v", err)
	}
	if out.Result != enroll.StillValid || r.houses[0].seen.Load() != 0 {
		t.Errorf("%s, %d requests", out.Result, r.houses[0].seen.Load())
	}
	r.set("other.example", issue("ca1.test"))
	other := vault.Sheet{Names: []string{"other.example"}, Install: want.Install}
	if out, err := r.client("").Get(t.Context(), other, enroll.Options{}); err == nil || out.Result != enroll.Failed {
		t.Errorf("a certificate for another name is called still good: %s, %v", out.Result, err)
	}
	if e := c.heard(enroll.EventExisting); len(e) != 1 || !strings.Contains(e[0].Message, "Old Trust") || !strings.Contains(e[0].Message, "ca1.test") {
		t.Errorf("events: %+v", e)
	}
	rep, err := c.Discover(t.Context(), want, enroll.Options{})
	if err != nil || rep.Existing == nil || rep.Existing.Ours || !strings.Contains(strings.Join(rep.Notes, "\n"), "validationmethods") {
		t.Errorf("discover: %+v, %v", rep.Existing, err)
	}
	if now, _ := os.ReadFile(path); string(now) != string(old) {
		t.Error("the file was changed")
	}
	out, err = c.Get(t.Context(), want, enroll.Options{AllowCAChange: true})
	if err != nil || out.Result != enroll.Issued || len(out.Installed) != 2 {
		t.Fatalf("%+v, %v", out, err)
	}
	if now, _ := os.ReadFile(path); string(now) == string(old) {
		t.Error("nothing was installed")
	}
	// Its own it renews without a flag.
	if out, err := c.Renew(t.Context(), "shop.example", enroll.Options{Force: true}); err != nil || out.Result != enroll.Issued {
		t.Errorf("%+v, %v", out, err)
	}
}

// A CA that lost the account gets a new one by the same key; an order names the
// certificate that it replaces, and goes without when the CA does not like that.
func TestAccountIsFoundAgain(t *testing.T) {
	r := newRig(t, plain(1)...)
	r.set("shop.example", issue("ca1.test"))
	c := r.client("")
	first := c.get(t, enroll.Options{}, "shop.example")
	var lost atomic.Int64
	gone := problem("/new-order", 400, "accountDoesNotExist")
	r.houses[0].set(func(w http.ResponseWriter, req *http.Request) bool {
		return strings.HasSuffix(req.URL.Path, "/new-order") && lost.Add(1) == 1 && gone(w, req)
	})
	second := c.get(t, enroll.Options{Force: true}, "shop.example")
	if second.Issued.Account != first.Issued.Account || lost.Load() < 2 {
		t.Errorf("%s, then %s", first.Issued.Account, second.Issued.Account)
	}
	// A key without an account in the vault is what a crash after newAccount leaves.
	at := "https://ca1.test/.well-known/acme"
	if err := c.vault.UpdateCA(t.Context(), at, func(ca *vault.CA) error { ca.Account = nil; return nil }); err != nil {
		t.Fatal(err)
	}
	if third := c.get(t, enroll.Options{Force: true}, "shop.example"); third.Issued.Account != first.Issued.Account {
		t.Errorf("a second account was made: %s", third.Issued.Account)
	}
	var refused atomic.Int64
	replaced := problem("/new-order", 409, "alreadyReplaced")
	r.houses[0].set(func(w http.ResponseWriter, req *http.Request) bool {
		return strings.HasSuffix(req.URL.Path, "/new-order") && refused.Add(1) == 1 && replaced(w, req)
	})
	c.get(t, enroll.Options{Force: true}, "shop.example")
	if refused.Load() < 2 {
		t.Errorf("%d orders: it was not repeated without what the CA refuses", refused.Load())
	}
}

// A run that is cut off after finalize is taken up by the next one: no second order, and
// the same key.
func TestOrderSurvivesACrash(t *testing.T) {
	r := newRig(t, plain(2)...)
	r.set("shop.example", issue("ca1.test", "priority=1"), issue("ca2.test", "priority=2"))
	dir := t.TempDir() + "/vault"
	c := r.client(dir, func(c *enroll.Config) { c.Settings.Tries = 1 })
	// The certificate cannot be downloaded, at the only CA there is at first.
	r.set("shop.example", issue("ca1.test"))
	r.houses[0].set(func(w http.ResponseWriter, req *http.Request) bool {
		if !strings.Contains(req.URL.Path, "/cert") {
			return false
		}
		_, _ = io.Copy(io.Discard, req.Body)
		w.WriteHeader(502)
		return true
	})
	if _, err := c.Get(t.Context(), sheet("shop.example"), enroll.Options{}); err == nil {
		t.Fatal("a certificate came without being downloaded")
	}
	left := rec(t, c, "shop.example").Pending
	if left == nil || !left.Finalized {
		t.Fatalf("pending: %+v", left)
	}
	// Meanwhile the owner put another CA first: the finalized order still comes first.
	r.set("shop.example", issue("ca1.test", "priority=2"), issue("ca2.test", "priority=1"))
	r.houses[0].reset()
	again := r.client(dir)
	out := again.get(t, enroll.Options{}, "shop.example")
	if out.Issued.Issuer != "ca1.test" || r.houses[0].orders.Load() != 0 || len(again.heard(enroll.EventResumed)) != 1 {
		t.Errorf("%s issued, %d new orders", out.Issued.Issuer, r.houses[0].orders.Load())
	}
}

// What was obtained and could not be put in place is put there by the next run, which
// orders nothing.
func TestDeploymentIsMadeGood(t *testing.T) {
	r := newRig(t, plain(1)...)
	r.set("shop.example", issue("ca1.test"))
	dir := t.TempDir()
	blocked := filepath.Join(dir, "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := r.client("")
	path := filepath.Join(dir, "there.pem")
	ran := filepath.Join(dir, "ran")
	want := vault.Sheet{Names: []string{"shop.example"}, Install: install.Target{FullChain: path},
		Hooks: install.Hooks{Deploy: []install.Hook{{Shell: "test -e " + ran + " && echo \"$CHANCERY_NAMES\" >> " + ran, Attempts: 1}}}}
	out, err := c.Get(t.Context(), want, enroll.Options{})
	if err != nil || out.Result != enroll.Undeployed || out.Result.ExitCode() != 2 || len(out.Installed) != 1 || out.Unused == "" {
		t.Fatalf("%+v, %v", out, err)
	}
	for i := range 3 { // nobody hears of it twice, and nothing is ordered again
		out, err = c.Renew(t.Context(), "shop.example", enroll.Options{Unattended: true})
		if err != nil || out.Result != enroll.Undeployed || len(c.told("undeployed")) != 1 {
			t.Errorf("run %d: %+v, %v, %d messages", i, out, err, len(c.told("undeployed")))
		}
	}
	if err := os.WriteFile(ran, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.houses[0].reset()
	out, err = c.Renew(t.Context(), "shop.example", enroll.Options{})
	if err != nil || out.Result != enroll.NotDue || r.houses[0].seen.Load() != 0 {
		t.Errorf("%+v, %v", out, err)
	}
	if text, _ := os.ReadFile(ran); !strings.Contains(string(text), "shop.example") {
		t.Errorf("the hook did not run: %q", text)
	}
	if rec(t, c, "shop.example").Undeployed != nil {
		t.Error("it is still to be deployed")
	}
	if told := c.told("undeployed"); len(told) != 2 || !strings.HasSuffix(told[1].ID, "-recovered") {
		t.Errorf("messages: %+v", told)
	}
}

// What could not be installed is not called installed.
func TestNothingIsInstalled(t *testing.T) {
	r := newRig(t, plain(1)...)
	r.set("shop.example", issue("ca1.test"))
	out, err := r.client("").Get(t.Context(), vault.Sheet{Names: []string{"shop.example"},
		Install: install.Target{FullChain: "/proc/nope/x.pem"}}, enroll.Options{})
	if missing, ok := errors.AsType[*enroll.UndeployedError](out.Err()); err != nil || out.Result != enroll.Undeployed || len(out.Installed) != 0 || !ok || missing.Cause == "" {
		t.Errorf("%+v, %v", out, err)
	}
}

// An unattended run that ends without a certificate is a message, once for each stage of
// the present certificate's life (D16).
func TestUnattendedFailureIsTold(t *testing.T) {
	r := newRig(t, plain(1)...)
	r.set("shop.example", issue("ca1.test"))
	c := r.client("")
	c.get(t, enroll.Options{}, "shop.example")
	r.houses[0].set(noTLS)
	for i, test := range []struct {
		after time.Duration
		told  int
	}{{61 * 24 * time.Hour, 1}, {time.Hour, 1}, {22 * 24 * time.Hour, 2}, {time.Hour, 2}, {10 * 24 * time.Hour, 3}} {
		c.clock.add(test.after)
		out, err := c.Renew(t.Context(), "shop.example", enroll.Options{Unattended: true})
		if err == nil {
			t.Fatal("issued")
		}
		if n := len(c.told("no-certificate")); n != test.told {
			t.Errorf("step %d: %d messages, want %d", i, n, test.told)
		}
		if want := map[bool]int{true: 2, false: 3}[i < 4]; out.Result.ExitCode() != want {
			t.Errorf("step %d: exit %d, want %d", i, out.Result.ExitCode(), want)
		}
	}
	if n := len(c.told("ca-failing")); n != 1 {
		t.Errorf("%d messages about the CA, want 1", n)
	}
	if tries := rec(t, c, "shop.example").Tries; tries.Failures != 5 || tries.Cause == "" {
		t.Errorf("%+v", tries)
	}
}

// A CA that waits for a person keeps its order, which the next run takes up (D21).
func TestUnfinishedOrderIsTakenUp(t *testing.T) {
	r := newRig(t, plain(1)...)
	r.set("shop.example", issue("ca1.test"))
	dir := t.TempDir() + "/vault"
	r.houses[0].set(func(w http.ResponseWriter, req *http.Request) bool {
		if !strings.Contains(req.URL.Path, "/challenge") {
			return false
		}
		_, _ = io.Copy(io.Discard, req.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"type":"http-01","url":"https://localhost/x","status":"processing","token":"bm9uY2Utb2YtYS10ZXN0LWZyb250"}`)
		return true
	})
	c := r.client(dir, func(c *enroll.Config) { c.Settings.Patience = 2 * time.Second })
	out, err := c.Get(t.Context(), sheet("shop.example"), enroll.Options{})
	if err == nil || len(out.Attempts) != 1 || out.Attempts[0].Class != enroll.ClassUnfinished {
		t.Fatalf("%+v, %v", out.Attempts, err)
	}
	known, err := c.vault.CA("https://ca1.test/.well-known/acme")
	if err != nil || known.Circuit.Failures != 0 {
		t.Errorf("it opened the circuit: %+v, %v", known.Circuit, err)
	}
	r.houses[0].reset()
	r.client(dir).get(t, enroll.Options{}, "shop.example")
	if n := r.houses[0].orders.Load(); n != 0 {
		t.Errorf("%d new orders", n)
	}
}

// --dnssec require: nothing is discovered from answers that nobody validated (D2).
func TestDNSSECIsRequired(t *testing.T) {
	r := newRig(t, plain(1)...)
	r.set("shop.example", issue("ca1.test"))
	c := r.client("", func(c *enroll.Config) { c.Settings.RequireAuthentic = true })
	if _, err := c.Get(t.Context(), sheet("shop.example"), enroll.Options{}); err == nil || r.houses[0].seen.Load() != 0 {
		t.Errorf("discovered from answers that were not validated: %v", err)
	}
	r.dns.Authentic(true)
	c.get(t, enroll.Options{}, "shop.example")
}

// A run that is called off is nobody's failure: nothing counts it, and nobody is told.
func TestCalledOffIsNoFailure(t *testing.T) {
	r := newRig(t, nil)
	r.set("a.test", issue("ca1.test"))
	c := r.client("")
	c.get(t, enroll.Options{}, "a.test")
	ctx, cancel := context.WithCancel(t.Context())
	r.houses[0].set(func(w http.ResponseWriter, req *http.Request) bool {
		if strings.HasSuffix(req.URL.Path, "/new-order") {
			cancel()
		}
		return false
	})
	if out, err := c.Renew(ctx, "a.test", enroll.Options{Force: true, Unattended: true}); err == nil {
		t.Fatalf("it was not called off: %+v", out)
	}
	rec, err := c.vault.Record("a.test")
	if err != nil || rec.Tries.Failures != 0 {
		t.Errorf("it counts: %+v, %v", rec.Tries, err)
	}
	if n := len(c.told("no-certificate")); n != 0 {
		t.Errorf("%d messages", n)
	}
}
