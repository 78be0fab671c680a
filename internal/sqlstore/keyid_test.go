package sqlstore_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"chancery/internal/sqlstore"
)

// FuzzKeyIDOf: whatever crypto/x509 reads as a certificate has the identifier that it
// says, and nothing makes the short way fall.
func FuzzKeyIDOf(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	for _, template := range []x509.Certificate{
		{SubjectKeyId: []byte{1, 2, 3}},
		{SubjectKeyId: bytes.Repeat([]byte{7}, 200), DNSNames: []string{"a.example"}, KeyUsage: x509.KeyUsageDigitalSignature},
		{IsCA: true, BasicConstraintsValid: true},
		{DNSNames: []string{"a.example"}},
		{},
	} {
		template.SerialNumber, template.NotAfter = big.NewInt(1), time.Unix(2_000_000_000, 0)
		der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
		f.Add(der[:len(der)/2])
	}
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, der []byte) {
		got := sqlstore.KeyIDOf(der)
		if cert, err := x509.ParseCertificate(der); err == nil && !bytes.Equal(got, cert.SubjectKeyId) {
			t.Errorf("% x, crypto/x509 reads % x", got, cert.SubjectKeyId)
		}
	})
}
