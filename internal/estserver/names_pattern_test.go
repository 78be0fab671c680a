package estserver

import (
	"strings"
	"testing"

	"chancery/internal/ca"
)

func TestPatterns(t *testing.T) {
	fields := map[string]string{"{serial}": "A17", "{cn}": "dev1", "{user}": ""}
	for _, test := range []struct {
		pattern, kind, name string
		fits                bool
	}{
		{"*", "dns", "a.example", true},
		{"*", "uri", "urn:x:y", true},
		{"own", "dns", "own", false},
		{"gw.example", "dns", "gw.example", true},
		{"GW.example", "dns", "gw.example", true},
		{"gw.example", "dns", "a.gw.example", false},
		{"*.iot.example", "dns", "a.iot.example", true},
		{"*.iot.example", "dns", "a.b.iot.example", true},
		{"*.iot.example", "dns", "*.iot.example", true},
		{"*.iot.example", "dns", "iot.example", false},
		{"*.iot.example", "dns", "xiot.example", false},
		{"*.iot.example", "dns", "a.iot.example.evil.example", false},
		{"gw-*.example", "dns", "gw-7.example", true},
		{"gw-*.example", "dns", "gw-7.evil.example", false},
		{"gw-*", "dns", "gw-7", true},
		{"gw-*", "dns", "gw-7.evil", false},
		{"*-gw.example", "dns", "a-gw.example", true},
		{"*-gw.example", "dns", "a.b-gw.example", false},
		{"gw.*.example", "dns", "gw.a.example", true},
		{"gw.*.example", "dns", "gw.a.b.example", false},
		{"dns:*", "dns", "a.b.example", true},
		{"{serial}.iot.example", "dns", "a17.iot.example", true},
		{"{serial}.iot.example", "dns", "a18.iot.example", false},
		{"{user}.iot.example", "dns", ".iot.example", false},
		{"{user}.iot.example", "dns", "a.iot.example", false},
		{"192.0.2.7", "ip", "192.0.2.7", true},
		{"192.0.2.7", "ip", "192.0.2.77", false},
		{"192.0.2.0/24", "ip", "192.0.2.200", true},
		{"192.0.2.0/24", "ip", "192.0.3.1", false},
		{"2001:db8::/32", "ip", "2001:db8::1", true},
		{"ip:2001:db8:0::1", "ip", "2001:db8::1", true},
		{"*.example", "ip", "192.0.2.7", false},
		{"*@example.org", "email", "a@example.org", true},
		{"*@example.org", "dns", "example.org", false},
		{"uri:urn:dev:*", "uri", "urn:dev:mac:1", true},
		{"uri:urn:dev:*", "uri", "urn:other:1", false},
		{"hardware-module:{serial}/1.3.6.1", "hardware-module", "A17/1.3.6.1", true},
		{"hardware-module:*", "permanent-identifier", "A17", false},
		{"CN=*", "dns", "a.example", false},
	} {
		p, err := parsePattern(test.pattern)
		if err != nil {
			t.Errorf("%q: %v", test.pattern, err)
			continue
		}
		if strings.HasPrefix(test.name, ".") || test.name == "own" {
			continue // no name at all
		}
		n, err := ca.ParseIdentifier(test.kind, test.name)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if got := p.fitsName(n, fields); got != test.fits {
			t.Errorf("%q lets %s pass: %v", test.pattern, n, got)
		}
	}
}

// TestPatternsTakeFieldsAsTheyAre: what a client has as its common name cannot make a
// network, an address or a mailbox of a pattern of host names.
func TestPatternsTakeFieldsAsTheyAre(t *testing.T) {
	for _, test := range []struct {
		pattern, field, kind, name string
		fits                       bool
	}{
		{"{cn}", "0.0.0.0/0", "ip", "203.0.113.9", false},
		{"{cn}", "::/0", "ip", "2001:db8::1", false},
		{"{cn}", "203.0.113.9", "ip", "203.0.113.9", false},
		{"{cn}", "boss@corp.example", "email", "boss@corp.example", false},
		{"{cn}", "gw.example", "dns", "gw.example", true},
		{"ip:{cn}", "203.0.113.9", "ip", "203.0.113.9", true},
		{"ip:{cn}", "0.0.0.0/0", "ip", "203.0.113.9", false},
		{"email:{cn}", "boss@corp.example", "email", "boss@corp.example", true},
		{"{cn}@corp.example", "boss", "email", "boss@corp.example", true},
		{"{cn}@corp.example", "boss", "dns", "corp.example", false},
	} {
		p, err := parsePattern(test.pattern)
		if err != nil {
			t.Errorf("%q: %v", test.pattern, err)
			continue
		}
		n, err := ca.ParseIdentifier(test.kind, test.name)
		if err != nil {
			t.Fatal(err)
		}
		fields := map[string]string{"{cn}": test.field}
		if got := p.fitsName(n, fields); got != test.fits {
			t.Errorf("%q with %q lets %s pass: %v", test.pattern, test.field, n, got)
		}
		if p.fitsAttribute("CN", test.name, fields) && !test.fits && test.field != test.name {
			t.Errorf("%q with %q lets the common name %s pass", test.pattern, test.field, test.name)
		}
	}
}

func TestAttributePatterns(t *testing.T) {
	fields := map[string]string{"{serial}": "A17", "{cn}": "de*v"}
	for _, test := range []struct {
		pattern, word, value string
		fits                 bool
	}{
		{"*", "O", "Anybody", true},
		{"CN=*", "CN", "x", true},
		{"CN=*", "O", "x", false},
		{"CN=new-*", "CN", "new-", false},
		{"CN=new-*", "CN", "new-1", true},
		{"SN={serial}", "SN", "A17", true},
		{"CN={cn}", "CN", "de*v", false}, // a star that a client brought is none of ours
		{"O=Example Ltd", "O", "Example Ltd", true},
		{"O=Example Ltd", "O", "Example Limited", false},
		{"gw.example", "CN", "gw.example", true},
		{"*.example", "CN", "gw.example", true},
		{"*.example", "CN", "gw", false},
		{"gw-*.example", "CN", "gw-7.example", true},
		{"gw-*.example", "CN", "gw-7.evil.example", false},
		{"dev7", "CN", "dev7", true},
		{"*.example", "O", "gw.example", false},
		{"uri:urn:x", "CN", "urn:x", false},
		{"192.0.2.0/24", "CN", "192.0.2.9", true},
	} {
		p, err := parsePattern(test.pattern)
		if err != nil {
			t.Errorf("%q: %v", test.pattern, err)
			continue
		}
		if got := p.fitsAttribute(test.word, test.value, fields); got != test.fits {
			t.Errorf("%q lets %s=%q pass: %v", test.pattern, test.word, test.value, got)
		}
	}
	for _, bad := range []string{"", "CN=", "uri:", "a*b*c", "{name}.example", "a}b", "192.0.2.0/99", "host/24", "otherName:*", "OTHER=*", "dns:a:b", "rid:1.2", "x y", "a b.example", "dns:x y", "a_b.example", ".iot.example", "a..example", "gw.example.", "bänk.example", "-*.example", "gw.7", "ip:gw", "email:x", "x y@example", strings.Repeat("a", 600)} {
		if _, err := parsePattern(bad); err == nil {
			t.Errorf("%.40q is a pattern", bad)
		}
	}
	for _, good := range []string{"a*--b.example", "xn--*.example", "*.xn--bnk-qla.example", "gw", "{cn}", "{cn}.{user}", "*{serial}.example", "ip:*", "ip:{cn}", "email:*", "email:{cn}", "*@example", "boss@*", "2001:db8::1", "permanent-identifier:a b", "CN=x y", "O=Müller & Co"} {
		if _, err := parsePattern(good); err != nil {
			t.Errorf("%q is no pattern: %v", good, err)
		}
	}
	if _, err := parsePattern("x y"); err == nil || !strings.Contains(err.Error(), "CN=x y") {
		t.Errorf("what to write instead is not said: %v", err)
	}
}

// FuzzPattern: no pattern with a fixed end lets anything else pass.
func FuzzPattern(f *testing.F) {
	f.Add("*.iot.example", "a.iot.example", "x")
	f.Add("{serial}.iot.example", "x.iot.example", "x")
	f.Add("CN=*", "a", "*")
	f.Fuzz(func(t *testing.T, text, name, serial string) {
		p, err := parsePattern(text)
		if err != nil {
			return
		}
		fields := map[string]string{"{serial}": serial}
		n, err := ca.DNS(name)
		if err == nil && p.fitsName(n, fields) && strings.HasSuffix(text, ".iot.example") && !strings.HasSuffix(n.Value(), ".iot.example") {
			t.Errorf("%q lets %q pass", text, name)
		}
		p.fitsAttribute("CN", name, fields)
	})
}
