package cms

import (
	"bytes"

	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// Sign gives the DER of a ContentInfo with SignedData over the content. Every signature
// has signed attributes: content-type, message-digest, CMSAlgorithmProtection and Extra. A
// signer with a certificate does not bring it into the message: what Certificates lists is there.
// Without signers it is a message with content that nobody signed. Errors are BadValue.
func Sign(content SignedContent, by ...Signing) ([]byte, error) {
	if content.Content == nil && len(by) > 0 {
		return nil, fault(BadValue, "there is no content to sign")
	}
	digests, infos := [][]byte{}, [][]byte{}
	version := int64(1)
	for _, s := range by {
		digest, info, err := s.info(content)
		if err != nil {
			return nil, err
		}
		if !contains(digests, digest) {
			digests = append(digests, digest)
		}
		infos = append(infos, info)
		if s.byKeyID() {
			version = 3
		}
	}
	if !content.Type.Equal(OIDData) {
		version = 3 // RFC 5652 §5.1
	}
	if err := areSequences(content.Certificates, content.CRLs); err != nil {
		return nil, err
	}
	return closed(OIDSignedData, func(b *writer) {
		b.AddASN1Int64(version)
		addSet(b, tags.SET, digests)
		add(b, tags.SEQUENCE, content.addEncap)
		addChoices(b, 0, content.Certificates)
		addChoices(b, 1, content.CRLs)
		addSet(b, tags.SET, infos)
	})
}

func contains(list [][]byte, e []byte) bool {
	for _, have := range list {
		if bytes.Equal(have, e) {
			return true
		}
	}
	return false
}

// areSequences makes sure that what is enclosed is DER of a certificate's outer form.
func areSequences(lists ...[][]byte) error {
	for _, list := range lists {
		for _, e := range list {
			if !isElement(e, tags.SEQUENCE) {
				return fault(BadValue, "an enclosed certificate or CRL is not one DER SEQUENCE")
			}
		}
	}
	return nil
}

// addEncap writes what is within EncapsulatedContentInfo (RFC 5652 §5.2).
func (c SignedContent) addEncap(b *writer) {
	b.AddASN1ObjectIdentifier(c.Type)
	if c.Content != nil && !c.Detached {
		add(b, constructed(0), func(b *writer) { b.AddASN1OctetString(c.Content) })
	}
}

func addChoices(b *writer, tag uint8, list [][]byte) {
	if len(list) > 0 {
		addSet(b, constructed(tag), list)
	}
}

func (s Signing) byKeyID() bool { return s.KeyID != nil || s.Certificate == nil }

// info makes the SignerInfo, and its digestAlgorithm apart.
func (s Signing) info(content SignedContent) (digest, info []byte, err error) {
	how, err := s.scheme()
	if err != nil {
		return nil, nil, err
	}
	algorithm, err := how.algorithm()
	if err != nil {
		return nil, nil, err
	}
	hash := Algorithm{OID: hashOID(how.hash)} // no parameters: RFC 5754 §2
	attributes, err := tied(content.Type, sum(how.hash, content.Content),
		protectedBy{protected{1, algorithm}, hash, s.Extra})
	if err != nil {
		return nil, nil, err
	}
	signed, err := MarshalAttributes(attributes)
	if err != nil {
		return nil, nil, err
	}
	unsigned, err := MarshalAttributes(s.Unsigned)
	if err != nil {
		return nil, nil, err
	}
	if len(s.KeyID) == 0 && s.Certificate == nil {
		return nil, nil, fault(BadValue, "neither a certificate nor a key identifier names the signer")
	}
	value, err := how.sign(s.Key, signed)
	if err != nil {
		return nil, nil, err
	}
	if digest, err = hash.marshal(); err != nil {
		return nil, nil, err
	}
	info, err = build(func(b *writer) {
		add(b, tags.SEQUENCE, func(b *writer) {
			s.addName(b)
			b.AddBytes(digest)
			b.AddBytes(retagged(signed, constructed(0)))
			algorithm.add(b)
			b.AddASN1OctetString(value)
			if len(s.Unsigned) > 0 {
				b.AddBytes(retagged(unsigned, constructed(1)))
			}
		})
	})
	return digest, info, err
}

// addName writes version and sid (RFC 5652 §5.3).
func (s Signing) addName(b *writer) {
	if s.byKeyID() {
		b.AddASN1Int64(3)
		addOctets(b, context(0), s.KeyID)
		return
	}
	b.AddASN1Int64(1)
	addIssuerAndSerial(b, s.Certificate)
}
