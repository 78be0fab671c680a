package acmeserver_test

import (
	"context"
	"crypto/x509/pkix"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/acmeserver"
	"chancery/internal/ca"
	"chancery/internal/keys"
	"chancery/internal/registry"
	"chancery/internal/sqldb"
	"chancery/internal/sqlstore"
	"chancery/internal/storetest"

	xacme "golang.org/x/crypto/acme"
)

var clerk = ca.Principal{Room: "admin", ID: "clerk"}

// office is a world with customers, and a registry that is the real one.
type office struct {
	*world
	*registry.Registry
	broken error // what asking gives instead of being done
}

// Ask breaks when it is told to, as a process that ends does.
func (o *office) Ask(ctx context.Context, a registry.Asking) (registry.Binding, error) {
	if o.broken != nil {
		return registry.Binding{}, o.broken
	}
	return o.Registry.Ask(ctx, a)
}

func newOffice(t *testing.T, p acmeserver.Policy) *office {
	t.Helper()
	return newOfficeOn(t, storetest.SQLite(t), func(c *acmeserver.Config) { c.Policy = p })
}

func newOfficeOn(t *testing.T, db *sqldb.DB, edit func(*acmeserver.Config)) *office {
	t.Helper()
	o := &office{}
	o.world = newWorldOn(t, db, func(c *acmeserver.Config) {
		safe, err := keys.Open(keys.Config{Dir: t.TempDir() + "/keys"})
		if err != nil {
			t.Fatal(err)
		}
		sealer, err := safe.Sealer(t.Context(), "registry")
		if err != nil {
			t.Fatal(err)
		}
		o.Registry, err = registry.New(registry.Config{Store: c.Orders.(*sqlstore.Store), Sealer: sealer, Clock: c.Clock, Base: "https://ca.example"})
		if err != nil {
			t.Fatal(err)
		}
		c.Registry, c.Customers = o.Registry, o
		edit(c)
	})
	return o
}

// customer registers one with a proven domain and a verified address.
func (o *office) customer(domain, address string) string {
	o.t.Helper()
	ctx := o.t.Context()
	c, err := o.AddCustomer(ctx, clerk, "customer of "+domain)
	if err != nil {
		o.t.Fatal(err)
	}
	if domain != "" {
		_, err1 := o.AddDomain(ctx, clerk, registry.Domain{Customer: c.ID, Name: domain})
		_, err2 := o.VouchDomain(ctx, clerk, registry.Domain{Customer: c.ID, Name: domain})
		err = errors.Join(err1, err2)
	}
	if address != "" {
		_, err1 := o.AddContact(ctx, clerk, registry.ContactProof{Customer: c.ID, Address: address})
		err = errors.Join(err, err1, o.VouchContact(ctx, clerk, registry.ContactProof{Customer: c.ID, Address: address}))
	}
	if err != nil {
		o.t.Fatal(err)
	}
	return c.ID
}

// asked gives what a customer was asked, the newest first.
func (o *office) asked(customer string) []registry.Binding {
	o.t.Helper()
	all, err := o.Bindings(o.t.Context(), registry.BindingQuery{Customer: customer})
	if err != nil {
		o.t.Fatal(err)
	}
	return all
}

// decides is the customer's word on the only open question.
func (o *office) decides(customer string, confirm bool) {
	o.t.Helper()
	all, err := o.Bindings(o.t.Context(), registry.BindingQuery{Customer: customer, State: registry.Pending})
	if err != nil || len(all) != 1 {
		o.t.Fatalf("the customer has the questions %+v, %v; want one", all, err)
	}
	_, err = o.Decide(o.t.Context(), registry.Decision{ID: all[0].ID, By: ca.Principal{Room: registry.CustomerRoom, ID: customer}, Confirm: confirm})
	if err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) account(contacts ...string) *acme.Client {
	o.t.Helper()
	c := &acme.Client{Directory: o.base + "/acme/directory", Key: certKey(o.t)}
	if _, err := c.Register(o.t.Context(), acme.Registration{Contacts: contacts}); err != nil {
		o.t.Fatal(err)
	}
	return c
}

// prove makes an order for one name, proves it and gives the order's URL and the
// authorisation's.
func (o *office) proves(c *acme.Client, name string) (order, authz string) {
	o.t.Helper()
	made := o.order(c, name)
	a, ch := o.pick(c, made.Authorizations[0])
	if a.Status == acme.AuthorizationPending {
		o.prove(c, a.Identifier, ch)
		if _, err := c.Respond(o.t.Context(), ch); err != nil {
			o.t.Fatal(err)
		}
		o.until(func() bool { s := o.stored(made.Authorizations[0]); return s.Attempts > 0 })
	}
	return made.URL, made.Authorizations[0]
}

// until waits for something that happens in the background.
func (o *office) until(done func() bool) {
	o.t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			o.t.Fatal("it did not happen")
		}
	}
}

// stands checks an authorisation as its client sees it, and gives it.
func (o *office) stands(c *acme.Client, url string, want acme.AuthorizationStatus) *acme.Authorization {
	o.t.Helper()
	a, err := c.Authorization(o.t.Context(), url)
	if err != nil || a.Status != want {
		o.t.Fatalf("the authorisation is %+v, %v; want it %s", a, err, want)
	}
	return a
}

// failed checks an invalid authorisation's problem.
func (o *office) failed(c *acme.Client, url string, words ...string) {
	o.t.Helper()
	a := o.stands(c, url, acme.AuthorizationInvalid)
	if len(a.Challenges) != 1 || a.Challenges[0].Status != acme.ChallengeInvalid || a.Challenges[0].Error == nil {
		o.t.Fatalf("the challenges are %+v", a.Challenges)
	}
	refused(o.t, a.Challenges[0].Error, acme.TypeUnauthorized, words...)
}

var byDomain = acmeserver.Policy{ByDomain: true, Require: true, Pause: 7 * time.Second}

func TestHolderConfirms(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *sqldb.DB) {
		o := newOfficeOn(t, db, func(c *acmeserver.Config) { c.Policy = byDomain })
		shop, bank := o.customer("shop.example", ""), o.customer("bank.example", "")
		c := o.account()
		order, authz := o.proves(c, "www.shop.example")
		a := o.stands(c, authz, acme.AuthorizationPending)
		for _, ch := range a.Challenges {
			if want := ch.Type == acme.ChallengeHTTP01; (ch.Status == acme.ChallengeProcessing) != want {
				t.Errorf("challenge %s is %s", ch.Type, ch.Status)
			}
		}
		if held, err := c.Order(t.Context(), order); err != nil || held.Status != acme.OrderPending {
			t.Errorf("the order is %+v, %v", held, err)
		}
		// Answering once more begins nothing.
		before := o.world.asked.Load()
		if _, err := c.Respond(t.Context(), a.Challenges[0]); err != nil || o.world.asked.Load() != before {
			t.Errorf("another answer: %v, looked %d times", err, o.world.asked.Load()-before)
		}
		q := o.asked(shop)
		if len(q) != 1 || q[0].Via != registry.ViaDomain || q[0].Domain != "www.shop.example" || !strings.HasPrefix(q[0].AccountURL, o.base+"/acme/account/") || q[0].Thumbprint == "" {
			t.Fatalf("the customer was asked %+v", q)
		}
		proven := o.stored(authz).Proven

		o.decides(shop, true)
		o.stands(c, authz, acme.AuthorizationValid)
		if ready, err := c.Order(t.Context(), order); err != nil || ready.Status != acme.OrderReady {
			t.Errorf("the order is %+v, %v", ready, err)
		}
		if s := o.stored(authz); !s.Validated.Equal(proven) || !s.Expires.Equal(proven.Add(o.config.AuthzLife)) || !s.Processing.IsZero() {
			t.Errorf("the authorisation is stored as %+v; proven at %s", s, proven)
		}
		// The binding serves what comes later of that customer's, and of nobody else's.
		o.obtain(c, "www.shop.example", "mail.shop.example")
		if n := len(o.asked(shop)); n != 1 {
			t.Errorf("the customer was asked %d times", n)
		}
		_, authz = o.proves(c, "bank.example")
		o.stands(c, authz, acme.AuthorizationPending)
		o.decides(bank, true)
		o.stands(c, authz, acme.AuthorizationValid)
	})
}

func TestHolderRefuses(t *testing.T) {
	o := newOffice(t, byDomain)
	shop := o.customer("shop.example", "")
	c := o.account()
	order, authz := o.proves(c, "shop.example")
	o.decides(shop, false)
	o.failed(c, authz, "refused")
	if dead, err := c.Order(t.Context(), order); err != nil || dead.Status != acme.OrderInvalid || !strings.Contains(dead.Error.Detail, "refused") {
		t.Errorf("the order is %+v, %v", dead, err)
	}
	// Tried again at once, nobody is bothered; after a day the customer is asked again.
	_, authz = o.proves(c, "shop.example")
	o.failed(c, authz, "refused")
	if n := len(o.asked(shop)); n != 1 {
		t.Errorf("the customer was asked %d times", n)
	}
	o.ahead.Add(int64(25 * time.Hour))
	o.proves(c, "shop.example")
	o.decides(shop, true)
}

func TestHolderIsSilent(t *testing.T) {
	o := newOffice(t, byDomain)
	shop := o.customer("shop.example", "")
	c := o.account()
	_, authz := o.proves(c, "shop.example")
	o.ahead.Add(int64(71 * time.Hour))
	o.stands(c, authz, acme.AuthorizationPending)
	o.ahead.Add(int64(2 * time.Hour))
	// Whoever looks next finds it, the server itself, too.
	if err := o.server.Work(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := o.stored(authz); s.Status != acme.AuthorizationInvalid {
		t.Errorf("the authorisation is stored as %+v", s)
	}
	o.failed(c, authz, "in time", "new order")
	_, again := o.proves(c, "shop.example")
	o.stands(c, again, acme.AuthorizationPending)
	o.decides(shop, true)
	o.stands(c, again, acme.AuthorizationValid)
	o.failed(c, authz, "in time")
}

func TestClientThatGaveUp(t *testing.T) {
	o := newOffice(t, byDomain)
	shop := o.customer("shop.example", "")
	c := o.account()
	_, first := o.proves(c, "shop.example")
	_, second := o.proves(c, "shop.example") // it came again too early
	o.stands(c, second, acme.AuthorizationPending)
	o.decides(shop, true)
	made := o.order(c, "shop.example")
	if made.Status != acme.OrderReady || made.Authorizations[0] != first && made.Authorizations[0] != second {
		t.Errorf("the order is %+v; want it ready, resting on %s or %s", made, first, second)
	}
	// Proven in advance is the same.
	a, err := c.PreAuthorize(t.Context(), acme.Identifier{Type: "dns", Value: "shop.example"})
	if err != nil || a.Status != acme.AuthorizationValid {
		t.Errorf("the authorisation is %+v, %v", a, err)
	}
}

func TestSecondAccountIsAskedFor(t *testing.T) {
	o := newOffice(t, byDomain)
	shop := o.customer("shop.example", "")
	one, two := o.account(), o.account()
	_, first := o.proves(one, "shop.example")
	o.decides(shop, true)
	_, second := o.proves(two, "shop.example")
	o.stands(one, first, acme.AuthorizationValid)
	o.stands(two, second, acme.AuthorizationPending)
	if q := o.asked(shop); len(q) != 2 || q[0].Account == q[1].Account {
		t.Errorf("the customer was asked %+v", q)
	}
	o.decides(shop, false)
	o.failed(two, second, "refused")
	o.stands(one, first, acme.AuthorizationValid)
}

func TestTwoHoldersOfOneDomain(t *testing.T) {
	o := newOffice(t, byDomain)
	shop, agency := o.customer("shop.example", "it@shop.example"), o.customer("shop.example", "web@agency.example")
	_, authz := "", ""
	c := o.account()
	_, authz = o.proves(c, "shop.example")
	o.failed(c, authz, "several customers", "contact", "external account binding")
	// A contact that nobody verified tells nobody apart.
	c = o.account("mailto:boss@shop.example")
	_, authz = o.proves(c, "shop.example")
	o.failed(c, authz, "several customers")
	c = o.account("mailto:web@Agency.example")
	_, authz = o.proves(c, "shop.example")
	if len(o.asked(shop)) != 0 || len(o.asked(agency)) != 1 {
		t.Errorf("asked were %+v and %+v", o.asked(shop), o.asked(agency))
	}
	o.decides(agency, true)
	o.stands(c, authz, acme.AuthorizationValid)
	// Bound to one of them, no contact is needed any more.
	if _, err := c.UpdateAccount(t.Context(), []string{}); err != nil {
		t.Fatal(err)
	}
	o.obtain(c, "new.shop.example")
}

func TestNobodyHoldsTheDomain(t *testing.T) {
	for _, require := range []bool{true, false} {
		p := byDomain
		p.Require = require
		o := newOffice(t, p)
		shop := o.customer("shop.example", "")
		c := o.account()
		_, authz := o.proves(c, "else.example")
		if !require {
			o.stands(c, authz, acme.AuthorizationValid)
			_, authz = o.proves(c, "shop.example")
			o.stands(c, authz, acme.AuthorizationPending)
			continue
		}
		o.failed(c, authz, "register the domain first")
		o.proves(c, "shop.example")
		o.decides(shop, true)
		o.obtain(c, "else.example") // bound is bound
	}
}

// What was valid before bindings were required does not serve an account that has
// none.
func TestBindingRequiredLater(t *testing.T) {
	o := newOffice(t, acmeserver.Policy{})
	shop := o.customer("shop.example", "")
	c := o.account()
	o.obtain(c, "shop.example")
	o.config.Policy = byDomain
	next := o.another()
	defer o.close(next)
	o.serve(next)
	if made := o.order(c, "shop.example"); made.Status != acme.OrderPending {
		t.Errorf("the order is %+v", made)
	}
	_, authz := o.proves(c, "shop.example")
	o.stands(c, authz, acme.AuthorizationPending)
	o.decides(shop, true)
	o.stands(c, authz, acme.AuthorizationValid)
}

// A process that ends before the customer is asked, or before his word is written
// down, loses nothing: another goes on.
func TestBindingSurvivesEnds(t *testing.T) {
	o := newOffice(t, byDomain)
	shop := o.customer("shop.example", "")
	c := o.account()
	o.broken = ca.Errorf(ca.Unavailable, "the power went off")
	_, authz := o.proves(c, "shop.example")
	if s := o.stored(authz); s.Proven.IsZero() || s.Status != acme.AuthorizationPending || len(o.asked(shop)) != 0 {
		t.Fatalf("after the end there is %+v, asked %+v", s, o.asked(shop))
	}
	o.broken = nil
	next := o.another()
	defer o.close(next)
	// No client comes: the server asks by itself when the lease is over.
	o.ahead.Add(int64(2 * time.Minute))
	if err := next.Work(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(o.asked(shop)) != 1 {
		t.Fatalf("asked %+v", o.asked(shop))
	}
	o.decides(shop, true)
	if s := o.stored(authz); s.Status != acme.AuthorizationPending {
		t.Errorf("the decision wrote %+v", s)
	}
	o.ahead.Add(int64(2 * time.Minute))
	if err := next.Work(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := o.stored(authz); s.Status != acme.AuthorizationValid {
		t.Errorf("the authorisation is %+v", s)
	}
	o.serve(next)
	o.obtain(c, "shop.example")
}

// serve has the front lead to another server.
func (o *office) serve(s *acmeserver.Server) { o.front.Config.Handler = s.Handler() }

// An account that was opened with a key is asked about by nobody.
func TestExternalBindingAsksNobody(t *testing.T) {
	o := newOffice(t, byDomain)
	shop := o.customer("shop.example", "")
	c := o.external(shop)
	o.obtain(c, "shop.example")
	for _, b := range o.asked(shop) {
		if b.Via != registry.ViaEAB {
			t.Errorf("asked %+v", b)
		}
	}
}

// external opens an account with a customer's key.
func (o *office) external(customer string) *acme.Client {
	o.t.Helper()
	key, err := o.CreateKey(o.t.Context(), registry.Order{By: clerk, Label: "key", Customer: customer})
	if err != nil {
		o.t.Fatal(err)
	}
	c := &acme.Client{Directory: o.base + "/acme/directory", Key: certKey(o.t)}
	if _, err := c.Register(o.t.Context(), acme.Registration{EAB: &acme.ExternalAccount{KeyID: key.ID, Key: key.Secret}}); err != nil {
		o.t.Fatal(err)
	}
	return c
}

func TestRetryAfterOfWhatIsHeld(t *testing.T) {
	o := newOffice(t, byDomain)
	o.customer("shop.example", "")
	c := o.account()
	seen := map[string]string{}
	c.HTTP = &http.Client{Transport: watch(func(r *http.Response) {
		for _, part := range []string{"order", "authz", "challenge"} {
			if strings.Contains(r.Request.URL.Path, "/"+part+"/") {
				seen[part] = r.Header.Get("Retry-After")
			}
		}
	})}
	order, authz := o.proves(c, "shop.example")
	o.stands(c, authz, acme.AuthorizationPending)
	if _, err := c.Order(t.Context(), order); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Respond(t.Context(), o.stands(c, authz, acme.AuthorizationPending).Challenges[0]); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"order", "authz", "challenge"} {
		if seen[part] != "7" {
			t.Errorf("%s has Retry-After %q", part, seen[part])
		}
	}
}

// watch sees all answers.
type watch func(*http.Response)

func (w watch) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		w(resp)
	}
	return resp, err
}

func TestBindingByMail(t *testing.T) {
	o := newOffice(t, acmeserver.Policy{ByMail: true, Require: true})
	shop := o.customer("", "it@shop.example")
	_, err := o.AddContact(t.Context(), clerk, registry.ContactProof{Customer: shop, Address: "new@shop.example"})
	if err != nil {
		t.Fatal(err)
	}
	order := acme.NewOrder{Identifiers: dnsNames("shop.example")}
	for _, contact := range []string{"mailto:new@shop.example", "mailto:nobody@else.example"} {
		c := o.account(contact)
		_, err = c.NewOrder(t.Context(), order)
		refused(t, err, acme.TypeUserActionRequired, "not bound", "external account binding")
		o.server.Asked()
		if len(o.asked(shop)) != 0 {
			t.Errorf("%s, which is not verified, had the customer asked: %+v", contact, o.asked(shop))
		}
	}
	c := o.account("mailto:other@else.example", "mailto:it@Shop.example")
	o.server.Asked()
	if q := o.asked(shop); len(q) != 1 || q[0].Via != registry.ViaMail || q[0].Contact != "it@shop.example" {
		t.Fatalf("asked %+v", q)
	}
	var p *acme.Problem
	_, err = c.NewOrder(t.Context(), order)
	refused(t, err, acme.TypeUserActionRequired, "not bound")
	// The instance is for reading, and not the page that confirms.
	if !errors.As(err, &p) || p.Instance != o.base+registry.BindingPath {
		t.Errorf("the problem is %+v", p)
	}
	_, err = c.PreAuthorize(t.Context(), order.Identifiers[0])
	refused(t, err, acme.TypeUserActionRequired)
	o.server.Asked()
	o.decides(shop, true)
	o.obtain(c, "shop.example")
	if n := len(o.asked(shop)); n != 1 {
		t.Errorf("the customer was asked %d times", n)
	}
	// What was lost when a process ended is made up for when the account comes again.
	o.broken = ca.Errorf(ca.Unavailable, "the power went off")
	c = o.account("mailto:it@shop.example")
	o.server.Asked()
	o.broken = nil
	if _, err := c.Register(t.Context(), acme.Registration{OnlyExisting: true}); err != nil {
		t.Fatal(err)
	}
	o.server.Asked()
	o.decides(shop, false)
	_, err = c.NewOrder(t.Context(), order)
	refused(t, err, acme.TypeUserActionRequired)
}

func TestBindingRequestsAreBounded(t *testing.T) {
	left := map[string]int{}
	o := newOfficeOn(t, storetest.SQLite(t), func(c *acmeserver.Config) {
		c.Policy = acmeserver.Policy{ByMail: true}
		c.NewBindings = func(key string, _ time.Time) (time.Duration, bool) {
			left[key]++
			return time.Hour, left[key] <= 2
		}
	})
	shop := o.customer("", "it@shop.example")
	for range 4 {
		o.account("mailto:it@shop.example")
	}
	o.server.Asked()
	if n := len(o.asked(shop)); n != 2 {
		t.Errorf("from one address the customer was asked %d times; want 2", n)
	}
}

// Without a policy nobody is asked, and nothing more is read.
func TestNoPolicyReadsNothing(t *testing.T) {
	w := newWorld(t, func(c *acmeserver.Config) { c.Customers = nil })
	w.obtain(w.client(), "a.example", "b.example")
	if _, err := acmeserver.New(func() acmeserver.Config { c := w.config; c.Policy.ByDomain = true; return c }()); err == nil {
		t.Error("a policy without customers was taken")
	}
}

// Who turns the policy off does not leave anybody waiting.
func TestPolicyTurnedOff(t *testing.T) {
	o := newOffice(t, byDomain)
	o.customer("shop.example", "")
	c := o.account()
	_, authz := o.proves(c, "shop.example")
	o.stands(c, authz, acme.AuthorizationPending)
	o.config.Policy = acmeserver.Policy{}
	next := o.another()
	defer o.close(next)
	o.serve(next)
	o.stands(c, authz, acme.AuthorizationValid)
}

// What ends while a customer is asked says so.
func TestAuthorizationEndsWhileAsked(t *testing.T) {
	o := newOfficeOn(t, storetest.SQLite(t), func(c *acmeserver.Config) { c.Policy, c.OrderLife = byDomain, time.Hour })
	shop := o.customer("shop.example", "")
	c := o.account()
	_, authz := o.proves(c, "shop.example")
	o.ahead.Add(int64(2 * time.Hour))
	if err := o.server.Work(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.failed(c, authz, "ended before", "new order")
	// The question stands, and its answer serves the next order.
	o.decides(shop, true)
	o.obtain(c, "shop.example")
}

// A foreign client only polls.
func TestForeignClientWaits(t *testing.T) {
	p := byDomain
	p.Pause = time.Second
	o := newOffice(t, p)
	shop := o.customer("shop.example", "")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := &xacme.Client{Key: certKey(t), DirectoryURL: o.base + "/acme/directory"}
	if _, err := c.Register(ctx, &xacme.Account{}, xacme.AcceptTOS); err != nil {
		t.Fatal(err)
	}
	made, err := c.AuthorizeOrder(ctx, xacme.DomainIDs("shop.example"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.GetAuthorization(ctx, made.AuthzURLs[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, ch := range a.Challenges {
		if ch.Type != "http-01" {
			continue
		}
		text, err := c.HTTP01ChallengeResponse(ch.Token)
		if err != nil {
			t.Fatal(err)
		}
		o.mu.Lock()
		o.pages[c.HTTP01ChallengePath(ch.Token)] = text
		o.mu.Unlock()
		if _, err := c.Accept(ctx, ch); err != nil {
			t.Fatal(err)
		}
	}
	o.until(func() bool { return len(o.asked(shop)) == 1 })
	o.decides(shop, true)
	if _, err := c.WaitAuthorization(ctx, made.AuthzURLs[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := c.WaitOrder(ctx, made.URI); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.CreateOrderCert(ctx, made.FinalizeURL, csr(t, certKey(t), "", "shop.example"), true); err != nil {
		t.Fatal(err)
	}
}

// Of two vetted customers the order's names tell which is meant.
func TestTwoVettedCustomers(t *testing.T) {
	o := newOfficeOn(t, storetest.SQLite(t), func(c *acmeserver.Config) {
		c.Profiles, c.Policy = []string{"tls-server", "ev"}, acmeserver.Policy{ByDomain: true}
	})
	c := o.account()
	for domain, name := range map[string]string{"shop.example": "Shop GmbH", "bank.example": "Bank AG"} {
		id := o.customer(domain, "")
		v := registry.Vetting{Kind: "ca-ev", Until: o.now().Add(24 * time.Hour), By: clerk, Subject: registry.Subject{Organization: name, Country: "DE"}}
		if err := o.Vet(t.Context(), id, v); err != nil {
			t.Fatal(err)
		}
		_, authz := o.proves(c, domain)
		o.decides(id, true)
		o.stands(c, authz, acme.AuthorizationValid)
	}
	chain, err := c.Obtain(t.Context(), acme.ObtainRequest{Identifiers: dnsNames("www.bank.example"), Profile: "ev", Key: certKey(t), Solver: solver{world: o.world}})
	if err != nil {
		t.Fatal(err)
	}
	if got := chain.Certificates[0].Subject.Organization; len(got) != 1 || got[0] != "Bank AG" {
		t.Errorf("the organisation is %v", got)
	}
	for _, names := range [][]string{{"shop.example", "bank.example"}, {"else.example"}} {
		_, err = c.NewOrder(t.Context(), acme.NewOrder{Identifiers: dnsNames(names...), Profile: "ev"})
		refused(t, err, acme.TypeUnauthorized, "several vetted customers")
	}
}

func TestKindsNeedVettedCustomers(t *testing.T) {
	o := newOfficeOn(t, storetest.SQLite(t), func(c *acmeserver.Config) {
		c.Profiles, c.Policy = []string{"tls-server", "ev"}, acmeserver.Policy{ByDomain: true}
	})
	shop := o.customer("shop.example", "")
	order := acme.NewOrder{Identifiers: dnsNames("shop.example"), Profile: "ev"}
	vet := func(days int) {
		v := registry.Vetting{Kind: "ca-ev", Until: o.now().Add(time.Duration(days) * 24 * time.Hour), By: clerk,
			Subject: registry.Subject{Organization: "Shop GmbH", Country: "DE", Locality: "Bonn", Serial: "HRB 1",
				Category: "Private Organization", Jurisdiction: "AT"}}
		if err := o.Vet(t.Context(), shop, v); err != nil {
			t.Fatal(err)
		}
	}
	plain := o.account()
	_, err := plain.NewOrder(t.Context(), order)
	refused(t, err, acme.TypeExternalAccountRequired, "bound to a vetted customer", "another profile")

	// By an external key; and by a binding that was confirmed.
	o.proves(plain, "shop.example")
	o.decides(shop, true)
	for _, c := range []*acme.Client{o.external(shop), plain} {
		_, err = c.NewOrder(t.Context(), order)
		refused(t, err, acme.TypeUnauthorized, "are vetted for it", "another profile")
	}
	vet(10)
	for _, c := range []*acme.Client{o.external(shop), plain} {
		chain, err := c.Obtain(t.Context(), acme.ObtainRequest{Identifiers: order.Identifiers, Profile: "ev", Key: certKey(t), Solver: solver{world: o.world}})
		if err != nil {
			t.Fatal(err)
		}
		cert := chain.Certificates[0]
		if len(cert.Subject.Organization) != 1 || cert.Subject.Organization[0] != "Shop GmbH" || cert.Subject.Country[0] != "DE" || cert.Subject.SerialNumber != "HRB 1" {
			t.Errorf("the subject is %v", cert.Subject)
		}
		// businessCategory and jurisdictionCountryName (EV guidelines §9.2.3, §9.2.4).
		for oid, want := range map[string]string{"2.5.4.15": "Private Organization", "1.3.6.1.4.1.311.60.2.1.3": "AT"} {
			if !slices.ContainsFunc(cert.Subject.Names, func(a pkix.AttributeTypeAndValue) bool { return a.Type.String() == oid && a.Value == want }) {
				t.Errorf("the subject %v lacks %s=%s", cert.Subject, oid, want)
			}
		}
	}
	// The vetting has to be good when the certificate is made.
	made, err := plain.NewOrder(t.Context(), order)
	if err != nil || made.Status != acme.OrderReady {
		t.Fatalf("the order is %+v, %v", made, err)
	}
	o.ahead.Add(int64(6 * 24 * time.Hour))
	if err := o.Suspend(t.Context(), clerk, shop); err != nil {
		t.Fatal(err)
	}
	_, err = plain.Finalize(t.Context(), made, csr(t, certKey(t), "", "shop.example"))
	refused(t, err, acme.TypeUnauthorized, "suspended")
	if err := o.Resume(t.Context(), clerk, shop); err != nil {
		t.Fatal(err)
	}
	if _, err = plain.Finalize(t.Context(), made, csr(t, certKey(t), "", "shop.example")); err != nil {
		t.Error(err)
	}
}

// A vetting may have found more than a profile's subject has room for.
func TestVettingFindsMore(t *testing.T) {
	o := newOfficeOn(t, storetest.SQLite(t), func(c *acmeserver.Config) { c.Profiles = []string{"ov"} })
	shop := o.customer("shop.example", "")
	found := registry.Subject{Organization: "Shop GmbH", Country: "DE", Serial: "HRB 1", Category: "Business Entity", Jurisdiction: "DE"}
	if err := o.Vet(t.Context(), shop, registry.Vetting{Kind: "ca-ov", Until: o.now().Add(time.Hour), By: clerk, Subject: found}); err != nil {
		t.Fatal(err)
	}
	chain, err := o.external(shop).Obtain(t.Context(), acme.ObtainRequest{Identifiers: dnsNames("shop.example"), Key: certKey(t), Solver: solver{world: o.world}})
	if err != nil {
		t.Fatal(err)
	}
	if s := chain.Certificates[0].Subject; s.SerialNumber != "" || len(s.Organization) != 1 || s.Organization[0] != "Shop GmbH" {
		t.Errorf("the subject is %v", s)
	}
}
