package ca_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"slices"
	"testing"
	"time"

	"chancery/internal/ca"
	"chancery/internal/storetest"

	"golang.org/x/crypto/ocsp"
)

const day = 24 * time.Hour

// certID names a certificate of the present issuer.
func (c *core) certID(t *testing.T, serial ca.Serial) ca.CertID {
	t.Helper()
	id, err := c.Issuers().Line(ca.DefaultLine, c.now).CertID(crypto.SHA256, serial)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (c *core) leaf(t *testing.T, name string) ca.Record {
	t.Helper()
	r, err := c.Issue(context.Background(), c.request(t, "test:"+name, newKey(t).Public(), name))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// delegateOf reads an answer about one certificate and gives who signed it.
func delegateOf(t *testing.T, a ca.Answer, issuer *x509.Certificate) *x509.Certificate {
	t.Helper()
	r, err := ocsp.ParseResponse(a.DER, issuer)
	if err != nil {
		t.Fatal(err)
	}
	if r.Certificate == nil {
		t.Fatal("no delegate's certificate is enclosed")
	}
	return r.Certificate
}

// TestDelegate: RFC 6960 §4.2.2.2: certified by the issuer in question, for
// OCSP alone, and never the issuer itself.
func TestDelegate(t *testing.T) {
	c := found(t, storetest.Plan)
	r := c.leaf(t, "www.example")
	issuer := c.Issuers().ByID(r.Issuer).Certificate()
	a, err := c.OCSP(t.Context(), ca.Ask{Certs: []ca.CertID{c.certID(t, r.Serial)}, Life: day})
	if err != nil {
		t.Fatal(err)
	}
	d := delegateOf(t, a, issuer)
	if err := d.CheckSignatureFrom(issuer); err != nil {
		t.Error(err)
	}
	if d.PublicKey.(*ecdsa.PublicKey).Equal(issuer.PublicKey) || d.IsCA || d.KeyUsage != x509.KeyUsageDigitalSignature ||
		!slices.Equal(d.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}) {
		t.Errorf("the delegate may do more than it should: %v %v", d.KeyUsage, d.ExtKeyUsage)
	}
	noCheck := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}
	if !slices.ContainsFunc(d.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(noCheck) }) {
		t.Error("no id-pkix-ocsp-nocheck: clients would ask who vouches for the delegate")
	}
	if got, err := c.store.BySerial(t.Context(), ca.SerialOf(d.SerialNumber)); err != nil || got.Profile != "ocsp-responder" || got.By.Room != "status" {
		t.Errorf("the delegate stands in the ledger as %+v, %v", got, err)
	}
}

func TestDelegateIsRenewed(t *testing.T) {
	c := found(t, storetest.Plan)
	r := c.leaf(t, "www.example")
	issuer := c.Issuers().ByID(r.Issuer).Certificate()
	ask := ca.Ask{Certs: []ca.CertID{c.certID(t, r.Serial)}, Life: day}
	signer := func() *x509.Certificate {
		t.Helper()
		a, err := c.OCSP(t.Context(), ask)
		if err != nil {
			t.Fatal(err)
		}
		return delegateOf(t, a, issuer)
	}
	first := signer()
	c.now = c.now.Add(6 * day)
	if !signer().Equal(first) {
		t.Error("renewed before half of its life")
	}
	c.now = c.now.Add(2 * day)
	whole := c.Authority.Ledger
	c.Authority.Ledger = noIntents{whole}
	if !signer().Equal(first) {
		t.Error("a delegate that could not be renewed was not used on")
	}
	c.Authority.Ledger = whole
	if !signer().Equal(first) {
		t.Error("renewal was tried again at once")
	}
	c.now = c.now.Add(time.Minute)
	second := signer()
	if second.Equal(first) || !second.NotAfter.After(first.NotAfter) {
		t.Error("not renewed after half of its life")
	}
	c.now = second.NotAfter.Add(time.Second)
	c.Authority.Ledger = noIntents{whole}
	if _, err := c.OCSP(t.Context(), ask); !errors.Is(err, errTorn) {
		t.Errorf("signed by a delegate that has ended: %v", err)
	}
}

// noIntents is a ledger that takes nothing new.
type noIntents struct{ ca.Ledger }

func (noIntents) Intend(context.Context, ca.Intent) (ca.Record, error) {
	return ca.Record{}, errTorn
}

func TestOCSPStatuses(t *testing.T) {
	c := found(t, storetest.Plan)
	good, bad := c.leaf(t, "good.example"), c.leaf(t, "bad.example")
	if _, err := c.Revoke(t.Context(), ca.Revocation{Serial: bad.Serial, Reason: ca.Superseded, By: operator}); err != nil {
		t.Fatal(err)
	}
	pending := storetest.Intent("pending")
	pending.Issuer = good.Issuer
	if _, err := c.store.Intend(t.Context(), pending); err != nil {
		t.Fatal(err)
	}
	nonce := []byte("a nonce of the client's")
	bare := c.certID(t, bad.Serial)
	bare.Bare = true
	a, err := c.OCSP(t.Context(), ca.Ask{
		Certs: []ca.CertID{c.certID(t, good.Serial), bare, c.certID(t, pending.Serial), c.certID(t, "4711")},
		Nonce: nonce, Life: day,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []ca.CertStatus{
		{Word: ca.StatusGood}, {Word: ca.StatusRevoked, At: c.now.Truncate(time.Second), Reason: ca.Superseded},
		{Word: ca.StatusUnknown}, {Word: ca.StatusUnknown},
	}
	if !slices.EqualFunc(a.Statuses, want, ca.CertStatus.Equal) {
		t.Errorf("got %v", a.Statuses)
	}
	if a.NextUpdate.Sub(a.ThisUpdate) != ca.UnknownLife {
		t.Errorf("an answer with unknown in it is good for %v", a.NextUpdate.Sub(a.ThisUpdate))
	}
	if !bytes.Contains(a.DER, append([]byte{4, byte(len(nonce))}, nonce...)) {
		t.Error("the nonce is not in the answer")
	}
	// Each CertID comes back octet for octet: some clients compare them so.
	sha256 := []byte{6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1}
	if n := bytes.Count(a.DER, append([]byte{0x30, 11}, sha256...)); n != 1 {
		t.Errorf("%d CertIDs without parameters", n)
	}
	if n := bytes.Count(a.DER, append(append([]byte{0x30, 13}, sha256...), 5, 0)); n != 3 {
		t.Errorf("%d CertIDs with NULL parameters", n)
	}
}

func TestOCSPRefuses(t *testing.T) {
	c := found(t, storetest.Plan)
	r := c.leaf(t, "www.example")
	id := c.certID(t, r.Serial)
	rootID, err := c.Issuers().ByID(c.Issuers().ByID(r.Issuer).Parent).CertID(crypto.SHA1, r.Serial)
	if err != nil {
		t.Fatal(err)
	}
	strange := id
	strange.KeyHash = make([]byte, 32)
	crossed := id
	crossed.Hash = crypto.SHA1
	for name, x := range map[string]struct {
		ask  ca.Ask
		kind ca.Kind
	}{
		"nothing":         {ca.Ask{Life: day}, ca.Invalid},
		"no life":         {ca.Ask{Certs: []ca.CertID{id}}, ca.Invalid},
		"another key":     {ca.Ask{Certs: []ca.CertID{strange}, Life: day}, ca.Denied},
		"another hash":    {ca.Ask{Certs: []ca.CertID{crossed}, Life: day}, ca.Denied},
		"two issuers":     {ca.Ask{Certs: []ca.CertID{id, rootID}, Life: day}, ca.Denied},
		"half of nowhere": {ca.Ask{Certs: []ca.CertID{id, strange}, Life: day}, ca.Denied},
	} {
		if _, err := c.OCSP(t.Context(), x.ask); ca.KindOf(err) != x.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A replica without the issuer's key cannot speak for it.
	other := storetest.Authority(t, c.store, &storetest.Keys{}, func() time.Time { return c.now })
	if err := other.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := other.OCSP(t.Context(), ca.Ask{Certs: []ca.CertID{id}, Life: day}); ca.KindOf(err) != ca.Denied {
		t.Errorf("without the key: %v", err)
	}
}

// TestOCSPNearTheEnd: no answer outlives the delegate, and no delegate its issuer.
func TestOCSPNearTheEnd(t *testing.T) {
	plan := storetest.Plan
	plan.IssuerLife = 20 * day
	c := found(t, plan)
	r := c.leaf(t, "www.example")
	issuer := c.Issuers().ByID(r.Issuer).Certificate()
	ask := ca.Ask{Certs: []ca.CertID{c.certID(t, r.Serial)}, Life: 30 * day}
	for _, left := range []time.Duration{10 * day, 4 * day, day, time.Minute} {
		c.now = issuer.NotAfter.Add(-left)
		a, err := c.OCSP(t.Context(), ask)
		if err != nil {
			t.Fatal(err)
		}
		d := delegateOf(t, a, issuer)
		if a.NextUpdate.After(d.NotAfter) || d.NotAfter.After(issuer.NotAfter) {
			t.Errorf("%v left: answer until %v, delegate until %v, issuer until %v", left, a.NextUpdate, d.NotAfter, issuer.NotAfter)
		}
	}
	if records, _, err := c.store.List(t.Context(), ca.Query{Profile: "ocsp-responder", Limit: 10, Now: c.now}); err != nil || len(records) != 1 {
		t.Errorf("%d delegates, though none could end later than the first", len(records))
	}
	c.now = issuer.NotAfter.Add(time.Second)
	if _, err := c.OCSP(t.Context(), ask); ca.KindOf(err) != ca.Denied {
		t.Errorf("after the issuer's end: %v", err)
	}
}
