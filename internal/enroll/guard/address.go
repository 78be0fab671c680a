package guard

import (
	"net/netip"
)

// Check gives the reason why an address is not connected to, or "".
func (p Policy) Check(a netip.Addr) string {
	if !a.IsValid() {
		return "it is no address"
	}
	if a.Zone() != "" {
		return "it has a zone, which means something on one machine only"
	}
	a = a.Unmap() // ::ffff:127.0.0.1 is 127.0.0.1
	if within(p.Allow, a) {
		return ""
	}
	for _, form := range forms(a) {
		if reason := p.refused(form); reason != "" && !within(p.Allow, form) {
			if form != a {
				reason = "it carries " + form.String() + ", and " + reason
			}
			return reason
		}
	}
	return ""
}

func (p Policy) refused(a netip.Addr) string {
	switch {
	case a.IsUnspecified() || thisNetwork.Contains(a):
		return "it is an unspecified address"
	case a.IsLoopback():
		return "it is a loopback address"
	case metadata[a]:
		return "a cloud's metadata service is there"
	case a.IsLinkLocalUnicast():
		return "it is a link-local address"
	case a.IsMulticast() || a == broadcast:
		return "it is a multicast or broadcast address"
	case !p.Private && within(private, a):
		return "it is a private address, which a discovered CA may not lead to unless the configuration allows it"
	}
	return ""
}

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8") // RFC 1122 §3.2.1.3
	broadcast   = netip.MustParseAddr("255.255.255.255")

	// metadata are the addresses outside 169.254.0.0/16 where clouds tell any process on
	// a machine that machine's secrets.
	metadata = map[netip.Addr]bool{
		netip.MustParseAddr("fd00:ec2::254"):   true, // AWS
		netip.MustParseAddr("fd20:ce::254"):    true, // Google
		netip.MustParseAddr("100.100.100.200"): true, // Alibaba
		netip.MustParseAddr("168.63.129.16"):   true, // Azure
		netip.MustParseAddr("192.0.0.192"):     true, // Oracle
	}

	// private are the networks of which IANA's special-purpose registries (RFC 6890) say
	// that they are not globally reachable, less those that nobody routes at all.
	private = []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"),     // RFC 1918
		netip.MustParsePrefix("172.16.0.0/12"),  // RFC 1918
		netip.MustParsePrefix("192.168.0.0/16"), // RFC 1918
		netip.MustParsePrefix("100.64.0.0/10"),  // RFC 6598
		netip.MustParsePrefix("192.0.0.0/24"),   // RFC 6890
		netip.MustParsePrefix("198.18.0.0/15"),  // RFC 2544
		netip.MustParsePrefix("240.0.0.0/4"),    // RFC 1112
		netip.MustParsePrefix("fc00::/7"),       // RFC 4193
		netip.MustParsePrefix("fec0::/10"),      // RFC 3879
	}

	nat64      = netip.MustParsePrefix("64:ff9b::/96")   // RFC 6052 §2.1
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48") // RFC 8215
	sixToFour  = netip.MustParsePrefix("2002::/16")      // RFC 3056 §2
	teredo     = netip.MustParsePrefix("2001::/32")      // RFC 4380 §4
	compatible = netip.MustParsePrefix("::/96")          // RFC 4291 §2.5.5.1
)

// forms gives an unmapped address and the IPv4 addresses that it carries, if any: a
// gateway or the kernel may connect to those in its place.
func forms(a netip.Addr) []netip.Addr {
	b := a.As16()
	v4 := func(i, j, k, l int) netip.Addr { return netip.AddrFrom4([4]byte{b[i], b[j], b[k], b[l]}) }
	all := []netip.Addr{a}
	switch {
	case a.Is4():
	case nat64Local.Contains(a):
		// Where the IPv4 address stands hangs on the length of the prefix that the operator
		// chose (RFC 6052 §2.2), so each place counts; what begins with zero is padding.
		for _, form := range []netip.Addr{v4(6, 7, 9, 10), v4(7, 9, 10, 11), v4(9, 10, 11, 12), v4(12, 13, 14, 15)} {
			if !thisNetwork.Contains(form) {
				all = append(all, form)
			}
		}
	case nat64.Contains(a), compatible.Contains(a) && !a.IsLoopback() && !a.IsUnspecified():
		all = append(all, v4(12, 13, 14, 15))
	case sixToFour.Contains(a):
		all = append(all, v4(2, 3, 4, 5))
	case teredo.Contains(a):
		all = append(all, netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}))
	}
	return all
}

// within says whether a network of the list contains the unmapped address. A network of
// IPv4-mapped addresses means those of IPv4.
func within(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		if p.Contains(a) {
			return true
		}
	}
	return false
}
