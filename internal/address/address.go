// Package address knows which addresses are not what they seem: those that carry
// another one within, those that stand for this machine, and those where clouds
// hand out a machine's secrets. The server, which connects to who asks for a
// certificate, and the client, which connects to CAs that strangers' records
// name, judge by the same lists.
//
// It gives facts and decides nothing: what may be connected to is the policy of
// who connects. It knows no room, and sends nothing.
package address

import "net/netip"

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8") // RFC 1122 §3.2.1.3; Linux takes 0.0.0.0 for itself
	broadcast   = netip.MustParseAddr("255.255.255.255")
	nat64       = netip.MustParsePrefix("64:ff9b::/96")   // RFC 6052 §2.1
	nat64Local  = netip.MustParsePrefix("64:ff9b:1::/48") // RFC 8215
	sixToFour   = netip.MustParsePrefix("2002::/16")      // RFC 3056 §2
	teredo      = netip.MustParsePrefix("2001::/32")      // RFC 4380 §4
	compatible  = netip.MustParsePrefix("::/96")          // RFC 4291 §2.5.5.1
)

var metadata = map[netip.Addr]bool{
	netip.MustParseAddr("fd00:ec2::254"):   true, // AWS
	netip.MustParseAddr("fd20:ce::254"):    true, // Google
	netip.MustParseAddr("100.100.100.200"): true, // Alibaba
	netip.MustParseAddr("168.63.129.16"):   true, // Azure
	netip.MustParseAddr("192.0.0.192"):     true, // Oracle
}

// Metadata says whether an unmapped address is one, outside of the link-local
// 169.254.0.0/16, where a cloud tells any process on a machine that machine's
// secrets.
func Metadata(a netip.Addr) bool { return metadata[a] }

// Unspecified says whether an unmapped address is 0.0.0.0, ::, or another of "this
// network" (RFC 1122 §3.2.1.3).
func Unspecified(a netip.Addr) bool { return a.IsUnspecified() || thisNetwork.Contains(a) }

// Broadcast says whether an unmapped address is all of a network's hosts.
func Broadcast(a netip.Addr) bool { return a == broadcast }

// Forms gives an unmapped address and the IPv4 addresses that it carries, if any
// (IPv4-compatible, NAT64, 6to4, Teredo): a gateway or the kernel may connect to
// those in its place.
func Forms(a netip.Addr) []netip.Addr {
	b := a.As16()
	var in [4]byte
	switch {
	case a.Is4():
		return []netip.Addr{a}
	case nat64.Contains(a):
		in = [4]byte(b[12:])
	case nat64Local.Contains(a):
		return append([]netip.Addr{a}, localForms(b)...)
	case compatible.Contains(a) && !a.IsLoopback() && !a.IsUnspecified():
		in = [4]byte(b[12:])
	case sixToFour.Contains(a):
		in = [4]byte(b[2:6])
	case teredo.Contains(a):
		for i := range in {
			in[i] = ^b[12+i]
		}
	default:
		return []netip.Addr{a}
	}
	return []netip.Addr{a, netip.AddrFrom4(in)}
}

// localForms gives the IPv4 addresses that one of the local-use NAT64 prefix may
// carry. Where they stand hangs on the length of the prefix that the operator
// chose (RFC 6052 §2.2), which nobody tells us, so every place counts in which
// an IPv4 address can be; octet 8 is never part of it.
func localForms(b [16]byte) []netip.Addr {
	last := netip.AddrFrom4([4]byte(b[12:]))
	var all []netip.Addr
	for _, form := range []netip.Addr{
		netip.AddrFrom4([4]byte{b[6], b[7], b[9], b[10]}),  // 48 bits
		netip.AddrFrom4([4]byte{b[7], b[9], b[10], b[11]}), // 56
		netip.AddrFrom4([4]byte(b[9:13])),                  // 64
		last,                                               // 96
	} {
		if !thisNetwork.Contains(form) { // what begins with zero is no address but padding
			all = append(all, form)
		}
	}
	if len(all) == 0 {
		return []netip.Addr{last}
	}
	return all
}

// Within says whether a network of the list contains the unmapped address. A
// network of IPv4-mapped addresses means those of IPv4.
func Within(list []netip.Prefix, a netip.Addr) bool {
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
