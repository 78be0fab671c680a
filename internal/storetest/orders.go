package storetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/acmeserver"
	"chancery/internal/ca"
)

// OrderStore is what the ACME server needs of a store for orders, and the ledger
// that tells which of them have a certificate.
type OrderStore interface {
	acmeserver.Orders
	acmeserver.Background
	ca.Ledger
}

// Orders is the suite of orders and authorisations.
func Orders(t *testing.T, s OrderStore) {
	ctx := context.Background()
	t.Run("create and find", func(t *testing.T) { createAndFind(ctx, t, s) })
	t.Run("nonce is spent with the order", func(t *testing.T) { orderOnce(ctx, t, s) })
	t.Run("one outcome", func(t *testing.T) { oneOutcome(ctx, t, s) })
	t.Run("valid authorizations", func(t *testing.T) { validAuthorizations(ctx, t, s) })
	t.Run("pages", func(t *testing.T) { orderPages(ctx, t, s) })
	t.Run("pages are bounded", func(t *testing.T) { orderPagesAreBounded(ctx, t, s) })
	t.Run("claim validations", func(t *testing.T) { claimValidations(ctx, t, s) })
	t.Run("held", func(t *testing.T) { heldAuthorizations(ctx, t, s) })
	t.Run("replacing", func(t *testing.T) { replacing(ctx, t, s) })
	t.Run("sweep", func(t *testing.T) { sweepEnded(ctx, t, s) })
}

func dnsName(t *testing.T, text string) ca.Identifier {
	t.Helper()
	name, err := ca.DNS(text)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// order makes an order and its authorisations; nothing is stored.
func order(t *testing.T, account string, names ...string) (*acmeserver.Order, []acmeserver.Authorization) {
	o := &acmeserver.Order{
		ID: ca.NewID(), Account: account, Profile: "tls-server", CreatedAt: base, Expires: base.Add(time.Hour),
		NotAfter: base.Add(48 * time.Hour),
	}
	var fresh []acmeserver.Authorization
	for _, n := range names {
		a := acmeserver.Authorization{
			ID: ca.NewID(), Account: account, Identifier: dnsName(t, n), Status: acme.AuthorizationPending,
			Token: "token", CreatedAt: base, Expires: o.Expires,
		}
		o.Identifiers = append(o.Identifiers, a.Identifier)
		o.Authorizations = append(o.Authorizations, a.ID)
		fresh = append(fresh, a)
	}
	return o, fresh
}

func orderWrite(id string) acmeserver.Write {
	return acmeserver.Write{Event: ca.Principal{Room: acmeserver.Room, ID: "account"}.Event(base, "order.created", id)}
}

func create(ctx context.Context, t *testing.T, s OrderStore, o *acmeserver.Order, fresh []acmeserver.Authorization) {
	t.Helper()
	if err := s.CreateOrder(ctx, o, fresh, orderWrite("x")); err != nil {
		t.Fatal(err)
	}
}

func createAndFind(ctx context.Context, t *testing.T, s OrderStore) {
	o, fresh := order(t, "finder", "a.example", "*.b.example")
	o.Replaces = "aa.bb"
	create(ctx, t, s, o, fresh)
	got, err := s.Order(ctx, o.ID)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(*o) {
		t.Fatalf("the order came back as\n%+v, %v; want\n%+v", got, err, *o)
	}
	slices.Reverse(o.Authorizations)
	list, err := s.Authorizations(ctx, o.Authorizations)
	if err != nil || len(list) != 2 || list[0].ID != fresh[1].ID || fmt.Sprint(list[1]) != fmt.Sprint(fresh[0]) {
		t.Fatalf("the authorisations came back as %+v, %v", list, err)
	}
	if _, err := s.Authorizations(ctx, []string{fresh[0].ID, "none"}); ca.KindOf(err) != ca.NotFound {
		t.Errorf("a missing authorisation gave %v", err)
	}
	if _, err := s.Order(ctx, "none"); ca.KindOf(err) != ca.NotFound {
		t.Errorf("a missing order gave %v", err)
	}
	alone := fresh[0]
	alone.ID = ca.NewID()
	create(ctx, t, s, nil, []acmeserver.Authorization{alone})
	if _, err := s.Authorizations(ctx, []string{alone.ID}); err != nil {
		t.Errorf("an authorisation without an order: %v", err)
	}
}

func orderOnce(ctx context.Context, t *testing.T, s OrderStore) {
	w := orderWrite("x")
	w.Once = &ca.Once{ID: []byte("order nonce"), Expires: base.Add(time.Hour)}
	o, fresh := order(t, "once", "once.example")
	if err := s.CreateOrder(ctx, o, fresh, w); err != nil {
		t.Fatal(err)
	}
	o, fresh = order(t, "once", "once.example")
	w.Event = orderWrite("y").Event
	if err := s.CreateOrder(ctx, o, fresh, w); ca.KindOf(err) != ca.Replayed {
		t.Fatalf("a spent nonce gave %v", err)
	}
	if _, err := s.Order(ctx, o.ID); ca.KindOf(err) != ca.NotFound {
		t.Errorf("the replayed order was stored: %v", err)
	}
}

func oneOutcome(ctx context.Context, t *testing.T, s OrderStore) {
	o, fresh := order(t, "outcome", "outcome.example")
	create(ctx, t, s, o, fresh)
	const writers = 10
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for n := range writers {
		wg.Go(func() {
			a := fresh[0]
			a.Status, a.Method, a.Attempts, a.Validated = acme.AuthorizationValid, "http-01", n, base
			a.Problem = acme.NewProblem(acme.TypeDNS, "attempt %d", n)
			err := s.UpdateAuthorization(ctx, a, orderWrite(a.ID))
			if err != nil && ca.KindOf(err) != ca.Conflict {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			}
		})
	}
	wg.Wait()
	list, err := s.Authorizations(ctx, o.Authorizations)
	if err != nil || won != 1 || list[0].Version != 1 || list[0].Status != acme.AuthorizationValid || !list[0].Validated.Equal(base) {
		t.Fatalf("%d of %d outcomes were stored: %+v, %v", won, writers, list, err)
	}
	if want := fmt.Sprintf("attempt %d", list[0].Attempts); list[0].Problem == nil || list[0].Problem.Detail != want {
		t.Errorf("the problem came back as %v, want %q", list[0].Problem, want)
	}
}

func validAuthorizations(ctx context.Context, t *testing.T, s OrderStore) {
	o, fresh := order(t, "holder", "one.example", "one.example", "two.example", "pending.example", "ended.example")
	for i := range fresh {
		fresh[i].Status, fresh[i].Expires = acme.AuthorizationValid, base.Add(time.Duration(i+1)*time.Hour)
	}
	fresh[3].Status, fresh[4].Expires = acme.AuthorizationPending, base
	create(ctx, t, s, o, fresh)
	got, err := s.ValidAuthorizations(ctx, "holder", o.Identifiers[1:], base)
	if err != nil || len(got) != 2 || got[0].ID != fresh[1].ID || got[1].ID != fresh[2].ID {
		t.Fatalf("got %+v, %v; want the later of one.example, and two.example", got, err)
	}
	if got, err = s.ValidAuthorizations(ctx, "other", o.Identifiers, base); err != nil || len(got) != 0 {
		t.Errorf("another account got %v, %v", got, err)
	}
}

func orderPages(ctx context.Context, t *testing.T, s OrderStore) {
	var want []string
	for n := range 7 {
		o, fresh := order(t, "pager", fmt.Sprintf("p%d.example", n))
		o.CreatedAt = base.Add(time.Duration(n/2) * time.Second) // some share their instant
		if n == 1 || n == 2 {
			o.Expires = base.Add(-time.Hour)
		}
		create(ctx, t, s, o, fresh)
		if n == 2 { // has ended, but with a certificate
			if _, err := s.Intend(ctx, Intent(o.RequestID())); err != nil {
				t.Fatal(err)
			}
		}
		if n != 1 {
			want = append(want, o.ID)
		}
	}
	var got []string
	q := acmeserver.OrderQuery{Account: "pager", Limit: 2, Now: base}
	for {
		page, next, err := s.OrderPage(ctx, q)
		if err != nil || len(page) > 2 || len(got) > 10 {
			t.Fatalf("page of %d, %v", len(page), err)
		}
		for _, o := range page {
			got = append(got, o.ID)
			if o.Issued != (o.ID == want[1]) {
				t.Errorf("order %s: issued is %v", o.ID, o.Issued)
			}
		}
		if q.Cursor = next; next == "" {
			break
		}
	}
	slices.Sort(want)
	sorted := slices.Sorted(slices.Values(got))
	if !slices.Equal(sorted, want) {
		t.Errorf("the pages have %v, want %v", sorted, want)
	}
	q.Cursor = "nonsense"
	if _, _, err := s.OrderPage(ctx, q); ca.KindOf(err) != ca.Invalid {
		t.Errorf("a made-up cursor gave %v", err)
	}
}

// orderPagesAreBounded: one page does not look through any number of orders that
// are not to be shown, and the pages together still have all that are.
func orderPagesAreBounded(ctx context.Context, t *testing.T, s OrderStore) {
	want, fresh := order(t, "hoarder", "shown.example")
	create(ctx, t, s, want, fresh)
	for n := range 50 {
		o, fresh := order(t, "hoarder", "hidden.example")
		o.CreatedAt, o.Expires = base.Add(time.Duration(n+1)*time.Second), base.Add(-time.Second)
		create(ctx, t, s, o, fresh)
	}
	q := acmeserver.OrderQuery{Account: "hoarder", Limit: 1, Now: base}
	page, next, err := s.OrderPage(ctx, q)
	if err != nil || len(page) != 0 || next == "" {
		t.Fatalf("got %v, %q, %v; want an empty page and where to go on", page, next, err)
	}
	var got []string
	for rounds := 0; next != ""; rounds++ {
		q.Cursor = next
		if page, next, err = s.OrderPage(ctx, q); err != nil || rounds > 50 {
			t.Fatal(err)
		}
		for _, o := range page {
			got = append(got, o.ID)
		}
	}
	if !slices.Equal(got, []string{want.ID}) {
		t.Errorf("the pages have %v; want %s", got, want.ID)
	}
}

func claimValidations(ctx context.Context, t *testing.T, s OrderStore) {
	o, fresh := order(t, "claimer", "lapsed.example", "leased.example", "idle.example")
	fresh[0].Processing, fresh[1].Processing = base.Add(-time.Second), base.Add(time.Second)
	create(ctx, t, s, o, fresh)
	until := base.Add(time.Minute)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var claimed []acmeserver.Authorization
	for range 5 {
		wg.Go(func() {
			got, err := s.ClaimValidations(ctx, base, until, 10)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			claimed = append(claimed, got...)
		})
	}
	wg.Wait()
	if len(claimed) != 1 || claimed[0].ID != fresh[0].ID || !claimed[0].Processing.Equal(until) || claimed[0].Version != 1 {
		t.Fatalf("five claims got %+v; want the lapsed one once", claimed)
	}
	if err := s.UpdateAuthorization(ctx, fresh[0], orderWrite("x")); ca.KindOf(err) != ca.Conflict {
		t.Errorf("the process that lost its lease could store: %v", err)
	}
	if err := s.UpdateAuthorization(ctx, claimed[0], orderWrite("x")); err != nil {
		t.Errorf("the process that claimed could not store: %v", err)
	}
}

func replacing(ctx context.Context, t *testing.T, s OrderStore) {
	o, fresh := order(t, "replacer", "r.example")
	o.Replaces = "key.serial"
	create(ctx, t, s, o, fresh)
	if got, err := s.Replacing(ctx, o.Replaces); err != nil || len(got) != 1 || got[0].ID != o.ID {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := s.Replacing(ctx, "key.other"); err != nil || len(got) != 0 {
		t.Errorf("another certificate: %v, %v", got, err)
	}
}

func sweepEnded(ctx context.Context, t *testing.T, s OrderStore) {
	ended, endedAuthz := order(t, "sweeper", "ended.example")
	issued, issuedAuthz := order(t, "sweeper", "issued.example")
	open, openAuthz := order(t, "sweeper", "open.example")
	open.Expires, openAuthz[0].Expires = base.Add(100*time.Hour), base.Add(100*time.Hour)
	issuedAuthz[0].Validated = base
	create(ctx, t, s, ended, endedAuthz)
	create(ctx, t, s, issued, issuedAuthz)
	create(ctx, t, s, open, openAuthz)
	if _, err := s.Intend(ctx, Intent(issued.RequestID())); err != nil {
		t.Fatal(err)
	}
	for rounds := 0; ; rounds++ { // other subtests' rows go as well
		n, err := s.Sweep(ctx, acmeserver.Ended{Before: base.Add(50 * time.Hour), Proofs: base.Add(-time.Hour), Limit: 3})
		if err != nil || rounds > 100 {
			t.Fatalf("round %d: %v", rounds, err)
		}
		if n == 0 {
			break
		}
	}
	for _, o := range []*acmeserver.Order{ended, issued, open} {
		_, orderErr := s.Order(ctx, o.ID)
		_, authzErr := s.Authorizations(ctx, o.Authorizations)
		if o == ended {
			if ca.KindOf(orderErr) != ca.NotFound || ca.KindOf(authzErr) != ca.NotFound {
				t.Errorf("the ended order stayed: %v, %v", orderErr, authzErr)
			}
		} else if orderErr != nil || authzErr != nil {
			t.Errorf("an order to be kept is gone: %v, %v", orderErr, authzErr)
		}
	}
	proofs := acmeserver.Ended{Proofs: issuedAuthz[0].Expires.Add(time.Millisecond), Limit: 100}
	if _, err := s.Sweep(ctx, proofs); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Authorizations(ctx, issued.Authorizations); ca.KindOf(err) != ca.NotFound {
		t.Errorf("the ended proof stayed: %v", err)
	}
	if _, err := s.Authorizations(ctx, open.Authorizations); err != nil {
		t.Errorf("what has not ended is gone: %v", err)
	}
}
