package sqlstore_test

import (
	"errors"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/acmeserver"
	"chancery/internal/ca"
	"chancery/internal/sqldb"
	"chancery/internal/sqlstore"
	"chancery/internal/storetest"
)

// An account's pending authorisations are counted where they are added, and the refusal
// tells when there will be room.
func TestMostPending(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *sqldb.DB) {
		store, now := sqlstore.New(db), time.UnixMilli(1_800_000_000_000).UTC()
		name, err := ca.DNS("a.example")
		if err != nil {
			t.Fatal(err)
		}
		add := func(account string, lives ...time.Duration) error {
			var fresh []acmeserver.Authorization
			for _, life := range lives {
				fresh = append(fresh, acmeserver.Authorization{
					ID: ca.NewID(), Account: account, Identifier: name, Status: acme.AuthorizationPending, Token: "t", CreatedAt: now, Expires: now.Add(life),
				})
			}
			by := ca.Principal{Room: "acme", ID: account}
			return store.CreateOrder(t.Context(), nil, fresh, acmeserver.Write{Event: by.Event(now, "authorization.created", "x"), MostPending: 3})
		}
		limited := func(after time.Duration, err error) {
			t.Helper()
			var e *ca.Error
			if !errors.As(err, &e) || e.Kind != ca.Limited || e.RetryAfter != after {
				t.Errorf("%v; want a refusal for %s and not %s", err, after, e.RetryAfter)
			}
		}
		for _, lives := range [][]time.Duration{{-time.Hour, time.Hour, 2 * time.Hour}, {3 * time.Hour}} {
			if err := add("one", lives...); err != nil {
				t.Fatal(err)
			}
		}
		limited(time.Hour, add("one", time.Hour))
		limited(2*time.Hour, add("one", time.Hour, time.Hour))
		limited(0, add("one", time.Hour, time.Hour, time.Hour, time.Hour))
		if err := add("other", time.Hour, time.Hour, time.Hour); err != nil {
			t.Error(err)
		}
		now = now.Add(time.Hour + time.Second)
		if err := add("one", time.Hour); err != nil {
			t.Error(err)
		}
	})
}
