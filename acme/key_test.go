package acme_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"chancery/acme"
)

// The modulus of RFC 7638 §3.1.
const rfc7638N = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"

func TestThumbprintVectors(t *testing.T) {
	for name, test := range map[string]struct{ jwk, want string }{
		"RFC 7638 §3.1": {
			`{"kty":"RSA","n":"` + rfc7638N + `","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`,
			"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
		"RFC 8037 A.3": {
			`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`,
			"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},
	} {
		k, err := acme.ParseKey([]byte(test.jwk))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := k.Thumbprint(); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
		if got := acme.KeyAuthorization("tok", k); got != "tok."+test.want {
			t.Errorf("%s: key authorisation %s", name, got)
		}
	}
}

func TestKeyRoundTrip(t *testing.T) {
	for _, signer := range []crypto.Signer{newEC(t, elliptic.P256()), newEC(t, elliptic.P384()), newEC(t, elliptic.P521()), newEd(t), newRSA(t, 2048), newRSA(t, 3072)} {
		text := jwkOf(t, signer)
		k, err := acme.ParseKey([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		again, err := json.Marshal(k)
		if err != nil || string(again) != text || !k.Equal(keyOf(t, signer)) {
			t.Errorf("%s became %s, %v", text, again, err)
		}
		if !signer.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(k.Public()) {
			t.Errorf("%s: another public key", text)
		}
		if k.Equal(keyOf(t, newEd(t))) || k.Equal(nil) {
			t.Errorf("%s equals another key", text)
		}
	}
}

func TestParseKeyRefuses(t *testing.T) {
	ec := jwkOf(t, newEC(t, elliptic.P256()))
	ed := jwkOf(t, newEd(t))
	rsaKey := `{"kty":"RSA","e":"AQAB","n":"` + rfc7638N + `"}`
	swap := func(s, old, new string) string {
		if !strings.Contains(s, old) {
			t.Fatalf("%q not in %s", old, s)
		}
		return strings.Replace(s, old, new, 1)
	}
	const bad, malformed = acme.TypeBadPublicKey, acme.TypeMalformed
	for name, test := range map[string]struct{ jwk, typ string }{
		"no object":       {`[]`, malformed},
		"empty":           {``, malformed},
		"no kty":          {`{}`, malformed},
		"kty twice":       {`{"kty":"EC",` + ec[1:], malformed},
		"trailing":        {ec + "x", malformed},
		"symmetric":       {`{"kty":"oct","k":"AAAA"}`, malformed},
		"EC private":      {`{"d":"AAAA",` + ec[1:], malformed},
		"RSA private":     {`{"p":"AAAA",` + rsaKey[1:], malformed},
		"padding":         {swap(rsaKey, `"AQAB"`, `"AQAB="`), malformed},
		"number":          {swap(rsaKey, `"AQAB"`, `65537`), malformed},
		"oct":             {`{"kty":"oct"}`, bad},
		"for encryption":  {`{"use":"enc",` + ec[1:], bad},
		"wrong curve":     {swap(ec, "P-256", "P-384"), bad},
		"unknown curve":   {swap(ec, "P-256", "P-224"), bad},
		"no curve":        {swap(ec, `"crv":"P-256",`, ``), bad},
		"not on curve":    {swap(ec, `"x":"`, `"x":"AAAA`), bad},
		"zero point":      {`{"kty":"EC","crv":"P-256","x":"` + strings.Repeat("A", 43) + `","y":"` + strings.Repeat("A", 43) + `"}`, bad},
		"X25519":          {swap(ed, "Ed25519", "X25519"), bad},
		"Ed448":           {swap(ed, "Ed25519", "Ed448"), bad},
		"short Ed25519":   {`{"kty":"OKP","crv":"Ed25519","x":"AAAA"}`, bad},
		"RSA no modulus":  {`{"kty":"RSA","e":"AQAB"}`, bad},
		"RSA no exponent": {`{"kty":"RSA","n":"` + rfc7638N + `"}`, bad},
		"RSA 2040":        {swap(rsaKey, rfc7638N, rfc7638N[:340]), bad},
		"RSA 8192":        {swap(rsaKey, rfc7638N, strings.Repeat(rfc7638N, 4)), bad},
		"leading zero":    {swap(rsaKey, `"n":"`, `"n":"AAAA`), bad},
		"e = 3":           {swap(rsaKey, "AQAB", "Aw"), bad},
		"e even":          {swap(rsaKey, "AQAB", "AQAC"), bad},
		"e leading zero":  {swap(rsaKey, "AQAB", "AAEAAQ"), bad},
		"e huge":          {swap(rsaKey, "AQAB", "AQAAAAE"), bad},
		"e 32 bits":       {swap(rsaKey, "AQAB", "_____w"), bad},
		"n even":          {swap(rsaKey, "nqDKgw", "nqDKgg"), bad},
	} {
		if k, err := acme.ParseKey([]byte(test.jwk)); !acme.HasType(err, test.typ) || k != nil {
			t.Errorf("%s: %v, %v; want %s", name, k, err, test.typ)
		}
	}
}

func TestNewKeyRefuses(t *testing.T) {
	for name, pub := range map[string]crypto.PublicKey{
		"nil": nil, "text": "x", "P-224": newEC(t, elliptic.P224()).Public(),
		"RSA without modulus": &rsa.PublicKey{E: 65537}, "negative modulus": &rsa.PublicKey{E: 65537, N: new(big.Int).Neg(new(big.Int).Lsh(big.NewInt(1), 2047))},
		"no curve": &ecdsa.PublicKey{},
	} {
		if _, err := acme.NewKey(pub); !acme.HasType(err, acme.TypeBadPublicKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add([]byte(jwkOf(f, newEC(f, elliptic.P256()))))
	f.Add([]byte(jwkOf(f, newEC(f, elliptic.P521()))))
	f.Add([]byte(jwkOf(f, newEd(f))))
	f.Add([]byte(`{"kty":"RSA","e":"AQAB","n":"` + rfc7638N + `","kid":"x","x5c":["AA"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := acme.ParseKey(data)
		if err != nil {
			if acme.AsProblem(err).Type == acme.TypeServerInternal {
				t.Fatalf("an error that is no problem: %v", err)
			}
			return
		}
		text, err := json.Marshal(k)
		if err != nil {
			t.Fatal(err)
		}
		again, err := acme.ParseKey(text)
		if err != nil || !again.Equal(k) || again.Thumbprint() != k.Thumbprint() {
			t.Fatalf("%s: %v", text, err)
		}
		// Every member of the canonical form stands in the input as it is: one spelling.
		var in, out map[string]any
		if json.Unmarshal(data, &in) != nil || json.Unmarshal(text, &out) != nil {
			t.Fatalf("accepted %q", data)
		}
		for name, value := range out {
			if in[name] != value {
				t.Fatalf("%s: %v became %v", name, in[name], value)
			}
		}
	})
}
