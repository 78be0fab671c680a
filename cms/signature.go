package cms

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"

	tags "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidRSA     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidPSS     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
	oidEd25519 = asn1.ObjectIdentifier{1, 3, 101, 112}
)

// schemes are the signature algorithms that name their hash (RFC 5754 §3).
var schemes = []struct {
	oid  asn1.ObjectIdentifier
	kind string
	hash crypto.Hash
}{
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, "RSA", crypto.SHA256},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}, "RSA", crypto.SHA384},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}, "RSA", crypto.SHA512},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5}, "RSA", crypto.SHA1},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}, "ECDSA", crypto.SHA256},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}, "ECDSA", crypto.SHA384},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}, "ECDSA", crypto.SHA512},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}, "ECDSA", crypto.SHA1},
}

// mostRSA is the longest RSA key, in bits, that a signature is verified or a key
// transported with: the time grows with the square.
const mostRSA = 16384

// scheme is a signature algorithm as a SignerInfo names it.
type scheme struct {
	kind string // "RSA", "PSS", "ECDSA", "Ed25519", "none"
	hash crypto.Hash
	salt int // of PSS
}

// schemeOf reads digestAlgorithm and signatureAlgorithm, which must agree on the hash
// (RFC 8933 §3).
func schemeOf(digest, signature Algorithm) (scheme, error) {
	hash, err := digest.hash()
	if err != nil {
		return scheme{}, err
	}
	for _, known := range schemes {
		if known.oid.Equal(signature.OID) {
			if known.hash != hash || !signature.plain() {
				return scheme{}, fault(Malformed, "the signature algorithm %v does not fit the digest algorithm %v", signature.OID, digest.OID)
			}
			return scheme{kind: known.kind, hash: hash}, nil
		}
	}
	switch {
	case signature.OID.Equal(oidRSA) && signature.plain():
		return scheme{kind: "RSA", hash: hash}, nil
	case signature.OID.Equal(oidEd25519) && len(signature.Parameters) == 0:
		return scheme{kind: "Ed25519", hash: hash}, nil
	case signature.OID.Equal(OIDNoSignature) && signature.plain():
		return scheme{kind: "none", hash: hash}, nil
	case signature.OID.Equal(oidPSS):
		return pssOf(hash, signature.Parameters)
	}
	return scheme{}, fault(Unsupported, "the signature algorithm %v is not supported", signature.OID)
}

// pssOf reads RSASSA-PSS-params (RFC 4055 §3.1).
func pssOf(digest crypto.Hash, parameters []byte) (scheme, error) {
	r := readerOf(parameters)
	seq := r.in(tags.SEQUENCE, "RSASSA-PSS-params")
	r.end("RSASSA-PSS-params")
	m, err := seq.masked()
	if err != nil {
		return scheme{}, err
	}
	if m.mask != m.hash {
		return scheme{}, fault(Unsupported, "RSASSA-PSS with another hash in MGF1 is not supported")
	}
	s := scheme{kind: "PSS", hash: m.hash, salt: 20}
	if salt, ok := seq.optional(constructed(2), "saltLength"); ok {
		if !salt.rest.ReadASN1Integer(&s.salt) || !salt.empty() || s.salt < 0 || s.salt > mostRSA/8 {
			seq.fail("saltLength is no length")
		}
	}
	if trailer, ok := seq.optional(constructed(3), "trailerField"); ok {
		var field int
		if !trailer.rest.ReadASN1Integer(&field) || !trailer.empty() || field != 1 {
			seq.fail("trailerField is not 1")
		}
	}
	seq.end("RSASSA-PSS-params")
	if m.hash != digest && seq.ok() {
		seq.fail("RSASSA-PSS has another hash than the digest algorithm")
	}
	return s, *seq.err
}

// algorithm gives signatureAlgorithm as we write it.
func (s scheme) algorithm() (Algorithm, error) {
	switch s.kind {
	case "Ed25519":
		return Algorithm{OID: oidEd25519}, nil // RFC 8419 §2.1
	case "none":
		return Algorithm{OID: OIDNoSignature, Parameters: derNull}, nil // RFC 5272 App. C.1
	case "PSS":
		parameters, err := build(func(b *writer) {
			add(b, tags.SEQUENCE, func(b *writer) {
				addMasked(b, s.hash)
				add(b, constructed(2), func(b *writer) { b.AddASN1Int64(int64(s.salt)) })
			})
		})
		return Algorithm{OID: oidPSS, Parameters: parameters}, err
	}
	for _, known := range schemes {
		if known.kind == s.kind && known.hash == s.hash {
			a := Algorithm{OID: known.oid}
			if s.kind == "RSA" {
				a.Parameters = derNull // RFC 5754 §3.2
			}
			return a, nil
		}
	}
	return Algorithm{}, fault(BadValue, "no signature algorithm has this hash")
}

// verify checks the signature over the message.
func (s scheme) verify(key crypto.PublicKey, message, signature []byte) error {
	valid := false
	switch key := key.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() > mostRSA {
			return fault(Unsupported, "the RSA key has more than %d bits", mostRSA)
		}
		if s.kind == "RSA" {
			valid = rsa.VerifyPKCS1v15(key, s.hash, sum(s.hash, message), signature) == nil
		} else if s.kind == "PSS" {
			valid = rsa.VerifyPSS(key, s.hash, sum(s.hash, message), signature, &rsa.PSSOptions{SaltLength: s.saltOption()}) == nil
		}
	case *ecdsa.PublicKey:
		valid = s.kind == "ECDSA" && ecdsa.VerifyASN1(key, sum(s.hash, message), signature)
	case ed25519.PublicKey:
		valid = s.kind == "Ed25519" && len(key) == ed25519.PublicKeySize && ed25519.Verify(key, message, signature)
	default:
		return fault(BadValue, "a %T verifies no signature", key)
	}
	if !valid {
		return fault(Unverified, "the signature is not by this key over this content")
	}
	return nil
}

// saltOption gives the salt's length as crypto/rsa wants it, where 0 means any.
func (s scheme) saltOption() int {
	if s.salt == s.hash.Size() {
		return rsa.PSSSaltLengthEqualsHash
	}
	return s.salt
}

// none checks what stands in a signature's place (RFC 5272 App. C.1).
func (s scheme) none(message, value []byte) error {
	if !hmac.Equal(sum(s.hash, message), value) {
		return fault(Unverified, "the digest in the signature's place is not the content's")
	}
	return nil
}

// schemeFor chooses for a key of ours.
func (s Signing) scheme() (scheme, error) {
	fits, kind := crypto.SHA256, "none"
	if !s.NoSignature {
		if s.Key == nil {
			return scheme{}, fault(BadValue, "there is no key to sign with")
		}
		switch key := s.Key.Public().(type) {
		case *rsa.PublicKey:
			kind = "RSA"
			if s.PSS {
				kind = "PSS"
			}
			if key.N.BitLen() > 4096 {
				fits = crypto.SHA384
			}
		case *ecdsa.PublicKey:
			kind = "ECDSA"
			if bits := key.Params().BitSize; bits > 384 {
				fits = crypto.SHA512
			} else if bits > 256 {
				fits = crypto.SHA384
			}
		case ed25519.PublicKey:
			kind, fits = "Ed25519", crypto.SHA512 // RFC 8419 §2.3
			if s.Hash != 0 && s.Hash != fits {
				return scheme{}, fault(BadValue, "Ed25519 goes with SHA-512 only")
			}
		default:
			return scheme{}, fault(BadValue, "a %T signs nothing", key)
		}
	}
	if s.Hash != 0 {
		fits = s.Hash
	}
	if !ours(fits) {
		return scheme{}, fault(BadValue, "SHA-256, SHA-384 and SHA-512 sign, not %v", fits)
	}
	return scheme{kind: kind, hash: fits, salt: fits.Size()}, nil
}

// sign makes the signature's octets.
func (s scheme) sign(key crypto.Signer, message []byte) ([]byte, error) {
	var signature []byte
	var err error
	switch s.kind {
	case "none":
		return sum(s.hash, message), nil
	case "Ed25519":
		signature, err = key.Sign(rand.Reader, message, crypto.Hash(0))
	case "PSS":
		signature, err = key.Sign(rand.Reader, sum(s.hash, message), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: s.hash})
	default:
		signature, err = key.Sign(rand.Reader, sum(s.hash, message), s.hash)
	}
	if err != nil {
		return nil, &Error{Kind: BadValue, Detail: "the key did not sign", Err: err}
	}
	return signature, nil
}
