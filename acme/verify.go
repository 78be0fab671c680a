package acme

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"math/big"
)

// Verify checks the signature with key: the account's, or the JWS's own JWK where the
// operation allows that. The algorithm must be the one of the key (type and curve),
// otherwise the error is a badPublicKey Problem (RFC 8555 §6.2); a signature that does
// not verify is a malformed one.
func (j *JWS) Verify(key *Key) error {
	if key == nil || key.Algorithm() != j.Algorithm {
		return NewProblem(TypeBadPublicKey, "the algorithm %q does not fit the key", j.Algorithm)
	}
	ok := false
	switch pub := key.public.(type) {
	case *ecdsa.PublicKey:
		ok = verifyECDSA(pub, j.signed, j.signature)
	case *rsa.PublicKey:
		sum := sha256.Sum256(j.signed)
		ok = rsa.VerifyPKCS1v15(pub, crypto.SHA256, sum[:], j.signature) == nil
	case ed25519.PublicKey:
		ok = ed25519.Verify(pub, j.signed, j.signature)
	}
	if !ok {
		return Malformed("the JWS's signature does not verify with the key; was the body changed, or signed with another key?")
	}
	return nil
}

// verifyECDSA checks R || S, each of the curve's length (RFC 7518 §3.4).
func verifyECDSA(pub *ecdsa.PublicKey, signed, signature []byte) bool {
	size := (pub.Curve.Params().BitSize + 7) / 8
	if len(signature) != 2*size {
		return false
	}
	r := new(big.Int).SetBytes(signature[:size])
	s := new(big.Int).SetBytes(signature[size:])
	return ecdsa.Verify(pub, curveDigest(pub.Curve, signed), r, s)
}

// curveDigest hashes with the function that RFC 7518 §3.4 ties to the curve.
func curveDigest(curve elliptic.Curve, data []byte) []byte {
	switch curve {
	case elliptic.P384():
		sum := sha512.Sum384(data)
		return sum[:]
	case elliptic.P521():
		sum := sha512.Sum512(data)
		return sum[:]
	default:
		sum := sha256.Sum256(data)
		return sum[:]
	}
}
