package resolver_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"chancery/internal/dnstest"
	"chancery/internal/porttest"
	"chancery/internal/resolver"
)

func start(t *testing.T) *dnstest.Server {
	t.Helper()
	s, err := dnstest.Start(":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// newResolver gives a resolver that waits as long as a busy machine needs, unless the
// test is about waiting.
func newResolver(t *testing.T, c resolver.Config) *resolver.Resolver {
	t.Helper()
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	r, err := resolver.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func set(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantKind checks that an error is an *Error of a kind with words for people.
func wantKind(t *testing.T, err error, kind resolver.Kind) *resolver.Error {
	t.Helper()
	var e *resolver.Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Fatalf("error %v, want kind %v", err, kind)
	}
	if kind != resolver.BadName && !strings.Contains(e.Error(), e.Name) {
		t.Errorf("the text %q does not name %s", e, e.Name)
	}
	return e
}

func TestAddresses(t *testing.T) {
	s := start(t)
	set(t, s.Set("both.example", "A", "192.0.2.1", "192.0.2.2", "192.0.2.1"))
	set(t, s.Set("both.example", "AAAA", "2001:db8::1"))
	set(t, s.Set("four.example", "A", "192.0.2.4"))
	set(t, s.Set("six.example", "AAAA", "2001:db8::6"))
	set(t, s.Set("alias.example", "CNAME", "Both.Example"))
	set(t, s.Set("text.example", "TXT", "x"))
	set(t, s.Set("loop.example", "CNAME", "loop2.example"))
	set(t, s.Set("loop2.example", "CNAME", "loop.example"))
	set(t, s.Set("dangling.example", "CNAME", "nowhere.example"))
	s.Fail("broken.example", dns.RcodeServerFailure)
	s.Fail("no.example", dns.RcodeRefused)
	s.Fail("odd.example", dns.RcodeNotImplemented)

	cases := []struct {
		name string
		want []string
		kind resolver.Kind
	}{
		{name: "both.example", want: []string{"2001:db8::1", "192.0.2.1", "192.0.2.2"}},
		{name: "BOTH.Example.", want: []string{"2001:db8::1", "192.0.2.1", "192.0.2.2"}},
		{name: "four.example", want: []string{"192.0.2.4"}},
		{name: "six.example", want: []string{"2001:db8::6"}},
		{name: "alias.example", want: []string{"2001:db8::1", "192.0.2.1", "192.0.2.2"}},
		{name: "text.example", kind: resolver.NoData},
		{name: "missing.example", kind: resolver.NotFound},
		{name: "dangling.example", kind: resolver.NotFound},
		{name: "loop.example", kind: resolver.Malformed},
		{name: "broken.example", kind: resolver.ServFail},
		{name: "odd.example", kind: resolver.ServFail},
		{name: "no.example", kind: resolver.Refused},
		{name: "", kind: resolver.BadName},
		{name: "a..example", kind: resolver.BadName},
		{name: "sp ace.example", kind: resolver.BadName},
		{name: `back\slash.example`, kind: resolver.BadName},
		{name: "\u212a.example", kind: resolver.BadName}, // the Kelvin sign
		{name: "bücher.example", kind: resolver.BadName},
		{name: strings.Repeat("a", 64) + ".example", kind: resolver.BadName},
		{name: strings.Repeat("a.", 127) + "a", kind: resolver.BadName},
	}
	for _, chase := range []bool{true, false} {
		for _, network := range []string{"udp", "tcp"} {
			for _, mix := range []bool{false, true} {
				s.ChaseAliases(chase)
				r := newResolver(t, resolver.Config{Servers: []string{s.Addr()}, Net: network, MixCase: mix})
				for _, c := range cases {
					t.Run(fmt.Sprintf("%s chase=%v mix=%v %.30q", network, chase, mix, c.name), func(t *testing.T) {
						got, err := r.Addresses(t.Context(), c.name)
						if c.kind != 0 {
							wantKind(t, err, c.kind)
							return
						}
						if err != nil || fmt.Sprint(got) != fmt.Sprint(c.want) {
							t.Fatalf("got %v, %v; want %v", got, err, c.want)
						}
					})
				}
			}
		}
	}
}

// One family that fails must not hide the other's addresses.
func TestOneFamilyFails(t *testing.T) {
	addr := raw(t, func(q *dns.Msg) []*dns.Msg {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeAAAA {
			return []*dns.Msg{m.SetRcode(q, dns.RcodeServerFailure)}
		}
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IP{192, 0, 2, 7}}}
		return []*dns.Msg{m}
	})
	r := newResolver(t, resolver.Config{Servers: []string{addr}})
	got, err := r.Addresses(t.Context(), "x.example")
	if err != nil || len(got) != 1 || got[0] != netip.MustParseAddr("192.0.2.7") {
		t.Fatalf("got %v, %v", got, err)
	}
}

func TestTXT(t *testing.T) {
	s := start(t)
	long := strings.Repeat("0123456789abcdef", 40) // three character-strings
	odd := "quote\" back\\slash ümlaut\x00\x01 \\065"
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("%03d-%s", i, strings.Repeat("x", 60)))
	}
	set(t, s.Set("one.example", "TXT", "hello"))
	set(t, s.Set("long.example", "TXT", long, ""))
	set(t, s.Set("odd.example", "TXT", odd))
	set(t, s.Set("many.example", "TXT", many...))
	set(t, s.Set("cut.example", "TXT", "after truncation"))
	set(t, s.Set("alias.example", "CNAME", "alias2.example"))
	set(t, s.Set("alias2.example", "CNAME", "one.example"))
	set(t, s.Set("empty.example", "TXT"))
	s.Truncate("cut.example", true)
	for i := range 12 {
		set(t, s.Set(fmt.Sprintf("c%d.example", i), "CNAME", fmt.Sprintf("c%d.example", i+1)))
	}
	r := newResolver(t, resolver.Config{Servers: []string{s.Addr()}})
	for name, want := range map[string][]string{
		"one.example": {"hello"}, "long.example": {long, ""}, "odd.example": {odd},
		"many.example": many, "cut.example": {"after truncation"}, "alias.example": {"hello"},
	} {
		for _, chase := range []bool{true, false} {
			s.ChaseAliases(chase)
			got, err := r.TXT(t.Context(), name)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s (chase %v): got %q, %v", name, chase, got, err)
			}
		}
	}
	_, err := r.TXT(t.Context(), "empty.example")
	wantKind(t, err, resolver.NoData)
	_, err = r.TXT(t.Context(), "missing.example")
	wantKind(t, err, resolver.NotFound)
	_, err = r.TXT(t.Context(), "c0.example")
	wantKind(t, err, resolver.Malformed)

	var nets []string
	for _, q := range s.Queries() {
		if q.Name == "many.example" {
			nets = append(nets, q.Net)
		}
	}
	if fmt.Sprint(nets) != "[udp tcp udp tcp]" {
		t.Errorf("a long answer came by %v; want UDP first, then TCP", nets)
	}
}

func TestAuthentic(t *testing.T) {
	s := start(t)
	set(t, s.Set("x.example", "A", "192.0.2.1"))
	r := newResolver(t, resolver.Config{Servers: []string{s.Addr()}})
	for _, want := range []bool{false, true} {
		s.Authentic(want)
		a, err := r.Lookup(t.Context(), "x.example", dns.TypeA)
		if err != nil || a.Authentic != want || a.Server != s.Addr() {
			t.Errorf("got %+v, %v; want authentic %v from %s", a, err, want, s.Addr())
		}
	}
}

func TestCAALookup(t *testing.T) {
	s := start(t)
	set(t, s.Set("x.example", "CAA", `0 issue "ca.example; accounturi=https://ca.example/1"`))
	set(t, s.Add("x.example", "CAA", `128 iodef "mailto:a@x.example"`))
	r := newResolver(t, resolver.Config{Servers: []string{s.Addr()}})
	a, err := r.Lookup(t.Context(), "x.example", dns.TypeCAA)
	if err != nil || len(a.Records) != 2 {
		t.Fatalf("got %+v, %v", a, err)
	}
	if c := a.Records[1].(*dns.CAA); c.Flag != 128 || c.Tag != "iodef" || c.Value != "mailto:a@x.example" {
		t.Errorf("got %v", c)
	}
}

func TestMixCaseIsSent(t *testing.T) {
	s := start(t)
	name := strings.Repeat("abcdefgh.", 8) + "example"
	set(t, s.Set(name, "TXT", "x"))
	r := newResolver(t, resolver.Config{Servers: []string{s.Addr()}, MixCase: true})
	if _, err := r.TXT(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if got := s.Queries()[0].Raw; got == strings.ToLower(got) { // one in 2^71 says so wrongly
		t.Errorf("the question %q is in lower case", got)
	}
}

// folding answers truthfully, and changes the question's case.
func folding(q *dns.Msg) *dns.Msg {
	return reply(q, func(m *dns.Msg) { m.Question[0].Name = strings.ToLower(m.Question[0].Name) })
}

// rawBoth is a server like raw whose port also serves TCP.
func rawBoth(t *testing.T, replies func(*dns.Msg) []*dns.Msg, answer func(*dns.Msg) *dns.Msg) (addr string, asked *atomic.Int64) {
	t.Helper()
	l, p, err := dnstest.Listen("127.0.0.1:0")
	set(t, err)
	serveRaw(t, p, replies)
	asked = new(atomic.Int64)
	s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		asked.Add(1)
		_ = w.WriteMsg(answer(q))
	})}
	started := make(chan struct{})
	s.NotifyStartedFunc = func() { close(started) }
	go func() { _ = s.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { _ = s.Shutdown() })
	return l.Addr().String(), asked
}

// A server that does not keep the case of names must not keep them from being
// found; one that chokes on it neither.
func TestMixCaseFallsBack(t *testing.T) {
	name := strings.Repeat("abcdefgh.", 8) + "example"
	lookUp := func(t *testing.T, addr string) {
		t.Helper()
		r := newResolver(t, resolver.Config{Servers: []string{addr}, MixCase: true})
		got, err := r.TXT(t.Context(), name)
		if err != nil || fmt.Sprint(got) != "[true]" {
			t.Errorf("got %v, %v", got, err)
		}
	}
	t.Run("with TCP", func(t *testing.T) {
		addr, asked := rawBoth(t, func(q *dns.Msg) []*dns.Msg { return []*dns.Msg{folding(q)} }, folding)
		if lookUp(t, addr); asked.Load() != 1 {
			t.Errorf("%d questions came by TCP", asked.Load())
		}
	})
	t.Run("without TCP", func(t *testing.T) {
		lookUp(t, raw(t, func(q *dns.Msg) []*dns.Msg { return []*dns.Msg{folding(q)} }))
	})
	t.Run("refuses", func(t *testing.T) {
		lookUp(t, raw(t, func(q *dns.Msg) []*dns.Msg {
			if n := q.Question[0].Name; n != strings.ToLower(n) {
				return []*dns.Msg{new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)}
			}
			return []*dns.Msg{reply(q, nil)}
		}))
	})
	t.Run("forged in plain case", func(t *testing.T) {
		addr, _ := rawBoth(t, func(q *dns.Msg) []*dns.Msg {
			lie := folding(q)
			lie.Answer[0].(*dns.TXT).Txt = []string{"forged"}
			return []*dns.Msg{lie, reply(q, nil)}
		}, func(q *dns.Msg) *dns.Msg { return reply(q, nil) })
		lookUp(t, addr)
	})
}

func TestFailOver(t *testing.T) {
	good := start(t)
	set(t, good.Set("x.example", "TXT", "good"))
	broken, refusing, silent := start(t), start(t), start(t)
	broken.Fail("x.example", dns.RcodeServerFailure)
	refusing.Fail("x.example", dns.RcodeRefused)
	silent.Drop("x.example", true)
	closed := porttest.Address(t)
	for name, first := range map[string]string{"servfail": broken.Addr(), "refused": refusing.Addr(), "silent": silent.Addr(), "closed": closed} {
		t.Run(name, func(t *testing.T) {
			r := newResolver(t, resolver.Config{Servers: []string{first, good.Addr()}, Timeout: 100 * time.Millisecond, Attempts: 200})
			a, err := r.Lookup(t.Context(), "x.example", dns.TypeTXT)
			if err != nil || a.Server != good.Addr() {
				t.Fatalf("got %+v, %v", a, err)
			}
		})
	}
	t.Run("NXDOMAIN is final", func(t *testing.T) {
		first := start(t)
		r := newResolver(t, resolver.Config{Servers: []string{first.Addr(), good.Addr()}})
		_, err := r.TXT(t.Context(), "x.example")
		if e := wantKind(t, err, resolver.NotFound); e.Server != first.Addr() {
			t.Errorf("server %s, want %s", e.Server, first.Addr())
		}
	})
	t.Run("attempts", func(t *testing.T) {
		s := start(t)
		s.Fail("x.example", dns.RcodeServerFailure)
		r := newResolver(t, resolver.Config{Servers: []string{s.Addr()}, Attempts: 3})
		_, err := r.TXT(t.Context(), "x.example")
		wantKind(t, err, resolver.ServFail)
		if n := len(s.Queries()); n != 3 {
			t.Errorf("%d questions, want 3", n)
		}
	})
	t.Run("all silent", func(t *testing.T) {
		r := newResolver(t, resolver.Config{Servers: []string{silent.Addr()}, Timeout: 50 * time.Millisecond, Attempts: 1})
		_, err := r.TXT(t.Context(), "x.example")
		wantKind(t, err, resolver.Timeout)
	})
	t.Run("all closed", func(t *testing.T) {
		for _, network := range []string{"udp", "tcp"} {
			r := newResolver(t, resolver.Config{Servers: []string{closed}, Net: network, Attempts: 1})
			_, err := r.TXT(t.Context(), "x.example")
			wantKind(t, err, resolver.Unreachable)
		}
	})
}

func TestContextEnds(t *testing.T) {
	s := start(t)
	s.Drop("x.example", true)
	for _, network := range []string{"udp", "tcp"} {
		r := newResolver(t, resolver.Config{Servers: []string{s.Addr()}, Timeout: time.Hour, Net: network})
		ctx, cancel := context.WithCancel(t.Context())
		before := len(s.Queries())
		go func() {
			for len(s.Queries()) == before { // until the question has arrived
				time.Sleep(time.Millisecond)
			}
			cancel()
		}()
		_, err := r.TXT(ctx, "x.example")
		wantKind(t, err, resolver.Timeout)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error %v does not say that the context was cancelled", network, err)
		}
	}
}

// raw is a server over UDP that sends exactly the given messages. Nobody listens on
// its port by TCP.
func raw(t *testing.T, replies func(*dns.Msg) []*dns.Msg) string {
	t.Helper()
	p, err := net.ListenPacket("udp", porttest.Address(t))
	if err != nil {
		t.Fatal(err)
	}
	serveRaw(t, p, replies)
	return p.LocalAddr().String()
}

func serveRaw(t *testing.T, p net.PacketConn, replies func(*dns.Msg) []*dns.Msg) {
	t.Cleanup(func() { p.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := p.ReadFrom(buf)
			if err != nil {
				return
			}
			q := new(dns.Msg)
			if q.Unpack(buf[:n]) != nil {
				continue
			}
			for _, m := range replies(q) {
				b := []byte("no DNS message at all")
				if m != nil {
					if b, err = m.Pack(); err != nil {
						panic(err)
					}
				}
				_, _ = p.WriteTo(b, from)
			}
		}
	}()
}

// reply answers a TXT question truthfully, then is bent.
func reply(q *dns.Msg, bend func(*dns.Msg)) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	m.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{"true"}}}
	if bend != nil {
		bend(m)
	}
	return m
}

// wantMalformed asks a server whose answers are none. The resolver waits for better
// ones; how long a busy machine takes to send any nobody knows: it gets ever more time.
func wantMalformed(t *testing.T, server string, ask func(*resolver.Resolver) error) {
	t.Helper()
	for limit := 50 * time.Millisecond; ; limit *= 4 {
		err := ask(newResolver(t, resolver.Config{Servers: []string{server}, Timeout: limit, Attempts: 1}))
		var late *resolver.Error
		if limit > 20*time.Second || !errors.As(err, &late) || late.Kind != resolver.Timeout {
			wantKind(t, err, resolver.Malformed)
			return
		}
	}
}

var forgeries = map[string]func(*dns.Msg){
	"other id":       func(m *dns.Msg) { m.Id++ },
	"other name":     func(m *dns.Msg) { m.Question[0].Name = "y.example." },
	"other type":     func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeA },
	"other class":    func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS },
	"no question":    func(m *dns.Msg) { m.Question = nil },
	"two questions":  func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) },
	"not a response": func(m *dns.Msg) { m.Response = false },
	"other opcode":   func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify },
}

func TestForgedAnswers(t *testing.T) {
	for name, bend := range forgeries {
		t.Run(name, func(t *testing.T) {
			lie := func(m *dns.Msg) {
				m.Answer[0].(*dns.TXT).Txt = []string{"forged"}
				bend(m)
			}
			only := raw(t, func(q *dns.Msg) []*dns.Msg { return []*dns.Msg{reply(q, lie)} })
			wantMalformed(t, only, func(r *resolver.Resolver) error { _, err := r.TXT(t.Context(), "x.example"); return err })

			race := raw(t, func(q *dns.Msg) []*dns.Msg { return []*dns.Msg{reply(q, lie), nil, reply(q, nil)} })
			r := newResolver(t, resolver.Config{Servers: []string{race}, Timeout: 30 * time.Second})
			got, err := r.TXT(t.Context(), "x.example")
			if err != nil || fmt.Sprint(got) != "[true]" {
				t.Errorf("with the true answer behind the forged one: %v, %v", got, err)
			}
		})
	}
}

func TestStrayRecordsAreIgnored(t *testing.T) {
	addr := raw(t, func(q *dns.Msg) []*dns.Msg {
		return []*dns.Msg{reply(q, func(m *dns.Msg) {
			m.Answer[0].Header().Name, m.RecursionAvailable = "y.example.", true
		})}
	})
	r := newResolver(t, resolver.Config{Servers: []string{addr}})
	_, err := r.TXT(t.Context(), "x.example")
	wantKind(t, err, resolver.NoData)
}

func TestServerWithoutEDNS(t *testing.T) {
	addr := raw(t, func(q *dns.Msg) []*dns.Msg {
		if q.IsEdns0() != nil {
			m := new(dns.Msg).SetRcode(q, dns.RcodeFormatError)
			m.Question = nil
			return []*dns.Msg{m}
		}
		return []*dns.Msg{reply(q, nil)}
	})
	r := newResolver(t, resolver.Config{Servers: []string{addr}})
	got, err := r.TXT(t.Context(), "x.example")
	if err != nil || fmt.Sprint(got) != "[true]" {
		t.Fatalf("got %v, %v", got, err)
	}
}

func TestTooManyRecords(t *testing.T) {
	s := start(t)
	values := make([]string, 600)
	for i := range values {
		values[i] = fmt.Sprint(i)
	}
	set(t, s.Set("x.example", "TXT", values...))
	r := newResolver(t, resolver.Config{Servers: []string{s.Addr()}, Attempts: 1})
	_, err := r.TXT(t.Context(), "x.example")
	wantKind(t, err, resolver.Malformed)
}

func TestHostsFile(t *testing.T) {
	s := start(t)
	set(t, s.Set("dns.example", "A", "192.0.2.9"))
	set(t, s.Set("host.example", "A", "192.0.2.9"))
	file := filepath.Join(t.TempDir(), "hosts")
	text := "# comment host.example\n10.0.0.1 other Host.Example # tail dns.example\n2001:db8::1\thost.example\nnonsense dns.example\nfe80::1%lo dns.example\n::ffff:10.0.0.2 host.example.\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newResolver(t, resolver.Config{Servers: []string{s.Addr()}, HostsFile: file})
	for name, want := range map[string]string{
		"host.example": "[2001:db8::1 10.0.0.1 10.0.0.2]",
		"HOST.example": "[2001:db8::1 10.0.0.1 10.0.0.2]",
		"other":        "[10.0.0.1]",
		"dns.example":  "[192.0.2.9]",
	} {
		if got, err := r.Addresses(t.Context(), name); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: got %v, %v; want %s", name, got, err, want)
		}
	}
	a, err := r.Host(t.Context(), "other")
	if err != nil || a.Server != file || a.Authentic {
		t.Errorf("got %+v, %v", a, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Addresses(t.Context(), "host.example"); err != nil || fmt.Sprint(got) != "[192.0.2.9]" {
		t.Errorf("without the file: %v, %v", got, err)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]resolver.Config{
		"name":     {Servers: []string{"localhost:53"}},
		"port 0":   {Servers: []string{"192.0.2.1:0"}},
		"net":      {Servers: []string{"192.0.2.1:53"}, Net: "tls"},
		"timeout":  {Servers: []string{"192.0.2.1:53"}, Timeout: -1},
		"attempts": {Servers: []string{"192.0.2.1:53"}, Attempts: -1},
		"many":     {Servers: slices.Repeat([]string{"192.0.2.1:53"}, 9)},
	} {
		if _, err := resolver.New(c); err == nil {
			t.Errorf("%s: %+v was accepted", name, c)
		}
	}
	r := newResolver(t, resolver.Config{Servers: []string{"192.0.2.1", "[2001:db8::53]:5353"}})
	if got := fmt.Sprint(r.Servers()); got != "[192.0.2.1:53 [2001:db8::53]:5353]" {
		t.Errorf("servers %s", got)
	}
}
