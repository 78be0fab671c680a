package estserver_test

import (
	"crypto/x509/pkix"
	"net/http"
	"slices"
	"strings"
	"testing"

	"chancery/est"
)

// TestMACAddress: asked for in the list and in the template, told by our client in both
// places, kept in the event, and not demanded of who sends none.
func TestMACAddress(t *testing.T) {
	l, off := plainLabel(), plainLabel()
	l.MACAddress, l.RequireLinking = true, true
	l.Operations = append(slices.Clone(allOperations), est.CSRAttributes)
	off.Name = "off"
	plain := plainLabel()
	plain.Name, plain.MACAddress = "plain", true
	plain.Operations = l.Operations
	w := newWorld(t, nil, l, off, plain)
	w.standing("alice", "p", "*")
	c := w.basic("alice", "p")

	list, _ := wishes(t, c.get("csrattrs"))
	if !list.Has(est.OIDMACAddress) || !list.Has(est.OIDChallengePassword) || !list.Has(est.OIDIdentityLinking) {
		t.Errorf("the list with linking: %v", list)
	}
	list, wanted := wishes(t, c.get("plain/csrattrs"))
	if !list.Has(est.OIDMACAddress) || !wanted.Template {
		t.Fatalf("the list: %v", list)
	}
	ask := asking("alice", "gw.example")
	if err := wanted.Apply(&ask.Request); err == nil || !strings.Contains(err.Error(), "MAC address") {
		t.Errorf("our client, which was not told: %v", err)
	}
	const mac = "00:00:92:90:ee:c2"
	told := asking("alice", "gw.example").with(est.MACAddress(mac)).Request
	der := obey(t, wanted, told)
	parsed, err := est.ParseRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(parsed.Extensions, func(e pkix.Extension) bool { return e.Id.String() == "2.5.29.9" }) {
		t.Error("the request has not the extension that the template wants")
	}
	cert := granted(t, c.post("plain/simpleenroll", der))
	if d := w.detail(cert); d["mac_address"] != mac {
		t.Errorf("%v", d)
	}
	for _, e := range cert.Extensions {
		if e.Id.String() == "2.5.29.9" {
			t.Error("it stands in the certificate")
		}
	}
	// As an extension alone, as others that obey the template tell it.
	alone := asking("alice", "gw.example")
	e, err := est.SubjectDirectoryAttributes(est.MACAddress(mac))
	if err != nil {
		t.Fatal(err)
	}
	alone.Extensions = append(alone.Extensions, e)
	if d := w.detail(granted(t, c.post("plain/simpleenroll", alone.der(t)))); d["mac_address"] != mac {
		t.Errorf("%v", d)
	}
	if d := w.detail(granted(t, c.post("plain/simpleenroll", asking("alice", "gw.example").der(t)))); d["mac_address"] != "" {
		t.Errorf("%v", d)
	}
	// A label that does not ask keeps none.
	if d := w.detail(granted(t, c.post("off/simpleenroll", asking("alice", "gw.example").with(est.MACAddress(mac)).der(t)))); d["mac_address"] != "" {
		t.Errorf("%v", d)
	}
	long := asking("alice", "gw.example").with(est.MACAddress(strings.Repeat("0", 500)))
	refused(t, c.post("plain/simpleenroll", long.der(t)), http.StatusBadRequest, "macAddress")
}
