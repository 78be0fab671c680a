package estserver_test

import (
	"net/http"
	"testing"

	"chancery/internal/ca"
	"chancery/internal/certtest"
	"chancery/internal/estserver"
)

// TestApprovalOfRenewals: a person's word is for the first certificate; who renews his
// own needs none, unless the label says so.
func TestApprovalOfRenewals(t *testing.T) {
	l, strict := manualLabel(), manualLabel()
	l.ChangeSubject, l.RAs, l.RANames = true, []string{"ra"}, []string{"*"}
	l.Holders = []string{"device", "ldevid"}
	strict.Name, strict.ManualRenewals = "strict", true
	w := newWorld(t, nil, l, strict)
	w.standing("alice", "p")
	w.standing("bob", "p")
	alice := w.basic("alice", "p")
	first := asking("gw", "gw.example").keyed(t)
	row := w.waits(alice.post("simpleenroll", first.der(t)))
	w.decide(row.ID, estserver.Approved, "")
	own := &holder{key: first.key, cert: granted(t, alice.post("simpleenroll", first.der(t)))}

	renewed := granted(t, w.client(own).post("simplereenroll", like(own).der(t)))
	if d := w.detail(renewed); d["change"] != "renew" || d["request"] == row.IssueID() {
		t.Errorf("%v", d)
	}
	rekey := like(own)
	rekey.key = certtest.Key(t)
	granted(t, w.client(own).post("simplereenroll", rekey.der(t)))
	granted(t, w.client(own).post("simpleenroll", rekey.der(t)))
	w.waits(w.client(own).post("strict/simplereenroll", rekey.der(t)))
	w.waits(w.client(own).post("strict/simpleenroll", like(own).der(t)))
	w.waits(w.client(own).post("simpleenroll", asking("gw", "gw.example", "gw2.example").der(t)))
	w.waits(w.client(own).post("simpleenroll", asking("other", "gw.example").der(t)))
	w.waits(alice.post("simpleenroll", first.keyed(t).der(t))) // a password may be a whole fleet's
	w.waits(alice.post("simplereenroll", first.keyed(t).der(t)))
	refused(t, w.basic("bob", "p").post("simplereenroll", rekey.der(t)), http.StatusForbidden)

	// Not one's own: an authority's for others, and a certificate of another profile.
	ra := w.client(w.certify("ra", ca.Subject{CommonName: "RA"}))
	w.waits(ra.post("simplereenroll", rekey.der(t)))
	other := w.certify("ldevid", ca.Subject{CommonName: "box"}, "box.example")
	w.waits(w.client(other).post("simpleenroll", like(other).der(t)))
	w.waits(w.client(other).post("simplereenroll", like(other).der(t)))
	for _, profile := range []string{"ldevid", "device"} {
		same := w.certify(profile, ca.Subject{CommonName: "gw"}) // of the subject alone
		w.waits(w.client(same).post("simplereenroll", rekey.keyed(t).der(t)))
	}
}

// TestApprovalWhereNothingElseProves: a profile that takes a person's word alone has
// renewals wait, too.
func TestApprovalWhereNothingElseProves(t *testing.T) {
	p, err := ca.ParseProfile("special", []byte(`rooms = ["est", "admin"]
identifiers = ["dns"]
evidence = ["approval"]
keys = ["ecdsa-p256"]
life = "10d"`))
	if err != nil {
		t.Fatal(err)
	}
	approved := func(c *estserver.Config) { c.Authority.Profiles["special"] = p }
	w := newKeyWorld(t, approved, keyLabel(func(l *estserver.Label) { l.Profile, l.Manual, l.Names = "special", true, nil }))
	own := w.certify("special", ca.Subject{}, "gw.example")
	w.waits(w.client(own).post("simplereenroll", like(own).der(t)))
}
