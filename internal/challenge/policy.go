package challenge

import (
	"fmt"
	"net"
	"net/netip"
)

// AddressPolicy says which addresses may be connected to. The zero value is the
// usual policy of a private CA: private ranges yes; loopback, link-local,
// multicast and the like no.
//
// In this order: unspecified, multicast and broadcast addresses are never
// allowed; Deny refuses; Allow allows; what remains meets the built-in refusals.
// An IPv6 address that carries an IPv4 address (IPv4-mapped and -compatible,
// NAT64 64:ff9b::/96 and 64:ff9b:1::/48, 6to4, Teredo) must pass for both.
type AddressPolicy struct {
	// AllowLoopback lifts the refusal of 127.0.0.0/8 and ::1, and only that. It
	// is for a server all of whose own listeners are on loopback.
	AllowLoopback bool
	// Deny are networks never to connect to, such as those of management ports.
	Deny []netip.Prefix
	// Allow are networks exempt from the built-in refusals and from Own.
	Allow []netip.Prefix
	// Own are this server's listeners. An unspecified address (0.0.0.0, ::)
	// stands for every address of this machine.
	Own []netip.AddrPort
}

// AddressError is the policy's refusal of an address.
type AddressError struct {
	Address netip.Addr
	Reason  string // "it is a loopback address"
}

// Error says which address and why.
func (e *AddressError) Error() string {
	return fmt.Sprintf("the address %s may not be validated: %s", e.Address, e.Reason)
}

// Check gives an *AddressError if nothing may be sent to this address and port.
func (p AddressPolicy) Check(ap netip.AddrPort) error {
	if err := p.CheckIdentifier(ap.Addr()); err != nil {
		return err
	}
	addr := ap.Addr().Unmap()
	if within(p.Allow, addr) {
		return nil
	}
	for _, form := range forms(addr) {
		if p.own(netip.AddrPortFrom(form, ap.Port())) {
			return &AddressError{addr, "this server itself listens there"}
		}
	}
	return nil
}

// CheckIdentifier is the same rule for an address as an identifier (RFC 8738),
// when no port is known yet: an *AddressError if a certificate for it could
// never be validated.
func (p AddressPolicy) CheckIdentifier(addr netip.Addr) error {
	if !addr.IsValid() {
		return &AddressError{addr, "it is not an address"}
	}
	if addr.Zone() != "" {
		return &AddressError{addr, "it has a zone, which means something on one machine only"}
	}
	addr = addr.Unmap()
	all := forms(addr)
	for _, form := range all {
		if reason := unusable(form); reason != "" {
			return &AddressError{addr, reason}
		}
		if within(p.Deny, form) {
			return &AddressError{addr, "this CA's configuration denies its network"}
		}
	}
	if within(p.Allow, addr) {
		return nil
	}
	for _, form := range all {
		if reason := p.refused(form); reason != "" && !within(p.Allow, form) {
			return &AddressError{addr, reason}
		}
	}
	return nil
}

// own says whether one of our listeners is there.
func (p AddressPolicy) own(ap netip.AddrPort) bool {
	for _, o := range p.Own {
		if o.Port() != ap.Port() {
			continue
		}
		a := o.Addr().Unmap()
		if a == ap.Addr() || a.IsUnspecified() && local(ap.Addr()) {
			return true
		}
	}
	return false
}

// local says whether an address is one of this machine's. Not being able to
// tell counts as yes.
func local(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	nets, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	for _, n := range nets {
		if ipnet, ok := n.(*net.IPNet); ok && ipnet.IP.Equal(net.IP(addr.AsSlice())) {
			return true
		}
	}
	return false
}

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8") // RFC 1122 §3.2.1.3; Linux takes 0.0.0.0 for itself
	broadcast   = netip.MustParseAddr("255.255.255.255")
	nat64       = netip.MustParsePrefix("64:ff9b::/96")   // RFC 6052 §2.1
	nat64Local  = netip.MustParsePrefix("64:ff9b:1::/48") // RFC 8215
	sixToFour   = netip.MustParsePrefix("2002::/16")      // RFC 3056 §2
	teredo      = netip.MustParsePrefix("2001::/32")      // RFC 4380 §4
	compatible  = netip.MustParsePrefix("::/96")          // RFC 4291 §2.5.5.1
)

// metadata are the addresses outside 169.254.0.0/16 where clouds tell any process
// on a machine that machine's secrets.
var metadata = map[netip.Addr]bool{
	netip.MustParseAddr("fd00:ec2::254"):   true, // AWS
	netip.MustParseAddr("fd20:ce::254"):    true, // Google
	netip.MustParseAddr("100.100.100.200"): true, // Alibaba
	netip.MustParseAddr("168.63.129.16"):   true, // Azure
}

// unusable gives the reason why nobody may ever allow an address, or "".
func unusable(a netip.Addr) string {
	switch {
	case a.IsUnspecified() || thisNetwork.Contains(a):
		return "it is an unspecified address"
	case a.IsMulticast():
		return "it is a multicast address"
	case a == broadcast:
		return "it is the broadcast address"
	}
	return ""
}

// refused gives the built-in reason against an address, or "".
func (p AddressPolicy) refused(a netip.Addr) string {
	switch {
	case a.IsLoopback() && !p.AllowLoopback:
		return "it is a loopback address"
	case a.IsLinkLocalUnicast():
		return "it is a link-local address"
	case metadata[a]:
		return "a cloud's metadata service is there"
	}
	return ""
}

// forms gives an unmapped address and the IPv4 addresses that it carries, if
// any.
func forms(a netip.Addr) []netip.Addr {
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

// within says whether a network of the list contains the unmapped address. A
// network of IPv4-mapped addresses means those of IPv4.
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
