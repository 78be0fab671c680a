package enroll_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"chancery/acme"
	"chancery/caa"
	"chancery/internal/acmeserver"
	"chancery/internal/admin"
	"chancery/internal/enroll"
	"chancery/internal/enroll/vault"
	"chancery/testca"
)

// credentials makes an external account at a CA.
func credentials(t *testing.T, ca *testca.CA) acme.ExternalAccount {
	t.Helper()
	return keyOf(t, ca, acmeserver.KeyWanted{Label: "test"})
}

func keyOf(t *testing.T, ca *testca.CA, wanted acmeserver.KeyWanted) acme.ExternalAccount {
	t.Helper()
	made, err := admin.Call[acmeserver.KeyWanted, acmeserver.KeyMade](t.Context(), admin.Dial(ca.Socket), "eab.create", wanted)
	if err != nil {
		t.Fatal(err)
	}
	return external(t, made.ID, made.Secret)
}

// A certificate whose policies do not say that it is of the kind asked for is not used.
func TestWrongKindIsRefused(t *testing.T) {
	r := newRig(t, plain(2)...)
	r.set("shop.example", issue("ca1.test", "validationmethods=ca-ev"), issue("ca2.test", "priority=2"))
	c := r.client("", func(c *enroll.Config) {
		c.Settings.CAs = []enroll.CA{{Label: "one", Issuers: []string{"ca1.test"}, Profiles: map[caa.Kind]string{caa.ExtendedValidation: "tls-server"}}}
	})
	if err := c.vault.SetEAB(t.Context(), "ca1.test", credentials(t, r.houses[0].ca)); err != nil {
		t.Fatal(err)
	}
	out := c.get(t, enroll.Options{}, "shop.example")
	if out.Issued.Issuer != "ca2.test" || out.Attempts[0].Class != enroll.ClassWrong {
		t.Errorf("%+v %+v", out.Issued, out.Attempts)
	}
}

// A CA whose root nobody trusts issues nothing that is used (D10).
func TestUntrustedChainIsRefused(t *testing.T) {
	r := newRig(t, plain(2)...)
	r.set("shop.example", issue("ca1.test", "priority=1"), issue("ca2.test", "priority=2"))
	c := r.client("", func(c *enroll.Config) { c.Settings.Roots = r.houses[1].ca.Pool() })
	out := c.get(t, enroll.Options{}, "shop.example")
	if out.Issued.Issuer != "ca2.test" || out.Attempts[0].Class != enroll.ClassWrong || !strings.Contains(out.Attempts[0].Advice, "root") {
		t.Errorf("%+v %+v", out.Issued, out.Attempts)
	}
	anchored := r.client("", func(c *enroll.Config) {
		c.Settings.Roots = r.houses[1].ca.Pool()
		c.Settings.CAs = []enroll.CA{{Label: "one", Issuers: []string{"ca1.test"}, Roots: r.houses[0].ca.Pool()}}
	})
	if out := anchored.get(t, enroll.Options{}, "shop.example"); out.Issued.Issuer != "ca1.test" {
		t.Errorf("with its own anchor: %+v", out.Issued)
	}
}

func TestRequiredBindingIsUsed(t *testing.T) {
	r := newRig(t, []testca.Option{testca.RequireEAB()}, nil)
	r.set("shop.example", issue("ca1.test", "priority=1"), issue("ca2.test", "priority=2"))
	r.set("only.example", issue("ca1.test"))
	c := r.client("")
	if out := c.get(t, enroll.Options{}, "shop.example"); out.Issued.Issuer != "ca2.test" {
		t.Errorf("without credentials: %+v", out.Issued)
	}
	_, err := c.Get(t.Context(), sheet("only.example"), enroll.Options{})
	if err == nil || !strings.Contains(err.Error(), "external account") {
		t.Errorf("the only CA wants a binding: %v", err)
	}
	if err := c.vault.SetEAB(t.Context(), "https://ca1.test/.well-known/acme", credentials(t, r.houses[0].ca)); err != nil {
		t.Fatal(err)
	}
	if out := c.get(t, enroll.Options{}, "only.example"); out.Issued.Issuer != "ca1.test" {
		t.Errorf("with credentials: %+v", out.Issued)
	}
	known, err := c.vault.CA("https://ca1.test/.well-known/acme")
	if err != nil || known.Account == nil || known.Account.EABKeyID == "" {
		t.Errorf("%+v, %v", known.Account, err)
	}
}

func TestTermsOfService(t *testing.T) {
	r := newRig(t, []testca.Option{testca.Terms("https://ca1.test/terms/1")})
	r.set("named.example", issue("ca1.test"))
	r.set("again.example", issue("ca1.test"))
	r.set("free.example", `0 iodef "mailto:x@free.example"`)
	byDefault := func(c *enroll.Config) {
		c.Settings.CAs = []enroll.CA{{Label: "house", Issuers: []string{"ca1.test"}, Default: true}}
	}
	c := r.client("", byDefault)
	// A default was never named by the owner: somebody has to agree.
	_, err := c.Get(t.Context(), sheet("free.example"), enroll.Options{})
	if err == nil || !strings.Contains(err.Error(), "https://ca1.test/terms/1") || !strings.Contains(err.Error(), "--agree-tos") {
		t.Fatalf("a default's terms: %v", err)
	}
	if out := r.client("", byDefault).get(t, enroll.Options{AgreeTerms: true}, "free.example"); out.Issued.Default != "house" || out.Terms == "" {
		t.Errorf("with agreement: %+v", out)
	}
	// Naming the CA in CAA is agreement (§8.2.1), unless that is turned off.
	strict := r.client("", func(c *enroll.Config) { c.Settings.TermsByHand = true })
	if _, err := strict.Get(t.Context(), sheet("named.example"), enroll.Options{}); err == nil {
		t.Error("terms were agreed to although that is turned off")
	}
	out := c.get(t, enroll.Options{}, "named.example")
	known, err := c.vault.CA("https://ca1.test/.well-known/acme")
	if err != nil || out.Terms != "https://ca1.test/terms/1" || len(known.Terms) != 1 || known.Terms[0].Basis != "caa" || known.Terms[0].Agreed.IsZero() {
		t.Errorf("terms %q, %+v, %v", out.Terms, known.Terms, err)
	}
	if len(c.heard(enroll.EventTerms)) == 0 {
		t.Error("the terms were not shown")
	}
	r.houses[0].setMeta(func(m map[string]any) { m["termsOfService"] = "https://ca1.test/terms/2" })
	c.clock.add(25 * 3600e9) // the directory is not fresh any more
	c.get(t, enroll.Options{}, "again.example")
	if n := c.told("terms-changed"); len(n) != 1 || n[0].Data["before"] != "https://ca1.test/terms/1" {
		t.Errorf("messages of changed terms: %+v", n)
	}
}

func TestIdentitiesVouch(t *testing.T) {
	r := newRig(t, plain(1)...)
	r.set("shop.example", issue("ca1.test"))
	for _, test := range []struct {
		policy, claims string
		vouched        string // "" = refused
	}{
		{"", "", "tls-name"}, {"", "ca1.test", "caaIdentities"}, {"", "other.test", ""},
		{"require", "", ""}, {"require", "CA1.test", "caaIdentities"}, {"ignore", "other.test", "tls-name"},
	} {
		r.houses[0].setMeta(func(m map[string]any) {
			if delete(m, "caaIdentities"); test.claims != "" {
				m["caaIdentities"] = []string{test.claims}
			}
		})
		c := r.client("", func(c *enroll.Config) { c.Settings.Identities = test.policy })
		rep, err := c.Discover(t.Context(), sheet("shop.example"), enroll.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if o := rep.Offers[0]; o.VouchedBy != test.vouched || o.Usable != (test.vouched != "") {
			t.Errorf("%q, %q: vouched for by %q, usable %t: %s", test.policy, test.claims, o.VouchedBy, o.Usable, o.Why)
		}
	}
}

func TestTwoNames(t *testing.T) {
	r := newRig(t, plain(2)...)
	c := r.client("", func(c *enroll.Config) {
		c.Settings.CAs = []enroll.CA{{Label: "two", Issuers: []string{"ca2.test"}, Default: true}}
	})
	// A record that is not for discovery is no discovery, not even through another name.
	r.set("a.example", issue("ca1.test"), issue("ca2.test", "priority=5"))
	r.set("b.example", issue("ca1.test", "discovery=false"), issue("ca2.test", "priority=5"))
	if out := c.get(t, enroll.Options{}, "a.example", "b.example"); out.Issued.Issuer != "ca2.test" || out.Issued.Default != "" {
		t.Errorf("%+v", out.Issued)
	}
	if r.houses[0].seen.Load() != 0 {
		t.Error("the CA that is not for discovery was asked")
	}
	// No common CA.
	r.set("c.example", issue("ca1.test"))
	r.set("d.example", issue("ca2.test", "discovery=false"))
	r.reset()
	_, err := c.Get(t.Context(), sheet("c.example", "d.example"), enroll.Options{})
	var choice *caa.ChoiceError
	if !errors.As(err, &choice) || len(choice.Together) != 2 {
		t.Fatalf("no common CA: %v", err)
	}
	if r.houses[0].seen.Load()+r.houses[1].seen.Load() != 0 {
		t.Error("a CA was asked although there is no plan")
	}
	sheets, err := c.Split(t.Context(), sheet("c.example", "d.example"), enroll.Options{})
	if err != nil || len(sheets) != 2 || sheets[0].Name == sheets[1].Name {
		t.Fatalf("split: %+v, %v", sheets, err)
	}
	for _, s := range sheets {
		if out, err := c.Get(t.Context(), s, enroll.Options{AgreeTerms: true}); err != nil || out.Result != enroll.Issued {
			t.Errorf("%v: %v", s.Names, err)
		}
	}
	// Only iodef restricts nobody, and goes along with any CA.
	r.set("e.example", `0 iodef "mailto:x@e.example"`)
	if out := c.get(t, enroll.Options{}, "c.example", "e.example"); out.Issued.Issuer != "ca1.test" {
		t.Errorf("with a name that restricts nobody: %+v", out.Issued)
	}
	if out := c.get(t, enroll.Options{AgreeTerms: true}, "e.example"); out.Issued.Default != "two" {
		t.Errorf("nothing restricts: %+v", out.Issued)
	}
}

// No server hears of the names before the CAA of all of them is known (§5), and failed
// lookups are never "no CAA" (D2).
func TestUnknownCAAStopsEverything(t *testing.T) {
	r := newRig(t, plain(1)...)
	r.set("a.example", issue("ca1.test"))
	r.set("b.example", issue("ca1.test"))
	r.dns.Fail("b.example", 2)
	c := r.client("")
	_, err := c.Get(t.Context(), sheet("a.example", "b.example"), enroll.Options{})
	var lookup *caa.LookupError
	if !errors.As(err, &lookup) || lookup.Name != "b.example" || r.houses[0].seen.Load() != 0 {
		t.Errorf("%d requests, %v", r.houses[0].seen.Load(), err)
	}
	forgiving := r.client("", func(c *enroll.Config) { c.Forgive = func(string, error) bool { return true } })
	forgiving.get(t, enroll.Options{}, "a.example", "b.example")
	if len(forgiving.heard(enroll.EventForgiven)) == 0 {
		t.Error("nobody heard of the forgiven lookup")
	}
}

// accounturi is satisfied by the very account and no other (RFC 8657 §3).
func TestAccountURI(t *testing.T) {
	r := newRig(t, plain(2)...)
	r.set("first.example", issue("ca1.test"))
	c := r.client("")
	out := c.get(t, enroll.Options{}, "first.example")
	r.set("bound.example", issue("ca1.test", "accounturi="+out.Issued.Account), issue("ca2.test", "priority=2"))
	if got := c.get(t, enroll.Options{}, "bound.example"); got.Issued.Issuer != "ca1.test" || got.Issued.Account != out.Issued.Account {
		t.Errorf("%+v", got.Issued)
	}
	if got := r.client("").get(t, enroll.Options{}, "bound.example"); got.Issued.Issuer != "ca2.test" {
		t.Errorf("a client without that account: %+v", got.Issued)
	}
}

func TestDiscoverOrdersNothing(t *testing.T) {
	r := newRig(t, []testca.Option{testca.Terms("https://ca1.test/terms")}, nil)
	r.set("shop.example", issue("ca1.test"), issue("ca2.test"), issue("ca3.test", "priority=1 validationmethods=ca-ev"), issue("ca4.test", "termsOfServiceAgreed=true", "priority=9"))
	c := r.client("")
	rep, err := c.Discover(t.Context(), sheet("www.shop.example"), enroll.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Found) != 1 || rep.Found[0].Owner != "shop.example" || len(rep.Found[0].Steps) != 2 {
		t.Errorf("found %+v", rep.Found)
	}
	i := slices.IndexFunc(rep.Offers, func(o enroll.OfferReport) bool { return o.Issuer == "ca1.test" })
	if i < 0 || rep.Offers[i].Terms != "https://ca1.test/terms" || rep.Offers[i].Basis != "caa" || !rep.Offers[i].Usable || rep.Offers[i].Challenges[0].Types[0] != "http-01" {
		t.Errorf("offers %+v", rep.Offers)
	}
	notes := strings.Join(rep.Notes, "\n")
	for _, word := range []string{"without an order", "termsOfServiceAgreed", "probably", "by the rules \"03\""} {
		if !strings.Contains(notes, word) {
			t.Errorf("the notes lack %q:\n%s", word, notes)
		}
	}
	cas, err := c.vault.CAs()
	if err != nil {
		t.Fatal(err)
	}
	for _, known := range cas {
		if known.Account != nil {
			t.Error("an account was made")
		}
	}
	for _, h := range r.houses {
		if n := h.seen.Load(); n > 1 {
			t.Errorf("%s got %d requests", h.issuer, n)
		}
	}
}

// A sheet that names a directory uses that one and no discovery, and only where the
// names' CAA lets it.
func TestChosenDirectory(t *testing.T) {
	r := newRig(t, plain(2)...)
	r.set("shop.example", issue("ca1.test", "priority=1"), issue("ca2.test", "priority=2"))
	r.set("other.example", issue("ca1.test"))
	want := func(name string) vault.Sheet {
		return vault.Sheet{Names: []string{name}, CA: vault.Choice{Directory: "https://ca2.test/.well-known/acme"}}
	}
	r.houses[1].setMeta(func(m map[string]any) { m["caaIdentities"] = []string{"ca2.test"} })
	c := r.client("")
	if out, err := c.Get(t.Context(), want("shop.example"), enroll.Options{}); err != nil || out.Issued.Issuer != "ca2.test" {
		t.Errorf("%+v, %v", out, err)
	}
	if out, err := c.Get(t.Context(), want("free.example"), enroll.Options{}); err != nil || out.Result != enroll.Issued {
		t.Errorf("%+v, %v", out, err)
	}
	if _, err := c.Get(t.Context(), want("other.example"), enroll.Options{}); err == nil {
		t.Error("CAA names another CA")
	}
	if r.houses[0].seen.Load() != 0 {
		t.Error("a CA was asked that the sheet did not name")
	}
}

// The settings may close discovery, or open it for some CAs only; a configured default is
// asked all the same where CAA names it.
func TestDiscoveryIsClosed(t *testing.T) {
	r := newRig(t, plain(2)...)
	r.set("shop.example", issue("ca1.test", "priority=1"), issue("ca2.test", "priority=2"))
	for name, settings := range map[string]enroll.Settings{
		"only one":   {Only: []string{"CA2.test"}},
		"none":       {NoDiscovery: true, CAs: []enroll.CA{{Label: "two", Issuers: []string{"ca2.test"}, Default: true}}},
		"none there": {NoDiscovery: true, CAs: []enroll.CA{{Label: "two", Issuers: []string{"ca2.test"}}}},
	} {
		c := r.client("", func(c *enroll.Config) {
			settings.Roots = c.Settings.Roots
			c.Settings = settings
		})
		out, err := c.Get(t.Context(), sheet("shop.example"), enroll.Options{})
		if name == "none there" {
			if err == nil {
				t.Errorf("%s: %s issued", name, out.Issued.Issuer)
			}
			continue
		}
		if err != nil || out.Issued.Issuer != "ca2.test" {
			t.Errorf("%s: %+v, %v", name, out.Issued, err)
		}
	}
	if r.houses[0].seen.Load() != 0 {
		t.Error("a CA was asked that is not to be discovered")
	}
}
