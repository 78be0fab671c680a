package acmeserver_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/acmeserver"
	"chancery/internal/registry"
	"chancery/internal/sqldb"
	"chancery/internal/storetest"
)

// guarded is byDomain that leaves names alone which nobody registered.
var guarded = acmeserver.Policy{ByDomain: true, Pause: time.Second}

// That a customer is suspended makes his domains nobody else's: neither who waits for
// his word gets them, nor who comes now, whatever key he has.
func TestSuspensionLiftsNoGuard(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *sqldb.DB) {
		o := newOfficeOn(t, db, func(c *acmeserver.Config) { c.Policy = guarded })
		carol, dave := o.customer("eu.example", ""), o.customer("dave.example", "")
		waits := o.account()
		_, waiting := o.proves(waits, "www.eu.example")
		o.stands(waits, waiting, acme.AuthorizationPending)
		if err := o.Suspend(t.Context(), clerk, carol); err != nil {
			t.Fatal(err)
		}
		o.failed(waits, waiting, "suspended")
		for _, c := range []*acme.Client{waits, o.account(), o.external(""), o.external(dave)} {
			_, authz := o.proves(c, "eu.example")
			o.failed(c, authz, "eu.example is registered", "suspended", "customer domain remove")
		}
		// His proof cannot be renewed meanwhile, and it is his domain all the same.
		o.ahead.Add(int64(400 * 24 * time.Hour))
		late := o.account()
		_, authz := o.proves(late, "eu.example")
		o.failed(late, authz, "suspended")
		if err := o.RemoveDomain(t.Context(), clerk, registry.Domain{Customer: carol, Name: "eu.example"}); err != nil {
			t.Fatal(err)
		}
		o.obtain(late, "eu.example")
	})
}

// Of several holders those are asked, and those count, who are served.
func TestOneOfTheHoldersIsSuspended(t *testing.T) {
	o := newOffice(t, guarded)
	carol, eve := o.customer("eu.example", ""), o.customer("eu.example", "")
	if err := o.Suspend(t.Context(), clerk, carol); err != nil {
		t.Fatal(err)
	}
	c := o.account()
	_, authz := o.proves(c, "eu.example")
	o.stands(c, authz, acme.AuthorizationPending)
	o.decides(eve, true)
	o.stands(c, authz, acme.AuthorizationValid)
	o.obtain(c, "eu.example")
	if n := len(o.asked(carol)); n != 0 {
		t.Errorf("the suspended one was asked %d times", n)
	}
}

// What was proven while nobody held the domain serves nobody any more once a customer
// does: not a new order, and not one that is ready.
func TestDomainRegisteredLater(t *testing.T) {
	for _, external := range []bool{false, true} {
		o := newOffice(t, guarded)
		c := o.account()
		if external {
			c = o.external("")
		}
		order, authz := o.proves(c, "eu.example")
		o.obtain(c, "else.example")
		ready, err := c.Order(t.Context(), order)
		if err != nil || ready.Status != acme.OrderReady {
			t.Fatalf("the order is %+v, %v", ready, err)
		}
		carol := o.customer("eu.example", "")
		_, err = c.Finalize(t.Context(), ready, csr(t, certKey(t), "", "eu.example"))
		refused(t, err, acme.TypeUnauthorized, "eu.example is registered", "not bound", "make a new order")
		_, again := o.proves(c, "eu.example")
		if again == authz {
			t.Fatal("the proof from before was used again")
		}
		o.stands(c, again, acme.AuthorizationPending)
		o.decides(carol, true)
		if _, err = c.Finalize(t.Context(), ready, csr(t, certKey(t), "", "eu.example")); err != nil {
			t.Error(err)
		}
		o.obtain(c, "eu.example", "else.example")
		// Suspended between order and certificate, the customer holds it still.
		ready = o.order(c, "eu.example")
		if err := o.Suspend(t.Context(), clerk, carol); err != nil {
			t.Fatal(err)
		}
		_, err = c.Finalize(t.Context(), ready, csr(t, certKey(t), "", "eu.example"))
		refused(t, err, acme.TypeUnauthorized, "suspended")
	}
}

// A key of another customer's, or of nobody's, is no word of him who holds the domain.
func TestForeignKeyIsNoConfirmation(t *testing.T) {
	o := newOffice(t, byDomain)
	carol, dave := o.customer("eu.example", ""), o.customer("dave.example", "")
	for _, key := range []string{dave, ""} {
		c := o.external(key)
		_, authz := o.proves(c, "eu.example")
		o.stands(c, authz, acme.AuthorizationPending)
		o.decides(carol, true)
		o.stands(c, authz, acme.AuthorizationValid)
		o.obtain(c, "eu.example")
		o.obtain(c, "unheld.example") // any key is binding enough where nobody is to be asked
	}
	before := len(o.asked(carol))
	c := o.external(carol)
	o.obtain(c, "eu.example")
	o.obtain(o.external(dave), "dave.example")
	if n := len(o.asked(carol)); n != before+1 || o.asked(carol)[0].Via != registry.ViaEAB {
		t.Errorf("the customer was asked about his own key's account: %+v", o.asked(carol))
	}
}

// What a vetting found stands in certificates for the vetted customer's own domains
// alone, with and without confirmations.
func TestOrganizationOfOwnDomainsAlone(t *testing.T) {
	for _, p := range []acmeserver.Policy{{}, guarded} {
		o := newOfficeOn(t, storetest.SQLite(t), func(c *acmeserver.Config) { c.Profiles, c.Policy = []string{"tls-server", "ev"}, p })
		o.customer("eu.example", "")
		dave := o.customer("dave.example", "")
		v := registry.Vetting{Kind: "ca-ev", Until: o.now().Add(24 * time.Hour), By: clerk, Subject: registry.Subject{Organization: "Dave Ltd", Country: "DE"}}
		if err := o.Vet(t.Context(), dave, v); err != nil {
			t.Fatal(err)
		}
		c := o.external(dave)
		obtain := func(names ...string) error {
			_, err := c.Obtain(t.Context(), acme.ObtainRequest{Identifiers: dnsNames(names...), Profile: "ev", Key: certKey(t), Solver: solver{world: o.world}})
			return err
		}
		for _, names := range [][]string{{"eu.example"}, {"dave.example", "www.eu.example"}, {"unheld.example"}} {
			refused(t, obtain(names...), acme.TypeUnauthorized, "has not proven", names[len(names)-1], "customer domain add")
		}
		if err := obtain("dave.example", "www.dave.example"); err != nil {
			t.Error(err)
		}
		// Taken from him, it is not his when the certificate is made.
		ready, err := c.NewOrder(t.Context(), acme.NewOrder{Identifiers: dnsNames("dave.example"), Profile: "ev"})
		if err == nil && ready.Status != acme.OrderReady {
			err = errors.New("not ready")
		}
		if err == nil {
			err = o.RemoveDomain(t.Context(), clerk, registry.Domain{Customer: dave, Name: "dave.example"})
		}
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Finalize(t.Context(), ready, csr(t, certKey(t), "", "dave.example"))
		refused(t, err, acme.TypeUnauthorized, "has not proven", "dave.example")
	}
}

// An administrator's word binds an account, before it was asked about and while it is.
func TestBoundByHand(t *testing.T) {
	o := newOffice(t, byDomain)
	carol, gone := o.customer("eu.example", ""), o.customer("gone.example", "")
	if err := o.Suspend(t.Context(), clerk, gone); err != nil {
		t.Fatal(err)
	}
	c := o.account()
	account, err := c.Account(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, authz := o.proves(c, "eu.example")
	o.stands(c, authz, acme.AuthorizationPending)
	add := func(account, customer string) (made acmeserver.BindingMade, err error) {
		err = operate(t, &desk{server: o.server}, "binding.add", acmeserver.BindingWanted{
			Account: account[strings.LastIndexByte(account, '/')+1:], Customer: customer, Reason: "a contract"}, &made)
		return made, err
	}
	made, err := add(account.URL, carol)
	if err != nil || made.State != registry.Confirmed || made.URL != account.URL || made.Name == "" {
		t.Fatalf("the binding is %+v, %v", made, err)
	}
	if b, err := o.Binding(t.Context(), made.ID); err != nil || !b.Holds() || b.Reason != "a contract" || b.DecidedBy.Room != "admin" {
		t.Errorf("the binding is kept as %+v, %v", b, err)
	}
	o.stands(c, authz, acme.AuthorizationValid)
	o.obtain(c, "www.eu.example")
	other := o.customer("other.example", "")
	if made, err = add(account.URL, other); err != nil {
		t.Fatal(err)
	}
	if b, err := o.Binding(t.Context(), made.ID); err != nil || b.Via != registry.ViaAdmin {
		t.Errorf("the binding is kept as %+v, %v", b, err)
	}
	o.obtain(c, "other.example")
	o.ends(other)
	for text, pair := range map[string][2]string{"already": {account.URL, carol}, "anew after": {account.URL, other}, "suspended": {account.URL, gone},
		"no such account": {"nobody", carol}, "no such customer": {account.URL, "nobody"}} {
		if _, err := add(pair[0], pair[1]); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
