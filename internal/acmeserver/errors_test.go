package acmeserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/ca"
	"chancery/internal/nonce"
)

// silent gives a server with just enough for errors.
func silent(t *testing.T) *Server {
	t.Helper()
	ring, err := nonce.NewRing([]nonce.Key{nonce.NewKey(time.Now())})
	if err != nil {
		t.Fatal(err)
	}
	source, err := nonce.NewSource(nonce.Config{Purpose: "acme", Ring: ring})
	if err != nil {
		t.Fatal(err)
	}
	return &Server{Config: Config{Base: "https://ca.example", Nonces: source, Logger: slog.New(slog.DiscardHandler)}}
}

func TestKinds(t *testing.T) {
	s := silent(t)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	live := context.Background()
	for _, c := range []struct {
		ctx    context.Context
		err    error
		status int
		typ    string
		retry  time.Duration
	}{
		{live, ca.Errorf(ca.Invalid, "x"), 400, acme.TypeMalformed, 0},
		{live, ca.Errorf(ca.BadKey, "x"), 400, acme.TypeBadPublicKey, 0},
		{live, ca.Errorf(ca.BadCSR, "x"), 400, acme.TypeBadCSR, 0},
		{live, ca.Errorf(ca.BadName, "x"), 403, acme.TypeRejectedIdentifier, 0},
		{live, ca.Errorf(ca.Denied, "x"), 403, acme.TypeUnauthorized, 0},
		{live, ca.Errorf(ca.NotFound, "x"), 404, acme.TypeMalformed, 0},
		{live, ca.Errorf(ca.Conflict, "x"), 409, acme.TypeMalformed, 0},
		{live, ca.Errorf(ca.Replayed, "x"), 400, acme.TypeBadNonce, 0},
		{live, ca.Errorf(ca.Revoked, "x"), 400, acme.TypeAlreadyRevoked, 0},
		{live, &ca.Error{Kind: ca.Limited, RetryAfter: time.Minute}, 429, acme.TypeRateLimited, time.Minute},
		{live, ca.Errorf(ca.Unavailable, "x"), 503, acme.TypeServerInternal, retryUnavailable},
		{live, &ca.Error{Kind: ca.Unavailable, RetryAfter: time.Minute}, 503, acme.TypeServerInternal, time.Minute},
		{live, fmt.Errorf("wrapped: %w", ca.Errorf(ca.Denied, "x")), 403, acme.TypeUnauthorized, 0},
		{live, ca.Errorf(ca.Internal, "secret"), 500, acme.TypeServerInternal, 0},
		{live, ca.Errorf("new-kind", "secret"), 500, acme.TypeServerInternal, 0},
		{live, errors.New("secret"), 500, acme.TypeServerInternal, 0},
		{gone, fmt.Errorf("secret: %w", context.Canceled), 503, acme.TypeServerInternal, retryUnavailable},
		{live, &acme.Problem{Type: acme.TypeOrderNotReady}, 403, acme.TypeOrderNotReady, 0},
		{live, &refusal{problem: acme.Malformed("x")}, 400, acme.TypeMalformed, 0},
	} {
		p := s.problemOf(c.ctx, c.err)
		if p.Status != c.status || p.Type != c.typ || p.RetryAfter != c.retry {
			t.Errorf("%v became %d %s, retry after %v", c.err, p.Status, p.Type, p.RetryAfter)
		}
		if strings.Contains(p.Detail, "secret") || (p.Status == 500) != (p.Instance != "") {
			t.Errorf("%v became %+v", c.err, p)
		}
	}
}

func TestSubproblems(t *testing.T) {
	name, err := ca.DNS("bad.example")
	if err != nil {
		t.Fatal(err)
	}
	p := silent(t).problemOf(context.Background(), &ca.Error{Kind: ca.BadName, Detail: "no", Sub: []ca.SubError{{Kind: ca.BadName, Identifier: name, Detail: "never"}}})
	if len(p.Subproblems) != 1 || p.Subproblems[0].Type != acme.TypeRejectedIdentifier || p.Subproblems[0].Detail != "never" ||
		*p.Subproblems[0].Identifier != (acme.Identifier{Type: "dns", Value: "bad.example"}) {
		t.Errorf("the subproblems are %+v", p.Subproblems)
	}
}

// A handler's mistake is answered, and the server goes on.
func TestPanic(t *testing.T) {
	s := silent(t)
	handler := s.guarded(s.serve(resource{get: func(context.Context, *http.Request) (*answer, error) { panic("secret") }}))
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/x", nil))
	if w.Code != 500 || strings.Contains(w.Body.String(), "secret") || !strings.Contains(w.Body.String(), "urn:uuid:") {
		t.Errorf("a panic was answered %d %s", w.Code, w.Body)
	}
}

func TestClientKey(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:1": "192.0.2.7", "[::ffff:192.0.2.7]:1": "192.0.2.7",
		"[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::/64", "[fe80::1%eth0]:1": "fe80::/64", "nonsense": "invalid IP",
	} {
		if got := clientKey(clientAddress(&http.Request{RemoteAddr: remote})); got != want {
			t.Errorf("%s is limited as %q; want %q", remote, got, want)
		}
	}
}

func FuzzContact(f *testing.F) {
	for _, seed := range []string{"mailto:a@example.org", "mailto:a%40b@example.org", "tel:1", "mailto:a@b?c=d", "MAILTO:x@y.z,q@r.s", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, contact string) {
		err := checkContact(contact)
		if err == nil && (!strings.EqualFold(contact[:7], "mailto:") || strings.ContainsAny(contact, "?,\r\n\x00 ")) {
			t.Errorf("%q was accepted", contact)
		}
		if err != nil && !acme.HasType(err, acme.TypeInvalidContact) && !acme.HasType(err, acme.TypeUnsupportedContact) {
			t.Errorf("%q gave %v", contact, err)
		}
	})
}
