package acmeserver_test

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/acmeserver"
	"chancery/internal/ca"
)

// The tests in this file are for clauses that no story needs; docs/conformance
// says which clause is proven where.

// send posts a payload, signed by the client, to a server of this world, and
// gives the answer as it is on the wire.
func (w *world) send(to *acmeserver.Server, c *acme.Client, url, payload string) *http.Response {
	w.t.Helper()
	body, err := acme.Sign(c.Key, acme.Header{KeyID: c.AccountURL, Nonce: w.config.Nonces.Mint(), URL: url}, []byte(payload))
	if err != nil {
		w.t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	r.Header.Set("Content-Type", acme.JOSEMediaType)
	rec := httptest.NewRecorder()
	to.Handler().ServeHTTP(rec, r)
	return rec.Result()
}

// members reads an answer's JSON object.
func members(t *testing.T, r *http.Response) map[string]any {
	t.Helper()
	var got map[string]any
	if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	return got
}

// RFC 8555 §6.3: POST-as-GET MUST be allowed for directory and newNonce.
func TestPostAsGetOfPublicResources(t *testing.T) {
	d := newDesk(t, nil)
	p := d.people()
	const directory, newNonce = "/acme/directory", "/acme/new-nonce"
	post := func(path, payload string) *reply {
		return d.post(path, d.signed(p.alice, path, acme.Header{KeyID: p.aliceURL}, payload))
	}
	plain := d.do(http.MethodGet, directory, "", nil)
	if r := post(directory, ""); r.StatusCode != http.StatusOK || !bytes.Equal(r.body, plain.body) || !acme.ValidToken(r.Header.Get("Replay-Nonce")) {
		t.Errorf("the directory by POST-as-GET is %d %s %s", r.StatusCode, r.Header, r.body)
	}
	if r := post(newNonce, ""); r.StatusCode != http.StatusNoContent || len(r.body) != 0 {
		t.Errorf("newNonce by POST-as-GET is %d %s", r.StatusCode, r.body)
	} else {
		r.wantsHeader(t)
	}
	post(newNonce, "{}").wants(t, http.StatusBadRequest, acme.TypeMalformed)
	// RFC 8555 §6.3: the sender MUST be authenticated all the same.
	d.post(newNonce, d.signed(p.bob, newNonce, acme.Header{KeyID: p.aliceURL}, "")).wants(t, http.StatusBadRequest, acme.TypeMalformed)
}

// RFC 8555 §7.1.3, §7.1.4: what objects MUST have, MUST NOT have, and where the
// wildcard's asterisk is; §8.4 and RFC 8738 §7: who is offered dns-01.
func TestObjects(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	o, err := c.NewOrder(t.Context(), acme.NewOrder{Identifiers: append(dnsNames("*.wild.example", "wild.example"),
		acme.Identifier{Type: acme.IdentifierIP, Value: "127.0.0.1"})})
	if err != nil {
		t.Fatal(err)
	}
	order := members(t, w.send(w.server, c, o.URL, ""))
	if order["status"] != "pending" || order["expires"] == nil || order["profile"] != "tls-server" || len(order["authorizations"].([]any)) != 3 {
		t.Errorf("the pending order is %v", order)
	}
	if first := order["identifiers"].([]any)[0].(map[string]any); first["value"] != "*.wild.example" {
		t.Errorf("the order's first identifier is %v", first)
	}
	for n, want := range []struct {
		value    string
		wildcard bool
		offered  string
	}{
		{"wild.example", true, "dns-01"},
		{"wild.example", false, "dns-01 http-01 tls-alpn-01"},
		{"127.0.0.1", false, "http-01 tls-alpn-01"},
	} {
		a := members(t, w.send(w.server, c, o.Authorizations[n], ""))
		if got := a["identifier"].(map[string]any)["value"]; got != want.value {
			t.Errorf("authorisation %d is for %v", n, got)
		}
		if got, there := a["wildcard"]; there != want.wildcard || there && got != true {
			t.Errorf("authorisation %d has wildcard %v, %v", n, got, there)
		}
		for _, ch := range a["challenges"].([]any) {
			if typ := ch.(map[string]any)["type"].(string); !strings.Contains(want.offered, typ) {
				t.Errorf("authorisation %d offers %s", n, typ)
			}
		}
	}
	ready := w.ready(c, "plain.example")
	if a := members(t, w.send(w.server, c, ready.Authorizations[0], "")); a["status"] != "valid" || a["expires"] == nil {
		t.Errorf("the valid authorisation is %v", a)
	}
	if o, err = c.Finalize(t.Context(), ready, csr(t, certKey(t), "", "plain.example")); err != nil || o.Status != acme.OrderValid {
		t.Fatalf("got %+v, %v", o, err)
	}
	if done := members(t, w.send(w.server, c, ready.URL, "")); done["expires"] == nil || done["certificate"] == nil {
		t.Errorf("the valid order is %v", done)
	}
}

// RFC 8555 §7.5.1: members that the challenge does not define MUST be ignored, an
// unreadable response MUST get an HTTP error, and "up" leads to the authorisation.
func TestChallengeResponse(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	_, a, ch := w.pendingChallenge(c, "response.example", true)
	for _, payload := range []string{`[]`, `"x"`, `{`, `null`} {
		if r := w.send(w.server, c, ch.URL, payload); r.StatusCode != http.StatusBadRequest {
			t.Errorf("the response %s got %d", payload, r.StatusCode)
		}
	}
	r := w.send(w.server, c, ch.URL, `{"keyAuthorization":"of an old draft","status":"valid","token":7}`)
	up := "<" + a.URL + `>;rel="up"`
	if links := r.Header.Values("Link"); r.StatusCode != http.StatusOK || len(links) != 2 || links[1] != up {
		t.Errorf("got %d with Link %q; want %s", r.StatusCode, links, up)
	}
	if got := members(t, r); got["status"] != "valid" || got["validated"] == nil || got["keyAuthorization"] != nil || got["token"] != ch.Token {
		t.Errorf("the challenge is %v", got)
	}
}

// RFC 8555 §7.3.5: a change of key MUST NOT harm orders and authorisations.
func TestKeyChangeKeepsOrders(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	pending, _, ch := w.pendingChallenge(c, "pending.example", false)
	ready := w.ready(c, "ready.example")
	if err := c.ChangeKey(t.Context(), certKey(t)); err != nil {
		t.Fatal(err)
	}
	if o, err := c.Finalize(t.Context(), ready, csr(t, certKey(t), "", "ready.example")); err != nil || o.Status != acme.OrderValid {
		t.Errorf("the order that was ready is %+v, %v", o, err)
	}
	// §8.1: the proof is now made with the new key.
	w.prove(c, dnsNames("pending.example")[0], ch)
	if _, err := c.Respond(t.Context(), ch); err != nil {
		t.Fatal(err)
	}
	if o, err := c.WaitOrder(t.Context(), pending.URL); err != nil || o.Status != acme.OrderReady {
		t.Errorf("the order that was pending is %+v, %v", o, err)
	}
}

// RFC 8555 §7.3.6: nothing is accepted from a deactivated account, and its
// certificates SHOULD NOT be revoked.
func TestDeactivationKeepsCertificates(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	chain, _ := w.obtain(c, "kept.example")
	o := w.ready(c, "never.example")
	if _, err := c.Deactivate(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := c.Finalize(t.Context(), o, csr(t, certKey(t), "", "never.example"))
	refused(t, err, acme.TypeUnauthorized)
	_, err = c.NewOrder(t.Context(), acme.NewOrder{Identifiers: dnsNames("never.example")})
	refused(t, err, acme.TypeUnauthorized)
	r, err := w.store.BySerial(t.Context(), ca.SerialOf(chain.Certificates[0].SerialNumber))
	if err != nil || !r.RevokedAt.IsZero() {
		t.Errorf("the certificate stands as %+v, %v", r, err)
	}
}

// RFC 8555 §7.3.4: a binding that was verified MUST come back as it was, and one
// that was not MUST NOT.
func TestBindingIsReflected(t *testing.T) {
	for _, verified := range []bool{true, false} {
		d := newDesk(t, func(c *acmeserver.Config) {
			if !verified {
				c.Registry = nil
			}
		})
		key := drawKey(t)
		public, err := acme.NewKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		binding, err := acme.SignMAC(d.newExternal(time.Time{}), d.base()+accountNew, public)
		if err != nil {
			t.Fatal(err)
		}
		r := d.post(accountNew, d.signed(key, accountNew, acme.Header{}, `{"externalAccountBinding":`+string(binding)+`}`))
		var got struct{ ExternalAccountBinding json.RawMessage }
		if err := json.Unmarshal(r.body, &got); err != nil || r.StatusCode != http.StatusCreated {
			t.Fatalf("got %d %s, %v", r.StatusCode, r.body, err)
		}
		if same := bytes.Equal(got.ExternalAccountBinding, binding); same != verified || !verified && got.ExternalAccountBinding != nil {
			t.Errorf("verified %v: sent %s, got %s", verified, binding, got.ExternalAccountBinding)
		}
	}
}

// RFC 8555 §11.1: no account's key may come into a certificate.
func TestCertificateWithAnAccountsKey(t *testing.T) {
	w := newWorld(t, nil)
	c, other := w.client(), w.client()
	o := w.ready(c, "a.example")
	_, err := c.Finalize(t.Context(), o, csr(t, other.Key, "", "a.example"))
	refused(t, err, acme.TypeBadCSR, "key of an account")
	if o, err = c.Finalize(t.Context(), o, csr(t, certKey(t), "", "a.example")); err != nil || o.Status != acme.OrderValid {
		t.Errorf("with another key: %+v, %v", o, err)
	}
}

// draft-ietf-acme-profiles §4: a profile that does not take the names MUST be
// refused as invalidProfile.
func TestUnfitProfile(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	_, err := c.NewOrder(t.Context(), acme.NewOrder{Identifiers: dnsNames("*.a.example"), Profile: "tls-client"})
	refused(t, err, acme.TypeInvalidProfile, "*.a.example")
	if o, err := c.NewOrder(t.Context(), acme.NewOrder{Identifiers: dnsNames("a.example"), Profile: "tls-client"}); err != nil || o.Profile != "tls-client" {
		t.Errorf("got %+v, %v", o, err)
	}
}

// draft-ietf-acme-profiles §4: an order whose profile is not offered any more
// MUST be refused as invalidProfile when it is finalized.
func TestWithdrawnProfile(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	w.obtain(c, "a.example") // proves the name
	o, err := c.NewOrder(t.Context(), acme.NewOrder{Identifiers: dnsNames("a.example"), Profile: "tls-client"})
	if err != nil || o.Status != acme.OrderReady {
		t.Fatalf("got %+v, %v", o, err)
	}
	w.config.Profiles = []string{"tls-server"}
	second := w.another()
	defer w.close(second)
	payload := `{"csr":"` + b64(csr(t, certKey(t), "", "a.example")) + `"}`
	r := w.send(second, c, o.Finalize, payload)
	if got := members(t, r); r.StatusCode != http.StatusBadRequest || got["type"] != acme.TypeInvalidProfile {
		t.Errorf("got %d %v", r.StatusCode, got)
	}
	if r := w.send(w.server, c, o.Finalize, payload); r.StatusCode != http.StatusOK {
		t.Errorf("while it is offered: %d", r.StatusCode)
	}
}

// RFC 8555 §7.4.2 and §9.1: the media type, strict PEM without explanations, the
// end entity first, and each certificate certified by the next.
func TestCertificateDownload(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	o := w.ready(c, "a.example")
	o, err := c.Finalize(t.Context(), o, csr(t, certKey(t), "", "a.example"))
	if err != nil {
		t.Fatal(err)
	}
	r := w.send(w.server, c, o.Certificate, "")
	text, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != "application/pem-certificate-chain" {
		t.Fatalf("got %d %v, %v", r.StatusCode, r.Header, err)
	}
	var strict bytes.Buffer
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if err := pem.Encode(&strict, &pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes}); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(strict.Bytes(), text) {
		t.Errorf("the chain is not strict PEM: %s", text)
	}
	chain, err := acme.ParseChain(text)
	if err != nil || chain.Certificates[0].IsCA || len(chain.Certificates) < 2 {
		t.Fatalf("got %v, %v", chain, err)
	}
	// RFC 8555 §6.3: only what is meant to be public can be had by GET.
	get, err := http.Get(o.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	get.Body.Close()
	if get.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET of a certificate is %d", get.StatusCode)
	}
}

// RFC 9773 §5: "replaces" MUST be in every later view of the order, too.
func TestReplacesIsKept(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	chain, _ := w.obtain(c, "a.example")
	certID, err := acme.CertID(chain.Certificates[0])
	if err != nil {
		t.Fatal(err)
	}
	o, err := c.NewOrder(t.Context(), acme.NewOrder{Identifiers: dnsNames("a.example"), Replaces: certID})
	if err != nil || o.Replaces != certID {
		t.Fatalf("got %+v, %v", o, err)
	}
	if o, err = c.Order(t.Context(), o.URL); err != nil || o.Replaces != certID {
		t.Errorf("the order later is %+v, %v", o, err)
	}
	if o, err = c.Finalize(t.Context(), o, csr(t, certKey(t), "", "a.example")); err != nil || o.Replaces != certID {
		t.Errorf("the order that was finalized is %+v, %v", o, err)
	}
}

// RFC 8555 §6.7 and §9.7.4: the types of the ACME namespace are those that are
// registered, but for invalidProfile, which draft-ietf-acme-profiles asks for.
func TestRefusalsAreTyped(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	for url, payload := range map[string]string{
		w.base + "/acme/order/none":              "",
		w.base + "/acme/new-order":               `{"identifiers":[{"type":"email","value":"a@b.example"},{"type":"dns","value":"-"}]}`,
		w.base + "/acme/new-authz":               `{"identifier":{"type":"dns","value":"a..b"}}`,
		w.base + "/acme/revoke-cert":             `{"certificate":"AA"}`,
		c.AccountURL + "/orders?cursor=nonsense": "",
	} {
		r := w.send(w.server, c, url, payload)
		got := members(t, r)
		typ, _ := got["type"].(string)
		if r.StatusCode < 400 || r.StatusCode > 499 || !strings.HasPrefix(typ, "urn:ietf:params:acme:error:") {
			t.Errorf("%s got %d %v", url, r.StatusCode, got)
		}
		// RFC 8555 §6.7.1: MUST NOT stand at the top level.
		if _, there := got["identifier"]; there {
			t.Errorf("%s got an identifier at the top: %v", url, got)
		}
		if r.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s got a %s", url, r.Header.Get("Content-Type"))
		}
	}
}
