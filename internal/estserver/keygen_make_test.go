package estserver

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"testing"

	"chancery/internal/ca"
)

// TestMakeKey: each kind that a profile can take is made, as PrivateKeyInfo and
// nothing else, and the public half fits.
func TestMakeKey(t *testing.T) {
	for _, c := range []struct {
		kind     string
		strength int
	}{{"ecdsa-p256", 128}, {"ecdsa-p384", 192}, {"ecdsa-p521", 256}, {"rsa", 128}, {"ed25519", 128}} {
		t.Run(c.kind, func(t *testing.T) {
			made, err := makeKey(t.Context(), c.kind)
			if err != nil {
				t.Fatal(err)
			}
			key, err := x509.ParsePKCS8PrivateKey(made.pkcs8)
			if err != nil {
				t.Fatalf("not a PrivateKeyInfo: %v", err)
			}
			var info struct {
				Version   int
				Algorithm asn1.RawValue
				Key       []byte
			}
			if rest, err := asn1.Unmarshal(made.pkcs8, &info); err != nil || len(rest) > 0 || info.Version != 0 {
				t.Errorf("RFC 5958 v1 is wanted: %v, version %d, %d octets more", err, info.Version, len(rest))
			}
			public := key.(crypto.Signer).Public()
			if !public.(interface{ Equal(crypto.PublicKey) bool }).Equal(made.public) {
				t.Error("the public key is another's")
			}
			if got := kindStrength(c.kind); got != c.strength {
				t.Errorf("strength %d, want %d", got, c.strength)
			}
			made.wipe()
			if !bytes.Equal(made.pkcs8, make([]byte, len(made.pkcs8))) {
				t.Error("wipe left octets of the key")
			}
		})
	}
	if _, err := makeKey(t.Context(), "dsa"); ca.KindOf(err) != ca.Internal {
		t.Errorf("an unknown kind: %v", err)
	}
}

// TestMakeRSAWaits: with all places taken a request waits as long as its context
// lasts and makes nothing, and the other kinds do not wait.
func TestMakeRSAWaits(t *testing.T) {
	for range cap(primes) {
		primes <- struct{}{}
	}
	defer func() {
		for range cap(primes) {
			<-primes
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if made, err := makeKey(ctx, "rsa"); ca.KindOf(err) != ca.Unavailable || made != nil {
		t.Errorf("got %v, %v", made, err)
	}
	if _, err := makeKey(t.Context(), "ecdsa-p256"); err != nil {
		t.Errorf("P-256 has to wait for RSA: %v", err)
	}
}

// TestMakeRSAHangUp: who hangs up while the primes are looked for is answered at once,
// and the place is given back when the search ends.
func TestMakeRSAHangUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := makeKey(ctx, "rsa")
		done <- err
	}()
	for len(primes) == 0 {
		select {
		case err := <-done:
			t.Skipf("the key was made before anybody could hang up: %v", err)
		default:
		}
	}
	cancel()
	if err := <-done; err != nil && ca.KindOf(err) != ca.Unavailable {
		t.Error(err)
	}
	for range cap(primes) {
		primes <- struct{}{} // blocks for ever if a place is lost
	}
	for range cap(primes) {
		<-primes
	}
}

func TestForget(t *testing.T) {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	forget(ed)
	forget(r)
	if !bytes.Equal(ed.Seed(), make([]byte, ed25519.SeedSize)) {
		t.Error("the Ed25519 seed is still there")
	}
	for i, n := range append([]*big.Int{r.D, r.Precomputed.Dp}, r.Primes...) {
		for _, word := range n.Bits() {
			if word != 0 {
				t.Errorf("number %d of the RSA key is still there", i)
				break
			}
		}
	}
}
