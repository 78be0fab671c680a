package acme_test

import (
	"bytes"
	"crypto/elliptic"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"chancery/acme"
)

var eabKey = []byte(strings.Repeat("secret--", 8))

func TestExternalAccountBinding(t *testing.T) {
	key := keyOf(t, newEC(t, elliptic.P256()))
	for _, alg := range []string{"", acme.HS256, acme.HS384, acme.HS512} {
		raw, err := acme.SignMAC(acme.ExternalAccount{KeyID: "kid-1", Key: eabKey, Algorithm: alg}, "https://ca.example/new-acct", key)
		if err != nil {
			t.Fatal(err)
		}
		m, err := acme.ParseMAC(raw)
		if err != nil {
			t.Fatal(err)
		}
		if m.KeyID != "kid-1" || m.URL != "https://ca.example/new-acct" || !m.Key.Equal(key) || alg != "" && m.Algorithm != alg {
			t.Errorf("%+v", m)
		}
		if err := m.VerifyMAC(eabKey); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
		wrong := bytes.Clone(eabKey)
		wrong[0] ^= 1
		for _, k := range [][]byte{nil, {}, wrong, eabKey[:31], append(wrong, 0)} {
			if err := m.VerifyMAC(k); !acme.HasType(err, acme.TypeUnauthorized) {
				t.Errorf("%s with %q: %v", alg, k, err)
			}
		}
	}
}

// RFC 7518 §3.2: HS512 with a key of 32 octets MUST NOT be used.
func TestShortMACKey(t *testing.T) {
	raw, err := acme.SignMAC(acme.ExternalAccount{KeyID: "k", Key: eabKey[:32], Algorithm: acme.HS512}, "u", keyOf(t, newEd(t)))
	if err != nil {
		t.Fatal(err)
	}
	m, err := acme.ParseMAC(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.VerifyMAC(eabKey[:32]); !acme.HasType(err, acme.TypeUnauthorized) {
		t.Error(err)
	}
}

func TestParseMACRefuses(t *testing.T) {
	ec := newEC(t, elliptic.P256())
	jwk := jwkOf(t, ec)
	for name, test := range map[string]struct{ header, payload string }{
		"ES256":     {`{"alg":"ES256","kid":"k","url":"u"}`, jwk},
		"none":      {`{"alg":"none","kid":"k","url":"u"}`, jwk},
		"nonce":     {`{"alg":"HS256","kid":"k","url":"u","nonce":"AA"}`, jwk},
		"no kid":    {`{"alg":"HS256","url":"u"}`, jwk},
		"jwk":       {`{"alg":"HS256","kid":"k","url":"u","jwk":` + jwk + `}`, jwk},
		"no url":    {`{"alg":"HS256","kid":"k"}`, jwk},
		"crit":      {`{"alg":"HS256","kid":"k","url":"u","crit":["x"]}`, jwk},
		"empty":     {`{"alg":"HS256","kid":"k","url":"u"}`, ""},
		"no key":    {`{"alg":"HS256","kid":"k","url":"u"}`, "{}"},
		"symmetric": {`{"alg":"HS256","kid":"k","url":"u"}`, `{"kty":"oct","k":"AA"}`},
	} {
		_, err := acme.ParseMAC([]byte(flat(t, ec, test.header, test.payload)))
		if !acme.HasType(err, acme.TypeMalformed) || !strings.Contains(acme.AsProblem(err).Detail, "xternal") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSignMACRefuses(t *testing.T) {
	key := keyOf(t, newEd(t))
	for name, e := range map[string]acme.ExternalAccount{
		"nothing": {}, "no key": {KeyID: "k"}, "no id": {Key: eabKey}, "algorithm": {KeyID: "k", Key: eabKey, Algorithm: "ES256"},
	} {
		if _, err := acme.SignMAC(e, "u", key); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := acme.SignMAC(acme.ExternalAccount{KeyID: "k", Key: eabKey}, "u", nil); err == nil {
		t.Error("no account key: no error")
	}
}

func TestExternalAccountKeepsItsKey(t *testing.T) {
	e := acme.ExternalAccount{KeyID: "kid-1", Key: eabKey}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "eab", e, "p", &e, "reg", acme.Registration{EAB: &e})
	out, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	text := log.String() + string(out) + fmt.Sprintf("%v %+v %#v %s %v %+v", e, e, e, e, &e, acme.Registration{EAB: &e})
	for _, secret := range []string{"secret--", fmt.Sprint([]byte("secret--")), "c2VjcmV0LS"} {
		if strings.Contains(text, strings.Trim(secret, "[]")) {
			t.Errorf("%q is shown in %s", secret, text)
		}
	}
	if !strings.Contains(text, "kid-1") {
		t.Errorf("no key id in %s", text)
	}
}

func FuzzParseMAC(f *testing.F) {
	for _, alg := range []string{acme.HS256, acme.HS512} {
		raw, err := acme.SignMAC(acme.ExternalAccount{KeyID: "k", Key: eabKey, Algorithm: alg}, "u", keyOf(f, newEd(f)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(raw))
	}
	f.Add([]byte(flat(f, newEC(f, elliptic.P256()), `{"alg":"HS256","kid":"k","url":"u"}`, "{}")))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := acme.ParseMAC(data)
		if err != nil {
			if acme.AsProblem(err).Type == acme.TypeServerInternal {
				t.Fatalf("an error that is no problem: %v", err)
			}
			return
		}
		if m.Key == nil || m.KeyID == "" || m.URL == "" || !strings.HasPrefix(m.Algorithm, "HS") {
			t.Fatalf("accepted %+v", m)
		}
		if m.VerifyMAC([]byte(strings.Repeat("another-", 8))) == nil {
			t.Fatal("verifies with another key")
		}
	})
}
