package address

import (
	"net/netip"
	"slices"
	"testing"
)

func parse(list ...string) []netip.Addr {
	var all []netip.Addr
	for _, one := range list {
		all = append(all, netip.MustParseAddr(one))
	}
	return all
}

func TestForms(t *testing.T) {
	for _, test := range []struct {
		address string
		carries []string
	}{
		{"203.0.113.7", nil}, {"2001:db8::1", nil}, {"::1", nil}, {"::", nil}, {"fd12::1", nil},
		{"64:ff9b::c000:201", []string{"192.0.2.1"}},
		{"64:ff9b:1::7f00:1", []string{"127.0.0.1"}},      // 96 bits
		{"64:ff9b:1:7f00:0:100::", []string{"127.0.0.1"}}, // 48
		{"64:ff9b:1:7f:0:1::", []string{"127.0.0.1"}},     // 56
		{"64:ff9b:1:0:7f:0:100:0", []string{"127.0.0.1", "1.0.0.0"}},
		{"64:ff9b:1::", []string{"0.0.0.0"}}, // padding alone is an address, lest it be none
		{"64:ff9b:1::1", []string{"0.0.0.1"}},
		{"2002:c000:201::1", []string{"192.0.2.1"}},
		{"2001:0:1:2:3:4:80ff:fffe", []string{"127.0.0.1"}},
		{"::10.0.0.1", []string{"10.0.0.1"}},
	} {
		a := netip.MustParseAddr(test.address)
		got := Forms(a)
		if got[0] != a {
			t.Errorf("%s is not the first of its forms %v", a, got)
		}
		for _, want := range parse(test.carries...) {
			if !slices.Contains(got[1:], want) {
				t.Errorf("%s: forms %v, want %v", a, got, test.carries)
			}
		}
		if len(test.carries) == 0 && len(got) != 1 {
			t.Errorf("%s carries %v", a, got[1:])
		}
	}
}

func TestKinds(t *testing.T) {
	for what, test := range map[string]struct {
		is      func(netip.Addr) bool
		yes, no []netip.Addr
	}{
		"metadata":    {Metadata, parse("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"), parse("100.100.100.201", "fd00:ec2::253")},
		"unspecified": {Unspecified, parse("0.0.0.0", "::", "0.255.255.255"), parse("1.0.0.0", "::1")},
		"broadcast":   {Broadcast, parse("255.255.255.255"), parse("255.255.255.254", "192.168.255.255")},
	} {
		for _, a := range test.yes {
			if !test.is(a) {
				t.Errorf("%s is not %s", a, what)
			}
		}
		for _, a := range test.no {
			if test.is(a) {
				t.Errorf("%s is %s", a, what)
			}
		}
	}
}

func TestWithin(t *testing.T) {
	list := []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104"), netip.MustParsePrefix("fd00::/8")}
	for _, a := range parse("10.1.2.3", "fd12::1") {
		if !Within(list, a) {
			t.Errorf("%s is not within", a)
		}
	}
	for _, a := range parse("11.0.0.1", "fe80::1", "::a00:1") {
		if Within(list, a) {
			t.Errorf("%s is within", a)
		}
	}
	if Within(nil, netip.MustParseAddr("10.0.0.1")) {
		t.Error("no network contains an address")
	}
}

// However an address is written, it is one of its own forms and the others are
// of IPv4.
func FuzzForms(f *testing.F) {
	for _, a := range parse("127.0.0.1", "::1", "64:ff9b::1", "64:ff9b:1::1", "2002::1", "2001::1", "::1.2.3.4") {
		octets := a.As16()
		f.Add(octets[:])
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		a, ok := netip.AddrFromSlice(octets)
		if !ok {
			return
		}
		all := Forms(a.Unmap())
		if all[0] != a.Unmap() {
			t.Errorf("%s: %v", a, all)
		}
		for _, form := range all[1:] {
			if !form.Is4() {
				t.Errorf("%s carries %s", a, form)
			}
		}
	})
}
