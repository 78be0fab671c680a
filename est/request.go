package est

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net"
	"net/url"
	"slices"

	"chancery/cms"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// Request is what a client asks for; [Request.Sign] makes a PKCS#10 message of it
// (RFC 2986). crypto/x509 can write neither the challenge password nor a change of
// name, so this is written by hand.
type Request struct {
	// Subject is the DER of a Name and wins over SubjectName. With neither the subject
	// is empty.
	Subject     []byte
	SubjectName pkix.Name

	// Names go into a subject alternative name. RawSAN is the DER of a GeneralNames
	// and wins over them.
	DNSNames       []string
	EmailAddresses []string
	IPAddresses    []net.IP
	URIs           []*url.URL
	RawSAN         []byte
	CriticalSAN    bool // it always is where the subject is empty (RFC 5280 §4.2.1.6)

	Extensions []pkix.Extension // others that are asked for
	Attributes []cms.Attribute  // see [ChallengePassword] and its neighbours

	PSS bool // sign with RSASSA-PSS, not PKCS#1 v1.5; only for RSA keys
}

// Sign encodes and signs a request, DER. With hash 0 the hash fits the key: SHA-384 and
// SHA-512 for P-384 and P-521, none for Ed25519, SHA-256 for all others. An attribute
// or extension that is given twice is [Malformed], a key that cannot sign [Unsupported].
func (r Request) Sign(key crypto.Signer, hash crypto.Hash) ([]byte, error) {
	scheme, err := schemeFor(key.Public(), hash, r.PSS)
	if err != nil {
		return nil, err
	}
	tbs, err := r.tbs(key.Public())
	if err != nil {
		return nil, err
	}
	signature, err := scheme.sign(key, tbs)
	if err != nil {
		return nil, err
	}
	return assemble(tbs, scheme.identifier, signature)
}

// challenges are the attributes that prove or tell by one short text.
var challenges = []asn1.ObjectIdentifier{OIDChallengePassword, OIDIdentityLinking, OIDOTPChallenge, OIDRevocationChallenge}

// Unsigned encodes a request for a key that cannot sign, such as X25519, or for one
// that the requester does not have: in the place of a signature stands the
// SHA-256 of what would be signed, under id-alg-noSignature (RFC 5272 App. C.1), which
// proves nothing. For serverkeygen, whose server ignores key and signature (RFC 7030 §4.4.1),
// a request that a throw-away key signed is understood by more servers.
func Unsigned(r Request, key crypto.PublicKey) ([]byte, error) {
	tbs, err := r.tbs(key)
	if err != nil {
		return nil, err
	}
	return assemble(tbs, noSignature, noSignatureValue(tbs))
}

// maxSignature leaves room for the largest signature and what surrounds it.
const maxSignature = 2 << 10

func assemble(tbs, algorithm, signature []byte) ([]byte, error) {
	if len(tbs) > RequestMax-maxSignature {
		return nil, fault(TooLarge, "the request would have more than %d bytes, which nobody reads", RequestMax)
	}
	return encode(func(b *cryptobyte.Builder) {
		b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(tbs)
			b.AddBytes(algorithm)
			b.AddASN1BitString(signature)
		})
	})
}

// tbs encodes the CertificationRequestInfo.
func (r Request) tbs(key crypto.PublicKey) ([]byte, error) {
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, because(Unsupported, "the public key cannot be encoded", err)
	}
	subject, err := r.subject()
	if err != nil {
		return nil, err
	}
	attributes, err := r.attributes(subject)
	if err != nil {
		return nil, err
	}
	var encoded [][]byte
	for _, a := range attributes {
		der, err := encode(func(b *cryptobyte.Builder) { addAttribute(b, a) })
		if err != nil {
			return nil, err
		}
		encoded = append(encoded, der)
	}
	return encode(func(b *cryptobyte.Builder) {
		b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(0)
			b.AddBytes(subject)
			b.AddBytes(spki)
			b.AddASN1(tag.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) { addSorted(b, encoded) })
		})
	})
}

// subject gives the Name, DER.
func (r Request) subject() ([]byte, error) {
	if r.Subject != nil {
		return r.Subject, checkName(r.Subject)
	}
	der, err := asn1.Marshal(r.SubjectName.ToRDNSequence())
	if err != nil {
		return nil, because(Malformed, "the subject cannot be encoded", err)
	}
	return der, nil
}

// attributes gives all attributes, that of the extensions among them.
func (r Request) attributes(subject []byte) ([]cms.Attribute, error) {
	extensions := slices.Clone(r.Extensions)
	san, err := r.SAN()
	if err != nil {
		return nil, err
	}
	if san != nil {
		critical := r.CriticalSAN || bytes.Equal(subject, []byte{0x30, 0})
		extensions = append(extensions, pkix.Extension{Id: oidSAN, Critical: critical, Value: san})
	}
	all := slices.Clone(r.Attributes)
	if len(extensions) > 0 {
		a, err := ExtensionRequest(extensions)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	for i, a := range all {
		if len(a.Values) == 0 {
			return nil, malformed("the attribute %s has no value", a.Type)
		}
		if slices.ContainsFunc(challenges, a.Type.Equal) {
			if _, ok := readText(a.Values[0]); !ok || len(a.Values) > 1 {
				return nil, malformed("the attribute %s takes one text of 1 to %d characters (RFC 7894 section 3)", a.Type, textMax)
			}
		}
		if slices.ContainsFunc(all[:i], func(b cms.Attribute) bool { return a.Type.Equal(b.Type) }) {
			return nil, malformed("the attribute %s was given twice", a.Type)
		}
	}
	return all, nil
}

// ExtensionRequest gives the attribute that asks for extensions (RFC 2985 §5.4.2). One
// that is given twice is [Malformed].
func ExtensionRequest(extensions []pkix.Extension) (cms.Attribute, error) {
	for i, e := range extensions {
		if slices.ContainsFunc(extensions[:i], func(f pkix.Extension) bool { return e.Id.Equal(f.Id) }) {
			return cms.Attribute{}, malformed("the extension %s was given twice", e.Id)
		}
	}
	value, err := encode(func(b *cryptobyte.Builder) { addExtensions(b, extensions) })
	return cms.Attribute{Type: OIDExtensionRequest, Values: [][]byte{value}}, err
}

// SAN gives the subject alternative name (DER of a GeneralNames, RFC 5280 §4.2.1.6) that
// is asked for, nil when none is.
func (r Request) SAN() ([]byte, error) {
	if r.RawSAN != nil {
		return r.RawSAN, checkGeneralNames(r.RawSAN)
	}
	type name struct {
		kind  tag.Tag
		value []byte
	}
	var all []name
	for _, s := range r.EmailAddresses {
		all = append(all, name{1, []byte(s)})
	}
	for _, s := range r.DNSNames {
		all = append(all, name{2, []byte(s)})
	}
	for _, u := range r.URIs {
		all = append(all, name{6, []byte(u.String())})
	}
	for _, n := range all {
		if len(n.value) == 0 {
			return nil, malformed("a name is empty")
		}
		if bytes.ContainsFunc(n.value, func(c rune) bool { return c >= 0x80 }) {
			return nil, malformed("the name %q is not in ASCII: write it in its ASCII form", n.value)
		}
	}
	for _, ip := range r.IPAddresses {
		if four := ip.To4(); four != nil {
			ip = four
		}
		all = append(all, name{7, ip})
	}
	if len(all) == 0 {
		return nil, nil
	}
	return encode(func(b *cryptobyte.Builder) {
		b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, n := range all {
				b.AddASN1(n.kind.ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(n.value) })
			}
		})
	})
}
