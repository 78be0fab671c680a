package resolver

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// maxAliases bounds a chain of CNAME records.
const maxAliases = 10

// Answer is what was found for one name.
type Answer struct {
	Name    string   // as asked, lower case, without the final dot
	Aliases []string // the CNAME targets followed, in order
	Records []dns.RR // of the type asked for and nothing else; never empty
	Server  string   // who answered, as in Resolver.Servers, or the path of the hosts file
	// Authentic is the AD bit (RFC 4035 §3.2.3) of every message that it took: the
	// server says that it checked DNSSEC signatures all the way. It is never set by a
	// server whose word on that does not count, see Config.Trusted.
	Authentic bool
}

// Addresses gives the addresses of the A and AAAA records, without repetition,
// in the order received.
func (a *Answer) Addresses() []netip.Addr {
	var addrs []netip.Addr
	for _, rr := range a.Records {
		var addr netip.Addr
		switch rr := rr.(type) {
		case *dns.A:
			addr, _ = netip.AddrFromSlice(rr.A)
			addr = addr.Unmap() // net.IP may hold four bytes in sixteen
		case *dns.AAAA:
			addr, _ = netip.AddrFromSlice(rr.AAAA)
		}
		if addr.IsValid() && !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// Texts gives one string for each TXT record, its character-strings joined
// without anything between them, as raw bytes.
func (a *Answer) Texts() []string {
	var texts []string
	for _, rr := range a.Records {
		if txt, ok := rr.(*dns.TXT); ok {
			texts = append(texts, unescape(strings.Join(txt.Txt, "")))
		}
	}
	return texts
}

// Lookup asks for the records of one type and follows CNAME records, also those
// that the server did not follow. An answer without a record of the type is an
// *Error of kind NoData. Every error is an *Error.
func (r *Resolver) Lookup(ctx context.Context, name string, qtype uint16) (*Answer, error) {
	a, e := r.lookup(ctx, name, qtype)
	if e != nil {
		return nil, e
	}
	return a, nil
}

// lookup is Lookup; beside NotFound and NoData it also gives the answer, which then
// has no records. A DNAME record needs no look of its own: a CNAME record made from
// it comes with it (RFC 6672 §3.1).
func (r *Resolver) lookup(ctx context.Context, name string, qtype uint16) (*Answer, *Error) {
	canonical, bad := canonicalName(name)
	if bad != nil {
		bad.Type = typeText(qtype)
		return nil, bad
	}
	a := &Answer{Name: canonical, Authentic: true}
	at := canonical
	for {
		m, s, err := r.ask(ctx, question{name: at, qtype: qtype})
		if err != nil {
			err.Name = canonical
			return nil, err
		}
		a.Server = s.text
		a.Authentic = a.Authentic && s.trusted && m.AuthenticatedData
		end, problem := a.follow(m, at, qtype)
		fail := func(kind Kind, reason string) *Error {
			return &Error{Name: canonical, Type: typeText(qtype), Kind: kind, Server: s.text, Reason: reason}
		}
		switch {
		case problem != "":
			return nil, fail(Malformed, problem)
		case len(a.Records) > 0:
			return a, nil
		case m.Rcode == dns.RcodeNameError:
			// With aliases in the answer, the code speaks of the last (RFC 6604 §3).
			return a, fail(NotFound, a.aliasText())
		case end == at:
			return a, fail(NoData, a.aliasText())
		}
		at = end
	}
}

// follow walks the aliases in one message from the name at, collects the
// records at the end of the walk, and gives that end. The second result is a
// complaint, "" if there is none.
func (a *Answer) follow(m *dns.Msg, at string, qtype uint16) (string, string) {
	for {
		var alias string
		for _, rr := range m.Answer {
			h := rr.Header()
			if h.Class != dns.ClassINET || bare(h.Name) != at {
				continue // records of other names prove nothing about this one
			}
			if h.Rrtype == qtype {
				a.Records = append(a.Records, rr)
			} else if c, ok := rr.(*dns.CNAME); ok {
				alias = bare(c.Target)
			}
		}
		if len(a.Records) > 0 || alias == "" {
			return at, ""
		}
		if alias == a.Name || slices.Contains(a.Aliases, alias) {
			return at, "the CNAME records form a loop through " + alias
		}
		if len(a.Aliases) == maxAliases {
			return at, "the chain of CNAME records is too long"
		}
		if _, bad := canonicalName(alias); bad != nil {
			return at, "a CNAME record leads to a name that cannot be looked up"
		}
		a.Aliases = append(a.Aliases, alias)
		at = alias
	}
}

// aliasText says where the aliases led, for error messages.
func (a *Answer) aliasText() string {
	if len(a.Aliases) == 0 {
		return ""
	}
	return "it is an alias of " + a.Aliases[len(a.Aliases)-1]
}

// TXT gives the TXT records of a name as [Answer.Texts] does.
func (r *Resolver) TXT(ctx context.Context, name string) ([]string, error) {
	a, err := r.Lookup(ctx, name, dns.TypeTXT)
	if err != nil {
		return nil, err
	}
	return a.Texts(), nil
}

// Addresses gives the IPv6 and IPv4 addresses of a name; see [Resolver.Host].
func (r *Resolver) Addresses(ctx context.Context, name string) ([]netip.Addr, error) {
	a, err := r.Host(ctx, name)
	if err != nil {
		return nil, err
	}
	return a.Addresses(), nil
}

// Host asks for AAAA and A records side by side and gives both, IPv6 first. The
// hosts file, if one is configured, comes before the DNS. If one of the two
// questions fails, the answer to the other is enough; only if neither yields an
// address is there an *Error, and it tells of the more serious of the failures.
func (r *Resolver) Host(ctx context.Context, name string) (*Answer, error) {
	canonical, bad := canonicalName(name)
	if bad != nil {
		return nil, bad
	}
	if r.hostsFile != "" {
		if a := hostsAnswer(r.hostsFile, canonical); a != nil {
			return a, nil
		}
	}
	type outcome struct {
		answer *Answer
		err    error
	}
	four := make(chan outcome, 1)
	go func() {
		a, err := r.Lookup(ctx, canonical, dns.TypeA)
		four <- outcome{a, err}
	}()
	a6, err6 := r.Lookup(ctx, canonical, dns.TypeAAAA)
	o4 := <-four
	switch {
	case err6 != nil && o4.err != nil:
		return nil, graver(o4.err, err6)
	case err6 != nil:
		return o4.answer, nil
	case o4.err == nil:
		a6.Records = append(a6.Records, o4.answer.Records...)
		a6.Authentic = a6.Authentic && o4.answer.Authentic
	}
	return a6, nil
}

// graver picks the error of two that a person should see: one that may hide
// addresses before one that denies them.
func graver(a, b error) error {
	var ea, eb *Error
	if !errors.As(a, &ea) || !errors.As(b, &eb) {
		return a
	}
	e := ea
	if ea.final() && !eb.final() || eb.Kind == NotFound && ea.Kind == NoData {
		e = eb
	}
	if ea.final() && eb.final() {
		e.Type = "A and AAAA"
	}
	return e
}

// typeText names a record type.
func typeText(qtype uint16) string { return dns.Type(qtype).String() }
