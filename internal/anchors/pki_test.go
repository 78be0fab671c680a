package anchors

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// authority is a maker's, or one below it.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var serial int64 = 1000

// sign has the authority sign a certificate; nil: it signs itself.
func (a *authority) sign(t testing.TB, template *x509.Certificate, key crypto.Signer) *x509.Certificate {
	t.Helper()
	serial++
	template.SerialNumber = big.NewInt(serial)
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	}
	parent, signer := template, key
	if a != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// below makes an authority that this one certifies; change may say more of it.
func (a *authority) below(t testing.TB, name string, change func(*x509.Certificate)) *authority {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if change != nil {
		change(template)
	}
	key := newKey(t)
	return &authority{a.sign(t, template, key), key}
}

func newRoot(t testing.TB, name string) *authority { return (*authority)(nil).below(t, name, nil) }

// device makes a device's certificate; change may say more of it.
func (a *authority) device(t testing.TB, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{Subject: pkix.Name{SerialNumber: "SN-7"}, KeyUsage: x509.KeyUsageDigitalSignature}
	if change != nil {
		change(template)
	}
	return a.sign(t, template, newKey(t))
}

// hardwareModule is a subject alternative name as IEEE 802.1AR wants it.
func hardwareModule(critical bool) pkix.Extension {
	var b cryptobyte.Builder
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(casn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier([]int{1, 3, 6, 1, 5, 5, 7, 8, 4})
			b.AddASN1(casn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
				b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier([]int{1, 3, 6, 1, 4, 1, 99999, 1})
					b.AddASN1OctetString([]byte("SN-7"))
				})
			})
		})
	})
	return pkix.Extension{Id: oidSubjectAltName, Critical: critical, Value: b.BytesOrPanic()}
}

// crl has the authority sign a CRL; change may say more of it.
func (a *authority) crl(t testing.TB, change func(*x509.RevocationList), revoked ...*x509.Certificate) []byte {
	t.Helper()
	template := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour)}
	for _, cert := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: cert.SerialNumber, RevocationTime: time.Now().Add(-time.Minute), ReasonCode: 1})
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// write gives the file: place of a file with these octets.
func write(t testing.TB, octets []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "list.crl")
	if err := os.WriteFile(path, octets, 0o600); err != nil {
		t.Fatal(err)
	}
	return "file:" + path
}

func inPEM(ders ...[]byte) []byte {
	var all []byte
	for _, der := range ders {
		all = append(all, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})...)
	}
	return all
}

func newSet(t testing.TB, c Config) *Set {
	t.Helper()
	if c.Name == "" {
		c.Name = "maker"
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func roots(all ...*authority) []*x509.Certificate {
	var certs []*x509.Certificate
	for _, a := range all {
		certs = append(certs, a.cert)
	}
	return certs
}

// expect fails unless the set judges the chain as wanted; "" is acceptance.
func expect(t testing.TB, s *Set, want Kind, chain ...*x509.Certificate) {
	t.Helper()
	err := s.Verify(context.Background(), chain, time.Now())
	if kindOf(err) != want || (want == "") != (err == nil) {
		t.Helper()
		t.Errorf("got %v; want kind %q", err, want)
	}
}

// kindOf gives the kind of the refusal in err's chain, "" when there is none.
func kindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}
