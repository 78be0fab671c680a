package storetest

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"chancery/internal/acmeserver"
	"chancery/internal/ca"
	"chancery/internal/registry"
)

// Registry is the suite of what the registry and the ACME accounts share: keys
// that are counted where accounts are made, and accounts that are bound there.
func Registry(t *testing.T, s AccountsStore) {
	ctx := context.Background()
	t.Run("key for several accounts", func(t *testing.T) { severalUses(ctx, t, s) })
	t.Run("key for many accounts", func(t *testing.T) { manyUses(ctx, t, s) })
	t.Run("key of a customer binds", func(t *testing.T) { keyBinds(ctx, t, s) })
	t.Run("questions have conditions", func(t *testing.T) { questions(ctx, t, s) })
	t.Run("lists are by customer", func(t *testing.T) { customersApart(ctx, t, s) })
}

var registrar = ca.Principal{Room: "admin", ID: "somebody"}

func keyFor(ctx context.Context, t *testing.T, s AccountsStore, k registry.Key) registry.Key {
	t.Helper()
	k.ID, k.Label, k.By, k.CreatedAt, k.Sealed = ca.NewID(), "for a test", registrar, base, []byte{1}
	if err := s.CreateExternalKey(ctx, k, registrar.Event(base, "external-key.created", k.ID)); err != nil {
		t.Fatal(err)
	}
	return k
}

// openWith opens an account with a key.
func openWith(ctx context.Context, s AccountsStore, key string) (acmeserver.Account, error) {
	a := newAccount()
	a.Binding, a.BindingJWS = key, json.RawMessage(`{"proof":1}`)
	_, _, err := s.CreateAccount(ctx, a, &acmeserver.Binding{ID: key}, write())
	return a, err
}

func severalUses(ctx context.Context, t *testing.T, s AccountsStore) {
	k := keyFor(ctx, t, s, registry.Key{Most: 3})
	var wg sync.WaitGroup
	var mu sync.Mutex
	opened := map[string]bool{}
	for range 8 {
		wg.Go(func() {
			a, err := openWith(ctx, s, k.ID)
			switch ca.KindOf(err) {
			case "":
				mu.Lock()
				opened[a.ID] = true
				mu.Unlock()
			case ca.Conflict:
				if _, err := s.Account(ctx, a.ID); ca.KindOf(err) != ca.NotFound {
					t.Errorf("a key that is used up opened an account: %v", err)
				}
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	accounts, err := s.KeyAccounts(ctx, k.ID)
	if err != nil || len(opened) != 3 || len(accounts) != 3 || !opened[accounts[0]] || !opened[accounts[1]] || !opened[accounts[2]] {
		t.Errorf("a key for three opened %v and tells of %v, %v", opened, accounts, err)
	}
	got, err := s.ExternalKey(ctx, k.ID)
	if err != nil || got.Uses != 3 || got.Most != 3 || !opened[got.Account] || got.State(base) != registry.Used {
		t.Errorf("the key came back as %+v, %v", got, err)
	}
	if err := s.WithdrawExternalKey(ctx, k.ID, base, registrar.Event(base, "external-key.withdrawn", k.ID)); ca.KindOf(err) != ca.Conflict {
		t.Errorf("withdrawing a key that is used up gave %v", err)
	}
}

func manyUses(ctx context.Context, t *testing.T, s AccountsStore) {
	k := keyFor(ctx, t, s, registry.Key{Most: registry.Many, Algorithm: "HS512"})
	for range 3 {
		if _, err := openWith(ctx, s, k.ID); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.ExternalKey(ctx, k.ID)
	if err != nil || got.Uses != 3 || got.State(base) != registry.InUse || !got.Usable(base) || !got.Takes("HS512") || got.Takes("HS256") {
		t.Errorf("the key came back as %+v, %v", got, err)
	}
	if err := s.WithdrawExternalKey(ctx, k.ID, base, registrar.Event(base, "external-key.withdrawn", k.ID)); err != nil {
		t.Fatal(err)
	}
	if _, err := openWith(ctx, s, k.ID); ca.KindOf(err) != ca.Conflict {
		t.Errorf("a key that was withdrawn gave %v", err)
	}
	if accounts, err := s.KeyAccounts(ctx, k.ID); err != nil || len(accounts) != 3 {
		t.Errorf("its accounts: %v, %v", accounts, err)
	}
}

func newCustomer(ctx context.Context, t *testing.T, s AccountsStore) registry.Customer {
	t.Helper()
	c := registry.Customer{ID: ca.NewID(), Name: "Example Ltd.", State: registry.Active, By: registrar, CreatedAt: base}
	if err := s.CreateCustomer(ctx, c, registrar.Event(base, "customer.added", c.ID)); err != nil {
		t.Fatal(err)
	}
	return c
}

func keyBinds(ctx context.Context, t *testing.T, s AccountsStore) {
	c := newCustomer(ctx, t, s)
	k := keyFor(ctx, t, s, registry.Key{Most: registry.Many, Customer: c.ID})
	a, err := openWith(ctx, s, k.ID)
	if err != nil {
		t.Fatal(err)
	}
	found, err := s.Bindings(ctx, registry.BindingQuery{Account: a.ID, Limit: 10, Now: base})
	if err != nil || len(found) != 1 {
		t.Fatalf("bindings: %+v, %v", found, err)
	}
	if b := found[0]; b.Via != registry.ViaEAB || b.State != registry.Confirmed || b.Customer != c.ID || b.CustomerName != c.Name ||
		b.DecidedBy != registrar || !b.DecidedAt.Equal(a.CreatedAt) {
		t.Errorf("the binding is %+v", b)
	}
	// An account that exists is not bound by showing a key.
	plain := mustCreate(ctx, t, s)
	if _, created, err := s.CreateAccount(ctx, plain, &acmeserver.Binding{ID: k.ID}, write()); created || err != nil {
		t.Errorf("an account that exists gave %t, %v", created, err)
	}
	if found, err := s.Bindings(ctx, registry.BindingQuery{Account: plain.ID, Limit: 10, Now: base}); err != nil || len(found) != 0 {
		t.Errorf("an account that exists was bound: %+v, %v", found, err)
	}
	if err := s.SetSuspended(ctx, c.ID, base, registrar.Event(base, "customer.suspended", c.ID)); err != nil {
		t.Fatal(err)
	}
	if got, err := s.ExternalKey(ctx, k.ID); err != nil || got.State(base) != registry.Stopped || got.Usable(base) {
		t.Errorf("the key of a suspended customer came back as %+v, %v", got, err)
	}
	if _, err := openWith(ctx, s, k.ID); ca.KindOf(err) != ca.Conflict {
		t.Errorf("a suspended customer's key gave %v", err)
	}
}

func customersApart(ctx context.Context, t *testing.T, s AccountsStore) {
	a, b := newCustomer(ctx, t, s), newCustomer(ctx, t, s)
	for _, c := range []registry.Customer{a, b} {
		change := registry.ContactChange{Customer: c.ID, Address: "x@" + c.ID + ".example", CodeUntil: base.Add(time.Hour)}
		if err := s.AddContact(ctx, change, registrar.Event(base, "contact.added", c.ID)); err != nil {
			t.Fatal(err)
		}
		v := registry.Vetting{Kind: "ca-ov", Subject: registry.Subject{Organization: "O " + c.ID, Country: "DE", Locality: "L", Province: "P", Serial: "S", Category: "Business Entity", Jurisdiction: "AT"},
			Until: base.Add(time.Hour), By: registrar, At: base}
		for range 2 { // the second replaces the first
			if err := s.SetVetting(ctx, c.ID, v, registrar.Event(base, "customer.vetted", c.ID)); err != nil {
				t.Fatal(err)
			}
		}
	}
	all, _, err := s.CustomerPage(ctx, registry.Page{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, c := range all {
		if c.ID != a.ID && c.ID != b.ID {
			continue
		}
		seen++
		if len(c.Contacts) != 1 || c.Contacts[0].Address != "x@"+c.ID+".example" || !c.Contacts[0].VerifiedAt.IsZero() ||
			len(c.Vettings) != 1 || c.Vettings[0].Subject != (registry.Subject{Organization: "O " + c.ID, Country: "DE", Locality: "L", Province: "P", Serial: "S", Category: "Business Entity", Jurisdiction: "AT"}) || !c.Vettings[0].Until.Equal(base.Add(time.Hour)) {
			t.Errorf("a customer came back as %+v", c)
		}
		if one, err := s.Customer(ctx, c.ID); err != nil || one.Name != c.Name || len(one.Contacts) != 1 || len(one.Vettings) != 1 {
			t.Errorf("one customer came back as %+v, %v", one, err)
		}
	}
	if seen != 2 {
		t.Errorf("%d of two customers in the list", seen)
	}
	if _, err := s.Customer(ctx, "nobody"); ca.KindOf(err) != ca.NotFound {
		t.Errorf("an unknown customer gave %v", err)
	}
}

// The store itself keeps to the conditions, whatever was read before.
func questions(ctx context.Context, t *testing.T, s AccountsStore) {
	c := newCustomer(ctx, t, s)
	ask := func(account string, at time.Time) (registry.Binding, error) {
		b := registry.Binding{ID: ca.NewID(), Account: account, AccountURL: "https://x", Customer: c.ID, Via: registry.ViaAdmin,
			State: registry.Pending, AskedAt: at, ExpiresAt: at.Add(time.Hour)}
		q := registry.Question{Binding: b, RefusedSince: at.Add(-24 * time.Hour), Since: at.Add(-24 * time.Hour), PerCustomer: 3, PerContact: 3}
		return b, s.Ask(ctx, q, registrar.Event(at, "binding.asked", b.ID))
	}
	decide := func(b registry.Binding, state registry.BindingState, at time.Time) error {
		b.State, b.DecidedAt, b.DecidedBy = state, at, registrar
		return s.Decide(ctx, b, registrar.Event(at, "binding.decided", b.ID))
	}
	account := ca.NewID()
	want := func(what string, kind ca.Kind, err error) {
		t.Helper()
		if ca.KindOf(err) != kind {
			t.Errorf("%s gave %v, want %q", what, err, kind)
		}
	}
	first, err := ask(account, base)
	want("a question", "", err)
	_, err = ask(account, base.Add(time.Minute))
	want("an open question", ca.Conflict, err)
	want("a decision when the time is over", ca.Conflict, decide(first, registry.Confirmed, base.Add(time.Hour)))
	second, err := ask(account, base.Add(time.Hour))
	want("a question after the time", "", err)
	want("a late decision on the first", ca.Conflict, decide(first, registry.Refused, base))
	want("a refusal", "", decide(second, registry.Refused, base.Add(time.Hour)))
	want("a second decision", ca.Conflict, decide(second, registry.Confirmed, base.Add(time.Hour)))
	_, err = ask(account, base.Add(24*time.Hour))
	want("a question within a day of the refusal", ca.Conflict, err)
	other, err := ask(ca.NewID(), base.Add(time.Hour))
	want("another account's", "", err)
	_, err = ask(ca.NewID(), base.Add(time.Hour))
	want("one too many", ca.Conflict, err)
	want("suspending", "", s.SetSuspended(ctx, c.ID, base, registrar.Event(base, "customer.suspended", c.ID)))
	want("confirming for a suspended customer", ca.Denied, decide(other, registry.Confirmed, base.Add(time.Hour)))
	want("refusing for a suspended customer", "", decide(other, registry.Refused, base.Add(time.Hour)))
}
