package challenge_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/internal/challenge"
	"chancery/internal/dnstest"
	"chancery/internal/porttest"
	"chancery/internal/resolver"
)

const (
	token   = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
	keyAuth = token + ".9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
	path    = "/.well-known/acme-challenge/" + token
)

// The hosts of the tests: front is exempt from the refusal of loopback, back is
// not, so that what is refused can be told from what is not there.
var (
	front = netip.MustParseAddr("127.0.0.2")
	back  = netip.MustParseAddr("127.0.0.1")
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rig is a DNS in which every name is at front, and a validator that asks it.
type rig struct {
	dns  *dnstest.Server
	conf challenge.Config
}

func newRig(t *testing.T) *rig {
	t.Helper()
	d, err := dnstest.Start(":0")
	must(t, err)
	t.Cleanup(d.Close)
	d.Default(front)
	r, err := resolver.New(resolver.Config{Servers: []string{d.Addr()}, Attempts: 1, Timeout: 30 * time.Second})
	must(t, err)
	return &rig{dns: d, conf: challenge.Config{
		Resolver: r,
		Timeout:  time.Minute,
		Policy:   challenge.AddressPolicy{Allow: []netip.Prefix{netip.PrefixFrom(front, 32)}},
	}}
}

// serve starts a web server on an address and gives its port, which is free at the
// other addresses.
func serve(t *testing.T, addr netip.Addr, h http.Handler) uint16 {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	listenOn(t, s, netip.AddrPortFrom(addr, port(t)))
	s.Start()
	return portOf(s)
}

func serveTLS(t *testing.T, addr netip.Addr, h http.Handler) uint16 {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	listenOn(t, s, netip.AddrPortFrom(addr, port(t)))
	s.StartTLS()
	return portOf(s)
}

func listenOn(t *testing.T, s *httptest.Server, ap netip.AddrPort) {
	t.Helper()
	l, err := net.Listen("tcp", ap.String())
	must(t, err)
	_ = s.Listener.Close()
	s.Listener = l
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
}

func portOf(s *httptest.Server) uint16 {
	return s.Listener.Addr().(*net.TCPAddr).AddrPort().Port()
}

// port gives one on which nothing listens, at any address of loopback, until the
// test does.
func port(t *testing.T) uint16 { t.Helper(); return uint16(porttest.Free(t)) }

func (r *rig) validate(method, name string) (challenge.Result, error) {
	return r.do(context.Background(), method, challenge.Target{Type: "dns", Value: name})
}

// inVain validates by what never answers, for so short a time. A busy machine may not
// even come to it then: it gets ever more, until the failure has the words.
func (r *rig) inVain(method string, words ...string) error {
	for r.conf.Timeout = 100 * time.Millisecond; ; r.conf.Timeout *= 4 {
		_, err := r.validate(method, "x.example")
		f, ok := errors.AsType[*challenge.Failure](err)
		missing := func(word string) bool { return !strings.Contains(f.Detail, word) }
		if !ok || r.conf.Timeout > 20*time.Second || f.Kind == challenge.Connection && !slices.ContainsFunc(words, missing) {
			return err
		}
	}
}

func (r *rig) do(ctx context.Context, method string, target challenge.Target) (challenge.Result, error) {
	return challenge.New(r.conf).Validate(ctx, challenge.Job{Method: method, Target: target, Token: token, KeyAuthorization: keyAuth})
}

// wantFailure checks the kind of a failure, and that its detail has the words.
func wantFailure(t *testing.T, err error, kind challenge.Kind, words ...string) *challenge.Failure {
	t.Helper()
	var f *challenge.Failure
	if !errors.As(err, &f) {
		t.Fatalf("error %v is no *Failure; want %s", err, kind)
	}
	if f.Kind != kind {
		t.Fatalf("kind %s (%s), want %s", f.Kind, f.Detail, kind)
	}
	for _, w := range words {
		if !strings.Contains(f.Detail, w) {
			t.Errorf("detail %q lacks %q", f.Detail, w)
		}
	}
	if len(f.Detail) > 2048 || len(f.Seen) > 2048 || f.Detail == "" {
		t.Errorf("detail of %d bytes, seen of %d", len(f.Detail), len(f.Seen))
	}
	return f
}

// wantResult checks a success and that its evidence has the words.
func wantResult(t *testing.T, r challenge.Result, err error, addr netip.Addr, words ...string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if r.Address != addr {
		t.Errorf("address %s, want %s", r.Address, addr)
	}
	for _, w := range words {
		if !strings.Contains(r.Detail, w) {
			t.Errorf("evidence %q lacks %q", r.Detail, w)
		}
	}
}
