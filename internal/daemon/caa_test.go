package daemon_test

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/acmeserver"
	"chancery/internal/config"
	"chancery/internal/daemon"
	"chancery/internal/desk"
	"chancery/internal/sqldb"
)

const issuerName = "ca.example"

// obeying is a server that obeys the site's CAA records.
func obeying(t *testing.T, web *site, change func(*config.Config)) *server {
	t.Helper()
	p := plan(t, web, "")
	p.change = func(c *config.Config) {
		c.ACME.CAAIdentities = []string{issuerName, "other-name.example"}
		c.ACME.Profiles = []string{"tls-server", "ev"}
		if change != nil {
			change(c)
		}
	}
	return start(t, p)
}

// caa publishes records, each "FLAGS TAG \"VALUE\"", in place of those before.
func (s *site) caa(t *testing.T, name string, records ...string) {
	t.Helper()
	s.zone.Remove(name, "CAA")
	if len(records) == 0 {
		return
	}
	if err := s.zone.Set(name, "CAA", records...); err != nil {
		t.Fatal(err)
	}
}

// refusal gives the problem by which an authorisation or an order failed.
func refusal(err error) *acme.Problem {
	var p *acme.Problem
	var authorization *acme.AuthorizationError
	switch {
	case errors.As(err, &authorization):
		for _, c := range authorization.Authorization.Challenges {
			if c.Error != nil {
				return c.Error
			}
		}
	case errors.As(err, &p):
		return p
	}
	return nil
}

// The whole way: records in a zone, a client, a certificate or a problem that
// says why not.
func TestCAAEndToEnd(t *testing.T) {
	t.Parallel()
	web := newSite(t)
	s := obeying(t, web, nil)
	mine, other := s.client(), s.client()
	record := func(tag, value string) string { return fmt.Sprintf("0 %s %q", tag, value) }
	for _, test := range []struct {
		name    string
		at      string // where the records stand; "": at the name
		records []string
		says    string // "": it is issued
	}{
		{"free.example", "", nil, ""},
		{"authorised.example", "", []string{record("issue", "ca2.example"), record("issue", issuerName)}, ""},
		{"second-name.example", "", []string{record("issue", "Other-Name.example")}, ""},
		{"www.climbs.example", "climbs.example", []string{record("issue", issuerName)}, ""},
		{"denied.example", "", []string{record("issue", "ca2.example")}, `add the record: denied.example. CAA 0 issue "ca.example"`},
		{"www.nobody.example", "nobody.example", []string{record("issue", ";")}, "it names no CA"},
		{"malformed.example", "", []string{record("issue", "%%%%%")}, "do not let"},
		{"critical.example", "", []string{record("issue", issuerName), `128 tbs "unknown"`}, "critical"},
		{"uncritical.example", "", []string{record("issue", issuerName), `0 tbs "unknown"`}, ""},
		{"iodef.example", "", []string{record("iodef", "mailto:security@example.com")}, ""},
		{"wild-only.example", "", []string{record("issuewild", "ca2.example")}, ""},
		{"my-account.example", "", []string{record("issue", issuerName+"; accounturi="+mine.AccountURL)}, ""},
		{"my-account-there.example", "", []string{record("issue", "other-name.example; accounturi="+mine.AccountURL)}, ""},
		{"others-account.example", "", []string{record("issue", issuerName+"; accounturi="+other.AccountURL)}, "Ask with that account"},
		{"my-method.example", "", []string{record("issue", issuerName+"; validationmethods=dns-01,http-01")}, ""},
		{"other-method.example", "", []string{record("issue", issuerName+"; validationmethods=dns-01")}, "http-01"},
		{"discovery.example", "", []string{record("issue", issuerName+"; discovery=false; priority=3")}, ""},
	} {
		at := test.at
		if at == "" {
			at = test.name
		}
		web.caa(t, at, test.records...)
		chain, err := web.obtain(within(t, long), mine, newKey(t), test.name)
		if test.says == "" {
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
			} else {
				s.verifies(chain, s.roots)
			}
			continue
		}
		// The client learns when the name is proven, not only when all is done.
		if _, early := errors.AsType[*acme.AuthorizationError](err); !early {
			t.Errorf("%s: got %v; want a failed authorization", test.name, err)
			continue
		}
		if p := refusal(err); p == nil || p.Type != acme.TypeCAA || !strings.Contains(p.Detail, test.says) {
			t.Errorf("%s: the problem %+v does not say %q", test.name, p, test.says)
		}
	}
}

// Wildcards have records of their own. They are approved at the desk, which takes
// the same road and is refused in the same words.
func TestCAAAtTheDesk(t *testing.T) {
	t.Parallel()
	web := newSite(t)
	s := obeying(t, web, nil)
	web.caa(t, "wild.example", `0 issue "ca.example"`, `0 issuewild "ca2.example"`)
	web.caa(t, "wild2.example", `0 issue "ca2.example"`, `0 issuewild "ca.example"`)
	web.caa(t, "acme-only.example", `0 issue "ca.example; validationmethods=http-01"`)
	for name, want := range map[string]bool{
		"wild.example": true, "*.wild.example": false, "*.sub.wild.example": false, "wild2.example": false, "*.wild2.example": true,
		"acme-only.example": false,
	} {
		_, err := ask[desk.Signing, desk.Whole](s, "cert.sign", desk.Signing{CSR: csrFor(t, newKey(t), name)})
		if (err == nil) != want || err != nil && !strings.Contains(err.Error(), "CAA") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What the owner writes between the proof and the end counts.
func TestCAAChangedBeforeFinalize(t *testing.T) {
	t.Parallel()
	web := newSite(t)
	s := obeying(t, web, nil)
	c := s.client()
	web.caa(t, "a.example", `0 issue "ca.example"`)
	o := web.ready(t, c, "a.example")
	web.caa(t, "a.example", `0 issue "ca2.example"`)
	csr := csrFor(t, newKey(t), "a.example")
	_, err := c.Finalize(within(t, long), o, csr)
	p := refusal(err)
	if p == nil || p.Type != acme.TypeCAA || p.Status != 403 || p.RetryAfter != 0 {
		t.Fatalf("got %v", err)
	}
	// A broken zone refuses too, and says when to come back.
	web.zone.Fail("a.example", 2)
	_, err = c.Finalize(within(t, long), o, csr)
	if p = refusal(err); p == nil || p.Type != acme.TypeDNS || p.RetryAfter == 0 || !strings.Contains(p.Detail, "could not be looked up") {
		t.Fatalf("with SERVFAIL: %v", err)
	}
	// The order is still there for an owner who puts it right.
	web.zone.Fail("a.example", 0)
	web.caa(t, "a.example", `0 issue "ca.example"`)
	if o, err = c.Finalize(within(t, long), o, csr); err != nil || o.Status != acme.OrderValid {
		t.Fatalf("after it was put right: %+v, %v", o, err)
	}
}

// A refused name of several is told in a subproblem (RFC 8555 §6.7.1).
func TestCAAOfSeveralNames(t *testing.T) {
	t.Parallel()
	web := newSite(t)
	s := obeying(t, web, nil)
	c := s.client()
	var values []string
	for n := range 100 {
		values = append(values, fmt.Sprintf("h%02d.corp.example", n))
	}
	o, err := c.NewOrder(within(t, long), acme.NewOrder{Identifiers: dnsNames(values...)})
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range o.Authorizations {
		a := must[*acme.Authorization](t)(c.Authorization(within(t, long), at))
		for _, ch := range a.Challenges {
			if ch.Type == acme.ChallengeHTTP01 {
				text := must[string](t)(c.KeyAuthorization(ch.Token))
				web.Present(t.Context(), a.Identifier, ch, text)
				if _, err := c.Respond(within(t, long), ch); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if o, err = c.WaitOrder(within(t, long), o.URL); err != nil || o.Status != acme.OrderReady {
		t.Fatalf("%+v, %v", o, err)
	}
	web.caa(t, "h07.corp.example", `0 issue "ca2.example"`)
	web.caa(t, "h42.corp.example", `0 issue ";"`)
	before := caaQuestions(web)
	key := newKey(t)
	_, err = c.Finalize(within(t, long), o, csrFor(t, key, values...))
	p := refusal(err)
	if p == nil || p.Type != acme.TypeCAA || len(p.Subproblems) != 2 || p.Subproblems[0].Identifier.Value != "h07.corp.example" || p.Subproblems[1].Type != acme.TypeCAA {
		t.Fatalf("got %v", err)
	}
	if n := caaQuestions(web) - before; n > 102 {
		t.Errorf("%d questions for 100 names below one domain", n)
	}
	web.caa(t, "corp.example", `0 issue "ca.example"`)
	web.caa(t, "h07.corp.example")
	web.caa(t, "h42.corp.example")
	if o, err = c.Finalize(within(t, long), o, csrFor(t, key, values...)); err != nil || o.Status != acme.OrderValid {
		t.Fatalf("%+v, %v", o, err)
	}
}

func caaQuestions(web *site) (n int) {
	for _, q := range web.zone.Queries() {
		if q.Type == "CAA" {
			n++
		}
	}
	return n
}

// SERVFAIL while a name is proven is tried again, as other failures of the DNS
// are, and the authorisation lives.
func TestCAAServfailIsTriedAgain(t *testing.T) {
	t.Parallel()
	web := newSite(t)
	s := obeying(t, web, nil)
	c := s.client()
	// The address is found all the same: only the parent is broken.
	web.zone.Fail("broken.example", 2)
	o, ch, err := web.order(within(t, long), c, "www.broken.example")
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Respond(within(t, long), ch)
	if err != nil || got.Status == acme.ChallengeValid {
		t.Fatalf("%+v, %v", got, err)
	}
	web.zone.Fail("broken.example", 0)
	if o, err = c.WaitOrder(within(t, long), o.URL); err != nil || o.Status != acme.OrderReady {
		t.Fatalf("%+v, %v", o, err)
	}
}

// Report and off issue; the one writes down what it saw, the other never asks. A
// reload goes from one to the other.
func TestCAAModesByReload(t *testing.T) {
	t.Parallel()
	web := newSite(t)
	web.caa(t, "a.example", `0 issue "ca2.example"`)
	s := obeying(t, web, func(c *config.Config) { c.CAA.Mode = "off" })
	c := s.client()
	if _, err := web.obtain(within(t, long), c, newKey(t), "a.example"); err != nil {
		t.Fatal("off:", err)
	}
	if n := caaQuestions(web); n != 0 {
		t.Errorf("off: %d questions", n)
	}
	reload := func(mode string) {
		next := s.config()
		next.CAA.Mode = mode
		if err := s.daemon.Reload(next); err != nil {
			t.Fatal(err)
		}
	}
	reload("report")
	if _, err := web.obtain(within(t, long), c, newKey(t), "a.example"); err != nil {
		t.Fatal("report:", err)
	}
	reload("enforce")
	if _, err := web.obtain(within(t, long), c, newKey(t), "a.example"); refusal(err) == nil || refusal(err).Type != acme.TypeCAA {
		t.Fatalf("enforce: %v", err)
	}
	s.close()
	db, _ := s.store(t)
	defer db.Close()
	var details []string
	err := db.Query(context.Background(), `SELECT detail FROM events WHERE room = 'acme' AND kind = 'certificate.intended'`, nil, func(row sqldb.Row) error {
		var text string
		if err := row.Scan(&text); err != nil {
			return err
		}
		details = append(details, text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Join(details, "\n")
	if len(details) != 2 || strings.Count(said, "a.example: refused (other-ca)") != 1 || !strings.Contains(said, "mode report") {
		t.Errorf("the events say %s", said)
	}
}

// A line of issuers can be exempt; one that there is not is pointed out.
func TestCAAByLine(t *testing.T) {
	t.Parallel()
	web := newSite(t)
	web.caa(t, "a.example", `0 issue "ca2.example"`)
	s := obeying(t, web, func(c *config.Config) { c.CAA.Lines = []string{"issuing=off", "isuing=enforce"} })
	if _, err := web.obtain(within(t, long), s.client(), newKey(t), "a.example"); err != nil {
		t.Error(err)
	}
	until(t, "a word about the line", func() bool { return strings.Contains(s.log.String(), "line=isuing") })
	if strings.Contains(s.log.String(), "line=issuing") {
		t.Error("a line that there is was pointed out")
	}
}

// A certificate of the kind ca-ev satisfies "ca-ev", and nothing else does: not
// another kind, and not an account that nobody vetted.
func TestCAALabelOfEV(t *testing.T) {
	t.Parallel()
	web := newSite(t)
	s := obeying(t, web, nil)
	web.caa(t, "bank.example", `0 issue "ca.example; validationmethods=ca-ev; priority=1"`)
	own := newKey(t)
	csr := must[[]byte](t)(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		DNSNames: []string{"bank.example"}, Subject: pkix.Name{CommonName: "bank.example", Organization: []string{"Bank Ltd"}, Country: []string{"DE"}},
	}, own))
	c := s.client()
	obtain := func(profile string) error {
		_, err := c.Obtain(within(t, long), acme.ObtainRequest{Identifiers: dnsNames("bank.example"), Profile: profile, Key: own, CSR: csr, Solver: web})
		return err
	}
	if p := refusal(obtain("ev")); p == nil || p.Type != acme.TypeExternalAccountRequired {
		t.Errorf("an account that nobody knows: %v", p)
	}
	// The name is proven, as an order of another kind might follow; this one fails.
	if p := refusal(obtain("tls-server")); p == nil || p.Type != acme.TypeCAA {
		t.Errorf("another kind: %v", p)
	}
	sign := func(profile string) (desk.Whole, error) {
		return ask[desk.Signing, desk.Whole](s, "cert.sign", desk.Signing{CSR: csr, Profile: profile})
	}
	if _, err := sign("ov"); err == nil || !strings.Contains(err.Error(), "ca-ev") {
		t.Errorf("another kind at the desk: %v", err)
	}
	// An administrator who approves has vetted.
	made := must[desk.Whole](t)(sign("ev"))
	block, _ := pem.Decode([]byte(made.PEM))
	leaf := must[*x509.Certificate](t)(x509.ParseCertificate(block.Bytes))
	if len(leaf.Subject.Organization) != 1 || leaf.Subject.Organization[0] != "Bank Ltd" || len(leaf.Policies) != 1 || leaf.Policies[0].String() != "2.23.140.1.1" {
		t.Errorf("the certificate says %s, %v", leaf.Subject, leaf.Policies)
	}
}

// Over ACME the vetting of the customer behind the account makes "ca-ev" true, and
// says what the subject is, whatever the CSR says.
func TestCAALabelOfAVettedCustomer(t *testing.T) {
	t.Parallel()
	web := newSite(t)
	s := obeying(t, web, nil)
	web.caa(t, "bank.example", `0 issue "ca.example; validationmethods=ca-ev; priority=1"`)
	customer := must[desk.Customer](t)(ask[desk.CustomerWanted, desk.Customer](s, "customer.add", desk.CustomerWanted{Name: "the bank"}))
	key := must[acmeserver.KeyMade](t)(ask[acmeserver.KeyWanted, acmeserver.KeyMade](s, "eab.create", acmeserver.KeyWanted{Customer: customer.ID}))
	c := s.stranger()
	mac := must[[]byte](t)(base64.RawURLEncoding.DecodeString(key.Secret))
	if _, err := c.Register(within(t, long), acme.Registration{EAB: &acme.ExternalAccount{KeyID: key.ID, Key: mac}}); err != nil {
		t.Fatal(err)
	}
	own := newKey(t)
	csr := must[[]byte](t)(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		DNSNames: []string{"bank.example"}, Subject: pkix.Name{CommonName: "bank.example", Organization: []string{"Another Bank"}, Country: []string{"FR"}},
	}, own))
	obtain := func(profile string) (*acme.Chain, error) {
		return c.Obtain(within(t, long), acme.ObtainRequest{Identifiers: dnsNames("bank.example"), Profile: profile, Key: own, CSR: csr, Solver: web})
	}
	if _, err := obtain("ev"); refusal(err) == nil || refusal(err).Type != acme.TypeUnauthorized {
		t.Errorf("a customer who was not vetted: %v", err)
	}
	must[desk.Customer](t)(ask[desk.VettingWanted, desk.Customer](s, "customer.vet", desk.VettingWanted{Customer: customer.ID,
		Vetting: desk.Vetting{Kind: "ca-ev", Organization: "Bank Ltd", Country: "DE", Until: time.Now().Add(time.Hour)}}))
	if _, err := obtain("tls-server"); refusal(err) == nil || refusal(err).Type != acme.TypeCAA {
		t.Errorf("another kind: %v", err)
	}
	if _, err := obtain("ev"); refusal(err) == nil || refusal(err).Type != acme.TypeUnauthorized || !strings.Contains(err.Error(), "customer domain add") {
		t.Errorf("a domain that is not known to be his: %v", err)
	}
	for _, act := range []string{"customer.domain.add", "customer.domain.vouch"} {
		must[desk.Domain](t)(ask[desk.DomainNamed, desk.Domain](s, act, desk.DomainNamed{Customer: customer.ID, Domain: "bank.example"}))
	}
	chain, err := obtain("ev")
	if err != nil {
		t.Fatal(err)
	}
	leaf := chain.Certificates[0]
	if len(leaf.Subject.Organization) != 1 || leaf.Subject.Organization[0] != "Bank Ltd" || len(leaf.Policies) != 1 || leaf.Policies[0].String() != "2.23.140.1.1" {
		t.Errorf("the certificate says %s, %v", leaf.Subject, leaf.Policies)
	}
	s.verifies(chain, s.roots)
}

// A configuration that could not be obeyed is refused, at the start and by a
// reload, in words that say what to set.
func TestCAAConfigurationsThatCannotBe(t *testing.T) {
	t.Parallel()
	web := newSite(t)
	s := obeying(t, web, nil)
	for name, test := range map[string]struct {
		change func(*config.Config)
		want   string
	}{
		"in the clear":  {func(c *config.Config) { c.CAA.Resolvers = []string{"192.0.2.53"} }, "caa.trusted"},
		"validation's":  {func(c *config.Config) { c.Validation.Resolvers = []string{"192.0.2.53"} }, "192.0.2.53"},
		"no resolver":   {func(c *config.Config) { c.CAA.Resolvers = []string{"tls://dns.example"} }, "caa.resolvers"},
		"trust of none": {func(c *config.Config) { c.CAA.Trusted = []string{"192.0.2.53"} }, "trusted"},
	} {
		t.Run(name, func(t *testing.T) {
			next := s.config()
			test.change(next)
			if err := s.daemon.Reload(next); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("reload: %v", err)
			}
			p := plan(t, web, "")
			p.change = func(c *config.Config) { c.ACME.CAAIdentities = []string{issuerName}; test.change(c) }
			d, err := daemon.Start(context.Background(), daemon.Options{Config: p.config(), Logger: slog.New(slog.DiscardHandler)})
			if err == nil {
				d.Close(context.Background())
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("start: %v", err)
			}
		})
	}
	for name, change := range map[string]func(*config.Config){
		"trusted": func(c *config.Config) {
			c.CAA.Resolvers, c.CAA.Trusted = []string{"192.0.2.53"}, []string{"192.0.2.53"}
		},
		"over TLS":   func(c *config.Config) { c.CAA.Resolvers = []string{"tls://192.0.2.53#dns.example"} },
		"parameters": func(c *config.Config) { c.CAA.Resolvers, c.CAA.Parameters = []string{"192.0.2.53"}, false },
		"off":        func(c *config.Config) { c.CAA.Resolvers, c.CAA.Mode = []string{"192.0.2.53"}, "off" },
	} {
		next := s.config()
		change(next)
		if err := s.daemon.Reload(next); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !strings.Contains(s.log.String(), "did not show that it validates DNSSEC") {
		until(t, "a word about a resolver without DNSSEC", func() bool { return strings.Contains(s.log.String(), "did not show that it validates DNSSEC") })
	}
}
