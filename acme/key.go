package acme

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
)

// The bounds of RSA keys, in bits.
const (
	minRSABits = 2048
	maxRSABits = 4096
)

// Key is a public key that requests can be signed with: P-256, P-384, P-521, Ed25519,
// or RSA of 2048 to 4096 bits. It is immutable.
type Key struct {
	public    crypto.PublicKey // *ecdsa.PublicKey, *rsa.PublicKey or ed25519.PublicKey
	algorithm string
	canonical []byte // RFC 7638 §3: required members, sorted, no white space
}

// NewKey wraps a public key of the standard library. The error is a *Problem of type
// badPublicKey that says what is wrong with the key.
func NewKey(public crypto.PublicKey) (*Key, error) {
	k := &Key{public: public}
	switch pub := public.(type) {
	case *ecdsa.PublicKey:
		c, ok := curveOf(pub.Curve)
		if !ok {
			return nil, badKey("the EC key is not on P-256, P-384 or P-521")
		}
		point, err := pub.Bytes()
		if err != nil {
			return nil, badKey("the EC key is not a point on %s", c.name)
		}
		k.algorithm = c.alg
		k.canonical = fmt.Appendf(nil, `{"crv":%q,"kty":"EC","x":%q,"y":%q}`,
			c.name, encode64(point[1:1+c.size]), encode64(point[1+c.size:]))
	case ed25519.PublicKey:
		if len(pub) != ed25519.PublicKeySize {
			return nil, badKey("an Ed25519 key has %d octets, not %d", ed25519.PublicKeySize, len(pub))
		}
		k.algorithm = EdDSA
		k.canonical = fmt.Appendf(nil, `{"crv":"Ed25519","kty":"OKP","x":%q}`, encode64(pub))
	case *rsa.PublicKey:
		if err := checkRSA(pub); err != nil {
			return nil, err
		}
		k.algorithm = RS256
		k.canonical = fmt.Appendf(nil, `{"e":%q,"kty":"RSA","n":%q}`,
			encode64(big.NewInt(int64(pub.E)).Bytes()), encode64(pub.N.Bytes()))
	default:
		return nil, badKey("keys of type %T are not supported; use EC, Ed25519 or RSA", public)
	}
	return k, nil
}

func badKey(format string, args ...any) *Problem {
	return NewProblem(TypeBadPublicKey, format, args...)
}

func checkRSA(pub *rsa.PublicKey) error {
	if pub.N == nil {
		return badKey("the RSA key has no modulus")
	}
	bits := pub.N.BitLen()
	switch {
	case pub.N.Sign() <= 0 || bits < minRSABits || bits > maxRSABits:
		return badKey("the RSA modulus has %d bits; use %d to %d", bits, minRSABits, maxRSABits)
	case pub.N.Bit(0) == 0:
		return badKey("the RSA modulus is even")
	case pub.E < 65537 || pub.E%2 == 0 || int64(pub.E) > 1<<31-1:
		return badKey("the RSA exponent must be odd, at least 65537 and less than 2^31")
	}
	return nil
}

type curve struct {
	name, alg string
	size      int // of a coordinate, in octets
	curve     elliptic.Curve
}

var curves = []curve{
	{"P-256", ES256, 32, elliptic.P256()},
	{"P-384", ES384, 48, elliptic.P384()},
	{"P-521", ES512, 66, elliptic.P521()},
}

func curveOf(c elliptic.Curve) (curve, bool) {
	for _, known := range curves {
		if known.curve == c {
			return known, true
		}
	}
	return curve{}, false
}

// jwk has the members of RFC 7517 and RFC 7518 §6 that public keys need.
type jwk struct {
	kty, crv, use string
	x, y, n, e    []byte
}

// ParseKey parses a JWK (RFC 7517). A key that carries private members is refused: its
// owner must learn that it is no longer secret. Members that do not matter here are
// ignored (RFC 7517 §4), those that do have one accepted spelling. Errors are *Problem
// of type badPublicKey, or malformed when it is not a JWK at all.
func ParseKey(data []byte) (*Key, error) {
	if len(data) > MaxRequest {
		return nil, Malformed("the JWK is too long")
	}
	var raw jwk
	err := eachMember(data, func(name string, value []byte) (err error) {
		switch name {
		case "kty":
			raw.kty, err = unquote(value)
		case "crv":
			raw.crv, err = unquote(value)
		case "use":
			raw.use, err = unquote(value)
		case "x":
			raw.x, err = unquote64(value)
		case "y":
			raw.y, err = unquote64(value)
		case "n":
			raw.n, err = unquote64(value)
		case "e":
			raw.e, err = unquote64(value)
		case "d", "p", "q", "dp", "dq", "qi", "oth", "k":
			return fmt.Errorf("has the private member %q: send the public key only, and replace this key, which is now known to others", name)
		}
		if err != nil {
			return fmt.Errorf("has a member %q that %w", name, err)
		}
		return nil
	})
	if err != nil {
		return nil, Malformed("the JWK %v", err)
	}
	if raw.use != "" && raw.use != "sig" {
		return nil, badKey("the JWK's \"use\" is %q, not \"sig\"", raw.use)
	}
	return raw.key()
}

func (raw *jwk) key() (*Key, error) {
	switch raw.kty {
	case "EC":
		return raw.ecKey()
	case "OKP":
		if raw.crv != "Ed25519" {
			return nil, badKey("of the OKP keys only Ed25519 is supported, not %q", raw.crv)
		}
		return NewKey(ed25519.PublicKey(raw.x))
	case "RSA":
		return raw.rsaKey()
	case "":
		return nil, Malformed("the JWK has no \"kty\"")
	default:
		return nil, badKey("keys of type %q are not supported; use EC, OKP or RSA", raw.kty)
	}
}

func (raw *jwk) ecKey() (*Key, error) {
	for _, c := range curves {
		if c.name != raw.crv {
			continue
		}
		// RFC 7518 §6.2.1.2: the full size of a coordinate, always.
		if len(raw.x) != c.size || len(raw.y) != c.size {
			return nil, badKey("the coordinates of a key on %s have %d octets each", c.name, c.size)
		}
		point := append(append([]byte{4}, raw.x...), raw.y...)
		pub, err := ecdsa.ParseUncompressedPublicKey(c.curve, point)
		if err != nil {
			return nil, badKey("the coordinates are not a point on %s", c.name)
		}
		return NewKey(pub)
	}
	return nil, badKey("the curve %q is not supported; use P-256, P-384 or P-521", raw.crv)
}

func (raw *jwk) rsaKey() (*Key, error) {
	// RFC 7518 §2, Base64urlUInt: as few octets as possible.
	if len(raw.n) == 0 || raw.n[0] == 0 || len(raw.e) == 0 || raw.e[0] == 0 {
		return nil, badKey("the RSA modulus and exponent must be there and begin with a non-zero octet")
	}
	if len(raw.e) > 4 || len(raw.n) > maxRSABits/8 {
		return nil, badKey("the RSA modulus has more than %d bits or the exponent more than 31", maxRSABits)
	}
	e := new(big.Int).SetBytes(raw.e).Int64()
	if e > 1<<31-1 {
		return nil, badKey("the RSA exponent has more than 31 bits")
	}
	return NewKey(&rsa.PublicKey{N: new(big.Int).SetBytes(raw.n), E: int(e)})
}

// Algorithm is the one "alg" that signatures of this key have.
func (k *Key) Algorithm() string { return k.algorithm }

// Public returns an *ecdsa.PublicKey, *rsa.PublicKey or ed25519.PublicKey.
func (k *Key) Public() crypto.PublicKey { return k.public }

// Thumbprint is the base64url SHA-256 of the canonical JWK (RFC 7638 §3).
func (k *Key) Thumbprint() string {
	sum := sha256.Sum256(k.canonical)
	return encode64(sum[:])
}

// Equal says whether both are the same key.
func (k *Key) Equal(other *Key) bool {
	return k != nil && other != nil && bytes.Equal(k.canonical, other.canonical)
}

// MarshalJSON gives the canonical JWK of RFC 7638 §3.
func (k *Key) MarshalJSON() ([]byte, error) {
	if len(k.canonical) == 0 {
		return nil, errors.New("acme: an empty Key has no JSON form")
	}
	return bytes.Clone(k.canonical), nil
}

// UnmarshalJSON is ParseKey.
func (k *Key) UnmarshalJSON(data []byte) error {
	parsed, err := ParseKey(data)
	if err == nil {
		*k = *parsed
	}
	return err
}

var (
	_ json.Marshaler   = (*Key)(nil)
	_ json.Unmarshaler = (*Key)(nil)
)
