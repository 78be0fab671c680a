package enroll_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"chancery/internal/enroll"
	"chancery/internal/enroll/vault"
)

// A last resort that is called off, or whose CA asks for what is not there, shows nothing
// of the CA: the circuit stays open as long as it was to be. Only a probe's own lease is
// given back.
func TestCalledOffLeavesTheCircuit(t *testing.T) {
	r := newRig(t, plain(1)...)
	r.set("shop.example", issue("ca1.test"))
	calledOff := func(c *client) {
		ctx, cancel := context.WithCancel(t.Context())
		r.houses[0].set(func(http.ResponseWriter, *http.Request) bool { cancel(); return false })
		if _, err := c.Get(ctx, sheet("shop.example"), enroll.Options{}); err == nil {
			t.Error("a run that was called off issued")
		}
		r.houses[0].reset()
	}
	unable := func(c *client) {
		r.houses[0].setMeta(func(m map[string]any) { m["externalAccountRequired"] = true })
		if _, err := c.Get(t.Context(), sheet("shop.example"), enroll.Options{}); err == nil {
			t.Error("there is no binding")
		}
		r.houses[0].reset()
	}
	for name, run := range map[string]func(*client){"called off": calledOff, "no binding": unable} {
		c := r.client("")
		until := c.clock.Now().Add(3 * time.Hour).UTC().Truncate(time.Second)
		set := func(until time.Time) {
			if err := c.vault.UpdateCA(t.Context(), firstCA, func(ca *vault.CA) error {
				ca.Circuit = vault.Circuit{Failures: 5, Opened: 4, OpenUntil: until}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		circuit := func() vault.Circuit {
			known, err := c.vault.CA(firstCA)
			if err != nil {
				t.Fatal(err)
			}
			return known.Circuit
		}
		set(until)
		run(c)
		if got := circuit(); !got.OpenUntil.Equal(until) {
			t.Errorf("%s: an open circuit is open until %v, want %v", name, got.OpenUntil, until)
		}
		set(c.clock.Now().Add(-time.Minute))
		run(c)
		if got := circuit(); got.OpenUntil.After(c.clock.Now()) || got.Opened != 4 {
			t.Errorf("%s: a half-open circuit is now %+v", name, got)
		}
	}
}
