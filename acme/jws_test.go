package acme_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"chancery/acme"
)

var b64 = base64.RawURLEncoding

func newEC(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newRSA(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newEd(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func keyOf(t testing.TB, s crypto.Signer) *acme.Key {
	t.Helper()
	k, err := acme.NewKey(s.Public())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func jwkOf(t testing.TB, s crypto.Signer) string {
	t.Helper()
	b, err := json.Marshal(keyOf(t, s))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// flat writes a JWS with a ES256 signature over whatever header and payload are given.
func flat(t testing.TB, key *ecdsa.PrivateKey, header, payload string) string {
	t.Helper()
	p, q := b64.EncodeToString([]byte(header)), b64.EncodeToString([]byte(payload))
	sum := sha256.Sum256([]byte(p + "." + q))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, p, q, b64.EncodeToString(sig))
}

func TestSignedRequestsVerify(t *testing.T) {
	for alg, signer := range map[string]crypto.Signer{
		acme.ES256: newEC(t, elliptic.P256()),
		acme.ES384: newEC(t, elliptic.P384()),
		acme.ES512: newEC(t, elliptic.P521()),
		acme.EdDSA: newEd(t),
		acme.RS256: newRSA(t, 2048),
	} {
		t.Run(alg, func(t *testing.T) {
			key := keyOf(t, signer)
			for _, kid := range []string{"", "https://ca.example/acct/1"} {
				body, err := acme.Sign(signer, acme.Header{Nonce: "bm9uY2U", URL: "https://ca.example/new", KeyID: kid}, []byte(`{"a":1}`))
				if err != nil {
					t.Fatal(err)
				}
				j, err := acme.ParseJWS(body)
				if err != nil {
					t.Fatal(err)
				}
				if j.Algorithm != alg || j.Nonce != "bm9uY2U" || j.URL != "https://ca.example/new" || j.KeyID != kid || string(j.Payload) != `{"a":1}` {
					t.Errorf("parsed %+v", j)
				}
				if (j.JWK == nil) != (kid != "") || j.JWK != nil && !j.JWK.Equal(key) {
					t.Errorf("jwk %v with kid %q", j.JWK, kid)
				}
				if err := j.Verify(key); err != nil {
					t.Errorf("a good signature: %v", err)
				}
				j.Algorithm = acme.ES256
				if err := j.Verify(key); alg != acme.ES256 && !acme.HasType(err, acme.TypeBadPublicKey) {
					t.Errorf("ES256 with a key for %s: %v", alg, err)
				}
			}
		})
	}
}

func TestVerifyRefuses(t *testing.T) {
	signer, other := newEC(t, elliptic.P256()), newEC(t, elliptic.P256())
	body, err := acme.Sign(signer, acme.Header{Nonce: "bm9uY2U", URL: "https://ca.example/"}, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	parse := func(b []byte) *acme.JWS {
		t.Helper()
		j, err := acme.ParseJWS(b)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	if err := parse(body).Verify(keyOf(t, other)); !acme.HasType(err, acme.TypeMalformed) {
		t.Errorf("with another key: %v", err)
	}
	if err := parse(body).Verify(nil); !acme.HasType(err, acme.TypeBadPublicKey) {
		t.Errorf("without a key: %v", err)
	}
	var m map[string]string
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	change := func(member, value string) []byte {
		c := map[string]string{"protected": m["protected"], "payload": m["payload"], "signature": m["signature"]}
		c[member] = value
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	zero := b64.EncodeToString(make([]byte, 64))
	for name, changed := range map[string][]byte{
		"payload": change("payload", b64.EncodeToString([]byte(`{"x":1}`))), "zero signature": change("signature", zero),
		"short signature": change("signature", zero[:40]), "long signature": change("signature", m["signature"]+"AAAA"),
		"DER signature": change("signature", b64.EncodeToString(derSignature(t, signer, m))),
	} {
		if err := parse(changed).Verify(keyOf(t, signer)); !acme.HasType(err, acme.TypeMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func derSignature(t *testing.T, signer crypto.Signer, m map[string]string) []byte {
	t.Helper()
	sum := sha256.Sum256([]byte(m["protected"] + "." + m["payload"]))
	der, err := signer.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestParseJWSRefuses(t *testing.T) {
	key := newEC(t, elliptic.P256())
	jwk := jwkOf(t, key)
	const rest = `,"nonce":"bm9uY2U","url":"https://ca.example/"`
	header := func(h string) string { return flat(t, key, h, "{}") }
	good := header(`{"alg":"ES256","jwk":` + jwk + rest + `}`)
	if _, err := acme.ParseJWS([]byte(good)); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	kid := header(`{"alg":"ES256","kid":"https://ca.example/a"` + rest + `,"typ":"ignored"}`)
	if _, err := acme.ParseJWS([]byte(" \r\n\t" + strings.ReplaceAll(kid, ",", " ,\n") + "\n")); err != nil {
		t.Fatalf("with white space: %v", err)
	}
	with := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the JWS", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	const malformed = acme.TypeMalformed
	for name, test := range map[string]struct{ body, typ string }{
		"empty":              {"", malformed},
		"not JSON":           {"eyJ.e30.AAA", malformed},
		"array":              {"[" + good + "]", malformed},
		"string":             {`"x"`, malformed},
		"null":               {"null", malformed},
		"trailing data":      {good + "{}", malformed},
		"trailing word":      {good + " x", malformed},
		"no members":         {"{}", malformed},
		"unprotected header": {with(`{"prot`, `{"header":{},"prot`), malformed},
		"signatures":         {with(`{"prot`, `{"signatures":[],"prot`), malformed},
		"unknown duplicate":  {with(`{"prot`, `{"x":1,"x":1,"prot`), malformed},
		"duplicate member":   {with(`{"prot`, `{"payload":"","prot`), malformed},
		"escaped duplicate":  {with(`{"prot`, `{"p\u0061yload":"","prot`), malformed},
		"other case":         {with(`"payload"`, `"Payload"`), malformed},
		"no payload":         {with(`"payload":"e30",`, ``), malformed},
		"payload null":       {with(`"payload":"e30"`, `"payload":null`), malformed},
		"payload object":     {with(`"payload":"e30"`, `"payload":{}`), malformed},
		"padding":            {with(`"e30"`, `"e30="`), malformed},
		"standard base64":    {with(`"e30"`, `"e+/0"`), malformed},
		"trailing bits":      {with(`"e30"`, `"e31"`), malformed},
		"line end":           {with(`"e30"`, `"e3\n0"`), malformed},
		"no signature":       {with(`,"signature":`, `,"signature":"","x":`), malformed},
		"too long":           {strings.Repeat(" ", acme.MaxRequest) + good, malformed},
		"not UTF-8":          {with(`{"prot`, "{\"\xff\":1,\"prot"), malformed},

		"header no object": {header(`[]`), malformed},
		"header empty":     {header(``), malformed},
		"header trailing":  {header(`{"alg":"ES256","jwk":` + jwk + rest + `} {}`), malformed},
		"header duplicate": {header(`{"alg":"ES256","alg":"none","jwk":` + jwk + rest + `}`), malformed},
		"no alg":           {header(`{"jwk":` + jwk + rest + `}`), malformed},
		"alg number":       {header(`{"alg":1,"jwk":` + jwk + rest + `}`), malformed},
		"jwk and kid":      {header(`{"alg":"ES256","kid":"x","jwk":` + jwk + rest + `}`), malformed},
		"neither":          {header(`{"alg":"ES256"` + rest + `}`), malformed},
		"empty kid":        {header(`{"alg":"ES256","kid":""` + rest + `}`), malformed},
		"jwk null":         {header(`{"alg":"ES256","jwk":null` + rest + `}`), malformed},
		"crit":             {header(`{"alg":"ES256","crit":["exp"],"exp":1,"jwk":` + jwk + rest + `}`), malformed},
		"b64":              {header(`{"alg":"ES256","b64":false,"jwk":` + jwk + rest + `}`), malformed},
		"no url":           {header(`{"alg":"ES256","nonce":"AA","jwk":` + jwk + `}`), malformed},
		"nonce alphabet":   {header(`{"alg":"ES256","nonce":"a b","url":"u","jwk":` + jwk + `}`), malformed},
		"nonce padding":    {header(`{"alg":"ES256","nonce":"AA==","url":"u","jwk":` + jwk + `}`), malformed},
		"empty nonce":      {header(`{"alg":"ES256","nonce":"","url":"u","jwk":` + jwk + `}`), malformed},
		"no nonce":         {header(`{"alg":"ES256","url":"u","jwk":` + jwk + `}`), acme.TypeBadNonce},
		"none":             {header(`{"alg":"none","jwk":` + jwk + rest + `}`), acme.TypeBadSignatureAlgorithm},
		"HS256":            {header(`{"alg":"HS256","jwk":` + jwk + rest + `}`), acme.TypeBadSignatureAlgorithm},
		"RS1":              {header(`{"alg":"RS1","jwk":` + jwk + rest + `}`), acme.TypeBadSignatureAlgorithm},
		"private jwk":      {header(`{"alg":"ES256","jwk":{"d":"AA",` + jwk[1:] + rest + `}`), malformed},
		"P-256K":           {header(`{"alg":"ES256","jwk":` + strings.Replace(jwk, "P-256", "secp256k1", 1) + rest + `}`), acme.TypeBadPublicKey},
	} {
		t.Run(name, func(t *testing.T) {
			j, err := acme.ParseJWS([]byte(test.body))
			if !acme.HasType(err, test.typ) || j != nil {
				t.Fatalf("got %v, %v; want %s", j, err, test.typ)
			}
			p := acme.AsProblem(err)
			if p.Status != 400 || p.Detail == "" {
				t.Errorf("status %d, detail %q", p.Status, p.Detail)
			}
			if test.typ == acme.TypeBadSignatureAlgorithm && !slices.Equal(p.Algorithms, acme.Algorithms()) {
				t.Errorf("algorithms %q", p.Algorithms)
			}
		})
	}
}

// RFC 7515 §7.2.1: a member that is not understood MUST be ignored.
func TestUnknownMembersAreIgnored(t *testing.T) {
	key := newEC(t, elliptic.P256())
	body := flat(t, key, `{"alg":"ES256","nonce":"AA","url":"u","jwk":`+jwkOf(t, key)+`}`, "{}")
	for _, member := range []string{`"x":1`, `"x":{"payload":"","y":[{}]}`, `"Payload":"AA"`, `"x":null,"y":"signature"`} {
		j, err := acme.ParseJWS([]byte("{" + member + "," + body[1:]))
		if err != nil {
			t.Errorf("with %s: %v", member, err)
			continue
		}
		if err := j.Verify(j.JWK); err != nil || string(j.Payload) != "{}" {
			t.Errorf("with %s: payload %q, %v", member, j.Payload, err)
		}
	}
}

// The classic confusion: a MAC made with the public key's text as its key.
func TestHMACWithPublicKeyIsRefused(t *testing.T) {
	key := newRSA(t, 2048)
	jwk := jwkOf(t, key)
	head := b64.EncodeToString([]byte(`{"alg":"HS256","nonce":"AA","url":"u","jwk":` + jwk + `}`))
	m := hmac.New(sha256.New, []byte(jwk))
	m.Write([]byte(head + ".e30"))
	body := fmt.Sprintf(`{"protected":%q,"payload":"e30","signature":%q}`, head, b64.EncodeToString(m.Sum(nil)))
	if _, err := acme.ParseJWS([]byte(body)); !acme.HasType(err, acme.TypeBadSignatureAlgorithm) {
		t.Fatal(err)
	}
}

func TestPostAsGet(t *testing.T) {
	body, err := acme.Sign(newEC(t, elliptic.P256()), acme.Header{Nonce: "AA", URL: "u", KeyID: "k"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(body, []byte(`"payload":""`)) {
		t.Errorf("no empty payload in %s", body)
	}
	j, err := acme.ParseJWS(body)
	if err != nil || !j.PostAsGet() || j.Payload == nil {
		t.Errorf("%+v, %v", j, err)
	}
}

func TestInnerJWS(t *testing.T) {
	key := newEC(t, elliptic.P256())
	for name, test := range map[string]struct {
		header acme.Header
		good   bool
	}{
		"good":  {acme.Header{URL: "u"}, true},
		"nonce": {acme.Header{URL: "u", Nonce: "AA"}, false},
		"kid":   {acme.Header{URL: "u", KeyID: "k"}, false},
	} {
		body, err := acme.Sign(key, test.header, []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if j, err := acme.ParseInnerJWS(body); test.good != (err == nil) || test.good && j.Verify(j.JWK) != nil || !test.good && !acme.HasType(err, acme.TypeMalformed) {
			t.Errorf("%s: %v, %v", name, j, err)
		}
	}
}

func FuzzParseJWS(f *testing.F) {
	key := newEC(f, elliptic.P256())
	for _, h := range []acme.Header{{Nonce: "AA", URL: "u"}, {Nonce: "AA", URL: "u", KeyID: "k"}, {URL: "u"}} {
		for _, payload := range []string{"", "{}", `{"csr":"AA"}`} {
			body, err := acme.Sign(key, h, []byte(payload))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(body)
		}
	}
	f.Add([]byte(`{"protected":"e30","payload":"","signature":"AA"}`))
	f.Add([]byte(flat(f, key, `{"alg":"ES256","nonce":"AA","url":"u","kid":"k"}`, "{}")[:1] + `"x":[1],` + flat(f, key, `{"alg":"ES256","nonce":"AA","url":"u","kid":"k"}`, "{}")[1:]))
	f.Add([]byte(`{"protected":{"a":[1,"}",{"b":"\""}]},"payload":"","signature":"AA"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		j, err := acme.ParseJWS(body)
		if err != nil {
			if p := acme.AsProblem(err); p.Type == acme.TypeServerInternal {
				t.Fatalf("an error that is no problem: %v", err)
			}
			return
		}
		var m map[string]any
		if err := json.Unmarshal(body, &m); err != nil || m["header"] != nil || m["signatures"] != nil {
			t.Fatalf("accepted what encoding/json reads as %v, %v", m, err)
		}
		if m["payload"] != b64.EncodeToString(j.Payload) {
			t.Fatalf("payload %q has another spelling", m["payload"])
		}
		if j.URL == "" || j.Nonce == "" || (j.JWK == nil) == (j.KeyID == "") || !slices.Contains(acme.Algorithms(), j.Algorithm) {
			t.Fatalf("accepted %+v", j)
		}
	})
}

func benchmarkRequest(b *testing.B, signer crypto.Signer) {
	body, err := acme.Sign(signer, acme.Header{Nonce: "bm9uY2Vub25jZW5vbmNl", URL: "https://ca.example/acme/order/1/finalize", KeyID: "https://ca.example/acme/acct/1"}, make([]byte, 600))
	if err != nil {
		b.Fatal(err)
	}
	key := keyOf(b, signer)
	b.ReportAllocs()
	for b.Loop() {
		j, err := acme.ParseJWS(body)
		if err != nil {
			b.Fatal(err)
		}
		if err := j.Verify(key); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRequestES256(b *testing.B) { benchmarkRequest(b, newEC(b, elliptic.P256())) }
func BenchmarkRequestRS256(b *testing.B) { benchmarkRequest(b, newRSA(b, 2048)) }

// BenchmarkECDSAVerify is what of BenchmarkRequestES256 cannot be saved.
func BenchmarkECDSAVerify(b *testing.B) {
	key := newEC(b, elliptic.P256())
	sum := sha256.Sum256([]byte("x"))
	sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if !ecdsa.VerifyASN1(&key.PublicKey, sum[:], sig) {
			b.Fatal("does not verify")
		}
	}
}
