package status_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"chancery/internal/ca"
)

func path(p string) *http.Request { return httptest.NewRequest("GET", p, nil) }

func TestCRL(t *testing.T) {
	b := newBench(t)
	issuer := b.issuing()
	cert := b.leaf(t, "www.example")
	address, err := url.Parse(cert.CRLDistributionPoints[0])
	if err != nil {
		t.Fatal(err)
	}
	refresh := func() {
		t.Helper()
		if _, err := b.RefreshCRLs(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.clock.pass(time.Second) // a CRL is read again after one second
	}
	number := func(w *httptest.ResponseRecorder) *x509.RevocationList {
		t.Helper()
		list, err := x509.ParseRevocationList(w.Body.Bytes())
		if err != nil || w.Code != 200 || w.Header().Get("Content-Type") != "application/pkix-crl" {
			t.Fatalf("HTTP %d %v: %v", w.Code, w.Header(), err)
		}
		if err := list.CheckSignatureFrom(issuer.Certificate()); err != nil {
			t.Fatal(err)
		}
		return list
	}
	refresh()
	w := b.do(path(address.Path))
	first := number(w)
	if len(first.RevokedCertificateEntries) != 0 {
		t.Errorf("first CRL: %v with %d entries", first.Number, len(first.RevokedCertificateEntries))
	}
	if got := w.Header().Get("Cache-Control"); got != "max-age=300, public, no-transform" {
		t.Errorf("Cache-Control: %s", got)
	}
	etag, modified := w.Header().Get("Etag"), w.Header().Get("Last-Modified")
	if got := b.do(path(address.Path), "If-None-Match", etag); got.Code != 304 || got.Body.Len() != 0 {
		t.Errorf("If-None-Match: HTTP %d", got.Code)
	}
	if got := b.do(path(address.Path), "If-Modified-Since", modified); got.Code != 304 {
		t.Errorf("If-Modified-Since: HTTP %d", got.Code)
	}
	b.revoke(t, cert, ca.KeyCompromise)
	refresh()
	second := number(b.do(path(address.Path), "If-None-Match", etag))
	if second.Number.Cmp(first.Number) <= 0 || len(second.RevokedCertificateEntries) != 1 || second.RevokedCertificateEntries[0].SerialNumber.Cmp(cert.SerialNumber) != 0 {
		t.Errorf("after the revocation: %v, %v", second.Number, second.RevokedCertificateEntries)
	}

	b.line.set(errors.New("the cable is out"))
	b.clock.pass(24 * time.Hour)
	if got := number(b.do(path(address.Path))); got.Number.Cmp(second.Number) != 0 {
		t.Errorf("without storage: %v", got.Number)
	}
	b.clock.pass(6 * 24 * time.Hour)
	if got := b.do(path(address.Path)); got.Code != http.StatusServiceUnavailable {
		t.Errorf("without storage after nextUpdate: HTTP %d", got.Code)
	}
}

func TestIssuerCertificates(t *testing.T) {
	b := newBench(t)
	cert, issuer := b.leaf(t, "www.example"), b.issuing()
	address, err := url.Parse(cert.IssuingCertificateURL[0])
	if err != nil {
		t.Fatal(err)
	}
	w := b.do(path(address.Path))
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/pkix-cert" || !bytes.Equal(w.Body.Bytes(), issuer.Certificate().Raw) {
		t.Errorf("HTTP %d %v", w.Code, w.Header())
	}
	if got := b.do(path(address.Path), "If-None-Match", w.Header().Get("Etag")); got.Code != 304 {
		t.Errorf("If-None-Match: HTTP %d", got.Code)
	}
	first := b.Issuers().Roots()[0]
	b.clock.pass(time.Hour)
	if _, err := b.RolloverRoot(t.Context(), ca.Principal{Room: "admin", ID: "test"}, "root"); err != nil {
		t.Fatal(err)
	}
	next := b.Issuers().Roots()[0]
	for address, want := range map[string][]*x509.Certificate{"/root.pem": {next}, "/roots.pem": {next, first}} {
		var got [][]byte
		for block, rest := pem.Decode(b.do(path(address)).Body.Bytes()); block != nil; block, rest = pem.Decode(rest) {
			got = append(got, block.Bytes)
		}
		if !slices.EqualFunc(got, want, func(der []byte, c *x509.Certificate) bool { return bytes.Equal(der, c.Raw) }) {
			t.Errorf("%s has %d certificates, not those of the %d roots", address, len(got), len(want))
		}
	}
	if w := b.do(path("/ca/" + issuer.ID + ".crt")); w.Code != 200 {
		t.Errorf("a retired issuer's certificate: HTTP %d", w.Code)
	}
}

// Founding makes the first CRLs; where one is missing all the same, it will come.
func TestMissingCRL(t *testing.T) {
	b := newBench(t)
	if _, err := b.db.Exec(t.Context(), "DELETE FROM crls"); err != nil {
		t.Fatal(err)
	}
	w := b.do(path("/crl/" + b.issuing().ID + "/0.crl"))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("HTTP %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
}

func TestRoutes(t *testing.T) {
	b := newBench(t)
	id := b.issuing().ID
	for _, c := range []struct {
		method, path string
		code         int
	}{
		{"GET", "/", 404}, {"GET", "/ca", 404}, {"GET", "/ca/", 404}, {"GET", "/ca/.crt", 404}, {"GET", "/metrics", 404},
		{"GET", "/ca/" + id, 404}, {"GET", "/ca/nobody.crt", 404}, {"GET", "/ca/../root.pem", 404},
		{"GET", "/crl/" + id + "/2.crl", 404}, {"GET", "/crl/" + id + "/-1.crl", 404}, {"GET", "/crl/" + id + "/00.crl", 404},
		{"GET", "/crl/" + id + "/0", 404}, {"GET", "/crl/" + id + "/0.crl/", 404}, {"GET", "/crl/nobody/0.crl", 404},
		{"GET", "/crl/" + id + "/0.crl", 200},
		{"GET", "/ocsp", 405}, {"HEAD", "/ocsp", 405}, {"PUT", "/ocsp", 405}, {"DELETE", "/roots.pem", 405},
		{"POST", "/root.pem", 405}, {"POST", "/ocsp/MAA=", 405}, {"OPTIONS", "/", 405},
		{"POST", "/ocsp", 415}, {"POST", "/ocsp/", 415},
		{"GET", "/root.pem", 200}, {"HEAD", "/ca/" + id + ".crt", 200},
	} {
		w := b.do(httptest.NewRequest(c.method, c.path, nil))
		if w.Code != c.code {
			t.Errorf("%s %s: HTTP %d, not %d", c.method, c.path, w.Code, c.code)
		}
		if (w.Code == 405) != (w.Header().Get("Allow") != "") {
			t.Errorf("%s %s: Allow %q", c.method, c.path, w.Header().Get("Allow"))
		}
	}
}

// FuzzPaths: whatever is asked for, the room answers and does not break down.
func FuzzPaths(f *testing.F) {
	b := newBench(f)
	id := b.issuing().ID
	ask := question(f, &x509.Certificate{SerialNumber: big.NewInt(1)}, b.issuing().Certificate(), crypto.SHA1)
	f.Add("GET", get(ask).URL.Path)
	f.Add("GET", "/crl/"+id+"/0.crl")
	f.Add("HEAD", "/ca/"+id+".crt")
	f.Add("POST", "/ocsp")
	f.Fuzz(func(t *testing.T, method, p string) {
		w := b.do(&http.Request{Method: method, URL: &url.URL{Path: p}, Header: http.Header{}, Body: http.NoBody})
		if !slices.Contains([]int{200, 404, 405, 415, 503}, w.Code) {
			t.Fatalf("%q %q: HTTP %d", method, p, w.Code)
		}
	})
}
