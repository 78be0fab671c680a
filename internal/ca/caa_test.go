package ca_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"chancery/caa"
	"chancery/internal/ca"
	"chancery/internal/storetest"
)

// zone is a resolver over the records of a text, one "NAME FLAGS TAG VALUE" a
// line. A name with the tag SERVFAIL fails, and one with HANGS never answers.
type zone struct {
	mu      sync.Mutex
	records map[string][]caa.Record
	asked   map[string]int
	now     int // questions under way
	most    int
	pause   time.Duration
}

func newZone(t *testing.T, text string) *zone {
	t.Helper()
	z := &zone{asked: map[string]int{}}
	z.set(t, text)
	return z
}

func (z *zone) set(t *testing.T, text string) {
	t.Helper()
	z.mu.Lock()
	defer z.mu.Unlock()
	z.records = map[string][]caa.Record{}
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSpace(line), " ", 4)
		if len(parts) < 3 {
			continue
		}
		flags, err := strconv.Atoi(parts[1])
		if err != nil {
			t.Fatal(err)
		}
		z.records[parts[0]] = append(z.records[parts[0]], caa.Record{Flags: uint8(flags), Tag: parts[2], Value: strings.Join(parts[3:], "")})
	}
}

// CAA implements [caa.Resolver].
func (z *zone) CAA(ctx context.Context, name string) (caa.Answer, error) {
	z.mu.Lock()
	z.asked[name]++
	z.now++
	z.most = max(z.most, z.now)
	records, pause := z.records[name], z.pause
	z.mu.Unlock()
	defer func() { z.mu.Lock(); z.now--; z.mu.Unlock() }()
	if pause > 0 {
		time.Sleep(pause) // lets the others come in between
	}
	for _, r := range records {
		switch r.Tag {
		case "SERVFAIL":
			return caa.Answer{}, errors.New("server failure")
		case "HANGS":
			<-ctx.Done()
			return caa.Answer{}, ctx.Err()
		}
	}
	return caa.Answer{Records: records, Authentic: true}, nil
}

const us, account = "ca1.example.net", "https://ca1.example.net/acme/account/1234"

// enforced is a core that obeys the zone.
func enforced(t *testing.T, z *zone, change func(*ca.CAARules)) *core {
	t.Helper()
	c := found(t, storetest.Plan)
	rules := ca.CAARules{CAAPolicy: ca.CAAPolicy{Mode: ca.CAAEnforce, Identities: []string{us, "other-name.example.net"}, Parameters: true, Resolver: z}}
	if change != nil {
		change(&rules)
	}
	if err := c.SetCAA(rules); err != nil {
		t.Fatal(err)
	}
	return c
}

// intents keeps what the events of intents say.
type intents struct {
	ca.Ledger
	mu      sync.Mutex
	details []map[string]string
}

func (l *intents) Intend(ctx context.Context, in ca.Intent) (ca.Record, error) {
	l.mu.Lock()
	l.details = append(l.details, in.Event.Detail)
	l.mu.Unlock()
	return l.Ledger.Intend(ctx, in)
}

// The examples of RFC 8659, RFC 8657 and what follows from them, down the road.
func TestCAAOnTheRoad(t *testing.T) {
	const rfc8659 = `
certs.example.com 0 issue ca1.example.net
certs.example.com 0 issue ca2.example.org
nocerts.example.com 0 issue ;
malformed.example.com 0 issue %%%%%
account.example.com 0 issue ca1.example.net; account=230123
wild.example.com 0 issue ca1.example.net
wild.example.com 0 issuewild ca2.example.org
wild2.example.com 0 issue ca1.example.net
wild3.example.com 0 issuewild ca2.example.org
wild3.example.com 0 issue ;
wild4.example.com 0 issuewild ca2.example.org
report.example.com 0 issue ca1.example.net
report.example.com 0 iodef mailto:security@example.com
only-report.example.com 0 iodef mailto:security@example.com
new.example.com 0 issue ca1.example.net
new.example.com 128 tbs Unknown
uncritical.example.com 0 issue ca1.example.net
uncritical.example.com 1 tbs Unknown
capitals.example.com 0 ISSUE Other-Name.EXAMPLE.net
other.example.com 0 issue ca2.example.org
broken.example.com 0 SERVFAIL
two.example.com 0 issue ca1.example.net; accounturi=https://ca1.example.net/acme/account/1234
two.example.com 0 issue ca1.example.net; accounturi=https://ca1.example.net/acme/account/2345
others-account.example.com 0 issue ca1.example.net; accounturi=https://ca1.example.net/acme/account/2345
methods.example.com 0 issue ca1.example.net; validationmethods=dns-01,xyz-01
methods2.example.com 0 issue ca1.example.net; validationmethods=xyz-01
methods2.example.com 0 issue ca1.example.net; validationmethods=dns-01
both.example.com 0 issue ca1.example.net; accounturi=https://ca1.example.net/acme/account/1234; validationmethods=http-01
both.example.com 0 issue ca1.example.net; accounturi=https://ca1.example.net/acme/account/2345; validationmethods=dns-01
foo.example.com 0 issue ca1.example.net; validationmethods=xyz-01,ca-foo
web.example.com 0 issue ca1.example.net; validationmethods=http-01
ev.example.com 0 issue ca1.example.net; validationmethods=ca-ev
discovery.example.com 0 issue ca1.example.net; discovery=false; priority=7
mail.example.com 0 issue ;
mail.example.com 0 issuemail ca1.example.net
nomail.example.com 0 issue ca1.example.net
nomail.example.com 0 issuemail ;
`
	z := newZone(t, rfc8659)
	c := enforced(t, z, nil)
	with := func(labels ...string) func(*ca.Request) { return func(r *ca.Request) { r.Labels = labels } }
	stranger := func(r *ca.Request) { r.Accounts = nil }
	under := func(profile string, labels ...string) func(*ca.Request) {
		return func(r *ca.Request) {
			r.Profile, r.Labels, r.Subject = profile, labels, ca.Subject{Organization: "Example Ltd", Country: "DE"}
		}
	}
	for _, test := range []struct {
		name   string
		says   string // what the refusal says; "": it is issued
		change func(*ca.Request)
	}{
		{"certs.example.com", "", nil},
		{"deeper.certs.example.com", "", nil},
		{"nocerts.example.com", `add the record: nocerts.example.com. CAA 0 issue "ca1.example.net"`, nil},
		{"malformed.example.com", "%%%%%", nil},
		{"account.example.com", "", nil},
		{"wild.example.com", "", nil},
		{"sub.wild.example.com", "", nil},
		{"*.wild.example.com", `add the record: wild.example.com. CAA 0 issuewild "ca1.example.net"`, nil},
		{"*.sub.wild.example.com", "ca2.example.org", nil},
		{"*.wild2.example.com", "", nil},
		{"*.wild3.example.com", "issuewild", nil},
		{"wild3.example.com", "names no CA", nil},
		{"wild4.example.com", "", nil},
		{"*.wild4.example.com", "ca2.example.org", nil},
		{"report.example.com", "", nil},
		{"only-report.example.com", "", nil},
		{"new.example.com", "critical", nil},
		{"below.new.example.com", "critical", nil},
		{"uncritical.example.com", "", nil},
		{"capitals.example.com", "", nil},
		{"other.example.com", "ca2.example.org", nil},
		{"nothing.example.com", "", nil},
		{"10.0.0.7", "", nil},
		{"broken.example.com", "then try again", nil},
		{"below.broken.example.com", "could not be looked up", nil},
		{"two.example.com", "", nil},
		{"two.example.com", "No account asked", stranger},
		{"others-account.example.com", "accounturi=" + account, nil},
		{"methods.example.com", "", nil},
		{"methods2.example.com", "", nil},
		{"both.example.com", "Ask with that account", nil},
		{"foo.example.com", "xyz-01", nil},
		{"foo.example.com", "", with("ca-foo")},
		{"web.example.com", "What is true of this request is dns-01", nil},
		{"ev.example.com", "ca-ev", nil},
		{"ev.example.com", "ca-ev", with("ca-ev")}, // vetted, but this profile is no ca-ev
		{"ev.example.com", "", under("ev", "ca-ev")},
		{"ev.example.com", "ca-ev", under("ov", "ca-ov")},
		{"discovery.example.com", "", nil},
		{"someone@mail.example.com", "", nil},
		{"someone@nomail.example.com", `nomail.example.com. CAA 0 issuemail "ca1.example.net"`, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			req := c.mixed(t, test.name)
			if test.change != nil {
				test.change(&req)
			}
			r, err := c.Issue(t.Context(), req)
			if test.says == "" {
				if err != nil || !r.Settled() {
					t.Fatalf("it was not issued: %v", err)
				}
				return
			}
			var e *ca.Error
			kind := ca.CAA
			if strings.Contains(test.name, "broken") {
				kind = ca.CAAUnknown
			}
			if !errors.As(err, &e) || e.Kind != kind || len(e.Sub) != 1 || e.Sub[0].Kind != kind || e.Sub[0].Identifier.Value() != test.name {
				t.Fatalf("got %v; want a refusal on account of CAA for this name", err)
			}
			if !strings.Contains(e.Sub[0].Detail, test.says) || e.Detail != e.Sub[0].Detail {
				t.Errorf("the refusal %q does not say %q", e.Sub[0].Detail, test.says)
			}
			if (e.RetryAfter > 0) != (kind == ca.CAAUnknown) {
				t.Errorf("come back after %s", e.RetryAfter)
			}
			if _, err := c.store.ByRequest(t.Context(), req.ID); ca.KindOf(err) != ca.NotFound {
				t.Error("a refused request left a record")
			}
		})
	}
}

// mixed asks for names of any type, under a profile that takes them.
func (c *core) mixed(t *testing.T, values ...string) ca.Request {
	t.Helper()
	req := ca.Request{ID: "acme:" + ca.NewID(), By: ca.Principal{Room: "acme", ID: "1234"}, Key: newKey(t).Public(), Profile: "tls-server", Accounts: []string{account}}
	for _, v := range values {
		n, err := ca.Email(v)
		if err == nil {
			req.Profile = "person"
			req.Names = append(req.Names, n)
		} else {
			req.Names = append(req.Names, names(t, v)...)
		}
	}
	for _, n := range req.Names {
		e := ca.Evidence{Identifier: n, Method: "dns-01", At: c.now, Expires: c.now.Add(time.Hour)}
		if n.Type() == ca.TypeEmail {
			e.Method = "email-reply-00"
		}
		req.Evidence = append(req.Evidence, e)
	}
	return req
}

// Without parameters accounturi and validationmethods are ignored, both of them
// (RFC 8657 §5.3).
func TestCAAWithoutParameters(t *testing.T) {
	z := newZone(t, "a.example 0 issue ca1.example.net; accounturi=x\nb.example 0 issue ca1.example.net; validationmethods=xyz-01\nc.example 0 issue ca2.example.org; validationmethods=dns-01")
	c := enforced(t, z, func(r *ca.CAARules) { r.Parameters = false })
	if _, err := c.Issue(t.Context(), c.mixed(t, "a.example", "b.example")); err != nil {
		t.Error(err)
	}
	if _, err := c.Issue(t.Context(), c.mixed(t, "c.example")); ca.KindOf(err) != ca.CAA {
		t.Errorf("another CA's record gave %v", err)
	}
}

func TestCAAModes(t *testing.T) {
	z := newZone(t, "a.example 0 issue ca2.example.org\nb.example 0 SERVFAIL")
	set := func(mode ca.CAAMode) func(*ca.CAARules) { return func(r *ca.CAARules) { r.Mode = mode } }
	for _, mode := range []ca.CAAMode{ca.CAAOff, "", ca.CAAReport} {
		c := enforced(t, z, set(mode))
		ledger := &intents{Ledger: c.store}
		c.Ledger = ledger
		before := z.questions()
		if _, err := c.Issue(t.Context(), c.mixed(t, "a.example", "b.example", "c.example")); err != nil {
			t.Fatalf("mode %q gave %v", mode, err)
		}
		said := ledger.details[0]["caa"]
		if mode != ca.CAAReport {
			if said != "" || z.questions() != before {
				t.Errorf("mode %q asked the DNS, and wrote %q", mode, said)
			}
			continue
		}
		for _, want := range []string{"mode report", "a.example: refused (other-ca), authenticated, at a.example: 0 issue \"ca2.example.org\"", "b.example: unknown", "c.example: allowed (unrestricted)"} {
			if !strings.Contains(said, want) {
				t.Errorf("the event says %q; it lacks %q", said, want)
			}
		}
	}
	// A line of issuers has a mode of its own, whatever the others have.
	c := enforced(t, z, func(r *ca.CAARules) {
		r.Lines = map[string]ca.CAAPolicy{ca.DefaultLine: {Mode: ca.CAAOff}}
	})
	if _, err := c.Issue(t.Context(), c.mixed(t, "a.example")); err != nil {
		t.Errorf("the line is exempt: %v", err)
	}
}

func (z *zone) questions() (n int) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, times := range z.asked {
		n += times
	}
	return n
}

func TestCAARulesThatCannotBe(t *testing.T) {
	z := newZone(t, "")
	c := enforced(t, z, nil)
	for name, p := range map[string]ca.CAAPolicy{
		"mode":          {Mode: "perhaps", Identities: []string{us}, Resolver: z},
		"no identities": {Mode: ca.CAAEnforce, Resolver: z},
		"no name":       {Mode: ca.CAAEnforce, Identities: []string{""}, Resolver: z},
		"no resolver":   {Mode: ca.CAAReport, Identities: []string{us}},
	} {
		if err := c.SetCAA(ca.CAARules{CAAPolicy: p}); ca.KindOf(err) != ca.Invalid {
			t.Errorf("%s: %v", name, err)
		}
		if err := c.SetCAA(ca.CAARules{Lines: map[string]ca.CAAPolicy{"x": p}}); ca.KindOf(err) != ca.Invalid {
			t.Errorf("%s in a line: %v", name, err)
		}
	}
	if c.CAARules().Mode != ca.CAAEnforce {
		t.Error("refused rules replaced those that held")
	}
}

// What the records say when the certificate is issued counts, not what they said
// when the name was proven.
func TestCAAIsLookedUpAnew(t *testing.T) {
	z := newZone(t, "a.example 0 issue ca1.example.net")
	c := enforced(t, z, nil)
	q := ca.CAAQuestion{Name: names(t, "a.example")[0], Method: "dns-01", Profiles: []string{"tls-server"}}
	if err := c.CheckCAA(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Issue(t.Context(), c.mixed(t, "a.example")); err != nil {
		t.Fatal(err)
	}
	z.set(t, "a.example 0 issue ca2.example.org")
	if _, err := c.Issue(t.Context(), c.mixed(t, "a.example")); ca.KindOf(err) != ca.CAA {
		t.Errorf("after the change: %v", err)
	}
	z.set(t, "a.example 0 SERVFAIL")
	if _, err := c.Issue(t.Context(), c.mixed(t, "a.example")); ca.KindOf(err) != ca.CAAUnknown {
		t.Errorf("with the zone broken: %v", err)
	}
	z.set(t, "")
	if _, err := c.Issue(t.Context(), c.mixed(t, "a.example")); err != nil {
		t.Errorf("a failure was kept: %v", err)
	}
}

func TestCheckCAA(t *testing.T) {
	z := newZone(t, "ev.example 0 issue ca1.example.net; validationmethods=ca-ev\nother.example 0 issue ca2.example.org\nmine.example 0 issue ca1.example.net; accounturi="+account)
	c := enforced(t, z, nil)
	for _, test := range []struct {
		name     string
		profiles []string
		accounts []string
		want     ca.Kind
	}{
		{"ev.example", []string{"tls-server"}, nil, ca.CAA},
		{"ev.example", []string{"tls-server", "ev"}, nil, ""},
		{"other.example", []string{"tls-server", "ev"}, nil, ca.CAA},
		{"mine.example", []string{"tls-server"}, []string{account}, ""},
		{"mine.example", []string{"tls-server"}, []string{account + "5"}, ca.CAA},
		{"10.0.0.7", []string{"tls-server"}, nil, ""},
		{"free.example", nil, nil, ""},
	} {
		q := ca.CAAQuestion{Name: names(t, test.name)[0], Method: "dns-01", Profiles: test.profiles, Accounts: test.accounts}
		if got := ca.KindOf(c.CheckCAA(t.Context(), q)); got != test.want {
			t.Errorf("%s under %v as %v: %q; want %q", test.name, test.profiles, test.accounts, got, test.want)
		}
	}
}

// A hundred names take few questions, few at a time, and say no more than an
// event can hold; every refused name is told.
func TestCAAOfManyNames(t *testing.T) {
	var text strings.Builder
	var values []string
	for n := range 100 {
		name := fmt.Sprintf("host-%03d.long-enough-to-fill-a-line.corp.example", n)
		values = append(values, name)
		if n%2 == 1 {
			fmt.Fprintf(&text, "%s 0 issue ca2.example.org; note=%s\n", name, strings.Repeat("x", 400))
		}
	}
	z := newZone(t, text.String())
	z.pause = time.Millisecond
	c := enforced(t, z, nil)
	_, err := c.Issue(t.Context(), c.mixed(t, values...))
	var e *ca.Error
	if !errors.As(err, &e) || len(e.Sub) != 50 || e.RetryAfter != 0 {
		t.Fatalf("got %v", err)
	}
	if z.asked["corp.example"] != 1 || z.asked["example"] != 1 || z.questions() != 103 {
		t.Errorf("%d questions; the shared parents were asked about %d and %d times", z.questions(), z.asked["corp.example"], z.asked["example"])
	}
	if z.most > 8 {
		t.Errorf("%d questions were under way at once", z.most)
	}
	if err := c.SetCAA(ca.CAARules{CAAPolicy: ca.CAAPolicy{Mode: ca.CAAReport, Identities: []string{us}, Resolver: z}}); err != nil {
		t.Fatal(err)
	}
	ledger := &intents{Ledger: c.store}
	c.Ledger = ledger
	if _, err := c.Issue(t.Context(), c.mixed(t, values...)); err != nil {
		t.Fatal(err)
	}
	said := ledger.details[0]["caa"]
	if len(said) > 7000 || !strings.Contains(said, "refused") || !strings.Contains(said, "more") {
		t.Errorf("the event says %d octets: %.200s", len(said), said)
	}
}

// A name server that hangs costs so long and no longer, and lets nobody through.
func TestCAAGivesUp(t *testing.T) {
	z := newZone(t, "b.example 0 HANGS")
	c := enforced(t, z, nil)
	var err error
	var e *ca.Error
	// The others are to be through by then, however busy the machine is.
	for limit := 50 * time.Millisecond; limit < time.Minute; limit *= 4 {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		_, err = c.Issue(ctx, c.mixed(t, "a.example", "b.example", "sub.b.example"))
		cancel()
		if errors.As(err, &e) && len(e.Sub) == 2 {
			break
		}
	}
	if !errors.As(err, &e) || e.Kind != ca.CAAUnknown || e.RetryAfter == 0 || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	if got := []string{e.Sub[0].Identifier.Value(), e.Sub[1].Identifier.Value()}; !slices.Equal(got, []string{"b.example", "sub.b.example"}) {
		t.Errorf("refused were %v", got)
	}
}

// However many requests there are, so many questions are under way and no more;
// and what hangs is given up after fifteen seconds.
func TestCAAOfManyRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newZone(t, "example 0 HANGS")
		a, err := ca.New(ca.Config{Profiles: ca.Shipped(), Clock: time.Now, CAA: ca.CAARules{
			CAAPolicy: ca.CAAPolicy{Mode: ca.CAAEnforce, Identities: []string{us}, Resolver: z},
		}})
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		var requests sync.WaitGroup
		defer requests.Wait()
		for range 400 {
			requests.Go(func() {
				err := a.CheckCAA(t.Context(), ca.CAAQuestion{Name: names(t, "example")[0], Method: "dns-01", Profiles: []string{"tls-server"}})
				if took := time.Since(begun); ca.KindOf(err) != ca.CAAUnknown || took != 15*time.Second {
					t.Errorf("after %s: %v", took, err)
				}
			})
		}
		synctest.Wait()
		z.mu.Lock()
		underWay := z.now
		z.mu.Unlock()
		if underWay != 256 {
			t.Errorf("%d questions are under way", underWay)
		}
	})
}

// A profile that vouches for an organisation is for those who were vetted.
func TestKindsNeedVetting(t *testing.T) {
	c := found(t, storetest.Plan)
	req := c.mixed(t, "a.example")
	req.Profile = "ev"
	req.Subject = ca.Subject{Organization: "Example Ltd", Country: "DE", SerialNumber: "HRB 1", BusinessCategory: "Private Organization", JurisdictionCountry: "DE", Locality: "Berlin"}
	if _, err := c.Issue(t.Context(), req); ca.KindOf(err) != ca.Denied {
		t.Errorf("without vetting: %v", err)
	}
	if err := c.Precheck(req); ca.KindOf(err) != ca.Denied {
		t.Errorf("without vetting, early: %v", err)
	}
	for _, kind := range []string{"ca-dv", "ca-ov", "ca-qwac"} {
		req.Labels = []string{kind}
		if _, err := c.Issue(t.Context(), req); ca.KindOf(err) != ca.Denied {
			t.Errorf("vetted for %s: %v", kind, err)
		}
	}
	approved := req
	approved.ID, approved.Labels, approved.By.Room = "admin:1", nil, "admin"
	approved.Evidence = []ca.Evidence{{Identifier: req.Names[0], Method: "approval", At: c.now, Expires: c.now.Add(time.Minute)}}
	if _, err := c.Issue(t.Context(), approved); err != nil {
		t.Errorf("approved by a person: %v", err)
	}
	req.Labels = []string{"ca-ev"}
	if err := c.Precheck(req); err != nil {
		t.Error(err)
	}
	r, err := c.Issue(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	cert := parse(t, r.DER)
	if len(cert.Policies) != 1 || cert.Policies[0].String() != "2.23.140.1.1" {
		t.Errorf("policies are %v", cert.Policies)
	}
	subject := map[string]string{}
	for _, a := range cert.Subject.Names {
		subject[a.Type.String()] = a.Value.(string)
	}
	if subject["2.5.4.10"] != "Example Ltd" || subject["2.5.4.15"] != "Private Organization" || subject["1.3.6.1.4.1.311.60.2.1.3"] != "DE" || subject["2.5.4.5"] != "HRB 1" {
		t.Errorf("the subject is %v", subject)
	}
	req.ID, req.Subject.Organization = "acme:nobody", ""
	if _, err := c.Issue(t.Context(), req); ca.KindOf(err) != ca.Invalid {
		t.Errorf("without an organisation: %v", err)
	}
}

// The server's own name is its operator's: what forbids it is written down, and
// the server can still speak. No other room gets through by the same word.
func TestCAAAndOurOwnService(t *testing.T) {
	z := newZone(t, "ca.example 0 issue ca2.example.org")
	c := enforced(t, z, nil)
	ledger := &intents{Ledger: c.store}
	c.Ledger = ledger
	req := c.mixed(t, "ca.example")
	req.By, req.Profile, req.Accounts, req.Evidence[0].Method = ca.Principal{Room: "core", ID: "tls"}, "own-service", nil, "own-service"
	if _, err := c.Issue(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if said := ledger.details[0]["caa"]; !strings.Contains(said, "refused (other-ca)") {
		t.Errorf("the event says %q", said)
	}
	req.ID, req.By = "acme:own", ca.Principal{Room: "acme", ID: "1"}
	if _, err := c.Issue(t.Context(), req); err == nil {
		t.Error("a room passed for the server itself")
	}
}

// Recovery signs the bytes that were checked, without a new look-up, for as long
// as a check may speak for them; later the intent is given up.
func TestCAAAndRecovery(t *testing.T) {
	for _, test := range []struct {
		after time.Duration
		want  bool
	}{{time.Hour, true}, {9 * time.Hour, false}} {
		z := newZone(t, "a.example 0 issue ca1.example.net")
		c := enforced(t, z, nil)
		req := c.mixed(t, "a.example")
		c.Ledger = torn{c.store, false}
		if _, err := c.Issue(t.Context(), req); !errors.Is(err, errTorn) {
			t.Fatalf("got %v", err)
		}
		c.Ledger = c.store
		z.set(t, "a.example 0 issue ca2.example.org")
		asked := z.questions()
		c.now = c.now.Add(test.after)
		if _, err := c.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		r, err := c.store.ByRequest(t.Context(), req.ID)
		if err != nil || r.Settled() != test.want || r.RevokedAt.IsZero() != test.want || z.questions() != asked {
			t.Errorf("%s later: %+v, %v, %d questions", test.after, r, err, z.questions()-asked)
		}
	}
}

// What a profile says may stand in the subject is all that may.
func TestSubjectOnly(t *testing.T) {
	text := string(ca.ShippedText("ov")) + "subject.only.organization = [\"Example Ltd\"]\n"
	p, err := ca.ParseProfile("mine", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	c := found(t, storetest.Plan)
	c.Profiles["mine"] = p
	for organization, want := range map[string]ca.Kind{"Example Ltd": "", "Bank": ca.Denied} {
		req := c.mixed(t, "a.example")
		req.Profile, req.Labels, req.Subject = "mine", []string{"ca-ov"}, ca.Subject{Organization: organization, Country: "DE"}
		if _, err := c.Issue(t.Context(), req); ca.KindOf(err) != want {
			t.Errorf("%s: %v", organization, err)
		}
	}
	for _, bad := range []string{"kind = \"ca-xv\"\n", "subject.only.shoe_size = [\"44\"]\n"} {
		if _, err := ca.ParseProfile("bad", append([]byte("rooms = [\"acme\"]\nkeys = [\"rsa\"]\nlife = \"1d\"\n"), bad...)); ca.KindOf(err) != ca.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
