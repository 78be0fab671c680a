package cms

import tags "golang.org/x/crypto/cryptobyte/asn1"

// seal makes KEKRecipientInfo (RFC 5652 §6.2.3).
func (k KeyEncryption) seal(key []byte) ([]byte, error) {
	oid, ok := wrapOIDs[len(k.Key)*8]
	if !ok {
		return nil, fault(BadValue, "the key-encryption key has %d octets, not 16, 24 or 32", len(k.Key))
	}
	if len(k.ID) == 0 {
		return nil, fault(BadValue, "the key-encryption key has no identifier")
	}
	wrapped, err := wrap(k.Key, key)
	if err != nil {
		return nil, err
	}
	return build(func(b *writer) {
		add(b, constructed(2), func(b *writer) {
			b.AddASN1Int64(4)
			add(b, tags.SEQUENCE, func(b *writer) { b.AddASN1OctetString(k.ID) })
			Algorithm{OID: oid}.add(b)
			b.AddASN1OctetString(wrapped)
		})
	})
}

// openEncryption unwraps the content key with the shared key.
func (i *RecipientInfo) openEncryption(key any) ([]byte, error) {
	secret, ok := key.(Secret)
	if !ok {
		return nil, fault(BadValue, "the key was wrapped, which a %T does not unwrap", key)
	}
	bits, err := wrapBits(i.Algorithm)
	if err != nil {
		return nil, err
	}
	if bits != len(secret)*8 {
		return nil, undecrypted()
	}
	return unwrap(secret, i.encrypted)
}
