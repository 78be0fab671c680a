package cms

import (
	"bytes"
	"crypto"
	_ "crypto/sha1" // linked for the one caller that asks for it
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/asn1"

	tags "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidSHA1   = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	oidSHA256 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidSHA384 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}
	oidSHA512 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}

	oidMGF1       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8}
	oidPSpecified = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 9}

	derNull = []byte{5, 0}
)

// hashes are those that we know: 1 is for those who ask for it (RFC 5754 §2 for the others).
var hashes = []struct {
	oid  asn1.ObjectIdentifier
	hash crypto.Hash
}{{oidSHA256, crypto.SHA256}, {oidSHA384, crypto.SHA384}, {oidSHA512, crypto.SHA512}, {oidSHA1, crypto.SHA1}}

func hashOID(h crypto.Hash) asn1.ObjectIdentifier {
	for _, known := range hashes {
		if known.hash == h {
			return known.oid
		}
	}
	return nil
}

// hash gives the algorithm's hash function. Parameters are absent or NULL (RFC 5754 §2).
func (a Algorithm) hash() (crypto.Hash, error) {
	for _, known := range hashes {
		if known.oid.Equal(a.OID) {
			if !a.plain() {
				return 0, fault(Malformed, "the hash %v has parameters", a.OID)
			}
			return known.hash, nil
		}
	}
	return 0, fault(Unsupported, "the hash %v is not supported", a.OID)
}

// plain reports that there are no parameters but perhaps NULL.
func (a Algorithm) plain() bool { return len(a.Parameters) == 0 || bytes.Equal(a.Parameters, derNull) }

// ours reports whether we produce something with the hash: never with SHA-1.
func ours(h crypto.Hash) bool { return h == crypto.SHA256 || h == crypto.SHA384 || h == crypto.SHA512 }

func sum(h crypto.Hash, content []byte) []byte {
	d := h.New()
	d.Write(content)
	return d.Sum(nil)
}

// masked is what RSASSA-PSS and RSAES-OAEP have in common: a hash, and that of MGF1.
type masked struct{ hash, mask crypto.Hash }

// masked reads the parameters that both begin with (RFC 4055 §3.1, §4.1). Absent ones are
// SHA-1.
func (r *reader) masked() (m masked, err error) {
	hash, mask := Algorithm{OID: oidSHA1}, Algorithm{OID: oidSHA1}
	if in, ok := r.optional(constructed(0), "hashAlgorithm"); ok {
		hash = in.algorithm(tags.SEQUENCE, "hashAlgorithm")
		in.end("hashAlgorithm")
	}
	if in, ok := r.optional(constructed(1), "maskGenAlgorithm"); ok {
		mgf := in.algorithm(tags.SEQUENCE, "maskGenAlgorithm")
		in.end("maskGenAlgorithm")
		if r.ok() && !mgf.OID.Equal(oidMGF1) {
			return m, fault(Unsupported, "the mask generation function %v is not supported", mgf.OID)
		}
		inner := reader{rest: mgf.Parameters, err: r.err}
		mask = inner.algorithm(tags.SEQUENCE, "MGF1's hash")
		inner.end("MGF1's hash")
	}
	if !r.ok() {
		return m, *r.err
	}
	if m.hash, err = hash.hash(); err == nil {
		m.mask, err = mask.hash()
	}
	return m, err
}

// addMasked writes what reader.masked reads.
func addMasked(b *writer, h crypto.Hash) {
	hash := Algorithm{OID: hashOID(h), Parameters: derNull} // RFC 4055 §2.1's identifiers have NULL
	mgf := func(b *writer) {
		add(b, tags.SEQUENCE, func(b *writer) {
			b.AddASN1ObjectIdentifier(oidMGF1)
			hash.add(b)
		})
	}
	add(b, constructed(0), hash.add)
	add(b, constructed(1), mgf)
}
