package guard

import (
	"net/netip"

	"chancery/internal/address"
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
	if address.Within(p.Allow, a) {
		return ""
	}
	for _, form := range address.Forms(a) {
		if reason := p.refused(form); reason != "" && !address.Within(p.Allow, form) {
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
	case address.Unspecified(a):
		return "it is an unspecified address"
	case a.IsLoopback():
		return "it is a loopback address"
	case address.Metadata(a):
		return "a cloud's metadata service is there"
	case a.IsLinkLocalUnicast():
		return "it is a link-local address"
	case a.IsMulticast() || address.Broadcast(a):
		return "it is a multicast or broadcast address"
	case !p.Private && address.Within(private, a):
		return "it is a private address, which a discovered CA may not lead to unless the configuration allows it"
	}
	return ""
}

// private are the networks of which IANA's special-purpose registries (RFC 6890) say
// that they are not globally reachable, less those that nobody routes at all.
var private = []netip.Prefix{
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
