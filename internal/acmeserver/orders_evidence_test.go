package acmeserver_test

import (
	"net/http"
	"strings"
	"testing"

	"chancery/acme"
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

// TestWithdrawnMethod: a proof by a challenge that is no longer offered does not
// do for a new order.
func TestWithdrawnMethod(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	w.obtain(c, "a.example") // by http-01
	w.config.Challenges = []string{"dns-01"}
	second := w.another()
	defer w.close(second)
	order := `{"identifiers":[{"type":"dns","value":"a.example"}]}`
	for _, test := range []struct {
		server      *acmeserver.Server
		path, order string
		code        int
		want        string
	}{
		{w.server, "/acme/new-order", order, http.StatusCreated, "ready"},
		{second, "/acme/new-order", order, http.StatusCreated, "pending"},
		{w.server, "/acme/new-authz", `{"identifier":{"type":"dns","value":"a.example"}}`, http.StatusOK, "valid"},
		{second, "/acme/new-authz", `{"identifier":{"type":"dns","value":"a.example"}}`, http.StatusCreated, "pending"},
	} {
		r := w.send(test.server, c, w.base+test.path, test.order)
		if got := members(t, r); r.StatusCode != test.code || got["status"] != test.want {
			t.Errorf("%s gave %d %v; want %d %s", test.path, r.StatusCode, got, test.code, test.want)
		}
	}
	if o := w.order(c, "a.example"); o.Status != acme.OrderReady {
		t.Errorf("where it is offered the order is %s", o.Status)
	}
}
