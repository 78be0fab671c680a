package cms

import tags "golang.org/x/crypto/cryptobyte/asn1"

// MarshalKeyPackage gives the DER of AsymmetricKeyPackage (RFC 5958 §2) with these keys,
// each the DER of a OneAsymmetricKey, that is of a PKCS #8 PrivateKeyInfo. It is the
// eContent of a [SignedContent] of type [OIDKeyPackage]. The error is BadValue.
func MarshalKeyPackage(keys ...[]byte) ([]byte, error) {
	if len(keys) == 0 || len(keys) > mostItems {
		return nil, fault(BadValue, "a key package has 1 to %d keys, not %d", mostItems, len(keys))
	}
	for _, key := range keys {
		r := readerOf(key)
		r.privateKey()
		r.end("the private key")
		if !r.ok() {
			return nil, &Error{Kind: BadValue, Detail: "a key of the package is no PKCS #8", Err: *r.err}
		}
	}
	return build(func(b *writer) {
		add(b, tags.SEQUENCE, func(b *writer) {
			for _, key := range keys {
				b.AddBytes(key)
			}
		})
	})
}

// ParseKeyPackage gives the keys of AsymmetricKeyPackage, DER or BER, each as the DER of a
// PKCS #8 PrivateKeyInfo, for crypto/x509 to read.
func ParseKeyPackage(in []byte) ([][]byte, error) {
	r, err := newReader(in)
	if err != nil {
		return nil, err
	}
	var keys [][]byte
	seq := r.in(tags.SEQUENCE, "AsymmetricKeyPackage")
	r.end("AsymmetricKeyPackage")
	seq.each(mostItems, "keys", func(r *reader) { keys = append(keys, r.privateKey()) })
	if seq.ok() && len(keys) == 0 {
		seq.fail("the key package is empty")
	}
	if !seq.ok() {
		return nil, *seq.err
	}
	return keys, nil
}

// privateKey reads a OneAsymmetricKey and gives it whole.
func (r *reader) privateKey() []byte {
	whole := r.element(tags.SEQUENCE, "OneAsymmetricKey")
	if !r.ok() {
		return nil
	}
	inner := reader{rest: whole, err: r.err}
	seq := inner.in(tags.SEQUENCE, "OneAsymmetricKey")
	seq.version("OneAsymmetricKey")
	seq.algorithm(tags.SEQUENCE, "privateKeyAlgorithm")
	seq.octets(tags.OCTET_STRING, "privateKey")
	seq.optional(constructed(0), "attributes")
	if seq.peek(context(1)) {
		seq.octets(context(1), "publicKey")
	}
	seq.end("OneAsymmetricKey")
	return whole
}
