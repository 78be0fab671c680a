package anchors

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"os"
	"strings"
	"testing"
	"time"
)

// point is an issuing distribution point's extension.
func point(value ...byte) pkix.Extension {
	return pkix.Extension{Id: oidIssuingDistributionPoint, Critical: true, Value: append([]byte{0x30, byte(len(value))}, value...)}
}

// at is the distributionPoint field with one URI.
func at(uri string) []byte {
	name := append([]byte{0x86, byte(len(uri))}, uri...)
	full := append([]byte{0xa0, byte(len(name))}, name...)
	return append([]byte{0xa0, byte(len(full))}, full...)
}

func TestCRLs(t *testing.T) {
	root := newRoot(t, "Root")
	middle := root.below(t, "Middle", nil)
	twin := newRoot(t, "Root") // the same name, another key
	const place = "http://crl.maker.example/1.crl"
	device := middle.device(t, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{place} })
	saying := func(ext ...pkix.Extension) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) { l.ExtraExtensions = ext }
	}
	stale := func(l *x509.RevocationList) { l.NextUpdate = time.Now().Add(-time.Minute) }
	clean := root.crl(t, nil)
	for name, test := range map[string]struct {
		lists [][]byte
		soft  bool
		want  Kind
	}{
		"nothing revoked":           {lists: [][]byte{clean, middle.crl(t, nil)}},
		"revoked":                   {lists: [][]byte{clean, middle.crl(t, nil, device)}, want: Revoked},
		"revoked, soft":             {lists: [][]byte{clean, middle.crl(t, nil, device)}, soft: true, want: Revoked},
		"authority revoked":         {lists: [][]byte{root.crl(t, nil, middle.cert), middle.crl(t, nil)}, want: Revoked},
		"revoked in one of two":     {lists: [][]byte{clean, middle.crl(t, nil), middle.crl(t, nil, device)}, want: Revoked},
		"authority not spoken of":   {lists: [][]byte{middle.crl(t, nil)}, want: Unchecked},
		"device not spoken of":      {lists: [][]byte{clean}, want: Unchecked},
		"device not spoken of,soft": {lists: [][]byte{clean}, soft: true},
		"out of date":               {lists: [][]byte{clean, middle.crl(t, stale)}, want: Unchecked},
		"begins later": {lists: [][]byte{clean, middle.crl(t, func(l *x509.RevocationList) {
			l.ThisUpdate, l.NextUpdate = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
		})}, want: Unchecked},
		"signed by a namesake":        {lists: [][]byte{twin.crl(t, nil), middle.crl(t, nil)}, want: Unchecked},
		"users only":                  {lists: [][]byte{clean, middle.crl(t, saying(point(0x81, 1, 0xff)))}},
		"users only, of an authority": {lists: [][]byte{root.crl(t, saying(point(0x81, 1, 0xff))), middle.crl(t, nil)}, want: Unchecked},
		"authorities only":            {lists: [][]byte{clean, middle.crl(t, saying(point(0x82, 1, 0xff)))}, want: Unchecked},
		"some reasons":                {lists: [][]byte{clean, middle.crl(t, saying(point(0x83, 2, 5, 0x60)))}, want: Unchecked},
		"some reasons, revoked":       {lists: [][]byte{clean, middle.crl(t, saying(point(0x83, 2, 5, 0x60)), device)}, want: Revoked},
		"its point":                   {lists: [][]byte{clean, middle.crl(t, saying(point(at(place)...)))}},
		"another point":               {lists: [][]byte{clean, middle.crl(t, saying(point(at("http://other.example/")...)))}, want: Unchecked},
		"a relative point":            {lists: [][]byte{clean, middle.crl(t, saying(point(0xa0, 2, 0xa1, 0)))}, want: Unchecked},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSet(t, Config{Roots: roots(root), Revocation: CRL, CRLs: []string{write(t, inPEM(test.lists...))}, Soft: test.soft})
			expect(t, s, test.want, device, middle.cert)
		})
	}
	t.Run("in DER", func(t *testing.T) {
		s := newSet(t, Config{Roots: roots(root), Revocation: CRL, CRLs: []string{write(t, clean), write(t, middle.crl(t, nil, device))}})
		expect(t, s, Revoked, device, middle.cert)
	})
	t.Run("not asked for", func(t *testing.T) {
		expect(t, newSet(t, Config{Roots: roots(root), Revocation: None, CRLs: []string{write(t, middle.crl(t, nil, device))}}), "", device, middle.cert)
	})
	t.Run("authority that may not sign CRLs", func(t *testing.T) {
		mute := root.below(t, "Mute", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign })
		forged := &authority{mute.cert, mute.key}
		allowed := *mute.cert
		allowed.KeyUsage |= x509.KeyUsageCRLSign // what CreateRevocationList looks at
		forged.cert = &allowed
		s := newSet(t, Config{Roots: roots(root), Revocation: CRL, CRLs: []string{write(t, inPEM(clean, forged.crl(t, nil)))}})
		expect(t, s, Unchecked, mute.device(t, nil), mute.cert)
	})
}

// CRLs that say something else than they seem to are refused as a whole.
func TestCRLsNotTaken(t *testing.T) {
	root := newRoot(t, "Root")
	device := root.device(t, nil)
	critical := func(oid asn1.ObjectIdentifier) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: oid, Critical: true, Value: []byte{2, 1, 1}}}
		}
	}
	for want, der := range map[string][]byte{
		"2.5.29.27": root.crl(t, critical(asn1.ObjectIdentifier{2, 5, 29, 27})), // delta CRL indicator
		"1.2.3.4":   root.crl(t, critical(asn1.ObjectIdentifier{1, 2, 3, 4})),
		"indirect":  root.crl(t, func(l *x509.RevocationList) { l.ExtraExtensions = []pkix.Extension{point(0x84, 1, 0xff)} }),
		"attribute": root.crl(t, func(l *x509.RevocationList) { l.ExtraExtensions = []pkix.Extension{point(0x85, 1, 0xff)} }),
		"entry": root.crl(t, func(l *x509.RevocationList) {
			l.RevokedCertificateEntries[0].ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 29}, Critical: true, Value: []byte{0x30, 0}}}
		}, device),
		"point cannot be read": root.crl(t, func(l *x509.RevocationList) { l.ExtraExtensions = []pkix.Extension{point(0x89, 1, 1)} }),
		"cannot be read":       []byte("nothing"),
	} {
		if l, err := readLists(der); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error about %q; got %v, %v", want, l, err)
		}
	}
}

// A file that was replaced counts from then on; one that was broken leaves what was
// known, until that is out of date.
func TestFileOfCRLsChanges(t *testing.T) {
	root := newRoot(t, "Root")
	device := root.device(t, nil)
	place := write(t, root.crl(t, nil))
	path := strings.TrimPrefix(place, "file:")
	s := newSet(t, Config{Roots: roots(root), Revocation: CRL, CRLs: []string{place}})
	expect(t, s, "", device)
	replace := func(octets []byte) {
		if err := os.WriteFile(path, octets, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	replace([]byte("half"))
	expect(t, s, "", device)
	replace(root.crl(t, nil, device))
	expect(t, s, Revoked, device)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expect(t, s, Revoked, device)
}

func FuzzReadLists(f *testing.F) {
	root := newRoot(f, "Root")
	f.Add(root.crl(f, nil, root.device(f, nil)))
	f.Add(inPEM(root.crl(f, func(l *x509.RevocationList) { l.ExtraExtensions = []pkix.Extension{point(at("http://a/")...)} })))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := readLists(text)
		if (err == nil) != (len(all) > 0) {
			t.Fatalf("%d lists, %v", len(all), err)
		}
	})
}

func FuzzReadScope(f *testing.F) {
	f.Add(point(at("http://a/")...).Value)
	f.Add(point(0x83, 2, 5, 0x60).Value)
	f.Fuzz(func(t *testing.T, der []byte) {
		if s, err := readScope(der); err == nil && len(s.names) > 0 && !s.named {
			t.Fatal("names, and not limited to them")
		}
	})
}
