// Package keys keeps private keys in encrypted files and hands out signers
// that use them and cannot be asked for them. It also seals small secrets that
// live in a database.
//
// A key directory holds
//
//	identity         the age identity that opens the rest, under a secret
//	unlock           that secret, if none was configured
//	NAME.key.age     a PKCS#8 private key
//	NAME.seal.age    the key of a [Sealer]
//	NAME.*.retired   what was put out of use; nothing is ever deleted
//
// Every file is an age file, so that the standard tool opens them in an
// emergency: first identity, then, with what is in it, the others.
//
// What the secret protects from depends on where it is. A passphrase that
// somebody types protects the keys from whoever has the disk. A secret in a
// file or a systemd credential protects from whoever has only a copy of the
// directory. The unlock file that is made when nothing is configured protects
// backups that leave it out, and nothing else: whoever can read the whole
// directory has the keys. Nothing here protects from the process's own user
// while the process runs.
//
// The room must not know what the keys are for: no certificates, no SQL, no
// network.
package keys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"regexp"
)

// The errors of this package, each wrapped with what happened and what to do.
var (
	ErrLocked      = errors.New("the key directory cannot be unlocked")
	ErrExists      = errors.New("there is a key of that name already")
	ErrNotFound    = errors.New("there is no key of that name")
	ErrDamaged     = errors.New("the file is damaged")
	ErrName        = errors.New("the name is not usable for a key")
	ErrAlgorithm   = errors.New("the algorithm is not supported")
	ErrPermissions = errors.New("others can read or change it")
	ErrSecret      = errors.New("the secret cannot be read")
	// ErrNoFile comes with ErrSecret: a pipe, a directory or a device was named.
	ErrNoFile = errors.New("is no regular file")
	// ErrNoCredentials comes with ErrSecret: systemd gave this process none.
	ErrNoCredentials = errors.New("there are no systemd credentials here")
	ErrSealed        = errors.New("the sealed value cannot be opened: it was changed, moved, or sealed under another key")
)

// Algorithm is a kind of key.
type Algorithm string

// The algorithms that [Store.Generate] knows.
const (
	ECDSAP256 Algorithm = "ecdsa-p256"
	ECDSAP384 Algorithm = "ecdsa-p384"
	ECDSAP521 Algorithm = "ecdsa-p521"
	RSA2048   Algorithm = "rsa-2048"
	RSA3072   Algorithm = "rsa-3072"
	RSA4096   Algorithm = "rsa-4096"
	Ed25519   Algorithm = "ed25519"
)

// Algorithms gives all of them, the recommended one first.
func Algorithms() []Algorithm {
	return []Algorithm{ECDSAP256, ECDSAP384, ECDSAP521, Ed25519, RSA2048, RSA3072, RSA4096}
}

// generate makes a key.
func generate(a Algorithm) (crypto.Signer, error) {
	switch a {
	case ECDSAP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case ECDSAP384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case ECDSAP521:
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("%w: %q; choose one of %q", ErrAlgorithm, a, Algorithms())
}

// signer uses a key and does not give it away: there is no way through it to
// the private key, not by a type assertion either.
type signer struct {
	sign   func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error)
	public crypto.PublicKey
}

// Public gives the public key.
func (s *signer) Public() crypto.PublicKey { return s.public }

// Sign signs as the key's algorithm does; see [crypto.Signer].
func (s *signer) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.sign(random, digest, opts)
}

// String says nothing of the private key.
func (s *signer) String() string { return fmt.Sprintf("signer of a %T", s.public) }

// GoString is String.
func (s *signer) GoString() string { return s.String() }

// parseKey reads a PKCS#8 key of one of our algorithms.
func parseKey(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("it is not a PKCS#8 private key") // the parser's text could quote it
	}
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		switch key.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return key, nil
		}
		return nil, fmt.Errorf("%w: the curve %s", ErrAlgorithm, key.Curve.Params().Name)
	case *rsa.PrivateKey:
		if bits := key.N.BitLen(); bits < 2048 || bits > 8192 {
			return nil, fmt.Errorf("%w: an RSA key of %d bits; 2048 to 8192 are", ErrAlgorithm, bits)
		}
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	}
	return nil, fmt.Errorf("%w: a key of type %T", ErrAlgorithm, key)
}

// Names are file names and appear in logs, so they are plain.
var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

func checkName(ctx context.Context, name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("%w: %.80q; use up to 64 of a-z, 0-9, _ and -, beginning with a letter or digit", ErrName, name)
	}
	return ctx.Err()
}
