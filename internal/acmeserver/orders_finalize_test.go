package acmeserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/ca"
)

func TestFinalizeRefuses(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	o := w.ready(c, "a.example", "b.example")
	key := certKey(t)
	good := csr(t, key, "", "a.example", "b.example")
	broken := append([]byte(nil), good...)
	broken[len(broken)-1] ^= 1
	for _, test := range []struct {
		name  string
		csr   []byte
		typ   string
		words []string
	}{
		{"none", nil, acme.TypeMalformed, []string{"csr"}},
		{"no CSR", []byte{1, 2, 3}, acme.TypeBadCSR, nil},
		{"signature", broken, acme.TypeBadCSR, []string{"signature"}},
		{"missing", csr(t, key, "", "a.example"), acme.TypeBadCSR, []string{"lacks b.example"}},
		{"extra", csr(t, key, "", "a.example", "b.example", "c.example", "10.0.0.1"), acme.TypeBadCSR, []string{"also has c.example, 10.0.0.1"}},
		{"extra in the common name", csr(t, key, "d.example", "a.example", "b.example"), acme.TypeBadCSR, []string{"also has d.example"}},
		{"bad name", csr(t, key, "", "a.example", "b_.example"), acme.TypeBadCSR, []string{"b_.example"}},
		{"account's key", csr(t, c.Key, "", "a.example", "b.example"), acme.TypeBadCSR, []string{"account's own key"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := c.Finalize(t.Context(), o, test.csr)
			refused(t, err, test.typ, test.words...)
		})
	}
	// After all this the order is as ready as before.
	got, err := c.Finalize(t.Context(), o, csr(t, key, "B.example", "a.example"))
	if err != nil || got.Status != acme.OrderValid || got.Certificate == "" {
		t.Fatalf("got %+v, %v", got, err)
	}
	chain, err := c.Certificate(t.Context(), got.Certificate)
	if err != nil || chain.Certificates[0].Subject.CommonName != "b.example" || len(chain.Certificates[0].DNSNames) != 2 {
		t.Errorf("got %v, %v", chain, err)
	}
}

// TestLongCommonName: what does not fit into the subject stands among the names.
func TestLongCommonName(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	for _, label := range []int{56, 57} { // "….example" is 64 characters long, and 65
		name := strings.Repeat("a", label) + ".example"
		want := name
		if len(name) > 64 {
			want = ""
		}
		got, err := c.Finalize(t.Context(), w.ready(c, name), csr(t, certKey(t), name, name))
		if err != nil {
			t.Errorf("%d characters: %v", len(name), err)
			continue
		}
		chain, err := c.Certificate(t.Context(), got.Certificate)
		if err != nil || chain.Certificates[0].Subject.CommonName != want || chain.Certificates[0].DNSNames[0] != name {
			t.Errorf("%d characters: got %v, %v", len(name), chain, err)
		}
	}
}

func TestFinalizeTooEarly(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	_, err := c.Finalize(t.Context(), w.order(c, "a.example"), csr(t, certKey(t), "", "a.example"))
	refused(t, err, acme.TypeOrderNotReady, "pending", "challenges")
	if p := acme.AsProblem(err); p.Status != http.StatusForbidden {
		t.Errorf("RFC 8555 §7.4: 403 MUST be sent, not %d", p.Status)
	}
	// The CSR is not even looked at.
	_, err = c.Finalize(t.Context(), w.order(c, "a.example"), []byte{1, 2, 3})
	refused(t, err, acme.TypeOrderNotReady, "pending")
}

func TestFinalizeAgain(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	o := w.ready(c, "a.example")
	request := csr(t, certKey(t), "", "a.example")
	first, err := c.Finalize(t.Context(), o, request)
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.Finalize(t.Context(), o, request)
	if err != nil || again.Certificate != first.Certificate {
		t.Errorf("the same request again gave %+v, %v", again, err)
	}
	_, err = c.Finalize(t.Context(), o, csr(t, certKey(t), "", "a.example"))
	refused(t, err, acme.TypeOrderNotReady, "another key")
	if got, err := c.Order(t.Context(), o.URL); err != nil || got.Status != acme.OrderValid || got.Expires.IsZero() {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestUnfinishedCertificate: a crash between intent and settlement shows as
// processing, not as a second chance.
func TestUnfinishedCertificate(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	o := w.ready(c, "a.example")
	key := certKey(t)
	hash, err := ca.KeyHash(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	id := o.URL[strings.LastIndexByte(o.URL, '/')+1:]
	by := ca.Principal{Room: "acme", ID: "somebody"}
	_, err = w.store.Intend(t.Context(), ca.Intent{Serial: "4001", Request: "acme:" + id, By: by, KeyHash: hash,
		TBS: []byte{1}, Seal: []byte{1}, Event: by.Event(time.Now(), "certificate.intended", "4001")})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Order(t.Context(), o.URL)
	if err != nil || got.Status != acme.OrderProcessing || got.RetryAfter == 0 || got.Certificate != "" {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err = c.Finalize(t.Context(), o, csr(t, key, "", "a.example")); err != nil || got.Status != acme.OrderProcessing {
		t.Errorf("finalising again gave %+v, %v", got, err)
	}
}

// unsure is a ledger that stores a settlement and cannot say that it will last,
// as a database does whose standby is silent.
type unsure struct{ ca.Ledger }

func (u unsure) Settle(ctx context.Context, in ca.Settlement) (ca.Record, error) {
	if _, err := u.Ledger.Settle(ctx, in); err != nil {
		return ca.Record{}, err
	}
	return ca.Record{}, &ca.Error{Kind: ca.Unavailable, Detail: "the database does not answer"}
}

// TestUncertainCertificate: what may be lost yet is not handed out.
func TestUncertainCertificate(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	o, key := w.ready(c, "a.example"), certKey(t)
	ledger := w.config.Authority.Ledger
	w.config.Authority.Ledger = unsure{ledger}
	got, err := c.Finalize(t.Context(), o, csr(t, key, "", "a.example"))
	if err != nil || got.Status != acme.OrderProcessing || got.Certificate != "" || got.RetryAfter == 0 {
		t.Fatalf("got %+v, %v; want processing", got, err)
	}
	w.config.Authority.Ledger = ledger
	if got, err = c.WaitOrder(t.Context(), o.URL); err != nil || got.Status != acme.OrderValid {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestProfileAndValidity(t *testing.T) {
	w := newWorld(t, nil)
	end := time.Now().Add(36 * time.Hour).Truncate(time.Second)
	chain, err := w.client().Obtain(t.Context(), acme.ObtainRequest{Identifiers: dnsNames("short.example"), Profile: "tls-client",
		NotAfter: end, Key: certKey(t), Solver: solver{world: w}})
	if err != nil {
		t.Fatal(err)
	}
	if leaf := chain.Certificates[0]; !leaf.NotAfter.Equal(end) || len(leaf.ExtKeyUsage) != 1 {
		t.Errorf("it ends at %s, want %s; extended key usages %v", leaf.NotAfter, end, leaf.ExtKeyUsage)
	}
}

func TestRevocation(t *testing.T) {
	w := newWorld(t, nil)
	owner, holder, stranger := w.client(), w.client(), w.client()
	reason := func(n int) *int { return &n }
	revoked := func(der []byte) bool {
		t.Helper()
		chain, err := acme.ParseChain(der)
		if err != nil {
			t.Fatal(err)
		}
		r, err := w.store.BySerial(t.Context(), ca.SerialOf(chain.Certificates[0].SerialNumber))
		if err != nil {
			t.Fatal(err)
		}
		return !r.RevokedAt.IsZero()
	}
	w.obtain(holder, "r.example")
	byOwner, _ := w.obtain(owner, "r.example")
	byHolder, _ := w.obtain(owner, "r.example")
	byKey, key := w.obtain(owner, "r.example", "other.example")
	_, unrelated := w.obtain(stranger, "s.example")

	der := byKey.Certificates[0].Raw
	refused(t, stranger.Revoke(t.Context(), der, nil, nil), acme.TypeUnauthorized, "did not order")
	refused(t, holder.Revoke(t.Context(), der, nil, nil), acme.TypeUnauthorized) // holds one of two names
	refused(t, stranger.Revoke(t.Context(), der, nil, unrelated), acme.TypeUnauthorized, "another key")
	refused(t, owner.Revoke(t.Context(), der, nil, owner.Key), acme.TypeUnauthorized, "another key")
	refused(t, owner.Revoke(t.Context(), byKey.Certificates[1].Raw, nil, nil), acme.TypeUnauthorized, "administrators")
	for _, code := range []int{2, 6, 7, 8, 9, 10, -1, 99} {
		refused(t, owner.Revoke(t.Context(), der, reason(code), nil), acme.TypeBadRevocationReason, "keyCompromise")
	}
	forged := append([]byte(nil), der...)
	forged[len(forged)-1] ^= 1
	refused(t, owner.Revoke(t.Context(), forged, nil, nil), acme.TypeMalformed, "not issued here")
	refused(t, owner.Revoke(t.Context(), []byte("x"), nil, nil), acme.TypeMalformed)
	if revoked(byKey.PEM) {
		t.Fatal("a refused request revoked")
	}

	if err := stranger.Revoke(t.Context(), der, reason(1), key); err != nil || !revoked(byKey.PEM) {
		t.Errorf("by the certificate's key: %v", err)
	}
	if err := owner.Revoke(t.Context(), byOwner.Certificates[0].Raw, reason(4), nil); err != nil || !revoked(byOwner.PEM) {
		t.Errorf("by the account that ordered: %v", err)
	}
	refused(t, owner.Revoke(t.Context(), byOwner.Certificates[0].Raw, nil, nil), acme.TypeAlreadyRevoked)
	der = byHolder.Certificates[0].Raw
	refused(t, holder.Revoke(t.Context(), der, reason(1), nil), acme.TypeBadRevocationReason)
	if err := holder.Revoke(t.Context(), der, reason(5), nil); err != nil || !revoked(byHolder.PEM) {
		t.Errorf("by the account that holds the names: %v", err)
	}
	// The compromised key is blocked.
	o := w.ready(owner, "r.example")
	_, err := owner.Finalize(t.Context(), o, csr(t, key, "", "r.example"))
	refused(t, err, acme.TypeBadPublicKey, "compromised")
}

func TestRenewal(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	chain, _ := w.obtain(c, "old.example", "more.example")
	leaf := chain.Certificates[0]
	info, err := c.RenewalInfo(t.Context(), leaf)
	if err != nil || info.RetryAfter != 6*time.Hour {
		t.Fatalf("got %+v, %v", info, err)
	}
	window := info.SuggestedWindow
	if life := leaf.NotAfter.Sub(leaf.NotBefore); window.Start.Before(leaf.NotBefore.Add(life/2)) || !window.End.After(window.Start) || window.End.After(leaf.NotAfter) {
		t.Errorf("the window is %+v of a life from %s to %s", window, leaf.NotBefore, leaf.NotAfter)
	}
	certID, err := acme.CertID(leaf)
	if err != nil {
		t.Fatal(err)
	}
	renew := func(c *acme.Client, names ...string) (*acme.Order, error) {
		return c.NewOrder(t.Context(), acme.NewOrder{Identifiers: dnsNames(names...), Replaces: certID})
	}
	_, err = renew(w.client(), "old.example")
	refused(t, err, acme.TypeUnauthorized, "another account")
	_, err = renew(c, "unrelated.example")
	refused(t, err, acme.TypeMalformed, "shares no name")
	o, err := renew(c, "old.example", "new.example")
	if err != nil || o.Replaces != certID {
		t.Fatalf("got %+v, %v", o, err)
	}
	_, err = renew(c, "old.example")
	refused(t, err, acme.TypeAlreadyReplaced, o.URL)
	if p := acme.AsProblem(err); p.Status != http.StatusConflict {
		t.Errorf("the status is %d", p.Status)
	}
	// An order that came to nothing has replaced nothing.
	if _, err := c.DeactivateAuthorization(t.Context(), o.Authorizations[1]); err != nil {
		t.Fatal(err)
	}
	if o, err = renew(c, "old.example"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Finalize(t.Context(), o, csr(t, certKey(t), "", "old.example")); err != nil {
		t.Fatal(err)
	}
	_, err = renew(c, "old.example")
	refused(t, err, acme.TypeAlreadyReplaced)
	if err := c.Revoke(t.Context(), leaf.Raw, nil, nil); err != nil {
		t.Fatal(err)
	}
	if info, err = c.RenewalInfo(t.Context(), leaf); err != nil || !info.SuggestedWindow.End.Before(w.now()) {
		t.Errorf("of a revoked certificate: %+v, %v", info, err)
	}
}

func TestRenewalInfoRefuses(t *testing.T) {
	w := newWorld(t, nil)
	chain, _ := w.obtain(w.client(), "a.example")
	leaf := chain.Certificates[0]
	for _, test := range []struct {
		id     string
		status int
	}{
		{"nonsense", http.StatusBadRequest},
		{acme.FormatCertID([]byte{1, 2}, leaf.SerialNumber.Bytes()), http.StatusNotFound},
		{acme.FormatCertID(leaf.AuthorityKeyId, []byte{1}), http.StatusNotFound},
		{acme.FormatCertID(leaf.AuthorityKeyId, leaf.SerialNumber.Bytes()), http.StatusOK},
	} {
		resp, err := http.Get(fmt.Sprintf("%s/acme/renewal-info/%s", w.base, test.id))
		if err != nil {
			t.Fatal(err)
		}
		var body map[string]any
		err = json.NewDecoder(resp.Body).Decode(&body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != test.status {
			t.Errorf("%s gave %d %v, %v; want %d", test.id, resp.StatusCode, body, err, test.status)
		}
	}
}
