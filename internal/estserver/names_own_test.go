package estserver_test

import (
	"net/http"
	"slices"
	"testing"

	"chancery/internal/ca"
	"chancery/internal/estserver"
)

// TestPasswordsNamesStandInstead: the patterns of a password bound what it gets, whatever
// the label lets others have, and whoever approves.
func TestPasswordsNamesStandInstead(t *testing.T) {
	open, manual := plainLabel(), manualLabel()
	open.Names = []string{"own", "*.iot.example", "CN=*"}
	manual.Name, manual.Names = "slow", nil
	w := newWorld(t, nil, open, manual)
	w.standing("user", "p", "only.iot.example")
	w.standing("free", "f")
	w.oneTime("once", "o", "only.iot.example")
	for user, password := range map[string]string{"user": "p", "once": "o"} {
		c := w.basic(user, password)
		for _, path := range []string{"simpleenroll", "slow/simpleenroll"} {
			refused(t, c.post(path, asking("", "victim.iot.example").der(t)), http.StatusForbidden, "victim.iot.example")
			refused(t, c.post(path, asking("pump", "only.iot.example").der(t)), http.StatusForbidden, `CN="pump"`)
			refused(t, c.post(path, asking(user, "only.iot.example").der(t)), http.StatusForbidden, "CN=") // own is not said
		}
		granted(t, c.post("simpleenroll", asking("only.iot.example", "only.iot.example").der(t)))
	}
	granted(t, w.basic("free", "f").post("simpleenroll", asking("free", "victim.iot.example").der(t)))
	w.waits(w.basic("free", "f").post("slow/simpleenroll", asking("", "victim.elsewhere.example").der(t)))
	// A renewal by a password has no more.
	held := w.certify("device", ca.Subject{CommonName: "victim"}, "victim.iot.example")
	if got := w.basic("user", "p").post("simplereenroll", like(held).der(t)); got.StatusCode != http.StatusForbidden {
		t.Errorf("renewed by another's password: %s", got.Status)
	}
}

// TestListsShowWhatHolds: a password without patterns of its own has its labels'.
func TestListsShowWhatHolds(t *testing.T) {
	open, manual, certs := plainLabel(), manualLabel(), plainLabel()
	open.Names = []string{"*.iot.example"}
	manual.Name, manual.Names = "slow", nil
	certs.Name, certs.Accept = "certs", []estserver.Way{{estserver.ByCertificate}}
	w := newWorld(t, nil, open, manual, certs)
	o := w.office()
	w.standing("own", "p", "a.example")
	w.standing("free", "p")
	w.oneTime("", "o", "b.example")
	for _, u := range done[estserver.Page, estserver.UsersShown](o, "est.user.list", estserver.Page{}).Users {
		want := estserver.May{"": {"*.iot.example"}, "slow": {}}
		if u.User == "own" {
			want = estserver.May{"": {"a.example"}, "slow": {"a.example"}}
		}
		if len(u.May) != 2 || !slices.Equal(u.May[""], want[""]) || !slices.Equal(u.May["slow"], want["slow"]) {
			t.Errorf("%s may %v, want %v", u.User, u.May, want)
		}
	}
	list := done[estserver.Page, estserver.OneTimesShown](o, "est.otp.list", estserver.Page{}).Passwords
	if len(list) != 1 || !slices.Equal(list[0].May[""], []string{"b.example"}) {
		t.Errorf("%+v", list)
	}
}
