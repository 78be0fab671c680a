package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// Account keys as other clients keep them.
func TestParseAccountKey(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	jwk := func(key any) []byte {
		text, err := jose.JSONWebKey{Key: key}.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for name, test := range map[string]struct {
		text []byte
		want crypto.Signer // nil: refused
	}{
		"lego":           {block("EC PRIVATE KEY", sec1), ec},
		"acme.sh":        {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), rsaKey},
		"PKCS#8":         {block("PRIVATE KEY", pkcs8), ec},
		"certbot":        {jwk(rsaKey), rsaKey},
		"certbot, EC":    {append([]byte(" \n"), jwk(ec)...), ec},
		"a public JWK":   {jwk(&ec.PublicKey), nil},
		"a secret JWK":   {[]byte(`{"kty":"oct","k":"c2VjcmV0IG9mIHRoZSBob3VzZQ"}`), nil},
		"nothing":        {nil, nil},
		"other JSON":     {[]byte(`{"uri":"https://ca.test/acct/1"}`), nil},
		"a damaged JWK":  {bytes.Replace(jwk(ec), []byte(`"x":"`), []byte(`"x":"AAAA`), 1), nil},
		"a half PEM":     {block("EC PRIVATE KEY", sec1[:20]), nil},
		"encrypted PEM":  {block("ENCRYPTED PRIVATE KEY", pkcs8), nil},
		"no private key": {block("CERTIFICATE", pkcs8), nil},
	} {
		got, err := parseAccountKey(test.text)
		switch {
		case test.want == nil && err == nil:
			t.Errorf("%s was taken", name)
		case test.want != nil && (err != nil || !test.want.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(got.Public())):
			t.Errorf("%s: %v, %v", name, got, err)
		case err != nil && strings.Contains(err.Error(), "c2VjcmV0"):
			t.Errorf("%s: the error quotes the key: %v", name, err)
		}
	}
}

func FuzzParseAccountKey(f *testing.F) {
	f.Add([]byte(`{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}`))
	f.Add([]byte("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := parseAccountKey(text)
		if (key == nil) == (err == nil) {
			t.Errorf("%v, %v", key, err)
		}
		if err == nil {
			_ = key.Public()
		}
	})
}

func TestParseReason(t *testing.T) {
	for text, want := range map[string]int{"keyCompromise": 1, "KEYCOMPROMISE": 1, "unspecified": 0, "superseded": 4, "cACompromise": -1, "": -1, "1": -1} {
		if got, err := parseReason(text); (err == nil) != (want >= 0) || err == nil && got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}
