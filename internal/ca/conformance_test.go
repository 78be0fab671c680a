package ca_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/internal/ca"
	"chancery/internal/storetest"
)

// extensionOf finds an extension by the last arc below id-ce (2.5.29) or by its
// whole OID; there must be one at most (RFC 5280 §4.2).
func extensionOf(t *testing.T, all []pkix.Extension, oid ...int) *pkix.Extension {
	t.Helper()
	if len(oid) == 1 {
		oid = []int{2, 5, 29, oid[0]}
	}
	var found *pkix.Extension
	for n := range all {
		if !all[n].Id.Equal(oid) {
			continue
		}
		if found != nil {
			t.Errorf("the extension %v is there twice", oid)
		}
		found = &all[n]
	}
	return found
}

// marked checks that an extension is there, and whether it is critical.
func marked(t *testing.T, what string, e *pkix.Extension, critical bool) {
	t.Helper()
	if e == nil || e.Critical != critical {
		t.Errorf("%s: %+v; want it with critical %v", what, e, critical)
	}
}

// The certificates that we sign have the form of RFC 5280 §4.
func TestCertificateForm(t *testing.T) {
	plan := storetest.Plan
	plan.Domains = []string{"example"}
	c := found(t, plan)
	long := strings.Repeat("a", 60) + ".example" // too long for a common name
	r, err := c.Issue(t.Context(), c.request(t, "acme:1", newKey(t).Public(), "a.example"))
	if err != nil {
		t.Fatal(err)
	}
	nameless, err := c.Issue(t.Context(), c.request(t, "acme:2", newKey(t).Public(), long))
	if err != nil {
		t.Fatal(err)
	}
	issuer := c.Issuers().ByID(r.Issuer).Certificate()
	leaf := parse(t, r.DER)
	for _, cert := range []*x509.Certificate{leaf, parse(t, nameless.DER), issuer, c.Issuers().Roots()[0]} {
		// §4.1.2.1, §4.1.2.2: version 3; a positive serial of 20 octets at most.
		if cert.Version != 3 || cert.SerialNumber.Sign() <= 0 || len(cert.SerialNumber.Bytes()) > 20 || cert.SerialNumber.BitLen() < 64 {
			t.Errorf("version %d, serial %x", cert.Version, cert.SerialNumber)
		}
		marked(t, "authority key identifier, §4.2.1.1", extensionOf(t, cert.Extensions, 35), false)
		marked(t, "subject key identifier, §4.2.1.2", extensionOf(t, cert.Extensions, 14), false)
		marked(t, "key usage, §4.2.1.3", extensionOf(t, cert.Extensions, 15), true)
		// §4.1.2.4: a non-empty issuer.
		if len(cert.Issuer.Names) == 0 {
			t.Error("the issuer has no name")
		}
		marksAuthority(t, cert)
	}
	// §4.2.1.1: the issuer's own identifier.
	if !bytes.Equal(leaf.AuthorityKeyId, issuer.SubjectKeyId) || bytes.Equal(leaf.SubjectKeyId, issuer.SubjectKeyId) {
		t.Errorf("key identifiers %x and %x below %x", leaf.SubjectKeyId, leaf.AuthorityKeyId, issuer.SubjectKeyId)
	}
	// §4.2.1.6: critical exactly when the subject is empty.
	marked(t, "names beside a subject, §4.2.1.6", extensionOf(t, leaf.Extensions, 17), false)
	bare := parse(t, nameless.DER)
	marked(t, "names without a subject, §4.2.1.6", extensionOf(t, bare.Extensions, 17), true)
	if len(bare.Subject.Names) != 0 {
		t.Errorf("the subject is %s", bare.Subject)
	}
	marked(t, "CRL distribution points, §4.2.1.13", extensionOf(t, leaf.Extensions, 31), false)
	marked(t, "authority information access, §4.2.2.1", extensionOf(t, leaf.Extensions, 1, 3, 6, 1, 5, 5, 7, 1, 1), false)
	if len(leaf.OCSPServer) != 1 || len(leaf.IssuingCertificateURL) != 1 {
		t.Errorf("OCSP %v, issuer %v", leaf.OCSPServer, leaf.IssuingCertificateURL)
	}
}

// marksAuthority: §4.2.1.9, §4.2.1.3, §4.2.1.10: what authorities have, critical,
// and others have not.
func marksAuthority(t *testing.T, cert *x509.Certificate) {
	t.Helper()
	signs := cert.KeyUsage&x509.KeyUsageCertSign != 0
	if !cert.IsCA {
		if signs || cert.MaxPathLen > 0 || extensionOf(t, cert.Extensions, 30) != nil {
			t.Errorf("%s is no authority and is marked as one", cert.Subject)
		}
		return
	}
	marked(t, "basic constraints, §4.2.1.9", extensionOf(t, cert.Extensions, 19), true)
	marked(t, "name constraints, §4.2.1.10", extensionOf(t, cert.Extensions, 30), true)
	if !signs || cert.KeyUsage&x509.KeyUsageCRLSign == 0 || len(cert.Subject.Names) == 0 {
		t.Errorf("%s has the key usage %b", cert.Subject, cert.KeyUsage)
	}
}

// RFC 5019 §2.2.2 RECOMMENDS an OCSP delegate without pointers, and RFC 6960
// §4.2.2.2.1 a nocheck that is NULL and not critical.
func TestDelegateForm(t *testing.T) {
	c := found(t, storetest.Plan)
	r := c.leaf(t, "www.example")
	a, err := c.OCSP(t.Context(), ca.Ask{Certs: []ca.CertID{c.certID(t, r.Serial)}, Life: day})
	if err != nil {
		t.Fatal(err)
	}
	d := delegateOf(t, a, c.Issuers().ByID(r.Issuer).Certificate())
	if extensionOf(t, d.Extensions, 31) != nil || extensionOf(t, d.Extensions, 1, 3, 6, 1, 5, 5, 7, 1, 1) != nil {
		t.Error("the delegate has pointers to its own status")
	}
	noCheck := extensionOf(t, d.Extensions, 1, 3, 6, 1, 5, 5, 7, 48, 1, 5)
	marked(t, "nocheck", noCheck, false)
	if noCheck != nil && !bytes.Equal(noCheck.Value, []byte{5, 0}) {
		t.Errorf("nocheck is %x", noCheck.Value)
	}
	// RFC 5019 §2.2.1: without a nonce in the request there is no extension in the answer.
	if bytes.Contains(a.DER, []byte{0x2b, 6, 1, 5, 5, 7, 48, 1, 2}) {
		t.Error("a nonce that nobody asked for")
	}
}

// RFC 8555 §7.4: an end that was asked for is met or refused, never cut short.
func TestRequestedEnd(t *testing.T) {
	plan := storetest.Plan
	plan.IssuerLife = 30 * day
	c := found(t, plan)
	end := c.Issuers().Line(ca.DefaultLine, c.now).Certificate().NotAfter
	for name, x := range map[string]struct {
		notAfter, want time.Time
	}{
		"not asked for":    {time.Time{}, end},
		"before the end":   {end.Add(-day), end.Add(-day)},
		"at the end":       {end, end},
		"after the end":    {end.Add(time.Second), time.Time{}},
		"long after it":    {c.now.Add(90 * day), time.Time{}},
		"beyond a profile": {c.now.Add(900 * day), time.Time{}},
	} {
		req := c.request(t, "acme:"+name, newKey(t).Public(), "a.example")
		req.NotAfter = x.notAfter
		early := c.Precheck(req)
		r, err := c.Issue(t.Context(), req)
		if x.want.IsZero() {
			if ca.KindOf(early) != ca.Invalid || ca.KindOf(err) != ca.Invalid {
				t.Errorf("%s: Precheck gave %v, Issue %v; want kind %s", name, early, err, ca.Invalid)
			}
			continue
		}
		if early != nil || err != nil || !parse(t, r.DER).NotAfter.Equal(x.want) {
			t.Errorf("%s: %v, %v, until %v; want %v", name, early, err, r.NotAfter, x.want)
		}
	}
}

// The CRLs that we sign have the form of RFC 5280 §5.
func TestCRLForm(t *testing.T) {
	plan := storetest.Plan
	plan.Shards = 2
	c := found(t, plan)
	issuer := c.Issuers().Line(ca.DefaultLine, c.now)
	read := func(shard int) *x509.RevocationList {
		t.Helper()
		if _, err := c.RefreshCRLs(t.Context()); err != nil {
			t.Fatal(err)
		}
		r, err := c.store.CRL(t.Context(), issuer.ID, shard)
		if err != nil {
			t.Fatal(err)
		}
		list, err := x509.ParseRevocationList(r.DER)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	empty := read(0)
	checkCRL(t, empty, issuer, 0)
	if n := elements(t, empty.RawTBSRevocationList); n != 6 { // §5.1.2.6: no list MUST be there, not an empty one
		t.Errorf("an empty CRL has %d fields; want 6", n)
	}
	plain, known := c.leaf(t, "plain.example"), c.leaf(t, "known.example")
	for r, reason := range map[ca.Serial]ca.Reason{plain.Serial: ca.Unspecified, known.Serial: ca.KeyCompromise} {
		if _, err := c.Revoke(t.Context(), ca.Revocation{Serial: r, Reason: reason, By: operator}); err != nil {
			t.Fatal(err)
		}
	}
	// §5.3.1: the reason is absent rather than unspecified.
	for serial, want := range map[ca.Serial]int{plain.Serial: 0, known.Serial: 1} {
		list := read(issuer.ShardOf(serial))
		n := slices.IndexFunc(list.RevokedCertificateEntries, func(e x509.RevocationListEntry) bool { return ca.SerialOf(e.SerialNumber) == serial })
		if n < 0 || len(list.RevokedCertificateEntries[n].Extensions) != want {
			t.Errorf("%s: %+v; want %d extensions", serial, list.RevokedCertificateEntries, want)
		}
	}
	if later := read(issuer.ShardOf(plain.Serial)); later.Number.Cmp(empty.Number) <= 0 { // §5.2.3
		t.Errorf("the number went from %v to %v", empty.Number, later.Number)
	}
	// §5: an entry stays until a CRL after the certificate's end has had it.
	c.now = parse(t, plain.DER).NotAfter.Add(time.Minute)
	if list := read(issuer.ShardOf(plain.Serial)); !slices.ContainsFunc(list.RevokedCertificateEntries, func(e x509.RevocationListEntry) bool {
		return ca.SerialOf(e.SerialNumber) == plain.Serial
	}) {
		t.Error("the entry went with the certificate's end")
	}
}

// checkCRL: §5.1.2.1, §5.1.2.5, §5.2.1, §5.2.3 and §5.2.5.
func checkCRL(t *testing.T, list *x509.RevocationList, issuer *ca.Issuer, shard int) {
	t.Helper()
	marked(t, "authority key identifier, §5.2.1", extensionOf(t, list.Extensions, 35), false)
	marked(t, "CRL number, §5.2.3", extensionOf(t, list.Extensions, 20), false)
	point := extensionOf(t, list.Extensions, 28)
	marked(t, "issuing distribution point, §5.2.5", point, true)
	if url := issuer.CRLURL(shard); point == nil || !bytes.Contains(point.Value, append([]byte{0x86, byte(len(url))}, url...)) {
		t.Errorf("the distribution point is not %s", url)
	}
	if !bytes.Equal(list.AuthorityKeyId, issuer.Certificate().SubjectKeyId) || list.NextUpdate.IsZero() || !list.NextUpdate.After(list.ThisUpdate) {
		t.Errorf("key identifier %x, from %v to %v", list.AuthorityKeyId, list.ThisUpdate, list.NextUpdate)
	}
	if err := list.CheckSignatureFrom(issuer.Certificate()); err != nil {
		t.Error(err)
	}
}

// elements counts the fields of a TBSCertList; version, signature, issuer, two
// times and the extensions are six.
func elements(t *testing.T, der []byte) int {
	t.Helper()
	var whole asn1.RawValue
	if _, err := asn1.Unmarshal(der, &whole); err != nil {
		t.Fatal(err)
	}
	n := 0
	for rest := whole.Bytes; len(rest) > 0; n++ {
		var one asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &one); err != nil {
			t.Fatal(err)
		}
		if version := 1; n == 0 { // §5.1.2.1: v2
			if _, err := asn1.Unmarshal(one.FullBytes, &version); err != nil || version != 1 {
				t.Error(fmt.Errorf("version %d, %v", version, err))
			}
		}
	}
	return n
}
