package acme_test

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/acme"
)

// memo is a solver that remembers.
type memo struct {
	presented, cleaned []string
	fail               error
}

func (m *memo) Types(acme.Identifier) []acme.ChallengeType {
	return []acme.ChallengeType{acme.ChallengeDNS01, acme.ChallengeHTTP01}
}

func (m *memo) Present(_ context.Context, id acme.Identifier, ch acme.Challenge, keyAuth string) error {
	m.presented = append(m.presented, id.Value+" "+string(ch.Type)+" "+keyAuth)
	return m.fail
}

func (m *memo) CleanUp(ctx context.Context, id acme.Identifier, ch acme.Challenge, keyAuth string) error {
	m.cleaned = append(m.cleaned, id.Value+" "+string(ch.Type)+" "+keyAuth)
	return ctx.Err()
}

var exampleName = []acme.Identifier{{Type: acme.IdentifierDNS, Value: "a.example"}}

func TestClientWholeWay(t *testing.T) {
	s := newServer(t)
	s.badNonces = 10
	c := s.client()
	ctx := t.Context()
	if _, err := c.NewOrder(ctx, acme.NewOrder{}); !errors.Is(err, acme.ErrNoAccount) {
		t.Errorf("without an account: %v", err)
	}
	if _, err := c.Register(ctx, acme.Registration{OnlyExisting: true}); !acme.HasType(err, acme.TypeAccountDoesNotExist) {
		t.Errorf("an account that is not there: %v", err)
	}
	eab := &acme.ExternalAccount{KeyID: "k", Key: eabKey}
	a, err := c.Register(ctx, acme.Registration{Contacts: []string{"mailto:a@example.org"}, AgreeTerms: true, EAB: eab})
	if err != nil || a.URL != s.URL+"/acct/1" || c.AccountURL != a.URL || a.Contact[0] != "mailto:a@example.org" {
		t.Fatalf("%+v, %v", a, err)
	}
	oldKeyAuth, err := c.KeyAuthorization("t")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ChangeKey(ctx, newEd(t)); err != nil {
		t.Fatal(err)
	}
	if now, err := c.KeyAuthorization("t"); err != nil || now == oldKeyAuth {
		t.Errorf("the key authorisation is still %q, %v", now, err)
	}
	if a, err = c.UpdateAccount(ctx, nil); err != nil || len(a.Contact) != 0 || len(s.contacts) != 0 {
		t.Errorf("%+v, %v", a, err)
	}
	solver := &memo{}
	key := newEC(t, elliptic.P256())
	chain, err := c.Obtain(ctx, acme.ObtainRequest{Identifiers: exampleName, Profile: "short", Replaces: "AQ.AQ", Key: key, Solver: solver})
	if err != nil {
		t.Fatal(err)
	}
	if s.order.Profile != "short" || s.order.Replaces != "AQ.AQ" || !slices.Equal(s.order.Identifiers, exampleName) {
		t.Errorf("ordered %+v", s.order)
	}
	if want := "a.example http-01 tok_-9." + s.key.Thumbprint(); !slices.Equal(solver.presented, []string{want}) || !slices.Equal(solver.cleaned, []string{want}) {
		t.Errorf("presented %q, cleaned %q, want %q", solver.presented, solver.cleaned, want)
	}
	if want := []string{s.URL + "/cert/2", "https://x.example/3"}; !slices.Equal(chain.Alternates, want) {
		t.Errorf("alternates %q, want %q", chain.Alternates, want)
	}
	orders, err := c.Orders(ctx)
	if want := []string{s.URL + "/order/", s.URL + "/order/2", s.URL + "/order/3"}; err != nil || !slices.Equal(orders, want) {
		t.Errorf("orders %q, %v", orders, err)
	}
	info, err := c.RenewalInfo(ctx, chain.Certificates[0])
	if err != nil || info.RetryAfter != 6*time.Hour || s.requests[len(s.requests)-1] != "GET /ari/AQID.AIA" {
		t.Errorf("%+v, %v after %s", info, err, s.requests[len(s.requests)-1])
	}
	reason := 1
	if err := c.Revoke(ctx, chain.Certificates[0].Raw, &reason, key); err != nil {
		t.Error(err)
	}
	if err := c.Revoke(ctx, chain.Certificates[0].Raw, &reason, nil); !acme.HasType(err, acme.TypeAlreadyRevoked) {
		t.Error(err)
	}
	if au, err := c.PreAuthorize(ctx, exampleName[0]); err != nil || au.URL != s.URL+"/authz/1" {
		t.Errorf("%+v, %v", au, err)
	}
	if au, err := c.DeactivateAuthorization(ctx, s.URL+"/authz/1"); err != nil || au.Status != acme.AuthorizationDeactivated {
		t.Errorf("%+v, %v", au, err)
	}
	if a, err = c.Deactivate(ctx); err != nil || a.Status != acme.AccountDeactivated {
		t.Errorf("%+v, %v", a, err)
	}
	heads := 0
	for _, r := range s.requests {
		if r == "HEAD /nonce" {
			heads++
		}
	}
	if heads != 0 {
		t.Errorf("asked for a nonce %d times, although each answer brought one", heads)
	}
}

func TestClientGivesUpOnNonces(t *testing.T) {
	s := newServer(t)
	s.badNonces = 11
	if _, err := s.client().Register(t.Context(), acme.Registration{}); !acme.HasType(err, acme.TypeBadNonce) {
		t.Fatal(err)
	}
	if s.badNonces != 0 || len(s.requests) != 12 {
		t.Errorf("%d refusals left; %q", s.badNonces, s.requests)
	}
}

func registered(t *testing.T) (*server, *acme.Client) {
	s := newServer(t)
	c := s.client()
	if _, err := c.Register(t.Context(), acme.Registration{}); err != nil {
		t.Fatal(err)
	}
	return s, c
}

func TestObtainFailures(t *testing.T) {
	key := newEC(t, elliptic.P256())
	failure := errors.New("no disk")
	invalid := func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 200, acme.Authorization{Status: acme.AuthorizationInvalid, Identifier: exampleName[0], Challenges: []acme.Challenge{
			{Type: acme.ChallengeHTTP01, Error: acme.NewProblem(acme.TypeConnection, "refused")}}})
	}
	t.Run("solver", func(t *testing.T) {
		_, c := registered(t)
		m := &memo{fail: failure}
		if _, err := c.Obtain(t.Context(), acme.ObtainRequest{Identifiers: exampleName, Key: key, Solver: m}); !errors.Is(err, failure) || len(m.cleaned) != 0 {
			t.Errorf("%v, cleaned %q", err, m.cleaned)
		}
	})
	t.Run("account's own key", func(t *testing.T) {
		s, c := registered(t)
		s.override["/new-order"] = func(http.ResponseWriter, *http.Request) { t.Error("an order was made") }
		if _, err := c.Obtain(t.Context(), acme.ObtainRequest{Identifiers: exampleName, Key: c.Key, Solver: &memo{}}); err == nil {
			t.Error("a certificate was asked for with the account's key (RFC 8555 §11.1)")
		}
	})
	t.Run("validation", func(t *testing.T) {
		s, c := registered(t)
		s.override["/chall/1"] = func(w http.ResponseWriter, _ *http.Request) {
			s.override["/authz/1"] = invalid
			reply(w, 200, s.authorization().Challenges[0])
		}
		m := &memo{}
		_, err := c.Obtain(t.Context(), acme.ObtainRequest{Identifiers: exampleName, Key: key, Solver: m})
		var failed *acme.AuthorizationError
		if !errors.As(err, &failed) || !acme.HasType(err, acme.TypeConnection) || len(m.cleaned) != 1 {
			t.Errorf("%v, cleaned %q", err, m.cleaned)
		}
	})
	t.Run("order", func(t *testing.T) {
		s, c := registered(t)
		s.override["/order/1"] = func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 200, acme.Order{Status: acme.OrderInvalid, Error: acme.NewProblem(acme.TypeCAA, "forbidden")})
		}
		_, err := c.Obtain(t.Context(), acme.ObtainRequest{Identifiers: exampleName, Key: key, Solver: &memo{}})
		var failed *acme.OrderError
		if !errors.As(err, &failed) || !acme.HasType(err, acme.TypeCAA) {
			t.Error(err)
		}
	})
	t.Run("other certificate", func(t *testing.T) {
		s, c := registered(t)
		s.override["/cert/1"] = func(w http.ResponseWriter, r *http.Request) {
			delete(s.override, "/cert/1")
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				t.Error(err)
			}
			w.Write(otherChain(t))
		}
		if _, err := c.Obtain(t.Context(), acme.ObtainRequest{Identifiers: exampleName, Key: key, Solver: &memo{}}); err == nil {
			t.Error("a certificate for another key is accepted")
		}
	})
	t.Run("context ends", func(t *testing.T) {
		s, c := registered(t)
		ctx, cancel := context.WithCancel(t.Context())
		s.override["/chall/1"] = func(w http.ResponseWriter, _ *http.Request) {
			cancel()
			reply(w, 200, s.authorization().Challenges[0])
		}
		m := &memo{}
		_, err := c.Obtain(ctx, acme.ObtainRequest{Identifiers: exampleName, Key: key, Solver: m})
		if !errors.Is(err, context.Canceled) || len(m.cleaned) != 1 {
			t.Errorf("%v, cleaned %q", err, m.cleaned)
		}
	})
}

func TestClientAnswers(t *testing.T) {
	text := func(status int, typ, body string, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", typ)
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	const problem = acme.ProblemMediaType
	in2h := time.Now().Add(2 * time.Hour).UTC().Format(http.TimeFormat)
	near := func(d time.Duration) bool { return d > 119*time.Minute && d <= 2*time.Hour }
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		check  func(*acme.Problem) bool
	}{
		"problem": {text(429, problem, `{"type":"urn:ietf:params:acme:error:rateLimited","detail":"slow","status":1}`, "Retry-After", "7"),
			func(p *acme.Problem) bool {
				return p.Type == acme.TypeRateLimited && p.RetryAfter == 7*time.Second && p.Status == 429
			}},
		"date":            {text(503, "", "", "Retry-After", in2h), func(p *acme.Problem) bool { return near(p.RetryAfter) && p.Status == 503 }},
		"negative":        {text(503, "", "", "Retry-After", "-5"), func(p *acme.Problem) bool { return p.RetryAfter == 0 }},
		"for ever":        {text(503, "", "", "Retry-After", "99999999999999999999999"), func(p *acme.Problem) bool { return p.RetryAfter == 30*24*time.Hour }},
		"HTML":            {text(502, "text/html", "<b>"), func(p *acme.Problem) bool { return p.Type == acme.TypeBlank && p.Status == 502 && p.Detail != "" }},
		"damaged problem": {text(400, problem, `{"type":"x"`), func(p *acme.Problem) bool { return p.Type == acme.TypeBlank }},
		"no type":         {text(400, problem, `{}`), func(p *acme.Problem) bool { return p.Type == acme.TypeBlank && p.Title == "Bad Request" }},
		"redirect":        {text(307, "", "", "Location", "/order/2"), func(p *acme.Problem) bool { return p.Status == 307 }},
		"too long":        {text(200, "", strings.Repeat(" ", 1<<20)+"{}"), nil},
		"no JSON":         {text(200, "", "x"), nil},
		"array":           {text(200, "", "[]"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := registered(t)
			s.override["/order/1"] = test.answer
			_, err := c.Order(t.Context(), s.URL+"/order/1")
			var p *acme.Problem
			if err == nil || errors.As(err, &p) != (test.check != nil) || test.check != nil && !test.check(p) {
				t.Errorf("%v: %+v", err, p)
			}
		})
	}
}

func TestClientRefusesPlainHTTP(t *testing.T) {
	s, c := registered(t)
	s.override["/order/1"] = func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 200, acme.Order{Status: acme.OrderReady, Finalize: "http://ca.example/finalize"})
	}
	o, err := c.Order(t.Context(), s.URL+"/order/1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Finalize(t.Context(), o, []byte{1}); err == nil || !strings.Contains(err.Error(), "https") {
		t.Error(err)
	}
	for _, u := range []string{"", "/dir", "ftp://127.0.0.1/", "http://10.0.0.1/", "http://localhost.example/"} {
		if _, err := (&acme.Client{Directory: u, Key: newEd(t)}).Discover(t.Context()); err == nil {
			t.Errorf("%q is accepted", u)
		}
	}
}

// The signed value of an ECDSA signature must always fill both halves.
func TestSignRefusesOddSigners(t *testing.T) {
	if _, err := acme.Sign(nil, acme.Header{URL: "u"}, nil); err == nil {
		t.Error("no key: no error")
	}
	if _, err := acme.Sign(newEd(t), acme.Header{}, nil); err == nil {
		t.Error("no URL: no error")
	}
	if _, err := acme.Sign(oddSigner{newEC(t, elliptic.P256())}, acme.Header{URL: "u"}, nil); err == nil {
		t.Error("a signature that is none: no error")
	}
}

type oddSigner struct{ crypto.Signer }

func (oddSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return []byte{0x30, 0}, nil
}

func TestClientRedirects(t *testing.T) {
	s := newServer(t)
	to := s.URL + "/dir"
	s.override["/moved"] = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(302)
	}
	c := s.client()
	c.Directory = s.URL + "/moved"
	if _, err := c.Discover(t.Context()); err != nil {
		t.Error(err)
	}
	for _, to = range []string{"http://ca.example/dir", s.URL + "/moved"} {
		if _, err := c.Discover(t.Context()); err == nil {
			t.Errorf("followed to %s", to)
		}
	}
}

func TestNotOffered(t *testing.T) {
	s, _ := registered(t)
	s.override["/dir"] = func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 200, acme.Directory{NewNonce: s.URL + "/nonce", NewAccount: s.URL + "/new-acct", NewOrder: s.URL + "/new-order"})
	}
	c := s.client()
	if _, err := c.PreAuthorize(t.Context(), exampleName[0]); !errors.Is(err, acme.ErrNotOffered) {
		t.Error(err)
	}
	if _, err := c.RenewalInfo(t.Context(), nil); !errors.Is(err, acme.ErrNotOffered) {
		t.Error(err)
	}
	if err := c.Revoke(t.Context(), nil, nil, nil); !errors.Is(err, acme.ErrNotOffered) {
		t.Error(err)
	}
	if err := c.ChangeKey(t.Context(), newEd(t)); !errors.Is(err, acme.ErrNotOffered) {
		t.Error(err)
	}
	s.override["/dir"] = func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, struct{}{}) }
	if _, err := s.client().Discover(t.Context()); err == nil {
		t.Error("an empty directory is accepted")
	}
}

// The server's wish outlasts the test: the wait ends because the context does.
func TestWaitingHonoursRetryAfter(t *testing.T) {
	s, c := registered(t)
	var o *acme.Order
	var err error
	looks := 0
	// The answer has to arrive before the end, however busy the machine is.
	for end := time.Second; o == nil && end < time.Minute; end *= 4 {
		ctx, cancel := context.WithCancel(t.Context())
		looks = 0
		s.override["/order/1"] = func(w http.ResponseWriter, _ *http.Request) {
			looks++
			w.Header().Set("Retry-After", time.Now().Add(24*time.Hour).UTC().Format(http.TimeFormat))
			reply(w, 200, acme.Order{Status: acme.OrderProcessing})
			time.AfterFunc(end, cancel)
		}
		o, err = c.WaitOrder(ctx, s.URL+"/order/1")
		cancel()
	}
	if !errors.Is(err, context.Canceled) || o == nil || looks != 1 || o.RetryAfter < 23*time.Hour {
		t.Errorf("%+v, %v after %d looks", o, err, looks)
	}
}
