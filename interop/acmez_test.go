package interop_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/testca"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// zed is github.com/mholt/acmez, the library in Caddy, with an account.
type zed struct {
	*stage
	acmez.Client
	account acme.Account
}

func newZed(t *testing.T, options ...testca.Option) *zed {
	w := start(t, options...)
	z := &zed{stage: newStage(w), Client: acmez.Client{Client: &acme.Client{Directory: w.Directory, HTTPClient: w.HTTP(), PollInterval: 50 * time.Millisecond}}}
	account, err := z.NewAccount(t.Context(), acme.Account{Contact: []string{"mailto:who@a.example"}, TermsOfServiceAgreed: true, PrivateKey: ecKey(t)})
	if err != nil {
		t.Fatal(err)
	}
	z.account = account
	return z
}

// solver puts up responses for acmez.
type solver struct{ *zed }

func (s solver) Present(ctx context.Context, c acme.Challenge) error {
	switch c.Type {
	case acme.ChallengeTypeHTTP01:
		return s.putFile(c.HTTP01ResourcePath(), c.KeyAuthorization)
	case acme.ChallengeTypeTLSALPN01:
		cert, err := acmez.TLSALPN01ChallengeCert(c)
		s.putCertificate(serverName(c.Identifier.Value), cert)
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, s.control+"/txt/"+c.DNS01TXTRecordName(), strings.NewReader(c.DNS01KeyAuthorization()))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

func (solver) CleanUp(context.Context, acme.Challenge) error { return nil }

// obtain has acmez prove the names by one kind of challenge; change may alter
// the order.
func (z *zed) obtain(kind string, key crypto.Signer, names []string, change func(*acmez.OrderParameters)) split {
	z.t.Helper()
	z.ChallengeSolvers = map[string]acmez.Solver{kind: solver{z}}
	csr, err := x509.ParseCertificateRequest(request(z.t, key, names...))
	if err != nil {
		z.t.Fatal(err)
	}
	order, err := acmez.OrderParametersFromCSR(z.account, csr)
	if err != nil {
		z.t.Fatal(err)
	}
	if change != nil {
		change(&order)
	}
	chains, err := z.ObtainCertificate(z.t.Context(), order)
	if err != nil {
		z.t.Fatal(err)
	}
	return z.splitPEM(chains[0].ChainPEM)
}

func TestAcmezObtainsRenewsAndRevokes(t *testing.T) {
	z := newZed(t, testca.Terms("https://ca.example/terms"))
	p := z.party()
	key := ecKey(t)
	http01 := z.obtain(acme.ChallengeTypeHTTP01, key, []string{"a.example", "127.0.0.1"}, nil)
	p.good(http01, "a.example", "127.0.0.1")
	p.good(z.obtain(acme.ChallengeTypeTLSALPN01, rsaKey(t), []string{"b.example", "127.0.0.1"}, nil), "b.example", "127.0.0.1")
	p.good(z.obtain(acme.ChallengeTypeDNS01, ecKey(t), []string{"w.example", "*.w.example"}, nil), "w.example", "*.w.example")

	// ARI (RFC 9773): the window lies within the certificate's life; the renewal
	// names what it replaces, and once only.
	info, err := z.GetRenewalInfo(t.Context(), http01.cert)
	if err != nil || !info.HasWindow() || info.RetryAfter == nil {
		t.Fatalf("%+v, %v", info, err)
	}
	if from, to := info.SuggestedWindow.Start, info.SuggestedWindow.End; from.Before(http01.cert.NotBefore) || to.After(http01.cert.NotAfter) {
		t.Errorf("the window is %v to %v, the certificate's life %v to %v", from, to, http01.cert.NotBefore, http01.cert.NotAfter)
	}
	replace := func(o *acmez.OrderParameters) { o.Replaces = http01.cert }
	renewed := z.obtain(acme.ChallengeTypeHTTP01, key, []string{"a.example", "127.0.0.1"}, replace)
	wantRenewed(t, http01, renewed)
	id := acme.Identifier{Type: "dns", Value: "a.example"}
	_, err = z.NewOrder(t.Context(), z.account, acme.Order{Identifiers: []acme.Identifier{id}, Replaces: info.UniqueIdentifier})
	if told := (acme.Problem{}); !errors.As(err, &told) || !strings.HasSuffix(told.Type, ":alreadyReplaced") {
		t.Errorf("replaced twice: %v", err)
	}

	if err := z.RevokeCertificate(t.Context(), z.account, renewed.cert, key, acme.ReasonKeyCompromise); err != nil {
		t.Fatal(err)
	}
	p.revoked(renewed, "keyCompromise")
	// A revoked certificate is to be renewed now.
	if info, err = z.GetRenewalInfo(t.Context(), renewed.cert); err != nil || info.SuggestedWindow.End.After(time.Now()) {
		t.Errorf("%+v, %v", info, err)
	}
	if err := z.RevokeCertificate(t.Context(), z.account, http01.cert, nil, acme.ReasonSuperseded); err != nil {
		t.Fatal(err)
	}
	p.revoked(http01, "superseded")
}

func TestAcmezAccount(t *testing.T) {
	z := newZed(t)
	z.account.Contact = []string{"mailto:else@a.example"}
	updated, err := z.UpdateAccount(t.Context(), z.account)
	if err != nil || !slices.Equal(updated.Contact, []string{"mailto:else@a.example"}) {
		t.Fatalf("%+v, %v", updated, err)
	}
	if z.account, err = z.AccountKeyRollover(t.Context(), z.account, rsaKey(t)); err != nil {
		t.Fatal(err)
	}
	z.party().good(z.obtain(acme.ChallengeTypeHTTP01, ecKey(t), []string{"a.example"}, nil), "a.example")

	order, err := z.NewOrder(t.Context(), z.account, acme.Order{Identifiers: []acme.Identifier{{Type: "dns", Value: "other.example"}}})
	if err != nil || len(order.Authorizations) != 1 {
		t.Fatalf("%+v, %v", order, err)
	}
	// Not NewAuthorization: it sends the identifier bare, which RFC 8555 §7.4.1
	// wants in an object's "identifier".
	if authorization, err := z.DeactivateAuthorization(t.Context(), z.account, order.Authorizations[0]); err != nil || authorization.Status != "deactivated" {
		t.Errorf("%+v, %v", authorization, err)
	}
	z.account.Status, z.account.Contact = "deactivated", nil
	if ended, err := z.UpdateAccount(t.Context(), z.account); err != nil || ended.Status != "deactivated" {
		t.Errorf("%+v, %v", ended, err)
	}
}

func TestAcmezBinding(t *testing.T) {
	w := start(t, testca.RequireEAB())
	client := &acme.Client{Directory: w.Directory, HTTPClient: w.HTTP()}
	made := w.bindingKey()
	if _, err := base64.RawURLEncoding.DecodeString(made.Secret); err != nil {
		t.Fatal(err)
	}
	account := acme.Account{TermsOfServiceAgreed: true, PrivateKey: ecKey(t)}
	if err := account.SetExternalAccountBinding(t.Context(), client, acme.EAB{KeyID: made.ID, MACKey: made.Secret}); err != nil {
		t.Fatal(err)
	}
	if got, err := client.NewAccount(t.Context(), account); err != nil || got.Status != "valid" {
		t.Errorf("%+v, %v", got, err)
	}
}

// The life that a client asks for is kept (RFC 8555 §7.4) or the order refused.
func TestAcmezProfileAndLife(t *testing.T) {
	z := newZed(t, testca.Profiles("tls-server", "device"))
	end := time.Now().Add(36 * time.Hour).Truncate(time.Second)
	s := z.obtain(acme.ChallengeTypeHTTP01, ecKey(t), []string{"a.example"}, func(o *acmez.OrderParameters) {
		o.Profile, o.NotAfter = "device", end
	})
	z.party().good(s, "a.example")
	if !s.cert.NotAfter.Equal(end) || !slices.Contains(s.cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		t.Errorf("not after %v (want %v), extended key usage %v", s.cert.NotAfter, end, s.cert.ExtKeyUsage)
	}
}
