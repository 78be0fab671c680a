package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// authority is a root with an intermediate: what step-ca signs with, and what
// certifies Pebble's listener. It lives for one run.
type authority struct {
	root, intermediate       *x509.Certificate
	rootKey, intermediateKey *ecdsa.PrivateKey
}

func newAuthority() (*authority, error) {
	a := &authority{}
	for _, key := range []**ecdsa.PrivateKey{&a.rootKey, &a.intermediateKey} {
		var err error
		if *key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, err
		}
	}
	root := template("Bench Root")
	root.IsCA, root.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	var err error
	if a.root, err = issue(root, root, signing{a.rootKey, a.rootKey}); err != nil {
		return nil, err
	}
	intermediate := template("Bench Intermediate")
	intermediate.IsCA, intermediate.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	intermediate.MaxPathLenZero = true
	a.intermediate, err = issue(intermediate, a.root, signing{a.intermediateKey, a.rootKey})
	return a, err
}

// server writes cert.pem and key.pem for a listener on loopback.
func (a *authority) server(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	t := template("localhost")
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	t.DNSNames, t.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	cert, err := issue(t, a.root, signing{key, a.rootKey})
	if err != nil {
		return err
	}
	if err := writeCertificate(filepath.Join(dir, "cert.pem"), cert); err != nil {
		return err
	}
	return writeKey(filepath.Join(dir, "key.pem"), key)
}

func template(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)) // the reader never fails
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour),
	}
}

// signing has the subject's key and the issuer's.
type signing struct{ subject, issuer *ecdsa.PrivateKey }

func issue(t, parent *x509.Certificate, keys signing) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, &keys.subject.PublicKey, keys.issuer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func writeCertificate(path string, cert *x509.Certificate) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), 0o644)
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}
