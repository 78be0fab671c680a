package cms

import (
	"bytes"
	"crypto/x509"
	"math/big"

	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// ParseSignedData reads a ContentInfo with SignedData, DER or BER. It verifies nothing.
// Content that is no OCTET STRING, as RFC 2315 allowed, is Unsupported.
//
// What [Enveloped.Decrypt] gives for the type [OIDSignedData] is the SignedData alone (RFC
// 5652 §6.1): put it into a [ContentInfo] first. Some send a whole ContentInfo within; that is
// read as well.
func ParseSignedData(in []byte) (*SignedData, error) {
	r, _, err := open(in, OIDSignedData)
	if err != nil {
		return nil, err
	}
	whole := r.rest
	if seq := r.in(tags.SEQUENCE, "SignedData"); seq.peek(tags.OBJECT_IDENTIFIER) {
		if r, _, err = open(whole, OIDSignedData); err != nil {
			return nil, err
		}
	} else {
		r = readerOf(whole)
	}
	return r.signedData(true)
}

// signedData reads SignedData (RFC 5652 §5.1). A reader that asks for certificates alone
// is not whole: content and signers are passed over.
func (r *reader) signedData(whole bool) (*SignedData, error) {
	s := &SignedData{}
	seq := r.in(tags.SEQUENCE, "SignedData")
	s.Version = seq.version("SignedData")
	digests := seq.in(tags.SET, "digestAlgorithms")
	digests.each(mostItems, "digest algorithms", func(r *reader) { r.algorithm(tags.SEQUENCE, "digestAlgorithm") })
	encap := seq.in(tags.SEQUENCE, "encapContentInfo")
	s.Type = encap.oid("eContentType")
	if content, ok := encap.optional(constructed(0), "eContent"); ok && whole {
		if !content.peek(tags.OCTET_STRING) {
			return nil, fault(Unsupported, "eContent is no OCTET STRING")
		}
		s.Content = present(content.octets(tags.OCTET_STRING, "eContent"))
		content.end("eContent")
	}
	encap.end("encapContentInfo")
	s.Certificates = seq.choices(0, "certificates")
	s.CRLs = seq.choices(1, "crls")
	signers := seq.in(tags.SET, "signerInfos")
	if whole {
		signers.each(mostSigners, "signers", func(r *reader) { s.Signers = append(s.Signers, r.signer()) })
	}
	seq.end("SignedData")
	r.end("SignedData")
	if !r.ok() {
		return nil, *r.err
	}
	return s, nil
}

// present makes an empty string that is there differ from one that is not.
func present(octets []byte) []byte {
	if octets == nil {
		return []byte{}
	}
	return octets
}

// choices reads an optional CertificateSet or RevocationInfoChoices (RFC 5652 §10.2.1,
// §10.2.2) and gives what is X.509's.
func (r *reader) choices(tag uint8, what string) (list [][]byte) {
	set, ok := r.optional(constructed(tag), what)
	if !ok {
		return nil
	}
	set.each(mostItems, what, func(r *reader) {
		x509 := r.peek(tags.SEQUENCE)
		if e := r.any(what); x509 && r.ok() {
			list = append(list, e)
		}
	})
	return list
}

// signer reads SignerInfo (RFC 5652 §5.3).
func (r *reader) signer() (s Signer) {
	seq := r.in(tags.SEQUENCE, "SignerInfo")
	s.Version = seq.version("SignerInfo")
	if seq.peek(context(0)) {
		s.KeyID = present(seq.octets(context(0), "subjectKeyIdentifier"))
	} else {
		s.Issuer, s.Serial = seq.issuerAndSerial()
	}
	s.Digest = seq.algorithm(tags.SEQUENCE, "digestAlgorithm")
	if seq.peek(constructed(0)) {
		s.signed = retaggedSet(seq.element(constructed(0), "signedAttrs"))
		s.Signed = seq.attributesOf(s.signed)
	}
	s.Signature = seq.algorithm(tags.SEQUENCE, "signatureAlgorithm")
	s.Value = seq.octets(tags.OCTET_STRING, "signature")
	if in, ok := seq.optional(constructed(1), "unsignedAttrs"); ok {
		s.Unsigned = in.attributes()
	}
	seq.end("SignerInfo")
	return s
}

// attributesOf reads the attributes of a whole SET.
func (r *reader) attributesOf(set []byte) []Attribute {
	if !r.ok() {
		return nil
	}
	inner := reader{rest: set, err: r.err}
	in := inner.in(tags.SET, "attributes")
	return in.attributes()
}

// retaggedSet gives an implicitly tagged SET its universal tag.
func retaggedSet(element []byte) []byte {
	if len(element) == 0 {
		return nil
	}
	return retagged(element, tags.SET)
}

func (r *reader) issuerAndSerial() (issuer []byte, serial *big.Int) {
	seq := r.in(tags.SEQUENCE, "issuerAndSerialNumber")
	issuer = seq.element(tags.SEQUENCE, "issuer")
	serial = seq.serial("serialNumber")
	seq.end("issuerAndSerialNumber")
	return issuer, serial
}

// name says which certificate is meant: by issuer and serial number, or by its subject key
// identifier.
type name struct {
	issuer []byte
	serial *big.Int
	keyID  []byte
}

// of reports whether the certificate is the one.
func (n name) of(c *x509.Certificate) bool {
	if n.keyID != nil {
		return len(n.keyID) > 0 && bytes.Equal(c.SubjectKeyId, n.keyID)
	}
	return n.serial != nil && c.SerialNumber.Cmp(n.serial) == 0 && bytes.Equal(c.RawIssuer, n.issuer)
}

// Certificate finds the signer's certificate among these (DER), or gives nil. It is found
// by its name alone: nothing is verified.
func (s Signer) Certificate(in [][]byte) *x509.Certificate {
	n := name{s.Issuer, s.Serial, s.KeyID}
	for _, der := range in {
		if !bytes.Contains(der, s.Issuer) || !bytes.Contains(der, s.KeyID) {
			continue // parsing is what costs
		}
		if c, err := x509.ParseCertificate(der); err == nil && n.of(c) {
			return c
		}
	}
	return nil
}
