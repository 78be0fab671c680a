package cms

import (
	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// Encrypt gives the DER of a ContentInfo with EnvelopedData, or AuthEnvelopedData if the cipher
// is GCM, whose content key is random and sealed to each recipient. A key of the recipient's
// weaker than the cipher is the caller's to refuse; see [Capabilities.Choose]. Errors are BadValue.
func Encrypt(p Plain, to ...Recipient) ([]byte, error) {
	c := p.Cipher
	if c == 0 {
		c = AES256CBC
	}
	if c.Bits() == 0 {
		return nil, fault(BadValue, "there is no cipher %d", c)
	}
	key := random(c.Bits() / 8)
	infos, err := sealTo(key, to)
	if err != nil {
		return nil, err
	}
	attached, err := p.attached(c)
	if err != nil {
		return nil, err
	}
	s, err := c.seal(key, p.Content, attached)
	if err != nil {
		return nil, err
	}
	oid, version := OIDEnvelopedData, envelopedVersion(to)
	if c.GCM() {
		oid, version = OIDAuthEnvelopedData, 0 // RFC 5083 §2.1
	}
	return closed(oid, func(b *writer) {
		b.AddASN1Int64(version)
		addSet(b, tags.SET, infos)
		add(b, tags.SEQUENCE, func(b *writer) {
			b.AddASN1ObjectIdentifier(p.Type)
			s.algorithm.add(b)
			addOctets(b, context(0), s.encrypted)
		})
		if c.GCM() {
			if attached != nil {
				b.AddBytes(retagged(attached, constructed(1)))
			}
			b.AddASN1OctetString(s.tag)
		}
	})
}

// attached gives the authenticated attributes that GCM content other than id-data must
// have (RFC 5083 §2.1).
func (p Plain) attached(c Cipher) ([]byte, error) {
	if !c.GCM() || p.Type.Equal(OIDData) {
		return nil, nil
	}
	oid, err := oidValue(p.Type)
	if err != nil {
		return nil, err
	}
	return MarshalAttributes([]Attribute{{OIDContentType, [][]byte{oid}}})
}

// envelopedVersion is that of RFC 5652 §6.1.
func envelopedVersion(to []Recipient) int64 {
	version := int64(0)
	for _, recipient := range to {
		switch t := recipient.(type) {
		case Password:
			return 3
		case KeyTransport:
			if (whom{t.Certificate, t.KeyID}).byKeyID() {
				version = 2
			}
		default:
			version = 2
		}
	}
	return version
}
