package interop_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/internal/peertest"
)

// party judges certificates with OpenSSL, as a stranger that knows the root and
// what the certificate itself says.
type party struct {
	*world
	openssl, curl string
	trust         string // file with the root that the stranger knows
}

func (w *world) party() party {
	w.t.Helper()
	return party{w, peertest.Need(w.t, "openssl"), peertest.Need(w.t, "curl"), w.root}
}

func (p party) ssl(args ...string) string {
	p.t.Helper()
	return p.run(command{name: p.openssl, args: args})
}

// split writes the first certificate of a file and those above it to files of
// their own.
type split struct {
	leaf, above, issuer string // files
	cert                *x509.Certificate
	all                 []*x509.Certificate
}

func (w *world) split(file string) split {
	w.t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.splitPEM(text)
}

func (w *world) splitPEM(text []byte) split {
	w.t.Helper()
	all := certificates(w.t, text)
	if len(all) < 2 {
		w.t.Fatalf("%d certificates were given; the leaf and what is above it are wanted", len(all))
	}
	dir, err := os.MkdirTemp(w.dir, "split")
	if err != nil {
		w.t.Fatal(err)
	}
	s := split{leaf: filepath.Join(dir, "leaf.pem"), above: filepath.Join(dir, "above.pem"), issuer: filepath.Join(dir, "issuer.pem"), cert: all[0], all: all}
	for name, certs := range map[string][]*x509.Certificate{s.leaf: all[:1], s.above: all[1:], s.issuer: all[1:2]} {
		if err := os.WriteFile(name, encode(certs), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	return s
}

func certificates(t *testing.T, text []byte) []*x509.Certificate {
	t.Helper()
	var all []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, cert)
	}
	return all
}

func encode(certs []*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return b.Bytes()
}

// good checks with OpenSSL that the chain holds for the names and that both
// OCSP and CRL say so.
func (p party) good(s split, names ...string) {
	p.t.Helper()
	var got []string
	got = append(got, s.cert.DNSNames...)
	for _, ip := range s.cert.IPAddresses {
		got = append(got, ip.String())
	}
	slices.Sort(got)
	slices.Sort(names)
	if !slices.Equal(got, names) {
		p.t.Errorf("the certificate is for %q, want %q", got, names)
	}
	for _, name := range names {
		how := "-verify_hostname"
		if net.ParseIP(name) != nil {
			how = "-verify_ip"
		}
		p.ssl("verify", "-CAfile", p.trust, "-untrusted", s.above, "-purpose", "sslserver", "-x509_strict",
			how, strings.Replace(name, "*", "any", 1), s.leaf)
	}
	if said := p.ocsp(s); !strings.Contains(said, s.leaf+": good") {
		p.t.Errorf("OCSP: %s", said)
	}
	p.ssl("verify", "-CAfile", p.trust, "-untrusted", s.above, "-crl_check", "-CRLfile", p.crl(s), s.leaf)
}

// settled is how long status may lag behind an act.
const settled = 20 * time.Second

// within tries until it is so.
func (p party) within(limit time.Duration, what string, try func() (so bool, said string)) {
	p.t.Helper()
	end := time.Now().Add(limit)
	for {
		so, said := try()
		if so {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("%s: not within %v:\n%s", what, limit, said)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// revoked checks that OCSP and CRL tell of the revocation for the reason ("" is
// none). Both may follow some seconds later: answers are kept for a moment, and
// the next CRL has it (RFC 5280 §3.3).
func (p party) revoked(s split, reason string) {
	p.t.Helper()
	p.within(settled, "OCSP says revoked", func() (bool, string) {
		said := p.ocsp(s)
		return strings.Contains(said, s.leaf+": revoked") && (reason == "" || strings.Contains(said, "Reason: "+reason)), said
	})
	p.within(settled, "the CRL has the certificate", func() (bool, string) {
		out, err := p.try(command{name: p.openssl, args: []string{"verify", "-CAfile", p.trust, "-untrusted", s.above, "-crl_check", "-CRLfile", p.crl(s), s.leaf}})
		return err != nil && strings.Contains(out, "certificate revoked"), out
	})
}

// ocsp asks the responder that the certificate names; its answer must verify.
func (p party) ocsp(s split) string {
	p.t.Helper()
	if len(s.cert.OCSPServer) == 0 {
		p.t.Fatal("the certificate names no OCSP responder")
	}
	said := p.ssl("ocsp", "-issuer", s.issuer, "-cert", s.leaf, "-url", s.cert.OCSPServer[0], "-CAfile", p.trust,
		"-verify_other", s.above, "-no_nonce")
	if !strings.Contains(said, "Response verify OK") {
		p.t.Errorf("OCSP response: %s", said)
	}
	return said
}

// crl fetches the list that the certificate names, has its signature checked,
// and gives it as a file in PEM.
func (p party) crl(s split) string {
	p.t.Helper()
	if len(s.cert.CRLDistributionPoints) == 0 {
		p.t.Fatal("the certificate names no CRL")
	}
	base := strings.TrimSuffix(s.leaf, "leaf.pem")
	// An issuer made a moment ago has its first list a moment later.
	p.within(settled, "there is a CRL", func() (bool, string) {
		out, err := p.try(command{name: p.curl, args: []string{"-sSf", "-o", base + "crl.der", s.cert.CRLDistributionPoints[0]}})
		return err == nil, out
	})
	said := p.ssl("crl", "-inform", "DER", "-in", base+"crl.der", "-CAfile", s.issuer, "-out", base+"crl.pem")
	if !strings.Contains(said, "verify OK") {
		p.t.Errorf("CRL: %s", said)
	}
	return base + "crl.pem"
}

// keyKind names a certificate's kind of key.
func keyKind(cert *x509.Certificate) string {
	if k, ok := cert.PublicKey.(*rsa.PublicKey); ok {
		return fmt.Sprint("RSA ", k.N.BitLen())
	}
	return cert.PublicKeyAlgorithm.String()
}

func wantKey(t *testing.T, s split, kind string) {
	t.Helper()
	if got := keyKind(s.cert); got != kind {
		t.Errorf("the certificate has a key of kind %s, want %s", got, kind)
	}
}

func wantRenewed(t *testing.T, before, after split) {
	t.Helper()
	if before.cert.SerialNumber.Cmp(after.cert.SerialNumber) == 0 {
		t.Error("the certificate after the renewal is the one before it")
	}
}
