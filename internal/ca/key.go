package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// keyKinds are the words for kinds of keys in profiles; "rsa" is any RSA key
// of 2048 to 4096 bits.
var keyKinds = []string{"ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa", "ed25519"}

// keyKind gives the word for a public key and refuses weak ones, with an
// [*Error] of kind [BadKey].
func keyKind(key crypto.PublicKey) (string, error) {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		switch name := k.Curve.Params().Name; name {
		case "P-256", "P-384", "P-521":
			return "ecdsa-p" + strings.TrimPrefix(name, "P-"), nil
		default:
			return "", Errorf(BadKey, "the curve %s is not taken; use P-256", name)
		}
	case ed25519.PublicKey:
		return "ed25519", nil
	case *rsa.PublicKey:
		return "rsa", checkRSA(k)
	}
	return "", Errorf(BadKey, "keys of this kind are not taken; use ECDSA P-256, RSA 2048 or Ed25519")
}

// smallPrimes is the product of the primes below 752, as a sieve for moduli
// that a broken generator made.
var smallPrimes = func() *big.Int {
	product := big.NewInt(1)
	for n := int64(3); n < 752; n += 2 {
		if big.NewInt(n).ProbablyPrime(1) {
			product.Mul(product, big.NewInt(n))
		}
	}
	return product
}()

func checkRSA(k *rsa.PublicKey) error {
	bits := k.N.BitLen()
	switch {
	case bits < 2048 || bits > 4096 || bits%8 != 0:
		return Errorf(BadKey, "RSA keys have 2048 to 4096 bits, a multiple of 8; this one has %d", bits)
	case k.E < 65537 || k.E%2 == 0:
		return Errorf(BadKey, "the RSA exponent is %d; it must be 65537 or a larger odd number", k.E)
	case k.N.Bit(0) == 0 || new(big.Int).GCD(nil, nil, k.N, smallPrimes).Cmp(big.NewInt(1)) != 0:
		return Errorf(BadKey, "the RSA modulus has a small factor; make a new key with another program")
	case closePrimes(k.N):
		return Errorf(BadKey, "the RSA primes are too close together; make a new key with another program")
	}
	return nil
}

// closePrimes tries a hundred rounds of Fermat's factorisation.
func closePrimes(n *big.Int) bool {
	a := new(big.Int).Sqrt(n)
	if new(big.Int).Mul(a, a).Cmp(n) == 0 {
		return true
	}
	one, b2, b := big.NewInt(1), new(big.Int), new(big.Int)
	for range 100 {
		a.Add(a, one)
		b2.Sub(b2.Mul(a, a), n)
		b.Sqrt(b2)
		if new(big.Int).Mul(b, b).Cmp(b2) == 0 {
			return true
		}
	}
	return false
}

// admitKey checks a key against the profile.
func (p *Profile) admitKey(key crypto.PublicKey) error {
	kind, err := keyKind(key)
	if err != nil {
		return err
	}
	if !slices.Contains(p.Keys, kind) {
		return Errorf(BadKey, "profile %s takes keys of the kinds %s; this one is %s", p.Name, strings.Join(p.Keys, ", "), kind)
	}
	return nil
}

// KeyHash is the SHA-256 of a key's SubjectPublicKeyInfo: how the ledger knows
// a key.
func KeyHash(key crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return sum[:], nil
}
