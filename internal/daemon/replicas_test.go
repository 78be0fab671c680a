package daemon_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"chancery/acme"
	"chancery/internal/ca"
	"chancery/internal/desk"
	"chancery/internal/peertest"

	"golang.org/x/crypto/ocsp"
)

// second plans another replica over the same database, with copies of the keys.
func second(t *testing.T, web *site, first setup) setup {
	t.Helper()
	p := plan(t, web, first.Database)
	copyKeys(t, first, p)
	return p
}

func copyKeys(t *testing.T, from, to setup) {
	t.Helper()
	target := filepath.Join(to.Data, "keys")
	if err := os.MkdirAll(target, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, e := range must[[]os.DirEntry](t)(os.ReadDir(filepath.Join(from.Data, "keys"))) {
		text := must[[]byte](t)(os.ReadFile(filepath.Join(from.Data, "keys", e.Name())))
		if err := os.WriteFile(filepath.Join(target, e.Name()), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// replicas starts two servers in this process over one PostgreSQL.
func replicas(t *testing.T) (web *site, a, b *server) {
	t.Helper()
	web = newSite(t)
	a = start(t, plan(t, web, peertest.Postgres(t)))
	return web, a, start(t, second(t, web, a.setup))
}

// writing is a kind of request that writes: fresh gives one that was never sent.
type writing struct {
	name  string
	fresh func(t *testing.T, web *site, a *server) posting
}

func writings() []writing {
	named := func(t *testing.T, url func(*acme.Directory) string, c *acme.Client) string {
		return url(must[*acme.Directory](t)(c.Discover(within(t, long))))
	}
	return []writing{
		{"newAccount", func(t *testing.T, _ *site, a *server) posting {
			c := a.stranger()
			return posting{url: named(t, func(d *acme.Directory) string { return d.NewAccount }, c), client: c, embed: true, payload: acme.NewAccount{}}
		}},
		{"newOrder", func(t *testing.T, _ *site, a *server) posting {
			c := a.client()
			return posting{url: named(t, func(d *acme.Directory) string { return d.NewOrder }, c), client: c,
				payload: acme.NewOrder{Identifiers: dnsNames("new.example")}}
		}},
		{"newAuthz", func(t *testing.T, _ *site, a *server) posting {
			c := a.client()
			return posting{url: named(t, func(d *acme.Directory) string { return d.NewAuthz }, c), client: c,
				payload: acme.NewAuthorization{Identifier: dnsNames("ahead.example")[0]}}
		}},
		{"challenge", func(t *testing.T, web *site, a *server) posting {
			c := a.client()
			_, challenge, err := web.order(within(t, long), c, "answer.example")
			if err != nil {
				t.Fatal(err)
			}
			return posting{url: challenge.URL, client: c, payload: acme.ChallengeResponse{}}
		}},
		{"finalize", func(t *testing.T, web *site, a *server) posting {
			c := a.client()
			o := web.ready(t, c, "final.example")
			return posting{url: o.Finalize, client: c, payload: acme.Finalize{CSR: csrFor(t, newKey(t), "final.example")}}
		}},
		{"revokeCert", func(t *testing.T, web *site, a *server) posting {
			c := a.client()
			chain := must[*acme.Chain](t)(web.obtain(within(t, long), c, newKey(t), "revoke.example"))
			return posting{url: named(t, func(d *acme.Directory) string { return d.RevokeCert }, c), client: c,
				payload: acme.Revocation{Certificate: chain.Certificates[0].Raw}}
		}},
		{"keyChange", func(t *testing.T, _ *site, a *server) posting {
			c, next := a.client(), newKey(t)
			url := named(t, func(d *acme.Directory) string { return d.KeyChange }, c)
			old := must[*acme.Key](t)(acme.NewKey(c.Key.Public()))
			inner := must[[]byte](t)(json.Marshal(acme.KeyChange{Account: c.AccountURL, OldKey: old}))
			return posting{url: url, client: c, payload: must[[]byte](t)(acme.Sign(next, acme.Header{URL: url}, inner))}
		}},
		{"account update", func(t *testing.T, _ *site, a *server) posting {
			c := a.client()
			return posting{url: c.AccountURL, client: c, payload: acme.AccountUpdate{Contact: &[]string{"mailto:new@example.org"}}}
		}},
		{"account deactivation", func(t *testing.T, _ *site, a *server) posting {
			c := a.client()
			return posting{url: c.AccountURL, client: c, payload: acme.AccountUpdate{Status: acme.AccountDeactivated}}
		}},
		{"authorization deactivation", func(t *testing.T, web *site, a *server) posting {
			c := a.client()
			o := web.ready(t, c, "give-up.example")
			return posting{url: o.Authorizations[0], client: c, payload: acme.AuthorizationUpdate{Status: acme.AuthorizationDeactivated}}
		}},
	}
}

// TestNonceOnce takes a nonce of one replica to the other, and what was spent at
// one to the other, for everything that writes.
func TestNonceOnce(t *testing.T) {
	t.Parallel()
	web, a, b := replicas(t)
	db, _ := a.store(t)
	defer db.Close()
	acts := func() int { return number(t, db, `SELECT COUNT(*) FROM events WHERE room = 'acme'`) }
	for _, test := range writings() {
		t.Run(test.name, func(t *testing.T) {
			here, there := test.fresh(t, web, a), test.fresh(t, web, a)
			here.nonce = b.nonce()
			if code, problem := a.post(here); code >= 300 {
				t.Fatalf("a nonce of the other replica: %d %v", code, problem)
			}
			before := acts()
			// The same nonce for another request, which would write.
			there.nonce = here.nonce
			if code, problem := b.post(there); code != 400 || problem.Type != acme.TypeBadNonce {
				t.Errorf("a nonce that was spent at the other replica: %d %v", code, problem)
			}
			// The very same request.
			if code, problem := b.post(here); code >= 500 {
				t.Errorf("the request again at the other replica: %d %v", code, problem)
			}
			if n := acts() - before; n != 0 {
				t.Errorf("%d acts were done with a spent nonce", n)
			}
			// It was the nonce that was refused and nothing else.
			there.nonce = a.nonce()
			if code, problem := b.post(there); code >= 300 {
				t.Errorf("with a nonce of its own: %d %v", code, problem)
			}
			if acts() == before {
				t.Error("the request writes nothing, so it proves nothing")
			}
		})
	}
}

// TestReplicasShare walks one order over both, and sees at one what the other did.
func TestReplicasShare(t *testing.T) {
	t.Parallel()
	web, a, b := replicas(t)
	atA := a.client()
	atB := b.at(atA)
	ctx := within(t, 2*long)
	o, challenge, err := web.order(ctx, atB, "shared.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := atA.Respond(ctx, challenge); err != nil {
		t.Fatal(err)
	}
	chain, err := finalizeAndFetch(ctx, atB, o, csrFor(t, newKey(t), "shared.example"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := atA.Certificate(ctx, must[*acme.Order](t)(atA.Order(ctx, o.URL)).Certificate)
	if err != nil || !bytes.Equal(again.PEM, chain.PEM) {
		t.Errorf("the other replica has another chain, %v", err)
	}
	leaf := chain.Certificates[0]
	says := func(want int) func() bool {
		return func() bool {
			got, err := b.ocsp(chain)
			if err != nil {
				t.Fatal(err)
			}
			return got == want
		}
	}
	until(t, "OCSP says good", says(ocsp.Good)) // remembered at B from now on
	if err := atA.Revoke(ctx, leaf.Raw, nil, nil); err != nil {
		t.Fatal(err)
	}
	until(t, "B's OCSP knows what was revoked at A", says(ocsp.Revoked))
	until(t, "B's CRL knows what was revoked at A", func() bool { return listed(t, b, chain) })
}

// listed tells whether the server's CRL has the chain's leaf.
func listed(t *testing.T, s *server, chain *acme.Chain) bool {
	t.Helper()
	leaf, issuer := chain.Certificates[0], chain.Certificates[1]
	res := must[*http.Response](t)(s.http().Get(leaf.CRLDistributionPoints[0]))
	defer res.Body.Close()
	crl, err := x509.ParseRevocationList(must[[]byte](t)(io.ReadAll(res.Body)))
	if err == nil {
		err = crl.CheckSignatureFrom(issuer)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range crl.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(leaf.SerialNumber) == 0 {
			return true
		}
	}
	return false
}

// TestReplicaTakesOver kills one replica in the middle of a validation.
func TestReplicaTakesOver(t *testing.T) {
	t.Parallel()
	web := newSite(t)
	a := launch(t, plan(t, web, peertest.Postgres(t)))
	c := a.client()
	o, release := processing(t, web, c)
	b := start(t, second(t, web, a.setup))
	a.kill()
	release()
	db, _ := b.store(t)
	defer db.Close()
	alter(t, db, `UPDATE authorizations SET processing = 1 WHERE processing > 0`) // the dead one's lease lapses
	c = b.at(c)
	o, err := c.WaitOrder(within(t, long), o.URL)
	if err != nil || o.Status != acme.OrderReady {
		t.Fatalf("the order is %+v, %v", o, err)
	}
	if _, err := finalizeAndFetch(within(t, long), c, o, csrFor(t, newKey(t), "slow.example")); err != nil {
		t.Error(err)
	}
}

// TestReplicaFollowsRollover rolls the issuer over at one replica. The other
// says that it is not ready while it lacks the key, and issues under the new
// issuer as soon as it has it.
func TestReplicaFollowsRollover(t *testing.T) {
	t.Parallel()
	web, a, b := replicas(t)
	over := must[desk.RolledOver](t)(ask[desk.Line, desk.RolledOver](a, "ca.rollover", desk.Line{Name: ca.DefaultLine}))
	ready := func() bool {
		res := must[*http.Response](t)(b.http().Get(baseURL + "/readyz"))
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	}
	until(t, "B says that it cannot sign", func() bool { return !ready() })
	copyKeys(t, a.setup, b.setup)
	until(t, "B finds the key", ready)
	chain, err := web.obtain(within(t, long), b.client(), newKey(t), "after.example")
	if err != nil {
		t.Fatal(err)
	}
	if got := ca.SerialOf(chain.Certificates[1].SerialNumber); len(over.Made) != 1 || got != over.Made[0].Serial {
		t.Errorf("B issues under %s; the new issuer is %+v", got, over.Made)
	}
	b.verifies(chain, a.roots)
}
