package acmeserver_test

import (
	"testing"

	"chancery/acme"
	"chancery/internal/acmeserver"
	"chancery/internal/registry"
	"chancery/internal/sqldb"
	"chancery/internal/storetest"
)

// provesWildcard is proves for a name that only dns-01 proves.
func (o *office) provesWildcard(c *acme.Client, name string) (order *acme.Order, authz string) {
	o.t.Helper()
	order = o.order(c, name)
	authz = order.Authorizations[0]
	a, err := c.Authorization(o.t.Context(), authz)
	if err != nil || len(a.Challenges) != 1 {
		o.t.Fatalf("%+v, %v", a, err)
	}
	if a.Status == acme.AuthorizationPending {
		o.prove(c, a.Identifier, a.Challenges[0])
		if _, err := c.Respond(o.t.Context(), a.Challenges[0]); err != nil {
			o.t.Fatal(err)
		}
		o.until(func() bool { return o.stored(authz).Attempts > 0 })
	}
	return order, authz
}

// Who controls a name above a customer's gets no wildcard over it, unless he is bound to
// who holds each name below, or holds the name above himself.
func TestWildcardOverHeldNames(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *sqldb.DB) {
		o := newOfficeOn(t, db, func(c *acmeserver.Config) { c.Policy = guarded })
		carol := o.customer("shop.host.example", "")
		o.customer("deep.down.pad.example", "") // dave
		for _, wildcard := range []string{"*.host.example", "*.pad.example", "*.example"} {
			for _, c := range []*acme.Client{o.account(), o.external("")} {
				_, authz := o.provesWildcard(c, wildcard)
				o.failed(c, authz, wildcard+" covers names")
			}
		}
		for _, c := range []*acme.Client{o.account(), o.external("")} { // beside the names, and above without a wildcard
			_, authz := o.provesWildcard(c, "*.other.example")
			o.stands(c, authz, acme.AuthorizationValid)
			_, authz = o.proves(c, "host.example")
			o.stands(c, authz, acme.AuthorizationValid)
		}
		hers := o.external(carol)
		_, authz := o.provesWildcard(hers, "*.host.example")
		o.stands(hers, authz, acme.AuthorizationValid)
		_, authz = o.provesWildcard(hers, "*.example") // dave's is below, too
		o.stands(hers, authz, acme.AuthorizationInvalid)

		// A name between the two is as good, and so is the name itself.
		erin := o.customer("down.pad.example", "")
		c := o.external(erin)
		_, authz = o.provesWildcard(c, "*.pad.example")
		o.stands(c, authz, acme.AuthorizationValid)
		frank := o.customer("pad.example", "")
		c = o.external(frank)
		_, authz = o.provesWildcard(c, "*.pad.example")
		o.stands(c, authz, acme.AuthorizationValid)

		// Suspended, he holds it still; when it is taken from him, nobody does.
		if err := o.Suspend(t.Context(), clerk, carol); err != nil {
			t.Fatal(err)
		}
		late := o.account()
		_, authz = o.provesWildcard(late, "*.host.example")
		o.stands(late, authz, acme.AuthorizationInvalid)
		if err := o.RemoveDomain(t.Context(), clerk, registry.Domain{Customer: carol, Name: "shop.host.example"}); err != nil {
			t.Fatal(err)
		}
		_, authz = o.provesWildcard(late, "*.host.example")
		o.stands(late, authz, acme.AuthorizationValid)
	})
}

// A name below that was registered since the wildcard was proven is looked at before the
// certificate is made.
func TestWildcardAndLaterDomain(t *testing.T) {
	o := newOffice(t, guarded)
	c := o.account()
	order, authz := o.provesWildcard(c, "*.host.example")
	o.stands(c, authz, acme.AuthorizationValid)
	o.customer("shop.host.example", "")
	_, err := c.Finalize(t.Context(), order, csr(t, certKey(t), "", "*.host.example"))
	refused(t, err, acme.TypeUnauthorized, "*.host.example covers names")
	if again := o.order(c, "*.host.example"); again.Authorizations[0] == authz {
		t.Error("the proof from before is used again")
	}
}
