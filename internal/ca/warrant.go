package ca

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
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

// prepare encodes the draft once and lints the result, completed with a signature that
// a throw-away key of the issuer's algorithm has made of something else: no lint looks
// at more than its form. The bytes that were linted are the bytes that will be signed.
func (d *Draft) prepare() (*Warrant, error) {
	t := d.template
	t.SignatureAlgorithm = d.issuer.algorithm
	t.AuthorityKeyId = d.issuer.keyID // in a root's own certificate too (RFC 5280 §4.2.1.1 lets it be left out)
	parent := &x509.Certificate{Subject: d.issuer.subject, RawSubject: d.issuer.rawSubject, SubjectKeyId: d.issuer.keyID}
	practice, err := d.issuer.practice()
	if err != nil {
		return nil, err
	}
	text := scribe{Signer: practice}
	if _, err := x509.CreateCertificate(rand.Reader, &t, parent, d.key, &text); !errors.Is(err, errWritten) {
		return nil, Errorf(Invalid, "the certificate cannot be encoded").because(err)
	}
	der, err := assemble(text.tbs, practice.signature)
	if err != nil {
		return nil, err
	}
	if _, err := x509.ParseCertificate(der); err != nil {
		return nil, Errorf(Internal, "the encoded certificate cannot be read back").because(err)
	}
	findings, err := d.lints.Certificate(der)
	if err := pass(findings, err); err != nil {
		return nil, err
	}
	return &Warrant{tbs: text.tbs, issuer: d.issuer.ID}, nil
}

// scribe stands where crypto/x509 wants a signer: it keeps the text that it is given to
// sign and makes no signature, which would be made, verified and thrown away.
type scribe struct {
	crypto.Signer
	tbs []byte
}

var errWritten = errors.New("the text is written; nothing is signed")

// SignMessage implements [crypto.MessageSigner], which crypto/x509 shows the whole text.
func (s *scribe) SignMessage(_ io.Reader, text []byte, _ crypto.SignerOpts) ([]byte, error) {
	s.tbs = bytes.Clone(text)
	return nil, errWritten
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
	signature, err := signBytes(i.signer, i.hash, w.tbs)
	if err != nil {
		return nil, Errorf(Unavailable, "the key of issuer %s did not sign", i.Name).because(err)
	}
	check := x509.Certificate{PublicKey: i.signer.Public()}
	if err := check.CheckSignature(i.algorithm, w.tbs, signature); err != nil {
		return nil, Errorf(Internal, "the key of issuer %s made a wrong signature; nothing was handed out", i.Name).because(err)
	}
	return assemble(w.tbs, signature)
}

// assemble completes a TBSCertificate or TBSCertList with a signature of it.
func assemble(tbs, signature []byte) ([]byte, error) {
	algorithm, err := signatureAlgorithm(tbs)
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
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
