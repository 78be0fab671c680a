package cms

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// oidProtection is CMSAlgorithmProtection (RFC 6211, which RFC 8933 §4 recommends).
var oidProtection = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 52}

// Verify checks the signature of Signers[signer] with the key: over the signed attributes,
// whose content-type and message-digest must be the content's, or over the content itself
// if there are none (RFC 5652 §5.4, §5.6). It refuses SHA-1 and [OIDNoSignature]. Whose
// key it is, is the caller's question.
func (s *SignedData) Verify(signer int, key crypto.PublicKey) error {
	return s.VerifyWith(signer, Verification{Key: key})
}

// VerifyWith is Verify for detached content and for those who must read SHA-1.
func (s *SignedData) VerifyWith(signer int, v Verification) error {
	return s.verify(signer, v, func(how scheme, message, value []byte) error {
		if how.kind == "none" {
			return fault(Unverified, "the message bears no signature, only a digest")
		}
		return how.verify(v.Key, message, value)
	})
}

// VerifyNoSignature checks the digest that stands in the place of the signature of
// Signers[signer] (RFC 5272 App. C.1), which anybody can make: it proves nothing of the
// sender. A true signature is refused. v.Key is not looked at.
func (s *SignedData) VerifyNoSignature(signer int, v Verification) error {
	return s.verify(signer, v, func(how scheme, message, value []byte) error {
		if how.kind != "none" {
			return fault(Unverified, "the message bears a signature, which must be verified")
		}
		return how.none(message, value)
	})
}

// NoSignature reports whether the signer only put a digest in the signature's place.
func (s Signer) NoSignature() bool { return s.Signature.OID.Equal(OIDNoSignature) }

func (s *SignedData) verify(signer int, v Verification, check func(how scheme, message, value []byte) error) error {
	if signer < 0 || signer >= len(s.Signers) {
		return fault(BadValue, "there is no signer %d", signer)
	}
	by := &s.Signers[signer]
	how, err := schemeOf(by.Digest, by.Signature)
	if err != nil {
		return err
	}
	if how.hash == crypto.SHA1 && !v.SHA1 {
		return fault(Unsupported, "SHA-1 does not sign")
	}
	content := s.Content
	if content == nil {
		if content = v.Content; content == nil {
			return fault(BadValue, "the signature is detached and its content is not given")
		}
	}
	if by.Signed == nil {
		if err := bareAllowed(s.Type, content); err != nil {
			return err
		}
		return check(how, content, by.Value)
	}
	if err := checkAttributes(by.Signed, s.Type, sum(how.hash, content)); err != nil {
		return err
	}
	if err := checkProtection(by.Signed, by.Digest, protected{tag: 1, algorithm: by.Signature}); err != nil {
		return err
	}
	return eitherOrder(by.signed, by.Signed, func(message []byte) error { return check(how, message, by.Value) })
}

// eitherOrder checks the DER of the attributes, and what was sent if that is in another order:
// some sign what they send. The attributes are the same.
func eitherOrder(sent []byte, list []Attribute, check func(message []byte) error) error {
	der, err := MarshalAttributes(list)
	if err != nil {
		return err
	}
	err = check(der)
	if err != nil && !bytes.Equal(der, sent) {
		err = check(sent)
	}
	return err
}

// bareAllowed refuses a signature without signed attributes where it must have them (RFC
// 5652 §5.3), and where the content is itself a set of signed attributes: somebody
// may have taken away the content of another message and put its attributes in its place.
func bareAllowed(contentType asn1.ObjectIdentifier, content []byte) error {
	if !contentType.Equal(OIDData) {
		return fault(Malformed, "content of type %v is signed without signed attributes", contentType)
	}
	s := cryptobyte.String(content)
	if !s.PeekASN1Tag(tags.SET) {
		return nil
	}
	list, err := ParseAttributes(content)
	if err == nil && Find(list, OIDContentType) != nil && Find(list, OIDMessageDigest) != nil {
		return fault(Unverified, "the content is another message's signed attributes")
	}
	return nil
}

// checkAttributes checks the two attributes that tie signature or code to the content
// (RFC 5652 §11.1, §11.2).
func checkAttributes(list []Attribute, contentType asn1.ObjectIdentifier, digest []byte) error {
	value, err := One(list, OIDContentType)
	if err != nil {
		return err
	}
	var got asn1.ObjectIdentifier
	s := cryptobyte.String(value)
	if !s.ReadASN1ObjectIdentifier(&got) || !s.Empty() || !got.Equal(contentType) {
		return fault(Unverified, "the attribute content-type is not the content's type")
	}
	if value, err = One(list, OIDMessageDigest); err != nil {
		return err
	}
	var sent cryptobyte.String
	s = value
	if !s.ReadASN1(&sent, tags.OCTET_STRING) || !s.Empty() || !hmac.Equal(sent, digest) {
		return fault(Unverified, "the attribute message-digest is not the content's digest")
	}
	return nil
}

// protected is the second algorithm of CMSAlgorithmProtection: a signature's ([1]) or a
// code's ([2]).
type protected struct {
	tag       uint8
	algorithm Algorithm
}

// checkProtection compares CMSAlgorithmProtection, if it is there, with the algorithms that are used.
func checkProtection(list []Attribute, digest Algorithm, p protected) error {
	value, err := One(list, oidProtection)
	if value == nil {
		return err
	}
	r := readerOf(value)
	seq := r.in(tags.SEQUENCE, "CMSAlgorithmProtection")
	gotDigest := seq.algorithm(tags.SEQUENCE, "digestAlgorithm")
	got := seq.algorithm(constructed(p.tag), "the protected algorithm")
	seq.end("CMSAlgorithmProtection")
	r.end("CMSAlgorithmProtection")
	if !r.ok() {
		return *r.err
	}
	if !gotDigest.same(digest) || !got.same(p.algorithm) {
		return fault(Unverified, "the algorithms were exchanged for others")
	}
	return nil
}

// same compares algorithms, NULL being as good as no parameters.
func (a Algorithm) same(b Algorithm) bool {
	return a.OID.Equal(b.OID) && (a.plain() && b.plain() || bytes.Equal(a.Parameters, b.Parameters))
}

// tied gives the attributes that tie a message together, and the caller's.
func tied(contentType asn1.ObjectIdentifier, digest []byte, algorithms protectedBy) ([]Attribute, error) {
	oid, err := oidValue(contentType)
	if err != nil {
		return nil, err
	}
	octets, err := octetValue(digest)
	if err != nil {
		return nil, err
	}
	protection, err := build(func(b *writer) {
		add(b, tags.SEQUENCE, func(b *writer) {
			algorithms.digest.add(b)
			algorithms.algorithm.addAs(b, constructed(algorithms.tag))
		})
	})
	if err != nil {
		return nil, err
	}
	list := []Attribute{
		{Type: OIDContentType, Values: [][]byte{oid}},
		{Type: OIDMessageDigest, Values: [][]byte{octets}},
		{Type: oidProtection, Values: [][]byte{protection}},
	}
	for _, extra := range algorithms.extra {
		if Find(list, extra.Type) != nil {
			return nil, fault(BadValue, "the attribute %v is there twice", extra.Type)
		}
		list = append(list, extra)
	}
	return list, nil
}

// protectedBy is what tied needs besides the content.
type protectedBy struct {
	protected
	digest Algorithm
	extra  []Attribute
}
