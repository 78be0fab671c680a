package enroll_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"chancery/internal/enroll"
	"chancery/internal/enroll/guard"
	"chancery/internal/enroll/solve"
	"chancery/internal/enroll/vault"
)

// problem answers requests whose path ends so with a problem document.
func problem(end string, status int, typ string, header ...string) fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, end) || r.Method != http.MethodPost {
			return false
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Replay-Nonce", "bm9uY2Utb2YtYS10ZXN0LWZyb250")
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"type":"urn:ietf:params:acme:error:%s","detail":"a fault of the test","status":%d}`, typ, status)
		return true
	}
}

func everything(status int, body string) fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
		return true
	}
}

// problemAtOnce answers with a status and headers alone.
func problemAtOnce(status int, header ...string) fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		return true
	}
}

func hang(w http.ResponseWriter, r *http.Request) bool {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
	panic(http.ErrAbortHandler) // else it would answer a client that is just closing
}

func only(path string, f fault) fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		return strings.Contains(r.URL.Path, path) && f(w, r)
	}
}

// invalidated lets the order be invalid by a fault of the CA's own once it is finalized.
func invalidated(w http.ResponseWriter, r *http.Request) bool {
	if !strings.HasSuffix(r.URL.Path, "/finalize") {
		return false
	}
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Replay-Nonce", "bm9uY2Utb2YtYS10ZXN0LWZyb250")
	fmt.Fprint(w, `{"status":"invalid","error":{"type":"urn:ietf:params:acme:error:serverInternal","detail":"the signer is broken"},"identifiers":[],"authorizations":[],"finalize":"https://localhost/x"}`)
	return true
}

var faults = []struct {
	name  string
	fault fault
	meta  func(map[string]any)
	class enroll.Class
	most  int64 // requests
}{
	{name: "no TLS", fault: noTLS, class: enroll.ClassUnavailable, most: 4},
	{name: "hangs", fault: hang, class: enroll.ClassUnavailable, most: 4},
	{name: "500", fault: everything(500, "broken"), class: enroll.ClassUnavailable, most: 4},
	{name: "garbage", fault: everything(200, "<html>hello"), class: enroll.ClassUnavailable, most: 4},
	{name: "orders are garbage", fault: only("/new-order", everything(200, "<html>")), class: enroll.ClassUnavailable, most: 20},
	{name: "not there", fault: everything(404, "no"), class: enroll.ClassFinal, most: 1},
	{name: "bad nonces for ever", fault: problem("/new-account", 400, "badNonce"), class: enroll.ClassUnavailable, most: 60},
	{name: "rate limit", fault: problem("/new-order", 429, "rateLimited", "Retry-After", "3600"), class: enroll.ClassLimited, most: 8},
	{name: "busy for long", fault: problem("/new-order", 503, "serverInternal", "Retry-After", "3600"), class: enroll.ClassUnavailable, most: 8},
	{name: "refuses the name", fault: problem("/new-order", 400, "rejectedIdentifier"), class: enroll.ClassFinal, most: 8},
	{name: "refuses by CAA", fault: problem("/finalize", 403, "caa"), class: enroll.ClassFinal, most: 30},
	{name: "cannot finalize", fault: problem("/finalize", 500, "serverInternal"), class: enroll.ClassUnavailable, most: 60},
	{name: "order is invalid", fault: invalidated, class: enroll.ClassUnavailable, most: 80},
	{name: "wants a visit", fault: problem("/new-account", 403, "userActionRequired"), class: enroll.ClassAction, most: 8},
	{name: "wants a binding", meta: func(m map[string]any) { m["externalAccountRequired"] = true }, class: enroll.ClassUnable, most: 2},
	{name: "wants a binding unannounced", fault: problem("/new-account", 401, "externalAccountRequired"), class: enroll.ClassFinal, most: 8},
	{name: "another CA's directory", meta: func(m map[string]any) { m["caaIdentities"] = []string{"other.test"} }, class: enroll.ClassFinal, most: 1},
}

// Each fault at the first CA, at the first two and at the second: the best CA that is
// left issues, and nobody is hammered.
func TestFaultMatrix(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain(3)...)
	for n, f := range faults {
		for m, bad := range [][]int{{0}, {0, 1}, {1}} {
			if m == 2 && n > 0 {
				continue // the best CA is well: the fault of another is never met
			}
			t.Run(fmt.Sprintf("%s/%v", f.name, bad), func(t *testing.T) {
				name := fmt.Sprintf("n%d-%d.example", n, m)
				r.reset()
				r.set(name, issue("ca1.test", "priority=1"), issue("ca2.test", "priority=2"), issue("ca3.test", "priority=3"))
				c := r.client("", func(c *enroll.Config) { r.impatient(c, f.name == "hangs") })
				faulty := map[int]bool{}
				for _, b := range bad {
					r.houses[b].set(f.fault)
					r.houses[b].setMeta(f.meta)
					faulty[b] = true
				}
				best := 0
				for faulty[best] {
					best++
				}
				out := c.get(t, enroll.Options{}, name)
				if want := r.houses[best].issuer; out.Issued.Issuer != want {
					t.Errorf("%s issued, want %s", out.Issued.Issuer, want)
				}
				for i, h := range r.houses {
					if got := h.seen.Load(); faulty[i] && i < best && (got > f.most || got == 0) || i > best && got > 0 {
						t.Errorf("%s got %d requests, at most %d", h.issuer, got, f.most)
					}
				}
				for _, a := range out.Attempts[:len(out.Attempts)-1] {
					if a.Class != f.class || a.Error == "" || a.Advice == "" {
						t.Errorf("%s: class %q, want %q; error %q; advice %q", a.Issuer, a.Class, f.class, a.Error, a.Advice)
					}
				}
				want := 0
				if f.class == enroll.ClassAction && bad[0] < best {
					want = len(bad)
				}
				if n := len(c.told("action-required")); n != want {
					t.Errorf("%d messages of a page to visit, want %d", n, want)
				}
				if rec(t, c, name).Pending != nil {
					t.Error("an order is still pending")
				}
			})
		}
	}
}

// impatient shortens what a hanging server costs the test.
func (r *rig) impatient(c *enroll.Config, yes bool) {
	if !yes {
		return
	}
	client := guard.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Roots: r.trust.pool, Resolve: r.resolve, Dial: r.dial, Timeout: 500 * time.Millisecond}.Client()
	patient := c.HTTP(nil)
	c.HTTP = func(*enroll.CA) *httpClient {
		for _, h := range r.houses {
			if f, _ := h.current(); f != nil {
				return &httpClient{Timeout: 30 * time.Second, Transport: choosing{r, client.Transport, patient.Transport}}
			}
		}
		return patient
	}
	c.Settings.Tries = 2
}

// choosing is impatient with CAs that have a fault.
type choosing struct {
	rig                *rig
	impatient, patient http.RoundTripper
}

func (c choosing) RoundTrip(req *http.Request) (*http.Response, error) {
	for _, h := range c.rig.houses {
		if f, _ := h.current(); f != nil && req.URL.Host == h.issuer {
			return c.impatient.RoundTrip(req)
		}
	}
	return c.patient.RoundTrip(req)
}

// All CAs fail: the error says of each what happened and what to do.
func TestNobodyIssues(t *testing.T) {
	r := newRig(t, plain(2)...)
	r.set("shop.example", issue("ca1.test", "priority=1"), issue("ca2.test", "priority=2"))
	r.houses[0].set(noTLS)
	r.houses[1].set(problem("/new-order", 400, "rejectedIdentifier"))
	c := r.client("")
	out, err := c.Get(t.Context(), sheet("shop.example"), enroll.Options{Unattended: true})
	var failed *enroll.RunError
	if !errors.As(err, &failed) || len(failed.Attempts) != 2 {
		t.Fatalf("%v", err)
	}
	if out.Result != enroll.Failed || out.Result.ExitCode() != 3 {
		t.Errorf("result %s", out.Result)
	}
	for _, word := range []string{"ca1.test", "ca2.test", "rejectedIdentifier", "name another CA in CAA"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error lacks %q:\n%v", word, err)
		}
	}
	if n := len(c.told("no-certificate")); n != 1 {
		t.Errorf("%d messages about the missing certificate", n)
	}
	if names, _ := c.vault.Names(); len(names) != 0 {
		t.Errorf("a failed first attempt left %q", names)
	}
}

// The circuit and the incident are the vault's: another engine, another name, another day.
func TestCircuitAndIncident(t *testing.T) {
	r := newRig(t, plain(2)...)
	for _, n := range []string{"a.example", "b.example", "c.example", "d.example", "e.example", "f.example"} {
		r.set(n, issue("ca1.test", "priority=1"), issue("ca2.test", "priority=2"))
	}
	r.set("only.example", issue("ca1.test"))
	dir := t.TempDir() + "/vault"
	quick := func(c *enroll.Config) { c.Settings.BreakAfter, c.Settings.Tries = 2, 2 }
	r.houses[0].set(noTLS)

	first := r.client(dir, quick)
	first.get(t, enroll.Options{}, "a.example")
	if n := len(first.told("ca-failing")); n != 0 {
		t.Errorf("%d messages after one failure", n)
	}
	second := r.client(dir, quick)
	second.get(t, enroll.Options{}, "b.example")
	if n := len(second.told("ca-failing")); n != 1 {
		t.Errorf("%d messages after two failures, want 1", n)
	}
	third := r.client(dir, quick)
	r.houses[0].seen.Store(0)
	if out := third.get(t, enroll.Options{}, "c.example"); out.Issued.Issuer != "ca2.test" || r.houses[0].seen.Load() != 0 {
		t.Errorf("a CA with an open circuit got %d requests", r.houses[0].seen.Load())
	}
	if len(third.heard(enroll.EventSetBack)) != 1 {
		t.Error("nobody heard that the CA is set back")
	}
	// With nothing else to ask it is asked all the same, once.
	if _, err := third.Get(t.Context(), sheet("only.example"), enroll.Options{}); err == nil || r.houses[0].seen.Load() != 1 {
		t.Errorf("the only CA got %d requests: %v", r.houses[0].seen.Load(), err)
	}
	if n := len(third.told("ca-failing")); n != 0 {
		t.Errorf("%d more messages in the same incident", n)
	}
	// Half-open and still down: one try, and it is set back for longer.
	third.clock.add(time.Hour)
	r.houses[0].seen.Store(0)
	third.get(t, enroll.Options{}, "d.example")
	if n := r.houses[0].seen.Load(); n != 1 {
		t.Errorf("a half-open circuit let %d requests through, want 1", n)
	}
	// It is well again: it issues first, and one message says so.
	r.houses[0].set(nil)
	third.clock.add(48 * time.Hour)
	for _, n := range []string{"e.example", "f.example"} {
		if out := third.get(t, enroll.Options{}, n); out.Issued.Issuer != "ca1.test" {
			t.Errorf("%s: %s issued", n, out.Issued.Issuer)
		}
	}
	if n := len(third.told("ca-recovered")); n != 1 {
		t.Errorf("%d messages of recovery, want 1", n)
	}
	known, err := third.vault.CA("https://ca1.test/.well-known/acme")
	if err != nil || known.Incident != nil || known.Circuit.Failures != 0 || known.Circuit.Opened != 0 {
		t.Errorf("after recovery: %+v, %v", known, err)
	}
}

// A CA that says when to come back is not asked before, by any run; others are.
func TestRetryAfterIsObeyed(t *testing.T) {
	r := newRig(t, plain(2)...)
	r.set("shop.example", issue("ca1.test", "priority=1"), issue("ca2.test", "priority=2"))
	r.set("only.example", issue("ca1.test"))
	r.houses[0].set(problem("/new-order", 429, "rateLimited", "Retry-After", "7200"))
	dir := t.TempDir() + "/vault"
	c := r.client(dir)
	out, err := c.Get(t.Context(), sheet("only.example"), enroll.Options{})
	if err == nil || out.NotBefore.Sub(c.clock.Now()) < time.Hour {
		t.Fatalf("not before %v: %v", out.NotBefore, err)
	}
	r.houses[0].seen.Store(0)
	if _, err := r.client(dir).Get(t.Context(), sheet("only.example"), enroll.Options{}); err == nil || r.houses[0].seen.Load() != 0 {
		t.Errorf("a CA that asked to be left alone got %d requests: %v", r.houses[0].seen.Load(), err)
	}
	// The limit was this certificate's: others may be asked for.
	r.houses[0].set(nil)
	if out := r.client(dir).get(t, enroll.Options{}, "shop.example"); out.Issued.Issuer != "ca1.test" {
		t.Errorf("%s issued", out.Issued.Issuer)
	}
	later := r.client(dir)
	later.clock.add(3 * time.Hour)
	later.get(t, enroll.Options{}, "only.example")
}

// A short wait is waited for.
func TestShortRetryAfterIsWaitedFor(t *testing.T) {
	r := newRig(t, plain(2)...)
	r.set("shop.example", issue("ca1.test", "priority=1"), issue("ca2.test", "priority=2"))
	left := 2
	busy := problem("/new-order", 503, "serverInternal", "Retry-After", "5")
	r.houses[0].set(func(w http.ResponseWriter, req *http.Request) bool {
		if left == 0 || !busy(w, req) {
			return false
		}
		left--
		return true
	})
	c := r.client("")
	if out := c.get(t, enroll.Options{}, "shop.example"); out.Issued.Issuer != "ca1.test" {
		t.Errorf("%s issued", out.Issued.Issuer)
	}
	for _, e := range c.heard(enroll.EventRetry) {
		if e.Wait < 5 {
			t.Errorf("waited %v s although the CA asked for 5", e.Wait)
		}
	}
}

// A challenge that nobody answers is the user's own fault: the next CA is tried, once,
// and it does not count against the first.
func TestChallengeNotServed(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain(3)...)
	r.set("shop.example", issue("ca1.test", "priority=1"), issue("ca2.test", "priority=2"), issue("ca3.test", "priority=3"))
	c := r.client("", func(c *enroll.Config) {
		c.Solver = func(vault.Sheet) (*solve.Set, error) {
			return solve.NewSet(nil, solve.Choice{Solver: &solve.Webroot{Dir: t.TempDir()}}), nil // nobody serves from there
		}
	})
	out, err := c.Get(t.Context(), sheet("shop.example"), enroll.Options{})
	if err == nil || len(out.Attempts) != 2 {
		t.Fatalf("%d attempts: %v", len(out.Attempts), err)
	}
	for _, a := range out.Attempts {
		if a.Class != enroll.ClassUser {
			t.Errorf("%s: class %s: %s", a.Issuer, a.Class, a.Error)
		}
	}
	if r.houses[2].seen.Load() != 0 {
		t.Error("a third CA was asked")
	}
	known, err := c.vault.CA("https://ca1.test/.well-known/acme")
	if err != nil || known.Incident != nil || known.Circuit.Failures != 0 {
		t.Errorf("it counts against the CA: %+v, %v", known, err)
	}
}
