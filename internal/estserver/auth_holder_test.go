package estserver_test

import (
	"net/http"
	"testing"
	"time"

	"chancery/internal/ca"
	"chancery/internal/estserver"
)

// onlyCertificates is a label that takes nothing else, which a password cannot make good.
func onlyCertificates() estserver.Label {
	l := plainLabel()
	l.Accept = []estserver.Way{{estserver.ByCertificate}}
	return l
}

// TestRevokedOnTheNextRequest: over the same connection, with a certificate whose
// signature and record were remembered. That another process may revoke it is in
// sqlstore's TestStandingIsRemembered.
func TestRevokedOnTheNextRequest(t *testing.T) {
	w := newWorld(t, nil, onlyCertificates())
	for _, op := range []string{"simpleenroll", "simplereenroll"} {
		device := w.certify("device", ca.Subject{CommonName: "dev1"}, "dev1.example")
		c := w.client(device)
		for range 3 {
			granted(t, c.post(op, like(device).der(t)))
		}
		w.revoke(device.cert)
		refused(t, c.post(op, like(device).der(t)), http.StatusForbidden, "revoked on", "cessationOfOperation")
		refused(t, w.client(device).post(op, like(device).der(t)), http.StatusForbidden, "revoked on")
	}
}

// TestRememberedCertificatesEnd: the clock and the label count each time, and what the
// ledger does not have is never remembered.
func TestRememberedCertificatesEnd(t *testing.T) {
	other := onlyCertificates()
	other.Name, other.Profile = "other", "ldevid"
	w := newWorld(t, nil, onlyCertificates(), other)
	device := w.certify("device", ca.Subject{CommonName: "dev1"}, "dev1.example")
	c := w.client(device)
	ask := like(device).der(t)
	granted(t, c.post("simpleenroll", ask))
	refused(t, c.post("other/simpleenroll", ask), http.StatusForbidden, "profile device")
	lost := w.certify("device", ca.Subject{CommonName: "dev3"}, "dev3.example")
	if _, err := w.db.Exec(t.Context(), `DELETE FROM certificates WHERE serial = $1`, ca.SerialOf(lost.cert.SerialNumber).Bytes()); err != nil {
		t.Fatal(err)
	}
	refused(t, w.client(lost).post("simpleenroll", like(lost).der(t)), http.StatusForbidden, "its ledger does not know it")

	next := w.certify("device", ca.Subject{CommonName: "dev2"}, "dev2.example")
	c = w.client(next)
	granted(t, c.post("simplereenroll", like(next).der(t)))
	w.pass(400 * 24 * time.Hour)
	refused(t, c.post("simplereenroll", like(next).der(t)), http.StatusForbidden, "expired on")
}

// TestRememberedAcrossRollover: the issuer of a remembered certificate is retired, and
// its holders are still known; an authority that took its name is not.
func TestRememberedAcrossRollover(t *testing.T) {
	w := newWorld(t, nil, onlyCertificates())
	device := w.certify("device", ca.Subject{CommonName: "dev1"}, "dev1.example")
	granted(t, w.client(device).post("simpleenroll", like(device).der(t)))
	impostor := w.impostor("dev1")
	if _, err := w.authority.RolloverIssuer(t.Context(), ca.Principal{Room: "admin", ID: "test"}, ca.DefaultLine); err != nil {
		t.Fatal(err)
	}
	granted(t, w.client(device).post("simpleenroll", like(device).der(t)))
	for range 2 {
		refused(t, w.client(impostor).post("simpleenroll", like(device).der(t)), http.StatusForbidden, "not issued by this authority")
	}
	w.revoke(device.cert)
	refused(t, w.client(device).post("simpleenroll", like(device).der(t)), http.StatusForbidden, "revoked on")
}
