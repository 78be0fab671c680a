package enroll_test

import (
	"errors"
	"slices"
	"testing"

	"chancery/acme"
	"chancery/internal/enroll"
	"chancery/internal/enroll/vault"
	"chancery/testca"
)

// A binding of the settings serves where none was entered by hand, is never kept in the
// vault, and comes behind one that was entered.
func TestBindingOfTheSettings(t *testing.T) {
	r := newRig(t, []testca.Option{testca.RequireEAB()})
	given := credentials(t, r.houses[0].ca)
	r.set("a.test", issue("ca1.test"))
	settings := func(c *enroll.Config) {
		c.EAB = func(who ...string) (*acme.ExternalAccount, error) {
			if slices.Contains(who, "ca1.test") {
				return &given, nil
			}
			return nil, vault.ErrNone
		}
	}
	c := r.client("", settings)
	c.get(t, enroll.Options{}, "a.test")
	if account(t, c).EABKeyID != given.KeyID {
		t.Errorf("the account is not bound by the settings' key")
	}
	if _, err := c.vault.EAB("ca1.test"); !errors.Is(err, vault.ErrNone) {
		t.Errorf("the vault keeps it: %v", err)
	}
	entered := r.client("", settings)
	other := credentials(t, r.houses[0].ca)
	if err := entered.vault.SetEAB(t.Context(), "ca1.test", other); err != nil {
		t.Fatal(err)
	}
	entered.get(t, enroll.Options{}, "a.test")
	if got := account(t, entered).EABKeyID; got != other.KeyID || got == given.KeyID {
		t.Errorf("bound by %s, not by the entered %s", got, other.KeyID)
	}
}

func account(t *testing.T, c *client) *vault.Account {
	t.Helper()
	all, err := c.vault.CAs()
	if err != nil || len(all) != 1 || all[0].Account == nil {
		t.Fatalf("%+v, %v", all, err)
	}
	return all[0].Account
}
