package enroll

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/url"
	"slices"
	"testing"
	"time"

	"chancery/caa"
)

// mint makes a certificate as a CA would that does what it wants.
func mint(t *testing.T, template *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(7)
	parent := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestLeaf(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	subjects, err := parse([]string{"shop.example", "*.shop.example", "192.0.2.7"})
	if err != nil {
		t.Fatal(err)
	}
	good := func() *x509.Certificate {
		return &x509.Certificate{NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), DNSNames: []string{"*.shop.example", "Shop.example"},
			IPAddresses: []net.IP{net.IPv4(192, 0, 2, 7)}}
	}
	policy := func(oids ...string) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			for _, text := range oids {
				oid, err := x509.ParseOID(text)
				if err != nil {
					t.Fatal(err)
				}
				c.Policies = append(c.Policies, oid)
			}
		}
	}
	for name, test := range map[string]struct {
		change func(*x509.Certificate)
		kind   caa.Kind
		key    crypto.PublicKey
		wrong  string
	}{
		"good":                 {},
		"another key":          {key: other.Public(), wrong: "key"},
		"an authority":         {change: func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }, wrong: "names"},
		"a name less":          {change: func(c *x509.Certificate) { c.DNSNames = c.DNSNames[:1] }, wrong: "names"},
		"a name more":          {change: func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, "evil.example") }, wrong: "names"},
		"no address":           {change: func(c *x509.Certificate) { c.IPAddresses = nil }, wrong: "names"},
		"a mailbox":            {change: func(c *x509.Certificate) { c.EmailAddresses = []string{"a@shop.example"} }, wrong: "names"},
		"a URI":                {change: func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "x", Host: "y"}} }, wrong: "names"},
		"its common name":      {change: func(c *x509.Certificate) { c.Subject.CommonName = "shop.example" }},
		"another common name":  {change: func(c *x509.Certificate) { c.Subject.CommonName = "evil.example" }, wrong: "names"},
		"expired":              {change: func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) }, wrong: "validity"},
		"not yet, by a little": {change: func(c *x509.Certificate) { c.NotBefore = now.Add(time.Minute) }},
		"not yet": {change: func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(25*time.Hour), now.Add(26*time.Hour) },
			wrong: "validity"},
		"backwards":              {change: func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(2*time.Hour), now.Add(time.Hour) }, wrong: "validity"},
		"EV":                     {change: policy("2.23.140.1.1"), kind: caa.ExtendedValidation},
		"EV among others":        {change: policy("1.2.3", "2.23.140.1.1"), kind: caa.ExtendedValidation},
		"EV by its own policy":   {change: policy("1.2.3"), kind: caa.ExtendedValidation},
		"DV for EV":              {change: policy("2.23.140.1.2.1"), kind: caa.ExtendedValidation, wrong: "kind"},
		"nothing for EV":         {kind: caa.ExtendedValidation, wrong: "kind"},
		"OV":                     {change: policy("2.23.140.1.2.2"), kind: caa.OrganizationValidated},
		"individual for OV":      {change: policy("2.23.140.1.2.3"), kind: caa.OrganizationValidated, wrong: "kind"},
		"EV for OV":              {change: policy("2.23.140.1.1"), kind: caa.OrganizationValidated},
		"QWAC":                   {change: policy("0.4.0.194112.1.5"), kind: caa.QualifiedWeb},
		"EV for QWAC":            {change: policy("2.23.140.1.1"), kind: caa.QualifiedWeb, wrong: "kind"},
		"nothing for DV":         {kind: caa.DomainValidated},
		"DV for DV":              {change: policy("2.23.140.1.2.1"), kind: caa.DomainValidated},
		"DV where any kind will": {change: policy("2.23.140.1.2.1")},
	} {
		t.Run(name, func(t *testing.T) {
			template := good()
			if test.change != nil {
				test.change(template)
			}
			public := test.key
			if public == nil {
				public = key.Public()
			}
			c := checking{key: key.Public(), subjects: subjects, kind: test.kind, now: now,
				policies: map[caa.Kind][]string{caa.ExtendedValidation: {"1.2.3"}}}
			err := c.leaf(mint(t, template, public))
			var wrong *WrongError
			if errors.As(err, &wrong) != (test.wrong != "") || wrong != nil && wrong.What != test.wrong {
				t.Errorf("%v, want %q", err, test.wrong)
			}
		})
	}
}

func TestParse(t *testing.T) {
	got, err := parse([]string{"Shop.Example.", "shop.example", "bücher.example", "*.shop.example", "192.0.2.7", "2001:db8::1"})
	if err != nil || !slices.Equal(names(got), []string{"shop.example", "xn--bcher-kva.example", "*.shop.example", "192.0.2.7", "2001:db8::1"}) {
		t.Errorf("%v, %v", names(got), err)
	}
	for _, bad := range [][]string{nil, {""}, {"a b"}, {"x@shop.example"}, {"shop.example", "shop..example"}, {"*.*.example"}} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for name, cas := range map[string][]CA{
		"no label":        {{Issuers: []string{"ca.example"}}},
		"twice":           {{Label: "a", Issuers: []string{"ca.example"}}, {Label: "a", Issuers: []string{"cb.example"}}},
		"nowhere":         {{Label: "a", Default: true}},
		"plain http":      {{Label: "a", Directory: "http://ca.example/dir"}},
		"no policy's OID": {{Label: "a", Issuers: []string{"ca.example"}, Policies: map[caa.Kind][]string{caa.ExtendedValidation: {"ev"}}}},
	} {
		if err := (Settings{CAs: cas}).check(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if err := (Settings{CAs: []CA{{Label: "a", Directory: "https://ca.example/dir", Policies: map[caa.Kind][]string{caa.ExtendedValidation: {"1.2.3"}}}}}).check(); err != nil {
		t.Error(err)
	}
}
