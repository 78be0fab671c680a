package ca

import (
	"strings"
	"testing"
)

// TestCommonNamesThatAreNearlyHosts: a common name that a program may read as a host or an
// address has to be among the names; what devices are called otherwise has not.
func TestCommonNamesThatAreNearlyHosts(t *testing.T) {
	named := func(cn string, names ...Identifier) error {
		r := subjectRules{Take: []string{"common_name"}}
		if err := r.admit(Subject{CommonName: cn}); err != nil {
			return err
		}
		return r.named(Subject{CommonName: cn}, names)
	}
	for _, cn := range []string{"bank.example", "bank.example.", "bank.example..", ".bank.example", "bank.example ", " bank.example", "BANK.EXAMPLE.", "bänk.example", "BÄNK.example.",
		"bank。example", "bank．example", "ｂank.example", "localhost", "LOCALHOST.", "bank.example%00.iot.example", "bank.example\x00.iot.example", "bank\n.example", "*.bank.example", "b*k.example",
		"192.0.2.7", "192.0.2.7.", "2001:db8::1", "[2001:db8::1]", "::ffff:192.0.2.7", "fe80::1%eth0", "\u00a0bank.example", "bank.example\t"} {
		if err := named(cn); err == nil {
			t.Errorf("%q is a common name without a proof", cn)
		}
	}
	for _, cn := range []string{"pump 7", "rev_b.iot.example", "device-7", "Müller Pumpe", "sensor v1.2", "00:11:22:33:44:55", "boss@corp.example", "urn:dev:mac:1", "Dr. Smith", "A17/1.3.6.1", "1.2", "Pump 7."} {
		if err := named(cn); err != nil {
			t.Errorf("%q: %v", cn, err)
		}
	}
	proven := map[string]Identifier{"BANK.example": {TypeDNS, "bank.example"}, "bank.example.": {TypeDNS, "bank.example"}, "bänk.example": {TypeDNS, "xn--bnk-qla.example"}, "192.0.2.7": {TypeIP, "192.0.2.7"}}
	for cn, name := range proven {
		if err := named(cn, name); err != nil {
			t.Errorf("%q with %s: %v", cn, name, err)
		}
	}
	if err := (subjectRules{Take: []string{"organization"}}).admit(Subject{Organization: "Works\x1b[2J"}); err == nil || !strings.Contains(err.Error(), "control") {
		t.Errorf("a control character: %v", err)
	}
}
