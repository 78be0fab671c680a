package est

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
)

// office makes certificates of authorities.
type office struct {
	t      *testing.T
	serial int64
	now    time.Time
}

// span is a validity in days from now.
type span struct{ from, to int }

// authority is what a certificate of an authority says.
type authority struct {
	name    string
	subject crypto.Signer
	span    span
	leaf    bool
}

// by issues it: signed by the key, in the name.
func (o *office) by(name string, key crypto.Signer, a authority) *x509.Certificate {
	o.t.Helper()
	o.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(o.serial), Subject: pkix.Name{CommonName: a.name}, IsCA: !a.leaf, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: o.now.AddDate(0, 0, a.span.from), NotAfter: o.now.AddDate(0, 0, a.span.to),
	}
	if a.leaf {
		template.KeyUsage = x509.KeyUsageDigitalSignature
	}
	der, err := x509.CreateCertificate(rand.Reader, template, &x509.Certificate{Subject: pkix.Name{CommonName: name}}, a.subject.Public(), key)
	if err != nil {
		o.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		o.t.Fatal(err)
	}
	return c
}

func TestRollover(t *testing.T) {
	o := &office{t: t, now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}
	oldKey, newKey, newerKey, strange := pairs()["ecdsa-p256"], pairs()["ecdsa-p384"], pairs()["rsa-2048"], pairs()["ecdsa-p521"]
	oldSpan, newSpan, newerSpan := span{-300, 60}, span{-3, 400}, span{-1, 900}
	root := func(key crypto.Signer, s span) *x509.Certificate {
		return o.by("Root", key, authority{name: "Root", subject: key, span: s})
	}
	oldRoot, newRoot, newerRoot := root(oldKey, oldSpan), root(newKey, newSpan), root(newerKey, newerSpan)
	oldWithNew := o.by("Root", newKey, authority{name: "Root", subject: oldKey, span: oldSpan})
	newWithOld := o.by("Root", oldKey, authority{name: "Root", subject: newKey, span: span{-3, 60}})
	newerWithNew := o.by("Root", newKey, authority{name: "Root", subject: newerKey, span: span{-1, 60}})
	issuing := o.by("Root", newKey, authority{name: "Issuing", subject: strange, span: newSpan})
	other := o.by("Other", strange, authority{name: "Other", subject: strange, span: newSpan})
	renewed := root(oldKey, span{-1, 700})
	list := func(c ...*x509.Certificate) []*x509.Certificate { return c }
	four := list(oldWithNew, newRoot, newWithOld, oldRoot)

	for name, test := range map[string]struct {
		have, bag, added, intermediates, unproven []*x509.Certificate
	}{
		"the same":                 {list(oldRoot), list(oldRoot), nil, nil, nil},
		"old to new":               {list(oldRoot), append(slices.Clone(four), issuing), list(newRoot), list(oldWithNew, newWithOld, issuing), nil},
		"new to old":               {list(newRoot), four, list(oldRoot), list(oldWithNew, newWithOld), nil},
		"new, without the old":     {list(newRoot), list(newRoot, oldWithNew, newWithOld), nil, list(oldWithNew, newWithOld), nil},
		"without NewWithOld":       {list(oldRoot), list(oldRoot, newRoot, oldWithNew), nil, nil, list(newRoot, oldWithNew)},
		"over two":                 {list(oldRoot), list(newerRoot, newRoot, newerWithNew, newWithOld), list(newRoot, newerRoot), list(newerWithNew, newWithOld), nil},
		"a stranger":               {list(oldRoot), list(oldRoot, other), nil, nil, list(other)},
		"renewed with the key":     {list(oldRoot), list(renewed), list(renewed), nil, nil},
		"no root in it":            {list(newRoot), list(issuing), nil, list(issuing), nil},
		"given twice":              {list(oldRoot, oldRoot), list(newRoot, newWithOld, newRoot, newWithOld), list(newRoot), list(newWithOld), nil},
		"a subordinate's ambition": {list(newRoot), list(issuing, o.by("Issuing", strange, authority{name: "Issuing", subject: strange, span: newSpan})), nil, list(issuing), nil},
		// A subordinate certifies itself under the root's name.
		"a subordinate's fraud": {list(newRoot), list(issuing, o.by("Root", strange, authority{name: "Root", subject: strange, span: newerSpan})), nil, list(issuing), nil},
		"NewWithOld of another name": {list(oldRoot), list(o.by("Elsewhere", strange, authority{name: "Elsewhere", subject: strange, span: newSpan}),
			o.by("Root", oldKey, authority{name: "Elsewhere", subject: strange, span: newSpan})), nil, nil, nil},
		"NewWithOld that ended": {list(oldRoot), list(newRoot, o.by("Root", oldKey, authority{name: "Root", subject: newKey, span: span{-9, -1}})), nil, nil, nil},
		"NewWithOld to come":    {list(oldRoot), list(newRoot, o.by("Root", oldKey, authority{name: "Root", subject: newKey, span: span{1, 9}})), nil, nil, nil},
		"NewWithOld, no CA's":   {list(oldRoot), list(newRoot, o.by("Root", oldKey, authority{name: "Root", subject: newKey, span: newSpan, leaf: true})), nil, nil, nil},
		"NewWithOld, forged":    {list(oldRoot), list(newRoot, o.by("Root", strange, authority{name: "Root", subject: newKey, span: newSpan})), nil, nil, nil},
		// The key that was retired may not bring a root: only the newest may.
		"old key's return": {list(oldRoot, newRoot), list(o.by("Root", strange, authority{name: "Root", subject: strange, span: newerSpan}),
			o.by("Root", oldKey, authority{name: "Root", subject: strange, span: newerSpan})), nil, nil, nil},
		"new root ended": {list(oldRoot), list(root(newKey, span{-9, -1}), newWithOld), nil, list(newWithOld), nil},
	} {
		a, err := Rollover(test.have, test.bag, o.now)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !sameSet(a.Added, test.added) {
			t.Errorf("%s: %d were added", name, len(a.Added))
		}
		for _, c := range append(slices.Clone(test.have), test.added...) {
			if !slices.ContainsFunc(a.Roots, c.Equal) {
				t.Errorf("%s: a root is lost", name)
			}
		}
		if test.intermediates != nil && !sameSet(a.Intermediates, test.intermediates) {
			t.Errorf("%s: %d intermediates", name, len(a.Intermediates))
		}
		if test.unproven != nil && !sameSet(a.Unproven, test.unproven) {
			t.Errorf("%s: %d unproven", name, len(a.Unproven))
		}
		for _, c := range test.bag {
			n := 0
			for _, where := range [][]*x509.Certificate{a.Roots, a.Intermediates, a.Unproven} {
				if slices.ContainsFunc(where, c.Equal) {
					n++
				}
			}
			if n != 1 {
				t.Errorf("%s: %s stands in %d places", name, c.Subject, n)
			}
		}
	}

	if _, err := Rollover(list(oldRoot), four, o.now.AddDate(0, 0, 61)); !Is(err, Untrusted) {
		t.Errorf("after the old root's end: %v", err)
	}
	if _, err := Rollover(nil, four, o.now); !Is(err, Untrusted) {
		t.Errorf("nothing trusted: %v", err)
	}
	if _, err := Rollover(list(oldRoot), slices.Repeat(four, 20), o.now); !Is(err, TooLarge) {
		t.Errorf("a large bag: %v", err)
	}
	a, err := Rollover(list(oldRoot, newRoot), four, o.now.AddDate(0, 0, 61))
	if err != nil || !sameSet(a.Roots, list(newRoot)) {
		t.Errorf("what has ended is kept: %d, %v", len(a.Roots), err)
	}
}

func sameSet(a, b []*x509.Certificate) bool {
	in := func(list []*x509.Certificate) func(*x509.Certificate) bool {
		return func(c *x509.Certificate) bool { return !slices.ContainsFunc(list, c.Equal) }
	}
	return len(a) == len(b) && !slices.ContainsFunc(a, in(b)) && !slices.ContainsFunc(b, in(a))
}

func TestRefresh(t *testing.T) {
	o := &office{t: t, now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}
	key := pairs()["ecdsa-p256"]
	ends := func(days int) *x509.Certificate {
		return o.by("R", key, authority{name: "R", subject: key, span: span{-10, days}})
	}
	for name, test := range map[string]struct {
		stored []*x509.Certificate
		want   time.Duration
	}{
		"nothing":        {nil, refreshMost},
		"for years":      {[]*x509.Certificate{ends(4000)}, refreshMost},
		"the first ends": {[]*x509.Certificate{ends(4000), ends(10), ends(20)}, 5 * 24 * time.Hour},
		"some ended":     {[]*x509.Certificate{ends(-1), ends(20)}, 10 * 24 * time.Hour},
	} {
		if got := Refresh(test.stored, o.now).Sub(o.now); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
	soon := ends(1)
	if got := Refresh([]*x509.Certificate{soon}, soon.NotAfter.Add(-time.Minute)).Sub(soon.NotAfter); got != refreshLeast-time.Minute {
		t.Errorf("a minute before the end: %v", got)
	}
}

func TestFingerprints(t *testing.T) {
	for hash, want := range map[string]string{
		"sha256": "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", // FIPS 180-4's "abc"
		"sha512": "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
		"":       "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	} {
		if got := Fingerprint([]byte("abc"), hash); got != want {
			t.Errorf("%s: %s", hash, got)
		}
	}
}

func TestServerKeys(t *testing.T) {
	for name, key := range pairs() {
		forms := map[string]func() ([]byte, error){"PKCS#8": func() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(key) }}
		if strings.HasPrefix(name, "ecdsa") {
			forms["SEC 1"] = func() ([]byte, error) { return marshalSEC1(key) }
		}
		if strings.HasPrefix(name, "rsa") {
			forms["PKCS#1"] = func() ([]byte, error) { return marshalPKCS1(key), nil }
		}
		for form, marshal := range forms {
			der, err := marshal()
			if err != nil {
				t.Fatal(err)
			}
			got, err := ParseServerKey(der)
			if err != nil || !got.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(key.Public()) {
				t.Errorf("%s %s: %v", name, form, err)
			}
			if _, err := ParseServerKey(der[:len(der)-1]); !Is(err, Malformed) || strings.Contains(err.Error(), string(der[20:24])) {
				t.Errorf("%s %s, cut: %v", name, form, err)
			}
		}
	}
}
