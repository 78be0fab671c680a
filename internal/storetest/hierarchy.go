package storetest

import (
	"bytes"
	"context"
	"testing"

	"chancery/internal/ca"
)

// Hierarchy is the suite of the issuers' storage.
func Hierarchy(t *testing.T, s ca.Hierarchy) {
	ctx := context.Background()
	by := ca.Principal{Room: "test"}
	old := ca.IssuerRecord{ID: "old", Name: "root", Root: true, State: ca.Active, Key: "k", Parent: "old", Certs: [][]byte{{1}}, Shards: 2, StatusURL: "http://s", Created: base}
	next := old
	next.ID, next.Parent, next.Certs = "next", "next", [][]byte{{2}, {3}}
	change := func(c ca.Change) error {
		c.Event = by.Event(base, "hierarchy.changed", "x")
		return s.Change(ctx, c)
	}
	if err := change(ca.Change{Add: []ca.IssuerRecord{old}}); err != nil {
		t.Fatal(err)
	}
	err := change(ca.Change{Add: []ca.IssuerRecord{next}, Retire: []string{"old"}, Cross: map[string][]byte{"old": {9}},
		Revoked: []ca.RevokedEntry{{Serial: "abcd", At: base}}, RevokedUntil: base.AddDate(1, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.Issuers(ctx)
	if err != nil || len(all) != 2 {
		t.Fatalf("Issuers gave %v, %v", all, err)
	}
	got := map[string]ca.IssuerRecord{all[0].ID: all[0], all[1].ID: all[1]}
	if o := got["old"]; o.State != ca.Retired || len(o.Certs) != 2 || !bytes.Equal(o.Certs[1], []byte{9}) || !o.Root || o.Shards != 2 || !o.Created.Equal(base) {
		t.Errorf("the old issuer came back as %+v", o)
	}
	if n := got["next"]; n.State != ca.Active || len(n.Certs) != 2 || !bytes.Equal(n.Certs[0], []byte{2}) {
		t.Errorf("the next issuer came back as %+v", n)
	}
	third := next
	third.ID = "third"
	if err := change(ca.Change{Add: []ca.IssuerRecord{third}, Retire: []string{"old"}}); ca.KindOf(err) != ca.Conflict {
		t.Errorf("retiring a retired issuer gave %v; want kind %s", err, ca.Conflict)
	}
	if all, err := s.Issuers(ctx); err != nil || len(all) != 2 {
		t.Errorf("a refused change left an issuer: %v, %v", all, err)
	}
}
