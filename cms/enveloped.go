package cms

import (
	"bytes"

	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// ParseEnveloped reads a ContentInfo with EnvelopedData (RFC 5652 §6.1) or
// AuthEnvelopedData (RFC 5083 §2.1), DER or BER. It decrypts nothing.
func ParseEnveloped(in []byte) (*Enveloped, error) {
	r, oid, err := open(in, OIDEnvelopedData, OIDAuthEnvelopedData)
	if err != nil {
		return nil, err
	}
	e := &Enveloped{}
	authenticated := oid.Equal(OIDAuthEnvelopedData)
	seq := r.in(tags.SEQUENCE, oid.String())
	seq.version("the enveloped data")
	seq.optional(constructed(0), "originatorInfo")
	e.Recipients = seq.recipients()
	seq.encryptedContent(e)
	if seq.peek(constructed(1)) {
		attributes := seq.element(constructed(1), "attributes")
		if authenticated {
			e.attached = retaggedSet(attributes)
		}
	}
	if authenticated {
		e.tag = seq.octets(tags.OCTET_STRING, "mac")
		seq.optional(constructed(2), "unauthAttrs")
	}
	seq.end("the enveloped data")
	r.end("the enveloped data")
	if !r.ok() {
		return nil, *r.err
	}
	if e.Cipher != 0 && e.Cipher.GCM() != authenticated {
		return nil, fault(Malformed, "%v is not in its place: GCM belongs in AuthEnvelopedData and only there", e.Cipher)
	}
	return e, e.checkAttached(authenticated)
}

// encryptedContent reads EncryptedContentInfo (RFC 5652 §6.1).
func (r *reader) encryptedContent(e *Enveloped) {
	seq := r.in(tags.SEQUENCE, "encryptedContentInfo")
	e.Type = seq.oid("contentType")
	e.Algorithm = seq.algorithm(tags.SEQUENCE, "contentEncryptionAlgorithm")
	e.Cipher = cipherOf(e.Algorithm.OID)
	if pieces, ok := seq.optional(constructed(0), "encryptedContent"); ok {
		// An implicitly tagged OCTET STRING in pieces, as those who stream send it.
		var whole bytes.Buffer
		for pieces.ok() && !pieces.empty() {
			whole.Write(pieces.octets(tags.OCTET_STRING, "a piece of encryptedContent"))
		}
		e.encrypted = present(whole.Bytes())
	} else {
		e.encrypted = present(seq.octets(context(0), "encryptedContent"))
	}
	seq.end("encryptedContentInfo")
}

// checkAttached makes sure that authenticated attributes say what the content is, and that
// they are there if it is not id-data (RFC 5083 §2.1).
func (e *Enveloped) checkAttached(authenticated bool) error {
	if !authenticated {
		return nil
	}
	if e.attached == nil {
		if !e.Type.Equal(OIDData) {
			return fault(Malformed, "content of type %v has no authenticated attributes", e.Type)
		}
		return nil
	}
	list, err := ParseAttributes(e.attached)
	if err != nil {
		return err
	}
	value, err := One(list, OIDContentType)
	if err != nil {
		return err
	}
	want, err := oidValue(e.Type)
	if err != nil || !bytes.Equal(value, want) {
		return fault(Malformed, "the attribute content-type is not the content's type")
	}
	return nil
}

// Decrypt gives the content, opened by Recipients[recipient] with a key that fits its
// Kind: for ktri an RSA crypto.Decrypter (as *rsa.PrivateKey is), for kari an
// *ecdsa.PrivateKey or ecdh.KeyExchanger, for kekri a [Secret], for pwri a [Passphrase].
// Whether the recipient names that key is not looked at.
//
// Whatever secret thing went wrong, the error is the same Undecrypted one, and a key
// transported by RSA that does not decrypt is replaced by a random one (RFC 3218). Other
// kinds of errors come of what everybody sees in the message, or of the key's type. The
// content of EnvelopedData is not authenticated: who decrypts it can be made to
// decrypt something else, until a signature within says whose it is.
func (e *Enveloped) Decrypt(key any, recipient int) ([]byte, error) {
	i, err := recipientAt(e.Recipients, recipient)
	if err != nil {
		return nil, err
	}
	if e.Cipher == 0 {
		return nil, fault(Unsupported, "the cipher %v is not supported", e.Algorithm.OID)
	}
	if _, _, err := e.Cipher.parameters(e.Algorithm); err != nil {
		return nil, err
	}
	content, err := i.open(key, e.Cipher.Bits()/8)
	if err != nil {
		return nil, err
	}
	s := sealed{e.Algorithm, e.encrypted, e.tag}
	if e.attached == nil {
		return e.Cipher.open(content, s, nil)
	}
	list, err := ParseAttributes(e.attached)
	if err != nil {
		return nil, err
	}
	var out []byte
	err = eitherOrder(e.attached, list, func(attached []byte) (err error) {
		out, err = e.Cipher.open(content, s, attached)
		return err
	})
	return out, err
}
