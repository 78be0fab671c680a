package resolver

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// SystemFile is where New finds the servers when Config names none.
const SystemFile = "/etc/resolv.conf"

// maxServers bounds how many servers one resolver takes turns with.
const maxServers = 8

// Config says whom to ask and how patiently.
type Config struct {
	// Servers are recursive resolvers as host:port, the host being an IP
	// address. They are asked in this order. Empty means the nameserver lines of
	// SystemFile, read once, by New. Search lists are never used: every name is
	// taken as fully qualified.
	Servers []string
	// Timeout is how long one server has for one answer; 0 means 2 s.
	Timeout time.Duration
	// Attempts is how often the whole list of servers is gone through before
	// giving up; 0 means 2.
	Attempts int
	// Net is "udp" (also when empty: UDP, then TCP if an answer was truncated)
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
// use; it holds no socket between questions.
type Resolver struct {
	servers   []string
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
	servers := c.Servers
	if len(servers) == 0 {
		var err error
		if servers, err = systemServers(SystemFile); err != nil {
			return nil, err
		}
	}
	if len(servers) > maxServers {
		return nil, fmt.Errorf("resolver: %d servers are too many; list at most %d", len(servers), maxServers)
	}
	for _, s := range servers {
		ap, err := netip.ParseAddrPort(s)
		if err != nil || ap.Port() == 0 {
			return nil, fmt.Errorf("resolver: server %q is not address:port, such as 192.0.2.53:53 or [2001:db8::53]:53", s)
		}
		r.servers = append(r.servers, ap.String())
	}
	return r, nil
}

// Servers gives the servers that are asked, in order, as address:port.
func (r *Resolver) Servers() []string { return append([]string(nil), r.servers...) }

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
