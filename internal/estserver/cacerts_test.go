package estserver_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"strings"
	"testing"

	"chancery/cms"
	"chancery/est"
	"chancery/internal/ca"
	"chancery/internal/estserver"
)

// bagOf reads the answer to cacerts.
func bagOf(t *testing.T, r *reply) []*x509.Certificate {
	t.Helper()
	der, err := est.Decode(r.body, 1<<20)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", r.Status, err)
	}
	bag, err := cms.ParseBag(der)
	if err != nil {
		t.Fatal(err)
	}
	var certs []*x509.Certificate
	for _, der := range bag.Certificates {
		certs = append(certs, parse(t, der))
	}
	return certs
}

// verifies tells whether a root of the bag and the rest of it are all that is needed
// to verify a certificate.
func verifies(leaf, root *x509.Certificate, bag []*x509.Certificate) bool {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root)
	for _, c := range bag {
		if !c.Equal(root) {
			between.AddCert(c)
		}
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}

// TestCACerts: the chain and the root, to everybody; a wrong certificate or password
// does not hurt (RFC 7030 §4.1.2).
func TestCACerts(t *testing.T) {
	w := newWorld(t, nil, plainLabel())
	device := w.certify("device", ca.Subject{CommonName: "dev1"})
	bag := bagOf(t, w.client(nil).get("cacerts"))
	roots := w.authority.Issuers().Roots()
	if len(bag) != 2 || !verifies(device.cert, roots[0], bag) {
		t.Errorf("%d certificates", len(bag))
	}
	w.revoke(device.cert)
	for _, c := range []*client{w.client(device), w.client(w.maker.device(t, pkix.Name{CommonName: "x"}, nil)), w.basic("alice", "wrong"), {w: w, login: "Digest ???"}} {
		if len(bagOf(t, c.get("cacerts"))) != 2 {
			t.Error("a wrong credential hurts")
		}
	}
	head := w.client(nil).send(http.MethodHead, root+"cacerts", nil)
	if head.StatusCode != http.StatusOK || len(head.body) != 0 || head.Header.Get("Content-Length") == "" {
		t.Errorf("HEAD: %s, %q", head.Status, head.body)
	}
	if warnings := w.server.Warnings(t.Context()); len(warnings) != 0 {
		t.Error(warnings)
	}
}

// TestCACertsAfterRollover: old and new root, and each certified by the other, so that
// who trusts either verifies what both issued (RFC 4210 §4.4, RFC 7030 §4.1.3).
func TestCACertsAfterRollover(t *testing.T) {
	w := newWorld(t, nil, plainLabel())
	before := w.certify("device", ca.Subject{CommonName: "before"})
	first := bagOf(t, w.client(nil).get("cacerts"))
	if _, err := w.authority.RolloverRoot(context.Background(), ca.Principal{Room: "admin", ID: "test"}, "root"); err != nil {
		t.Fatal(err)
	}
	after := w.certify("device", ca.Subject{CommonName: "after"})
	bag := bagOf(t, w.client(nil).get("cacerts"))
	for _, c := range first {
		found := false
		for _, now := range bag {
			found = found || now.Equal(c)
		}
		if !found {
			t.Errorf("%v is missing", c.Subject)
		}
	}
	roots := w.authority.Issuers().Roots()
	if len(roots) != 2 {
		t.Fatalf("%d roots", len(roots))
	}
	for _, root := range roots {
		for _, leaf := range []*holder{before, after} {
			if !verifies(leaf.cert, root, bag) {
				t.Errorf("%v is not verified under %v", leaf.cert.Subject, root.Subject)
			}
		}
	}
	ties := 0
	for _, c := range bag {
		for _, root := range roots {
			if bytes.Equal(c.RawSubjectPublicKeyInfo, root.RawSubjectPublicKeyInfo) && !c.Equal(root) {
				ties++
			}
		}
	}
	if ties != 2 || len(bag) != 6 {
		t.Errorf("%d ties in %d certificates", ties, len(bag))
	}
}

// TestCACertsTooLong: once the answer does not fit one TLS record, there is a warning for
// whoever looks, and not before.
func TestCACertsTooLong(t *testing.T) {
	w := newWorld(t, nil, plainLabel())
	o := w.office()
	for range 20 {
		if _, err := w.authority.RolloverRoot(context.Background(), ca.Principal{Room: "admin", ID: "test"}, "root"); err != nil {
			t.Fatal(err)
		}
		answer := w.client(nil).get("cacerts")
		long := len(answer.head)+4+len(answer.body) > 16<<10
		warnings := done[struct{}, estserver.LabelsShown](o, "est.label.list", struct{}{}).Warnings
		if long && (len(warnings) != 1 || !strings.Contains(warnings[0], "more than a TLS record holds")) {
			t.Fatalf("%d octets, and the warnings are %q", len(answer.body), warnings)
		}
		if len(answer.body) < 14<<10 && len(warnings) != 0 {
			t.Fatalf("%d octets, and there are warnings: %q", len(answer.body), warnings)
		}
		if long {
			return
		}
	}
	t.Error("the bag does not grow")
}
