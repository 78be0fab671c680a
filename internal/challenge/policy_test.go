package challenge_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"chancery/internal/challenge"
)

func prefixes(s ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// refusals is what the zero policy refuses; lifted says whether AllowLoopback
// and a matching Allow lift it.
var refusals = []struct {
	addr                      string
	liftedByLoopback, byAllow bool
}{
	{"127.0.0.1", true, true},
	{"127.255.255.254", true, true},
	{"::1", true, true},
	{"::ffff:127.0.0.1", true, true},
	{"64:ff9b::7f00:1", true, true},
	{"64:ff9b:1::7f00:1", true, true},      // NAT64's local-use prefix (RFC 8215), of 96 bits
	{"64:ff9b:1:2:3:4:7f00:1", true, true}, // the same with subnets
	{"64:ff9b:1:7f00:0:100::", true, true}, // of 48 bits
	{"64:ff9b:1:7f:0:1::", true, true},     // of 56
	{"64:ff9b:1:0:7f:0:100:0", true, true}, // of 64
	{"64:ff9b:1::a9fe:a9fe", false, true},
	{"64:ff9b:1::e000:1", false, false},
	{"64:ff9b:1::", false, false},
	{"2002:7f00:1::", true, true},
	{"::127.0.0.1", true, true},
	{"2001:0:1:2:3:4:80ff:fffe", true, true}, // Teredo of 127.0.0.1
	{"169.254.169.254", false, true},
	{"169.254.0.1", false, true},
	{"::ffff:169.254.169.254", false, true},
	{"64:ff9b::a9fe:a9fe", false, true},
	{"2002:a9fe:a9fe::1", false, true},
	{"fe80::1", false, true},
	{"febf:ffff::1", false, true},
	{"fd00:ec2::254", false, true},
	{"100.100.100.200", false, true},
	{"168.63.129.16", false, true},
	{"192.0.0.192", false, true},
	{"0.0.0.0", false, false},
	{"0.1.2.3", false, false},
	{"::", false, false},
	{"::ffff:0.0.0.0", false, false},
	{"64:ff9b::", false, false},
	{"224.0.0.1", false, false},
	{"239.255.255.255", false, false},
	{"::ffff:224.0.0.1", false, false},
	{"64:ff9b::e000:1", false, false},
	{"2002:e000:1::", false, false},
	{"ff02::1", false, false},
	{"ff0e::1", false, false},
	{"255.255.255.255", false, false},
	{"::ffff:255.255.255.255", false, false},
	{"fe80::1%lo", false, false},
	{"2001:db8::1%lo", false, false},
}

func TestPolicyRefusals(t *testing.T) {
	for _, c := range refusals {
		addr := netip.MustParseAddr(c.addr)
		bare := addr.Unmap().WithZone("")
		for name, p := range map[string]struct {
			policy challenge.AddressPolicy
			ok     bool
		}{
			"zero":           {challenge.AddressPolicy{}, false},
			"AllowLoopback":  {challenge.AddressPolicy{AllowLoopback: true}, c.liftedByLoopback},
			"Allow":          {challenge.AddressPolicy{Allow: []netip.Prefix{netip.PrefixFrom(bare, bare.BitLen())}}, c.byAllow},
			"Allow all":      {challenge.AddressPolicy{Allow: prefixes("0.0.0.0/0", "::/0")}, c.byAllow},
			"Allow and Deny": {challenge.AddressPolicy{AllowLoopback: true, Allow: prefixes("0.0.0.0/0", "::/0"), Deny: prefixes("0.0.0.0/0", "::/0")}, false},
		} {
			for what, err := range map[string]error{
				"Check":           p.policy.Check(netip.AddrPortFrom(addr, 80)),
				"CheckIdentifier": p.policy.CheckIdentifier(addr),
			} {
				var ae *challenge.AddressError
				if (err == nil) != p.ok || err != nil && (!errors.As(err, &ae) || ae.Reason == "") {
					t.Errorf("%s of %s with %s: %v, want allowed %v", what, c.addr, name, err, p.ok)
				}
			}
		}
	}
	if err := (challenge.AddressPolicy{Allow: prefixes("::/0")}).CheckIdentifier(netip.Addr{}); err == nil {
		t.Error("no address at all was allowed")
	}
}

func TestPolicyMappedNetworks(t *testing.T) {
	p := challenge.AddressPolicy{Deny: prefixes("::ffff:10.0.0.0/104")}
	if p.CheckIdentifier(netip.MustParseAddr("10.1.2.3")) == nil || p.CheckIdentifier(netip.MustParseAddr("11.1.2.3")) != nil {
		t.Error("a network of IPv4-mapped addresses does not mean those of IPv4")
	}
}

// A private CA's hosts live in private ranges.
func TestPolicyAllowsAndDenies(t *testing.T) {
	for _, a := range []string{
		"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fc00::1", "fd12:3456::1", "192.0.2.1", "8.8.8.8",
		"2001:db8::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::a00:1", "64:ff9b:1:a00:0:100::", "2002:a00:1::", "::10.0.0.1", "2001:0:1:2:3:4:f5ff:fffe",
	} {
		ap := netip.AddrPortFrom(netip.MustParseAddr(a), 443)
		if err := (challenge.AddressPolicy{}).Check(ap); err != nil {
			t.Errorf("%s: %v", a, err)
		}
		deny := challenge.AddressPolicy{Deny: prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "192.0.2.0/24", "8.0.0.0/8", "2001:db8::/32"), Allow: prefixes("::/0", "0.0.0.0/0")}
		if deny.Check(ap) == nil || deny.CheckIdentifier(ap.Addr()) == nil {
			t.Errorf("%s is not denied", a)
		}
	}
}

func TestPolicyOwnListeners(t *testing.T) {
	own := func(s ...string) challenge.AddressPolicy {
		p := challenge.AddressPolicy{AllowLoopback: true}
		for _, ap := range s {
			p.Own = append(p.Own, netip.MustParseAddrPort(ap))
		}
		return p
	}
	mine := "127.0.0.77"
	nets, err := net.InterfaceAddrs()
	must(t, err)
	for _, n := range nets {
		if ip, ok := n.(*net.IPNet); ok && ip.IP.To4() != nil && !ip.IP.IsLoopback() {
			mine = ip.IP.String()
		}
	}
	for _, c := range []struct {
		policy challenge.AddressPolicy
		target string
		ok     bool
	}{
		{own("192.0.2.1:443"), "192.0.2.1:443", false},
		{own("192.0.2.1:443"), "192.0.2.1:80", true},
		{own("192.0.2.1:443"), "192.0.2.2:443", true},
		{own("192.0.2.1:443"), "[::ffff:192.0.2.1]:443", false},
		{own("[::ffff:192.0.2.1]:443"), "192.0.2.1:443", false},
		{own("192.0.2.1:443"), "[64:ff9b::c000:201]:443", false},
		{own("192.0.2.1:443"), "[2002:c000:201::1]:443", false},
		{own("127.0.0.1:443"), "127.0.0.1:443", false},
		{own("127.0.0.1:443"), "127.0.0.1:5002", true},
		{own("0.0.0.0:443"), "127.0.0.1:443", false},
		{own("[::]:443"), "127.9.9.9:443", false},
		{own("[::]:443"), "[::1]:443", false},
		{own("[::]:443"), mine + ":443", false},
		{own("[::]:443"), mine + ":80", true},
		{own("[::]:443"), "192.0.2.9:443", true},
		{challenge.AddressPolicy{Own: own("192.0.2.1:443").Own, Allow: prefixes("192.0.2.1/32")}, "192.0.2.1:443", true},
	} {
		ap := netip.MustParseAddrPort(c.target)
		if err := c.policy.Check(ap); (err == nil) != c.ok {
			t.Errorf("own %v, target %s: %v, want allowed %v", c.policy.Own, c.target, err, c.ok)
		}
		if err := c.policy.CheckIdentifier(ap.Addr()); err != nil {
			t.Errorf("own listeners count for the identifier %s: %v", ap.Addr(), err)
		}
	}
}

func FuzzPolicy(f *testing.F) {
	for _, c := range refusals {
		a := netip.MustParseAddr(c.addr).As16()
		f.Add(a[:])
	}
	f.Add([]byte{10, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		var p challenge.AddressPolicy
		err := p.Check(netip.AddrPortFrom(a, 80))
		if (err == nil) != (p.CheckIdentifier(a) == nil) {
			t.Fatalf("%s: the two rules differ", a)
		}
		u := a.Unmap()
		if err == nil && (u.IsLoopback() || u.IsLinkLocalUnicast() || u.IsMulticast() || u.IsUnspecified()) {
			t.Fatalf("%s is allowed", a)
		}
		if mapped := netip.AddrFrom16(a.As16()); (err == nil) != (p.CheckIdentifier(mapped) == nil) {
			t.Fatalf("%s and its mapped form differ", a)
		}
	})
}
