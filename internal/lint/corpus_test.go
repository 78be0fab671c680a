package lint_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// now is the instant at which the test's certificates are made.
var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// serial is like those that the core draws.
func serial() *big.Int {
	var b [16]byte
	rand.Read(b[:])
	b[0] = b[0]&0x3f | 0x40
	return new(big.Int).SetBytes(b[:])
}

type pair struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// must ends the test run on an error that no test is about.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func p256() crypto.Signer {
	return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
}

func ed() crypto.Signer {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return must(key, err)
}

func keyID(key crypto.PublicKey) []byte {
	sum := sha1.Sum(must(x509.MarshalPKIXPublicKey(key)))
	return sum[:]
}

// newRoot makes a ten-year root.
func newRoot(key crypto.Signer) pair {
	t := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Example Corp Root", Organization: []string{"Example Corp"}},
		NotBefore: now, NotAfter: now.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		SubjectKeyId: keyID(key.Public()),
	}
	der := must(x509.CreateCertificate(rand.Reader, t, t, key.Public(), key))
	return pair{must(x509.ParseCertificate(der)), key}
}

var theRoot = sync.OnceValue(func() pair { return newRoot(p256()) })

// leaf is a good certificate's template, to be spoilt.
func leaf() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "printer.corp.internal"}, DNSNames: []string{"printer.corp.internal"},
		NotBefore: now, NotAfter: now.AddDate(0, 0, 90), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		CRLDistributionPoints: []string{"http://pki.corp.internal/crl/1.crl"}, IssuingCertificateURL: []string{"http://pki.corp.internal/ca/1.cer"},
		OCSPServer: []string{"http://pki.corp.internal/ocsp"},
	}
}

// issue has the root sign a template for a key; a key identifier is added.
func issue(t *x509.Certificate, key crypto.PublicKey) []byte {
	if t.SubjectKeyId == nil {
		t.SubjectKeyId = keyID(key)
	}
	r := theRoot()
	return must(x509.CreateCertificate(rand.Reader, t, r.cert, key, r.key))
}

// legitimate is what a private CA issues every day and what must pass.
func legitimate(tb testing.TB) map[string][]byte {
	tb.Helper()
	change := func(key crypto.Signer, f func(*x509.Certificate)) []byte {
		t := leaf()
		f(t)
		return issue(t, key.Public())
	}
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	sets := map[string][]byte{
		"root ecdsa":    newRoot(p256()).cert.Raw,
		"root ed25519":  newRoot(ed()).cert.Raw,
		"root rsa":      newRoot(rsaKey).cert.Raw,
		"internal name": change(p256(), func(*x509.Certificate) {}),
		"ed25519":       change(ed(), func(*x509.Certificate) {}),
		"rsa": change(rsaKey, func(t *x509.Certificate) {
			t.KeyUsage |= x509.KeyUsageKeyEncipherment
		}),
		"single label": change(p256(), func(t *x509.Certificate) { t.DNSNames = []string{"printer"}; t.Subject = pkix.Name{} }),
		"underscore":   change(p256(), func(t *x509.Certificate) { t.DNSNames = []string{"build_01.corp.internal", "a.b_c.corp.internal"} }),
		"underscore domain": change(p256(), func(t *x509.Certificate) {
			t.DNSNames = []string{"host.my_corp.local", "_sip._tcp.corp.local", "my_corp"}
		}),
		"hyphens":       change(p256(), func(t *x509.Certificate) { t.DNSNames = []string{"a--b.corp.local", "r3---sn.corp.local"} }),
		"public name":   change(p256(), func(t *x509.Certificate) { t.DNSNames = []string{"www.example.com", "example.co.uk"} }),
		"uncommon idn":  change(p256(), func(t *x509.Certificate) { t.DNSNames = []string{"xn--ls8h.corp.local", "xn--strae-oqa.de"} }),
		"key agreement": change(p256(), func(t *x509.Certificate) { t.KeyUsage |= x509.KeyUsageKeyAgreement }),
		"smart card": change(rsaKey, func(t *x509.Certificate) {
			t.DNSNames = nil
			t.KeyUsage |= x509.KeyUsageKeyEncipherment | x509.KeyUsageContentCommitment
			t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageEmailProtection}
			t.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 3, 6, 1, 4, 1, 311, 20, 2, 2}}
			upn := must(asn1.MarshalWithParams("j@corp.internal", "utf8"))
			t.ExtraExtensions = []pkix.Extension{otherName(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}, upn)}
		}),
		"any usage": change(p256(), func(t *x509.Certificate) {
			t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny, x509.ExtKeyUsageClientAuth}
		}),
		"ipsec and sip": change(p256(), func(t *x509.Certificate) {
			t.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 17}, {1, 3, 6, 1, 5, 5, 7, 3, 20}}
		}),
		"encryption only": change(rsaKey, func(t *x509.Certificate) {
			t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageKeyEncipherment, []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
		}),
		"policy": change(p256(), func(t *x509.Certificate) { t.PolicyIdentifiers = []asn1.ObjectIdentifier{{1, 3, 6, 1, 4, 1, 99999, 2}} }),
		"must staple": change(p256(), func(t *x509.Certificate) {
			t.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 3, 2, 1, 5}}}
		}),
		"no revocation": change(p256(), func(t *x509.Certificate) {
			t.CRLDistributionPoints, t.OCSPServer, t.IssuingCertificateURL = nil, nil, nil
		}),
		"wildcard": change(p256(), func(t *x509.Certificate) { t.DNSNames = []string{"*.corp.internal"}; t.Subject = pkix.Name{} }),
		"idn":      change(p256(), func(t *x509.Certificate) { t.DNSNames = []string{"xn--bcher-kva.corp.internal"} }),
		"private ip": change(p256(), func(t *x509.Certificate) {
			t.IPAddresses = []net.IP{net.IPv4(10, 1, 2, 3).To4(), net.ParseIP("fd00::1")}
			t.DNSNames, t.Subject = nil, pkix.Name{}
		}),
		"ten-year leaf":  change(p256(), func(t *x509.Certificate) { t.NotAfter = now.AddDate(10, 0, 0) }),
		"after 2050":     change(p256(), func(t *x509.Certificate) { t.NotAfter = now.AddDate(40, 0, 0) }),
		"device forever": change(p256(), deviceForever),
		"empty subject":  change(p256(), func(t *x509.Certificate) { t.Subject = pkix.Name{} }),
		"cn of 64":       change(p256(), func(t *x509.Certificate) { t.Subject = pkix.Name{CommonName: strings.Repeat("x", 64)} }),
		"client mail": change(p256(), func(t *x509.Certificate) {
			t.Subject, t.DNSNames = pkix.Name{CommonName: "Jürgen Müller", Organization: []string{"Beispiel GmbH"}, Country: []string{"DE"}}, nil
			t.EmailAddresses, t.ExtKeyUsage = []string{"j@corp.internal"}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageEmailProtection}
		}),
		"sip and spiffe uri": change(p256(), func(t *x509.Certificate) {
			t.URIs, t.DNSNames = []*url.URL{must(url.Parse("spiffe://corp.internal/ns/x")), must(url.Parse("sip:corp.internal"))}, nil
		}),
		"sip person": change(p256(), func(t *x509.Certificate) {
			t.URIs, t.DNSNames, t.Subject = []*url.URL{must(url.Parse("sip:alice@example.com")), must(url.Parse("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"))}, nil, pkix.Name{}
		}),
		"permanent identifier": change(p256(), permanentIdentifier),
		"no extended usage":    change(p256(), func(t *x509.Certificate) { t.ExtKeyUsage = nil }),
		"ocsp responder": change(p256(), func(t *x509.Certificate) {
			t.Subject, t.DNSNames, t.ExtKeyUsage = pkix.Name{CommonName: "OCSP"}, nil, []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
			t.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}, Value: []byte{5, 0}}}
		}),
		"time stamps": change(p256(), timeStamps),
		"code": change(p256(), func(t *x509.Certificate) {
			t.DNSNames, t.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
		}),
		"subordinate": change(p256(), subordinate),
	}
	return sets
}

func deviceForever(t *x509.Certificate) {
	t.Subject, t.DNSNames, t.ExtKeyUsage = pkix.Name{SerialNumber: "SN-0001", CommonName: "Model 7"}, nil, nil
	t.NotAfter = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	// hardwareModuleName, RFC 4108 §5.
	name := must(asn1.Marshal(struct {
		Type asn1.ObjectIdentifier
		HW   []byte
	}{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, []byte("0001")}))
	t.ExtraExtensions = []pkix.Extension{otherName(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 4}, name)}
}

func permanentIdentifier(t *x509.Certificate) {
	t.DNSNames = nil
	// permanentIdentifier, RFC 4043 §2.
	value := must(asn1.MarshalWithParams("device-1", "utf8"))
	seq := must(asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: value}))
	t.ExtraExtensions = []pkix.Extension{otherName(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 3}, seq)}
}

// otherName makes a subjectAltName of one otherName (RFC 5280 §4.2.1.6).
func otherName(id asn1.ObjectIdentifier, value []byte) pkix.Extension {
	inner := append(must(asn1.Marshal(id)), must(asn1.Marshal(asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: value}))...)
	name := must(asn1.Marshal(asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: inner}))
	return pkix.Extension{
		Id:    asn1.ObjectIdentifier{2, 5, 29, 17},
		Value: must(asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: name})),
	}
}

// timeStamps has the critical extended usage that RFC 3161 §2.3 demands.
func timeStamps(t *x509.Certificate) {
	t.DNSNames, t.ExtKeyUsage = nil, nil
	t.ExtraExtensions = []pkix.Extension{{
		Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true,
		Value: must(asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})),
	}}
}

func subordinate(t *x509.Certificate) {
	t.Subject, t.DNSNames, t.ExtKeyUsage = pkix.Name{CommonName: "Example Corp Issuing 1"}, nil, nil
	t.IsCA, t.MaxPathLenZero = true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	_, ten, _ := net.ParseCIDR("10.0.0.0/8")
	t.PermittedDNSDomainsCritical, t.PermittedDNSDomains, t.PermittedIPRanges = true, []string{"corp.internal"}, []*net.IPNet{ten}
}
