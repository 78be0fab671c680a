package acmeserver_test

import (
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/acmeserver"
	"chancery/internal/storetest"
)

// TestPendingAuthorizationsAreBounded: an account can have so many pending at once, by
// orders and in advance, and more as soon as some are met, given up or expired.
func TestPendingAuthorizationsAreBounded(t *testing.T) {
	w := newWorld(t, func(c *acmeserver.Config) { c.MostPending = 3 })
	c := w.client()
	first := w.order(c, "a.example", "b.example")
	crowded := func(names ...string) {
		t.Helper()
		_, err := c.NewOrder(t.Context(), acme.NewOrder{Identifiers: dnsNames(names...)})
		refused(t, err, acme.TypeRateLimited, "pending authorizations")
		if p := acme.AsProblem(err); p.Status != 429 || p.RetryAfter <= 0 || p.RetryAfter > w.config.OrderLife {
			t.Errorf("the status is %d, come back after %s", p.Status, p.RetryAfter)
		}
	}
	crowded("c.example", "d.example")
	w.order(w.client(), "c.example", "d.example") // another account has its own
	w.order(c, "c.example")
	crowded("d.example")
	_, err := c.PreAuthorize(t.Context(), dnsNames("d.example")[0])
	refused(t, err, acme.TypeRateLimited, "pending authorizations")
	_, err = c.NewOrder(t.Context(), acme.NewOrder{Identifiers: dnsNames("d.example", "e.example", "f.example", "g.example")})
	refused(t, err, acme.TypeRateLimited, "several orders")

	if _, err := c.DeactivateAuthorization(t.Context(), first.Authorizations[0]); err != nil {
		t.Fatal(err)
	}
	w.order(c, "d.example")
	a, ch := w.pick(c, first.Authorizations[1])
	w.prove(c, a.Identifier, ch)
	if _, err := c.Respond(t.Context(), ch); err != nil {
		t.Fatal(err)
	}
	if a, err = c.WaitAuthorization(t.Context(), a.URL); err != nil || a.Status != acme.AuthorizationValid {
		t.Fatalf("%+v, %v", a, err)
	}
	w.order(c, "b.example", "e.example") // the proof of b.example is used again
	crowded("f.example")
	w.ahead.Store(int64(w.config.OrderLife + time.Minute))
	w.order(c, "g.example", "h.example", "i.example")
}

// TestCostOfTheBound: counting what is pending costs an order neither a write nor a read
// of its own.
func TestCostOfTheBound(t *testing.T) {
	db := storetest.SQLite(t)
	o := newOfficeOn(t, db, func(c *acmeserver.Config) { c.MostPending = 300 })
	if writes, reads := o.orderCost(db, o.account(), "a.example"); writes != 4 || reads != 15 {
		t.Errorf("an order cost %d writes and %d reads; want 4 and 15", writes, reads)
	}
}
