package acmeserver_test

import (
	"strings"
	"testing"

	"chancery/internal/acmeserver"
	"chancery/internal/sqldb"
	"chancery/internal/storetest"
)

// details gives what is stored of this room's events of a kind.
func details(t *testing.T, db *sqldb.DB, kind string) (list []string) {
	t.Helper()
	err := db.Query(t.Context(), `SELECT detail FROM events WHERE room = $1 AND kind = $2`, []any{acmeserver.Room, kind}, func(row sqldb.Row) error {
		var text string
		err := row.Scan(&text)
		list = append(list, text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestEvidenceIsToldOnce: what a validation saw stands in its own event, and
// certificates' events lead there.
func TestEvidenceIsToldOnce(t *testing.T) {
	db := storetest.SQLite(t)
	w := newWorldOn(t, db, nil)
	c := w.client()
	for range 2 {
		o := w.ready(c, "seen.example")
		if _, err := c.Finalize(t.Context(), o, csr(t, certKey(t), "", "seen.example")); err != nil {
			t.Fatal(err)
		}
	}
	validated := details(t, db, "authorization.validated")
	if len(validated) != 1 || !strings.Contains(validated[0], "status 200") {
		t.Errorf("the validation's event has %q", validated)
	}
	intended := details(t, db, "certificate.intended")
	if len(intended) != 2 {
		t.Fatalf("there are %d certificates", len(intended))
	}
	o := w.order(c, "seen.example")
	id := o.Authorizations[0][strings.LastIndexByte(o.Authorizations[0], '/')+1:]
	for _, text := range intended {
		if !strings.Contains(text, "http-01") || !strings.Contains(text, id) || strings.Contains(text, "status 200") {
			t.Errorf("a certificate's event has %q; want the method and authorization %s, and not what was seen", text, id)
		}
	}
}
