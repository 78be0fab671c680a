package anchors

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"
)

func TestDevices(t *testing.T) {
	root := newRoot(t, "Root")
	middle := root.below(t, "Middle", nil)
	bound := root.below(t, "Bound", func(c *x509.Certificate) {
		c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{"maker.example"}
	})
	other := newRoot(t, "Other")
	known := root.below(t, "Known", nil)
	s := newSet(t, Config{Roots: roots(root), Intermediates: roots(known)})
	past, future := time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	shallow := root.below(t, "Shallow", func(c *x509.Certificate) { c.MaxPathLenZero = true })
	deep := shallow.below(t, "Deep", nil)
	for name, test := range map[string]struct {
		by     *authority
		beside []*authority
		change func(*x509.Certificate)
		want   Kind
	}{
		"for life, no EKU, no SAN":    {by: root},
		"over what the device sends":  {by: middle, beside: []*authority{middle}},
		"over what is known":          {by: known},
		"without what stands between": {by: middle, want: Unknown},
		"with the root":               {by: middle, beside: []*authority{middle, root}},
		"with what has no place":      {by: middle, beside: []*authority{other, middle}},
		"of another maker":            {by: other, beside: []*authority{other}, want: Unknown},
		"critical otherName":          {by: root, change: func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{hardwareModule(true)} }},
		"otherName":                   {by: root, change: func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{hardwareModule(false)} }},
		"for servers":                 {by: root, change: func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }},
		"no key usage":                {by: root, change: func(c *x509.Certificate) { c.KeyUsage = 0 }},
		"for encryption alone":        {by: root, change: func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }, want: Unfit},
		"unknown critical extension": {by: root, change: func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
		}, want: Unfit},
		"within constraints":        {by: bound, beside: []*authority{bound}, change: func(c *x509.Certificate) { c.DNSNames = []string{"a.maker.example"} }},
		"outside of constraints":    {by: bound, beside: []*authority{bound}, change: func(c *x509.Certificate) { c.DNSNames = []string{"a.example"} }, want: Unfit},
		"path too long":             {by: deep, beside: []*authority{deep, shallow}, want: Unfit},
		"ended":                     {by: root, change: func(c *x509.Certificate) { c.NotAfter = past }, want: Expired},
		"not begun":                 {by: root, change: func(c *x509.Certificate) { c.NotBefore = future }, want: Expired},
		"ended, of another maker":   {by: other, change: func(c *x509.Certificate) { c.NotAfter = past }, want: Unknown},
		"ended, over what was sent": {by: middle, beside: []*authority{middle}, change: func(c *x509.Certificate) { c.NotAfter = past }, want: Expired},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, s, test.want, append([]*x509.Certificate{test.by.device(t, test.change)}, roots(test.beside...)...)...)
		})
	}
	t.Run("signed by a device", func(t *testing.T) {
		key := newKey(t)
		device := root.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "d"}, KeyUsage: x509.KeyUsageDigitalSignature}, key)
		leaf := (&authority{device, key}).device(t, nil)
		if err := s.Verify(context.Background(), []*x509.Certificate{leaf, device}, time.Now()); err == nil {
			t.Error("a device's certificate signed another")
		}
	})
	t.Run("nothing", func(t *testing.T) { expect(t, s, Unknown) })
	t.Run("too much", func(t *testing.T) {
		device := root.device(t, nil)
		chain := []*x509.Certificate{device}
		for len(chain) <= maxShown {
			chain = append(chain, middle.cert)
		}
		expect(t, s, Unknown, chain...)
	})
}

// A root has no end as long as it is configured; what stands between has.
func TestEndedRoot(t *testing.T) {
	past := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
	root := (*authority)(nil).below(t, "Root", past)
	s := newSet(t, Config{Roots: roots(root), Revocation: CRL, CRLs: []string{write(t, root.crl(t, nil))}})
	expect(t, s, "", root.device(t, nil))
	ended := root.below(t, "Ended", past)
	if err := s.Verify(context.Background(), []*x509.Certificate{ended.device(t, nil), ended.cert}, time.Now()); err == nil {
		t.Error("an authority that has ended still counts")
	}
	pinned := root.device(t, past)
	expect(t, newSet(t, Config{Roots: []*x509.Certificate{pinned}}), Expired, pinned)
}

// The certificate that was handed over is somebody else's, too.
func TestVerifyChangesNothing(t *testing.T) {
	root := newRoot(t, "Root")
	device := root.device(t, func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{hardwareModule(true)} })
	before := len(device.UnhandledCriticalExtensions)
	if before != 1 {
		t.Fatalf("%d unhandled extensions: the test is wrong", before)
	}
	expect(t, newSet(t, Config{Roots: roots(root)}), "", device)
	if len(device.UnhandledCriticalExtensions) != before {
		t.Error("the certificate was changed")
	}
}

func TestErrors(t *testing.T) {
	s := newSet(t, Config{Name: "maker-7", Roots: roots(newRoot(t, "Root"))})
	err := s.Verify(context.Background(), []*x509.Certificate{newRoot(t, "Other").device(t, nil)}, time.Now())
	var refusal *Error
	if !errors.As(err, &refusal) || !refusal.Foreign() || !strings.Contains(err.Error(), "maker-7") {
		t.Errorf("got %v", err)
	}
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) {
		t.Errorf("the cause is lost: %v", err)
	}
}

func TestConfigurationMistakes(t *testing.T) {
	good := roots(newRoot(t, "Root"))
	for want, c := range map[string]Config{
		"no root":      {},
		"sometimes":    {Roots: good, Revocation: "sometimes"},
		"ldap://x/":    {Roots: good, CRLs: []string{"ldap://x/"}},
		"no such":      {Roots: good, CRLs: []string{"file:/nonexistent/list.crl"}},
		"no CRL in it": {Roots: good, CRLs: []string{write(t, []byte("-----BEGIN NOTHING-----\n"))}},
		"ftp://x/":     {Roots: good, OCSP: "ftp://x/"},
	} {
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error about %q; got %v", want, err)
		}
	}
}

// TestLongKeys: a signature by a giant RSA key, whoever has none such, is not verified:
// with this many bits it would take minutes.
func TestLongKeys(t *testing.T) {
	root := newRoot(t, "Root")
	s := newSet(t, Config{Roots: roots(root)})
	giant := &rsa.PublicKey{N: new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 1<<19), big.NewInt(12345)), E: 1<<31 - 1}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Giant"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, root.cert, giant, root.key)
	if err != nil {
		t.Fatal(err)
	}
	middle, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	device := (&authority{&x509.Certificate{RawSubject: middle.RawSubject}, small}).device(t, nil)
	for _, chain := range [][]*x509.Certificate{{device, middle}, {middle}} {
		err := s.Verify(context.Background(), chain, time.Now())
		if kindOf(err) != Unknown || !strings.Contains(err.Error(), "8192") {
			t.Errorf("got %v", err)
		}
	}
	expect(t, s, "", root.device(t, nil))
}
