package resolver_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"chancery/caa"
	"chancery/internal/dnstest"
	"chancery/internal/resolver"
)

var _ caa.Resolver = (*resolver.Resolver)(nil)

// TestCAA: what is an answer and what is a failure.
func TestCAA(t *testing.T) {
	s := start(t)
	zone := func(name, kind string, values ...string) { t.Helper(); set(t, s.Set(name, kind, values...)) }
	zone("one.example", "CAA", `0 issue "ca.example; a=b"`, `128 IoDef "mailto:x@example"`)
	zone("empty.example", "CAA")
	zone("alias.example", "CNAME", "alias2.example")
	zone("alias2.example", "CNAME", "one.example")
	zone("to-empty.example", "CNAME", "empty.example")
	zone("to-nowhere.example", "CNAME", "nowhere.example")
	zone("to-fail.example", "CNAME", "fail.example")
	zone("loop.example", "CNAME", "pool.example")
	zone("pool.example", "CNAME", "loop.example")
	zone("self.example", "CNAME", "self.example")
	zone("cut.example", "CAA", `0 issue "cut.example"`)
	s.Truncate("cut.example", true)
	for i := range 12 {
		zone(fmt.Sprintf("c%d.example", i), "CNAME", fmt.Sprintf("c%d.example", i+1))
	}
	s.Fail("fail.example", dns.RcodeServerFailure)
	s.Fail("refused.example", dns.RcodeRefused)
	s.Fail("notimp.example", dns.RcodeNotImplemented)
	s.Drop("silent.example", true)
	for _, authentic := range []bool{true, false} {
		for _, chase := range []bool{true, false} {
			s.Authentic(authentic)
			s.ChaseAliases(chase)
			r := newResolver(t, resolver.Config{Servers: []string{s.Addr()}, Attempts: 1, Timeout: 30 * time.Second, MixCase: true})
			short := newResolver(t, resolver.Config{Servers: []string{s.Addr()}, Attempts: 1, Timeout: 50 * time.Millisecond})
			_, err := short.CAA(t.Context(), "silent.example")
			wantKind(t, err, resolver.Timeout)
			for _, test := range []struct {
				name, records, aliases string
				kind                   resolver.Kind
			}{
				{name: "one.example", records: `[0 issue "ca.example; a=b" 128 IoDef "mailto:x@example"]`},
				{name: "ONE.Example.", records: `[0 issue "ca.example; a=b" 128 IoDef "mailto:x@example"]`},
				{name: "alias.example", aliases: "alias2.example one.example", records: `[0 issue "ca.example; a=b" 128 IoDef "mailto:x@example"]`},
				{name: "empty.example"},
				{name: "nowhere.example"},
				{name: "to-empty.example", aliases: "empty.example"},
				{name: "to-nowhere.example", aliases: "nowhere.example"},
				{name: "cut.example", records: `[0 issue "cut.example"]`},
				{name: "fail.example", kind: resolver.ServFail},
				{name: "to-fail.example", kind: resolver.ServFail},
				{name: "refused.example", kind: resolver.Refused},
				{name: "notimp.example", kind: resolver.ServFail},
				{name: "loop.example", kind: resolver.Malformed},
				{name: "self.example", kind: resolver.Malformed},
				{name: "c0.example", kind: resolver.Malformed},
				{name: "not a name", kind: resolver.BadName},
			} {
				got, err := r.CAA(t.Context(), test.name)
				if test.kind == resolver.ServFail && chase && test.name == "to-fail.example" {
					continue // this server answers for the target by itself, without a failure
				}
				if test.kind != 0 {
					wantKind(t, err, test.kind)
					continue
				}
				var records any = got.Records
				if len(got.Records) == 0 {
					records = ""
				}
				if err != nil || fmt.Sprint(records) != test.records || fmt.Sprint(got.Aliases) != "["+test.aliases+"]" || got.Authentic != authentic || got.Server != s.Addr() {
					t.Errorf("%s (authentic %v, chase %v): got %+v, %v", test.name, authentic, chase, got, err)
				}
			}
		}
	}
}

// TestAuthenticAllTheWay: one message without AD takes it from the whole.
func TestAuthenticAllTheWay(t *testing.T) {
	for _, marked := range []string{"", "alias.example.", "end.example.", "both"} {
		addr := raw(t, func(q *dns.Msg) []*dns.Msg {
			m := new(dns.Msg).SetReply(q)
			m.RecursionAvailable = true
			h := dns.RR_Header{Name: q.Question[0].Name, Class: dns.ClassINET}
			m.AuthenticatedData = marked == "both" || marked == h.Name
			if h.Rrtype = dns.TypeCNAME; h.Name == "alias.example." {
				m.Answer = []dns.RR{&dns.CNAME{Hdr: h, Target: "end.example."}}
			}
			return []*dns.Msg{m}
		})
		r := newResolver(t, resolver.Config{Servers: []string{addr}})
		got, err := r.CAA(t.Context(), "alias.example")
		if err != nil || got.Authentic != (marked == "both") || !slices.Equal(got.Aliases, []string{"end.example"}) {
			t.Errorf("AD on %q: got %+v, %v", marked, got, err)
		}
	}
}

// caaReply answers a CAA question with records, as a resolver does.
func caaReply(q *dns.Msg, records ...dns.RR) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	for _, rr := range records {
		*rr.Header() = dns.RR_Header{Name: q.Question[0].Name, Rrtype: rr.Header().Rrtype, Class: dns.ClassINET}
		if rr.Header().Rrtype == 0 {
			rr.Header().Rrtype = dns.TypeCAA
		}
		m.Answer = append(m.Answer, rr)
	}
	return m
}

// TestBelievableEmptiness: an empty answer counts only from who can know.
func TestBelievableEmptiness(t *testing.T) {
	soa := &dns.SOA{Hdr: dns.RR_Header{Name: "example.", Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: "ns.example.", Mbox: "x.example."}
	ns := &dns.NS{Hdr: dns.RR_Header{Name: "example.", Rrtype: dns.TypeNS, Class: dns.ClassINET}, Ns: "ns.example."}
	stray := &dns.CAA{Hdr: dns.RR_Header{Name: "y.example.", Rrtype: dns.TypeCAA, Class: dns.ClassINET}, Tag: "issue", Value: "y.example"}
	for name, test := range map[string]struct {
		bend func(*dns.Msg)
		ok   bool
	}{
		"nothing at all":        {func(m *dns.Msg) {}, false},
		"referral":              {func(m *dns.Msg) { m.Ns = []dns.RR{ns} }, false},
		"recursive referral":    {func(m *dns.Msg) { m.Ns, m.RecursionAvailable = []dns.RR{ns}, true }, false},
		"records of others":     {func(m *dns.Msg) { m.Answer = []dns.RR{stray} }, false},
		"recursive":             {func(m *dns.Msg) { m.RecursionAvailable = true }, true},
		"authoritative":         {func(m *dns.Msg) { m.Authoritative = true }, true},
		"authoritative with NS": {func(m *dns.Msg) { m.Authoritative, m.Ns = true, []dns.RR{ns} }, true},
		"with SOA":              {func(m *dns.Msg) { m.Ns = []dns.RR{soa} }, true},
		"with SOA and NS":       {func(m *dns.Msg) { m.Ns = []dns.RR{ns, soa} }, true},
	} {
		for _, rcode := range []int{dns.RcodeSuccess, dns.RcodeNameError} {
			addr := raw(t, func(q *dns.Msg) []*dns.Msg {
				m := new(dns.Msg).SetRcode(q, rcode)
				test.bend(m)
				return []*dns.Msg{m}
			})
			r := newResolver(t, resolver.Config{Servers: []string{addr}, Attempts: 1})
			got, err := r.CAA(t.Context(), "x.example")
			if !test.ok {
				wantKind(t, err, resolver.Refused)
			} else if err != nil || len(got.Records) != 0 {
				t.Errorf("%s, code %d: got %+v, %v", name, rcode, got, err)
			}
		}
	}
	// Behind an alias the code is about its target, of which the sender may know as little.
	addr := raw(t, func(q *dns.Msg) []*dns.Msg {
		m := caaReply(q, &dns.CNAME{Hdr: dns.RR_Header{Rrtype: dns.TypeCNAME}, Target: "y.example."})
		m.Rcode, m.RecursionAvailable = dns.RcodeNameError, false
		return []*dns.Msg{m}
	})
	_, err := newResolver(t, resolver.Config{Servers: []string{addr}, Attempts: 1}).CAA(t.Context(), "x.example")
	wantKind(t, err, resolver.Refused)
}

// TestOddRecords: tags and values are the bytes of the wire; a record that cannot be
// read spoils the set.
func TestOddRecords(t *testing.T) {
	serve := func(rr ...dns.RR) string {
		return raw(t, func(q *dns.Msg) []*dns.Msg { return []*dns.Msg{caaReply(q, rr...)} })
	}
	odd := serve(&dns.RFC3597{Hdr: dns.RR_Header{Rrtype: dns.TypeCAA}, Rdata: "80056122005c80" + "615c32303022ff00"})
	got, err := newResolver(t, resolver.Config{Servers: []string{odd}, Attempts: 1}).CAA(t.Context(), "x.example")
	want := caa.Record{Flags: 128, Tag: "a\"\x00\\\x80", Value: "a\\200\"\xff\x00"}
	if err != nil || !slices.Equal(got.Records, []caa.Record{want}) {
		t.Errorf("got %q, %v", got.Records, err)
	}
	for name, rdata := range map[string]string{"nothing": "", "flags alone": "80", "empty tag": "8000", "empty tag with value": "800061", "tag too long": "80056161"} {
		good := &dns.CAA{Tag: "issue", Value: "ca.example"}
		t.Run(name, func(t *testing.T) {
			bad := serve(good, &dns.RFC3597{Hdr: dns.RR_Header{Rrtype: dns.TypeCAA}, Rdata: rdata})
			wantMalformed(t, bad, func(r *resolver.Resolver) error { _, err := r.CAA(t.Context(), "x.example"); return err })
		})
	}
}

// TestManyRecords: a set is complete or an error, however large.
func TestManyRecords(t *testing.T) {
	s := start(t)
	var values []string
	for i := range 1001 {
		values = append(values, fmt.Sprintf(`0 issue "ca%d.example"`, i))
	}
	set(t, s.Set("big.example", "CAA", values...))
	r := newResolver(t, resolver.Config{Servers: []string{s.Addr()}})
	got, err := r.CAA(t.Context(), "big.example")
	if err != nil || len(got.Records) != 1001 {
		t.Errorf("%d records, %v", len(got.Records), err)
	}
}

// TestQuestionAsksForDNSSEC looks at what is sent.
func TestQuestionAsksForDNSSEC(t *testing.T) {
	for qtype, do := range map[uint16]bool{dns.TypeCAA: true, dns.TypeTXT: false} {
		seen := make(chan *dns.Msg, 1)
		addr := raw(t, func(q *dns.Msg) []*dns.Msg { seen <- q; return []*dns.Msg{caaReply(q)} })
		r := newResolver(t, resolver.Config{Servers: []string{addr}, Attempts: 1})
		_, _ = r.Lookup(t.Context(), "x.example", qtype)
		q := <-seen
		if e := q.IsEdns0(); !q.AuthenticatedData || q.CheckingDisabled || !q.RecursionDesired || e == nil || e.Do() != do || e.UDPSize() != 1232 {
			t.Errorf("sent %v", q)
		}
	}
}

// bogus fails as a validator does that was given forged records: with or without
// saying why, and only as long as it is to check.
func bogus(t *testing.T, code int) string {
	return raw(t, func(q *dns.Msg) []*dns.Msg {
		m := caaReply(q, &dns.CAA{Tag: "issue", Value: "forged.example"})
		if q.CheckingDisabled {
			return []*dns.Msg{m}
		}
		m = m.SetRcode(q, dns.RcodeServerFailure)
		if code >= 0 {
			m.SetEdns0(1232, true)
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: uint16(code), ExtraText: "signature \x1b[31mexpired"}}
		}
		return []*dns.Msg{m}
	})
}

// TestBogusStands: who never looks at signatures does not overturn the verdict of
// who does.
func TestBogusStands(t *testing.T) {
	good := func(authentic bool) *dnstest.Server {
		s := start(t)
		set(t, s.Set("x.example", "CAA", `0 issue "ca.example"`))
		s.Authentic(authentic)
		return s
	}
	careless, careful := good(false), good(true)
	for _, code := range []int{-1, 6, 7, 10} {
		first := bogus(t, code)
		for _, servers := range [][]string{{first}, {first, careless.Addr()}} {
			r := newResolver(t, resolver.Config{Servers: servers, Attempts: 2})
			_, err := r.CAA(t.Context(), "x.example")
			e := wantKind(t, err, resolver.Bogus)
			if e.Server != first || slices.Contains([]byte(e.Error()), 0x1b) {
				t.Errorf("the error is %q", e)
			}
		}
		r := newResolver(t, resolver.Config{Servers: []string{first, careless.Addr(), careful.Addr()}, Attempts: 1})
		got, err := r.CAA(t.Context(), "x.example")
		if err != nil || !got.Authentic || got.Server != careful.Addr() {
			t.Errorf("with an authentic answer behind: %+v, %v", got, err)
		}
	}
	// Unchecked, this one only points elsewhere: it failed for want of an answer.
	lame := raw(t, func(q *dns.Msg) []*dns.Msg {
		m := new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
		if q.CheckingDisabled {
			m = m.SetReply(q)
		}
		return []*dns.Msg{m}
	})
	_, err := newResolver(t, resolver.Config{Servers: []string{lame}, Attempts: 1}).CAA(t.Context(), "x.example")
	wantKind(t, err, resolver.ServFail)
	// A failure of another sort says nothing about signatures.
	failing := good(false)
	failing.Fail("x.example", dns.RcodeServerFailure)
	r := newResolver(t, resolver.Config{Servers: []string{failing.Addr(), careless.Addr()}})
	if got, err := r.CAA(t.Context(), "x.example"); err != nil || got.Server != careless.Addr() {
		t.Errorf("behind SERVFAIL: %+v, %v", got, err)
	}
}

// TestTransientFailure: a server that failed by accident, so that it looked bogus,
// may correct itself.
func TestTransientFailure(t *testing.T) {
	asked := 0
	addr := raw(t, func(q *dns.Msg) []*dns.Msg {
		m := caaReply(q, &dns.CAA{Tag: "issue", Value: "ca.example"})
		if asked++; asked == 1 {
			m = m.SetRcode(q, dns.RcodeServerFailure)
		}
		return []*dns.Msg{m}
	})
	r := newResolver(t, resolver.Config{Servers: []string{addr}})
	if got, err := r.CAA(t.Context(), "x.example"); err != nil || len(got.Records) != 1 || got.Authentic {
		t.Errorf("got %+v, %v", got, err)
	}
}
