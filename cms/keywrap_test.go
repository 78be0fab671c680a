package cms

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"testing"
)

// The vectors of RFC 3394 §4.
func TestWrapVectors(t *testing.T) {
	for _, c := range []struct{ kek, key, want string }{
		{"000102030405060708090A0B0C0D0E0F", "00112233445566778899AABBCCDDEEFF", "1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5"},
		{"000102030405060708090A0B0C0D0E0F1011121314151617", "00112233445566778899AABBCCDDEEFF", "96778B25AE6CA435F92B5B97C050AED2468AB8A17AD84E5D"},
		{"000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", "00112233445566778899AABBCCDDEEFF", "64E8C3F9CE0F5BA263E9777905818A2A93C8191E7D6E8AE7"},
		{"000102030405060708090A0B0C0D0E0F1011121314151617", "00112233445566778899AABBCCDDEEFF0001020304050607", "031D33264E15D33268F24EC260743EDCE1C6C7DDEE725A936BA814915C6762D2"},
		{"000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F", "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21"},
	} {
		kek, key, want := unhex(t, c.kek), unhex(t, c.key), unhex(t, c.want)
		got, err := wrap(kek, key)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("wrapped %x, %v; want %x", got, err, want)
		}
		back, err := unwrap(kek, want)
		if err != nil || !bytes.Equal(back, key) {
			t.Errorf("unwrapped %x, %v; want %x", back, err, key)
		}
		for _, bad := range [][]byte{nil, want[:16], want[:len(want)-1], append(bytes.Clone(want[:8]), want...)} {
			if _, err := unwrap(kek, bad); !errors.Is(err, &Error{Kind: Undecrypted}) {
				t.Errorf("unwrapped %x: %v", bad, err)
			}
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	out, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Padding is looked at whole, and only what RFC 5652 §6.3 writes is taken.
func TestPadding(t *testing.T) {
	key, iv := make([]byte, 16), make([]byte, 16)
	for name, c := range map[string]struct {
		block string
		want  int // octets; -1: refused
	}{
		"one":      {"00112233445566778899aabbccddee01", 15},
		"sixteen":  {"10101010101010101010101010101010", 0},
		"zero":     {"00112233445566778899aabbccddee00", -1},
		"too many": {"11111111111111111111111111111111", -1},
		"unequal":  {"00112233445566778899aabbccdd0103", -1},
		"ISO":      {"00112233445566778899aabbcc000003", -1},
	} {
		s := sealRaw(t, key, iv, unhex(t, c.block))
		out, err := AES128CBC.open(key, s, nil)
		if (err != nil) != (c.want < 0) || err == nil && len(out) != c.want {
			t.Errorf("%s: %x, %v", name, out, err)
		}
	}
	s := sealRaw(t, key, iv, make([]byte, 16))
	for _, cut := range []int{0, 1, 15} {
		s.encrypted = s.encrypted[:cut]
		if _, err := AES128CBC.open(key, s, nil); !errors.Is(err, &Error{Kind: Undecrypted}) {
			t.Errorf("%d octets: %v", cut, err)
		}
		s.encrypted = s.encrypted[:16]
	}
}

// sealRaw encrypts whole blocks without padding.
func sealRaw(t *testing.T, key, iv, blocks []byte) sealed {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, len(blocks))
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(out, blocks)
	parameters, err := octetValue(iv)
	if err != nil {
		t.Fatal(err)
	}
	return sealed{algorithm: Algorithm{AES128CBC.OID(), parameters}, encrypted: out}
}

// RFC 3211 §3.2's second vector is 3DES's; this is that the wrapping is undone, whatever the
// length, and that other keys are noticed.
func TestWrapPassword(t *testing.T) {
	kek, iv := make([]byte, 32), make([]byte, 16)
	for n := 3; n <= 255; n++ {
		key := random(n)
		wrapped, err := wrapPassword(kek, iv, key)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := unwrapPassword(kek, iv, wrapped); err != nil || !bytes.Equal(got, key) {
			t.Fatalf("%d octets: %v", n, err)
		}
	}
	for _, n := range []int{0, 2, 256} {
		if _, err := wrapPassword(kek, iv, make([]byte, n)); !errors.Is(err, &Error{Kind: BadValue}) {
			t.Errorf("%d octets: %v", n, err)
		}
	}
	for _, n := range []int{0, 16, 33, 2048} {
		if _, err := unwrapPassword(kek, iv, make([]byte, n)); !errors.Is(err, &Error{Kind: Undecrypted}) {
			t.Errorf("%d octets: %v", n, err)
		}
	}
}

// With an all-zero point X25519 agrees on nothing (RFC 8418 §2).
func TestX25519Zero(t *testing.T) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wrapping, err := Algorithm{OID: wrapOIDs[128]}.marshal()
	if err != nil {
		t.Fatal(err)
	}
	originator, err := build(func(b *writer) {
		add(b, constructed(1), func(b *writer) {
			Algorithm{OID: oidX25519}.add(b)
			b.AddASN1BitString(make([]byte, 32))
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	i := RecipientInfo{Kind: ByKeyAgreement, Algorithm: Algorithm{agreements[0].oid, wrapping}, originator: originator, encrypted: make([]byte, 24)}
	if _, err := i.open(key, 16); !errors.Is(err, &Error{Kind: Undecrypted}) {
		t.Errorf("an all-zero secret: %v", err)
	}
}
