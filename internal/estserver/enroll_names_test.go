package estserver_test

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"net/http"
	"strings"
	"testing"
)

// TestStrangeAttributes: what no certificate here can have in its subject is refused by
// its name, whatever the patterns, and whoever approves: left out, the device would have
// another name than it asked for, and its request would renew nothing.
func TestStrangeAttributes(t *testing.T) {
	open, manual := plainLabel(), plainLabel()
	open.Names = []string{"*"}
	manual.Name, manual.Names, manual.Manual = "manual", nil, true
	w := newWorld(t, nil, open, manual)
	w.standing("alice", "p")
	before := w.issued()
	for word, oid := range map[string]asn1.ObjectIdentifier{
		"emailAddress": {1, 2, 840, 113549, 1, 9, 1}, "DC": {0, 9, 2342, 19200300, 100, 1, 25}, "UID": {0, 9, 2342, 19200300, 100, 1, 1},
		"title": {2, 5, 4, 12}, "givenName": {2, 5, 4, 42}, "unstructuredName": {1, 2, 840, 113549, 1, 9, 2}, "1.3.9.9": {1, 3, 9, 9},
	} {
		ask := asking("a.example", "a.example")
		ask.SubjectName.ExtraNames = []pkix.AttributeTypeAndValue{{Type: oid, Value: "x"}}
		for _, path := range []string{"simpleenroll", "manual/simpleenroll"} {
			refused(t, w.basic("alice", "p").post(path, ask.der(t)), http.StatusForbidden, word, "leave it out")
		}
	}
	if n := w.issued(); n != before {
		t.Errorf("%d certificates were issued", n-before)
	}
	all := wish{}
	all.SubjectName = pkix.Name{CommonName: "b.example", SerialNumber: "7", Country: []string{"SE"}, Locality: []string{"L"}, Province: []string{"P"},
		Organization: []string{"O"}, OrganizationalUnit: []string{"U"}}
	if got := w.basic("alice", "p").post("simpleenroll", all.der(t)); strings.Contains(got.words(), "no certificate here can have") {
		t.Errorf("%s: %s", got.Status, got.words())
	}
}

// TestNearlyHostsAreNoCommonNames: what "CN=*" lets pass is no way around the names.
func TestNearlyHostsAreNoCommonNames(t *testing.T) {
	plain := plainLabel()
	plain.Names = []string{"own", "*.iot.example", "CN=*"}
	w := newWorld(t, nil, plain)
	w.standing("alice", "p")
	before := w.issued()
	for _, cn := range []string{"bank.example", "bank.example.", "bank.example ", "BANK.EXAMPLE.", "bänk.example", "localhost", "bank.example%00.iot.example", "bank.example\x00.iot.example"} {
		for _, names := range [][]string{nil, {"a.iot.example"}} {
			if got := w.basic("alice", "p").post("simpleenroll", asking(cn, names...).der(t)); got.StatusCode < 400 || got.StatusCode >= 500 {
				t.Errorf("%q with %v: %s", cn, names, got.Status)
			}
		}
	}
	if n := w.issued(); n != before {
		t.Errorf("%d certificates were issued", n-before)
	}
}
