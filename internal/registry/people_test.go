package registry_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/internal/ca"
	"chancery/internal/registry"
	"chancery/internal/storetest"
)

func TestContacts(t *testing.T) {
	onBoth(t, nil, func(ctx context.Context, d *desk) {
		c := d.customer("Web team")
		proof := registry.ContactProof{Customer: c.ID, Address: "Web@Example.ORG"}
		must[registry.Contact](d.t)(d.AddContact(ctx, admin, proof))
		_, err := d.ByContact(ctx, "Web@example.org")
		d.want(ca.NotFound, err)
		proof.Code = "AAAAAAAAAA"
		d.want(ca.Denied, d.VerifyContact(ctx, admin, proof)) // no letter yet
		letters := d.tell()
		if len(letters) != 1 || letters[0].To != "Web@example.org" || len(d.tell()) != 0 {
			d.t.Fatalf("letters: %+v", letters)
		}
		_, code, _ := strings.Cut(letters[0].Text, "this code:\n\n  ")
		code, _, _ = strings.Cut(code, "\n")
		d.want(ca.Denied, d.VerifyContact(ctx, admin, proof))
		proof.Code = " " + strings.ToLower(code)
		d.want("", d.VerifyContact(ctx, admin, proof))
		d.want(ca.Denied, d.VerifyContact(ctx, admin, proof)) // once
		for address, kind := range map[string]ca.Kind{
			"Web@example.org": "", "mailto:Web@EXAMPLE.org": "", "mailto:%57eb@example.org": "",
			"web@example.org": ca.NotFound, "Web@example.com": ca.NotFound, "": ca.NotFound, "nonsense": ca.NotFound,
		} {
			found, err := d.ByContact(ctx, address)
			if ca.KindOf(err) != kind || err == nil && (found.ID != c.ID || len(found.Verified()) != 1) {
				d.t.Errorf("%q: %+v, %v", address, found, err)
			}
		}
		if d.events("contact.verified", c.ID) != 1 || d.events("contact.told", c.ID) != 1 {
			d.t.Error("the events are not there")
		}
		other := d.customer("Others", "Web@example.org")
		_, err = d.ByContact(ctx, "Web@example.org")
		d.want(ca.Conflict, err)
		d.want("", d.RemoveContact(ctx, admin, registry.ContactProof{Customer: other.ID, Address: "Web@example.org"}))
		d.want(ca.NotFound, d.RemoveContact(ctx, admin, registry.ContactProof{Customer: other.ID, Address: "Web@example.org"}))
		_, err = d.ByContact(ctx, "Web@example.org")
		d.want("", err)
	})
}

// Who is no contact any more gets no letter, and no link that he has works.
func TestRemovedContactHearsNothing(t *testing.T) {
	onBoth(t, nil, func(ctx context.Context, d *desk) {
		c := d.customer("Web team", "example.org", "web@example.org", "gone@example.org", "left@example.org")
		d.customer("Others", "gone@example.org")
		b := must[registry.Binding](d.t)(d.Ask(ctx, asking(c, "a1")))
		d.want("", d.RemoveContact(ctx, admin, registry.ContactProof{Customer: c.ID, Address: "gone@example.org"}))
		letters := d.tell()
		if len(letters) != 2 {
			d.t.Fatalf("%d letters", len(letters))
		}
		d.want("", d.RemoveContact(ctx, admin, registry.ContactProof{Customer: c.ID, Address: "left@example.org"}))
		for _, l := range letters {
			want := ca.NotFound
			if l.To == "web@example.org" {
				want = ""
			}
			_, _, err := d.Look(ctx, b.ID, linkToken(d.t, l, b.ID))
			if l.To == "gone@example.org" || ca.KindOf(err) != want {
				d.t.Errorf("%s: %v", l.To, err)
			}
		}
	})
}

// International names are taken as people write them; what is broad for one customer is
// refused, or told.
func TestBroadAndInternationalDomains(t *testing.T) {
	onBoth(t, nil, func(ctx context.Context, d *desk) {
		c := d.customer("Web team")
		for text, want := range map[string]string{"MÜNCHEN.example": "xn--mnchen-3ya.example", "bücher.example": "xn--bcher-kva.example",
			"shop.co.uk": "shop.co.uk", "corp": "corp", "github.io": "github.io"} {
			one := must[registry.Domain](d.t)(d.AddDomain(ctx, admin, registry.Domain{Customer: c.ID, Name: text}))
			if one.Name != want {
				d.t.Errorf("%q became %q", text, one.Name)
			}
			if why, forbidden := registry.Breadth(one.Name); forbidden || (why != "") != (text == "corp" || text == "github.io") {
				d.t.Errorf("%s: %q, %t", one.Name, why, forbidden)
			}
		}
		for text, kind := range map[string]ca.Kind{"com": ca.Denied, "CO.uk": ca.Denied, "*.münchen.example": ca.BadName, "mün chen.example": ca.BadName, "\xff.example": ca.BadName} {
			_, err := d.AddDomain(ctx, admin, registry.Domain{Customer: c.ID, Name: text})
			d.want(kind, err)
		}
		must[registry.Domain](d.t)(d.AddDomain(ctx, admin, registry.Domain{Customer: c.ID, Name: "co.uk", Whole: true}))
		// A suspended customer's domains stay his, also when a proof ends meanwhile.
		wanted := registry.Domain{Customer: c.ID, Name: "corp"}
		must[registry.Domain](d.t)(d.VouchDomain(ctx, admin, wanted))
		d.want("", d.Suspend(ctx, admin, c.ID))
		holds := func(want bool) {
			d.t.Helper()
			found, err := d.Holders(ctx, "db.corp")
			if err != nil || (len(found) == 1 && found[0] == registry.Holder{Customer: c.ID, Suspended: true}) != want {
				d.t.Errorf("holders: %+v, %v", found, err)
			}
		}
		holds(true)
		d.pass(400 * 24 * time.Hour)
		holds(true)
		d.want("", d.Resume(ctx, admin, c.ID))
		d.want("", d.Suspend(ctx, admin, c.ID))
		holds(false) // it was over when he was suspended again
	})
}

// Codes end, and cannot be tried out.
func TestCodes(t *testing.T) {
	onBoth(t, nil, func(ctx context.Context, d *desk) {
		c := d.customer("Web team")
		proof := registry.ContactProof{Customer: c.ID, Address: "web@example.org"}
		code := func() string {
			must[registry.Contact](d.t)(d.AddContact(ctx, admin, proof))
			_, code, _ := strings.Cut(d.tell()[0].Text, "this code:\n\n  ")
			code, _, _ = strings.Cut(code, "\n")
			return code
		}
		right := proof
		right.Code = code()
		d.pass(24 * time.Hour)
		d.want(ca.Denied, d.VerifyContact(ctx, admin, right))
		first := right.Code
		if right.Code = code(); right.Code == first {
			d.t.Fatal("the code is the same again")
		}
		for n := range 10 {
			proof.Code = fmt.Sprintf("WRONG%05d", n)
			d.want(ca.Denied, d.VerifyContact(ctx, admin, proof))
		}
		d.want(ca.Denied, d.VerifyContact(ctx, admin, right))
		right.Code = code()
		d.want("", d.VerifyContact(ctx, admin, right))
	})
}

func TestDomains(t *testing.T) {
	onBoth(t, nil, func(ctx context.Context, d *desk) {
		c := d.customer("Web team")
		wanted := registry.Domain{Customer: c.ID, Name: "Example.ORG"}
		for name, kind := range map[string]ca.Kind{"": ca.BadName, "*.example.org": ca.BadName, "ex ample": ca.BadName, "10.0.0.1": ca.BadName,
			strings.Repeat("a.", 120) + "example": ca.BadName} {
			_, err := d.AddDomain(ctx, admin, registry.Domain{Customer: c.ID, Name: name})
			d.want(kind, err)
		}
		one := must[registry.Domain](d.t)(d.AddDomain(ctx, admin, wanted))
		if one.Name != "example.org" || one.Record() != "_chancery-domain.example.org" || len(one.Token) < 26 || one.Proven(d.clock()) {
			d.t.Errorf("registered: %+v", one)
		}
		_, err := d.AddDomain(ctx, admin, wanted)
		d.want(ca.Conflict, err)
		verify := func(kind ca.Kind) {
			d.t.Helper()
			_, err := d.VerifyDomain(ctx, admin, wanted)
			d.want(kind, err)
		}
		verify(ca.Denied) // no record
		d.texts[one.Record()] = []string{"v=spf1 -all", one.Token + "x"}
		verify(ca.Denied)
		d.texts[one.Record()] = []string{"v=spf1 -all", one.Token}
		verify("")
		holds := func(domain string, want bool) {
			d.t.Helper()
			found, err := d.Holders(ctx, domain)
			if err != nil || (len(found) == 1 && found[0].Customer == c.ID) != want {
				d.t.Errorf("holders of %s: %v, %v", domain, found, err)
			}
		}
		for domain, want := range map[string]bool{"example.org": true, "WWW.example.org": true, "*.example.org": true, "a.b.c.example.org": true,
			"org": false, "badexample.org": false, "example.org.evil.example": false} {
			holds(domain, want)
		}
		d.pass(397 * 24 * time.Hour)
		holds("example.org", true)
		d.pass(24 * time.Hour)
		holds("example.org", false)
		verify("") // renewed
		holds("example.org", true)
		d.want("", d.RemoveDomain(ctx, admin, wanted))
		d.want(ca.NotFound, d.RemoveDomain(ctx, admin, wanted))
		verify(ca.NotFound)
		holds("example.org", false)
		again := must[registry.Domain](d.t)(d.AddDomain(ctx, admin, wanted))
		if again.Token == one.Token {
			d.t.Error("the token is the same again")
		}
		verify(ca.Denied) // the old record proves nothing now
		_, err = d.VouchDomain(ctx, admin, wanted)
		d.want("", err)
		if d.events("domain.vouched", c.ID) != 1 || d.events("domain.proven", c.ID) != 2 {
			d.t.Error("the events are not there")
		}
	})
}

func TestChoose(t *testing.T) {
	onBoth(t, nil, func(ctx context.Context, d *desk) {
		single := d.customer("Single", "single.example")
		a := d.customer("A", "example.org", "a@example.org", "both@example.org")
		b := d.customer("B", "www.example.org", "b@example.org", "both@example.org")
		must[registry.Contact](d.t)(d.AddContact(ctx, admin, registry.ContactProof{Customer: b.ID, Address: "new@example.org"}))
		must[registry.Domain](d.t)(d.AddDomain(ctx, admin, registry.Domain{Customer: b.ID, Name: "unproven.example"}))
		for _, test := range []struct {
			domain, contacts string
			want             string
			kind             ca.Kind
		}{
			{"single.example", "", single.ID, ""},
			{"x.single.example", "mailto:nobody@example.net", single.ID, ""},
			{"example.org", "", a.ID, ""},
			{"example.org", "mailto:b@example.org", a.ID, ""},
			{"x.www.example.org", "", "", ca.Conflict},
			{"x.www.example.org", "mailto:nobody@example.net", "", ca.Conflict},
			{"x.www.example.org", "mailto:new@example.org", "", ca.Conflict},
			{"x.www.example.org", "mailto:both@example.org", "", ca.Conflict},
			{"x.www.example.org", "mailto:A@example.org", "", ca.Conflict},
			{"x.www.example.org", "mailto:a@example.org", a.ID, ""},
			{"x.www.example.org", "nonsense mailto:b@EXAMPLE.ORG", b.ID, ""},
			{"*.www.example.org", "mailto:b@example.org", b.ID, ""},
			{"x.www.example.org", "mailto:a@example.org mailto:b@example.org", "", ca.Conflict},
			{"unproven.example", "", "", ca.NotFound},
			{"example.net", "", "", ca.NotFound},
			{"not a name", "", "", ca.BadName},
		} {
			c, err := d.Choose(ctx, registry.Choice{Domain: test.domain, Contacts: strings.Fields(test.contacts)})
			if c.ID != test.want || ca.KindOf(err) != test.kind {
				d.t.Errorf("%s, %s: %v, %v", test.domain, test.contacts, c, err)
			}
			if ca.KindOf(err) == ca.Conflict && (!strings.Contains(err.Error(), "contact") || !strings.Contains(err.Error(), "external account key")) {
				d.t.Errorf("the words do not help: %v", err)
			}
		}
	})
}

func TestSignIn(t *testing.T) {
	onBoth(t, nil, func(ctx context.Context, d *desk) {
		c := d.customer("Web team")
		const good, bad = "correct horse battery", "incorrect horse battery"
		d.want(ca.Denied, d.SignIn(ctx, c.ID, "")) // there is none
		d.want(ca.Denied, d.SignIn(ctx, ca.NewID(), good))
		d.want(ca.Denied, d.SignIn(ctx, "nobody", good))
		for _, text := range []string{"", "short", strings.Repeat("x", 257), "not UTF-8 \xff\xff"} {
			d.want(ca.Invalid, d.SetPassphrase(ctx, admin, registry.SignIn{Customer: c.ID, Passphrase: text}))
		}
		d.want(ca.NotFound, d.SetPassphrase(ctx, admin, registry.SignIn{Customer: ca.NewID(), Passphrase: good}))
		d.want("", d.SetPassphrase(ctx, admin, registry.SignIn{Customer: c.ID, Passphrase: good}))
		d.want("", d.SignIn(ctx, c.ID, good))
		var stored string
		if err := d.db.One(ctx, `SELECT passphrase FROM customers WHERE id = $1`, []any{c.ID}, &stored); err != nil ||
			!strings.HasPrefix(stored, "$argon2id$v=19$m=32768,t=3,p=1$") || strings.Contains(stored, "horse") {
			d.t.Errorf("stored is %q, %v", stored, err)
		}
		for range 5 {
			d.want(ca.Denied, d.SignIn(ctx, c.ID, bad))
		}
		d.want(ca.Limited, d.SignIn(ctx, c.ID, good))
		d.pass(30 * time.Second)
		d.want(ca.Denied, d.SignIn(ctx, c.ID, bad))
		d.pass(59 * time.Second)
		next := must[*registry.Registry](d.t)(registry.New(d.Config)) // counted in the store
		d.want(ca.Limited, next.SignIn(ctx, c.ID, good))
		d.pass(time.Second)
		d.want("", d.SignIn(ctx, c.ID, good))
		for range 4 { // forgotten
			d.want(ca.Denied, d.SignIn(ctx, c.ID, bad))
		}
		d.want("", d.SignIn(ctx, c.ID, good))
		var wg sync.WaitGroup
		for range 16 { // at once gains nothing
			wg.Go(func() {
				if err := d.SignIn(ctx, c.ID, bad); ca.KindOf(err) != ca.Denied && ca.KindOf(err) != ca.Limited {
					d.t.Error(err)
				}
			})
		}
		wg.Wait()
		if tried := d.events("sign-in.tried", c.ID); tried > 1+6+1+4+1+5 {
			d.t.Errorf("%d tries were let through", tried)
		}
	})
}

func TestVet(t *testing.T) {
	onBoth(t, nil, func(ctx context.Context, d *desk) {
		c := d.customer("Web team")
		good := registry.Vetting{Kind: "ca-ev", Until: d.clock().Add(time.Hour), By: admin, Subject: registry.Subject{Organization: "Example", Country: "DE", Category: "Business Entity", Jurisdiction: "AT"}}
		for name, change := range map[string]func(*registry.Vetting){
			"no kind": func(v *registry.Vetting) { v.Kind = "" }, "another kind": func(v *registry.Vetting) { v.Kind = "ev" },
			"nobody": func(v *registry.Vetting) { v.Subject.Organization = "" }, "a country": func(v *registry.Vetting) { v.Subject.Country = "de" },
			"over": func(v *registry.Vetting) { v.Until = d.clock() }, "endless": func(v *registry.Vetting) { v.Until = d.clock().AddDate(50, 0, 0) },
			"two lines": func(v *registry.Vetting) { v.Subject.Organization = "a\nb" }, "a category": func(v *registry.Vetting) { v.Subject.Category = "private organization" }, "a jurisdiction": func(v *registry.Vetting) { v.Subject.Jurisdiction = "Germany" },
			"long": func(v *registry.Vetting) { v.Subject.Serial = strings.Repeat("1", 65) },
		} {
			v := good
			change(&v)
			if err := d.Vet(ctx, c.ID, v); ca.KindOf(err) != ca.Invalid {
				d.t.Errorf("%s: %v", name, err)
			}
		}
		_, err := d.Vetted(ctx, c.ID, "ca-ev")
		d.want(ca.NotFound, err)
		d.want("", d.Vet(ctx, c.ID, good))
		if v := must[registry.Vetting](d.t)(d.Vetted(ctx, c.ID, "ca-ev")); v.Subject != good.Subject || v.By != admin {
			d.t.Errorf("the vetting is %+v", v)
		}
		_, err = d.Vetted(ctx, c.ID, "ca-ov")
		d.want(ca.NotFound, err)
		d.pass(time.Hour)
		_, err = d.Vetted(ctx, c.ID, "ca-ev")
		d.want(ca.NotFound, err)
	})
}

func TestOrders(t *testing.T) {
	onBoth(t, nil, func(ctx context.Context, d *desk) {
		c := d.customer("Web team")
		for name, test := range map[string]struct {
			order registry.Order
			kind  ca.Kind
		}{
			"plain":     {registry.Order{Label: "x"}, ""},
			"his":       {registry.Order{Customer: c.ID, Uses: registry.Many, Algorithm: "hs384"}, ""},
			"nobody's":  {registry.Order{}, ca.Invalid},
			"unknown's": {registry.Order{Customer: ca.NewID()}, ca.NotFound},
			"less":      {registry.Order{Label: "x", Uses: -2}, ca.Invalid},
			"too many":  {registry.Order{Label: "x", Uses: 1_000_001}, ca.Invalid},
			"algorithm": {registry.Order{Label: "x", Algorithm: "none"}, ca.Invalid},
		} {
			test.order.By = admin
			k, err := d.CreateKey(ctx, test.order)
			if ca.KindOf(err) != test.kind {
				d.t.Errorf("%s: %v", name, err)
			}
			if err != nil {
				continue
			}
			shown, accounts, err := d.KeyShown(ctx, k.ID)
			if err != nil || len(accounts) != 0 || len(shown.Secret) != 0 || shown.State(d.clock()) != registry.Unused || shown.Most != k.Most || shown.Customer != test.order.Customer {
				d.t.Errorf("%s: %+v, %v, %v", name, shown, accounts, err)
			}
			if got := must[registry.Key](d.t)(d.Key(ctx, k.ID)); string(got.Secret) != string(k.Secret) || len(got.Secret) != 64 {
				d.t.Errorf("%s: the secret came back otherwise", name)
			}
		}
	})
}

// TestKeysAreNoOptions: what is pasted behind an option of certbot or lego must not look
// like one; of 400 keys drawn without care six would.
func TestKeysAreNoOptions(t *testing.T) {
	d := newDesk(t, storetest.SQLite(t), nil)
	for range 400 {
		k, err := d.CreateKey(t.Context(), registry.Order{Label: "x", By: admin})
		if err != nil {
			t.Fatal(err)
		}
		if text := base64.RawURLEncoding.EncodeToString(k.Secret); text[0] == '-' || k.ID[0] == '-' {
			t.Fatal("a key or its identifier begins with a hyphen")
		}
	}
}
