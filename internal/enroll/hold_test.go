package enroll_test

import (
	"testing"
	"time"

	"chancery/internal/enroll"
	"chancery/internal/enroll/vault"
)

// The only CA asks for a month while a day is left: it is asked again after a quarter of
// what is left, so that the certificate does not end without a try.
func TestRetryAfterBehindTheEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain(1)...)
	r.set("shop.example", issue("ca1.test"))
	c := r.client("")
	issued := c.get(t, enroll.Options{}, "shop.example").Issued
	c.clock.add(issued.NotAfter.Sub(c.clock.Now()) - 24*time.Hour)
	r.houses[0].set(problem("/new-order", 429, "rateLimited", "Retry-After", "2592000"))
	out, err := c.Get(t.Context(), sheet("shop.example"), enroll.Options{})
	if wait := out.NotBefore.Sub(c.clock.Now()); err == nil || wait < 5*time.Hour || wait > 6*time.Hour {
		t.Fatalf("to be asked again in %v: %v", wait, err)
	}
	for _, step := range []struct {
		later time.Duration
		asked bool
	}{{5 * time.Hour, false}, {61 * time.Minute, true}, {4 * time.Hour, false}, {20 * time.Hour, true}, {30 * time.Minute, false}, {31 * time.Minute, true}} {
		c.clock.add(step.later)
		r.houses[0].seen.Store(0)
		if _, err := c.Get(t.Context(), sheet("shop.example"), enroll.Options{}); err == nil || (r.houses[0].seen.Load() > 0) != step.asked {
			t.Errorf("%v later, %v before the end: %d requests: %v", step.later, issued.NotAfter.Sub(c.clock.Now()), r.houses[0].seen.Load(), err)
		}
	}
}

// A CA that asked for a month comes last, and is asked all the same when the others fail
// and time goes by.
func TestRetryAfterAndTheOthersAreDown(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain(2)...)
	r.set("shop.example", issue("ca1.test", "priority=1"), issue("ca2.test", "priority=2"))
	c := r.client("")
	c.get(t, enroll.Options{}, "shop.example")
	r.houses[0].set(problem("/new-order", 429, "rateLimited", "Retry-After", "2592000"))
	if out := c.get(t, enroll.Options{Force: true}, "shop.example"); out.Issued.Issuer != "ca2.test" {
		t.Errorf("%s issued", out.Issued.Issuer)
	}
	r.houses[0].reset()
	if out := c.get(t, enroll.Options{Force: true}, "shop.example"); out.Issued.Issuer != "ca2.test" || r.houses[0].seen.Load() != 0 {
		t.Errorf("%s issued; %d requests to the CA that asked to be left alone", out.Issued.Issuer, r.houses[0].seen.Load())
	}
	r.houses[1].set(noTLS)
	if _, err := c.Get(t.Context(), sheet("shop.example"), enroll.Options{Force: true}); err == nil || r.houses[0].seen.Load() != 0 {
		t.Errorf("%d requests to the CA that asked to be left alone: %v", r.houses[0].seen.Load(), err)
	}
	c.clock.add(23 * 24 * time.Hour)
	if out := c.get(t, enroll.Options{Force: true}, "shop.example"); out.Issued.Issuer != "ca1.test" {
		t.Errorf("%s issued", out.Issued.Issuer)
	}
}

// What a web server before the CA asks for counts for no more than that the CA is down.
func TestRetryAfterOfAWebServer(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain(1)...)
	r.set("a.example", issue("ca1.test"))
	r.set("b.example", issue("ca1.test"))
	c := r.client("")
	r.houses[0].set(problemAtOnce(503, "Retry-After", "86400"))
	if _, err := c.Get(t.Context(), sheet("a.example"), enroll.Options{}); err == nil {
		t.Fatal("issued")
	}
	r.houses[0].reset()
	if _, err := c.Get(t.Context(), sheet("b.example"), enroll.Options{}); err == nil || r.houses[0].seen.Load() != 0 {
		t.Errorf("%d requests at once: %v", r.houses[0].seen.Load(), err)
	}
	c.clock.add(16 * time.Minute)
	c.get(t, enroll.Options{}, "b.example")
}

// A failed run for other names leaves them wanted: what there is does not hold them, so
// the next run is due, however young the certificate.
func TestWantedNamesAreDue(t *testing.T) {
	t.Parallel()
	r := newRig(t, plain(1)...)
	for _, n := range []string{"a.example", "b.example"} {
		r.set(n, issue("ca1.test"))
	}
	c := r.client("")
	c.get(t, enroll.Options{}, "a.example")
	want := vault.Sheet{Name: "a.example", Names: []string{"a.example", "B.example."}}
	r.houses[0].set(problem("/new-order", 400, "rejectedIdentifier"))
	if _, err := c.Get(t.Context(), want, enroll.Options{}); err == nil {
		t.Fatal("issued")
	}
	if due := c.Due(rec(t, c, "a.example")); due.After(c.clock.Now()) {
		t.Errorf("due %v", due)
	}
	r.houses[0].reset()
	out, err := c.Renew(t.Context(), "a.example", enroll.Options{})
	if err != nil || out.Result != enroll.Issued {
		t.Fatalf("%s, %v", out.Result, err)
	}
	if out, err := c.Get(t.Context(), want, enroll.Options{}); err != nil || out.Result != enroll.NotDue {
		t.Errorf("again: %s, %v", out.Result, err)
	}
}
