package main

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"os"
	"time"

	"chancery/internal/enroll/install"
)

// demoCA is an authority that is none of ours: its key is in memory, and it keeps no
// records.
type demoCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newDemoCA makes one of any name, DER.
func newDemoCA(subject []byte) (*demoCA, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{RawSubject: subject, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().AddDate(30, 0, 0)}
	cert, err := demoSign(template, template, demoKeys{key, key})
	return &demoCA{cert, key}, err
}

// demoKeys are the key that is certified, and the one that signs.
type demoKeys struct{ of, by *ecdsa.PrivateKey }

func demoSign(template, above *x509.Certificate, k demoKeys) (*x509.Certificate, error) {
	number, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber, template.NotBefore = number.Add(number, big.NewInt(1)), time.Now().Add(-time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, above, k.of.Public(), k.by)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// certify makes a key and certifies it, and leaves both in file.pem and file.key.
func (a *demoCA) certify(template x509.Certificate, file string) (*x509.Certificate, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	cert, err := demoSign(&template, a.cert, demoKeys{key, a.key})
	if err != nil {
		return nil, err
	}
	text, err := install.EncodeKey(key)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	if err := os.WriteFile(file+".key", text, 0o600); err != nil {
		return nil, err
	}
	return cert, os.WriteFile(file+".pem", install.EncodeCertificates(cert), 0o644)
}

// hardwareModule is a subject alternative name with a HardwareModuleName (RFC 4108 §5),
// as an IDevID has one (IEEE 802.1AR): critical, since the subject may be empty.
func hardwareModule(serial string) (pkix.Extension, error) {
	type module struct {
		Type   asn1.ObjectIdentifier
		Serial []byte
	}
	type otherName struct {
		Type  asn1.ObjectIdentifier
		Value module `asn1:"tag:0,explicit"`
	}
	value, err := asn1.Marshal(struct {
		Name otherName `asn1:"tag:0"`
	}{otherName{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 4}, module{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, []byte(serial)}}})
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: value}, err
}
