package desk_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/internal/ca"
	"chancery/internal/desk"
)

// oldCA is an authority that was made elsewhere.
type oldCA struct {
	template *x509.Certificate
	cert     *x509.Certificate
	key      *ecdsa.PrivateKey
}

func newOldCA(t *testing.T, name string) *oldCA {
	t.Helper()
	o := &oldCA{template: elsewhere(name), key: newKey(t, elliptic.P256())}
	o.certify(t)
	return o
}

func (o *oldCA) certify(t *testing.T) {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, o.template, o.template, o.key.Public(), o.key)
	if err != nil {
		t.Fatal(err)
	}
	if o.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
}

func (o *oldCA) private(t *testing.T) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(o.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// crl makes a CRL of the authority; change may be nil.
func (o *oldCA) crl(t *testing.T, change func(*x509.RevocationList), entries ...x509.RevocationListEntry) []byte {
	t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(3), ThisUpdate: time.Now().Add(-48 * time.Hour), NextUpdate: time.Now().Add(time.Hour), RevokedCertificateEntries: entries}
	if change != nil {
		change(list)
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, o.cert, o.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func revoked(serial int64, reason int, extensions ...pkix.Extension) x509.RevocationListEntry {
	return x509.RevocationListEntry{SerialNumber: big.NewInt(serial), RevocationTime: time.Now().Add(-72 * time.Hour), ReasonCode: reason, ExtraExtensions: extensions}
}

func extension(arc int, critical bool, value string) pkix.Extension {
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, arc}, Critical: critical, Value: []byte(value)}
}

func with(extensions ...pkix.Extension) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) { l.ExtraExtensions = extensions }
}

func TestImportReadsCRLs(t *testing.T) {
	o := open(t)
	old, other := newOldCA(t, "Old CA"), newOldCA(t, "Other CA")
	namesake := &oldCA{template: elsewhere("Renamed CA"), key: old.key}
	namesake.certify(t)
	entry := revoked(1, 1)
	broken := old.crl(t, nil, entry)
	broken[len(broken)-1] ^= 1
	for name, crl := range map[string][]byte{
		"delta":                 old.crl(t, with(extension(27, false, "\x02\x01\x01")), entry),
		"indirect":              old.crl(t, with(extension(28, true, "\x30\x03\x84\x01\xff")), entry),
		"point of garbage":      old.crl(t, with(extension(28, true, "\x30\x05")), entry),
		"critical and unknown":  old.crl(t, with(extension(99, true, "\x05\x00")), entry),
		"certificateIssuer":     old.crl(t, nil, entry, revoked(2, 0, extension(29, true, "\x30\x02\x82\x00"))),
		"entry's unknown":       old.crl(t, nil, revoked(2, 0, extension(99, true, "\x05\x00"))),
		"reason 7":              old.crl(t, nil, revoked(1, 7)),
		"reason 99":             old.crl(t, nil, revoked(1, 99)),
		"negative":              old.crl(t, nil, revoked(-5, 0)),
		"signed by another":     other.crl(t, nil, entry),
		"signed for other name": namesake.crl(t, nil, entry),
		"broken signature":      broken,
		"second of two": slices.Concat(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: old.crl(t, nil, entry)}),
			pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: other.crl(t, nil, entry)})),
	} {
		in := desk.AuthorityGiven{Name: "old", Chain: old.cert.Raw, Key: old.private(t), CRLs: [][]byte{crl}}
		if _, kind := do[any](t, o, "ca.import", in); kind != string(ca.Invalid) || len(o.keys.imported) != 0 {
			t.Errorf("%s: kind %q, %d keys left", name, kind, len(o.keys.imported))
		}
	}
	stale := func(l *x509.RevocationList) { l.NextUpdate = time.Now().Add(-time.Hour) }
	partial := with(extension(28, true, "\x30\x03\x81\x01\xff")) // onlyContainsUserCerts
	in := desk.AuthorityGiven{Name: "old", Chain: old.cert.Raw, Key: old.private(t), CRLs: [][]byte{
		old.crl(t, stale, entry, revoked(2, 6), revoked(3, 8), revoked(4, 0, extension(24, false, "\x18\x0f20200101000000Z"))),
		old.crl(t, partial, entry, revoked(5, 10)),
	}}
	taken, kind := do[desk.AuthorityTaken](t, o, "ca.import", in)
	if kind != "" || taken.Revoked != 4 || taken.Renewed {
		t.Fatalf("%+v, %q", taken, kind)
	}
	for _, want := range []string{"out of date", "1 certificate(s) were on hold", "unknown for all others"} {
		if !slices.ContainsFunc(taken.Notes, func(note string) bool { return strings.Contains(note, want) }) {
			t.Errorf("nothing says %q: %q", want, taken.Notes)
		}
	}
	issuer := o.authority.Issuers().ByID(taken.Authority.ID)
	for serial, want := range map[ca.Serial]ca.StatusWord{"01": ca.StatusRevoked, "02": ca.StatusRevoked, "03": ca.StatusUnknown, "05": ca.StatusRevoked, "06": ca.StatusUnknown} {
		if s, err := o.authority.Status(t.Context(), issuer, serial); err != nil || s.Word != want {
			t.Errorf("status of %s: %+v, %v", serial, s, err)
		}
	}
	if _, kind := do[any](t, o, "cert.show", desk.Which{Serial: "01"}); kind != string(ca.NotFound) {
		t.Errorf("showing one gave %q", kind)
	}
}

// The server takes CRLs of the size that a busy authority has after years.
func TestImportLargeCRL(t *testing.T) {
	o, old := open(t), newOldCA(t, "Old CA")
	var entries []x509.RevocationListEntry
	for n := range int64(30_000) {
		entries = append(entries, revoked(n+1, int(n%6)))
	}
	crl := old.crl(t, nil, entries...)
	if len(crl)/3*4 < 1<<20 { // as it travels, in base64
		t.Fatalf("the CRL has only %d octets", len(crl))
	}
	in := desk.AuthorityGiven{Name: "old", Chain: old.cert.Raw, Key: old.private(t), CRLs: [][]byte{crl}, Shards: 3}
	taken, kind := do[desk.AuthorityTaken](t, o, "ca.import", in)
	if kind != "" || taken.Revoked != len(entries) {
		t.Fatalf("%+v, %q", taken, kind)
	}
}

// fails is a hierarchy that cannot be changed, or whose change is stored and
// the answer lost.
type fails struct {
	ca.Hierarchy
	stored bool
}

func (f fails) Change(ctx context.Context, c ca.Change) error {
	if f.stored {
		if err := f.Hierarchy.Change(ctx, c); err != nil {
			return err
		}
	}
	return errors.New("the power went")
}

func TestFailedImportLeavesNoKey(t *testing.T) {
	o, old := open(t), newOldCA(t, "Old CA")
	noCRLs := newOldCA(t, "Mute CA")
	noCRLs.template.KeyUsage = x509.KeyUsageCertSign
	noCRLs.certify(t)
	if _, kind := do[any](t, o, "ca.import", desk.AuthorityGiven{Name: "old", Chain: noCRLs.cert.Raw, Key: noCRLs.private(t)}); kind != string(ca.Invalid) || len(o.keys.imported) != 0 {
		t.Errorf("refused by the core: %q, %d keys", kind, len(o.keys.imported))
	}
	in := desk.AuthorityGiven{Name: "old", Chain: old.cert.Raw, Key: old.private(t)}
	works := o.authority.Hierarchy
	o.authority.Hierarchy = fails{works, false}
	if _, kind := do[any](t, o, "ca.import", in); kind == "" || len(o.keys.imported) != 0 {
		t.Errorf("not stored: %q, %d keys", kind, len(o.keys.imported))
	}
	o.authority.Hierarchy = fails{works, true}
	if _, kind := do[any](t, o, "ca.import", in); kind == "" || len(o.keys.imported) != 1 {
		t.Errorf("stored: %q, %d keys; it needs its own", kind, len(o.keys.imported))
	}
	if issuer := o.authority.Issuers().Line("old", time.Now()); issuer == nil {
		t.Error("the authority that was stored cannot sign")
	}
}

// A renewed certificate needs no key, and one that is given is not kept again.
func TestImportRenewed(t *testing.T) {
	o, old := open(t), newOldCA(t, "Old CA")
	in := desk.AuthorityGiven{Name: "old", Chain: old.cert.Raw, Key: old.private(t)}
	first, kind := do[desk.AuthorityTaken](t, o, "ca.import", in)
	if kind != "" {
		t.Fatal(kind)
	}
	for n, key := range [][]byte{nil, old.private(t)} {
		old.template.NotAfter = old.template.NotAfter.AddDate(1, 0, 0)
		old.certify(t)
		taken, kind := do[desk.AuthorityTaken](t, o, "ca.import", desk.AuthorityGiven{Name: "old", Chain: old.cert.Raw, Key: key})
		if kind != "" || !taken.Renewed || taken.Authority.ID != first.Authority.ID || !taken.Authority.NotAfter.Equal(old.cert.NotAfter) ||
			taken.Authority.State != ca.Active || !taken.Authority.HasKey || len(o.keys.imported) != 1 {
			t.Errorf("%d: %+v, %q, %d keys", n, taken, kind, len(o.keys.imported))
		}
	}
	if _, kind := do[any](t, o, "ca.import", desk.AuthorityGiven{Name: "old", Chain: old.cert.Raw}); kind != string(ca.Conflict) {
		t.Errorf("the same again: %q", kind)
	}
}
