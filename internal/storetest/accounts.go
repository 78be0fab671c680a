package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/acmeserver"
	"chancery/internal/ca"
	"chancery/internal/registry"
)

// AccountsStore is what the ACME server's accounts need of a store.
type AccountsStore interface {
	acmeserver.Accounts
	registry.Store
}

// Accounts is the suite of the ACME accounts and the external keys they are
// opened with.
func Accounts(t *testing.T, s AccountsStore) {
	ctx := context.Background()
	t.Run("created once for a key", func(t *testing.T) { createdOnce(ctx, t, s) })
	t.Run("many at once", func(t *testing.T) { createdAtOnce(ctx, t, s) })
	t.Run("absent", func(t *testing.T) { absentAccount(ctx, t, s) })
	t.Run("updated while valid", func(t *testing.T) { updated(ctx, t, s) })
	t.Run("key changed", func(t *testing.T) { keyChanged(ctx, t, s) })
	t.Run("writes spend", func(t *testing.T) { writesSpend(ctx, t, s) })
	t.Run("pages", func(t *testing.T) { accountPages(ctx, t, s) })
	t.Run("external key used once", func(t *testing.T) { externalKeyOnce(ctx, t, s) })
	t.Run("external keys", func(t *testing.T) { externalKeys(ctx, t, s) })
}

// newAccount gives an account that nobody has.
func newAccount() acmeserver.Account {
	id := ca.NewID()
	return acmeserver.Account{
		ID: id, Key: json.RawMessage(fmt.Sprintf(`{"test":%q}`, id)), Thumb: "thumb-" + id, Status: acme.AccountValid,
		Contacts: []string{"mailto:a@example.org", "mailto:b@example.org"}, AgreedAt: base, CreatedAt: base,
	}
}

// write gives a fresh once and event.
func write() acmeserver.Write {
	return acmeserver.Write{
		Once:  &ca.Once{ID: []byte(ca.NewID()), Expires: base.Add(time.Hour)},
		Event: ca.Principal{Room: "test"}.Event(base, "account.changed", "x"),
	}
}

// mustCreate stores a new account.
func mustCreate(ctx context.Context, t *testing.T, s AccountsStore) acmeserver.Account {
	t.Helper()
	a, created, err := s.CreateAccount(ctx, newAccount(), nil, write())
	if err != nil || !created {
		t.Fatalf("CreateAccount gave %t, %v", created, err)
	}
	return a
}

func sameAccount(a, b acmeserver.Account) bool {
	return a.ID == b.ID && string(a.Key) == string(b.Key) && a.Thumb == b.Thumb && a.Status == b.Status &&
		slices.Equal(a.Contacts, b.Contacts) && a.AgreedAt.Equal(b.AgreedAt) && a.Binding == b.Binding &&
		string(a.BindingJWS) == string(b.BindingJWS) && a.CreatedAt.Equal(b.CreatedAt)
}

func createdOnce(ctx context.Context, t *testing.T, s AccountsStore) {
	a := mustCreate(ctx, t, s)
	for name, find := range map[string]func() (acmeserver.Account, error){
		"Account":        func() (acmeserver.Account, error) { return s.Account(ctx, a.ID) },
		"AccountByThumb": func() (acmeserver.Account, error) { return s.AccountByThumb(ctx, a.Thumb) },
	} {
		if got, err := find(); err != nil || !sameAccount(got, a) {
			t.Errorf("%s gave %+v, %v; want %+v", name, got, err, a)
		}
	}
	again := newAccount()
	again.Key, again.Thumb = a.Key, a.Thumb
	got, created, err := s.CreateAccount(ctx, again, nil, write())
	if err != nil || created || !sameAccount(got, a) {
		t.Errorf("the second account of a key gave %+v, %t, %v; want the first", got, created, err)
	}
	if _, err := s.Account(ctx, again.ID); ca.KindOf(err) != ca.NotFound {
		t.Errorf("the second account of a key was stored: %v", err)
	}
}

func createdAtOnce(ctx context.Context, t *testing.T, s AccountsStore) {
	first := newAccount()
	ids := make([]string, 8)
	createdBy := make([]bool, len(ids))
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			a := first
			a.ID = ca.NewID()
			stored, created, err := s.CreateAccount(ctx, a, nil, write())
			if err != nil {
				t.Error(err)
			}
			ids[i], createdBy[i] = stored.ID, created
		})
	}
	wg.Wait()
	n := 0
	for i := range ids {
		if createdBy[i] {
			n++
		}
		if ids[i] != ids[0] {
			t.Errorf("one key has the accounts %s and %s", ids[0], ids[i])
		}
	}
	if n != 1 {
		t.Errorf("%d calls say that they made the account; want 1", n)
	}
}

func absentAccount(ctx context.Context, t *testing.T, s AccountsStore) {
	if _, err := s.Account(ctx, "nobody"); ca.KindOf(err) != ca.NotFound {
		t.Errorf("Account gave %v", err)
	}
	if _, err := s.AccountByThumb(ctx, "nobody"); ca.KindOf(err) != ca.NotFound {
		t.Errorf("AccountByThumb gave %v", err)
	}
	if err := s.UpdateAccount(ctx, newAccount(), write()); ca.KindOf(err) != ca.Conflict {
		t.Errorf("UpdateAccount of an absent account gave %v", err)
	}
}

func updated(ctx context.Context, t *testing.T, s AccountsStore) {
	a := mustCreate(ctx, t, s)
	a.Contacts = nil
	if err := s.UpdateAccount(ctx, a, write()); err != nil {
		t.Fatal(err)
	}
	a.Status = acme.AccountDeactivated
	if err := s.UpdateAccount(ctx, a, write()); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Account(ctx, a.ID); err != nil || !sameAccount(got, a) {
		t.Errorf("the account came back as %+v, %v; want %+v", got, err, a)
	}
	back := a
	back.Status = acme.AccountValid
	if err := s.UpdateAccount(ctx, back, write()); ca.KindOf(err) != ca.Conflict {
		t.Errorf("a deactivated account was updated: %v", err)
	}
	changed := a
	changed.Thumb = "thumb-" + ca.NewID()
	if err := s.ChangeKey(ctx, changed, a.Thumb, write()); ca.KindOf(err) != ca.Conflict {
		t.Errorf("a deactivated account got another key: %v", err)
	}
}

func keyChanged(ctx context.Context, t *testing.T, s AccountsStore) {
	a, other := mustCreate(ctx, t, s), mustCreate(ctx, t, s)
	old := a.Thumb
	taken := a
	taken.Thumb, taken.Key = other.Thumb, other.Key
	if err := s.ChangeKey(ctx, taken, old, write()); ca.KindOf(err) != ca.Conflict {
		t.Errorf("the key of another account gave %v", err)
	}
	a.Thumb, a.Key = "thumb-"+ca.NewID(), json.RawMessage(`{"new":1}`)
	if err := s.ChangeKey(ctx, a, "thumb-wrong", write()); ca.KindOf(err) != ca.Conflict {
		t.Errorf("a wrong old key gave %v", err)
	}
	if err := s.ChangeKey(ctx, a, old, write()); err != nil {
		t.Fatal(err)
	}
	if got, err := s.AccountByThumb(ctx, a.Thumb); err != nil || !sameAccount(got, a) {
		t.Errorf("the account came back as %+v, %v", got, err)
	}
	if _, err := s.AccountByThumb(ctx, old); ca.KindOf(err) != ca.NotFound {
		t.Errorf("the old key still finds the account: %v", err)
	}
}

// writesSpend: whatever writes fails on a once that was spent, and leaves nothing.
func writesSpend(ctx context.Context, t *testing.T, s AccountsStore) {
	a := newAccount()
	w := write()
	if _, _, err := s.CreateAccount(ctx, a, nil, w); err != nil {
		t.Fatal(err)
	}
	replay := func() acmeserver.Write {
		next := write()
		next.Once = w.Once
		return next
	}
	fresh := newAccount()
	if _, _, err := s.CreateAccount(ctx, fresh, nil, replay()); ca.KindOf(err) != ca.Replayed {
		t.Errorf("CreateAccount with a spent once gave %v", err)
	}
	if _, err := s.Account(ctx, fresh.ID); ca.KindOf(err) != ca.NotFound {
		t.Errorf("a replayed CreateAccount left an account: %v", err)
	}
	changed := a
	changed.Contacts = nil
	if err := s.UpdateAccount(ctx, changed, replay()); ca.KindOf(err) != ca.Replayed {
		t.Errorf("UpdateAccount with a spent once gave %v", err)
	}
	changed.Thumb = "thumb-" + ca.NewID()
	if err := s.ChangeKey(ctx, changed, a.Thumb, replay()); ca.KindOf(err) != ca.Replayed {
		t.Errorf("ChangeKey with a spent once gave %v", err)
	}
	if got, err := s.Account(ctx, a.ID); err != nil || !sameAccount(got, a) {
		t.Errorf("replays left %+v, %v; want %+v", got, err, a)
	}
	// An administrator's write has no once.
	without := write()
	without.Once = nil
	if err := s.UpdateAccount(ctx, a, without); err != nil {
		t.Error(err)
	}
}

// newExternalKey stores an external key.
func newExternalKey(ctx context.Context, t *testing.T, s AccountsStore, expires time.Time) registry.Key {
	t.Helper()
	by := ca.Principal{Room: "admin", ID: "somebody"}
	k := registry.Key{ID: ca.NewID(), Label: "for a test", By: by, CreatedAt: base.Add(-time.Hour), ExpiresAt: expires, Sealed: []byte{0, 1, 255}}
	if err := s.CreateExternalKey(ctx, k, by.Event(base, "external-key.created", k.ID)); err != nil {
		t.Fatal(err)
	}
	return k
}

func externalKeyOnce(ctx context.Context, t *testing.T, s AccountsStore) {
	open := func(k registry.Key) (acmeserver.Account, error) {
		a := newAccount()
		a.Binding, a.BindingJWS = k.ID, json.RawMessage(`{"proof":1}`)
		_, _, err := s.CreateAccount(ctx, a, &acmeserver.Binding{ID: k.ID}, write())
		return a, err
	}
	k := newExternalKey(ctx, t, s, base.Add(time.Hour))
	a, err := open(k)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Account(ctx, a.ID); err != nil || !sameAccount(got, a) {
		t.Errorf("the account came back as %+v, %v; want %+v", got, err, a)
	}
	if got, err := s.ExternalKey(ctx, k.ID); err != nil || got.Account != a.ID || !got.UsedAt.Equal(a.CreatedAt) {
		t.Errorf("the used key came back as %+v, %v", got, err)
	}
	withdrawn := newExternalKey(ctx, t, s, time.Time{})
	if err := s.WithdrawExternalKey(ctx, withdrawn.ID, base, k.By.Event(base, "external-key.withdrawn", k.ID)); err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]registry.Key{
		"used": k, "withdrawn": withdrawn, "expired": newExternalKey(ctx, t, s, base), "unknown": {ID: "nothing"},
	} {
		a, err := open(key)
		if ca.KindOf(err) != ca.Conflict {
			t.Errorf("a key that is %s gave %v", name, err)
		}
		if _, err := s.Account(ctx, a.ID); ca.KindOf(err) != ca.NotFound {
			t.Errorf("a key that is %s opened an account: %v", name, err)
		}
	}
	// An existing account's key leaves the external key alone.
	spare := newExternalKey(ctx, t, s, time.Time{})
	a.ID = ca.NewID()
	if _, created, err := s.CreateAccount(ctx, a, &acmeserver.Binding{ID: spare.ID}, write()); created || err != nil {
		t.Errorf("an account that exists gave %t, %v", created, err)
	}
	if got, err := s.ExternalKey(ctx, spare.ID); err != nil || !got.UsedAt.IsZero() {
		t.Errorf("an account that exists used up a key: %+v, %v", got, err)
	}
}

func externalKeys(ctx context.Context, t *testing.T, s AccountsStore) {
	k := newExternalKey(ctx, t, s, base.Add(time.Hour))
	got, err := s.ExternalKey(ctx, k.ID)
	if err != nil || got.Label != k.Label || got.By != k.By || string(got.Sealed) != string(k.Sealed) ||
		!got.CreatedAt.Equal(k.CreatedAt) || !got.ExpiresAt.Equal(k.ExpiresAt) || !got.UsedAt.IsZero() || !got.WithdrawnAt.IsZero() || got.Account != "" {
		t.Errorf("the key came back as %#v, %v", got, err)
	}
	if _, err := s.ExternalKey(ctx, "nothing"); ca.KindOf(err) != ca.NotFound {
		t.Errorf("an unknown key gave %v", err)
	}
	all, _, err := s.ExternalKeyPage(ctx, registry.Page{Limit: 1000})
	if err != nil || !slices.ContainsFunc(all, func(o registry.Key) bool { return o.ID == k.ID }) {
		t.Errorf("the page gave %v, %v", all, err)
	}
	event := func() ca.Event { return k.By.Event(base, "external-key.withdrawn", k.ID) }
	if err := s.WithdrawExternalKey(ctx, k.ID, base, event()); err != nil {
		t.Fatal(err)
	}
	if err := s.WithdrawExternalKey(ctx, k.ID, base, event()); ca.KindOf(err) != ca.Conflict {
		t.Errorf("withdrawing twice gave %v", err)
	}
}
