package acmeserver_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/acmeserver"
	"chancery/internal/ca"
	"chancery/internal/registry"
)

func TestAccountLife(t *testing.T) {
	d := newDesk(t, nil)
	ctx := context.Background()
	c := d.stranger()
	if _, err := c.Register(ctx, acme.Registration{OnlyExisting: true}); !acme.HasType(err, acme.TypeAccountDoesNotExist) {
		t.Errorf("looking for an account that is not there gave %v", err)
	}
	contacts := []string{"mailto:a@example.org", "MAILTO:b%2Bc@example.org"}
	a, err := c.Register(ctx, acme.Registration{Contacts: contacts, AgreeTerms: true})
	if err != nil {
		t.Fatal(err)
	}
	if a.Status != acme.AccountValid || !slices.Equal(a.Contact, contacts) || !a.TermsOfServiceAgreed || a.Orders != a.URL+"/orders" {
		t.Errorf("the new account is %+v", a)
	}
	// RFC 8555 §7.3.1: the same account, and the request's fields are ignored.
	again := &acme.Client{Directory: c.Directory, Key: c.Key}
	for _, reg := range []acme.Registration{{Contacts: []string{"mailto:other@example.org"}}, {OnlyExisting: true}, {Contacts: []string{"tel:1"}}} {
		if b, err := again.Register(ctx, reg); err != nil || b.URL != a.URL || !slices.Equal(b.Contact, contacts) {
			t.Errorf("registering again with %+v gave %+v, %v", reg, b, err)
		}
	}
	if b, err := c.UpdateAccount(ctx, []string{"mailto:new@example.org"}); err != nil || !slices.Equal(b.Contact, []string{"mailto:new@example.org"}) {
		t.Errorf("the update gave %+v, %v", b, err)
	}
	_, next, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ChangeKey(ctx, next); err != nil {
		t.Fatal(err)
	}
	if b, err := c.Account(ctx); err != nil || !slices.Equal(b.Contact, []string{"mailto:new@example.org"}) || b.URL != a.URL {
		t.Errorf("with the new key the account is %+v, %v", b, err)
	}
	if b, err := c.UpdateAccount(ctx, nil); err != nil || len(b.Contact) != 0 {
		t.Errorf("removing the contacts gave %+v, %v", b, err)
	}
	// The old key is free, and has no account.
	if _, err := again.Register(ctx, acme.Registration{OnlyExisting: true}); !acme.HasType(err, acme.TypeAccountDoesNotExist) {
		t.Errorf("the old key still finds an account: %v", err)
	}
}

func TestNewAccountAnswers(t *testing.T) {
	d := newDesk(t, nil)
	key := drawKey(t)
	request := `{"contact":["mailto:a@example.org"],"orders":"https://evil.example/","status":"revoked","unknown":{"a":1}}`
	first := d.post(accountNew, d.signed(key, accountNew, acme.Header{}, request))
	second := d.post(accountNew, d.signed(key, accountNew, acme.Header{}, request))
	location := first.Header.Get("Location")
	if first.StatusCode != 201 || second.StatusCode != 200 || location == "" || second.Header.Get("Location") != location {
		t.Fatalf("got %d %s and %d %s", first.StatusCode, first.Header, second.StatusCode, second.Header)
	}
	want := `{"status":"valid","contact":["mailto:a@example.org"],"orders":"` + location + `/orders"}` + "\n"
	if string(first.body) != want || string(second.body) != want {
		t.Errorf("got %s and %s; want %s", first.body, second.body, want)
	}
	first.wantsHeader(t)
	// RFC 8555 §7.3.2: what the server does not know or allow is ignored.
	path := strings.TrimPrefix(location, d.base())
	r := d.post(path, d.signed(key, path, acme.Header{KeyID: location}, `{"status":"valid","orders":"x","termsOfServiceAgreed":true}`))
	if r.StatusCode != 200 || string(r.body) != want {
		t.Errorf("an update without effect got %d %s", r.StatusCode, r.body)
	}
}

func TestContacts(t *testing.T) {
	d := newDesk(t, nil)
	for contact, typ := range map[string]string{
		"mailto:someone@example.org": "", "mailto:some.one+tag@sub.example.org": "", "mailto:a%2Fb@example.org": "",
		"tel:+4912345":                         acme.TypeUnsupportedContact,
		"someone@example.org":                  acme.TypeUnsupportedContact,
		"":                                     acme.TypeUnsupportedContact,
		"mailto:a@example.org?subject=hello":   acme.TypeInvalidContact,
		"mailto:a@example.org,b@example.org":   acme.TypeInvalidContact,
		"mailto:a%2Cb@example.org":             acme.TypeInvalidContact,
		"mailto:%zz@example.org":               acme.TypeInvalidContact,
		"mailto:":                              acme.TypeInvalidContact,
		"mailto:nobody":                        acme.TypeInvalidContact,
		"mailto:a b@example.org":               acme.TypeInvalidContact,
		"mailto:a@" + strings.Repeat("x", 400): acme.TypeInvalidContact,
		"mailto:a%0d%0aBcc:b@example.org":      acme.TypeInvalidContact,
	} {
		payload, _ := json.Marshal(map[string]any{"contact": []string{contact}})
		r := d.post(accountNew, d.signed(drawKey(t), accountNew, acme.Header{}, string(payload)))
		if typ == "" {
			if r.StatusCode != http.StatusCreated {
				t.Errorf("%q got %d %s", contact, r.StatusCode, r.body)
			}
			continue
		}
		r.wants(t, 400, typ)
	}
	many, _ := json.Marshal(map[string]any{"contact": slices.Repeat([]string{"mailto:a@example.org"}, 11)})
	d.post(accountNew, d.signed(drawKey(t), accountNew, acme.Header{}, string(many))).wants(t, 400, acme.TypeInvalidContact)
}

func TestTerms(t *testing.T) {
	const terms = "https://ca.example/terms"
	d := newDesk(t, func(c *acmeserver.Config) { c.Terms = terms })
	key := drawKey(t)
	for _, payload := range []string{`{}`, `{"termsOfServiceAgreed":false}`} {
		r := d.post(accountNew, d.signed(key, accountNew, acme.Header{}, payload))
		r.wants(t, 403, acme.TypeUserActionRequired)
		if !slices.Contains(r.Header.Values("Link"), "<"+terms+`>;rel="terms-of-service"`) || r.problem.Instance != terms {
			t.Errorf("Link is %q, instance %q", r.Header.Values("Link"), r.problem.Instance)
		}
	}
	if r := d.post(accountNew, d.signed(key, accountNew, acme.Header{}, `{"termsOfServiceAgreed":true}`)); r.StatusCode != 201 {
		t.Errorf("got %d %s", r.StatusCode, r.body)
	}
}

func TestNewAccountsAreLimited(t *testing.T) {
	var asked []string
	d := newDesk(t, func(c *acmeserver.Config) {
		c.NewAccounts = func(key string, _ time.Time) (time.Duration, bool) {
			asked = append(asked, key)
			return 90*time.Second + time.Millisecond, len(asked) <= 1
		}
	})
	c := d.client(acme.Registration{})
	r := d.post(accountNew, d.signed(drawKey(t), accountNew, acme.Header{}, `{}`))
	r.wants(t, 429, acme.TypeRateLimited)
	if got := r.Header.Get("Retry-After"); got != "91" {
		t.Errorf("Retry-After is %q; want 91", got)
	}
	// Finding an account is no new one, and neither is a request that fails anyhow.
	if _, err := c.Register(context.Background(), acme.Registration{}); err != nil {
		t.Error(err)
	}
	d.post(accountNew, d.signed(drawKey(t), accountNew, acme.Header{}, `{"contact":["x"]}`)).wants(t, 400, acme.TypeUnsupportedContact)
	if !slices.Equal(asked, []string{"127.0.0.1", "127.0.0.1"}) {
		t.Errorf("the limit was asked for %q", asked)
	}
}

// innerKeyChange signs the inner JWS as a client should.
func (d *desk) innerKeyChange(newKey, oldKey crypto.Signer, account string) string {
	d.t.Helper()
	return d.innerWith(newKey, `{"account":"`+account+`","oldKey":`+string(jwk(d.t, oldKey))+`}`)
}

func (d *desk) innerWith(newKey crypto.Signer, payload string) string {
	d.t.Helper()
	inner, err := acme.Sign(newKey, acme.Header{URL: d.base() + "/acme/key-change"}, []byte(payload))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(inner)
}

func TestKeyChangeViolations(t *testing.T) {
	d := newDesk(t, nil)
	p := d.people()
	const path = "/acme/key-change"
	next := drawKey(t)
	inner := func(change func(head map[string]any), payload string) string {
		head := map[string]any{"alg": "ES256", "jwk": jwk(t, next), "url": d.base() + path}
		if change != nil {
			change(head)
		}
		if payload == "" {
			payload = `{"account":"` + p.aliceURL + `","oldKey":` + string(jwk(t, p.alice)) + `}`
		}
		return string(raw(t, next, head, payload))
	}
	for _, c := range []struct {
		name, payload string
		status        int
	}{
		{"nothing", "", 400},
		{"no JWS", `{}`, 400},
		{"inner with kid", inner(func(h map[string]any) { delete(h, "jwk"); h["kid"] = p.aliceURL }, ""), 400},
		{"inner with nonce", inner(func(h map[string]any) { h["nonce"] = d.config.Nonces.Mint() }, ""), 400},
		{"inner with another url", inner(func(h map[string]any) { h["url"] = p.aliceURL }, ""), 400},
		{"inner without url", inner(func(h map[string]any) { delete(h, "url") }, ""), 400},
		{"inner signed by another key", inner(func(h map[string]any) { h["jwk"] = jwk(t, drawKey(t)) }, ""), 400},
		{"inner payload empty", d.innerWith(next, ""), 400},
		{"another account", inner(nil, `{"account":"`+p.bobURL+`","oldKey":`+string(jwk(t, p.alice))+`}`), 400},
		{"no account", inner(nil, `{"oldKey":`+string(jwk(t, p.alice))+`}`), 400},
		{"another old key", inner(nil, `{"account":"`+p.aliceURL+`","oldKey":`+string(jwk(t, p.bob))+`}`), 400},
		{"no old key", inner(nil, `{"account":"`+p.aliceURL+`"}`), 400},
		{"key of another account", d.innerKeyChange(p.bob, p.alice, p.aliceURL), 409},
		{"its own key", d.innerKeyChange(p.alice, p.alice, p.aliceURL), 409},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := d.post(path, d.signed(p.alice, path, acme.Header{KeyID: p.aliceURL}, c.payload))
			r.wants(t, c.status, acme.TypeMalformed)
			if location := r.Header.Get("Location"); (c.status == 409) != (location == p.aliceURL || location == p.bobURL) {
				t.Errorf("Location is %q", location)
			}
		})
	}
	r := d.post(path, d.signed(p.alice, path, acme.Header{KeyID: p.aliceURL}, inner(nil, "")))
	if r.StatusCode != http.StatusOK {
		t.Errorf("a good key change got %d %s", r.StatusCode, r.body)
	}
	d.post(p.alicePath, d.signed(p.alice, p.alicePath, acme.Header{KeyID: p.aliceURL}, "")).wants(t, 400, acme.TypeMalformed)
	if r := d.post(p.alicePath, d.signed(next, p.alicePath, acme.Header{KeyID: p.aliceURL}, "")); r.StatusCode != http.StatusOK {
		t.Errorf("with the new key: %d %s", r.StatusCode, r.body)
	}
}

// newExternal makes an external account key.
func (d *desk) newExternal(expires time.Time) acme.ExternalAccount {
	d.t.Helper()
	k, err := d.registry.CreateKey(context.Background(), registry.Order{By: ca.Principal{Room: "admin", ID: "test"}, Label: "for a test", Expires: expires})
	if err != nil {
		d.t.Fatal(err)
	}
	return acme.ExternalAccount{KeyID: k.ID, Key: k.Secret}
}

func TestBinding(t *testing.T) {
	d := newDesk(t, func(c *acmeserver.Config) { c.RequireEAB = true })
	ctx := context.Background()
	c := d.stranger()
	if _, err := c.Register(ctx, acme.Registration{}); !acme.HasType(err, acme.TypeExternalAccountRequired) {
		t.Errorf("without a binding: %v", err)
	}
	for _, alg := range []string{acme.HS256, acme.HS384, acme.HS512} {
		eab := d.newExternal(time.Time{})
		eab.Algorithm = alg
		c := d.stranger()
		a, err := c.Register(ctx, acme.Registration{EAB: &eab})
		if err != nil || len(a.ExternalAccountBinding) == 0 {
			t.Fatalf("%s: %+v, %v", alg, a, err)
		}
		// The key is used, and the account can still be found with the same request.
		if b, err := c.Register(ctx, acme.Registration{EAB: &eab}); err != nil || b.URL != a.URL {
			t.Errorf("registering again gave %+v, %v", b, err)
		}
		if _, err := d.stranger().Register(ctx, acme.Registration{EAB: &eab}); !acme.HasType(err, acme.TypeUnauthorized) {
			t.Errorf("the key bound a second account: %v", err)
		}
	}
	// A key that is presented for an account that exists is not spent.
	eab := d.newExternal(time.Time{})
	if _, err := c.Register(ctx, acme.Registration{EAB: &eab}); err != nil {
		t.Fatal(err)
	}
	spare := d.newExternal(time.Time{})
	if _, err := c.Register(ctx, acme.Registration{EAB: &spare}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.stranger().Register(ctx, acme.Registration{EAB: &spare}); err != nil {
		t.Errorf("a key presented for an existing account was spent: %v", err)
	}
}

func TestBindingViolations(t *testing.T) {
	d := newDesk(t, func(c *acmeserver.Config) { c.RequireEAB = true })
	ctx := context.Background()
	key := drawKey(t)
	own, err := acme.NewKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	other, _ := acme.NewKey(drawKey(t).Public())
	url := d.base() + accountNew
	good := d.newExternal(time.Time{})
	bind := func(e acme.ExternalAccount, url string, key *acme.Key) string {
		text, err := acme.SignMAC(e, url, key)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	wrongKey, unknown := good, good
	wrongKey.Key = []byte(strings.Repeat("x", 64))
	unknown.KeyID = "unknown\x00"
	withdrawn := d.newExternal(time.Time{})
	if err := d.registry.Withdraw(ctx, ca.Principal{Room: "admin", ID: "test"}, withdrawn.KeyID); err != nil {
		t.Fatal(err)
	}
	head := func(h string) string {
		return `{"protected":"` + base64.RawURLEncoding.EncodeToString([]byte(h)) + `","payload":"` + b64(jwk(t, key)) + `","signature":"AAAA"}`
	}
	for _, c := range []struct {
		name, binding string
		status        int
		typ           string
	}{
		{"null", `null`, 403, acme.TypeExternalAccountRequired},
		{"no JWS", `{}`, 400, acme.TypeMalformed},
		{"text", `"x"`, 400, acme.TypeMalformed},
		{"alg of a signature", head(`{"alg":"ES256","kid":"` + good.KeyID + `","url":"` + url + `"}`), 400, acme.TypeMalformed},
		{"alg none", head(`{"alg":"none","kid":"` + good.KeyID + `","url":"` + url + `"}`), 400, acme.TypeMalformed},
		{"nonce", head(`{"alg":"HS256","nonce":"AAAA","kid":"` + good.KeyID + `","url":"` + url + `"}`), 400, acme.TypeMalformed},
		{"no kid", head(`{"alg":"HS256","url":"` + url + `"}`), 400, acme.TypeMalformed},
		{"no MAC", head(`{"alg":"HS256","kid":"` + good.KeyID + `","url":"` + url + `"}`), 403, acme.TypeUnauthorized},
		{"another url", bind(good, url+"x", own), 400, acme.TypeMalformed},
		{"another account key", bind(good, url, other), 400, acme.TypeMalformed},
		{"wrong secret", bind(wrongKey, url, own), 403, acme.TypeUnauthorized},
		{"unknown key id", bind(unknown, url, own), 403, acme.TypeUnauthorized},
		{"withdrawn", bind(withdrawn, url, own), 403, acme.TypeUnauthorized},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := d.post(accountNew, d.signed(key, accountNew, acme.Header{}, `{"externalAccountBinding":`+c.binding+`}`))
			r.wants(t, c.status, c.typ)
		})
	}
	r := d.post(accountNew, d.signed(key, accountNew, acme.Header{}, `{"externalAccountBinding":`+bind(good, url, own)+`}`))
	if r.StatusCode != http.StatusCreated {
		t.Errorf("the good binding got %d %s", r.StatusCode, r.body)
	}
}

func TestRegistry(t *testing.T) {
	d := newDesk(t, nil)
	ctx := context.Background()
	by := ca.Principal{Room: "admin", ID: "test"}
	for _, o := range []registry.Order{{By: by}, {By: by, Label: "two\nlines"}, {By: by, Label: strings.Repeat("x", 201)},
		{By: by, Label: "late", Expires: time.Now().Add(-time.Second)}} {
		if _, err := d.registry.CreateKey(ctx, o); ca.KindOf(err) != ca.Invalid {
			t.Errorf("CreateKey(%+v) gave %v", o, err)
		}
	}
	e := d.newExternal(time.Now().Add(time.Hour))
	k, err := d.registry.Key(ctx, e.KeyID)
	if err != nil || string(k.Secret) != string(e.Key) || !k.Usable(time.Now()) || k.Usable(time.Now().Add(2*time.Hour)) {
		t.Errorf("the key came back as %#v, %v", k, err)
	}
	if strings.Contains(string(k.Sealed), string(k.Secret)) {
		t.Error("the secret is stored as it is")
	}
	for _, id := range []string{"", "nobody", "\x00", "\xff", strings.Repeat("x", 1000)} {
		if err := d.registry.Withdraw(ctx, by, id); ca.KindOf(err) != ca.NotFound {
			t.Errorf("Withdraw(%q) gave %v", id, err)
		}
	}
	// A row moved to another id does not open.
	if _, err := d.db.Exec(ctx, `UPDATE external_keys SET id = 'moved' WHERE id = $1`, e.KeyID); err != nil {
		t.Fatal(err)
	}
	if _, err := d.registry.Key(ctx, "moved"); err == nil || errors.As(err, new(*ca.Error)) {
		t.Errorf("a moved row gave %v", err)
	}
}
