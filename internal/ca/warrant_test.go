package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"chancery/internal/lint"
)

// What is linted and signed is to the octet what crypto/x509 encodes, under issuers of
// every algorithm, and the signature that goes out is the real key's, of these octets.
func TestPrepareEncodesAsX509(t *testing.T) {
	for name, signer := range map[string]func() (crypto.Signer, error){
		"P-256":   func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
		"P-384":   func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P384(), rand.Reader) },
		"P-521":   func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P521(), rand.Reader) },
		"RSA":     func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) },
		"Ed25519": func() (crypto.Signer, error) { _, key, err := ed25519.GenerateKey(rand.Reader); return key, err },
	} {
		t.Run(name, func(t *testing.T) {
			key, err := signer()
			if err != nil {
				t.Fatal(err)
			}
			i := workingIssuer(t, key)
			d := leafDraft(t, i)
			w, err := d.prepare()
			if err != nil {
				t.Fatal(err)
			}
			template := d.template
			template.SignatureAlgorithm, template.AuthorityKeyId = i.algorithm, i.keyID
			der, err := x509.CreateCertificate(rand.Reader, &template, i.cert, d.key, key)
			if err != nil {
				t.Fatal(err)
			}
			whole, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(w.tbs, whole.RawTBSCertificate) {
				t.Errorf("linted: %x\nencoded by crypto/x509: %x", w.tbs, whole.RawTBSCertificate)
			}
			if der, err = i.sign(w); err != nil {
				t.Fatal(err)
			}
			made, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			if err := made.CheckSignatureFrom(i.cert); err != nil {
				t.Error(err)
			}
			// What stood in its place while it was linted is not the issuer's, nor anybody's of this text.
			practice, err := i.practice()
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range []crypto.PublicKey{key.Public(), practice.Public()} {
				check := x509.Certificate{PublicKey: key}
				if check.CheckSignature(i.algorithm, w.tbs, practice.signature) == nil {
					t.Error("the signature for the lints is one of the text")
				}
			}
		})
	}
}

// What crypto/x509 will not encode, and what does not pass a lint, becomes no warrant.
func TestPrepareRefuses(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := workingIssuer(t, key)
	for name, spoil := range map[string]func(*Draft){
		"negative serial":  func(d *Draft) { d.template.SerialNumber = big.NewInt(-1) },
		"a text as a key":  func(d *Draft) { d.key = "key" },
		"an early end":     func(d *Draft) { d.template.NotAfter = d.template.NotBefore.Add(-time.Hour) },
		"no names at all":  func(d *Draft) { d.template.Subject = pkix.Name{} },
		"a broken subject": func(d *Draft) { d.template.RawSubject = []byte{0x30, 0x02, 0x01} },
	} {
		d := leafDraft(t, i)
		spoil(d)
		if w, err := d.prepare(); err == nil {
			t.Errorf("%s: %x", name, w.tbs)
		}
	}
}

// workingIssuer is a root with the key.
func workingIssuer(t *testing.T, key crypto.Signer) *Issuer {
	t.Helper()
	template := &x509.Certificate{SerialNumber: newSerial(time.Now()).Int(), Subject: pkix.Name{CommonName: "Root"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	i, err := IssuerRecord{ID: "root", Name: "root", Certs: [][]byte{der}}.open(key)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func leafDraft(t *testing.T, i *Issuer) *Draft {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set, err := lint.Parse([]string{"rfc"})
	if err != nil {
		t.Fatal(err)
	}
	id, err := keyID(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	d := &Draft{serial: newSerial(time.Now()), issuer: i, key: key.Public(), lints: set}
	from := time.Now().UTC().Truncate(time.Second)
	d.template = x509.Certificate{SerialNumber: d.serial.Int(), Subject: pkix.Name{CommonName: "leaf"}, NotBefore: from, NotAfter: from.Add(time.Hour),
		SubjectKeyId: id, KeyUsage: x509.KeyUsageDigitalSignature}
	return d
}
