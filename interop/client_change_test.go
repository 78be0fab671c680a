package interop_test

import (
	"crypto"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/enroll"
	"chancery/internal/enroll/install"
	"chancery/internal/enroll/vault"
)

// A certificate that another client put there is not replaced unless told so, and then the
// change is told; from then on it is this client's own.
func TestClientLeavesOthersCertificates(t *testing.T) {
	l := newLab(t)
	l.serveWebroot()
	f := l.front(l.pebble(pebbleSetup{}))
	l.caa("shop.test", f.issuer)
	others := newSealer(t, "Other People's CA")
	key := ecKey(t)
	before := encodePEM(others.sign(t, &x509.Certificate{DNSNames: []string{"shop.test"}}, key.Public()))
	place := l.write("fullchain.pem", before)
	target := install.Target{FullChain: place, Key: filepath.Join(l.dir, "key.pem")}
	sheet := vault.Sheet{Names: []string{"shop.test"}, Install: target}
	c := l.open("data", opening{})
	out, err := c.Engine.Get(t.Context(), sheet, enroll.Options{})
	var change *enroll.ChangeError
	if !errors.As(err, &change) || out.Result != enroll.StillValid {
		t.Fatalf("%s, %v", out.Result, err)
	}
	for _, word := range []string{"Other People's CA", f.issuer, "--allow-ca-change", "not obtained by this client"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the words lack %q: %v", word, err)
		}
	}
	if text, err := os.ReadFile(place); err != nil || string(text) != before {
		t.Errorf("it was touched: %v", err)
	}
	if len(f.sent("identifiers"))+len(f.sent("termsOfServiceAgreed")) != 0 {
		t.Error("the CA was asked")
	}
	report, err := c.Engine.Discover(t.Context(), sheet, enroll.Options{})
	if err != nil || report.Existing == nil || report.Existing.Ours || !strings.Contains(report.Existing.Issuer, "Other People's CA") {
		t.Errorf("discover says %+v, %v", report.Existing, err)
	}
	c.get(t, enroll.Options{AllowCAChange: true}, sheet)
	if text, err := os.ReadFile(place); err != nil || string(text) == before {
		t.Errorf("it was not replaced: %v", err)
	}
	if told := c.messages("ca-changed"); len(told) != 1 || !strings.Contains(told[0].Text, "Other People's CA") {
		t.Errorf("%+v", told)
	}
	// Its own it renews unasked.
	if out := c.get(t, enroll.Options{Force: true}, sheet); out.Previous == nil {
		t.Error("the renewal knows of no certificate before")
	}
}

// Among equals the first choice is chance, and a renewal stays where it was: twenty times,
// each as a new process.
func TestClientStaysAmongEquals(t *testing.T) {
	l := newLab(t)
	l.serveWebroot()
	directory := l.pebble(pebbleSetup{})
	one, two := l.front(directory), l.front(directory)
	records := []string{one.issuer, two.issuer + "; priority=0"}
	c := l.open("data", opening{})
	first := map[string]string{}
	chosen := map[string]bool{}
	for n := 0; len(chosen) < 2; n++ {
		if n == 40 {
			t.Fatalf("forty times of two equals only %v was chosen", chosen)
		}
		name := "n" + itoa(n) + ".test"
		l.caa(name, records...)
		out := c.get(t, enroll.Options{}, vault.Sheet{Names: []string{name}})
		if !chosen[out.Issued.Issuer] {
			first[name] = out.Issued.Issuer
		}
		chosen[out.Issued.Issuer] = true
	}
	for name, issuer := range first {
		if issuer == one.issuer {
			continue // one of them is enough
		}
		for n := range 20 {
			out, err := l.open("data", opening{}).Engine.Renew(t.Context(), name, enroll.Options{Force: true})
			if err != nil || out.Issued.Issuer != issuer {
				t.Fatalf("renewal %d of %s: %s, then %s; %+v, %v", n+1, name, issuer, out.Issued.Issuer, out.Attempts, err)
			}
		}
	}
	// It is left when the owner ranks another above it, without a flag; and comes back to
	// none of its own accord.
	for name, issuer := range first {
		other := two.issuer
		if issuer == two.issuer {
			other = one.issuer
		}
		l.caa(name, other+"; priority=1", issuer+"; priority=2")
		if out, err := c.Engine.Renew(t.Context(), name, enroll.Options{Force: true}); err != nil || out.Issued.Issuer != other {
			t.Errorf("%s: the owner prefers %s now: %s, %v", name, other, out.Issued.Issuer, err)
		}
		l.caa(name, records...)
		if out, err := c.Engine.Renew(t.Context(), name, enroll.Options{Force: true}); err != nil || out.Issued.Issuer != other {
			t.Errorf("%s: equals again, and it moved from %s to %s, %v", name, other, out.Issued.Issuer, err)
		}
	}
	// --pin-ca keeps it where it is, even if that is down.
	for name := range first {
		one.down()
		two.down()
		if _, err := c.Engine.Renew(t.Context(), name, enroll.Options{Force: true, PinCA: true}); err == nil {
			t.Errorf("%s was renewed by nobody", name)
		}
		break
	}
}

// "EV first, else anything": while the certificate of the better kind is good it is not
// replaced by a lesser one, though the owner's records permit it; near its end it is.
func TestClientStepsDownLate(t *testing.T) {
	l := newLab(t)
	l.serveWebroot()
	good := newSealer(t, "Vetting Root")
	f := l.front(l.pebble(pebbleSetup{profiles: map[string]time.Duration{"ca-ev": 90 * 24 * time.Hour}}))
	l.anchor(good.cert)
	l.caa("shop.test", f.issuer+"; validationmethods=ca-ev; priority=1", f.issuer+"; priority=2")
	// Pebble vets nobody: the front signs as a CA that does, for orders of that profile.
	vetted, err := x509.ParseOID("2.23.140.1.1")
	if err != nil {
		t.Fatal(err)
	}
	vet := f.forging(good, func(csr *x509.CertificateRequest) (*x509.Certificate, crypto.PublicKey) {
		return &x509.Certificate{DNSNames: csr.DNSNames, Policies: []x509.OID{vetted}}, csr.PublicKey
	})
	f.set(vet)
	// Without credentials there is no such kind: the same CA's other offer serves.
	plain := l.open("plain", opening{})
	f.set(nil)
	if out := plain.from(t, f, "shop.test"); out.Issued.Kind != "" {
		t.Errorf("kind %q without an account of one's own", out.Issued.Kind)
	}
	f.set(vet)
	c := l.open("data", opening{})
	if err := c.Vault.SetEAB(t.Context(), f.issuer, acme.ExternalAccount{KeyID: "kid-1", Key: eabSecret}); err != nil {
		t.Fatal(err)
	}
	first := c.from(t, f, "shop.test")
	if first.Issued.Kind != "ca-ev" {
		t.Fatalf("kind %q; %+v", first.Issued.Kind, first.Attempts)
	}
	// Orders of that kind are refused from now on.
	f.set(func(w http.ResponseWriter, r *http.Request) bool {
		f.mu.Lock()
		last := f.requests[len(f.requests)-1]
		f.mu.Unlock()
		return last.payload["profile"] == "ca-ev" && problem("/order-plz", 403, "rejectedIdentifier")(w, r)
	})
	life := first.Issued.NotAfter.Sub(first.Issued.NotBefore)
	due := l.open("data", opening{ahead: life * 7 / 10})
	out, err := due.Engine.Renew(t.Context(), first.Certificate, enroll.Options{})
	if err == nil || out.Result != enroll.StillValid || len(out.Attempts) != 2 || out.Attempts[1].Class != enroll.ClassSkipped {
		t.Errorf("due, and still good: %s, %+v, %v", out.Result, out.Attempts, err)
	}
	if got := due.leaf(t, first); !got.NotAfter.Equal(first.Issued.NotAfter) {
		t.Error("the better certificate was replaced")
	}
	near := l.open("data", opening{ahead: life * 95 / 100})
	out, err = near.Engine.Renew(t.Context(), first.Certificate, enroll.Options{})
	if err != nil || out.Result != enroll.Issued || out.Issued.Kind != "" {
		t.Fatalf("near its end: %s, %+v, %v", out.Result, out.Attempts, err)
	}
	if told := near.messages("ca-changed"); len(told) != 1 {
		t.Errorf("%d messages about the change of kind", len(told))
	}
}
