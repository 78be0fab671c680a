package enroll_test

import (
	"errors"
	"testing"

	"chancery/internal/enroll"
	"chancery/internal/enroll/vault"
)

// A directory that the user named is first asked by which names CAA knows it. That request
// is tried again, counted and told as any other.
func TestNamedDirectoryIsDown(t *testing.T) {
	r := newRig(t, plain(1)...)
	r.set("shop.example", issue("ca1.test"))
	want := vault.Sheet{Names: []string{"shop.example"}, CA: vault.Choice{Directory: firstCA}}
	dir := t.TempDir() + "/vault"
	tries := func(c *enroll.Config) { c.Settings.Tries, c.Settings.BreakAfter = 3, 2 }
	c := r.client(dir, tries)
	r.houses[0].setMeta(func(m map[string]any) { m["caaIdentities"] = []string{"ca1.test"} })
	r.houses[0].set(noTLS)
	for n := range int64(2) {
		out, err := c.Get(t.Context(), want, enroll.Options{Unattended: true})
		var failed *enroll.RunError
		if !errors.As(err, &failed) || len(out.Attempts) != 1 || out.Attempts[0].Class != enroll.ClassUnavailable || r.houses[0].seen.Load() != 3*(n+1) {
			t.Fatalf("%d requests; %+v, %v", r.houses[0].seen.Load(), out.Attempts, err)
		}
	}
	known, err := c.vault.CA(firstCA)
	if err != nil || known.Circuit.Opened != 1 || known.Incident == nil || known.Incident.Count != 2 || len(c.told("ca-failing")) != 1 {
		t.Errorf("%+v, %v, %d messages", known, err, len(c.told("ca-failing")))
	}
	r.houses[0].set(everything(429, ""))
	r.houses[0].seen.Store(0)
	if _, err := c.Discover(t.Context(), want, enroll.Options{}); err == nil || r.houses[0].seen.Load() != 1 {
		t.Errorf("a report made %d requests: %v", r.houses[0].seen.Load(), err)
	}
	r.houses[0].set(nil)
	c = r.client(dir, tries)
	if out, err := c.Get(t.Context(), want, enroll.Options{AgreeTerms: true}); err != nil || out.Result != enroll.Issued {
		t.Errorf("%+v, %v", out, err)
	}
	if known, err := c.vault.CA(firstCA); err != nil || known.Circuit.Opened != 0 || known.Incident != nil {
		t.Errorf("it is well again: %+v, %v", known, err)
	}
}

// What a named CA that is busy asks for is waited for, and kept for later runs.
func TestNamedDirectoryIsBusy(t *testing.T) {
	r := newRig(t, plain(1)...)
	want := vault.Sheet{Names: []string{"free.example"}, CA: vault.Choice{Directory: firstCA}}
	r.houses[0].set(only("/.well-known/acme", problemAtOnce(503, "Retry-After", "600")))
	c := r.client("")
	out, err := c.Get(t.Context(), want, enroll.Options{})
	if err == nil || out.NotBefore.Before(c.clock.Now()) || r.houses[0].seen.Load() != 1 {
		t.Fatalf("%d requests, not before %v: %v", r.houses[0].seen.Load(), out.NotBefore, err)
	}
	if _, err := c.Get(t.Context(), want, enroll.Options{}); err == nil || r.houses[0].seen.Load() != 1 {
		t.Errorf("%d requests although it asked to be left alone: %v", r.houses[0].seen.Load(), err)
	}
}
