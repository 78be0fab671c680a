package resolver

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// transport is how a server is reached.
type transport int

const (
	plain   transport = iota // UDP and TCP, RFC 1035
	overTLS                  // RFC 7858
	overWeb                  // RFC 8484
)

// server is one resolver to ask. It is never changed after New.
type server struct {
	text    string // as shown: address:port, tls://…, https://…
	via     transport
	address netip.AddrPort // where to go; without an address for overWeb: the system finds the host
	host    string         // whom its certificate must name: a host name or an IP address
	url     string         // of overWeb

	trusted bool   // its AD bit counts
	named   bool   // because Config.Trusted says so
	spare   *spare // of overTLS
	tls     *tls.Config
	web     *http.Client
}

// parseServer reads the address of a server, in one of the forms of
// Config.Servers.
func parseServer(text string) (*server, error) {
	switch {
	case strings.HasPrefix(text, "tls://"):
		return parseTLS(text)
	case strings.HasPrefix(text, "https://"):
		return parseWeb(text)
	}
	ap, ok := parseAddress(text, 53)
	if !ok {
		return nil, serverError(text, "it is no IP address, with or without port")
	}
	return &server{text: ap.String(), address: ap}, nil
}

// parseTLS reads tls://IP[:port][#name].
func parseTLS(text string) (*server, error) {
	place, host, named := strings.Cut(strings.TrimPrefix(text, "tls://"), "#")
	ap, ok := parseAddress(place, 853) // RFC 7858 §3.1
	if !ok {
		return nil, serverError(text, "behind tls:// stands an IP address, with or without port")
	}
	s := &server{via: overTLS, address: ap, host: ap.Addr().WithZone("").String(), text: "tls://" + ap.String()}
	if named {
		if s.host, ok = certificateName(host); !ok {
			return nil, serverError(text, "behind # stands the host name in the server's certificate")
		}
		s.text += "#" + s.host
	}
	return s, nil
}

// parseWeb reads https://host[:port]/path[@IP]. The {?dns} that ends the URI
// templates of RFC 8484 §3 is dropped: it is for GET.
func parseWeb(text string) (*server, error) {
	u, err := url.Parse(strings.TrimSuffix(text, "{?dns}"))
	switch {
	case err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return nil, serverError(text, "it is no https address of host and path alone")
	case strings.Trim(u.Path, "/") == "":
		return nil, serverError(text, "the path is missing, which often is /dns-query")
	}
	port := uint64(443)
	if p := u.Port(); p != "" {
		if port, err = strconv.ParseUint(p, 10, 16); err != nil || port == 0 {
			return nil, serverError(text, "its port is no number from 1 to 65535")
		}
	} else if strings.HasSuffix(u.Host, ":") {
		return nil, serverError(text, "its port is empty")
	}
	s := &server{via: overWeb, text: text}
	var ok bool
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && ip.Zone() == "" {
		s.host, s.address = ip.String(), netip.AddrPortFrom(ip, uint16(port))
	} else if s.host, ok = certificateName(u.Hostname()); !ok {
		return nil, serverError(text, "its host is neither a host name nor an IP address")
	}
	if at := strings.LastIndexByte(u.Path, '@'); at >= 0 {
		ip, err := netip.ParseAddr(u.Path[at+1:])
		if err != nil || ip.Zone() != "" || s.address.IsValid() {
			return nil, serverError(text, "behind @ stands the IP address of a host that is given by name")
		}
		s.address = netip.AddrPortFrom(ip, uint16(port))
		u.Path, u.RawPath = u.Path[:at], ""
		if strings.Trim(u.Path, "/") == "" {
			return nil, serverError(text, "the path is missing, which often is /dns-query")
		}
	}
	s.url = u.String()
	return s, nil
}

// parseAddress reads IP, IP:port, [IP] or [IP]:port.
func parseAddress(text string, port uint16) (netip.AddrPort, bool) {
	ap, err := netip.ParseAddrPort(text)
	if err != nil {
		inner, bracketed := strings.CutPrefix(text, "[")
		if bracketed {
			inner, bracketed = strings.CutSuffix(inner, "]")
		}
		ip, err := netip.ParseAddr(inner)
		if err != nil || bracketed && ip.Is4() || !bracketed && inner != text {
			return netip.AddrPort{}, false
		}
		ap = netip.AddrPortFrom(ip, port)
	}
	// The standard library takes any text for a zone.
	zone, odd := ap.Addr().Zone(), func(c rune) bool { return strings.ContainsRune("[]:/#@%", c) || c <= ' ' || c > '~' }
	return ap, ap.Port() != 0 && !strings.ContainsFunc(zone, odd)
}

// certificateName gives a host name in lower case, and whether it can be one.
func certificateName(host string) (string, bool) {
	if _, err := netip.ParseAddr(host); err == nil {
		return host, !strings.Contains(host, "%")
	}
	name, err := canonicalName(host)
	return name, err == nil
}

// serverError refuses a server's address, and shows the forms that there are.
func serverError(text, reason string) error {
	return fmt.Errorf("resolver: server %q: %s; write it as 192.0.2.53, [2001:db8::53]:53, tls://192.0.2.53#dns.example or https://dns.example/dns-query", text, reason)
}

// local tells whether the server runs on this machine.
func (s *server) local() bool { return s.address.IsValid() && s.address.Addr().Unmap().IsLoopback() }

// is tells whether an entry of Config.Trusted means the server.
func (s *server) is(n netip.AddrPort) bool {
	return s.address.IsValid() && n.Addr().Unmap() == s.address.Addr().Unmap() && (n.Port() == 0 || n.Port() == s.address.Port())
}

// trust settles whether the server's AD bit counts: it validates on this machine,
// nobody can change its answers on their way, or somebody answers for it.
func (s *server) trust(named []netip.AddrPort) {
	s.named = slices.ContainsFunc(named, s.is)
	s.trusted = s.named || s.local() || s.via != plain
}

// describe says in words how the server is reached, and what its AD bit is worth.
func (s *server) describe() string {
	var how string
	switch {
	case !s.trusted:
		return s.text + " (unprotected: what it says of DNSSEC does not count)"
	case s.local():
		how = "on this machine"
	case s.via != plain:
		how = "over TLS, as " + s.host
	default:
		how = "named as trusted"
	}
	return s.text + " (" + how + ": what it says of DNSSEC counts)"
}

// parseTrusted reads Config.Trusted. A port of 0 stands for all.
func parseTrusted(texts []string) ([]netip.AddrPort, error) {
	var all []netip.AddrPort
	for _, text := range texts {
		if ap, ok := parseAddress(text, 53); ok {
			if _, _, err := net.SplitHostPort(text); err != nil {
				ap = netip.AddrPortFrom(ap.Addr(), 0)
			}
			all = append(all, ap)
			continue
		}
		return nil, fmt.Errorf("resolver: trusted server %q is no IP address, with or without port, such as 192.0.2.53 or [2001:db8::53]:53", text)
	}
	return all, nil
}
