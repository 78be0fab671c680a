package lint_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"chancery/internal/lint"
)

// The default list must not stand in the way of what a private CA is for.
func TestLegitimatePasses(t *testing.T) {
	set := must(lint.New("rfc"))
	corpus := legitimate(t)
	if len(corpus) < 30 {
		t.Fatalf("the corpus has shrunk to %d", len(corpus))
	}
	for name, der := range corpus {
		t.Run(name, func(t *testing.T) {
			findings, err := set.Certificate(der)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range findings {
				t.Error(f)
			}
		})
	}
}

// An exclusion that nothing needs would only hide mistakes.
func TestUnfitIsNeeded(t *testing.T) {
	all := must(lint.New("rfc5280"))
	seen := map[string]bool{}
	for _, der := range legitimate(t) {
		for _, f := range must(all.Certificate(der)) {
			seen[f.Lint] = true
		}
	}
	left := must(lint.New("rfc")).Names()
	for _, name := range all.Names() {
		if !slices.Contains(left, name) && !seen[name] {
			t.Errorf("%s is excluded from rfc, and nothing legitimate fails it", name)
		}
	}
}

// The reason for not using the public web's lints: they refuse what we issue.
func TestPublicWebRefuses(t *testing.T) {
	findings := must(must(lint.New("public-web")).Certificate(legitimate(t)["ten-year leaf"]))
	if lint.Worst(findings) < lint.Error {
		t.Fatalf("an internal name for ten years was accepted: %v", findings)
	}
}

func TestSpoiltCertificates(t *testing.T) {
	set := must(lint.New("rfc"))
	weak := smallKey()
	tests := []struct {
		name, lint string
		severity   lint.Severity
		spoil      func(*x509.Certificate)
		key        crypto.PublicKey
	}{
		{"short serial", "chancery_serial_entropy", lint.Error, func(t *x509.Certificate) { t.SerialNumber = big.NewInt(7) }, nil},
		{"serial of 20", "chancery_serial_entropy", lint.Error, func(t *x509.Certificate) { t.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 158) }, nil},
		{"no names", "chancery_names_something", lint.Error, func(t *x509.Certificate) { t.Subject, t.DNSNames = pkix.Name{}, nil }, nil},
		{"critical SAN", "chancery_san_criticality", lint.Warn, func(t *x509.Certificate) { t.ExtraExtensions = []pkix.Extension{san(true)} }, nil},
		{"uncritical SAN", "chancery_san_criticality", lint.Error, func(t *x509.Certificate) {
			t.Subject, t.ExtraExtensions = pkix.Name{}, []pkix.Extension{san(false)}
		}, nil},
		{"backwards", "chancery_validity_order", lint.Error, func(t *x509.Certificate) { t.NotAfter = t.NotBefore.Add(-time.Second) }, nil},
		{"small RSA key", "chancery_rsa_key_size", lint.Error, func(*x509.Certificate) {}, weak},
		{"cn of 65", "e_subject_common_name_max_length", lint.Error, func(t *x509.Certificate) { t.Subject.CommonName = strings.Repeat("x", 65) }, nil},
		{"CA without a critical key usage", "e_ext_key_usage_cert_sign_without_ca", lint.Error, func(t *x509.Certificate) { t.KeyUsage |= x509.KeyUsageCertSign }, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			template := leaf()
			test.spoil(template)
			key := test.key
			if key == nil {
				key = p256().Public()
			}
			findings := must(set.Certificate(issue(template, key)))
			i := slices.IndexFunc(findings, func(f lint.Finding) bool { return f.Lint == test.lint })
			switch {
			case i < 0:
				t.Fatalf("not found among %v", findings)
			case findings[i].Severity != test.severity || findings[i].Detail == "" || findings[i].Source == "":
				t.Fatalf("got %+v", findings[i])
			}
		})
	}
}

// smallKey is a 1024-bit key, which crypto/rsa only makes when told to.
func smallKey() *rsa.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), 1023)
	return &rsa.PublicKey{N: n.Add(n, big.NewInt(0xabcdef1)), E: 65537}
}

func san(critical bool) pkix.Extension {
	name := must(asn1.Marshal(asn1.RawValue{Class: 2, Tag: 2, Bytes: []byte("printer.corp.internal")}))
	return pkix.Extension{
		Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: critical,
		Value: must(asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: name})),
	}
}

// These cannot be made with crypto/x509, so the DER is changed afterwards; the
// signature is then wrong, which lint does not look at.
func TestPatchedCertificates(t *testing.T) {
	set := must(lint.New("chancery"))
	good := issue(leaf(), p256().Public())
	aki := []byte{0x06, 3, 0x55, 0x1d, 0x23}
	tests := []struct{ name, lint, from, to string }{
		{"no AKI", "chancery_authority_key_id", string(aki), "\x06\x03\x55\x1d\x7f"},
		{"offset in time", "chancery_validity_encoding", "260601120000Z", "2606011200+01"},
		{"fraction in time", "chancery_validity_encoding", "\x17\x0d260601120000Z", "\x18\x0d20260601.120Z"},
		{"early GeneralizedTime", "chancery_validity_encoding", "\x17\x0d260601120000Z", "\x18\x0d202606011200Z"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			patched := bytes.Replace(good, []byte(test.from), []byte(test.to), 1)
			if bytes.Equal(patched, good) {
				t.Fatal("nothing was patched")
			}
			findings, err := set.Certificate(patched)
			var malformed *lint.ParseError
			if errors.As(err, &malformed) {
				return // refused even earlier
			}
			if !slices.ContainsFunc(findings, func(f lint.Finding) bool { return f.Lint == test.lint }) {
				t.Fatalf("got %v, %v", findings, err)
			}
		})
	}
}

func newCRL(change func(*x509.RevocationList)) []byte {
	r := theRoot()
	t := &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(24 * time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: serial(), RevocationTime: now.Add(-time.Hour), ReasonCode: 1}},
	}
	change(t)
	return must(x509.CreateRevocationList(rand.Reader, t, r.cert, r.key))
}

func TestCRL(t *testing.T) {
	set := must(lint.New("rfc"))
	good := newCRL(func(*x509.RevocationList) {})
	empty := newCRL(func(l *x509.RevocationList) { l.RevokedCertificateEntries = nil })
	for name, der := range map[string][]byte{"good": good, "empty": empty} {
		if findings, err := set.CRL(der); err != nil || len(findings) != 0 {
			t.Fatalf("%s: %v, %v", name, findings, err)
		}
	}
	for _, test := range []struct {
		lint    string
		patched []byte
	}{
		{"chancery_crl_number", bytes.ReplaceAll(good, []byte("\x06\x03\x55\x1d\x14"), []byte("\x06\x03\x55\x1d\x7f"))},
		{"chancery_crl_authority_key_id", bytes.ReplaceAll(good, []byte("\x06\x03\x55\x1d\x23"), []byte("\x06\x03\x55\x1d\x7f"))},
		{"chancery_crl_signature_hash", sha1Algorithm(t, good)},
	} {
		findings, err := set.CRL(test.patched)
		if err != nil || !slices.ContainsFunc(findings, func(f lint.Finding) bool { return f.Lint == test.lint }) {
			t.Errorf("%s: %v, %v", test.lint, findings, err)
		}
	}
}

// sha1Algorithm rewrites ecdsa-with-SHA256 as ecdsa-with-SHA1, whose identifier
// is one octet shorter, in a signed structure; used for certificates and CRLs.
func sha1Algorithm(t *testing.T, der []byte) []byte {
	t.Helper()
	type signed struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	var s signed
	if _, err := asn1.Unmarshal(der, &s); err != nil {
		t.Fatal(err)
	}
	sha1 := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}}
	from := must(asn1.Marshal(s.Algorithm))
	s.Algorithm = sha1
	body := bytes.Replace(s.TBS.Bytes, from, must(asn1.Marshal(sha1)), 1)
	s.TBS = asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: body}
	return must(asn1.Marshal(s))
}

func TestCertificateSHA1(t *testing.T) {
	findings := must(must(lint.New("chancery_signature_hash")).Certificate(sha1Algorithm(t, issue(leaf(), p256().Public()))))
	if len(findings) != 1 || findings[0].Severity != lint.Error {
		t.Fatalf("got %v", findings)
	}
}

func TestOCSP(t *testing.T) {
	set, r := must(lint.New("rfc")), theRoot()
	respond := func(this, next time.Time) []byte {
		template := ocsp.Response{Status: ocsp.Good, SerialNumber: serial(), ThisUpdate: this, NextUpdate: next}
		return must(ocsp.CreateResponse(r.cert, r.cert, template, r.key))
	}
	past := time.Now().Add(-time.Hour)
	if findings, err := set.OCSP(respond(past, past.Add(24*time.Hour))); err != nil || len(findings) != 0 {
		t.Fatalf("good: %v, %v", findings, err)
	}
	if findings, err := set.OCSP(respond(past, past.Add(-time.Minute))); err != nil || len(findings) != 1 || findings[0].Lint != "chancery_ocsp_update_order" {
		t.Fatalf("backwards: %v, %v", findings, err)
	}
	var malformed *lint.ParseError
	if _, err := set.OCSP(ocsp.TryLaterErrorResponse); !errors.As(err, &malformed) {
		t.Fatalf("an unsigned error response gave %v", err)
	}
}

func TestMalformed(t *testing.T) {
	set := must(lint.New("rfc"))
	good := issue(leaf(), p256().Public())
	for _, der := range [][]byte{nil, {0x30}, []byte("certificate"), good[:len(good)-1], append(bytes.Clone(good), 0)} {
		for name, f := range map[string]func([]byte) ([]lint.Finding, error){"certificate": set.Certificate, "CRL": set.CRL, "OCSP": set.OCSP} {
			var malformed *lint.ParseError
			if findings, err := f(der); !errors.As(err, &malformed) || findings != nil {
				t.Errorf("%s %x: %v, %v", name, der, findings, err)
			}
		}
	}
}

func TestConcurrent(t *testing.T) {
	corpus := legitimate(t)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			set, err := lint.New("rfc", "public-web", "etsi", "community")
			if err != nil {
				t.Error(err)
				return
			}
			for name, der := range corpus {
				if _, err := set.Certificate(der); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	group.Wait()
}

func FuzzSet(f *testing.F) {
	for _, der := range legitimate(f) {
		f.Add(der)
	}
	f.Add(newCRL(func(*x509.RevocationList) {}))
	set := must(lint.New("rfc"))
	f.Fuzz(func(t *testing.T, der []byte) {
		for _, lints := range []func([]byte) ([]lint.Finding, error){set.Certificate, set.CRL, set.OCSP} {
			findings, err := lints(der)
			if err != nil && findings != nil {
				t.Fatal("findings beside an error")
			}
		}
	})
}

func BenchmarkCertificate(b *testing.B) {
	der := legitimate(b)["internal name"]
	for _, name := range []string{"rfc", "public-web"} {
		set := must(lint.New(name))
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				must(set.Certificate(der))
			}
		})
	}
}
