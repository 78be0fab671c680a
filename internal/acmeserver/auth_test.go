package acmeserver_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/acmeserver"
)

const accountNew = "/acme/new-account"

// people are the accounts that the tests of authentication use.
type people struct {
	alice, bob *ecdsa.PrivateKey
	aliceURL   string
	bobURL     string
	alicePath  string
	bobPath    string
}

func (d *desk) people() people {
	a, b := d.client(acme.Registration{}), d.client(acme.Registration{})
	return people{
		alice: a.Key.(*ecdsa.PrivateKey), aliceURL: a.AccountURL, alicePath: strings.TrimPrefix(a.AccountURL, d.base()),
		bob: b.Key.(*ecdsa.PrivateKey), bobURL: b.AccountURL, bobPath: strings.TrimPrefix(b.AccountURL, d.base()),
	}
}

// violation is a POST that RFC 8555 §6 forbids.
type violation struct {
	name   string
	path   string // default: alice's account
	body   func() []byte
	media  string // default: JOSE
	status int
	typ    string
}

// violations signs each as alice unless it says otherwise.
func violations(d *desk, p people) []violation {
	good := func(change func(map[string]any)) func() []byte {
		return func() []byte {
			h := map[string]any{"alg": "ES256", "kid": p.aliceURL, "nonce": d.config.Nonces.Mint(), "url": p.aliceURL}
			if change != nil {
				change(h)
			}
			return raw(d.t, p.alice, h, "")
		}
	}
	set := func(name string, value any) func() []byte {
		return good(func(h map[string]any) { h[name] = value })
	}
	without := func(name string) func() []byte { return good(func(h map[string]any) { delete(h, name) }) }
	edited := func(change func(map[string]any)) func() []byte {
		return func() []byte {
			var jws map[string]any
			if err := json.Unmarshal(good(nil)(), &jws); err != nil {
				d.t.Fatal(err)
			}
			change(jws)
			body, _ := json.Marshal(jws)
			return body
		}
	}
	text := func(body string) func() []byte { return func() []byte { return []byte(body) } }
	old := d.source(func() time.Time { return time.Now().Add(-49 * time.Hour) })
	return slices.Concat([]violation{
		{name: "no content type", body: good(nil), media: "none", status: 415, typ: acme.TypeMalformed},
		{name: "content type JSON", body: good(nil), media: "application/json", status: 415, typ: acme.TypeMalformed},
		{name: "huge body", body: text(`{"protected":"` + strings.Repeat("a", 70<<10)), status: 413, typ: acme.TypeMalformed},
		{name: "empty body", body: text(""), status: 400, typ: acme.TypeMalformed},
		{name: "no JSON", body: text("hello"), status: 400, typ: acme.TypeMalformed},
		{name: "compact serialisation", body: text("e30.e30.e30"), status: 400, typ: acme.TypeMalformed},
		{name: "several signatures", body: edited(func(j map[string]any) { j["signatures"] = []any{} }), status: 400, typ: acme.TypeMalformed},
		{name: "unprotected header", body: edited(func(j map[string]any) { j["header"] = map[string]any{"kid": "x"} }), status: 400, typ: acme.TypeMalformed},
		{name: "no payload", body: edited(func(j map[string]any) { delete(j, "payload") }), status: 400, typ: acme.TypeMalformed},
		{name: "padded base64", body: edited(func(j map[string]any) { j["signature"] = j["signature"].(string) + "==" }), status: 400, typ: acme.TypeMalformed},
		{name: "tampered payload", body: edited(func(j map[string]any) { j["payload"] = "e30" }), status: 400, typ: acme.TypeMalformed},
		{name: "tampered signature", body: edited(func(j map[string]any) {
			s := []byte(j["signature"].(string))
			s[10] ^= 1
			j["signature"] = string(s)
		}), status: 400, typ: acme.TypeMalformed},
		{name: "crit", body: set("crit", []string{"exp"}), status: 400, typ: acme.TypeMalformed},
		{name: "b64", body: set("b64", false), status: 400, typ: acme.TypeMalformed},
	}, []violation{
		{name: "alg none", body: set("alg", "none"), status: 400, typ: acme.TypeBadSignatureAlgorithm},
		{name: "alg HS256", body: set("alg", "HS256"), status: 400, typ: acme.TypeBadSignatureAlgorithm},
		{name: "alg of another key type", body: set("alg", "RS256"), status: 400, typ: acme.TypeBadPublicKey},
		{name: "no alg", body: without("alg"), status: 400, typ: acme.TypeMalformed},
		{name: "no nonce", body: without("nonce"), status: 400, typ: acme.TypeBadNonce},
		{name: "nonce not base64url", body: set("nonce", "a+b/c="), status: 400, typ: acme.TypeMalformed},
		{name: "nonce of somebody else", body: set("nonce", strings.Repeat("A", 56)), status: 400, typ: acme.TypeBadNonce},
		{name: "nonce too old", body: set("nonce", old.Mint()), status: 400, typ: acme.TypeBadNonce},
		{name: "no url", body: without("url"), status: 400, typ: acme.TypeMalformed},
		{name: "url of another path", body: set("url", p.bobURL), status: 403, typ: acme.TypeUnauthorized},
		{name: "url of another host", body: set("url", strings.Replace(p.aliceURL, "127.0.0.1", "localhost", 1)), status: 403, typ: acme.TypeUnauthorized},
		{name: "url with a query", body: set("url", p.aliceURL+"?a=b"), status: 403, typ: acme.TypeUnauthorized},
		{name: "request with a query", path: p.alicePath + "?a=b", body: good(nil), status: 403, typ: acme.TypeUnauthorized},
		{name: "kid and jwk", body: set("jwk", jwk(d.t, p.alice)), status: 400, typ: acme.TypeMalformed},
		{name: "neither kid nor jwk", body: without("kid"), status: 400, typ: acme.TypeMalformed},
	}, []violation{
		{name: "kid of nobody", body: set("kid", d.base()+"/acme/account/aaaaaaaaaaaaaaaaaaaaaaaaaa"), status: 400, typ: acme.TypeAccountDoesNotExist},
		{name: "kid is no id", body: set("kid", d.base()+"/acme/account/../x\x00"), status: 400, typ: acme.TypeAccountDoesNotExist},
		{name: "kid without host", body: set("kid", p.alicePath), status: 400, typ: acme.TypeAccountDoesNotExist},
		{name: "kid of another server", body: set("kid", "https://ca.example"+p.alicePath), status: 400, typ: acme.TypeAccountDoesNotExist},
		{name: "kid of another account", body: set("kid", p.bobURL), status: 400, typ: acme.TypeMalformed},
		{name: "resource of another account", path: p.bobPath, body: set("url", p.bobURL), status: 403, typ: acme.TypeUnauthorized},
		{name: "jwk where kid is wanted", body: good(func(h map[string]any) {
			delete(h, "kid")
			h["jwk"] = jwk(d.t, p.alice)
		}), status: 400, typ: acme.TypeMalformed},
		{name: "kid where jwk is wanted", path: accountNew, body: func() []byte {
			return d.signed(p.alice, accountNew, acme.Header{KeyID: p.aliceURL}, `{}`)
		}, status: 400, typ: acme.TypeMalformed},
		{name: "empty payload where JSON is wanted", path: accountNew, body: good(func(h map[string]any) {
			delete(h, "kid")
			h["jwk"], h["url"] = jwk(d.t, p.alice), d.base()+accountNew
		}), status: 400, typ: acme.TypeMalformed},
		{name: "private key", path: accountNew, body: good(func(h map[string]any) {
			delete(h, "kid")
			h["jwk"], h["url"] = map[string]any{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "AA"}, d.base()+accountNew
		}), status: 400, typ: acme.TypeMalformed},
		{name: "short RSA key", path: accountNew, body: good(func(h map[string]any) {
			delete(h, "kid")
			h["alg"], h["url"] = "RS256", d.base()+accountNew
			h["jwk"] = map[string]any{"kty": "RSA", "e": "AQAB", "n": b64(slices.Repeat([]byte{0xff}, 128))}
		}), status: 400, typ: acme.TypeBadPublicKey},
		{name: "nothing there", path: "/acme/nothing", body: good(nil), status: 404, typ: acme.TypeMalformed},
		{name: "path not clean", path: "//acme/new-account", body: good(nil), status: 404, typ: acme.TypeMalformed},
		{name: "POST of the directory for another url", path: "/acme/directory", body: good(nil), status: 403, typ: acme.TypeUnauthorized},
	})
}

func TestViolations(t *testing.T) {
	d := newDesk(t, nil)
	p := d.people()
	for _, v := range violations(d, p) {
		t.Run(v.name, func(t *testing.T) {
			if v.path == "" {
				v.path = p.alicePath
			}
			switch v.media {
			case "":
				v.media = acme.JOSEMediaType
			case "none":
				v.media = ""
			}
			r := d.do(http.MethodPost, v.path, v.media, v.body())
			if v.path == "/acme/directory" {
				r.Header["Link"] = []string{"<" + d.base() + `/acme/directory>;rel="index"`} // the directory has none (RFC 8555 §7.1)
			}
			r.wants(t, v.status, v.typ)
			if v.typ == acme.TypeBadSignatureAlgorithm && !slices.Contains(r.problem.Algorithms, "ES256") {
				t.Errorf("the problem lists the algorithms %q", r.problem.Algorithms)
			}
		})
	}
	// What the violations are made of is good.
	good := d.post(p.alicePath, d.signed(p.alice, p.alicePath, acme.Header{KeyID: p.aliceURL}, ""))
	if good.StatusCode != http.StatusOK {
		t.Errorf("a good request got %d %s", good.StatusCode, good.body)
	}
	good.wantsHeader(t)
}

func TestReplay(t *testing.T) {
	d := newDesk(t, nil)
	p := d.people()
	read := d.signed(p.alice, p.alicePath, acme.Header{KeyID: p.aliceURL}, "")
	if r := d.post(p.alicePath, read); r.StatusCode != http.StatusOK {
		t.Fatalf("got %d %s", r.StatusCode, r.body)
	}
	r := d.post(p.alicePath, read)
	r.wants(t, 400, acme.TypeBadNonce)

	// The nonce that came with the refusal is good.
	again := d.signed(p.alice, p.alicePath, acme.Header{KeyID: p.aliceURL, Nonce: r.Header.Get("Replay-Nonce")}, "")
	if r := d.post(p.alicePath, again); r.StatusCode != http.StatusOK {
		t.Errorf("with the fresh nonce: %d %s", r.StatusCode, r.body)
	}
}

// A forged request must not spend the nonce of the honest one.
func TestForgerySpendsNothing(t *testing.T) {
	d := newDesk(t, nil)
	p := d.people()
	h := acme.Header{KeyID: p.aliceURL, Nonce: d.config.Nonces.Mint()}
	d.post(p.alicePath, d.signed(p.bob, p.alicePath, h, "")).wants(t, 400, acme.TypeMalformed)
	if r := d.post(p.alicePath, d.signed(p.alice, p.alicePath, h, "")); r.StatusCode != http.StatusOK {
		t.Errorf("the honest request got %d %s", r.StatusCode, r.body)
	}
}

// A write that one server did cannot be repeated at another one over the same
// database, although their memories are apart.
func TestReplayOfWriteAtAnotherServer(t *testing.T) {
	d := newDesk(t, nil)
	second := d.beside()
	p := d.people()
	bodies := map[string][]byte{
		p.alicePath: d.signed(p.alice, p.alicePath, acme.Header{KeyID: p.aliceURL}, `{"contact":["mailto:new@example.org"]}`),
		"/acme/key-change": d.signed(p.bob, "/acme/key-change", acme.Header{KeyID: p.bobURL},
			d.innerKeyChange(drawKey(t), p.bob, p.bobURL)),
	}
	for path, body := range bodies {
		if r := d.post(path, body); r.StatusCode != http.StatusOK {
			t.Fatalf("%s: got %d %s", path, r.StatusCode, r.body)
		}
	}
	second.post(p.alicePath, bodies[p.alicePath]).wants(t, 400, acme.TypeBadNonce)
	// Bob's old key is not his any more, so the replay fails even before the nonce.
	second.post("/acme/key-change", bodies["/acme/key-change"]).wants(t, 400, acme.TypeMalformed)
}

// Clients keep nonces; a restart and a fail-over must not make them useless.
func TestNonceSurvivesRestart(t *testing.T) {
	d := newDesk(t, nil)
	p := d.people()
	kept := d.config.Nonces.Mint()
	second := d.beside()
	body := second.signed(p.alice, p.alicePath, acme.Header{KeyID: p.aliceURL, Nonce: kept}, `{"contact":[]}`)
	if r := second.post(p.alicePath, body); r.StatusCode != http.StatusOK {
		t.Errorf("got %d %s", r.StatusCode, r.body)
	}
}

func TestEndedAccounts(t *testing.T) {
	d := newDesk(t, nil)
	p := d.people()
	ctx := context.Background()
	c := &acme.Client{Directory: d.base() + "/acme/directory", Key: p.alice, AccountURL: p.aliceURL}
	if a, err := c.Deactivate(ctx); err != nil || a.Status != acme.AccountDeactivated {
		t.Fatalf("Deactivate gave %+v, %v", a, err)
	}
	// RFC 8555 §7.3.6: 401.
	d.post(p.alicePath, d.signed(p.alice, p.alicePath, acme.Header{KeyID: p.aliceURL}, "")).wants(t, 401, acme.TypeUnauthorized)
	d.post(accountNew, d.signed(p.alice, accountNew, acme.Header{}, `{}`)).wants(t, 401, acme.TypeUnauthorized)
	// Who cannot sign as alice does not learn that her account has ended.
	d.post(p.alicePath, d.signed(p.bob, p.alicePath, acme.Header{KeyID: p.aliceURL}, "")).wants(t, 400, acme.TypeMalformed)
}

// FuzzRequest sends anything to the handler: whatever it is, it is the client's fault.
func FuzzRequest(f *testing.F) {
	d := newDesk(f, nil)
	p := d.people()
	old := d.signed(p.alice, p.alicePath, acme.Header{KeyID: p.aliceURL, Nonce: strings.Repeat("A", 56)}, "")
	f.Add("/acme/new-account", old)
	f.Add(p.alicePath, old)
	f.Add("/acme/key-change", []byte(`{"protected":"e30","payload":"","signature":"AA"}`))
	f.Add("/acme/../x", []byte(`{`))
	f.Add("acme", []byte(`{}`))
	handler := d.server.Handler()
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(string(body)))
		r.URL.Path = path
		r.Header.Set("Content-Type", acme.JOSEMediaType)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code < 400 || w.Code > 499 || w.Header().Get("Replay-Nonce") == "" {
			t.Errorf("%q got %d %s", path, w.Code, w.Body)
		}
	})
}

func TestKeyTypes(t *testing.T) {
	d := newDesk(t, func(c *acmeserver.Config) { c.Terms = "" })
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &acme.Client{Directory: d.base() + "/acme/directory", Key: p384}
	if _, err := c.Register(context.Background(), acme.Registration{}); err != nil {
		t.Error(err)
	}
}
