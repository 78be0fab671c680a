package acmeserver_test

import (
	"bytes"
	"net/http"
	"testing"

	"chancery/acme"
	"chancery/internal/ca"
)

// TestAlternateChains: after a rollover of the root a certificate has two ways
// up, and each is told of the other (RFC 8555 §7.4.2).
func TestAlternateChains(t *testing.T) {
	w := newWorld(t, nil)
	by := ca.Principal{Room: "admin", ID: "test"}
	if _, err := w.config.Authority.RolloverRoot(t.Context(), by, "root"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.config.Authority.RolloverIssuer(t.Context(), by, ca.DefaultLine); err != nil {
		t.Fatal(err)
	}
	c := w.client()
	first, _ := w.obtain(c, "a.example")
	if len(first.Alternates) != 1 {
		t.Fatalf("the alternates are %v; want one", first.Alternates)
	}
	second, err := c.Certificate(t.Context(), first.Alternates[0])
	if err != nil || len(second.Alternates) != 1 {
		t.Fatalf("got %+v, %v", second, err)
	}
	if !bytes.Equal(first.Certificates[0].Raw, second.Certificates[0].Raw) || bytes.Equal(first.PEM, second.PEM) {
		t.Error("the alternate is not the same certificate with another chain")
	}
	for _, chain := range []*acme.Chain{first, second} {
		for i, cert := range chain.Certificates[1:] {
			if err := chain.Certificates[i].CheckSignatureFrom(cert); err != nil {
				t.Errorf("certificate %d: %v", i, err)
			}
		}
	}
	back, err := c.Certificate(t.Context(), second.Alternates[0])
	if err != nil || !bytes.Equal(back.PEM, first.PEM) {
		t.Errorf("the alternate does not lead back: %v", err)
	}
	for _, n := range []string{"0", "2", "01", "x", "-1"} {
		_, err := c.Certificate(t.Context(), second.Alternates[0]+"/"+n)
		if p := acme.AsProblem(err); p == nil || p.Status != http.StatusNotFound {
			t.Errorf("chain %s gave %v; want 404", n, err)
		}
	}
}
