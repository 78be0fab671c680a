package solve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"chancery/internal/resolver"

	"github.com/miekg/dns"
)

// Where says who must show a record before the server is asked to look.
type Where string

// The places to look.
const (
	Authoritative Where = "authoritative" // all servers of the zone; also when empty
	Resolvers     Where = "resolvers"     // the configured resolver, which may remember an earlier answer
	Both          Where = "both"
	Nowhere       Where = "none" // only Delay is waited
)

// Propagation says how long to wait for a record to be seen, and by whom.
type Propagation struct {
	Where Where
	// Resolver answers for Resolvers and Both; nil: that of the solver.
	Resolver *resolver.Resolver
	// Servers, as address:port, are asked instead of those that the zone's NS records
	// name: for hidden primaries and split views.
	Servers []string
	// Timeout is the whole wait, 0 means 2 min; Interval is between two looks, 0 means 2 s.
	Timeout, Interval time.Duration
	// Delay is waited once more after the record is seen everywhere, or instead.
	Delay time.Duration
	// Port is where authoritative servers listen; 0 means 53. Others are for tests.
	Port uint16
}

func (p Propagation) authoritative() bool {
	return (p.Where == "" || p.Where == Authoritative || p.Where == Both) && len(p.Servers) == 0
}

// look is one place to look at: a server by all its addresses, or the resolver.
type look struct {
	label string
	see   func(context.Context) (seen bool, silent bool, note string)
}

// wait returns when the record is seen everywhere. A server that never says anything
// holds it up for a quarter of the time only, provided that another shows the record: the
// validator too will ask another.
func (p Propagation) wait(ctx context.Context, r *resolver.Resolver, a Answer) error {
	if p.Resolver != nil {
		r = p.Resolver
	}
	if p.Timeout <= 0 {
		p.Timeout = 2 * time.Minute
	}
	if p.Interval <= 0 {
		p.Interval = 2 * time.Second
	}
	looks, err := p.looks(ctx, r, a)
	if err != nil {
		return err
	}
	start := time.Now()
	for len(looks) > 0 {
		lacking, silentOnly, seen := inspect(ctx, looks)
		waited := time.Since(start)
		if len(lacking) == 0 || silentOnly && seen && waited >= p.Timeout/4 {
			break
		}
		if waited >= p.Timeout {
			return &PropagationError{Name: a.Name, Value: a.Value, Waited: waited, Lacking: lacking}
		}
		if err := pause(ctx, p.Interval); err != nil {
			return errors.Join(err, &PropagationError{Name: a.Name, Value: a.Value, Waited: time.Since(start), Lacking: lacking})
		}
	}
	return pause(ctx, p.Delay)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return ctx.Err()
	}
}

// inspect looks at all places side by side.
func inspect(ctx context.Context, looks []look) (lacking []string, silentOnly, anySeen bool) {
	type result struct {
		seen, silent bool
		note         string
	}
	results := make([]result, len(looks))
	var all sync.WaitGroup
	for i, l := range looks {
		all.Go(func() {
			seen, silent, note := l.see(ctx)
			results[i] = result{seen, silent, l.label + ": " + note}
		})
	}
	all.Wait()
	silentOnly = true
	for _, r := range results {
		if r.seen {
			anySeen = true
			continue
		}
		lacking = append(lacking, r.note)
		silentOnly = silentOnly && r.silent
	}
	return lacking, silentOnly, anySeen
}

// looks gives the places.
func (p Propagation) looks(ctx context.Context, r *resolver.Resolver, a Answer) (list []look, err error) {
	switch p.Where {
	case "", Authoritative, Both, Resolvers, Nowhere:
	default:
		return nil, fmt.Errorf("propagation cannot be checked at %q: say authoritative, resolvers, both or none", string(p.Where))
	}
	if p.authoritative() {
		if list, err = p.zoneServers(ctx, r, a); err != nil {
			return nil, err
		}
	} else if p.Where != Resolvers && p.Where != Nowhere {
		for _, s := range p.Servers {
			list = append(list, serverLook(s, []string{s}, a))
		}
	}
	if p.Where == Resolvers || p.Where == Both {
		list = append(list, look{label: "the resolver", see: func(ctx context.Context) (bool, bool, string) {
			texts, err := r.TXT(ctx, strings.TrimSuffix(a.Name, "."))
			if err != nil {
				return false, false, err.Error()
			}
			return slices.Contains(texts, a.Value), false, other(texts)
		}})
	}
	return list, nil
}

// zoneServers are those that the zone's NS records name.
func (p Propagation) zoneServers(ctx context.Context, r *resolver.Resolver, a Answer) (list []look, err error) {
	answer, err := r.Lookup(ctx, strings.TrimSuffix(a.Zone, "."), dns.TypeNS)
	if err != nil {
		return nil, fmt.Errorf("finding the servers of zone %s: %w", a.Zone, err)
	}
	port := cmp.Or(p.Port, 53)
	for _, rr := range answer.Records {
		ns, ok := rr.(*dns.NS)
		if !ok {
			continue
		}
		addresses, err := r.Addresses(ctx, bare(ns.Ns))
		if err != nil {
			note := err.Error()
			list = append(list, look{ns.Ns, func(context.Context) (bool, bool, string) { return false, true, note }})
			continue
		}
		var servers []string
		for _, ip := range addresses {
			servers = append(servers, netip.AddrPortFrom(ip, port).String())
		}
		list = append(list, serverLook(ns.Ns, servers, a))
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("zone %s has no NS records", a.Zone)
	}
	return list, nil
}

// serverLook asks one server at all its addresses: one must show the record and none may
// lack it; addresses that cannot be reached from here do not count beside one that can.
func serverLook(label string, addresses []string, a Answer) look {
	return look{label, func(ctx context.Context) (seen, silent bool, note string) {
		silent = true
		for _, address := range addresses {
			texts, err := ask(ctx, address, a.Name)
			if err != nil {
				if note == "" {
					note = err.Error()
				}
				continue
			}
			silent = false
			if !slices.Contains(texts, a.Value) {
				return false, false, other(texts)
			}
			seen = true
		}
		return seen, silent, note
	}}
}

// other says in words what is there instead.
func other(texts []string) string {
	if len(texts) == 0 {
		return "no TXT record"
	}
	return strconv.Itoa(len(texts)) + " other TXT records"
}

// ask asks one authoritative server over UDP, then TCP if the answer was truncated. A
// name that is not there is an empty answer.
func ask(ctx context.Context, server, name string) ([]string, error) {
	m := new(dns.Msg).SetQuestion(name, dns.TypeTXT)
	m.RecursionDesired = false
	m.SetEdns0(1232, false)
	var reply *dns.Msg
	for _, network := range []string{"udp", "tcp"} {
		client := dns.Client{Net: network, Timeout: 3 * time.Second, UDPSize: 1232}
		var err error
		if reply, _, err = client.ExchangeContext(ctx, m, server); err != nil {
			return nil, fmt.Errorf("no answer: %w", tidyNet(err))
		}
		if !reply.Truncated {
			break
		}
	}
	if reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError {
		return nil, errors.New(dns.RcodeToString[reply.Rcode])
	}
	var texts []string
	for _, rr := range reply.Answer {
		if t, ok := rr.(*dns.TXT); ok {
			texts = append(texts, strings.Join(t.Txt, ""))
		}
	}
	return texts, nil
}

// tidyNet leaves the socket's addresses out of a network error.
func tidyNet(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
