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

// What an act rests on is seen to stand in the act's own transaction, and nothing is
// written when it does not.
func TestGrounds(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *sqldb.DB) {
		store, now := sqlstore.New(db), time.UnixMilli(1_800_000_000_000).UTC()
		by := ca.Principal{Room: "acme", ID: "one"}
		write := func() acmeserver.Write { return acmeserver.Write{Event: by.Event(now, "test", "x")} }
		account := acmeserver.Account{ID: "one", Key: []byte("{}"), Thumb: "t", Status: acme.AccountValid, CreatedAt: now}
		if _, _, err := store.CreateAccount(t.Context(), account, nil, write()); err != nil {
			t.Fatal(err)
		}
		name, err := ca.DNS("a.example")
		if err != nil {
			t.Fatal(err)
		}
		var proofs []acmeserver.Authorization
		for _, id := range []string{"p", "q"} {
			proofs = append(proofs, acmeserver.Authorization{ID: id, Account: "one", Identifier: name, Status: acme.AuthorizationValid, CreatedAt: now, Expires: now.Add(time.Hour)})
		}
		if err := store.CreateOrder(t.Context(), nil, proofs, write()); err != nil {
			t.Fatal(err)
		}
		holder := ca.Ground{Kind: acmeserver.GroundAccount, ID: "one"}
		proof := func(id string) ca.Ground { return ca.Ground{Kind: acmeserver.GroundAuthorization, ID: id} }
		intend := func(id string, grounds ...ca.Ground) error {
			serial, err := ca.ParseSerial("0" + id)
			if err != nil {
				t.Fatal(err)
			}
			once := &ca.Once{ID: []byte(id), Expires: now.Add(time.Hour), Grounds: grounds}
			_, err = store.Intend(t.Context(), ca.Intent{Serial: serial, Request: "acme:" + id, By: by, Profile: "tls-server", Issuer: "i",
				KeyHash: []byte(id), NotBefore: now, NotAfter: now.Add(time.Hour), At: now, Lease: now.Add(time.Minute), TBS: []byte("t"), Once: once,
				Event: by.Event(now, "certificate.intended", id)})
			return err
		}
		if err := intend("1", holder, proof("q"), proof("p"), proof("q")); err != nil {
			t.Fatal(err)
		}
		proofs[0].Status = acme.AuthorizationDeactivated
		if err := store.UpdateAuthorization(t.Context(), proofs[0], write()); err != nil {
			t.Fatal(err)
		}
		refused := func(id string, grounds ...ca.Ground) {
			t.Helper()
			for range 2 { // the token was not spent
				if err := intend(id, grounds...); !errors.Is(err, ca.ErrEnded) || ca.KindOf(err) != ca.Denied {
					t.Errorf("%s: %v", id, err)
				}
			}
			if _, err := store.ByRequest(t.Context(), "acme:"+id); ca.KindOf(err) != ca.NotFound {
				t.Errorf("%s: %v", id, err)
			}
		}
		refused("2", holder, proof("q"), proof("p"))
		if err := intend("3", holder, proof("q")); err != nil {
			t.Error(err)
		}
		account.Status = acme.AccountDeactivated
		if err := store.UpdateAccount(t.Context(), account, write()); err != nil {
			t.Fatal(err)
		}
		refused("4", holder, proof("q"))
		// What the store knows nothing of, it does not take for standing.
		if err := intend("5", ca.Ground{Kind: "est password", ID: "one"}); err == nil || ca.KindOf(err) != ca.Internal {
			t.Errorf("an unknown ground: %v", err)
		}
		if _, err := store.ByRequest(t.Context(), "acme:5"); ca.KindOf(err) != ca.NotFound {
			t.Errorf("it was written: %v", err)
		}
	})
}
