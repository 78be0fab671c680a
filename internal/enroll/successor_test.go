package enroll_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"chancery/acme"
	"chancery/caa"
	"chancery/internal/enroll"
	"chancery/internal/enroll/vault"
)

func bind(t *testing.T, c *client, external acme.ExternalAccount) {
	t.Helper()
	if err := c.vault.SetEAB(t.Context(), firstCA, external); err != nil {
		t.Fatal(err)
	}
}

// Credentials that the CA does not take cost nothing that worked: the account that is
// there serves for all that needs no binding.
func TestMistypedBinding(t *testing.T) {
	r := newRig(t, plain(1)...)
	r.set("shop.example", issue("ca1.test"))
	r.set("grand.example", issue("ca1.test", "validationmethods=ca-ev"))
	c := r.client("", func(c *enroll.Config) {
		c.Settings.CAs = []enroll.CA{{Label: "one", Issuers: []string{"ca1.test"}, Profiles: map[caa.Kind]string{caa.ExtendedValidation: "tls-server"}}}
	})
	first := c.get(t, enroll.Options{}, "shop.example").Issued.Account
	key, _ := accountKeys(t, c)

	right := credentials(t, r.houses[0].ca)
	wrong := right
	wrong.Key = []byte("this is not what the CA gave to the user")
	bind(t, c, wrong)
	out := c.get(t, enroll.Options{Force: true}, "shop.example")
	if out.Issued.Account != first || len(out.Warnings) != 1 || !strings.Contains(out.Warnings[0], wrong.KeyID) {
		t.Errorf("account %s, was %s; warnings %q", out.Issued.Account, first, out.Warnings)
	}
	if now, next := accountKeys(t, c); !sameKey(now, key) || next != nil || accountOf(t, c).URL != first {
		t.Error("the account that worked is not as it was")
	}
	// What does need a binding says what is wrong; so does a person's own try.
	if _, err := c.Get(t.Context(), sheet("grand.example"), enroll.Options{}); err == nil || r.houses[0].orders.Load() != 2 {
		t.Errorf("%d orders; without a binding: %v", r.houses[0].orders.Load(), err)
	}
	if _, _, err := c.Register(t.Context(), place(t, c, "one"), enroll.NewAccount{}); err == nil || accountOf(t, c).URL != first {
		t.Errorf("by hand: %v", err)
	}
	bind(t, c, right)
	out = c.get(t, enroll.Options{Force: true}, "shop.example")
	if now, _ := accountKeys(t, c); out.Issued.Account == first || accountOf(t, c).EABKeyID != right.KeyID || sameKey(now, key) {
		t.Errorf("with the right credentials: %+v", accountOf(t, c))
	}
	if kept, err := filepath.Glob(filepath.Join(c.vault.Dir(), "cas", "*", "account.key.retired-*")); err != nil || len(kept) != 1 {
		t.Errorf("the old account's key is not kept: %q, %v", kept, err)
	}
}

// The answer to newAccount is lost: the next run finds the account that was made.
func TestBindingIsCutOff(t *testing.T) {
	r := newRig(t, plain(1)...)
	r.set("shop.example", issue("ca1.test"))
	dir := t.TempDir() + "/vault"
	c := r.client(dir, func(c *enroll.Config) { c.Settings.Tries = 1 })
	first := c.get(t, enroll.Options{}, "shop.example").Issued.Account
	bind(t, c, credentials(t, r.houses[0].ca))
	made := ""
	r.houses[0].set(func(w http.ResponseWriter, req *http.Request) bool {
		if !strings.HasSuffix(req.URL.Path, "/new-account") {
			return false
		}
		lost := httptest.NewRecorder()
		r.houses[0].proxy.ServeHTTP(lost, req)
		made = lost.Header().Get("Location")
		w.WriteHeader(http.StatusBadGateway)
		return true
	})
	if _, err := c.Get(t.Context(), vault.Sheet{Names: []string{"shop.example"}}, enroll.Options{Force: true}); err == nil || made == "" || accountOf(t, c).URL != first {
		t.Fatalf("made %q: %v", made, err)
	}
	r.houses[0].set(nil)
	if out := r.client(dir).get(t, enroll.Options{Force: true}, "shop.example"); out.Issued.Account != made || made == first {
		t.Errorf("account %s, want %s", out.Issued.Account, made)
	}
}
