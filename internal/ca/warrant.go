package ca

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"sync/atomic"

	"chancery/internal/lint"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Warrant is the permission to put one issuer's signature under one text. Only
// linting a text makes one (or reading back an intent whose seal fits), it is
// bound to its issuer, and it is spent by the first signature: nothing else in
// the program can reach an issuer's key.
type Warrant struct {
	tbs    []byte // a TBSCertificate or TBSCertList
	issuer string
	spent  atomic.Bool
}

// prepare encodes the draft once, under a throw-away key of the issuer's
// algorithm, and lints the result. The bytes that were linted are the bytes
// that will be signed.
func (d *Draft) prepare() (*Warrant, error) {
	t := d.template
	t.SignatureAlgorithm = d.issuer.algorithm
	t.AuthorityKeyId = d.issuer.keyID // in a root's own certificate too (RFC 5280 §4.2.1.1 lets it be left out)
	parent := &x509.Certificate{Subject: d.issuer.subject, RawSubject: d.issuer.rawSubject, SubjectKeyId: d.issuer.keyID}
	practice, err := d.issuer.practice()
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &t, parent, d.key, practice)
	if err != nil {
		return nil, Errorf(Invalid, "the certificate cannot be encoded").because(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, Errorf(Internal, "the encoded certificate cannot be read back").because(err)
	}
	findings, err := d.lints.Certificate(der)
	if err := pass(findings, err); err != nil {
		return nil, err
	}
	return &Warrant{tbs: cert.RawTBSCertificate, issuer: d.issuer.ID}, nil
}

// pass turns lint findings into an answer: an error or worse stops issuance and
// says which lint.
func pass(findings []lint.Finding, err error) error {
	if err != nil {
		return Errorf(Internal, "the lints could not be run, so nothing was signed").because(err)
	}
	for _, f := range findings {
		if f.Severity >= lint.Error {
			return Errorf(Denied, "what would be signed breaks a rule (lint %s): %s", f.Lint, f.Detail)
		}
	}
	return nil
}

// sign spends the warrant: it signs the warrant's bytes with the issuer's real
// key, verifies the signature and gives the complete structure.
func (i *Issuer) sign(w *Warrant) ([]byte, error) {
	if w.issuer != i.ID {
		return nil, Errorf(Internal, "a warrant for issuer %s was shown to %s", w.issuer, i.ID)
	}
	if !w.spent.CompareAndSwap(false, true) {
		return nil, Errorf(Internal, "a warrant was shown twice")
	}
	if i.signer == nil {
		return nil, Errorf(Unavailable, "the key of issuer %s is not on this machine", i.Name)
	}
	algorithm, err := signatureAlgorithm(w.tbs)
	if err != nil {
		return nil, err
	}
	signature, err := signBytes(i.signer, i.hash, w.tbs)
	if err != nil {
		return nil, Errorf(Unavailable, "the key of issuer %s did not sign", i.Name).because(err)
	}
	check := x509.Certificate{PublicKey: i.signer.Public()}
	if err := check.CheckSignature(i.algorithm, w.tbs, signature); err != nil {
		return nil, Errorf(Internal, "the key of issuer %s made a wrong signature; nothing was handed out", i.Name).because(err)
	}
	var b cryptobyte.Builder
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(w.tbs)
		b.AddBytes(algorithm)
		b.AddASN1BitString(signature)
	})
	return b.Bytes()
}

func signBytes(signer crypto.Signer, hash crypto.Hash, message []byte) ([]byte, error) {
	if hash == 0 { // Ed25519 signs the message itself
		return signer.Sign(rand.Reader, message, hash)
	}
	h := hash.New()
	h.Write(message)
	return signer.Sign(rand.Reader, h.Sum(nil), hash)
}

// signatureAlgorithm finds the AlgorithmIdentifier in a TBSCertificate
// (RFC 5280 §4.1.2.3) or TBSCertList (§5.1.2.2): the first SEQUENCE after the
// optional version and serial number.
func signatureAlgorithm(tbs []byte) ([]byte, error) {
	s := cryptobyte.String(tbs)
	var algorithm cryptobyte.String
	if !s.ReadASN1(&s, casn1.SEQUENCE) || !s.SkipOptionalASN1(contextTag(0).Constructed()) ||
		!s.SkipOptionalASN1(casn1.INTEGER) || !s.ReadASN1Element(&algorithm, casn1.SEQUENCE) {
		return nil, fmt.Errorf("the text of a warrant has no signature algorithm")
	}
	return algorithm, nil
}
