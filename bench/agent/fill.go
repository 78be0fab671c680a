package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"time"

	"chancery/acme"
	"chancery/internal/enroll/install"
	"chancery/internal/enroll/vault"
)

// issuer signs the certificates of the vault.
type issuer struct {
	key  crypto.Signer
	cert *x509.Certificate
}

func newIssuer() (*issuer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().AddDate(5, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &issuer{key, cert}, err
}

// fill makes a vault of n certificates that live for ninety days, of which their CAs were
// asked just now, and of which none is due.
func fill(ctx context.Context, dir string, n int) error {
	v, err := vault.Open(dir)
	if err != nil {
		return err
	}
	ca, err := newIssuer()
	if err != nil {
		return err
	}
	workers := 2 * runtime.NumCPU()
	ended := make(chan error, workers)
	for first := range workers {
		go func() {
			for i := first; i < n; i += workers {
				if err := ca.put(ctx, v, i); err != nil {
					ended <- err
					return
				}
			}
			ended <- nil
		}()
	}
	for range workers {
		err = errors.Join(err, <-ended)
	}
	return err
}

func (ca *issuer) put(ctx context.Context, v *vault.Vault, i int) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	name := fmt.Sprintf("host-%05d.bench.example", i)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(int64(i) + 1000), DNSNames: []string{name},
		NotBefore: now.Add(-time.Duration(i) * time.Minute), NotAfter: now.AddDate(0, 0, 90), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, ca.cert, key.Public(), ca.key)
	if err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	id, err := acme.CertID(cert)
	if err != nil {
		return err
	}
	issued := vault.Issued{Issuer: fmt.Sprintf("ca%d.bench.example", i%3), Directory: fmt.Sprintf("https://ca%d.bench.example/.well-known/acme", i%3), CertID: id}
	if _, err := v.Publish(ctx, name, vault.Publication{Issued: issued, Bundle: install.Bundle{Key: key, Chain: []*x509.Certificate{cert, ca.cert}}}); err != nil {
		return err
	}
	return v.UpdateRecord(ctx, name, func(r *vault.Record) error {
		r.Sheet.Names, r.Undeployed = []string{name}, nil
		start := now.AddDate(0, 0, 55)
		r.Window = &vault.Window{Start: start, End: start.AddDate(0, 0, 5), Ask: now.Add(12 * time.Hour), Chosen: start.Add(time.Duration(i) * 40 * time.Second)}
		return nil
	})
}
