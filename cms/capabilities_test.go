package cms_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"reflect"
	"testing"

	"chancery/cms"
)

// The encodings that RFC 3565 §5.1 and RFC 5753 §6 print.
const (
	capAES128, capAES192, capAES256 = "300b0609608648016503040102", "300b0609608648016503040116", "300b060960864801650304012a"
	capECDHSHA256Wrap128            = "301506062b8104010b01300b0609608648016503040105"
	capECDHSHA256Wrap256            = "301506062b8104010b01300b060960864801650304012d"
	capECDHSHA384Wrap256            = "301506062b8104010b02300b060960864801650304012d"
	capRSA                          = "300d06092a864886f70d0101010500"
	capOAEPDefault                  = "300d06092a864886f70d0101073000"
	capWrap128, capWrap256          = "300b0609608648016503040105", "300b060960864801650304012d"
	capDES3                         = "300a06082a864886f70d0307"
)

// capabilities parses what the strings, together, encode.
func capabilities(t *testing.T, parts ...string) cms.Capabilities {
	t.Helper()
	var inner []byte
	for _, part := range parts {
		inner = append(inner, unhex(t, part)...)
	}
	if len(inner) > 127 {
		t.Fatal("the list is too long for this test")
	}
	der := append([]byte{0x30, byte(len(inner))}, inner...)
	c, err := cms.ParseCapabilities(der)
	if err != nil || len(c) != len(parts) {
		t.Fatalf("%x: %d capabilities, %v", der, len(c), err)
	}
	if again, err := c.Marshal(); err != nil || !bytes.Equal(again, der) {
		t.Fatalf("%x became %x: %v", der, again, err)
	}
	return c
}

func TestChoose(t *testing.T) {
	big, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		t.Fatal(err)
	}
	r, p256, p384 := who(t, "rsa").cert.PublicKey, who(t, "p256").cert.PublicKey, who(t, "p384").cert.PublicKey
	kek := cms.Secret(make([]byte, 32))
	for name, c := range map[string]struct {
		key  any
		caps []string
		want cms.Suite // no cipher: Unsupported
	}{
		"nothing":                          {r, nil, cms.Suite{}},
		"ciphers alone":                    {r, []string{capAES256}, cms.Suite{}},
		"no cipher":                        {r, []string{capDES3, capRSA}, cms.Suite{}},
		"v1.5":                             {r, []string{capAES128, capRSA}, cms.Suite{Cipher: cms.AES128CBC}},
		"the recipient's order":            {r, []string{capRSA, capOAEPDefault, capAES192, capAES128}, cms.Suite{Cipher: cms.AES192CBC}},
		"OAEP first":                       {r, []string{capAES256, capOAEPDefault, capRSA}, cms.Suite{Cipher: cms.AES256CBC, OAEP: crypto.SHA1}},
		"RSA 3072 takes AES-128":           {&big.PublicKey, []string{capAES128, capRSA}, cms.Suite{Cipher: cms.AES128CBC}},
		"P-256":                            {p256, []string{capDES3, capAES128, capECDHSHA256Wrap128}, cms.Suite{Cipher: cms.AES128CBC, Hash: crypto.SHA256, Wrap: 128}},
		"P-384 takes no AES-128":           {p384, []string{capAES128, capECDHSHA384Wrap256}, cms.Suite{}},
		"P-384 passes AES-128 over":        {p384, []string{capAES128, capAES192, capECDHSHA256Wrap128, capECDHSHA384Wrap256}, cms.Suite{Cipher: cms.AES192CBC, Hash: crypto.SHA384, Wrap: 256}},
		"P-384 takes no wrap of 128":       {p384, []string{capAES256, capECDHSHA256Wrap128}, cms.Suite{}},
		"EC with RSA's":                    {p256, []string{capAES256, capRSA}, cms.Suite{}},
		"RSA with EC's":                    {r, []string{capAES256, capECDHSHA256Wrap256}, cms.Suite{}},
		"EC by a key wrap alone":           {p256, []string{capAES256, capWrap256}, cms.Suite{Cipher: cms.AES256CBC, Wrap: 256}},
		"a shared key":                     {kek, []string{capWrap256, capAES256}, cms.Suite{Cipher: cms.AES256CBC, Wrap: 256}},
		"a shared key's wrap":              {kek, []string{capWrap128, capAES256}, cms.Suite{}},
		"a shared key stronger than AES's": {kek, []string{capWrap256, capAES128, capAES192}, cms.Suite{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := capabilities(t, c.caps...).Choose(c.key)
			if c.want.Cipher == 0 {
				isKind(t, err, cms.Unsupported)
			} else if err != nil || got != c.want {
				t.Errorf("chose %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
	_, err = capabilities(t, capAES256).Choose(who(t, "ed25519").cert.PublicKey)
	isKind(t, err, cms.BadValue)
	_, err = cms.CapabilitiesOf(cms.Secret{1})
	isKind(t, err, cms.BadValue)
}

// What we announce, we can be sent.
func TestCapabilitiesOfFits(t *testing.T) {
	for name, want := range map[string]cms.Suite{
		"rsa":  {Cipher: cms.AES256CBC, OAEP: crypto.SHA256},
		"p256": {Cipher: cms.AES256CBC, Hash: crypto.SHA256, Wrap: 256},
		"p384": {Cipher: cms.AES256CBC, Hash: crypto.SHA384, Wrap: 256},
		"p521": {Cipher: cms.AES256CBC, Hash: crypto.SHA512, Wrap: 256},
	} {
		c, err := cms.CapabilitiesOf(who(t, name).cert.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		der, err := c.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		read, err := cms.ParseCapabilities(der)
		if err != nil || len(read) != len(c) {
			t.Fatal(err)
		}
		if got, err := read.Choose(who(t, name).cert.PublicKey); err != nil || got != want {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
	c, err := cms.CapabilitiesOf(cms.Secret(make([]byte, 16)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Choose(cms.Secret(make([]byte, 16))); err != nil || got.Wrap != 128 {
		t.Errorf("%+v %v", got, err)
	}
}

func TestStrength(t *testing.T) {
	for name, want := range map[string]int{"rsa": 112, "p256": 128, "p384": 192, "p521": 256, "ed25519": 0} {
		if got := cms.Strength(who(t, name).cert.PublicKey); got != want {
			t.Errorf("%s: %d bits, not %d", name, got, want)
		}
	}
	if cms.Strength(cms.Secret(make([]byte, 24))) != 192 || cms.Strength(cms.Secret("x")) != 0 || cms.Strength(nil) != 0 {
		t.Error("shared keys have other strengths")
	}
}

func TestKeyPackage(t *testing.T) {
	var keys [][]byte
	for _, name := range []string{"rsa", "p256", "ed25519"} {
		der, err := x509.MarshalPKCS8PrivateKey(who(t, name).key)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, der)
	}
	der, err := cms.MarshalKeyPackage(keys...)
	if err != nil {
		t.Fatal(err)
	}
	got, err := cms.ParseKeyPackage(der)
	if err != nil || !reflect.DeepEqual(got, keys) {
		t.Errorf("%d keys of %d: %v", len(got), len(keys), err)
	}
	ec, err := x509.MarshalECPrivateKey(who(t, "p256").key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	for name, keys := range map[string][][]byte{"none": nil, "SEC1": {ec}, "PKCS#1": {x509.MarshalPKCS1PrivateKey(who(t, "rsa").key.(*rsa.PrivateKey))}, "nothing": {nil}, "trailing": {append(bytes.Clone(keys[0]), 0)}} {
		var e *cms.Error
		if _, err := cms.MarshalKeyPackage(keys...); !errors.As(err, &e) || e.Kind != cms.BadValue {
			t.Errorf("%s: %v", name, err)
		}
	}
	// RFC 5958 §2's version 2, with attributes and a public key.
	v2, err := hex.DecodeString("3053020101300506032b6570042204200000000000000000000000000000000000000000000000000000000000000000a000812100" + "0000000000000000000000000000000000000000000000000000000000000000")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cms.MarshalKeyPackage(v2); err != nil {
		t.Error(err)
	}
	for name, in := range map[string]string{"empty": "3000", "no list": "0400", "trailing": "300000", "no keys within": "30023000"} {
		if _, err := cms.ParseKeyPackage(unhex(t, in)); err == nil {
			t.Errorf("%s: read", name)
		} else {
			isKind(t, err, cms.Malformed)
		}
	}
}
