package estserver_test

import (
	"bytes"
	"crypto/x509/pkix"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"chancery/internal/ca"
	"chancery/internal/estserver"
)

// TestEnroll: a holder gets another certificate for the names that are its own, and
// exactly that one comes back.
func TestEnroll(t *testing.T) {
	w := newWorld(t, nil, plainLabel())
	device := w.certify("device", ca.Subject{CommonName: "dev1"}, "dev1.example")
	cert := granted(t, w.client(device).post("simpleenroll", asking("dev1", "dev1.example").der(t)))
	if cert.Subject.CommonName != "dev1" || len(cert.DNSNames) != 1 || cert.DNSNames[0] != "dev1.example" {
		t.Errorf("%v %v", cert.Subject, cert.DNSNames)
	}
	r := w.record(cert)
	if !bytes.Equal(r.DER, cert.Raw) || r.By.Room != estserver.Room || !strings.HasPrefix(r.By.ID, "certificate:") || r.Profile != "device" {
		t.Errorf("%+v", r)
	}
	refused(t, w.client(device).post("simpleenroll", asking("dev1", "dev2.example").der(t)), http.StatusForbidden, "dev2.example", "may not ask")
	refused(t, w.client(device).post("simpleenroll", asking("dev2", "dev1.example").der(t)), http.StatusForbidden, `CN="dev2"`)
	refused(t, w.client(device).post("simpleenroll", wish{}.with().der(t)[:50]), http.StatusBadRequest, "PKCS#10")
	broken := asking("dev1", "dev1.example").der(t)
	broken[len(broken)-1] ^= 1
	refused(t, w.client(device).post("simpleenroll", broken), http.StatusBadRequest, "signature")
	organised := asking("dev1", "dev1.example")
	organised.SubjectName = pkix.Name{CommonName: "dev1", Organization: []string{"Somebody Else"}}
	refused(t, w.client(device).post("simpleenroll", organised.der(t)), http.StatusForbidden, `O="Somebody Else"`)
}

// TestEnrollByCommonName: a common name that is a host name or an address is what a request
// means that has no alternative names at all, and its client must be let to have it.
func TestEnrollByCommonName(t *testing.T) {
	plain, approved := plainLabel(), manualLabel()
	approved.Name = "approved"
	plain.Names = []string{"own", "*.iot.example", "192.0.2.0/24", "CN=*"}
	w := newWorld(t, nil, plain, approved)
	w.standing("alice", "p")
	alice := w.basic("alice", "p")
	for cn, want := range map[string]string{
		"gw.iot.example": "dns:gw.iot.example", "GW.IOT.example": "dns:gw.iot.example", "192.0.2.7": "ip:192.0.2.7",
		"gw": "", "pump 7": "", "a_b.iot.example": "",
	} {
		cert := granted(t, alice.post("simpleenroll", asking(cn).der(t)))
		got, err := ca.CertificateNames(cert)
		if text := fmt.Sprint(got); err != nil || want == "" && got != nil || want != "" && text != "["+want+"]" || cert.Subject.CommonName != cn {
			t.Errorf("%q: %v, %v, %v", cn, cert.Subject, got, err)
		}
	}
	for cn, name := range map[string]string{"gw.elsewhere.example": "dns:gw.elsewhere.example", "203.0.113.7": "ip:203.0.113.7"} {
		refused(t, alice.post("simpleenroll", asking(cn).der(t)), http.StatusForbidden, name)
	}
	refused(t, alice.post("simpleenroll", asking("*.iot.example").der(t)), http.StatusForbidden, "wildcard")
	// Who says one name means no other.
	if got := alice.post("simpleenroll", asking("gw.iot.example", "b.iot.example").der(t)); got.StatusCode < 400 {
		t.Errorf("%s", got.Status)
	}
	if row := w.waits(alice.post("approved/simpleenroll", asking("gw.elsewhere.example").der(t))); fmt.Sprint(row.Names) != "[dns:gw.elsewhere.example]" {
		t.Errorf("%v", row.Names)
	}
}

// TestReenrollByCommonName: both sides are read so: a request without alternative names
// renews the certificate that got its name in this way, shown or looked for.
func TestReenrollByCommonName(t *testing.T) {
	w := newWorld(t, nil, plainLabel())
	w.standing("alice", "p", "gw.iot.example")
	alice := w.basic("alice", "p")
	ask := asking("gw.iot.example").keyed(t)
	first := &holder{key: ask.key, cert: granted(t, alice.post("simpleenroll", ask.der(t)))}
	for name, got := range map[string]*reply{
		"by the certificate": w.client(first).post("simplereenroll", ask.der(t)),
		"by the password":    alice.post("simplereenroll", ask.der(t)),
		"with both names":    w.client(first).post("simplereenroll", like(first).der(t)),
	} {
		cert := granted(t, got)
		if d := w.detail(cert); len(cert.DNSNames) != 1 || cert.DNSNames[0] != "gw.iot.example" || d["renews"] == "" {
			t.Errorf("%s: %v, %v", name, cert.DNSNames, d)
		}
	}
	stranger := w.certify("device", ca.Subject{Organization: "Works"}, "other.example")
	refused(t, w.client(stranger).post("simplereenroll", asking("gw.iot.example").der(t)), http.StatusForbidden, "has not the names of your certificate")
	for name, request := range map[string]wish{"another name": asking("gx.iot.example"), "one more": asking("gw.iot.example", "gw.iot.example", "b.example")} {
		if got := w.client(first).post("simplereenroll", request.der(t)); got.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s", name, got.Status)
		}
	}
}
