package estserver_test

import (
	"bytes"
	"crypto/x509/pkix"
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
