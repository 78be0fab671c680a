package acmeserver_test

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/acmeserver"
	"chancery/internal/sqldb"
	"chancery/internal/storetest"
)

func TestObtain(t *testing.T) {
	w := newWorld(t, nil)
	ip := []acme.Identifier{{Type: acme.IdentifierIP, Value: "127.0.0.1"}}
	for _, c := range []struct {
		name  string
		typ   acme.ChallengeType
		names []acme.Identifier
	}{
		{"http-01", acme.ChallengeHTTP01, dnsNames("a.example", "b.example")},
		{"dns-01", acme.ChallengeDNS01, dnsNames("c.example")},
		{"tls-alpn-01", acme.ChallengeTLSALPN01, dnsNames("d.example")},
		{"wildcard", acme.ChallengeDNS01, dnsNames("*.e.example", "e.example")},
		{"address by http-01", acme.ChallengeHTTP01, ip},
		{"address by tls-alpn-01", acme.ChallengeTLSALPN01, ip},
	} {
		t.Run(c.name, func(t *testing.T) {
			chain, err := w.client().Obtain(t.Context(), acme.ObtainRequest{Identifiers: c.names, Key: certKey(t), Solver: solver{w, c.typ}})
			if err != nil {
				t.Fatal(err)
			}
			leaf := chain.Certificates[0]
			var got []string
			got = append(got, leaf.DNSNames...)
			for _, ip := range leaf.IPAddresses {
				got = append(got, ip.String())
			}
			var want []string
			for _, n := range c.names {
				want = append(want, n.Value)
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) || len(chain.Certificates) != 2 {
				t.Errorf("the certificate is for %v, want %v; the chain has %d certificates", got, want, len(chain.Certificates))
			}
			if err := leaf.CheckSignatureFrom(chain.Certificates[1]); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestManyOrdersOfOneAccount is what other servers lock the account for.
func TestManyOrdersOfOneAccount(t *testing.T) {
	storetest.Each(t, manyOrdersOfOneAccount)
}

func manyOrdersOfOneAccount(t *testing.T, db *sqldb.DB) {
	w := newWorldOn(t, db, nil)
	c := w.client()
	var wg sync.WaitGroup
	for n := range 100 {
		wg.Go(func() {
			_, err := c.Obtain(t.Context(), acme.ObtainRequest{
				Identifiers: dnsNames(fmt.Sprintf("host%d.example", n), "shared.example"), Key: certKey(t), Solver: solver{world: w},
			})
			if err != nil {
				t.Errorf("order %d: %v", n, err)
			}
		})
	}
	wg.Wait()
	if got := listAll(t, c); len(got) != 100 {
		t.Errorf("the account's list has %d orders, want 100", len(got))
	}
}

func listAll(t *testing.T, c *acme.Client) []string {
	t.Helper()
	list, err := c.Orders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestAuthorizationsAreUsedAgain(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	w.obtain(c, "again.example")
	o := w.order(c, "again.example", "AGAIN.example")
	if o.Status != acme.OrderReady || len(o.Authorizations) != 1 {
		t.Errorf("a second order is %s with %d authorisations; want ready, with the first's", o.Status, len(o.Authorizations))
	}
	if o = w.order(w.client(), "again.example"); o.Status != acme.OrderPending {
		t.Errorf("another account's order is %s", o.Status)
	}
	w.ahead.Add(int64(30*24*time.Hour - 30*time.Minute))
	if o = w.order(c, "again.example"); o.Status != acme.OrderPending {
		t.Errorf("an order shortly before the authorisation's end is %s", o.Status)
	}
}

func TestPreAuthorization(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	id := dnsNames("early.example")[0]
	a, err := c.PreAuthorize(t.Context(), id)
	if err != nil || a.Status != acme.AuthorizationPending {
		t.Fatalf("got %+v, %v", a, err)
	}
	_, ch := w.pick(c, a.URL)
	w.prove(c, id, ch)
	if ch, err := c.Respond(t.Context(), ch); err != nil || ch.Status != acme.ChallengeValid || ch.Validated.IsZero() {
		t.Fatalf("a quick validation gave %+v, %v", ch, err)
	}
	if o := w.order(c, "early.example"); o.Status != acme.OrderReady || o.Authorizations[0] != a.URL {
		t.Errorf("the order is %s with %v", o.Status, o.Authorizations)
	}
	if again, err := c.PreAuthorize(t.Context(), id); err != nil || again.URL != a.URL {
		t.Errorf("authorising again gave %+v, %v", again, err)
	}
	_, err = c.PreAuthorize(t.Context(), dnsNames("*.early.example")[0])
	refused(t, err, acme.TypeMalformed, "wildcard")
}

func TestNewOrderRefuses(t *testing.T) {
	w := newWorld(t, func(c *acmeserver.Config) { c.MaxNames = 3; c.Challenges = []string{"http-01", "tls-alpn-01"} })
	c := w.client()
	for _, test := range []struct {
		name  string
		order acme.NewOrder
		typ   string
		words []string
	}{
		{"nothing", acme.NewOrder{}, acme.TypeMalformed, []string{"no identifiers"}},
		{"too many", acme.NewOrder{Identifiers: dnsNames("a.example", "b.example", "c.example", "d.example")}, acme.TypeRejectedIdentifier, []string{"3 are the limit"}},
		{"bad names", acme.NewOrder{Identifiers: dnsNames("good.example", "bad_.example", "10.0.0.1")}, acme.TypeRejectedIdentifier, []string{"bad_.example", "type ip"}},
		{"type", acme.NewOrder{Identifiers: []acme.Identifier{{Type: "email", Value: "a@b.example"}}}, acme.TypeUnsupportedIdentifier, []string{"dns or ip"}},
		{"mixed", acme.NewOrder{Identifiers: []acme.Identifier{{Type: "email", Value: "a@b.example"}, {Type: "dns", Value: "-"}}}, acme.TypeCompound, nil},
		{"address", acme.NewOrder{Identifiers: []acme.Identifier{{Type: "ip", Value: "169.254.0.1"}}}, acme.TypeRejectedIdentifier, []string{"link-local"}},
		{"wildcard without dns-01", acme.NewOrder{Identifiers: dnsNames("*.a.example")}, acme.TypeRejectedIdentifier, []string{"dns-01"}},
		{"profile", acme.NewOrder{Identifiers: dnsNames("a.example"), Profile: "gold"}, acme.TypeInvalidProfile, []string{"gold"}},
		{"profile not offered", acme.NewOrder{Identifiers: dnsNames("a.example"), Profile: "device"}, acme.TypeInvalidProfile, nil},
		{"too long", acme.NewOrder{Identifiers: dnsNames("a.example"), NotAfter: time.Now().Add(20000 * time.Hour)}, "", nil},
		{"replaces nonsense", acme.NewOrder{Identifiers: dnsNames("a.example"), Replaces: "x"}, acme.TypeMalformed, nil},
		{"replaces a stranger", acme.NewOrder{Identifiers: dnsNames("a.example"), Replaces: acme.FormatCertID([]byte{1}, []byte{1})}, acme.TypeMalformed, []string{"not issued here"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, err := c.NewOrder(t.Context(), test.order)
			if err == nil {
				t.Fatalf("got the order %+v", o)
			}
			if test.typ != "" {
				refused(t, err, test.typ, test.words...)
			}
		})
	}
}

func TestOrderLimit(t *testing.T) {
	w := newWorld(t, func(c *acmeserver.Config) {
		left := 1
		c.NewOrders = func(string, time.Time) (time.Duration, bool) { left--; return time.Minute, left >= 0 }
	})
	c := w.client()
	w.order(c, "a.example")
	_, err := c.NewOrder(t.Context(), acme.NewOrder{Identifiers: dnsNames("b.example")})
	refused(t, err, acme.TypeRateLimited)
	if p := acme.AsProblem(err); p.RetryAfter != time.Minute || p.Status != http.StatusTooManyRequests {
		t.Errorf("got %+v; want 429 and a minute", p)
	}
}

func TestOrderBelongsToItsAccount(t *testing.T) {
	w := newWorld(t, nil)
	c, other := w.client(), w.client()
	o := w.ready(c, "mine.example")
	_, err := other.Order(t.Context(), o.URL)
	refused(t, err, acme.TypeUnauthorized)
	_, err = other.Authorization(t.Context(), o.Authorizations[0])
	refused(t, err, acme.TypeUnauthorized)
	_, err = other.Finalize(t.Context(), o, csr(t, certKey(t), "", "mine.example"))
	refused(t, err, acme.TypeUnauthorized)
	_, err = other.DeactivateAuthorization(t.Context(), o.Authorizations[0])
	refused(t, err, acme.TypeUnauthorized)
	if o, err = c.Finalize(t.Context(), o, csr(t, certKey(t), "", "mine.example")); err != nil {
		t.Fatal(err)
	}
	_, err = other.Certificate(t.Context(), o.Certificate)
	refused(t, err, acme.TypeUnauthorized)
	if _, err = c.Certificate(t.Context(), o.Certificate); err != nil {
		t.Error(err)
	}
	for _, path := range []string{"/acme/order/nothing", "/acme/certificate/00", o.Certificate[len(w.base):] + "/7"} {
		_, err := c.Certificate(t.Context(), w.base+path)
		if p := acme.AsProblem(err); p == nil || p.Status != http.StatusNotFound {
			t.Errorf("%s gave %v; want 404", path, err)
		}
	}
}

func TestOrderEnds(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	pending, proven := w.order(c, "late.example"), w.ready(c, "proven.example")
	w.ahead.Add(int64(8 * 24 * time.Hour))
	for _, o := range []*acme.Order{pending, proven} {
		got, err := c.Order(t.Context(), o.URL)
		if err != nil || got.Status != acme.OrderInvalid || got.Error == nil {
			t.Errorf("an ended order is %+v, %v", got, err)
		}
	}
	if a, _ := w.pick(c, pending.Authorizations[0]); a.Status != acme.AuthorizationInvalid {
		t.Errorf("its pending authorisation is %s", a.Status)
	}
	_, err := c.Finalize(t.Context(), proven, csr(t, certKey(t), "", "proven.example"))
	refused(t, err, acme.TypeOrderNotReady, "expired")
}

func TestDeactivatedAuthorizationEndsTheOrder(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	o := w.ready(c, "given-up.example")
	a, err := c.DeactivateAuthorization(t.Context(), o.Authorizations[0])
	if err != nil || a.Status != acme.AuthorizationDeactivated {
		t.Fatalf("got %+v, %v", a, err)
	}
	if o, err = c.Order(t.Context(), o.URL); err != nil || o.Status != acme.OrderInvalid || o.Error == nil {
		t.Errorf("the order is %+v, %v", o, err)
	}
	if list := listAll(t, c); len(list) != 0 {
		t.Errorf("an invalid order is listed: %v", list)
	}
	if o = w.order(c, "given-up.example"); o.Status != acme.OrderPending {
		t.Errorf("a deactivated authorisation was used again: %s", o.Status)
	}
}

func TestOrderListPages(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	want := map[string]bool{}
	for n := range 205 {
		want[w.order(c, fmt.Sprintf("n%d.example", n)).URL] = true
	}
	for _, url := range listAll(t, c) {
		if !want[url] {
			t.Errorf("%s is listed twice or is no order", url)
		}
		delete(want, url)
	}
	if len(want) != 0 {
		t.Errorf("%d orders are not listed", len(want))
	}
}
