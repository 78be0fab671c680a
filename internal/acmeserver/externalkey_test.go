package acmeserver_test

import (
	"context"
	"strings"
	"testing"

	"chancery/acme"
	"chancery/internal/acmeserver"
	"chancery/internal/ca"
	"chancery/internal/registry"
)

// A key may be for one algorithm alone, for several accounts, and of a customer,
// to whom they are bound then.
func TestKeyOfCustomer(t *testing.T) {
	d := newDesk(t, func(c *acmeserver.Config) { c.RequireEAB = true })
	ctx := context.Background()
	by := ca.Principal{Room: "admin", ID: "test"}
	customer, err := d.registry.AddCustomer(ctx, by, "Example Ltd.")
	if err != nil {
		t.Fatal(err)
	}
	var made acmeserver.KeyMade
	if err := operate(t, d, "eab.create", acmeserver.KeyWanted{Customer: customer.ID, Uses: 2, Algorithm: acme.HS384}, &made); err != nil {
		t.Fatal(err)
	}
	if made.Uses != 2 || made.Algorithm != acme.HS384 || made.Customer != customer.ID {
		t.Errorf("made: %+v", made)
	}
	key, err := d.registry.Key(ctx, made.ID)
	if err != nil {
		t.Fatal(err)
	}
	open := func(algorithm string) (string, error) {
		eab := acme.ExternalAccount{KeyID: key.ID, Key: key.Secret, Algorithm: algorithm}
		a, err := d.stranger().Register(ctx, acme.Registration{EAB: &eab})
		if err != nil {
			return "", err
		}
		return a.URL[strings.LastIndexByte(a.URL, '/')+1:], nil
	}
	for _, algorithm := range []string{acme.HS256, acme.HS512} {
		if _, err := open(algorithm); !acme.HasType(err, acme.TypeUnauthorized) || !strings.Contains(err.Error(), acme.HS384) {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
	for range 2 {
		account, err := open(acme.HS384)
		if err != nil {
			t.Fatal(err)
		}
		b, err := d.registry.BindingOf(ctx, account)
		if err != nil || b.Via != registry.ViaEAB || b.Customer != customer.ID {
			t.Errorf("the account is bound: %+v, %v", b, err)
		}
	}
	if _, err := open(acme.HS384); !acme.HasType(err, acme.TypeUnauthorized) {
		t.Errorf("a key for two accounts opened a third: %v", err)
	}
	var shown acmeserver.KeyShown
	if err := operate(t, d, "eab.show", acmeserver.Named{ID: made.ID}, &shown); err != nil || len(shown.Accounts) != 2 || shown.State != registry.Used ||
		shown.Uses != 2 || shown.Name != "Example Ltd." {
		t.Errorf("shown: %+v, %v", shown, err)
	}
	if err := operate(t, d, "eab.show", acmeserver.Named{ID: "nothing"}, &shown); err == nil {
		t.Error("an unknown key was shown")
	}
}

// A suspended customer's key opens nothing.
func TestKeyOfSuspendedCustomer(t *testing.T) {
	d := newDesk(t, func(c *acmeserver.Config) { c.RequireEAB = true })
	ctx := context.Background()
	by := ca.Principal{Room: "admin", ID: "test"}
	customer, err := d.registry.AddCustomer(ctx, by, "Example Ltd.")
	if err != nil {
		t.Fatal(err)
	}
	key, err := d.registry.CreateKey(ctx, registry.Order{By: by, Customer: customer.ID, Uses: registry.Many})
	if err != nil {
		t.Fatal(err)
	}
	eab := acme.ExternalAccount{KeyID: key.ID, Key: key.Secret}
	if err := d.registry.Suspend(ctx, by, customer.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := d.stranger().Register(ctx, acme.Registration{EAB: &eab}); !acme.HasType(err, acme.TypeUnauthorized) {
		t.Errorf("a suspended customer's key: %v", err)
	}
	if err := d.registry.Resume(ctx, by, customer.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := d.stranger().Register(ctx, acme.Registration{EAB: &eab}); err != nil {
		t.Errorf("served again: %v", err)
	}
}
