package challenge

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"
)

// maxDials bounds the addresses tried for one hop, of each family.
const maxDials = 2

// dial resolves a host, a name or an address without brackets, and connects to
// the first of its addresses that the policy permits and that answers, IPv6
// first. It falls back to the next only if there was no connection: what a
// server says once it is reached counts.
func (v *Validator) dial(ctx context.Context, host string, port uint16, t *trail) (net.Conn, netip.Addr, *Failure) {
	addrs, f := v.addresses(ctx, host, t)
	if f != nil {
		return nil, netip.Addr{}, f
	}
	var permitted []netip.Addr
	var refusal error
	for _, a := range addrs {
		if err := v.conf.Policy.Check(netip.AddrPortFrom(a, port)); err != nil {
			t.add("%s refused", a)
			refusal = err
			continue
		}
		permitted = append(permitted, a)
	}
	if len(permitted) == 0 {
		f := fail(Refused, "this CA does not connect to port %d of %s: %s", port, host, refusal).because(refusal)
		var ae *AddressError
		if errors.As(refusal, &ae) {
			f.Address = ae.Address
		}
		return nil, f.Address, f
	}
	var misses []string
	for i, a := range permitted {
		c, err := v.dialOne(ctx, netip.AddrPortFrom(a, port), len(permitted)-i)
		if err == nil {
			t.add("connected to %s", netip.AddrPortFrom(a, port))
			return c, a, nil
		}
		t.add("no connection to %s", netip.AddrPortFrom(a, port))
		misses = append(misses, dialText(netip.AddrPortFrom(a, port), err))
		if f = fail(Connection, "could not connect to %s: %s", host, strings.Join(misses, "; ")).because(err).at(a); ctx.Err() != nil {
			break
		}
	}
	return nil, f.Address, f
}

// dialOne connects to an address within its share of the time that is left, so
// that a dead IPv6 address leaves time for IPv4.
func (v *Validator) dialOne(ctx context.Context, ap netip.AddrPort, shares int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && shares > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(shares+1))
		defer cancel()
	}
	d := net.Dialer{KeepAlive: -1}
	return d.DialContext(ctx, "tcp", ap.String())
}

// addresses gives what a host resolves to, at most maxDials of each family, IPv6
// first.
func (v *Validator) addresses(ctx context.Context, host string, t *trail) ([]netip.Addr, *Failure) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	answer, err := v.conf.Resolver.Host(ctx, host)
	if err != nil {
		t.add("no address for %s", host)
		return nil, fail(DNS, "%s", err).because(err)
	}
	all := answer.Addresses()
	t.add("%s says %s%s is at %s", answer.Server, host, authentic(answer.Authentic), list(all))
	var v6, v4 []netip.Addr
	for _, a := range all {
		switch {
		case a.Unmap().Is4() && len(v4) < maxDials:
			v4 = append(v4, a)
		case !a.Unmap().Is4() && len(v6) < maxDials:
			v6 = append(v6, a)
		}
	}
	return append(v6, v4...), nil
}

// authentic notes DNSSEC in the evidence.
func authentic(ad bool) string {
	if ad {
		return " (DNSSEC)"
	}
	return ""
}

// list writes the first addresses.
func list(addrs []netip.Addr) string {
	var s []string
	for i, a := range addrs {
		if i == 8 {
			s = append(s, "…")
			break
		}
		s = append(s, a.String())
	}
	return strings.Join(s, ", ")
}

// dialText says why there was no connection, in few words.
func dialText(ap netip.AddrPort, err error) string {
	var op *net.OpError
	switch {
	case timedOut(err):
		return ap.String() + " did not answer in time (is the port open in the firewall?)"
	case errors.As(err, &op) && op.Err != nil:
		return ap.String() + ": " + op.Err.Error()
	}
	return ap.String() + ": " + err.Error()
}

// timedOut says whether an error is that of a time-out.
func timedOut(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout() || errors.Is(err, context.DeadlineExceeded)
}
