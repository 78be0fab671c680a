package ca_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"math/big"
	"slices"
	"testing"
	"time"

	"chancery/internal/ca"
	"chancery/internal/sqlstore"
	"chancery/internal/storetest"
)

var operator = ca.Principal{Room: "admin", ID: "operator"}

func TestFoundKinds(t *testing.T) {
	for _, algorithm := range []string{"ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048", "ed25519"} {
		t.Run(algorithm, func(t *testing.T) {
			plan := storetest.Plan
			plan.RootKey, plan.IssuerKey = algorithm, algorithm
			c := found(t, plan)
			r, err := c.Issue(context.Background(), c.request(t, "acme:1", newKey(t).Public(), "a.example"))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.verifies(t, r, c.Issuers().Roots()[0]); err != nil {
				t.Fatal(err)
			}
			for _, issuer := range c.Issuers().List() {
				crl, err := c.store.CRL(context.Background(), issuer.ID, 0)
				if err != nil || crl.Number == 0 {
					t.Fatalf("the authority %s has CRL %d, %v; want its first", issuer.Name, crl.Number, err)
				}
			}
		})
	}
}

func TestRootRollover(t *testing.T) {
	ctx := context.Background()
	c := found(t, storetest.Plan)
	oldRoot := c.Issuers().Roots()[0]
	before, err := c.Issue(ctx, c.request(t, "acme:before", newKey(t).Public(), "a.example"))
	if err != nil {
		t.Fatal(err)
	}
	c.now = c.now.Add(time.Minute)
	if _, err := c.RolloverRoot(ctx, operator, "root"); err != nil {
		t.Fatal(err)
	}
	after, err := c.Issue(ctx, c.request(t, "acme:after", newKey(t).Public(), "a.example"))
	if err != nil {
		t.Fatal(err)
	}
	newRoot := c.Issuers().Roots()[0]
	if newRoot.Equal(oldRoot) || before.Issuer == after.Issuer {
		t.Fatal("nothing was rolled over")
	}
	for _, r := range []ca.Record{before, after} {
		for _, root := range []*x509.Certificate{oldRoot, newRoot} {
			if err := c.verifies(t, r, root); err != nil {
				t.Errorf("issuer %s under root %s: %v", r.Issuer, root.Subject, err)
			}
		}
		if n := len(c.Issuers().Chains(r.Issuer, c.now)); n != 2 {
			t.Errorf("issuer %s has %d chains; want the default and one alternate", r.Issuer, n)
		}
	}
	if chain := c.Issuers().Chains(after.Issuer, c.now)[0]; !chain.Root.Equal(oldRoot) || len(chain.Certificates) != 2 {
		t.Error("the default chain of the new issuer must lead to the old root over NewWithOld")
	}
	checkRollover(t, c, oldRoot, newRoot)
}

// checkRollover looks at the four certificates of RFC 4210 §4.4 and what the line's
// clients are given of them.
func checkRollover(t *testing.T, c *core, oldRoot, newRoot *x509.Certificate) {
	t.Helper()
	anchors := c.Issuers().Anchors("issuing", c.now)
	if len(anchors) != 6 || !anchors[0].Equal(newRoot) || !anchors[1].Equal(oldRoot) {
		t.Fatalf("%d anchors; want new root, old root, two that tie them, two issuers", len(anchors))
	}
	var oldWithNew, newWithOld *x509.Certificate
	for _, cert := range anchors[2:4] {
		switch {
		case cert.CheckSignatureFrom(newRoot) == nil && bytes.Equal(cert.RawSubjectPublicKeyInfo, oldRoot.RawSubjectPublicKeyInfo):
			oldWithNew = cert
		case cert.CheckSignatureFrom(oldRoot) == nil && bytes.Equal(cert.RawSubjectPublicKeyInfo, newRoot.RawSubjectPublicKeyInfo):
			newWithOld = cert
		}
	}
	if oldWithNew == nil || newWithOld == nil {
		t.Fatal("OldWithNew or NewWithOld is missing")
	}
	for _, cert := range []*x509.Certificate{newRoot, oldWithNew, newWithOld} { // §4.4.2.2: subject and issuer must match
		if !bytes.Equal(cert.RawSubject, oldRoot.RawSubject) || !bytes.Equal(cert.RawIssuer, oldRoot.RawSubject) {
			t.Errorf("%s is issued by %s; want the old root's name in both", cert.Subject, cert.Issuer)
		}
	}
	if !oldWithNew.NotBefore.Equal(oldRoot.NotBefore) || !oldWithNew.NotAfter.Equal(oldRoot.NotAfter) {
		t.Errorf("OldWithNew is good from %s to %s; want the old root's life", oldWithNew.NotBefore, oldWithNew.NotAfter)
	}
	if !newWithOld.NotBefore.Equal(newRoot.NotBefore) || !newWithOld.NotAfter.Equal(oldRoot.NotAfter) {
		t.Errorf("NewWithOld is good from %s to %s; want from the new root's beginning to the old one's end", newWithOld.NotBefore, newWithOld.NotAfter)
	}
	if active := c.Issuers().Line("issuing", c.now); !anchors[4].Equal(active.Certificate()) {
		t.Error("the active issuer does not come before the retired one")
	}
	after := c.Issuers().Anchors("issuing", oldRoot.NotAfter.Add(time.Second))
	if len(after) == 0 || !after[0].Equal(newRoot) || slices.ContainsFunc(after, func(cert *x509.Certificate) bool { return cert.NotAfter.Equal(oldRoot.NotAfter) }) {
		t.Errorf("%d anchors after the old root's end; what has ended is none", len(after))
	}
}

// With a name of its own for the new root each root's name stands above one chain.
func TestReplaceRoot(t *testing.T) {
	ctx := context.Background()
	c := found(t, storetest.Plan)
	oldRoot := c.Issuers().Roots()[0]
	c.now = c.now.Add(time.Minute)
	if _, err := c.ReplaceRoot(ctx, operator, "root"); err != nil {
		t.Fatal(err)
	}
	r, err := c.Issue(ctx, c.request(t, "acme:1", newKey(t).Public(), "a.example"))
	if err != nil {
		t.Fatal(err)
	}
	newRoot := c.Issuers().Roots()[0]
	if bytes.Equal(oldRoot.RawSubject, newRoot.RawSubject) {
		t.Error("the new root has the old one's name")
	}
	for _, root := range []*x509.Certificate{oldRoot, newRoot} {
		if err := c.verifies(t, r, root); err != nil {
			t.Errorf("under %s: %v", root.Subject, err)
		}
	}
	if chains := c.Issuers().Chains(r.Issuer, c.now); len(chains) != 2 || chains[0].Root.Subject.String() == chains[1].Root.Subject.String() {
		t.Errorf("%d chains; want one below each name", len(chains))
	}
	if n := len(c.Issuers().Anchors("issuing", c.now)); n != 6 {
		t.Errorf("%d anchors; want two roots, two that tie them, two issuers", n)
	}
	if _, err := c.ReplaceRoot(ctx, operator, "issuing"); ca.KindOf(err) != ca.NotFound {
		t.Errorf("an issuer was replaced as if it were a root: %v", err)
	}
}

// Two rollovers in a row: whoever trusts any of the three roots verifies the newest,
// and a process that reads it all anew sees the same.
func TestRootRolloverTwice(t *testing.T) {
	ctx := context.Background()
	c := found(t, storetest.Plan)
	before, err := c.Issue(ctx, c.request(t, "acme:before", newKey(t).Public(), "a.example"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		c.now = c.now.Add(time.Minute)
		if _, err := c.RolloverRoot(ctx, operator, "root"); err != nil {
			t.Fatal(err)
		}
	}
	after, err := c.Issue(ctx, c.request(t, "acme:after", newKey(t).Public(), "a.example"))
	if err != nil {
		t.Fatal(err)
	}
	again := &core{store: c.store, keys: c.keys, now: c.now}
	again.Authority = storetest.Authority(t, c.store, c.keys, func() time.Time { return again.now })
	if err := again.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*core{c, again} {
		roots := c.Issuers().Roots()
		if len(roots) != 3 {
			t.Fatalf("%d roots", len(roots))
		}
		for _, r := range []ca.Record{before, after} {
			for n, root := range roots {
				if err := c.verifies(t, r, root); err != nil {
					t.Errorf("issuer %s under root %d: %v", r.Issuer, n, err)
				}
			}
		}
		if anchors := c.Issuers().Anchors("issuing", c.now); len(anchors) != 3+4+3 || !anchors[0].Equal(roots[0]) {
			t.Errorf("%d anchors; want three roots, four that tie them, three issuers", len(anchors))
		}
	}
}

// Clients take the root that ends last for the current one (RFC 7030 §4.1.3), so that no
// new one may end with the old one, however soon it follows.
func TestRootEndsLast(t *testing.T) {
	c := found(t, storetest.Plan)
	for range 3 {
		old := c.Issuers().Roots()[0]
		if _, err := c.RolloverRoot(context.Background(), operator, "root"); err != nil {
			t.Fatal(err)
		}
		if root := c.Issuers().Roots()[0]; !root.NotAfter.After(old.NotAfter) {
			t.Errorf("the new root ends on %s, the old one on %s", root.NotAfter, old.NotAfter)
		}
	}
}

func TestIssuerRollover(t *testing.T) {
	ctx := context.Background()
	c := found(t, storetest.Plan)
	before, err := c.Issue(ctx, c.request(t, "acme:before", newKey(t).Public(), "a.example"))
	if err != nil {
		t.Fatal(err)
	}
	c.now = c.now.Add(time.Minute)
	if _, err := c.RolloverIssuer(ctx, operator, "issuing"); err != nil {
		t.Fatal(err)
	}
	after, err := c.Issue(ctx, c.request(t, "acme:after", newKey(t).Public(), "a.example"))
	if err != nil || after.Issuer == before.Issuer {
		t.Fatalf("still the old issuer, or %v", err)
	}
	if _, err := c.Revoke(ctx, ca.Revocation{Serial: before.Serial, By: operator}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.RefreshCRLs(ctx); err != nil {
		t.Fatal(err)
	}
	crl, err := c.store.CRL(ctx, before.Issuer, 0)
	if err != nil || crl.Number == 0 {
		t.Fatalf("a retired issuer must go on signing its CRL: %d, %v", crl.Number, err)
	}
	list, err := x509.ParseRevocationList(crl.DER)
	if err != nil || len(list.RevokedCertificateEntries) != 1 {
		t.Fatalf("the CRL has %v, %v", list, err)
	}
	if err := list.CheckSignatureFrom(c.Issuers().ByID(before.Issuer).Certificate()); err != nil {
		t.Fatal(err)
	}
}

func TestShardedCRLs(t *testing.T) {
	ctx := context.Background()
	plan := storetest.Plan
	plan.Shards = 4
	c := found(t, plan)
	for n := range 8 {
		r, err := c.Issue(ctx, c.request(t, fmt.Sprintf("acme:%d", n), newKey(t).Public(), "a.example"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Revoke(ctx, ca.Revocation{Serial: r.Serial, By: operator}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.RefreshCRLs(ctx); err != nil {
			t.Fatal(err)
		}
		cert, issuer := parse(t, r.DER), c.Issuers().ByID(r.Issuer)
		shard := issuer.ShardOf(r.Serial)
		crl, err := c.store.CRL(ctx, r.Issuer, shard)
		if err != nil || cert.CRLDistributionPoints[0] != issuer.CRLURL(shard) {
			t.Fatalf("shard %d: %v", shard, err)
		}
		list, err := x509.ParseRevocationList(crl.DER)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, e := range list.RevokedCertificateEntries {
			found = found || ca.SerialOf(e.SerialNumber) == r.Serial
		}
		if !found {
			t.Fatalf("the CRL that the certificate points to does not list it")
		}
	}
}

// A foreign root certifies our authority: the request goes out, the
// certificate comes back.
func TestSubordinate(t *testing.T) {
	ctx := context.Background()
	foreign := found(t, storetest.Plan)
	c := &core{store: sqlstore.New(storetest.SQLite(t)), keys: &storetest.Keys{}, now: time.Now()}
	c.Authority = storetest.Authority(t, c.store, c.keys, func() time.Time { return c.now })
	csr, key, err := c.SubordinateCSR(ctx, "issuing", storetest.Plan)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.ParseCertificateRequest(csr)
	if err != nil || request.CheckSignature() != nil {
		t.Fatalf("the request does not stand: %v", err)
	}
	root := foreign.Issuers().Roots()[0]
	signer, err := foreign.keys.Load(ctx, foreign.Issuers().List()[0].Key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(77), Subject: request.Subject, NotBefore: c.now.Add(-time.Hour), NotAfter: c.now.Add(365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte{1, 2, 3},
	}, root, request.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	in := ca.Imported{By: operator, Line: "issuing", Key: key, Chain: []*x509.Certificate{parse(t, der), root}, StatusURL: "http://status.example",
		Revoked: []ca.RevokedEntry{{Serial: "1234", At: c.now.Add(-time.Minute), Reason: ca.Superseded}}}
	if _, err := c.Import(ctx, in); err != nil {
		t.Fatal(err)
	}
	r, err := c.Issue(ctx, c.request(t, "acme:1", newKey(t).Public(), "a.example"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.verifies(t, r, root); err != nil {
		t.Fatal(err)
	}
	if _, err := c.RefreshCRLs(ctx); err != nil {
		t.Fatal(err)
	}
	crl, err := c.store.CRL(ctx, r.Issuer, 0)
	if err != nil {
		t.Fatal(err)
	}
	list, err := x509.ParseRevocationList(crl.DER)
	if err != nil || len(list.RevokedCertificateEntries) != 1 || ca.SerialOf(list.RevokedCertificateEntries[0].SerialNumber) != "1234" {
		t.Fatalf("what was revoked before the import is not on the CRL: %v", err)
	}
	if _, err := c.Import(ctx, in); ca.KindOf(err) != ca.Conflict {
		t.Fatalf("importing twice gave %v", err)
	}
}
