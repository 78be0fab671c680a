package ca_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"testing"
	"time"

	"chancery/internal/ca"
	"chancery/internal/sqlstore"
	"chancery/internal/storetest"
)

// core is a founded authority over a real store.
type core struct {
	*ca.Authority
	store *sqlstore.Store
	keys  *storetest.Keys
	now   time.Time
}

func found(t *testing.T, plan ca.Plan) *core {
	t.Helper()
	c := &core{store: sqlstore.New(storetest.SQLite(t)), keys: &storetest.Keys{}, now: time.Now()}
	c.Authority = storetest.Authority(t, c.store, c.keys, func() time.Time { return c.now })
	if err := c.Found(context.Background(), plan); err != nil {
		t.Fatal(err)
	}
	return c
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func names(t *testing.T, values ...string) []ca.Identifier {
	t.Helper()
	var all []ca.Identifier
	for _, v := range values {
		n, err := ca.DNS(v)
		if err != nil {
			n, err = ca.IP(v)
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

// request asks for a web server's certificate with evidence for each name.
func (c *core) request(t *testing.T, id string, key crypto.PublicKey, values ...string) ca.Request {
	req := ca.Request{ID: id, By: ca.Principal{Room: "acme", ID: "account"}, Key: key, Names: names(t, values...), Profile: "tls-server"}
	for _, n := range req.Names {
		req.Evidence = append(req.Evidence, ca.Evidence{Identifier: n, Method: "dns-01", At: c.now, Expires: c.now.Add(time.Hour)})
	}
	return req
}

func parse(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// verifies checks a certificate with a relying party's eyes against one root.
func (c *core) verifies(t *testing.T, r ca.Record, root *x509.Certificate) error {
	t.Helper()
	roots, above := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root)
	for _, chain := range c.Issuers().Chains(r.Issuer, c.now) {
		for _, cert := range chain.Certificates {
			above.AddCert(cert)
		}
	}
	_, err := parse(t, r.DER).Verify(x509.VerifyOptions{Roots: roots, Intermediates: above, CurrentTime: c.now})
	return err
}

func TestIssue(t *testing.T) {
	c := found(t, storetest.Plan)
	key := newKey(t)
	r, err := c.Issue(context.Background(), c.request(t, "acme:1", key.Public(), "printer.corp.internal", "*.lab.corp.internal", "10.0.0.7"))
	if err != nil {
		t.Fatal(err)
	}
	cert := parse(t, r.DER)
	if err := c.verifies(t, r, c.Issuers().Roots()[0]); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(cert.DNSNames, cert.IPAddresses); got != "[printer.corp.internal *.lab.corp.internal] [10.0.0.7]" {
		t.Errorf("names are %s", got)
	}
	if cert.Subject.CommonName != "printer.corp.internal" || !cert.PublicKey.(*ecdsa.PublicKey).Equal(key.Public()) {
		t.Errorf("subject %s or key is not what was asked", cert.Subject)
	}
	issuer := c.Issuers().ByID(r.Issuer)
	if cert.OCSPServer[0] != "http://status.example/ocsp" || cert.CRLDistributionPoints[0] != issuer.CRLURL(0) {
		t.Errorf("status URLs are %v %v", cert.OCSPServer, cert.CRLDistributionPoints)
	}
	if life := cert.NotAfter.Sub(cert.NotBefore); life != 90*24*time.Hour-time.Second {
		t.Errorf("life is %s", life)
	}
}

func TestSameRequestSameCertificate(t *testing.T) {
	c := found(t, storetest.Plan)
	key := newKey(t)
	ders := make([][]byte, 10)
	var wg sync.WaitGroup
	for n := range ders {
		wg.Go(func() {
			r, err := c.Issue(context.Background(), c.request(t, "acme:same", key.Public(), "a.example"))
			if err != nil {
				t.Error(err)
			}
			ders[n] = r.DER
		})
	}
	wg.Wait()
	for _, der := range ders {
		if !bytes.Equal(der, ders[0]) || der == nil {
			t.Fatal("one request was answered with two certificates")
		}
	}
	_, err := c.Issue(context.Background(), c.request(t, "acme:same", newKey(t).Public(), "a.example"))
	if ca.KindOf(err) != ca.Conflict {
		t.Fatalf("another key for the same request gave %v; want kind %s", err, ca.Conflict)
	}
}

func TestRefusals(t *testing.T) {
	c := found(t, storetest.Plan)
	weak := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := newKey(t).Public()
	for name, test := range map[string]struct {
		key    crypto.PublicKey
		change func(*ca.Request)
		want   ca.Kind
	}{
		"no evidence":        {good, func(r *ca.Request) { r.Evidence = nil }, ca.Denied},
		"evidence too old":   {good, func(r *ca.Request) { r.Evidence[0].Expires = c.now }, ca.Denied},
		"evidence elsewhere": {good, func(r *ca.Request) { r.Evidence[0].Identifier = names(t, "b.example")[0] }, ca.Denied},
		"method not taken":   {good, func(r *ca.Request) { r.Evidence[0].Method = "word-of-mouth" }, ca.Denied},
		"unknown profile":    {good, func(r *ca.Request) { r.Profile = "anything" }, ca.Invalid},
		"other room":         {good, func(r *ca.Request) { r.By.Room = "est" }, ca.Denied},
		"no names":           {good, func(r *ca.Request) { r.Names = nil }, ca.Invalid},
		"name twice":         {good, func(r *ca.Request) { r.Names = append(r.Names, r.Names[0]) }, ca.Invalid},
		"subject not taken":  {good, func(r *ca.Request) { r.Subject.Organization = "Bank" }, ca.Denied},
		"begins too late":    {good, func(r *ca.Request) { r.NotBefore = c.now.Add(40 * 24 * time.Hour) }, ca.Invalid},
		"postdated too long": {good, func(r *ca.Request) { r.NotBefore, r.NotAfter = c.now.Add(20*24*time.Hour), c.now.Add(410*24*time.Hour) }, ca.Invalid},
		"too long":           {good, func(r *ca.Request) { r.NotAfter = c.now.Add(400 * 24 * time.Hour) }, ca.Invalid},
		"ends before begins": {good, func(r *ca.Request) { r.NotAfter = c.now.Add(-time.Hour) }, ca.Invalid},
		"small RSA":          {weak, func(*ca.Request) {}, ca.BadKey},
		"odd curve":          {p224.Public(), func(*ca.Request) {}, ca.BadKey},
		"an issuer's key":    {c.Issuers().Roots()[0].PublicKey, func(*ca.Request) {}, ca.BadKey},
	} {
		t.Run(name, func(t *testing.T) {
			req := c.request(t, "acme:"+name, test.key, "a.example")
			test.change(&req)
			_, err := c.Issue(context.Background(), req)
			if ca.KindOf(err) != test.want {
				t.Fatalf("got %v; want kind %s", err, test.want)
			}
			if _, err := c.store.ByRequest(context.Background(), req.ID); ca.KindOf(err) != ca.NotFound {
				t.Fatal("a refused request left a record")
			}
		})
	}
}

// torn is a ledger whose settlement fails, before or after it was stored: the
// two ways in which a power cut looks from inside.
type torn struct {
	ca.Ledger
	stored bool
}

var errTorn = errors.New("the power went")

func (l torn) Settle(ctx context.Context, s ca.Settlement) (ca.Record, error) {
	if l.stored {
		if _, err := l.Ledger.Settle(ctx, s); err != nil {
			return ca.Record{}, err
		}
	}
	return ca.Record{}, errTorn
}

func TestSettlementLost(t *testing.T) {
	for _, stored := range []bool{false, true} {
		t.Run(fmt.Sprintf("stored=%v", stored), func(t *testing.T) {
			ctx := context.Background()
			c := found(t, storetest.Plan)
			req := c.request(t, "acme:torn", newKey(t).Public(), "a.example")
			c.Ledger = torn{c.store, stored}
			if _, err := c.Issue(ctx, req); !errors.Is(err, errTorn) {
				t.Fatalf("got %v", err)
			}
			c.Ledger = c.store
			c.now = c.now.Add(2 * time.Minute)
			if n, err := c.Recover(ctx); err != nil || (n == 1) == stored {
				t.Fatalf("Recover gave %d, %v", n, err)
			}
			r, err := c.store.ByRequest(ctx, req.ID)
			if err != nil || !r.Settled() {
				t.Fatalf("the certificate is not on record: %+v, %v", r, err)
			}
			again, err := c.Issue(ctx, c.request(t, req.ID, req.Key, "a.example"))
			if err != nil || !bytes.Equal(again.DER, r.DER) {
				t.Fatalf("the repeated request gave another certificate: %v", err)
			}
		})
	}
}

// A database that somebody else can write to must not become a way to the key.
func TestForgedIntentIsNotSigned(t *testing.T) {
	ctx := context.Background()
	c := found(t, storetest.Plan)
	forged := storetest.Intent("acme:forged")
	forged.Issuer = c.Issuers().List()[1].ID
	forged.Lease, forged.NotAfter = c.now.Add(-time.Hour), c.now.Add(time.Hour)
	if _, err := c.store.Intend(ctx, forged); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Recover(ctx); n != 0 || err == nil {
		t.Fatalf("Recover gave %d, %v; want a refusal", n, err)
	}
	if r, err := c.store.BySerial(ctx, forged.Serial); err != nil || r.Settled() {
		t.Fatalf("forged bytes were signed: %v", err)
	}
}

func TestCompromisedKeyIsBlocked(t *testing.T) {
	ctx := context.Background()
	c := found(t, storetest.Plan)
	key := newKey(t)
	r, err := c.Issue(ctx, c.request(t, "acme:1", key.Public(), "a.example"))
	if err != nil {
		t.Fatal(err)
	}
	revoker := ca.Principal{Room: "acme", ID: "account"}
	if _, err := c.Revoke(ctx, ca.Revocation{Serial: r.Serial, Reason: ca.KeyCompromise, By: revoker}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Revoke(ctx, ca.Revocation{Serial: r.Serial, Reason: ca.Superseded, By: revoker}); ca.KindOf(err) != ca.Revoked {
		t.Fatalf("revoking twice gave %v", err)
	}
	if _, err := c.Issue(ctx, c.request(t, "acme:2", key.Public(), "a.example")); ca.KindOf(err) != ca.BadKey {
		t.Fatalf("a compromised key gave %v; want kind %s", err, ca.BadKey)
	}
}

func TestNameConstraints(t *testing.T) {
	plan := storetest.Plan
	plan.Domains = []string{"corp.internal"}
	c := found(t, plan)
	r, err := c.Issue(context.Background(), c.request(t, "acme:in", newKey(t).Public(), "web.corp.internal", "192.168.1.1", "localhost"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.verifies(t, r, c.Issuers().Roots()[0]); err != nil {
		t.Fatal(err)
	}
	for _, outside := range []string{"web.example", "notcorp.internal", "8.8.8.8"} {
		_, err := c.Issue(context.Background(), c.request(t, "acme:"+outside, newKey(t).Public(), outside))
		if ca.KindOf(err) != ca.BadName {
			t.Errorf("%s gave %v; want kind %s", outside, err, ca.BadName)
		}
	}
}

// A common name is no way around names, evidence and constraints.
func TestCommonNameMustBeProven(t *testing.T) {
	c := found(t, storetest.Plan)
	approved := func(profile, cn string) error {
		req := c.request(t, "admin:"+profile+cn, newKey(t).Public(), "a.example")
		req.By.Room, req.Profile, req.Subject.CommonName = "admin", profile, cn
		req.Evidence[0].Method = "approval"
		_, err := c.Issue(context.Background(), req)
		return err
	}
	for _, bad := range [][2]string{{"tls-server", "www.bank.example"}, {"tls-server", "localhost"}, {"tls-client", "www.bank.example"}, {"device", "10.0.0.1"}} {
		if err := approved(bad[0], bad[1]); ca.KindOf(err) != ca.BadName {
			t.Errorf("%s with common name %s gave %v; want kind %s", bad[0], bad[1], err, ca.BadName)
		}
	}
	for _, good := range [][2]string{{"tls-server", "a.example"}, {"device", "sensor-7"}, {"tls-client", ""}} {
		if err := approved(good[0], good[1]); err != nil {
			t.Errorf("%s with common name %q gave %v", good[0], good[1], err)
		}
	}
}
