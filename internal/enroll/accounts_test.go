package enroll_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"chancery/acme"
	"chancery/internal/enroll"
	"chancery/internal/enroll/vault"
	"chancery/testca"
)

const firstCA = "https://ca1.test/.well-known/acme"

func place(t *testing.T, c *client, who string) enroll.Place {
	t.Helper()
	p, err := c.Place(t.Context(), who)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// accountOf gives the account in the vault; the test fails if there is none.
func accountOf(t *testing.T, c *client) vault.Account {
	t.Helper()
	known, err := c.vault.CA(firstCA)
	if err != nil || known.Account == nil {
		t.Fatalf("no account: %+v, %v", known, err)
	}
	return *known.Account
}

func accountKeys(t *testing.T, c *client) (key, next crypto.Signer) {
	t.Helper()
	key, next, err := c.vault.AccountKeys(firstCA)
	if err != nil {
		t.Fatal(err)
	}
	return key, next
}

func sameKey(a, b crypto.Signer) bool {
	return a.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(b.Public())
}

func TestAccountByHand(t *testing.T) {
	r := newRig(t, []testca.Option{testca.Terms("https://ca1.test/terms/1")})
	c := r.client("")
	at := place(t, c, "CA1.test.")
	var failed *enroll.AccountError
	if _, _, err := c.Register(t.Context(), at, enroll.NewAccount{}); !errors.As(err, &failed) || !strings.Contains(err.Error(), "terms/1") || !strings.Contains(err.Error(), "--agree-tos") {
		t.Fatalf("nobody agreed, for CAA did not name it: %v", err)
	}
	if _, err := c.Update(t.Context(), at, nil); !errors.Is(err, vault.ErrNone) {
		t.Errorf("an account that is not there was updated: %v", err)
	}
	ca, made, err := c.Register(t.Context(), at, enroll.NewAccount{Contacts: []string{"mailto:a@shop.example"}, AgreeTerms: true})
	if err != nil || !made || !slices.Equal(ca.Account.Contacts, []string{"mailto:a@shop.example"}) || len(ca.Terms) != 1 || ca.Terms[0].Basis != "--agree-tos" || ca.Terms[0].Agreed.IsZero() {
		t.Fatalf("%+v, %t, %v", ca, made, err)
	}
	if len(c.heard(enroll.EventTerms)) == 0 {
		t.Error("the terms were not shown")
	}
	url := ca.Account.URL
	if ca, made, err = c.Register(t.Context(), at, enroll.NewAccount{AgreeTerms: true}); err != nil || made || ca.Account.URL != url {
		t.Errorf("again: %+v, %t, %v", ca.Account, made, err)
	}
	if ca, err = c.Update(t.Context(), at, []string{"mailto:b@shop.example"}); err != nil || !slices.Equal(ca.Account.Contacts, []string{"mailto:b@shop.example"}) {
		t.Errorf("updated: %+v, %v", ca.Account, err)
	}
	old, _ := accountKeys(t, c)
	if ca, err = c.Rollover(t.Context(), at, "ecdsa-p384"); err != nil || ca.Account.URL != url || ca.Account.KeyType != "ecdsa-p384" || len(ca.Account.Contacts) != 1 {
		t.Errorf("rolled over: %+v, %v", ca.Account, err)
	}
	if key, next := accountKeys(t, c); next != nil || sameKey(key, old) {
		t.Error("the key is as it was, or a change is still under way")
	}
	r.set("shop.example", issue("ca1.test"))
	if out := c.get(t, enroll.Options{}, "shop.example"); out.Issued.Account != url {
		t.Errorf("the new key's account is %s, want %s", out.Issued.Account, url)
	}
	if ca, err = c.Deactivate(t.Context(), at); err != nil || ca.Account != nil || len(ca.Terms) != 1 {
		t.Errorf("deactivated: %+v, %v", ca, err)
	}
	if _, err := c.vault.AccountKey(firstCA); !errors.Is(err, vault.ErrNone) {
		t.Errorf("its key is still there: %v", err)
	}
	if ca, made, err := c.Register(t.Context(), at, enroll.NewAccount{AgreeTerms: true}); err != nil || !made || ca.Account.URL == url {
		t.Errorf("anew: %+v, %t, %v", ca.Account, made, err)
	}
	// As after a crash behind the deactivation: the account is over and the key still here.
	key, _ := accountKeys(t, c)
	over := &acme.Client{Directory: r.houses[0].ca.Directory, HTTP: r.houses[0].ca.HTTP(), Key: key, AccountURL: accountOf(t, c).URL}
	if _, err := over.Deactivate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Deactivate(t.Context(), at); !errors.As(err, &failed) || !strings.Contains(err.Error(), "account remove") {
		t.Errorf("deactivated twice: %v", err)
	}
	if err := c.Forget(t.Context(), at); err != nil {
		t.Error(err)
	}
	if err := c.Forget(t.Context(), at); !errors.Is(err, vault.ErrNone) {
		t.Errorf("forgotten twice: %v", err)
	}
}

// Wherever a change of keys is cut off, the account is found again by one of the two.
func TestRolloverCutOff(t *testing.T) {
	r := newRig(t, plain(1)...)
	r.set("shop.example", issue("ca1.test"))
	h := r.houses[0]
	passOn := func(req *http.Request) {
		forward, err := http.NewRequestWithContext(req.Context(), req.Method, h.ca.Base+req.URL.Path, req.Body)
		if err == nil {
			forward.Header = req.Header.Clone()
			if res, err := h.ca.HTTP().Do(forward); err == nil {
				res.Body.Close()
			}
		}
	}
	for name, taken := range map[string]bool{"the answer is lost": true, "the request is lost": false} {
		t.Run(name, func(t *testing.T) {
			c := r.client("")
			at := place(t, c, "ca1.test")
			if _, _, err := c.Register(t.Context(), at, enroll.NewAccount{}); err != nil {
				t.Fatal(err)
			}
			url := accountOf(t, c).URL
			old, _ := accountKeys(t, c)
			h.set(func(_ http.ResponseWriter, req *http.Request) bool {
				if !strings.Contains(req.URL.Path, "key-change") {
					return false
				}
				if taken {
					passOn(req)
				}
				panic(http.ErrAbortHandler)
			})
			_, err := c.Rollover(t.Context(), at, "")
			h.reset()
			if _, next := accountKeys(t, c); err == nil || next == nil || !strings.Contains(err.Error(), "not known") {
				t.Fatalf("the change is said to be decided: %v, next %v", err, next)
			}
			if rep, err := c.Account(t.Context(), at); err != nil || !rep.Unfinished {
				t.Errorf("%+v, %v", rep, err)
			}
			again := r.client(c.vault.Dir())
			if out := again.get(t, enroll.Options{}, "shop.example"); out.Issued.Account != url {
				t.Errorf("the account is %s, want %s", out.Issued.Account, url)
			}
			if key, next := accountKeys(t, again); next != nil || sameKey(key, old) == taken {
				t.Errorf("the CA took the key: %t; the old one stayed: %t, and the next: %v", taken, sameKey(key, old), next)
			}
		})
	}
}

func TestImportedAccount(t *testing.T) {
	r := newRig(t, plain(1)...)
	r.set("shop.example", issue("ca1.test"))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := r.client("")
	at := place(t, c, firstCA)
	if _, err := c.Import(t.Context(), at, key); !errors.Is(err, vault.ErrNone) {
		t.Fatalf("a key of nobody was taken: %v", err)
	}
	if _, err := c.vault.AccountKey(firstCA); !errors.Is(err, vault.ErrNone) {
		t.Errorf("and kept: %v", err)
	}
	if err := c.vault.SetEAB(t.Context(), firstCA, credentials(t, r.houses[0].ca)); err != nil { // it replaces no imported account
		t.Fatal(err)
	}
	other := &acme.Client{Directory: r.houses[0].ca.Directory, HTTP: r.houses[0].ca.HTTP(), Key: key}
	made, err := other.Register(t.Context(), acme.Registration{AgreeTerms: true, Contacts: []string{"mailto:x@shop.example"}})
	if err != nil {
		t.Fatal(err)
	}
	ca, err := c.Import(t.Context(), at, key)
	if err != nil || ca.Account.URL != made.URL || len(ca.Account.Contacts) != 1 || ca.Account.KeyType != "ecdsa-p256" {
		t.Fatalf("%+v, %v", ca.Account, err)
	}
	if out := c.get(t, enroll.Options{}, "shop.example"); out.Issued.Account != made.URL {
		t.Errorf("%s issued to %s", made.URL, out.Issued.Account)
	}
	if _, err := c.Import(t.Context(), at, key); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("imported twice: %v", err)
	}
}

func TestRevokedIsReplacedWithAnotherKey(t *testing.T) {
	r := newRig(t, plain(1)...)
	r.set("shop.example", issue("ca1.test"))
	c := r.client("")
	s := sheet("shop.example")
	s.ReuseKey = true
	if _, err := c.Get(t.Context(), s, enroll.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, byKey := range []bool{false, true} {
		before, err := c.vault.CurrentBundle("shop.example")
		if err != nil {
			t.Fatal(err)
		}
		if byKey { // the account is not needed
			if err := c.Forget(t.Context(), place(t, c, "ca1.test")); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Revoke(t.Context(), "shop.example", enroll.Revocation{}); err == nil || !strings.Contains(err.Error(), "--by-key") {
				t.Errorf("without an account: %v", err)
			}
		}
		for range 2 { // the second finds it revoked
			rec, err := c.Revoke(t.Context(), "shop.example", enroll.Revocation{Reason: 1, ByKey: byKey})
			if err != nil || rec.Revoked.IsZero() {
				t.Fatalf("by key %t: %+v, %v", byKey, rec.Revoked, err)
			}
		}
		out, err := c.Renew(t.Context(), "shop.example", enroll.Options{})
		if err != nil || out.Result != enroll.Issued {
			t.Fatalf("a revoked certificate was not replaced: %v, %v", out.Result, err)
		}
		after, err := c.vault.CurrentBundle("shop.example")
		if err != nil || sameKey(before.Key, after.Key) {
			t.Errorf("by key %t: the revoked key is used again, %v", byKey, err)
		}
		if now := rec(t, c, "shop.example"); !now.Revoked.IsZero() {
			t.Error("the new certificate is marked as revoked")
		}
	}
	if _, err := c.Revoke(t.Context(), "other.example", enroll.Revocation{}); !errors.Is(err, vault.ErrNone) {
		t.Errorf("a certificate that is not there: %v", err)
	}
}

func TestWrongCredentialsAreSaid(t *testing.T) {
	r := newRig(t, []testca.Option{testca.RequireEAB()})
	c := r.client("")
	at := place(t, c, "ca1.test")
	var failed *enroll.AccountError
	if _, _, err := c.Register(t.Context(), at, enroll.NewAccount{}); !errors.As(err, &failed) || failed.Class != enroll.ClassUnable || !strings.Contains(err.Error(), "account eab add") {
		t.Errorf("without credentials: %v", err)
	}
	good := credentials(t, r.houses[0].ca)
	wrong := good
	wrong.Key = slices.Repeat([]byte{7}, 32)
	if err := c.vault.SetEAB(t.Context(), "ca1.test", wrong); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Register(t.Context(), at, enroll.NewAccount{}); !errors.As(err, &failed) || failed.Class != enroll.ClassFinal {
		t.Errorf("with a wrong MAC key: %v", err)
	}
	if rep, err := c.Account(t.Context(), at); err != nil || rep.Account != nil || rep.EABKeyID != good.KeyID {
		t.Errorf("%+v, %v", rep, err)
	}
	if err := c.vault.SetEAB(t.Context(), "ca1.test", good); err != nil {
		t.Fatal(err)
	}
	if ca, made, err := c.Register(t.Context(), at, enroll.NewAccount{}); err != nil || !made || ca.Account.EABKeyID != good.KeyID {
		t.Errorf("with the right one: %+v, %v", ca.Account, err)
	}
	if ca, made, err := c.Register(t.Context(), at, enroll.NewAccount{}); err != nil || made || ca.Account.EABKeyID != good.KeyID {
		t.Errorf("and again: %+v, %t, %v", ca.Account, made, err)
	}
}

func TestPlaces(t *testing.T) {
	r := newRig(t)
	c := r.client(filepath.Join(t.TempDir(), "vault"), func(c *enroll.Config) {
		c.Settings.CAs = []enroll.CA{
			{Label: "house", Issuers: []string{"ca.house.test", "old.house.test"}, Directory: "https://acme.house.test/dir"},
			{Label: "far", Issuers: []string{"ca.far.test"}}, {Label: "nameless", Directory: "https://10.0.0.1/dir"},
		}
	})
	if err := c.vault.UpdateCA(t.Context(), "https://met.test/.well-known/acme", func(ca *vault.CA) error {
		ca.Issuers = []string{"met.test"}
		ca.Incident = &vault.Incident{ID: "x", Count: 3, Cause: "down"}
		ca.Circuit = vault.Circuit{Failures: 3, Opened: 1, OpenUntil: c.clock.Now().Add(60e9)}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for who, want := range map[string]enroll.Place{
		"house":                                {Label: "house", Issuer: "ca.house.test", Directory: "https://acme.house.test/dir"},
		"OLD.house.test.":                      {Label: "house", Issuer: "old.house.test", Directory: "https://acme.house.test/dir"},
		"https://ACME.house.test/dir":          {Label: "house", Issuer: "ca.house.test", Directory: "https://acme.house.test/dir"},
		"far":                                  {Label: "far", Issuer: "ca.far.test", Directory: "https://ca.far.test/.well-known/acme"},
		"https://ca.far.test/.well-known/acme": {Label: "far", Issuer: "ca.far.test", Directory: "https://ca.far.test/.well-known/acme"},
		"nameless":                             {Label: "nameless", Directory: "https://10.0.0.1/dir"},
		"stranger.test":                        {Issuer: "stranger.test", Directory: "https://stranger.test/.well-known/acme"},
		"https://met.test/.well-known/acme":    {Issuer: "met.test", Directory: "https://met.test/.well-known/acme"},
		"https://typed.test/dir":               {Directory: "https://typed.test/dir"},
	} {
		got, err := c.Place(t.Context(), who)
		if err != nil || got.Label != want.Label || got.Issuer != want.Issuer || got.Directory != want.Directory || got.Name() == "" {
			t.Errorf("%s: %+v, %v", who, got, err)
		}
	}
	var unknown *enroll.UnknownError
	for _, who := range []string{"", "hose", "10.0.0.1", "*.house.test", "http://plain.test/dir", "https://", "a b.test", "../x", "me@house.test"} {
		if got, err := c.Place(t.Context(), who); !errors.As(err, &unknown) {
			t.Errorf("%q: %+v, %v", who, got, err)
		}
	}
	all, err := c.Accounts(t.Context())
	if err != nil || len(all) != 4 || all[0].Name != "house" || all[3].Name != "met.test" || !all[3].SetBack || all[3].Incident.Count != 3 {
		t.Fatalf("%+v, %v", all, err)
	}
	if err := c.ClearIncident(t.Context(), place(t, c, "met.test")); err != nil {
		t.Fatal(err)
	}
	if rep, err := c.Account(t.Context(), place(t, c, "met.test")); err != nil || rep.Incident != nil || rep.SetBack {
		t.Errorf("%+v, %v", rep, err)
	}
}
