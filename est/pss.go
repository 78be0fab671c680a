package est

import (
	"bytes"
	"crypto"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// pssSchemes lists RSASSA-PSS with one hash for all and a salt as long as it, which is
// what RFC 4055 §3.1 recommends.
func pssSchemes() []scheme {
	var all []scheme
	for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		digest := identifier(hashes[hash], null)
		var b cryptobyte.Builder
		b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
			explicit := func(n int, write func(b *cryptobyte.Builder)) {
				b.AddASN1(tag.Tag(n).ContextSpecific().Constructed(), write)
			}
			explicit(0, func(b *cryptobyte.Builder) { b.AddBytes(digest) })
			explicit(1, func(b *cryptobyte.Builder) { b.AddBytes(identifier(oidMGF1, digest)) })
			explicit(2, func(b *cryptobyte.Builder) { b.AddASN1Int64(int64(hash.Size())) })
		})
		all = append(all, scheme{OIDRSA, hash, true, hash.Size(), identifier(OIDPSS, b.BytesOrPanic())})
	}
	return all
}

// readPSS reads RSASSA-PSS-params (RFC 4055 §3.1): the hash must be named, as its default
// is SHA-1, and be that of the mask as well. The salt may have any length: OpenSSL's is
// as long as the key has room for.
func readPSS(parameters []byte) (scheme, bool) {
	in, ok := whole(parameters, tag.SEQUENCE)
	explicit := func(n int) tag.Tag { return tag.Tag(n).ContextSpecific().Constructed() }
	var digest, mask, salt, trailer cryptobyte.String
	var salted, trailed bool
	ok = ok && in.ReadASN1(&digest, explicit(0)) && in.ReadASN1(&mask, explicit(1)) &&
		in.ReadOptionalASN1(&salt, &salted, explicit(2)) && in.ReadOptionalASN1(&trailer, &trailed, explicit(3)) && in.Empty()
	length, field := 20, 1 // the defaults
	if ok && salted {
		ok = salt.ReadASN1Integer(&length) && salt.Empty()
	}
	if ok && trailed {
		ok = trailer.ReadASN1Integer(&field) && trailer.Empty()
	}
	if !ok || field != 1 || length < 1 || length > rsaMax/8 {
		return scheme{}, false
	}
	for _, s := range pssSchemes() {
		if sameDigest(digest, s.hash) && sameMask(mask, s.hash) {
			s.salt = length
			return s, true
		}
	}
	return scheme{}, false
}

// sameDigest tells whether an AlgorithmIdentifier names a hash, with NULL or without.
func sameDigest(algorithm []byte, hash crypto.Hash) bool {
	return bytes.Equal(algorithm, identifier(hashes[hash], null)) || bytes.Equal(algorithm, identifier(hashes[hash], nil))
}

// sameMask tells whether an AlgorithmIdentifier names MGF1 with a hash.
func sameMask(algorithm []byte, hash crypto.Hash) bool {
	in, ok := whole(algorithm, tag.SEQUENCE)
	kind, parameters, good := readIdentifier(in)
	return ok && good && kind.Equal(oidMGF1) && sameDigest(parameters, hash)
}
