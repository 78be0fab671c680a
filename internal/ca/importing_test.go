package ca_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/internal/ca"
	"chancery/internal/sqlstore"
	"chancery/internal/storetest"
)

// elsewhere is an authority that somebody else made.
type elsewhere struct {
	template *x509.Certificate
	cert     *x509.Certificate
	key      *ecdsa.PrivateKey
}

// foreign makes an authority below another one, or a root; change may be nil.
func foreign(t *testing.T, name string, above *elsewhere, change func(*x509.Certificate)) *elsewhere {
	t.Helper()
	e := &elsewhere{key: newKey(t), template: &x509.Certificate{
		SerialNumber: big.NewInt(5), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(3, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}}
	if change != nil {
		change(e.template)
	}
	if above == nil {
		above = e
	}
	e.cert = e.certify(t, above)
	return e
}

func (e *elsewhere) certify(t *testing.T, above *elsewhere) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, e.template, above.template, e.key.Public(), above.key)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, der)
}

// empty is a core without a hierarchy.
func empty(t *testing.T) *core {
	c := &core{store: sqlstore.New(storetest.SQLite(t)), keys: &storetest.Keys{}, now: time.Now()}
	c.Authority = storetest.Authority(t, c.store, c.keys, func() time.Time { return c.now })
	return c
}

// take imports an authority with its key.
func (c *core) take(line string, e *elsewhere, above []*elsewhere, revoked ...ca.RevokedEntry) (*ca.Issuer, error) {
	c.keys.Put(line, e.key)
	in := ca.Imported{By: operator, Line: line, Key: line, Chain: []*x509.Certificate{e.cert}, Shards: 2, StatusURL: "http://status.example", Revoked: revoked}
	for _, a := range above {
		in.Chain = append(in.Chain, a.cert)
	}
	return c.Import(context.Background(), in)
}

// Two authorities number from 1, with every reason that a CRL can have; each
// one's CRL and status come from its own.
func TestImportedRevocations(t *testing.T) {
	ctx := t.Context()
	c := empty(t)
	reasons := []ca.Reason{0, 1, 2, 3, 4, 5, 6, 9, 10}
	for _, line := range []string{"first", "second"} {
		var entries []ca.RevokedEntry
		for n, reason := range reasons {
			entries = append(entries, ca.RevokedEntry{Serial: ca.SerialOf(big.NewInt(int64(n + 1))), At: c.now.Add(-time.Hour), Reason: reason})
		}
		issuer, err := c.take(line, foreign(t, line, nil, nil), nil, entries...)
		if err != nil {
			t.Fatal(err)
		}
		c.now = c.now.Add(48 * time.Hour) // all CRLs are due again
		if n, err := c.RefreshCRLs(ctx); err != nil || n == 0 {
			t.Fatalf("RefreshCRLs made %d, %v", n, err)
		}
		got := map[string]int{}
		for shard := range 2 {
			record, err := c.store.CRL(ctx, issuer.ID, shard)
			if err != nil {
				t.Fatal(err)
			}
			crl, err := x509.ParseRevocationList(record.DER)
			if err != nil || crl.CheckSignatureFrom(issuer.Certificate()) != nil {
				t.Fatalf("%s: %v", line, err)
			}
			for _, e := range crl.RevokedCertificateEntries {
				got[e.SerialNumber.String()] = e.ReasonCode
			}
		}
		for n, reason := range reasons {
			serial := big.NewInt(int64(n + 1))
			if code, listed := got[serial.String()]; !listed || code != int(reason) {
				t.Errorf("%s: the CRLs say of %s: %v, %d", line, serial, listed, code)
			}
			status, err := c.Status(ctx, issuer, ca.SerialOf(serial))
			if err != nil || status.Word != ca.StatusRevoked || status.Reason != reason || status.At.IsZero() {
				t.Errorf("%s: the status of %s is %+v, %v", line, serial, status, err)
			}
		}
		if status, err := c.Status(ctx, issuer, "63"); err != nil || status.Word != ca.StatusUnknown {
			t.Errorf("%s: of what was not revoked: %+v, %v", line, status, err)
		}
		id, err := issuer.CertID(crypto.SHA256, "01")
		if err != nil {
			t.Fatal(err)
		}
		if a, err := c.OCSP(ctx, ca.Ask{Certs: []ca.CertID{id}, Life: day}); err != nil || a.Statuses[0].Word != ca.StatusRevoked {
			t.Errorf("%s: OCSP says %+v, %v", line, a.Statuses, err)
		}
	}
}

// subtrees is a name constraints extension with one name (RFC 5280 §4.2.1.10).
func subtrees(t *testing.T, side, tag int, value string) func(*x509.Certificate) {
	t.Helper()
	wrap := func(class, tag int, compound bool, content []byte) []byte {
		der, err := asn1.Marshal(asn1.RawValue{Class: class, Tag: tag, IsCompound: compound, Bytes: content})
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	tree := wrap(0, 16, true, wrap(2, tag, tag == 4, []byte(value)))
	ext := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 30}, Value: wrap(0, 16, true, wrap(2, side, true, tree))}
	return func(c *x509.Certificate) { c.ExtraExtensions = append(c.ExtraExtensions, ext) }
}

func TestImportRefuses(t *testing.T) {
	c := empty(t)
	now := c.now
	for name, test := range map[string]struct {
		own, above func(*x509.Certificate)
		revoked    []ca.RevokedEntry
		kind       ca.Kind
	}{
		"good":              {nil, nil, []ca.RevokedEntry{{Serial: "01", At: now}}, ""},
		"no cRLSign":        {func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }, nil, nil, ca.Invalid},
		"no keyUsage":       {func(c *x509.Certificate) { c.KeyUsage = 0 }, nil, nil, ca.Invalid},
		"above, no cRLSign": {nil, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }, nil, ""},
		"ended":             {func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) }, nil, nil, ca.Invalid},
		"no authority":      {func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageCRLSign }, nil, nil, ca.Invalid},
		"reason 7":          {nil, nil, []ca.RevokedEntry{{Serial: "01", At: now, Reason: 7}}, ca.Invalid},
		"reason 8":          {nil, nil, []ca.RevokedEntry{{Serial: "01", At: now, Reason: 8}}, ca.Invalid},
		"reason 11":         {nil, nil, []ca.RevokedEntry{{Serial: "01", At: now, Reason: 11}}, ca.Invalid},
		"serial twice":      {nil, nil, []ca.RevokedEntry{{Serial: "01", At: now}, {Serial: "01", At: now}}, ca.Invalid},
		"time beyond dates": {nil, nil, []ca.RevokedEntry{{Serial: "01", At: time.Date(10001, 1, 1, 0, 0, 0, 0, time.UTC)}}, ca.Invalid},
		"DNS":               {subtrees(t, 0, 2, "corp.example"), nil, nil, ""},
		"DNS excluded":      {subtrees(t, 1, 2, "corp.example"), nil, nil, ""},
		"e-mail":            {subtrees(t, 0, 1, "corp.example"), nil, nil, ""},
		"e-mail excluded":   {subtrees(t, 1, 1, "corp.example"), nil, nil, ca.Invalid},
		"URI":               {subtrees(t, 0, 6, "corp.example"), nil, nil, ca.Invalid},
		"URI excluded":      {subtrees(t, 1, 6, "corp.example"), nil, nil, ca.Invalid},
		"URI above":         {nil, subtrees(t, 0, 6, "corp.example"), nil, ca.Invalid},
		"directoryName":     {subtrees(t, 0, 4, "\x30\x00"), nil, nil, ca.Invalid},
		"registeredID":      {subtrees(t, 0, 8, "\x2a\x03"), nil, nil, ca.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			root := foreign(t, "Root "+name, nil, test.above)
			sub := foreign(t, "Sub "+name, root, test.own)
			_, err := c.take("line", sub, []*elsewhere{root}, test.revoked...)
			if ca.KindOf(err) != test.kind {
				t.Errorf("got %v; want kind %q", err, test.kind)
			}
			if name == "no cRLSign" && !strings.Contains(fmt.Sprint(err), "no cRLSign") {
				t.Errorf("nobody learns why from %v", err)
			}
			if _, err := c.RefreshCRLs(t.Context()); err != nil {
				t.Errorf("a CRL cannot be made any more: %v", err)
			}
		})
	}
}

// Names have to pass every certificate of the chain.
func TestConstraintsOfTheChain(t *testing.T) {
	c := empty(t)
	_, ten, _ := net.ParseCIDR("10.0.0.0/8")
	_, inner, _ := net.ParseCIDR("10.9.0.0/16")
	root := foreign(t, "Root", nil, func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.PermittedIPRanges = []string{"corp.example", "lab.example"}, []*net.IPNet{ten}
	})
	sub := foreign(t, "Sub", root, func(c *x509.Certificate) {
		c.ExcludedDNSDomains, c.ExcludedIPRanges = []string{"secret.corp.example", "lab.example"}, []*net.IPNet{inner}
	})
	if _, err := c.take("issuing", sub, []*elsewhere{root}); err != nil {
		t.Fatal(err)
	}
	for name, good := range map[string]bool{
		"www.corp.example": true, "corp.example": true, "*.www.corp.example": true, "10.1.2.3": true,
		"other.example": false, "xcorp.example": false, "a.lab.example": false, "secret.corp.example": false, "a.secret.corp.example": false,
		"*.secret.corp.example": false, "*.corp.example": false, "10.9.1.1": false, "192.168.1.1": false,
	} {
		req := c.request(t, "acme:"+name, newKey(t).Public(), name)
		if err := c.Precheck(req); (err == nil) != good || (!good && ca.KindOf(err) != ca.BadName) {
			t.Errorf("%s before: %v", name, err)
		}
		r, err := c.Issue(t.Context(), req)
		if (err == nil) != good || (!good && ca.KindOf(err) != ca.BadName) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if good {
			if err := c.verifies(t, r, root.cert); err != nil {
				t.Errorf("%s: relying parties say %v", name, err)
			}
		}
	}
}

// A renewed certificate joins the authority that has its key, and the
// authority lives as long.
func TestRenewedAuthority(t *testing.T) {
	ctx := t.Context()
	c := empty(t)
	root, sub := foreign(t, "Root", nil, nil), (*elsewhere)(nil)
	sub = foreign(t, "Sub", root, func(c *x509.Certificate) { c.NotAfter = time.Now().AddDate(0, 0, 30) })
	before, err := c.take("issuing", sub, []*elsewhere{root}, ca.RevokedEntry{Serial: "01", At: c.now})
	if err != nil {
		t.Fatal(err)
	}
	again := func(change func(*x509.Certificate), revoked ...ca.RevokedEntry) error {
		t.Helper()
		other := *sub
		template := *sub.template
		change(&template)
		other.template = &template
		other.cert = other.certify(t, root)
		_, err := c.Import(ctx, ca.Imported{By: operator, Line: "issuing", Chain: []*x509.Certificate{other.cert, root.cert}, Revoked: revoked})
		return err
	}
	longer := func(c *x509.Certificate) { c.NotAfter = time.Now().AddDate(2, 0, 0) }
	for name, change := range map[string]func(*x509.Certificate){
		"as long": func(*x509.Certificate) {},
		"shorter": func(c *x509.Certificate) { c.NotAfter = time.Now().AddDate(0, 0, 3) },
		"subject": func(c *x509.Certificate) { longer(c); c.Subject = pkix.Name{CommonName: "Other"} },
		"key id":  func(c *x509.Certificate) { longer(c); c.SubjectKeyId = []byte{1, 2, 3} },
	} {
		if err := again(change); ca.KindOf(err) != ca.Conflict {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := again(longer, ca.RevokedEntry{Serial: "02", At: c.now}); ca.KindOf(err) != ca.Invalid {
		t.Errorf("with revocations: %v", err)
	}
	if err := again(longer); err != nil {
		t.Fatal(err)
	}
	c.now = c.now.AddDate(0, 2, 0) // the first certificate has ended
	issuer := c.Issuers().Line("issuing", c.now)
	if issuer == nil || issuer.ID != before.ID || len(c.Issuers().List()) != 2 {
		t.Fatalf("the line is led by %v", issuer)
	}
	r, err := c.Issue(ctx, c.request(t, "acme:1", newKey(t).Public(), "a.example"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.verifies(t, r, root.cert); err != nil {
		t.Error(err)
	}
	chains := c.Issuers().Chains(issuer.ID, c.now)
	if len(chains) != 1 || !chains[0].Certificates[0].Equal(issuer.Certificate()) {
		t.Errorf("chains: %v", chains)
	}
	if _, err := c.RefreshCRLs(ctx); err != nil {
		t.Error(err)
	}
	crls := ""
	for shard := range 2 {
		record, err := c.store.CRL(ctx, issuer.ID, shard)
		if err != nil || record.NextUpdate.Before(c.now) {
			t.Fatalf("the CRL was not made again: %+v, %v", record.NextUpdate, err)
		}
		crl, err := x509.ParseRevocationList(record.DER)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range crl.RevokedCertificateEntries {
			crls += fmt.Sprint(e.SerialNumber, " ")
		}
	}
	if crls != "1 " {
		t.Errorf("the CRLs have %s", crls)
	}
	// A process that starts now sees the same.
	fresh := storetest.Authority(t, c.store, c.keys, func() time.Time { return c.now })
	if err := fresh.Reload(ctx); err != nil || !fresh.Issuers().ByID(issuer.ID).Certificate().Equal(issuer.Certificate()) {
		t.Errorf("after a restart: %v", err)
	}
}

// A renewed root above an imported authority is not a second way.
func TestRenewedRootAbove(t *testing.T) {
	c := empty(t)
	root := foreign(t, "Root", nil, func(c *x509.Certificate) { c.NotAfter = time.Now().AddDate(0, 0, 30) })
	sub := foreign(t, "Sub", root, nil)
	if _, err := c.take("issuing", sub, []*elsewhere{root}); err != nil {
		t.Fatal(err)
	}
	root.template.NotAfter = time.Now().AddDate(5, 0, 0)
	root.cert = root.certify(t, root)
	other := foreign(t, "Other", root, nil)
	if _, err := c.take("other", other, []*elsewhere{root}); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"issuing", "other"} {
		issuer := c.Issuers().Line(line, c.now)
		chains := c.Issuers().Chains(issuer.ID, c.now)
		if len(chains) != 1 || !chains[0].Root.Equal(root.cert) {
			t.Errorf("%s has %d chains", line, len(chains))
		}
	}
	if roots := c.Issuers().Roots(); len(roots) != 1 || !slices.ContainsFunc(roots, root.cert.Equal) {
		t.Errorf("roots: %v", roots)
	}
}
