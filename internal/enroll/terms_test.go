package enroll_test

import (
	"strings"
	"testing"
	"time"

	"chancery/internal/enroll"
	"chancery/testca"
)

// An account that was made because CAA named the CA is no agreement for names whose CAA
// does not: a default needs a person's word, once (D12).
func TestAgreementIsEachOffers(t *testing.T) {
	r := newRig(t, []testca.Option{testca.Terms("https://ca1.test/terms/1")})
	r.set("named.example", issue("ca1.test"))
	c := r.client("", func(c *enroll.Config) {
		c.Settings.CAs = []enroll.CA{{Label: "house", Issuers: []string{"ca1.test"}, Default: true}}
	})
	c.get(t, enroll.Options{}, "named.example")
	r.houses[0].orders.Store(0)
	_, err := c.Get(t.Context(), sheet("free.example"), enroll.Options{})
	if err == nil || !strings.Contains(err.Error(), "nobody agreed") || r.houses[0].orders.Load() != 0 {
		t.Fatalf("a default whose terms nobody agreed to got %d orders: %v", r.houses[0].orders.Load(), err)
	}
	if rep, err := c.Discover(t.Context(), sheet("free.example"), enroll.Options{}); err != nil || rep.Offers[0].Usable || rep.Offers[0].Basis != "" {
		t.Errorf("the report says otherwise: %+v, %v", rep.Offers, err)
	}
	c.get(t, enroll.Options{AgreeTerms: true}, "free.example")
	if known, err := c.vault.CA(firstCA); err != nil || len(known.Terms) != 1 || known.Terms[0].Basis != "--agree-tos" {
		t.Errorf("%+v, %v", known.Terms, err)
	}
	c.get(t, enroll.Options{}, "liberty.example") // the same terms: somebody agreed
}

// What a person agreed to is those terms and no others. The owner's record and a setting
// stand for the next ones too; each change is a message.
func TestTermsChange(t *testing.T) {
	r := newRig(t, []testca.Option{testca.Terms("https://ca1.test/terms/1")})
	r.set("shop.example", issue("ca1.test"))
	dir := t.TempDir() + "/vault"
	ask := func(c *enroll.Config) { c.Settings.TermsByHand = true }
	c := r.client(dir, ask)
	c.get(t, enroll.Options{AgreeTerms: true}, "shop.example")
	c.get(t, enroll.Options{Force: true}, "shop.example")
	r.houses[0].setMeta(func(m map[string]any) { m["termsOfService"] = "https://ca1.test/terms/2" })
	c.clock.add(25 * time.Hour) // the directory is not fresh any more
	for range 2 {
		_, err := c.Get(t.Context(), sheet("shop.example"), enroll.Options{Force: true})
		if err == nil || !strings.Contains(err.Error(), "new terms") || !strings.Contains(err.Error(), "terms/2") {
			t.Fatalf("nobody agreed to the new terms: %v", err)
		}
	}
	if n := c.told("terms-changed"); len(n) != 1 || !strings.Contains(n[0].Text, "nobody") {
		t.Errorf("messages of the change: %+v", n)
	}
	c.get(t, enroll.Options{Force: true, AgreeTerms: true}, "shop.example")
	c.get(t, enroll.Options{Force: true}, "shop.example")

	r.houses[0].setMeta(func(m map[string]any) { m["termsOfService"] = "https://ca1.test/terms/3" })
	byRecord := r.client(dir)
	byRecord.clock.add(100 * time.Hour)
	byRecord.get(t, enroll.Options{Force: true}, "shop.example")
	if n := byRecord.told("terms-changed"); len(n) != 1 || n[0].Data["basis"] != "caa" {
		t.Errorf("messages of the change: %+v", n)
	}
	known, err := c.vault.CA(firstCA)
	if err != nil || len(known.Terms) != 3 || known.Terms[1].Basis != "--agree-tos" || known.Terms[2].Basis != "caa" {
		t.Errorf("%+v, %v", known.Terms, err)
	}
}

// Terms that were only seen, at a CA that then made no account, are agreed to by nobody.
func TestSeenIsNotAgreed(t *testing.T) {
	r := newRig(t, []testca.Option{testca.Terms("https://ca1.test/terms/1"), testca.RequireEAB()}, nil)
	r.set("shop.example", issue("ca1.test", "priority=1"), issue("ca2.test", "priority=2"))
	c := r.client("")
	c.get(t, enroll.Options{}, "shop.example")
	known, err := c.vault.CA(firstCA)
	if err != nil || len(known.Terms) != 1 || !known.Terms[0].Agreed.IsZero() || known.Terms[0].Basis != "" {
		t.Errorf("%+v, %v", known.Terms, err)
	}
}
