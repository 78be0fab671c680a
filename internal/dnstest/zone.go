package dnstest

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// maxChain bounds the CNAME records followed within one answer.
const maxChain = 16

// key is a canonical name and a record type.
type key struct {
	name  string
	rtype uint16
}

// zone holds what the server knows. The server's lock guards it.
type zone struct {
	records  map[key][][]dns.RR // successive answers; the last one stays
	fallback netip.Addr
	shallow  bool
}

func newZone() zone { return zone{records: map[key][][]dns.RR{}} }

// add appends records to every answer that is still to come.
func (z *zone) add(k key, records []dns.RR) {
	steps := z.records[k]
	if len(steps) == 0 {
		steps = [][]dns.RR{nil}
	}
	for i := range steps {
		steps[i] = append(append([]dns.RR(nil), steps[i]...), records...)
	}
	z.records[k] = steps
}

// remove forgets one type of a name, or all types if rtype is 0.
func (z *zone) remove(name string, rtype uint16) {
	for k := range z.records {
		if k.name == name && (rtype == 0 || k.rtype == rtype) {
			delete(z.records, k)
		}
	}
}

// take gives the next answer of a type for a name, its owner written as asked.
func (z *zone) take(k key, owner string) ([]dns.RR, bool) {
	steps, ok := z.records[k]
	if !ok {
		return nil, false
	}
	if len(steps) > 1 {
		z.records[k] = steps[1:]
	}
	out := make([]dns.RR, len(steps[0]))
	for i, rr := range steps[0] {
		out[i] = dns.Copy(rr)
		out[i].Header().Name = owner
	}
	return out, true
}

// lookup gives the answer section and the response code.
func (z *zone) lookup(q dns.Question) ([]dns.RR, int) {
	var answer []dns.RR
	owner := q.Name
	for range maxChain {
		name := canonical(owner)
		if records, ok := z.take(key{name, q.Qtype}, owner); ok {
			return append(answer, records...), dns.RcodeSuccess
		}
		alias, ok := z.take(key{name, dns.TypeCNAME}, owner)
		if !ok || len(alias) == 0 {
			if rr := z.fallbackRecord(name, q.Qtype, owner); rr != nil {
				return append(answer, rr), dns.RcodeSuccess
			}
			if !z.exists(name) {
				return answer, dns.RcodeNameError
			}
			return answer, dns.RcodeSuccess
		}
		answer = append(answer, alias[0])
		if z.shallow {
			break
		}
		owner = alias[0].(*dns.CNAME).Target
	}
	return answer, dns.RcodeSuccess
}

// fallbackRecord is the default address as a record, nil if it does not apply.
func (z *zone) fallbackRecord(name string, qtype uint16, owner string) dns.RR {
	for _, t := range []uint16{dns.TypeA, dns.TypeAAAA} {
		if _, own := z.records[key{name, t}]; own {
			return nil
		}
	}
	if !z.fallback.IsValid() || qtype != addressType(z.fallback) {
		return nil
	}
	return addressRecord(owner, z.fallback)
}

// exists says whether a name has records, is above one that has (RFC 8020 §2),
// or has the default address.
func (z *zone) exists(name string) bool {
	if z.fallback.IsValid() {
		return true
	}
	for k := range z.records {
		if k.name == name || strings.HasSuffix(k.name, "."+name) {
			return true
		}
	}
	return false
}

// parse makes records of values.
func parse(name, rtype string, values []string) ([]dns.RR, uint16, error) {
	t, ok := dns.StringToType[strings.ToUpper(rtype)]
	if !ok {
		return nil, 0, fmt.Errorf("dnstest: %q is not a record type", rtype)
	}
	owner := dns.Fqdn(canonical(name))
	if _, ok := dns.IsDomainName(owner); !ok {
		return nil, 0, fmt.Errorf("dnstest: %q is not a domain name", name)
	}
	var records []dns.RR
	for _, v := range values {
		rr, err := record(owner, t, v)
		if err != nil {
			return nil, 0, fmt.Errorf("dnstest: %s %s %q: %w", name, rtype, v, err)
		}
		records = append(records, rr)
	}
	return records, t, nil
}

// record makes one record of a value.
func record(owner string, t uint16, value string) (dns.RR, error) {
	switch t {
	case dns.TypeA, dns.TypeAAAA:
		addr, err := netip.ParseAddr(value)
		if err != nil {
			return nil, err
		}
		// An IPv4-mapped address may be published as AAAA; that is worth testing.
		if t == dns.TypeA != addr.Is4() {
			return nil, fmt.Errorf("the address is of the other family")
		}
		return addressRecord(owner, addr), nil
	case dns.TypeTXT:
		return &dns.TXT{Hdr: header(owner, t), Txt: chunks(value)}, nil
	case dns.TypeCNAME:
		if _, ok := dns.IsDomainName(value); !ok {
			return nil, fmt.Errorf("the target is not a domain name")
		}
		return &dns.CNAME{Hdr: header(owner, t), Target: dns.Fqdn(value)}, nil
	}
	if strings.ContainsAny(value, "\n\r") {
		return nil, fmt.Errorf("the value has more than one line")
	}
	rr, err := dns.NewRR(fmt.Sprintf("%s 0 IN %s %s", owner, dns.Type(t), value))
	if err == nil && rr == nil {
		err = fmt.Errorf("the value is empty")
	}
	return rr, err
}

// chunks cuts a text into character-strings of at most 255 bytes, in the
// presentation form that the DNS library keeps.
func chunks(text string) []string {
	var out []string
	for len(text) > 255 {
		out, text = append(out, escape(text[:255])), text[255:]
	}
	return append(out, escape(text))
}

// escape writes bytes that mean something in presentation form as \DDD.
func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '\\' || c == '"' {
			fmt.Fprintf(&b, `\%03d`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func addressType(a netip.Addr) uint16 {
	if a.Is4() {
		return dns.TypeA
	}
	return dns.TypeAAAA
}

func addressRecord(owner string, a netip.Addr) dns.RR {
	if a.Is4() {
		return &dns.A{Hdr: header(owner, dns.TypeA), A: net.IP(a.AsSlice())}
	}
	return &dns.AAAA{Hdr: header(owner, dns.TypeAAAA), AAAA: net.IP(a.AsSlice())}
}

// header has a life of 0 s: what a test changes must be seen at once.
func header(owner string, t uint16) dns.RR_Header {
	return dns.RR_Header{Name: owner, Rrtype: t, Class: dns.ClassINET}
}

// canonical is a name in lower case without its final dot.
func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
