// Package certtest gives tests of EST what their servers and devices are made of: keys,
// authorities and HTTPS servers on loopback that request a client's certificate. What a
// server answers is each test's own. It imports nothing of ours, so that every package's
// tests can use it, also from inside.
package certtest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// ServerName is what the servers are called; they listen on loopback.
const ServerName = "est.example"

var serial atomic.Int64

// Serial gives a serial number that no other certificate of this process has.
func Serial() *big.Int { return big.NewInt(serial.Add(1)) }

// Key makes a key on P-256.
func Key(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Authority is a certificate that signs others, with its key.
type Authority struct {
	Cert *x509.Certificate
	Key  crypto.Signer
}

// Root makes an authority that signed itself.
func Root(t testing.TB, name string) *Authority {
	t.Helper()
	return (*Authority)(nil).Below(t, name)
}

// Below makes an authority that this one signed; that of nil signed itself.
func (a *Authority) Below(t testing.TB, name string) *Authority {
	t.Helper()
	key := Key(t)
	return &Authority{a.Sign(t, Template(name), key), key}
}

// Template is an authority's certificate that is yet to be signed, good for years.
func Template(name string) x509.Certificate {
	return x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotAfter: time.Now().Add(1000 * 24 * time.Hour),
	}
}

// Sign makes a certificate, with a serial number of its own and, where the template has
// none, a life of years that began an hour ago. That of nil is signed by its own key.
func (a *Authority) Sign(t testing.TB, template x509.Certificate, key crypto.Signer) *x509.Certificate {
	t.Helper()
	signer := a
	if a == nil {
		signer = &Authority{&template, key}
	}
	return signer.For(t, template, key.Public())
}

// For is Sign for a key of which only the public half is known.
func (a *Authority) For(t testing.TB, template x509.Certificate, key crypto.PublicKey) *x509.Certificate {
	t.Helper()
	template.SerialNumber = Serial()
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(900 * 24 * time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, a.Cert, key, a.Key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Grant signs what an EST client asked for: a subject and, unless it is nil, alternative
// names, both DER.
func (a *Authority) Grant(t testing.TB, template x509.Certificate, san []byte, key crypto.PublicKey) *x509.Certificate {
	t.Helper()
	if san != nil {
		template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: san}}
	}
	return a.For(t, template, key)
}

// Server makes an HTTPS server with a certificate of the authority's for [ServerName], and
// the authority's own behind it unless it signed itself. It is yet to be started.
func (a *Authority) Server(t testing.TB, serve http.HandlerFunc) *httptest.Server {
	t.Helper()
	key := Key(t)
	leaf := a.Sign(t, x509.Certificate{DNSNames: []string{ServerName}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, key)
	chain := [][]byte{leaf.Raw}
	if a.Cert.CheckSignatureFrom(a.Cert) != nil {
		chain = append(chain, a.Cert.Raw)
	}
	s := httptest.NewUnstartedServer(serve)
	s.TLS = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: chain, PrivateKey: key}},
		ClientAuth:   tls.RequestClientCert,
		NextProtos:   []string{"http/1.1"},
	}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of clients that hang up, as tests make them
	t.Cleanup(s.Close)
	return s
}

// Dial connects to a server under whatever name.
func Dial(ctx context.Context, network string, s *httptest.Server) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
}
