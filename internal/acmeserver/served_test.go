package acmeserver_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/acmeserver"
	"chancery/internal/ca"
	"chancery/internal/registry"
	"chancery/internal/sqldb"
	"chancery/internal/storetest"
)

// ends ends the customer's only confirmed binding, by the customer himself.
func (o *office) ends(customer string) {
	o.t.Helper()
	all, err := o.Bindings(o.t.Context(), registry.BindingQuery{Customer: customer, State: registry.Confirmed})
	if err != nil || len(all) != 1 {
		o.t.Fatalf("the customer has the bindings %+v, %v; want one", all, err)
	}
	if _, err := o.End(o.t.Context(), registry.Decision{ID: all[0].ID, By: ca.Principal{Room: registry.CustomerRoom, ID: customer}}); err != nil {
		o.t.Fatal(err)
	}
}

// An account that a suspended customer opened with his key gets nothing any more,
// neither by a new order nor by one that is ready; and again when he is served again.
func TestSuspendedCustomersAccount(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *sqldb.DB) {
		o := newOfficeOn(t, db, func(*acmeserver.Config) {})
		shop := o.customer("", "")
		c, nobodys := o.external(shop), o.external("")
		order, _ := o.proves(c, "a.example")
		ready, err := c.Order(t.Context(), order)
		if err != nil || ready.Status != acme.OrderReady {
			t.Fatalf("the order is %+v, %v", ready, err)
		}
		if err := o.Suspend(t.Context(), clerk, shop); err != nil {
			t.Fatal(err)
		}
		_, err = c.Finalize(t.Context(), ready, csr(t, certKey(t), "", "a.example"))
		refused(t, err, acme.TypeUnauthorized, "suspended")
		_, err = c.NewOrder(t.Context(), acme.NewOrder{Identifiers: dnsNames("a.example")})
		refused(t, err, acme.TypeUnauthorized, "suspended")
		_, err = c.PreAuthorize(t.Context(), acme.Identifier{Type: "dns", Value: "a.example"})
		refused(t, err, acme.TypeUnauthorized, "suspended")
		o.obtain(nobodys, "b.example")
		o.obtain(o.account(), "c.example")
		if err := o.Resume(t.Context(), clerk, shop); err != nil {
			t.Fatal(err)
		}
		if _, err = c.Finalize(t.Context(), ready, csr(t, certKey(t), "", "a.example")); err != nil {
			t.Error(err)
		}
		// Ended, it is over for the account, whatever becomes of the customer.
		o.ends(shop)
		_, err = c.NewOrder(t.Context(), acme.NewOrder{Identifiers: dnsNames("a.example")})
		refused(t, err, acme.TypeUnauthorized, "was ended", "another key")
	})
}

// A binding that was confirmed is good no more once it was ended: not for orders to
// come, not for proofs from before, and not for an order that is ready.
func TestEndedBinding(t *testing.T) {
	for _, require := range []bool{true, false} {
		p := byDomain
		p.Require = require
		o := newOffice(t, p)
		shop, bank := o.customer("shop.example", ""), o.customer("bank.example", "")
		c := o.account()
		o.proves(c, "bank.example")
		o.decides(bank, true)
		order, authz := o.proves(c, "shop.example")
		o.decides(shop, true)
		o.stands(c, authz, acme.AuthorizationValid)
		o.ends(shop)
		ready, err := c.Order(t.Context(), order)
		if err != nil || ready.Status != acme.OrderReady {
			t.Fatalf("the order is %+v, %v", ready, err)
		}
		_, err = c.Finalize(t.Context(), ready, csr(t, certKey(t), "", "shop.example"))
		refused(t, err, acme.TypeUnauthorized, "shop.example was ended")
		// Within a day nobody is bothered.
		_, again := o.proves(c, "shop.example")
		if again == authz {
			t.Fatal("the proof from before was used again")
		}
		o.failed(c, again, "was ended", "after a day")
		o.obtain(c, "www.bank.example")
		o.ahead.Add(int64(25 * time.Hour))
		_, again = o.proves(c, "shop.example")
		o.stands(c, again, acme.AuthorizationPending)
		o.decides(shop, true)
		o.obtain(c, "shop.example")
	}
}

// The customer of an account that was bound by a domain is suspended.
func TestSuspendedHolder(t *testing.T) {
	p := byDomain
	p.Require = false
	o := newOffice(t, p)
	shop := o.customer("shop.example", "")
	c := o.account()
	o.proves(c, "shop.example")
	o.decides(shop, true)
	o.obtain(c, "shop.example")
	if err := o.Suspend(t.Context(), clerk, shop); err != nil {
		t.Fatal(err)
	}
	_, err := c.NewOrder(t.Context(), acme.NewOrder{Identifiers: dnsNames("shop.example")})
	refused(t, err, acme.TypeUnauthorized, "suspended")
}

// reading counts how often bindings are read.
type reading struct {
	*office
	reads atomic.Int64
}

// BindingsOf implements [acmeserver.Customers].
func (r *reading) BindingsOf(ctx context.Context, account string) ([]registry.Binding, error) {
	r.reads.Add(1)
	return r.office.BindingsOf(ctx, account)
}

// TestReadsOfBindings: with the policies off an account without an external binding
// costs no look at bindings, and one with it a look per order and one per certificate.
func TestReadsOfBindings(t *testing.T) {
	r := &reading{}
	o := newOfficeOn(t, storetest.SQLite(t), func(c *acmeserver.Config) { c.Customers = r })
	r.office = o
	o.obtain(o.account(), "a.example", "b.example")
	if n := r.reads.Load(); n != 0 {
		t.Errorf("bindings were read %d times for nothing", n)
	}
	o.obtain(o.external(o.customer("", "")), "c.example", "d.example")
	if n := r.reads.Load(); n != 2 {
		t.Errorf("bindings were read %d times; want 2", n)
	}
}

// orderCost is what the six requests cost that an order of one name takes.
func (o *office) orderCost(db *sqldb.DB, c *acme.Client, name string) (writes, reads uint64) {
	o.t.Helper()
	before := db.Stats()
	made := o.order(c, name)
	a, ch := o.pick(c, made.Authorizations[0])
	o.prove(c, a.Identifier, ch)
	if got, err := c.Respond(o.t.Context(), ch); err != nil || got.Status != acme.ChallengeValid {
		o.t.Fatalf("the challenge is %+v, %v", got, err)
	}
	o.stands(c, made.Authorizations[0], acme.AuthorizationValid)
	ready, err := c.Finalize(o.t.Context(), made, csr(o.t, certKey(o.t), "", name))
	if err == nil {
		_, err = c.Certificate(o.t.Context(), ready.Certificate)
	}
	if err != nil {
		o.t.Fatal(err)
	}
	after := db.Stats()
	return after.Batches - before.Batches, after.Queries - before.Queries
}

// TestCostOfAnOrder holds what an order of one name costs while no policy asks for
// more: four durable writes (order, validation, intent, settlement) and fifteen reads.
// An external binding adds a read to newOrder and one to finalize.
func TestCostOfAnOrder(t *testing.T) {
	db := storetest.SQLite(t)
	o := newOfficeOn(t, db, func(*acmeserver.Config) {})
	if writes, reads := o.orderCost(db, o.account(), "a.example"); writes != 4 || reads != 15 {
		t.Errorf("an order cost %d writes and %d reads; want 4 and 15", writes, reads)
	}
	if writes, reads := o.orderCost(db, o.external(o.customer("", "")), "b.example"); writes != 4 || reads != 17 {
		t.Errorf("an order of an external account cost %d writes and %d reads; want 4 and 17", writes, reads)
	}
}
