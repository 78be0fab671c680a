package storetest

import (
	"fmt"
	"testing"

	"chancery/internal/ca"
)

// ImportStore is where authorities and what they revoked elsewhere are kept.
type ImportStore interface {
	ca.Hierarchy
	ca.Ledger
	ca.Revocations
}

// Imported is the suite of what imported authorities revoked elsewhere.
func Imported(t *testing.T, s ImportStore) {
	ctx, by, until := t.Context(), ca.Principal{Room: "test"}, base.AddDate(1, 0, 0)
	take := func(id string, revoked ...ca.RevokedEntry) ca.CRLRecord {
		t.Helper()
		err := s.Change(ctx, ca.Change{
			Add:     []ca.IssuerRecord{{ID: id, Name: id, State: ca.Active, Key: "k", Parent: id, Certs: [][]byte{{1}}, Shards: 1, Created: base}},
			Revoked: revoked, RevokedUntil: until, Event: by.Event(base, "authority.imported", id),
		})
		if err != nil {
			t.Fatal(err)
		}
		return ca.CRLRecord{Issuer: id}
	}
	one := take("one", ca.RevokedEntry{Serial: "01", At: base, Reason: ca.Superseded}, ca.RevokedEntry{Serial: "", At: base})
	two := take("two", ca.RevokedEntry{Serial: "01", At: base.AddDate(0, 0, 1), Reason: ca.CertificateHold})
	var many []ca.RevokedEntry
	for n := range 1203 { // more than one statement takes
		many = append(many, ca.RevokedEntry{Serial: ca.Serial(fmt.Sprintf("%06x", n+1)), At: base})
	}
	lots := take("lots", many...)
	list := func(of ca.CRLRecord) (entries []ca.RevokedEntry) {
		t.Helper()
		err := s.Revoked(ctx, of, until.AddDate(0, 0, -1), func(e ca.RevokedEntry) error { entries = append(entries, e); return nil })
		if err != nil {
			t.Fatal(err)
		}
		return entries
	}
	if got := list(one); len(got) != 2 || got[0].Serial != "" || got[1].Serial != "01" || !got[1].At.Equal(base) || got[1].Reason != ca.Superseded {
		t.Errorf("of the first: %+v", got)
	}
	if got := list(two); len(got) != 1 || got[0].Reason != ca.CertificateHold || !got[0].At.Equal(base.AddDate(0, 0, 1)) {
		t.Errorf("of the second, with the same number: %+v", got)
	}
	if got := list(lots); len(got) != len(many) {
		t.Errorf("of %d there are %d", len(many), len(got))
	}
	if e, err := s.ImportedRevocation(ctx, "two", "01"); err != nil || e.Reason != ca.CertificateHold || e.Serial != "01" {
		t.Errorf("ImportedRevocation gave %+v, %v", e, err)
	}
	for _, serial := range []ca.Serial{"02", "0001"} {
		if _, err := s.ImportedRevocation(ctx, "two", serial); ca.KindOf(err) != ca.NotFound {
			t.Errorf("nobody revoked %s: %v", serial, err)
		}
	}
	if _, err := s.BySerial(ctx, "01"); ca.KindOf(err) != ca.NotFound {
		t.Errorf("there is a certificate where none was issued: %v", err)
	}
	lastsAsLong(t, s, list)
}

// lastsAsLong: what a renewed authority revoked stays on its CRLs until the
// renewed certificate ends.
func lastsAsLong(t *testing.T, s ImportStore, list func(ca.CRLRecord) []ca.RevokedEntry) {
	err := s.Change(t.Context(), ca.Change{Cross: map[string][]byte{"one": {2}}, RevokedUntil: base.AddDate(2, 0, 0),
		Event: ca.Principal{Room: "test"}.Event(base, "authority.renewed", "one")})
	if err != nil {
		t.Fatal(err)
	}
	count := func(id string) (n int) {
		if err := s.Revoked(t.Context(), ca.CRLRecord{Issuer: id}, base.AddDate(1, 6, 0), func(ca.RevokedEntry) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if count("one") != 2 || count("two") != 0 || len(list(ca.CRLRecord{Issuer: "one"})) != 2 {
		t.Errorf("after the renewal: %d of the renewed, %d of another", count("one"), count("two"))
	}
}
