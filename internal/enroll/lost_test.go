package enroll_test

import (
	"testing"
	"time"

	"chancery/internal/enroll"
)

// A CA that was installed anew knows no account of before: one is made, with the key
// there is, and the certificate is renewed.
func TestCALostTheAccount(t *testing.T) {
	r := newRig(t, plain(1)...)
	r.set("shop.example", issue("ca1.test"))
	dir := t.TempDir() + "/vault"
	c := r.client(dir)
	before := c.get(t, enroll.Options{}, "shop.example").Issued
	key, _ := accountKeys(t, c)

	r.houses[0].install(t)
	r.serve(r.houses[0])
	c = r.client(dir) // which trusts the new root
	c.clock.add(25 * time.Hour)
	out := c.get(t, enroll.Options{Force: true}, "shop.example")
	if out.Issued.Account == before.Account || accountOf(t, c).URL != out.Issued.Account {
		t.Errorf("account %s, was %s", out.Issued.Account, before.Account)
	}
	if again, _ := accountKeys(t, c); !sameKey(key, again) {
		t.Error("the account has another key")
	}
	// A record that is bound to the old account is another matter: that one is gone.
	r.set("shop.example", issue("ca1.test", "accounturi="+before.Account))
	if _, err := c.Get(t.Context(), sheet("shop.example"), enroll.Options{Force: true}); err == nil {
		t.Error("a new account served for the one that the owner named")
	}
}
