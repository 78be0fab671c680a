package cmc

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"

	tags "golang.org/x/crypto/cryptobyte/asn1"

	"chancery/cms"
)

// Possession is what a CRMF request says of its key.
type Possession string

// How possession is proved, or is going to be.
const (
	Signed     Possession = "signed"     // by a signature, which has been checked
	Challenge  Possession = "challenge"  // it asks for an encryptedPOP (RFC 5272 §6.7)
	NoProof    Possession = "none"       // nothing is said, or a no-signature: challenge it, or take an RA's word
	RAVerified Possession = "raVerified" // an RA's word; from others it is to be refused (RFC 4211 §4)
	Unread     Possession = "unread"     // a way of proof that is not had here: archival, Diffie-Hellman
)

// scheme is a signature algorithm.
type scheme struct {
	x509 x509.SignatureAlgorithm
	oid  asn1.ObjectIdentifier
	kind string
	hash crypto.Hash
}

var schemes = []scheme{
	{x509.SHA256WithRSA, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, "RSA", crypto.SHA256},
	{x509.SHA384WithRSA, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}, "RSA", crypto.SHA384},
	{x509.SHA512WithRSA, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}, "RSA", crypto.SHA512},
	{x509.SHA1WithRSA, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5}, "RSA", crypto.SHA1},
	{x509.ECDSAWithSHA256, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}, "ECDSA", crypto.SHA256},
	{x509.ECDSAWithSHA384, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}, "ECDSA", crypto.SHA384},
	{x509.ECDSAWithSHA512, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}, "ECDSA", crypto.SHA512},
	{x509.ECDSAWithSHA1, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}, "ECDSA", crypto.SHA1},
	{x509.PureEd25519, asn1.ObjectIdentifier{1, 3, 101, 112}, "Ed25519", 0},
}

var oidPSS = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}

// schemeOf finds the scheme of an identifier, of RSASSA-PSS only the forms with one hash
// function throughout and a salt as long as its values (RFC 4055 §3.1).
func schemeOf(a cms.Algorithm) (scheme, error) {
	for _, s := range schemes {
		if s.oid.Equal(a.OID) && (a.Parameters == nil || s.kind == "RSA" && bytes.Equal(a.Parameters, null)) {
			return s, nil
		}
	}
	if a.OID.Equal(oidPSS) {
		for algorithm, h := range map[x509.SignatureAlgorithm]crypto.Hash{
			x509.SHA256WithRSAPSS: crypto.SHA256, x509.SHA384WithRSAPSS: crypto.SHA384, x509.SHA512WithRSAPSS: crypto.SHA512,
		} {
			if params, err := pssParameters(h); err == nil && bytes.Equal(params, a.Parameters) {
				return scheme{algorithm, oidPSS, "PSS", h}, nil
			}
		}
	}
	return scheme{}, refuse(BadAlg, Current, fmt.Sprintf("the signature algorithm %s, with these parameters, is not known", a.OID))
}

func pssParameters(h crypto.Hash) ([]byte, error) {
	f, err := functionOf(h)
	if err != nil {
		return nil, err
	}
	hash := cms.Algorithm{OID: f.oid, Parameters: null}
	return build(func(b builder) {
		b.sequence(func(b builder) {
			b.in(constructed(0), func(b builder) { b.algorithm(hash, tags.SEQUENCE) })
			b.in(constructed(1), func(b builder) {
				b.sequence(func(b builder) {
					b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8})
					b.algorithm(hash, tags.SEQUENCE)
				})
			})
			b.in(constructed(2), func(b builder) { b.AddASN1Int64(int64(h.Size())) })
		})
	})
}

// Sign makes the proof of possession of a key that can sign: over the CertRequest as it
// is now, with its template's public key, which is set if it is not (RFC 4211 §4.1). The
// hash is SHA-256 if 0, and none for Ed25519.
func (m *CertReqMsg) Sign(key crypto.Signer, h crypto.Hash) error {
	if m.Request.Template.PublicKey == nil {
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			return fmt.Errorf("cmc: the key to be certified: %w", err)
		}
		m.Request.Template.PublicKey = der
	}
	signed, err := m.Request.Marshal()
	if err != nil {
		return err
	}
	p, err := signPOP(key, h, signed)
	if err != nil {
		return err
	}
	m.POP = &POP{Signature: p}
	return nil
}

// SignInput makes the proof over the input instead, for requests without name or key
// (RFC 4211 §4.1). CMC has none such.
func (m *CertReqMsg) SignInput(key crypto.Signer, h crypto.Hash, input SigningKeyInput) error {
	signed, err := build(func(b builder) { input.write(b, tags.SEQUENCE) })
	if err != nil {
		return err
	}
	p, err := signPOP(key, h, signed)
	if err != nil {
		return err
	}
	p.Input = &input
	m.POP = &POP{Signature: p}
	return nil
}

func signPOP(key crypto.Signer, h crypto.Hash, signed []byte) (*POPSignature, error) {
	kind := ""
	switch key.Public().(type) {
	case *rsa.PublicKey:
		kind = "RSA"
	case *ecdsa.PublicKey:
		kind = "ECDSA"
	case ed25519.PublicKey:
		kind, h = "Ed25519", 0
	}
	if h == 0 && kind != "Ed25519" {
		h = crypto.SHA256
	}
	for _, s := range schemes {
		if s.kind != kind || s.hash != h || h == crypto.SHA1 {
			continue
		}
		message := signed
		if h != 0 {
			f, err := functionOf(h)
			if err != nil {
				return nil, err
			}
			message = f.sum(signed)
		}
		value, err := key.Sign(rand.Reader, message, h)
		if err != nil {
			return nil, fmt.Errorf("cmc: the key does not sign its proof of possession: %w", err)
		}
		p := &POPSignature{Algorithm: cms.Algorithm{OID: s.oid}, Signature: value}
		if kind == "RSA" {
			p.Algorithm.Parameters = null // RFC 4055 §5
		}
		return p, nil
	}
	return nil, fmt.Errorf("cmc: a %T with %v makes no proof of possession", key.Public(), h)
}

// maxKey is more than the octets of an RSA key of 16384 bits.
const maxKey = 2400

// Possession checks the request's proof and says what it is (RFC 4211 §4). The error is
// popFailed if a signature does not hold, badAlg if SHA-1 does not count or the algorithm
// is not known. A password's MAC in a POPOSigningKeyInput is for the caller, by
// [MACValue.Verify]; CMC has no such input ([CertReqMsg.Check]).
func (m *CertReqMsg) Possession(o Options) (Possession, error) {
	switch {
	case m.POP == nil:
		return NoProof, nil
	case m.POP.RAVerified:
		return RAVerified, nil
	case m.POP.Signature != nil:
		if none, err := (Request{ID: m.Request.ID, CRMF: m}).NoSignature(o); none || err != nil {
			return NoProof, err
		}
		return Signed, at(m.Request.ID, m.verify(o))
	}
	later := m.POP.KeyEncipherment
	if later == nil {
		later = m.POP.KeyAgreement
	}
	if later != nil && later.Subsequent != nil && *later.Subsequent == ChallengeResponse {
		return Challenge, nil
	}
	return Unread, nil
}

func (m *CertReqMsg) verify(o Options) error {
	p, key := m.POP.Signature, m.Request.Template.PublicKey
	signed, err := m.Request.Marshal()
	if err != nil {
		return err
	}
	if p.Input != nil {
		if key != nil && !bytes.Equal(key, p.Input.PublicKey) { // "exactly the same value"
			return refuse(POPFailed, Current, "the key in poposkInput is not the template's")
		}
		key = p.Input.PublicKey
		if signed, err = build(func(b builder) { p.Input.write(b, tags.SEQUENCE) }); err != nil {
			return err
		}
	}
	s, err := schemeOf(p.Algorithm)
	if err != nil {
		return err
	}
	if s.hash == crypto.SHA1 && !o.SHA1 {
		return refuse(BadAlg, Current, "SHA-1 is turned off: use SHA-256")
	}
	if key == nil || len(key) > maxKey {
		return refuse(BadRequest, Current, "the template has no public key, or one too large")
	}
	public, err := x509.ParsePKIXPublicKey(key)
	if err != nil {
		return &Error{Fail: BadRequest, Reason: "the public key cannot be read", Err: err}
	}
	// Not of a certificate: crypto/x509 has the arithmetic here.
	if err := (&x509.Certificate{PublicKey: public}).CheckSignature(s.x509, signed, p.Signature); err != nil {
		return &Error{Fail: POPFailed, Reason: "the signature is not by the key that is to be certified", Err: err}
	}
	return nil
}

// Check holds the request to what CMC says of CRMF (RFC 5272 §3.2.1.2.2, RFC 5274 §4.3).
func (m *CertReqMsg) Check() error {
	t, id := m.Request.Template, m.Request.ID
	switch {
	case t.Subject == nil || t.PublicKey == nil:
		return refuse(BadRequest, id, "the template wants a subject, be it empty, and a public key")
	case m.RegInfo != nil:
		return refuse(BadRequest, id, "regInfo is not for CMC: use the control regInfo")
	case t.Version != nil && *t.Version != 2:
		return refuse(BadRequest, id, "the template's version is not 2")
	case t.SerialNumber != nil || t.SigningAlg != nil || t.IssuerUID != nil || t.SubjectUID != nil:
		return refuse(BadRequest, id, "the template has a serial number, signing algorithm or unique identifier") // RFC 4211 §5
	case m.POP != nil && m.POP.Signature != nil && m.POP.Signature.Input != nil:
		return refuse(BadRequest, id, "poposkInput is not for CMC: sign the request itself")
	}
	if m.POP != nil {
		for _, p := range []*POPPrivKey{m.POP.KeyEncipherment, m.POP.KeyAgreement} {
			if p != nil && p.Subsequent != nil && *p.Subsequent != ChallengeResponse {
				return refuse(BadRequest, id, "proof by an encrypted certificate is not for CMC: ask for a challenge")
			}
		}
	}
	for _, c := range m.Request.Controls {
		if c.Type.Equal(OIDRegToken) || c.Type.Equal(OIDAuthenticator) {
			return refuse(BadRequest, id, "regToken and authenticator are not for CMC: use the control identityProofV2")
		}
	}
	return nil
}

// PasswordMAC is the MAC over data by a password (RFC 4211 §4.4), with SHA-256, a new
// salt and 10000 iterations.
func PasswordMAC(password Secret, data []byte) (MACValue, error) {
	f, err := functionOf(crypto.SHA256)
	if err != nil {
		return MACValue{}, err
	}
	const iterations = 10000
	salt := make([]byte, 16)
	rand.Read(salt) // it never fails
	params, err := build(func(b builder) {
		b.sequence(func(b builder) {
			b.AddASN1OctetString(salt)
			b.algorithm(f.algorithm(), tags.SEQUENCE)
			b.AddASN1Int64(iterations)
			b.algorithm(f.mac(), tags.SEQUENCE)
		})
	})
	key := f.repeated(append(clone(password), salt...), iterations)
	return MACValue{cms.Algorithm{OID: OIDPasswordMAC, Parameters: params}, f.code(key, data)}, err
}

func (f function) repeated(key []byte, times int) []byte {
	for range times {
		key = f.sum(key)
	}
	return key
}

// Verify checks the MAC over data by a password, in constant time. The error is popFailed
// if it does not hold, badAlg if its algorithms are not to be had.
func (v MACValue) Verify(password Secret, data []byte, o Options) error {
	if !v.Algorithm.OID.Equal(OIDPasswordMAC) {
		return refuse(BadAlg, Current, fmt.Sprintf("the MAC %s is not by password", v.Algorithm.OID))
	}
	var salt []byte
	var owf, mac cms.Algorithm
	var iterations int
	err := read(v.Algorithm.Parameters, tags.SEQUENCE, func(r *reader) {
		salt = r.octets("salt")
		owf = r.algorithm(tags.SEQUENCE, "one-way function")
		iterations = r.small(tags.INTEGER, "iterations")
		mac = r.algorithm(tags.SEQUENCE, "MAC")
	})
	if err != nil || iterations < 100 || iterations > maxIterations { // RFC 4211 §4.4: at least 100
		return &Error{Fail: BadAlg, Reason: fmt.Sprintf("the parameters of the password's MAC cannot be read, or ask for %d iterations", iterations), Err: err}
	}
	f, err := o.digest(owf)
	if err != nil {
		return err
	}
	g, err := o.hmac(mac)
	if err != nil {
		return err
	}
	want := g.code(f.repeated(append(clone(password), salt...), iterations), data)
	if len(password) == 0 || !hmac.Equal(v.Value, want) {
		return refuse(POPFailed, Current, "the MAC is not by this password")
	}
	return nil
}
