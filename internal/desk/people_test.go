package desk_test

import (
	"testing"
	"time"

	"chancery/internal/admin"
	"chancery/internal/ca"
	"chancery/internal/desk"
	"chancery/internal/registry"
	"chancery/internal/sqlstore"
	"chancery/internal/storetest"
)

// openPeople gives a desk with a registry.
func openPeople(t *testing.T) (*office, *registry.Registry) {
	t.Helper()
	store := sqlstore.New(storetest.SQLite(t))
	r, err := registry.New(registry.Config{Store: store, Sealer: storetest.Seals{}, Clock: time.Now, Base: "https://ca.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	o := &office{Server: admin.NewServer(desk.New(desk.Config{Registry: r, Clock: time.Now}).Operations()...)}
	o.Classify = func(err error) (kind, detail string, ok bool) {
		k := ca.KindOf(err)
		return string(k), err.Error(), k != ca.Internal
	}
	return o, r
}

// done calls an operation that must succeed.
func done[Out any](t *testing.T, o *office, name string, in any) Out {
	t.Helper()
	out, kind := do[Out](t, o, name, in)
	if kind != "" {
		t.Fatalf("%s gave %s", name, kind)
	}
	return out
}

// refused calls one that must not.
func refused(t *testing.T, o *office, name string, in any) ca.Kind {
	t.Helper()
	_, kind := do[struct{}](t, o, name, in)
	return ca.Kind(kind)
}

func TestCustomers(t *testing.T) {
	o, _ := openPeople(t)
	c := done[desk.Customer](t, o, "customer.add", desk.CustomerWanted{Name: "Example Ltd."})
	if c.State != registry.Active || c.By != "uid:7 (ann)" || c.CanSignIn {
		t.Errorf("made: %+v", c)
	}
	contact := desk.ContactNamed{Customer: c.ID, Address: "web@example.org"}
	if added := done[desk.ContactAdded](t, o, "customer.contact.add", contact); added.Mails || !added.Verified.IsZero() {
		t.Errorf("added: %+v", added)
	}
	contact.Code = "AAAAAAAAAA"
	if kind := refused(t, o, "customer.contact.verify", contact); kind != ca.Denied {
		t.Errorf("a code that was never sent gave %s", kind)
	}
	done[struct{}](t, o, "customer.contact.vouch", contact)
	domain := desk.DomainNamed{Customer: c.ID, Domain: "example.org"}
	if d := done[desk.Domain](t, o, "customer.domain.add", domain); d.State != "unproven" || d.Record != "_chancery-domain.example.org" || d.Value == "" {
		t.Errorf("registered: %+v", d)
	}
	if kind := refused(t, o, "customer.domain.verify", domain); kind != ca.Denied {
		t.Errorf("without a DNS, verifying gave %s", kind)
	}
	if d := done[desk.Domain](t, o, "customer.domain.vouch", domain); d.State != "proven" || d.How != registry.Vouched {
		t.Errorf("vouched: %+v", d)
	}
	done[struct{}](t, o, "customer.passphrase", desk.Passphrase{Customer: c.ID, Passphrase: "correct horse battery"})
	vetting := desk.Vetting{Kind: "ca-ov", Organization: "Example Ltd.", Category: "Government Entity", Jurisdiction: "AT", Until: time.Now().Add(time.Hour)}
	done[desk.Customer](t, o, "customer.vet", desk.VettingWanted{Customer: c.ID, Vetting: vetting})
	done[desk.Customer](t, o, "customer.suspend", desk.CustomerNamed{ID: c.ID})
	c = done[desk.Customer](t, o, "customer.show", desk.CustomerNamed{ID: c.ID})
	if c.State != registry.Suspended || c.Suspended.IsZero() || !c.CanSignIn || len(c.Contacts) != 1 || c.Contacts[0].How != registry.Vouched ||
		len(c.Domains) != 1 || len(c.Vettings) != 1 || c.Vettings[0].By != "uid:7 (ann)" || c.Vettings[0].Category != vetting.Category || c.Vettings[0].Jurisdiction != vetting.Jurisdiction {
		t.Errorf("shown: %+v", c)
	}
	if kind := refused(t, o, "customer.contact.add", desk.ContactNamed{Customer: c.ID, Address: "x@example.org"}); kind != ca.Denied {
		t.Errorf("an address for a suspended customer gave %s", kind)
	}
	done[desk.Customer](t, o, "customer.resume", desk.CustomerNamed{ID: c.ID})
	done[struct{}](t, o, "customer.contact.remove", contact)
	done[struct{}](t, o, "customer.domain.remove", domain)
	if d := done[desk.Domains](t, o, "customer.domain.list", desk.CustomerNamed{ID: c.ID}); len(d.Domains) != 0 {
		t.Errorf("domains: %+v", d)
	}
	if all := done[desk.Customers](t, o, "customer.list", struct{}{}); len(all.Customers) != 1 || len(all.Customers[0].Contacts) != 0 {
		t.Errorf("listed: %+v", all)
	}
	for _, name := range []string{"customer.show", "customer.suspend", "customer.domain.list"} {
		if kind := refused(t, o, name, desk.CustomerNamed{ID: "nobody"}); kind != ca.NotFound {
			t.Errorf("%s of nobody gave %s", name, kind)
		}
	}
}

func TestBindings(t *testing.T) {
	o, r := openPeople(t)
	c := done[desk.Customer](t, o, "customer.add", desk.CustomerWanted{Name: "Example Ltd."})
	var asked [2]registry.Binding
	for i := range asked {
		account := ca.NewID()
		var err error
		asked[i], err = r.Ask(t.Context(), registry.Asking{Account: account, AccountURL: "https://ca.example.org/acme/account/" + account, Customer: c.ID, Via: registry.ViaAdmin})
		if err != nil {
			t.Fatal(err)
		}
	}
	if b := done[desk.Binding](t, o, "binding.confirm", desk.BindingDecided{ID: asked[0].ID, Reason: "he called"}); b.State != registry.Confirmed || b.By != "admin:uid:7 (ann)" {
		t.Errorf("confirmed: %+v", b)
	}
	if b := done[desk.Binding](t, o, "binding.end", desk.BindingDecided{ID: asked[0].ID, Reason: "he called"}); b.State != registry.Ended || b.By != "admin:uid:7 (ann)" {
		t.Errorf("ended: %+v", b)
	}
	if kind := refused(t, o, "binding.end", desk.BindingDecided{ID: asked[0].ID}); kind != ca.Conflict {
		t.Errorf("a second end gave %s", kind)
	}
	if b := done[desk.Binding](t, o, "binding.refuse", desk.BindingDecided{ID: asked[1].ID}); b.State != registry.Refused {
		t.Errorf("refused: %+v", b)
	}
	if kind := refused(t, o, "binding.confirm", desk.BindingDecided{ID: asked[1].ID}); kind != ca.Conflict {
		t.Errorf("a second decision gave %s", kind)
	}
	if b := done[desk.Binding](t, o, "binding.show", desk.BindingNamed{ID: asked[0].ID}); b.Reason != "he called" || b.CustomerName != "Example Ltd." || b.Account != asked[0].Account {
		t.Errorf("shown: %+v", b)
	}
	for want, in := range map[string]desk.BindingsWanted{
		asked[0].ID: {State: registry.Ended}, asked[1].ID: {Account: asked[1].Account, Customer: c.ID},
	} {
		if all := done[desk.Bindings](t, o, "binding.list", in); len(all.Bindings) != 1 || all.Bindings[0].ID != want {
			t.Errorf("%+v: %+v", in, all)
		}
	}
	if kind := refused(t, o, "binding.list", desk.BindingsWanted{State: "done"}); kind != ca.Invalid {
		t.Errorf("a state that there is not gave %s", kind)
	}
}
