package acme_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net"
	"testing"

	"chancery/acme"
)

func otherChain(t *testing.T) []byte {
	c, err := acme.TLSALPNCertificate(exampleName[0], "x")
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})
}

func TestTokens(t *testing.T) {
	a, b := acme.NewToken(), acme.NewToken()
	raw, err := base64.RawURLEncoding.DecodeString(a)
	if a == b || err != nil || len(raw) < 16 || !acme.ValidToken(a) {
		t.Errorf("%q, %q, %v", a, b, err)
	}
	for _, s := range []string{"", "a=", "a/b", "..", "a b", "ä"} {
		if acme.ValidToken(s) {
			t.Errorf("%q is valid", s)
		}
	}
	if got := acme.HTTP01Path("tok"); got != "/.well-known/acme-challenge/tok" {
		t.Error(got)
	}
}

func TestDNS01(t *testing.T) {
	for in, want := range map[string]string{"example.org": "_acme-challenge.example.org", "*.example.org": "_acme-challenge.example.org", "example.org.": "_acme-challenge.example.org"} {
		if got := acme.DNS01Name(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
	// SHA-256 of "abc" (FIPS 180-4's example), in base64url.
	if got := acme.DNS01Value("abc"); got != "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0" {
		t.Error(got)
	}
}

func TestTLSALPN(t *testing.T) {
	for _, test := range []struct {
		id   acme.Identifier
		name string
	}{
		{acme.Identifier{Type: "dns", Value: "A.example"}, "a.example"},
		{acme.Identifier{Type: "ip", Value: "192.0.2.10"}, "10.2.0.192.in-addr.arpa"},
		// RFC 8738 §6
		{acme.Identifier{Type: "ip", Value: "2001:db8::1"}, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"},
	} {
		name, err := acme.TLSALPNServerName(test.id)
		if err != nil || name != test.name {
			t.Errorf("%v: %q, %v", test.id, name, err)
		}
		checkALPNCertificate(t, test.id)
	}
	for _, id := range []acme.Identifier{{Type: "ip", Value: "a.example"}, {Type: "ip", Value: "fe80::1%eth0"}, {Type: "permanent-identifier", Value: "x"}, {}} {
		if _, err := acme.TLSALPNCertificate(id, "x"); err == nil {
			t.Errorf("%v: no error", id)
		}
	}
}

func checkALPNCertificate(t *testing.T, id acme.Identifier) {
	t.Helper()
	pair, err := acme.TLSALPNCertificate(id, "tok.thumb")
	if err != nil {
		t.Fatal(err)
	}
	client, server := net.Pipe()
	go func() {
		_ = tls.Server(server, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{acme.TLSALPNProtocol}}).Handshake()
	}()
	name, err := acme.TLSALPNServerName(id)
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(client, &tls.Config{InsecureSkipVerify: true, ServerName: name, NextProtos: []string{acme.TLSALPNProtocol}})
	defer client.Close()
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	cert := conn.ConnectionState().PeerCertificates[0]
	if len(cert.DNSNames)+len(cert.IPAddresses) != 1 || cert.VerifyHostname(id.Value) != nil || cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) != nil {
		t.Errorf("%v: names %v %v", id, cert.DNSNames, cert.IPAddresses)
	}
	want := acme.TLSALPNValue("tok.thumb")
	found := 0
	for _, e := range cert.Extensions {
		if e.Id.Equal(acme.IDPEAcmeIdentifier) && e.Critical && bytes.Equal(e.Value, append([]byte{4, 32}, want[:]...)) {
			found++
		}
	}
	if found != 1 {
		t.Errorf("%v: %d acmeIdentifier extensions", id, found)
	}
}

func TestParseChain(t *testing.T) {
	good := otherChain(t)
	chain, err := acme.ParseChain(append(bytes.Clone(good), good...))
	if err != nil || len(chain.Certificates) != 2 {
		t.Fatal(err)
	}
	block, _ := pem.Decode(good)
	for name, text := range map[string][]byte{
		"empty": nil, "DER": block.Bytes, "words before": append([]byte("subject\n"), good...), "words after": append(bytes.Clone(good), "x"...),
		"a key after": append(bytes.Clone(good), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}})...),
		"headers":     pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes, Headers: map[string]string{"a": "b"}}),
		"no DER":      pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}}), "cut": good[:len(good)-9],
	} {
		if _, err := acme.ParseChain(text); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		t.Error(err)
	}
}

func FuzzParseChain(f *testing.F) {
	pair, err := acme.TLSALPNCertificate(exampleName[0], "x")
	if err != nil {
		f.Fatal(err)
	}
	good := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	f.Add(good)
	f.Add(append(bytes.Clone(good), good...))
	f.Fuzz(func(t *testing.T, text []byte) {
		chain, err := acme.ParseChain(text)
		if err == nil && (len(chain.Certificates) == 0 || bytes.Contains(text, []byte("PRIVATE KEY-----"))) {
			t.Fatalf("accepted %q", text)
		}
	})
}
