package enroll_test

import (
	"strings"
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

// Somebody else is at the account of the first CA for too long: the second issues, and
// nothing is held against the first.
func TestAccountIsLocked(t *testing.T) {
	r := newRig(t, plain(2)...)
	r.set("shop.example", issue("ca1.test", "priority=1"), issue("ca2.test", "priority=2"))
	r.set("only.example", issue("ca1.test"))
	c := r.client("", func(c *enroll.Config) { c.Settings.Patience = time.Second })
	unlock, err := c.vault.LockCA(t.Context(), firstCA)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	out := c.get(t, enroll.Options{}, "shop.example")
	if out.Issued.Issuer != "ca2.test" || out.Attempts[0].Class != enroll.ClassSkipped {
		t.Errorf("%+v", out.Attempts)
	}
	if _, err := c.Get(t.Context(), sheet("only.example"), enroll.Options{}); err == nil || !strings.Contains(err.Error(), "at work on it") {
		t.Errorf("the only CA's account is locked: %v", err)
	}
	if known, err := c.vault.CA(firstCA); err != nil || known.Circuit.Failures != 0 || known.Incident != nil {
		t.Errorf("it counts against the CA: %+v, %v", known, err)
	}
}
