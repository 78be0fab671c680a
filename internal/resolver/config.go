package resolver

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// SystemFile is where New finds the servers when Config names none.
const SystemFile = "/etc/resolv.conf"

// maxServers bounds how many servers one resolver takes turns with.
const maxServers = 8

// Config says whom to ask and how patiently.
type Config struct {
	// Servers are recursive resolvers, asked in this order:
	//
	//   - IP[:port]: UDP, and TCP where that does not do; port 53 unless given
	//   - tls://IP[:port][#name]: DNS over TLS (RFC 7858), port 853 unless given
	//   - https://host[:port]/path[@IP]: DNS over HTTPS (RFC 8484) by POST. The host may
	//     be an IP address. Where a host that is a name is to be found, the IP address
	//     behind @ says; without one the system is asked, as for any web page.
	//
	// Over TLS the server must show a certificate for name or host (for the IP
	// address where there is no name), which Roots vouch for; without it nothing is
	// asked. Empty means the nameserver lines of SystemFile, read once, by New.
	// Search lists are never used: every name is taken as fully qualified.
	Servers []string
	// Trusted are the servers, as IP[:port], whose word on DNSSEC counts although they
	// are neither on loopback nor reached over TLS: there is somebody who vouches for
	// the network between. Each must be one of Servers, if those are given.
	Trusted []string
	// Roots vouch for servers over TLS; nil means the system's.
	Roots *x509.CertPool
	// Timeout is how long one server has for one answer; 0 means 2 s.
	Timeout time.Duration
	// Attempts is how often the whole list of servers is gone through before
	// giving up; 0 means 2.
	Attempts int
	// Net concerns the servers that are not over TLS: it is "udp" (also when empty: UDP, then TCP if an answer was truncated)
	// or "tcp" (TCP only).
	Net string
	// MixCase writes each question over UDP in random upper and lower case and
	// demands it back the same, which makes forged answers harder. A server that
	// does not keep the case is asked again over TCP, or in plain case if it has
	// none; and everything after the first round of Attempts is in plain case.
	MixCase bool
	// HostsFile is a file in the format of /etc/hosts that [Resolver.Host] and
	// [Resolver.Addresses] consult before the DNS; "" means none. It is read
	// anew at every look-up. A private CA's hosts often stand only there, so
	// "/etc/hosts" is the usual companion of an empty Servers list; but whoever
	// can write that file decides where validations go.
	HostsFile string
}

// Resolver asks the configured servers. It is immutable and safe for concurrent
// use; between questions it holds no socket, but for some seconds those of servers
// over TLS or HTTPS.
type Resolver struct {
	servers   []*server
	timeout   time.Duration
	attempts  int
	net       string
	mixCase   bool
	hostsFile string
}

// New checks the configuration and gives a resolver. It asks nothing yet.
func New(c Config) (*Resolver, error) {
	r := &Resolver{timeout: c.Timeout, attempts: c.Attempts, net: c.Net, mixCase: c.MixCase, hostsFile: c.HostsFile}
	if r.timeout == 0 {
		r.timeout = 2 * time.Second
	}
	if r.attempts == 0 {
		r.attempts = 2
	}
	if r.net == "" {
		r.net = "udp"
	}
	if r.net != "udp" && r.net != "tcp" {
		return nil, fmt.Errorf("resolver: net %q is neither \"udp\" nor \"tcp\"", c.Net)
	}
	if r.timeout < 0 || r.attempts < 0 {
		return nil, errors.New("resolver: timeout and attempts must not be negative")
	}
	if err := r.setServers(c); err != nil {
		return nil, err
	}
	return r, nil
}

// setServers reads whom to ask.
func (r *Resolver) setServers(c Config) error {
	texts := c.Servers
	if len(texts) == 0 {
		var err error
		if texts, err = systemServers(SystemFile); err != nil {
			return err
		}
	}
	if len(texts) > maxServers {
		return fmt.Errorf("resolver: %d servers are too many; list at most %d", len(texts), maxServers)
	}
	trusted, err := parseTrusted(c.Trusted)
	if err != nil {
		return err
	}
	for _, text := range texts {
		s, err := parseServer(text)
		if err != nil {
			return err
		}
		s.trust(trusted)
		s.secure(c.Roots)
		r.servers = append(r.servers, s)
	}
	for i, t := range trusted {
		known := func(s *server) bool { return s.is(t) }
		if len(c.Servers) > 0 && !slices.ContainsFunc(r.servers, known) {
			return fmt.Errorf("resolver: the trusted server %q is none of the servers %s", c.Trusted[i], strings.Join(r.Servers(), ", "))
		}
	}
	return nil
}

// Servers gives the servers that are asked, in order, each in one agreed form.
func (r *Resolver) Servers() []string {
	texts := make([]string, len(r.servers))
	for i, s := range r.servers {
		texts[i] = s.text
	}
	return texts
}

// Unprotected gives the servers whose word on DNSSEC does not count, as they are
// asked in the clear over a network that nobody vouches for.
func (r *Resolver) Unprotected() []string {
	var texts []string
	for _, s := range r.servers {
		if !s.trusted {
			texts = append(texts, s.text)
		}
	}
	return texts
}

// Describe says for a person which servers are asked, in order, and whether what
// each says of DNSSEC counts.
func (r *Resolver) Describe() string {
	texts := make([]string, len(r.servers))
	for i, s := range r.servers {
		texts[i] = s.describe()
	}
	return strings.Join(texts, ", then ")
}

// systemServers reads the nameserver lines of a resolv.conf.
func systemServers(file string) ([]string, error) {
	conf, err := dns.ClientConfigFromFile(file)
	if err != nil {
		return nil, fmt.Errorf("resolver: no DNS server is configured and %s cannot be read: %w", file, err)
	}
	var servers []string
	for _, s := range conf.Servers {
		if _, err := netip.ParseAddr(s); err == nil && len(servers) < maxServers {
			servers = append(servers, net.JoinHostPort(s, conf.Port))
		}
	}
	if len(servers) == 0 {
		return nil, fmt.Errorf("resolver: %s names no server; list the DNS servers to ask in the configuration", file)
	}
	return servers, nil
}
