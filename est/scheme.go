package est

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // for crypto.SHA384 and crypto.SHA512
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// scheme is a signature algorithm (RFC 5280 §4.1.1.2).
type scheme struct {
	key        asn1.ObjectIdentifier // of the public key's algorithm
	hash       crypto.Hash           // 0 for Ed25519
	pss        bool
	salt       int    // of PSS, in bytes
	identifier []byte // AlgorithmIdentifier, DER
}

// The OIDs of key types and signature algorithms that this package knows.
var (
	OIDRSA     = oid(1, 2, 840, 113549, 1, 1, 1)  // rsaEncryption, RFC 8017
	OIDEC      = oid(1, 2, 840, 10045, 2, 1)      // id-ecPublicKey, RFC 5480
	OIDEd25519 = oid(1, 3, 101, 112)              // RFC 8410; key and signature
	OIDX25519  = oid(1, 3, 101, 110)              // RFC 8410
	OIDPSS     = oid(1, 2, 840, 113549, 1, 1, 10) // id-RSASSA-PSS, RFC 4055

	OIDSHA256WithRSA   = oid(1, 2, 840, 113549, 1, 1, 11)
	OIDSHA384WithRSA   = oid(1, 2, 840, 113549, 1, 1, 12)
	OIDSHA512WithRSA   = oid(1, 2, 840, 113549, 1, 1, 13)
	OIDECDSAWithSHA256 = oid(1, 2, 840, 10045, 4, 3, 2)
	OIDECDSAWithSHA384 = oid(1, 2, 840, 10045, 4, 3, 3)
	OIDECDSAWithSHA512 = oid(1, 2, 840, 10045, 4, 3, 4)

	OIDSHA256 = oid(2, 16, 840, 1, 101, 3, 4, 2, 1)
	OIDSHA384 = oid(2, 16, 840, 1, 101, 3, 4, 2, 2)
	OIDSHA512 = oid(2, 16, 840, 1, 101, 3, 4, 2, 3)

	OIDP256 = oid(1, 2, 840, 10045, 3, 1, 7)
	OIDP384 = oid(1, 3, 132, 0, 34)
	OIDP521 = oid(1, 3, 132, 0, 35)

	oidMGF1 = oid(1, 2, 840, 113549, 1, 1, 8)
)

var (
	null        = []byte{5, 0}
	noSignature = identifier(oid(1, 3, 6, 1, 5, 5, 7, 6, 2), null)
	hashes      = map[crypto.Hash]asn1.ObjectIdentifier{crypto.SHA256: OIDSHA256, crypto.SHA384: OIDSHA384, crypto.SHA512: OIDSHA512}

	schemes = append([]scheme{
		{OIDEC, crypto.SHA256, false, 0, identifier(OIDECDSAWithSHA256, nil)},
		{OIDEC, crypto.SHA384, false, 0, identifier(OIDECDSAWithSHA384, nil)},
		{OIDEC, crypto.SHA512, false, 0, identifier(OIDECDSAWithSHA512, nil)},
		{OIDRSA, crypto.SHA256, false, 0, identifier(OIDSHA256WithRSA, null)},
		{OIDRSA, crypto.SHA384, false, 0, identifier(OIDSHA384WithRSA, null)},
		{OIDRSA, crypto.SHA512, false, 0, identifier(OIDSHA512WithRSA, null)},
		{OIDEd25519, 0, false, 0, identifier(OIDEd25519, nil)},
	}, pssSchemes()...)
)

// identifier encodes an AlgorithmIdentifier of constants.
func identifier(algorithm asn1.ObjectIdentifier, parameters []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(algorithm)
		b.AddBytes(parameters)
	})
	return b.BytesOrPanic()
}

// keyType gives the OID of a public key's type, nil if it cannot sign here.
func keyType(key crypto.PublicKey) asn1.ObjectIdentifier {
	switch key.(type) {
	case *ecdsa.PublicKey:
		return OIDEC
	case *rsa.PublicKey:
		return OIDRSA
	case ed25519.PublicKey:
		return OIDEd25519
	}
	return nil
}

// schemeFor chooses the algorithm for a key; with hash 0 what fits it.
func schemeFor(key crypto.PublicKey, hash crypto.Hash, pss bool) (scheme, error) {
	kind := keyType(key)
	switch k := key.(type) {
	case ed25519.PublicKey:
		hash = 0
	case *ecdsa.PublicKey:
		if hash == 0 {
			hash = curveHash(k.Curve)
		}
	default:
		if hash == 0 {
			hash = crypto.SHA256
		}
	}
	for _, s := range schemes {
		if kind != nil && s.key.Equal(kind) && s.hash == hash && s.pss == pss {
			return s, nil
		}
	}
	return scheme{}, fault(Unsupported, "a request cannot be signed with a %T and %v", key, hash)
}

func curveHash(curve elliptic.Curve) crypto.Hash {
	switch curve {
	case elliptic.P384():
		return crypto.SHA384
	case elliptic.P521():
		return crypto.SHA512
	}
	return crypto.SHA256
}

// schemeOf finds the algorithm that an AlgorithmIdentifier names. RSA's NULL may be
// missing, and ECDSA's be there: both occur.
func schemeOf(algorithm []byte) (scheme, bool) {
	in, ok := whole(algorithm, tag.SEQUENCE)
	kind, parameters, good := readIdentifier(in)
	switch {
	case !ok || !good:
		return scheme{}, false
	case kind.Equal(OIDPSS):
		return readPSS(parameters)
	case parameters != nil && !bytes.Equal(parameters, null):
		return scheme{}, false
	}
	for _, s := range schemes {
		if bytes.Equal(identifier(kind, nil), s.identifier) || bytes.Equal(identifier(kind, null), s.identifier) {
			return s, true
		}
	}
	return scheme{}, false
}

// sign makes a signature over a message.
func (s scheme) sign(key crypto.Signer, message []byte) ([]byte, error) {
	var options crypto.SignerOpts = s.hash
	if s.pss {
		options = &rsa.PSSOptions{SaltLength: s.salt, Hash: s.hash}
	}
	signature, err := key.Sign(rand.Reader, s.digest(message), options)
	if err != nil {
		return nil, because(Unsupported, "the key did not sign the request", err)
	}
	return signature, nil
}

// digest gives what the algorithm signs of a message.
func (s scheme) digest(message []byte) []byte {
	if s.hash == 0 {
		return message
	}
	h := s.hash.New()
	h.Write(message)
	return h.Sum(nil)
}

// rsaMax bounds the modulus that a stranger may have us compute with, as crypto/tls does.
const rsaMax = 8192

// verify checks a signature over a message.
func (s scheme) verify(key crypto.PublicKey, message, signature []byte) bool {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(k, s.digest(message), signature)
	case ed25519.PublicKey:
		return ed25519.Verify(k, message, signature)
	case *rsa.PublicKey:
		if k.N.BitLen() > rsaMax {
			return false
		}
		if s.pss {
			return rsa.VerifyPSS(k, s.hash, s.digest(message), signature, &rsa.PSSOptions{SaltLength: s.salt}) == nil
		}
		return rsa.VerifyPKCS1v15(k, s.hash, s.digest(message), signature) == nil
	}
	return false
}

// noSignatureValue is what stands in the place of a signature (RFC 5272 App. C.1).
func noSignatureValue(message []byte) []byte {
	digest := sha256.Sum256(message)
	return append([]byte{byte(tag.OCTET_STRING), byte(len(digest))}, digest[:]...)
}
