package est

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"

	"chancery/cms"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// RequestMax is the size in bytes up to which requests are read.
const RequestMax = 64 << 10

// Parsed is a PKCS#10 request that was read (RFC 2986 §4). Nothing in it is proven
// before [Parsed.CheckSignature].
type Parsed struct {
	DER        []byte           // the whole
	RawTBS     []byte           // CertificationRequestInfo
	RawSubject []byte           // Name
	RawSPKI    []byte           // SubjectPublicKeyInfo
	PublicKey  crypto.PublicKey // nil when crypto/x509 does not know its kind
	Algorithm  []byte           // AlgorithmIdentifier of the signature, DER
	Signature  []byte
	Attributes []cms.Attribute  // in order; none is there twice, each has a value
	Extensions []pkix.Extension // those asked for; none is there twice
}

// ParseRequest reads a PKCS#10 request from DER: strictly, up to [RequestMax], and
// without looking at its signature. Errors are [Malformed] or [TooLarge].
func ParseRequest(der []byte) (*Parsed, error) {
	if len(der) > RequestMax {
		return nil, fault(TooLarge, "the request has more than %d bytes", RequestMax)
	}
	p := &Parsed{DER: bytes.Clone(der)}
	in, ok := whole(p.DER, tag.SEQUENCE)
	var tbs, algorithm cryptobyte.String
	if !ok || !in.ReadASN1Element(&tbs, tag.SEQUENCE) || !in.ReadASN1Element(&algorithm, tag.SEQUENCE) ||
		!in.ReadASN1BitStringAsBytes(&p.Signature) || !in.Empty() {
		return nil, malformed("this is not a PKCS#10 certification request in DER (RFC 2986)")
	}
	if err := checkIdentifier(algorithm); err != nil {
		return nil, err
	}
	p.RawTBS, p.Algorithm = tbs, algorithm
	if err := p.readTBS(tbs); err != nil {
		return nil, err
	}
	if err := p.readExtensions(); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Parsed) readTBS(tbs cryptobyte.String) error {
	var body, subject, spki, attributes cryptobyte.String
	var version int
	if !tbs.ReadASN1(&body, tag.SEQUENCE) || !body.ReadASN1Integer(&version) || version != 0 {
		return malformed("the request has another version than 1 (RFC 2986 section 4.1)")
	}
	if !body.ReadASN1Element(&subject, tag.SEQUENCE) || !body.ReadASN1Element(&spki, tag.SEQUENCE) ||
		!body.ReadASN1(&attributes, tag.Tag(0).ContextSpecific().Constructed()) || !body.Empty() {
		return malformed("the request lacks a subject, a public key or the set of attributes (RFC 2986 section 4.1)")
	}
	p.RawSubject, p.RawSPKI = subject, spki
	if err := checkName(subject); err != nil {
		return err
	}
	if err := checkSPKI(spki); err != nil {
		return err
	}
	if key, err := x509.ParsePKIXPublicKey(spki); err == nil {
		p.PublicKey = key
	}
	var err error
	p.Attributes, err = readAttributes(attributes)
	return err
}

func (p *Parsed) readExtensions() error {
	value, ok, err := p.single(OIDExtensionRequest)
	if err != nil || !ok {
		return err
	}
	p.Extensions, err = readExtensions(value)
	return err
}

// checkIdentifier tells whether bytes are an AlgorithmIdentifier.
func checkIdentifier(der cryptobyte.String) error {
	body, ok := whole(der, tag.SEQUENCE)
	if _, _, good := readIdentifier(body); !ok || !good {
		return malformed("an algorithm identifier cannot be read")
	}
	return nil
}

// readIdentifier reads an AlgorithmIdentifier's content; no parameters are nil.
func readIdentifier(in cryptobyte.String) (kind asn1.ObjectIdentifier, parameters []byte, ok bool) {
	if !in.ReadASN1ObjectIdentifier(&kind) {
		return nil, nil, false
	}
	if in.Empty() {
		return kind, nil, true
	}
	parameters, ok = element(&in)
	return kind, parameters, ok && in.Empty()
}

// checkSPKI tells whether bytes are a SubjectPublicKeyInfo in form.
func checkSPKI(der cryptobyte.String) error {
	body, ok := whole(der, tag.SEQUENCE)
	var algorithm cryptobyte.String
	var key []byte
	if !ok || !body.ReadASN1Element(&algorithm, tag.SEQUENCE) || !body.ReadASN1BitStringAsBytes(&key) || !body.Empty() {
		return malformed("the public key cannot be read")
	}
	return checkIdentifier(algorithm)
}

// CheckSignature tells whether the request was signed by the key that it asks to
// certify (RFC 2986 §4.2; proof of possession, RFC 7030 §3.4). The key usage that was
// asked for does not matter. ECDSA, RSA (PKCS#1 v1.5 and PSS) with SHA-256, SHA-384 and
// SHA-512, and Ed25519 are known; others are [Unsupported], a signature that does not
// fit [Malformed].
func (p *Parsed) CheckSignature() error {
	s, ok := schemeOf(p.Algorithm)
	switch {
	case p.NoSignature():
		return fault(Unsupported, "the request has no signature and does not prove possession of its key (RFC 5272 appendix C.1)")
	case !ok:
		return fault(Unsupported, "the request's signature algorithm is not among ECDSA, RSA and RSASSA-PSS with SHA-256, SHA-384 or SHA-512, and Ed25519")
	case p.PublicKey == nil:
		return fault(Unsupported, "the request's key is of a kind that is not certified here: RSA, P-256, P-384, P-521 and Ed25519 are; an RSA key that signs by RSASSA-PSS says rsaEncryption all the same")
	case !keyType(p.PublicKey).Equal(s.key):
		return fault(Unsupported, "the request's signature algorithm does not fit its public key")
	case !s.verify(p.PublicKey, p.RawTBS, p.Signature):
		return malformed("the request's signature is wrong: it was not made by the key that it asks to certify")
	}
	return nil
}

// NoSignature tells whether the request says that it has none (RFC 5272 App. C.1).
func (p *Parsed) NoSignature() bool { return bytes.Equal(p.Algorithm, noSignature) }

// SignatureHash gives the hash of the signature algorithm, 0 if there is none or the
// algorithm is unknown.
func (p *Parsed) SignatureHash() crypto.Hash {
	s, _ := schemeOf(p.Algorithm)
	return s.hash
}

// Attribute gives the attribute of a type.
func (p *Parsed) Attribute(kind asn1.ObjectIdentifier) (cms.Attribute, bool) {
	i := slices.IndexFunc(p.Attributes, func(a cms.Attribute) bool { return a.Type.Equal(kind) })
	if i < 0 {
		return cms.Attribute{}, false
	}
	return p.Attributes[i], true
}

// single gives the one value of an attribute that may have only one.
func (p *Parsed) single(kind asn1.ObjectIdentifier) ([]byte, bool, error) {
	a, ok := p.Attribute(kind)
	if ok && len(a.Values) != 1 {
		return nil, false, malformed("the attribute %s has more than one value", kind)
	}
	if !ok {
		return nil, false, nil
	}
	return a.Values[0], true, nil
}

// Extension gives the extension of a type that is asked for.
func (p *Parsed) Extension(kind asn1.ObjectIdentifier) (pkix.Extension, bool) {
	i := slices.IndexFunc(p.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(kind) })
	if i < 0 {
		return pkix.Extension{}, false
	}
	return p.Extensions[i], true
}

// SAN gives the subject alternative name that is asked for, DER of a GeneralNames, nil
// when none is.
func (p *Parsed) SAN() []byte {
	e, _ := p.Extension(oidSAN)
	return e.Value
}

// KeyUsage gives the key usage that is asked for (RFC 5280 §4.2.1.3), and false when
// none is.
func (p *Parsed) KeyUsage() (x509.KeyUsage, bool, error) {
	e, ok := p.Extension(oidKeyUsage)
	if !ok {
		return 0, false, nil
	}
	var bits asn1.BitString
	in := cryptobyte.String(e.Value)
	if !in.ReadASN1BitString(&bits) || !in.Empty() {
		return 0, false, malformed("the key usage that is asked for cannot be read")
	}
	var usage x509.KeyUsage
	for i := range 9 {
		usage |= x509.KeyUsage(bits.At(i)) << i
	}
	return usage, true, nil
}

// ExtKeyUsage gives the extended key usages that are asked for (RFC 5280 §4.2.1.12),
// none when there are none.
func (p *Parsed) ExtKeyUsage() ([]asn1.ObjectIdentifier, error) {
	e, ok := p.Extension(oidExtKeyUsage)
	if !ok {
		return nil, nil
	}
	in, ok := whole(e.Value, tag.SEQUENCE)
	var all []asn1.ObjectIdentifier
	for ok && !in.Empty() {
		var usage asn1.ObjectIdentifier
		ok = in.ReadASN1ObjectIdentifier(&usage)
		all = append(all, usage)
	}
	if !ok {
		return nil, malformed("the extended key usage that is asked for cannot be read")
	}
	return all, nil
}
