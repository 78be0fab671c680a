package interop_test

import (
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/enroll"
	"chancery/internal/enroll/settings"
	"chancery/internal/enroll/vault"
	"chancery/internal/peertest"
)

// Pebble behind the well-known place of a CA that CAA names: the directory itself there,
// and a redirect to it. Its terms are shown, kept and agreed to by CAA; its caaIdentities
// vouch for it.
func TestClientFindsPebble(t *testing.T) {
	l := newLab(t)
	l.serveWebroot()
	f := l.frontAs(pebbleName, l.pebble(pebbleSetup{}))
	l.caa("shop.test", f.issuer)
	for _, redirect := range []bool{false, true} {
		f.well()
		data := "object"
		if redirect {
			f.redirect()
			data = "redirect"
		}
		c := l.open(data, opening{})
		report, err := c.Engine.Discover(t.Context(), vault.Sheet{Names: []string{"www.shop.test"}}, enroll.Options{})
		if err != nil || len(report.Offers) != 1 {
			t.Fatalf("%s: %+v, %v", data, report, err)
		}
		o := report.Offers[0]
		if !o.Usable || o.VouchedBy != "caaIdentities" || o.Basis != "caa" || o.Terms == "" || len(o.Redirects) != btoi(redirect) {
			t.Errorf("%s: %+v", data, o)
		}
		if made, err := c.Vault.CAs(); err != nil || slices.ContainsFunc(made, func(ca vault.CA) bool { return ca.Account != nil }) {
			t.Errorf("%s: to discover made an account: %v", data, err)
		}
		out := c.from(t, f, "www.shop.test", "shop.test")
		if out.Terms != o.Terms || len(c.events(enroll.EventTerms)) != 1 {
			t.Errorf("%s: the terms were not shown: %q", data, out.Terms)
		}
		known, err := c.Vault.CA(o.Asked)
		if err != nil || len(known.Terms) != 1 || known.Terms[0].URL != o.Terms || known.Terms[0].Basis != "caa" || known.Terms[0].Agreed.IsZero() {
			t.Errorf("%s: the terms were not kept: %+v, %v", data, known.Terms, err)
		}
		if got := c.leaf(t, out).DNSNames; len(got) != 2 {
			t.Errorf("%s: the certificate is for %q", data, got)
		}
	}
	// Who wants to be asked about terms is asked.
	c := l.open("asked", opening{change: func(s *settings.Settings) { s.Discovery.AgreeTerms = "ask" }})
	out, err := c.Engine.Get(t.Context(), vault.Sheet{Names: []string{"shop.test"}}, enroll.Options{})
	if err == nil || len(out.Attempts) != 1 || out.Attempts[0].Class != enroll.ClassUnable || !strings.Contains(out.Attempts[0].Advice, "--agree-tos") {
		t.Errorf("without agreement: %+v, %v", out.Attempts, err)
	}
	c.get(t, enroll.Options{AgreeTerms: true}, vault.Sheet{Names: []string{"shop.test"}})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A Pebble that wants external account bindings: the next CA serves who has none, and it
// serves who has.
func TestClientBindingAtPebble(t *testing.T) {
	l := newLab(t)
	l.serveWebroot()
	bound, open := l.front(l.pebble(pebbleSetup{binding: true})), l.front(l.pebble(pebbleSetup{}))
	l.caa("shop.test", bound.issuer+"; priority=1", open.issuer+"; priority=2")
	l.caa("only.test", bound.issuer)
	c := l.open("data", opening{})
	out := c.from(t, open, "shop.test")
	if a := out.Attempts[0]; a.Issuer != bound.issuer || a.Class != enroll.ClassUnable || !strings.Contains(a.Advice, "eab") {
		t.Errorf("the CA that wants a binding: %+v", a)
	}
	if n := len(bound.sent("contact")) + len(bound.sent("termsOfServiceAgreed")); n != 0 {
		t.Errorf("%d accounts were asked for without credentials", n)
	}
	_, err := c.Engine.Get(t.Context(), vault.Sheet{Names: []string{"only.test"}}, enroll.Options{})
	if err == nil || !strings.Contains(err.Error(), "eab") {
		t.Errorf("the user is not told that credentials are wanted: %v", err)
	}
	// One that asks without having announced it.
	bound.setMeta(func(m map[string]any) { delete(m, "externalAccountRequired") })
	out = l.open("unannounced", opening{}).from(t, open, "shop.test")
	if a := out.Attempts[0]; a.Class != enroll.ClassFinal {
		t.Errorf("the CA that asked for a binding by newAccount: %+v", a)
	}
	bound.well()
	if err := c.Vault.SetEAB(t.Context(), bound.issuer, acme.ExternalAccount{KeyID: "kid-1", Key: eabSecret}); err != nil {
		t.Fatal(err)
	}
	out = c.from(t, bound, "shop.test")
	if len(bound.sent("externalAccountBinding")) != 1 {
		t.Error("the binding was not sent once")
	}
	if changes := c.messages("ca-changed"); len(changes) != 1 || out.Previous == nil || out.Previous.Issuer != open.issuer {
		t.Errorf("%d messages about the change of CA", len(changes))
	}
	c.from(t, bound, "only.test") // by the account that is there now
	if len(bound.sent("externalAccountBinding")) != 1 {
		t.Error("a second account was made")
	}
}

// caaIdentities as foreign CAs have them: none, the right ones, wrong ones; and each
// setting about them.
func TestClientJudgesForeignIdentities(t *testing.T) {
	l := newLab(t)
	l.serveWebroot()
	silent, other := l.front(l.pebble(pebbleSetup{})), l.front(l.pebble(pebbleSetup{}))
	l.caa("shop.test", silent.issuer+"; priority=1", other.issuer+"; priority=2")
	say := func(f *front, names ...string) {
		f.setMeta(func(m map[string]any) { m["caaIdentities"] = names })
	}
	for _, c := range []struct {
		name  string
		says  []string // the first CA's
		rule  string
		from  *front
		class enroll.Class
		vouch string
	}{
		{"absent", nil, "prefer", silent, "", "tls-name"},
		{"absent, required", nil, "require", other, enroll.ClassFinal, ""},
		{"right, in other case", []string{"x.test", "CA1.Test"}, "require", silent, "", "caaIdentities"},
		{"wrong", []string{"else.test"}, "prefer", other, enroll.ClassFinal, ""},
		{"wrong, ignored", []string{"else.test"}, "ignore", silent, "", "tls-name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			silent.well()
			other.well()
			say(other, other.issuer)
			if c.says != nil {
				say(silent, c.says...)
			}
			d := l.open(c.name, opening{change: func(s *settings.Settings) { s.Discovery.CAAIdentities = c.rule }})
			report, err := d.Engine.Discover(t.Context(), vault.Sheet{Names: []string{"shop.test"}}, enroll.Options{})
			if err != nil || report.Offers[0].Usable != (c.class == "") || report.Offers[0].VouchedBy != c.vouch {
				t.Errorf("%+v, %v", report.Offers, err)
			}
			out := d.from(t, c.from, "shop.test")
			if a := out.Attempts[0]; a.Class != c.class {
				t.Errorf("%+v", a)
			}
			if c.from == other && len(silent.sent("identifiers")) != 0 {
				t.Error("something was ordered from the CA that is another")
			}
		})
	}
}

// Every way to prove a name that Pebble has, addresses too, and its profiles.
func TestClientChallengesAtPebble(t *testing.T) {
	curl := peertest.Need(t, "curl")
	l := newLab(t)
	f := l.front(l.pebble(pebbleSetup{profiles: map[string]time.Duration{"shortlived": 6 * 24 * time.Hour}}))
	control := l.controller()
	hook := l.write("hook", "#!/bin/sh\nset -eu\ncase $1 in\npresent) "+curl+" -sSf -X PUT --data-binary \"$3\" "+control+"/txt/$2 ;;\n"+
		"cleanup) "+curl+" -sSf -X DELETE "+control+"/txt/$2 ;;\nesac\n")
	if err := os.Chmod(hook, 0o700); err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort("127.0.0.1", itoa(l.http))
	alpn := net.JoinHostPort("127.0.0.1", itoa(l.tls))
	for _, c := range []struct {
		typ     string
		names   []string
		profile string
		life    time.Duration
		change  func(*settings.Settings)
	}{
		{"http-01", []string{"http.test", "www.http.test"}, "default", 90 * 24 * time.Hour,
			func(s *settings.Settings) { s.Challenge.Webroot, s.Challenge.HTTP = "", address }},
		{"http-01", []string{"127.0.0.1", "mixed.test"}, "shortlived", 6 * 24 * time.Hour,
			func(s *settings.Settings) { s.Challenge.Webroot, s.Challenge.HTTP = "", address }},
		{"tls-alpn-01", []string{"alpn.test", "127.0.0.1"}, "default", 90 * 24 * time.Hour,
			func(s *settings.Settings) { s.Challenge.Webroot, s.Challenge.TLS = "", alpn }},
		{"dns-01", []string{"dns.test", "*.dns.test"}, "shortlived", 6 * 24 * time.Hour, func(s *settings.Settings) {
			s.Challenge.Webroot = ""
			s.Challenge.DNS = []settings.Provider{{Label: "hook", Kind: "exec", Command: []string{hook}, Propagation: "20s"}}
			s.DNS.Propagation = []string{l.dns.Addr()}
		}},
	} {
		t.Run(c.typ+" "+strings.Join(c.names, " "), func(t *testing.T) {
			for _, n := range c.names {
				if net.ParseIP(n) == nil && !strings.HasPrefix(n, "*.") {
					l.caa(n, f.issuer+"; validationmethods="+c.typ)
				}
			}
			d := l.open(strings.Join(c.names, "-"), opening{change: c.change})
			out := d.get(t, enroll.Options{}, vault.Sheet{Names: c.names, Profile: c.profile})
			for _, e := range d.events(enroll.EventChallenge) {
				if e.Challenge != c.typ {
					t.Errorf("%s was proven by %s", e.Name, e.Challenge)
				}
			}
			leaf := d.leaf(t, out)
			for _, n := range c.names {
				if err := leaf.VerifyHostname(strings.Replace(n, "*", "any", 1)); err != nil {
					t.Error(err)
				}
			}
			if life := leaf.NotAfter.Sub(leaf.NotBefore).Round(time.Hour); life != c.life {
				t.Errorf("a life of %s, want %s by profile %q", life, c.life, c.profile)
			}
			if left, _ := filepath.Glob(filepath.Join(d.Settings.Data, "answers", "*")); len(left) != 0 {
				t.Errorf("answers were left behind: %q", left)
			}
		})
	}
	if _, err := l.open("unoffered", opening{}).Engine.Get(t.Context(), vault.Sheet{Names: []string{"http.test"}, Profile: "gold"}, enroll.Options{}); err == nil || !strings.Contains(err.Error(), "gold") {
		t.Errorf("a profile that nobody offers: %v", err)
	}
}

// Renewals at Pebble: it is asked when, the new order names what it replaces, a second one
// for the same certificate goes without; and the nonces that it refuses cost nothing.
func TestClientRenewsAtPebble(t *testing.T) {
	l := newLab(t)
	l.serveWebroot()
	f := l.front(l.pebble(pebbleSetup{nonces: "10"}))
	l.caa("shop.test", f.issuer)
	c := l.open("data", opening{})
	first := c.from(t, f, "shop.test")
	record, err := c.Vault.Record(first.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	info, err := c.Engine.Advisor().RenewalInfo(t.Context(), record)
	if err != nil {
		t.Fatal(err)
	}
	if at, err := info.RenewAt(0.5); err != nil || !at.Before(first.Issued.NotAfter) {
		t.Errorf("Pebble suggests %s, %v", at, err)
	}
	if out, err := c.Engine.Renew(t.Context(), first.Certificate, enroll.Options{}); err != nil || out.Result != enroll.NotDue {
		t.Errorf("%s, %v", out.Result, err)
	}
	second, err := c.Engine.Renew(t.Context(), first.Certificate, enroll.Options{Force: true})
	if err != nil || second.Result != enroll.Issued {
		t.Fatalf("%s, %v", second.Result, err)
	}
	replaced := f.sent("replaces") // as often as nonces were refused
	if len(replaced) == 0 || replaced[0]["replaces"] != first.Issued.CertID {
		t.Errorf("the orders replace %v, want %s", replaced, first.Issued.CertID)
	}
	if known, err := c.Vault.CAs(); err != nil || len(known) != 1 || known[0].Circuit.Failures != 0 || known[0].Incident != nil {
		t.Errorf("refused nonces count against the CA: %+v, %v", known, err)
	}
	// The account gets another key, of another type, and serves with it: also another
	// process's client.
	place, err := c.Engine.Place(t.Context(), f.issuer)
	if err != nil {
		t.Fatal(err)
	}
	before, err := c.Vault.CA(place.Directory)
	if err != nil {
		t.Fatal(err)
	}
	after, err := c.Engine.Rollover(t.Context(), place, "ecdsa-p384")
	if err != nil || after.Account.URL != before.Account.URL || after.Account.KeyType != "ecdsa-p384" || before.Account.KeyType != "ecdsa-p256" {
		t.Errorf("%+v, then %+v, %v", before.Account, after.Account, err)
	}
	// Due by the CA's window, which has begun by then.
	later := l.open("data", opening{ahead: 80 * 24 * time.Hour})
	if out, err := later.Engine.Renew(t.Context(), first.Certificate, enroll.Options{}); err != nil || out.Result != enroll.Issued {
		t.Errorf("%s, %v", out.Result, err)
	}
	if last, err := later.Vault.CA(place.Directory); err != nil || last.Account.URL != before.Account.URL {
		t.Errorf("the account was %s and is %s, %v", before.Account.URL, last.Account.URL, err)
	}
}

// step-ca: by itself without caaIdentities and terms, and with both.
func TestClientAtStepCA(t *testing.T) {
	l := newLab(t)
	l.serveWebroot()
	plain := l.front(l.stepCA(stepSetup{}))
	full := l.front(l.stepCA(stepSetup{identities: []string{"ca2.test"}, terms: "https://ca2.test/terms"}))
	wrong := l.front("https://localhost:" + full.base.Port() + full.at)
	plain.redirect()
	l.caa("plain.test", plain.issuer)
	l.caa("full.test", full.issuer)
	l.caa("wrong.test", wrong.issuer+"; priority=1", full.issuer+"; priority=2")
	c := l.open("data", opening{})
	out := c.from(t, plain, "plain.test", "www.plain.test")
	if err := c.leaf(t, out).VerifyHostname("www.plain.test"); err != nil {
		t.Error(err)
	}
	c.from(t, plain, "plain.test", "www.plain.test") // a renewal, by the same account
	if out := c.from(t, full, "full.test"); out.Terms != "https://ca2.test/terms" {
		t.Errorf("terms %q", out.Terms)
	}
	out = c.from(t, full, "wrong.test")
	if a := out.Attempts[0]; a.Class != enroll.ClassFinal || !strings.Contains(a.Error, "caaIdentities") {
		t.Errorf("%+v", a)
	}
	strict := l.open("strict", opening{change: func(s *settings.Settings) { s.Discovery.CAAIdentities = "require" }})
	strict.from(t, full, "full.test")
	_, err := strict.Engine.Get(t.Context(), vault.Sheet{Names: []string{"plain.test"}}, enroll.Options{})
	var failed *enroll.RunError
	if !errors.As(err, &failed) {
		t.Errorf("a CA without caaIdentities where they are required: %v", err)
	}
	alpn := l.open("alpn", opening{change: func(s *settings.Settings) {
		s.Challenge.Webroot, s.Challenge.TLS = "", net.JoinHostPort("127.0.0.1", itoa(l.tls))
	}})
	out = alpn.from(t, plain, "plain.test", "127.0.0.1")
	if leaf := alpn.leaf(t, out); len(leaf.IPAddresses) != 1 || leaf.PublicKeyAlgorithm != x509.ECDSA {
		t.Errorf("the certificate is for %v", leaf.IPAddresses)
	}
}
