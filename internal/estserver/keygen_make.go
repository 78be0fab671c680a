package estserver

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"math/big"
	"runtime"

	"chancery/est"
	"chancery/internal/ca"
)

// rsaBits is the size of the RSA keys that are made and asked for: as strong as P-256
// (NIST SP 800-57 part 1, table 2).
const rsaBits = 3072

// primes bounds how many RSA keys are made at once: each takes a processor for a
// second or so, and the other processors are to serve the others.
var primes = make(chan struct{}, max(1, runtime.NumCPU()/2))

// wantedKey gives the kind of key that is made, and asked for, under a profile: the
// first that it takes; sole tells that it takes no other.
func wantedKey(d ca.Demands) (kind string, sole bool) {
	return d.Keys[0], len(d.Keys) == 1
}

// madeKey is a private key that was made for a client. It is in memory alone, until
// wipe.
type madeKey struct {
	public crypto.PublicKey
	pkcs8  []byte // PrivateKeyInfo (RFC 5958 §2), never PKCS#1 or SEC1
}

// makeKey makes a key of the kind, and for RSA waits for its turn as long as ctx
// lasts. Errors are of kind [ca.Unavailable], or [ca.Internal] for a kind that no
// profile has.
func makeKey(ctx context.Context, kind string) (*madeKey, error) {
	if kind == "rsa" {
		return makeRSA(ctx)
	}
	spec, err := est.ParseKeySpec(kind)
	if err != nil {
		return nil, ca.Errorf(ca.Internal, "%v", err)
	}
	key, err := spec.NewKey()
	if err != nil {
		return nil, ca.Errorf(ca.Internal, "%v", err)
	}
	return packed(key)
}

// makeRSA makes the key beside the request: the search for primes cannot be stopped,
// but who hangs up need not wait for it, and its place stays taken until it ends.
func makeRSA(ctx context.Context) (*madeKey, error) {
	select {
	case primes <- struct{}{}:
	case <-ctx.Done():
		return nil, ca.Errorf(ca.Unavailable, "too many RSA keys are being made; come back later")
	}
	type result struct {
		key *madeKey
		err error
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-primes }()
		key, err := rsa.GenerateKey(rand.Reader, rsaBits)
		if err != nil {
			done <- result{err: err}
			return
		}
		made, err := packed(key)
		done <- result{made, err}
	}()
	select {
	case r := <-done:
		return r.key, r.err
	case <-ctx.Done():
		go func() { (<-done).key.wipe() }()
		return nil, ca.Errorf(ca.Unavailable, "the RSA key was not made in time; come back later")
	}
}

// packed encodes the key and forgets its numbers.
func packed(key crypto.Signer) (*madeKey, error) {
	defer forget(key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	made := &madeKey{pkcs8: der, public: key.Public()}
	if public, ok := made.public.(ed25519.PublicKey); ok {
		made.public = append(ed25519.PublicKey(nil), public...)
	}
	return made, nil
}

// wipe overwrites the key's octets. Copies that the runtime or crypto/x509 made are
// beyond reach and go with the garbage; nothing of them is ever written.
func (k *madeKey) wipe() {
	if k != nil {
		clear(k.pkcs8)
	}
}

// forget overwrites what Go shows of a private key's numbers.
func forget(key crypto.Signer) {
	var numbers []*big.Int
	switch k := key.(type) {
	case ed25519.PrivateKey:
		clear(k[:ed25519.SeedSize])
	case *ecdsa.PrivateKey:
		//lint:ignore SA1019 there is no other way to overwrite it
		numbers = []*big.Int{k.D}
	case *rsa.PrivateKey:
		numbers = append([]*big.Int{k.D, k.Precomputed.Dp, k.Precomputed.Dq, k.Precomputed.Qinv}, k.Primes...)
	}
	for _, n := range numbers {
		if n != nil {
			clear(n.Bits())
		}
	}
}

// kindStrength is the strength in bits of the keys that are made of a kind (NIST SP
// 800-57 part 1, table 2).
func kindStrength(kind string) int {
	switch kind {
	case "ecdsa-p384":
		return 192
	case "ecdsa-p521":
		return 256
	}
	return 128
}
