package dnstest

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// maxLog bounds the query log: the oldest half is dropped when it is full.
const maxLog = 8192

// Query is one question that arrived.
type Query struct {
	Name string // lower case, without the final dot
	Type string // "A", "TXT", …
	Net  string // "udp" or "tcp"
	Raw  string // the name as it was written, with its case and final dot
	At   time.Time
}

// Server answers on one port over UDP and TCP. All methods are safe for
// concurrent use, and take names in any case, with or without the final dot.
type Server struct {
	addr   string
	udp    *dns.Server
	tcp    *dns.Server
	served sync.WaitGroup
	closed chan struct{}
	once   sync.Once

	mu        sync.Mutex // guards everything below
	zone      zone
	queries   []Query
	failures  map[string]int
	delays    map[string]time.Duration
	truncated map[string]bool
	dropped   map[string]bool
	authentic bool
}

// Start listens on addr, which is host:port. An empty host means 127.0.0.1 and
// port 0 any that is free for both UDP and TCP. Without further orders every
// name is answered with NXDOMAIN.
func Start(addr string) (*Server, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("dnstest: %q is not host:port: %w", addr, err)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	l, p, err := Listen(net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("dnstest: %w", err)
	}
	s := &Server{
		addr:      l.Addr().String(),
		closed:    make(chan struct{}),
		zone:      newZone(),
		failures:  map[string]int{},
		delays:    map[string]time.Duration{},
		truncated: map[string]bool{},
		dropped:   map[string]bool{},
	}
	s.tcp = &dns.Server{Listener: l, Handler: s.handler("tcp")}
	s.udp = &dns.Server{PacketConn: p, Handler: s.handler("udp")}
	var ready sync.WaitGroup
	for _, d := range []*dns.Server{s.tcp, s.udp} {
		ready.Add(1)
		d.NotifyStartedFunc = ready.Done
		s.served.Go(func() { _ = d.ActivateAndServe() }) // it ends with Close
	}
	ready.Wait() // before that, Shutdown would not stop the loops
	return s, nil
}

// Listen listens on one port by TCP and by UDP. addr is as for [Start]. Which port
// is free for one of them says nothing of the other, so that with port 0 both are
// got together, and again with another port if that fails.
func Listen(addr string) (net.Listener, net.PacketConn, error) {
	var last error
	for range 20 {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, nil, err
		}
		p, err := net.ListenPacket("udp", l.Addr().String())
		if err == nil {
			return l, p, nil
		}
		last = err
		_ = l.Close()
		if !strings.HasSuffix(addr, ":0") {
			break // a fixed port does not get better by trying
		}
	}
	return nil, nil, last
}

// Addr is where the server listens, as address:port.
func (s *Server) Addr() string { return s.addr }

// Close stops the server and waits until its loops have ended. Queries that are
// being delayed are dropped.
func (s *Server) Close() {
	s.once.Do(func() {
		close(s.closed)
		_ = s.tcp.Shutdown()
		_ = s.udp.Shutdown()
	})
	s.served.Wait()
}

// Set replaces the records of one type of a name. Values are in presentation
// form ("192.0.2.1", "0 issue \"ca.example\"", "target.example"), only those of
// TXT are the text itself, of any length, unquoted. Setting no value makes the
// name exist without such a record, so that the answer is empty.
func (s *Server) Set(name, rtype string, values ...string) error {
	return s.Sequence(name, rtype, values)
}

// Add appends records to those of one type of a name.
func (s *Server) Add(name, rtype string, values ...string) error {
	records, t, err := parse(name, rtype, values)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone.add(key{canonical(name), t}, records)
	return nil
}

// Sequence lets successive questions of one type for a name get successive
// answers, each as in Set; the last one stays.
func (s *Server) Sequence(name, rtype string, answers ...[]string) error {
	var steps [][]dns.RR
	var t uint16
	for _, values := range answers {
		records, rt, err := parse(name, rtype, values)
		if err != nil {
			return err
		}
		steps, t = append(steps, records), rt
	}
	if len(steps) == 0 {
		return fmt.Errorf("dnstest: no answer is given for %s %s", name, rtype)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone.records[key{canonical(name), t}] = steps
	return nil
}

// Remove forgets the records of one type of a name, or of all types if rtype is
// "". A name without records does not exist.
func (s *Server) Remove(name, rtype string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone.remove(canonical(name), dns.StringToType[strings.ToUpper(rtype)])
}

// Default gives every name that has no A, AAAA or CNAME record of its own this
// address. The zero Addr ends that.
func (s *Server) Default(addr netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone.fallback = addr.Unmap()
}

// ChaseAliases says whether answers hold the records that a CNAME leads to (as
// from the start) or only the CNAME record.
func (s *Server) ChaseAliases(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone.shallow = !on
}

// Fail answers every question for the name with a response code, such as 2 for
// SERVFAIL, 3 for NXDOMAIN, 5 for REFUSED. 0 ends that.
func (s *Server) Fail(name string, rcode int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures[canonical(name)] = rcode
}

// Delay holds every answer for the name back. 0 ends that.
func (s *Server) Delay(name string, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delays[canonical(name)] = d
}

// Drop leaves questions for the name unanswered while on.
func (s *Server) Drop(name string, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped[canonical(name)] = on
}

// Truncate answers questions for the name over UDP with nothing but the TC bit
// while on. Answers too long for the asker's UDP size are truncated anyway.
func (s *Server) Truncate(name string, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.truncated[canonical(name)] = on
}

// Authentic sets the AD bit in all answers while on.
func (s *Server) Authentic(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.authentic = on
}

// Queries gives the questions so far, in the order of their arrival.
func (s *Server) Queries() []Query {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Query(nil), s.queries...)
}
