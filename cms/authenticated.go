package cms

import (
	"crypto"
	"crypto/hmac"
	"errors"

	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// Authenticate gives the DER of a ContentInfo with AuthenticatedData (RFC 5652 §9.1): the
// content in clear with an HMAC under a random key that is sealed to each recipient, over
// the attributes content-type, message-digest, CMSAlgorithmProtection and Extra. It
// tells each recipient only that someone who knows the key made it; any other
// recipient can. Errors are BadValue.
func Authenticate(a Authentic, to ...Recipient) ([]byte, error) {
	hash := a.Hash
	if hash == 0 {
		hash = crypto.SHA256
	}
	if !ours(hash) {
		return nil, fault(BadValue, "HMAC goes with SHA-256, SHA-384 and SHA-512, not %v", hash)
	}
	if a.Content == nil {
		return nil, fault(BadValue, "there is no content to authenticate")
	}
	key := random(hash.Size())
	infos, err := sealTo(key, to)
	if err != nil {
		return nil, err
	}
	digest, mac := Algorithm{OID: hashOID(hash)}, Algorithm{OID: macOID(hash)} // RFC 5753 App. A: parameters absent
	list, err := tied(a.Type, sum(hash, a.Content), protectedBy{protected{2, mac}, digest, a.Extra})
	if err != nil {
		return nil, err
	}
	attributes, err := MarshalAttributes(list)
	if err != nil {
		return nil, err
	}
	code := hmac.New(hash.New, key)
	code.Write(attributes)
	return closed(OIDAuthenticatedData, func(b *writer) {
		b.AddASN1Int64(0)
		addSet(b, tags.SET, infos)
		mac.add(b)
		digest.addAs(b, constructed(1))
		add(b, tags.SEQUENCE, SignedContent{Type: a.Type, Content: a.Content}.addEncap)
		b.AddBytes(retagged(attributes, constructed(2)))
		b.AddASN1OctetString(code.Sum(nil))
	})
}

// ParseAuthenticated reads a ContentInfo with AuthenticatedData, DER or BER. It verifies nothing.
func ParseAuthenticated(in []byte) (*Authenticated, error) {
	r, _, err := open(in, OIDAuthenticatedData)
	if err != nil {
		return nil, err
	}
	a := &Authenticated{}
	seq := r.in(tags.SEQUENCE, "AuthenticatedData")
	seq.version("AuthenticatedData")
	seq.optional(constructed(0), "originatorInfo")
	a.Recipients = seq.recipients()
	a.MAC = seq.algorithm(tags.SEQUENCE, "macAlgorithm")
	if seq.peek(constructed(1)) {
		a.Digest = seq.algorithm(constructed(1), "digestAlgorithm")
	}
	encap := seq.in(tags.SEQUENCE, "encapContentInfo")
	a.Type = encap.oid("eContentType")
	if content, ok := encap.optional(constructed(0), "eContent"); ok {
		a.Content = present(content.octets(tags.OCTET_STRING, "eContent"))
		content.end("eContent")
	}
	encap.end("encapContentInfo")
	if seq.peek(constructed(2)) {
		a.attributes = retaggedSet(seq.element(constructed(2), "authAttrs"))
		a.Attributes = seq.attributesOf(a.attributes)
	}
	a.code = seq.octets(tags.OCTET_STRING, "mac")
	if in, ok := seq.optional(constructed(3), "unauthAttrs"); ok {
		a.Unauthenticated = in.attributes()
	}
	seq.end("AuthenticatedData")
	r.end("AuthenticatedData")
	if !r.ok() {
		return nil, *r.err
	}
	return a, nil
}

// Verify checks the code with the key of Recipients[recipient], opened by a key as
// [Enveloped.Decrypt] takes it. SHA-1 is refused. Whatever secret thing is wrong, the
// error is the same Unverified one.
func (a *Authenticated) Verify(key any, recipient int) error { return a.verify(key, recipient, false) }

// VerifySHA1 is Verify for those who must read SHA-1 (RFC 5274's demand), too.
func (a *Authenticated) VerifySHA1(key any, recipient int) error {
	return a.verify(key, recipient, true)
}

func (a *Authenticated) verify(key any, recipient int, sha1 bool) error {
	i, err := recipientAt(a.Recipients, recipient)
	if err != nil {
		return err
	}
	hash, err := a.MAC.mac()
	if err != nil {
		return err
	}
	if hash == crypto.SHA1 && !sha1 {
		return fault(Unsupported, "SHA-1 does not authenticate")
	}
	if a.Content == nil {
		return fault(Malformed, "the authenticated content is missing")
	}
	if err := a.checkAttributes(sha1); err != nil {
		return err
	}
	secret, err := i.open(key, hash.Size())
	if errors.Is(err, &Error{Kind: Undecrypted}) || err == nil && len(secret) < leastMAC {
		return unauthenticated()
	} else if err != nil {
		return err
	}
	check := func(message []byte) error {
		code := hmac.New(hash.New, secret)
		code.Write(message)
		if !hmac.Equal(code.Sum(nil), a.code) {
			return unauthenticated()
		}
		return nil
	}
	if a.attributes == nil {
		return check(a.Content)
	}
	return eitherOrder(a.attributes, a.Attributes, check)
}

// leastMAC is the shortest key of an HMAC, in octets, that is believed in.
const leastMAC = 16

func unauthenticated() *Error {
	return fault(Unverified, "the authentication code is not by this key over this content")
}

// checkAttributes checks all that needs no secret (RFC 5652 §9.2, §9.3).
func (a *Authenticated) checkAttributes(sha1 bool) error {
	if (a.attributes == nil) != (a.Digest.OID == nil) {
		return fault(Malformed, "authAttrs and digestAlgorithm go together")
	}
	if a.attributes == nil {
		return bareAllowed(a.Type, a.Content)
	}
	hash, err := a.Digest.hash()
	if err != nil {
		return err
	}
	if hash == crypto.SHA1 && !sha1 {
		return fault(Unsupported, "SHA-1 does not authenticate")
	}
	if err := checkAttributes(a.Attributes, a.Type, sum(hash, a.Content)); err != nil {
		return err
	}
	return checkProtection(a.Attributes, a.Digest, protected{2, a.MAC})
}
