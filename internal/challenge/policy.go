package challenge

import (
	"fmt"
	"net"
	"net/netip"

	"chancery/internal/address"
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
	if address.Within(p.Allow, addr) {
		return nil
	}
	for _, form := range address.Forms(addr) {
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
	all := address.Forms(addr)
	for _, form := range all {
		if reason := unusable(form); reason != "" {
			return &AddressError{addr, reason}
		}
		if address.Within(p.Deny, form) {
			return &AddressError{addr, "this CA's configuration denies its network"}
		}
	}
	if address.Within(p.Allow, addr) {
		return nil
	}
	for _, form := range all {
		if reason := p.refused(form); reason != "" && !address.Within(p.Allow, form) {
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

// unusable gives the reason why nobody may ever allow an address, or "".
func unusable(a netip.Addr) string {
	switch {
	case address.Unspecified(a):
		return "it is an unspecified address"
	case a.IsMulticast():
		return "it is a multicast address"
	case address.Broadcast(a):
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
	case address.Metadata(a):
		return "a cloud's metadata service is there"
	}
	return ""
}
