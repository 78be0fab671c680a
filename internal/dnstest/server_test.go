package dnstest_test

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"chancery/internal/dnstest"
	"chancery/internal/porttest"
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

// ask gives the answer as "RCODE: data, data".
func ask(t *testing.T, s *dnstest.Server, network, name string, qtype uint16) string {
	t.Helper()
	c := dns.Client{Net: network, Timeout: 30 * time.Second}
	m, _, err := c.Exchange(new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype), s.Addr())
	if err != nil {
		return "error"
	}
	var data []string
	for _, rr := range m.Answer {
		data = append(data, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	tc := ""
	if m.Truncated {
		tc = "TC "
	}
	return tc + dns.RcodeToString[m.Rcode] + ": " + strings.Join(data, ", ")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRecords(t *testing.T) {
	s := start(t)
	must(t, s.Set("a.Example.", "a", "192.0.2.1"))
	must(t, s.Add("a.example", "A", "192.0.2.2"))
	must(t, s.Set("a.example", "AAAA", "2001:db8::1"))
	must(t, s.Set("t.example", "TXT", `say "hi"`, ""))
	must(t, s.Set("c.example", "CAA", `0 issue "ca.example"`))
	must(t, s.Set("l.example", "CNAME", "a.example"))
	must(t, s.Set("e.example", "TXT"))
	must(t, s.Set("s.example", "SRV", "1 2 443 a.example."))
	must(t, s.Set("gone.example", "A", "192.0.2.1"))
	must(t, s.Set("gone.example", "TXT", "x"))
	s.Remove("gone.example", "")
	must(t, s.Set("half.example", "A", "192.0.2.1"))
	must(t, s.Set("half.example", "TXT", "x"))
	s.Remove("half.example", "TXT")
	s.Fail("f.example", dns.RcodeServerFailure)
	s.Truncate("a.example", true)
	must(t, s.Set("big.example", "TXT", strings.Repeat("x", 2000)))

	cases := []struct {
		net, name string
		qtype     uint16
		want      string
	}{
		{"tcp", "a.example", dns.TypeA, "NOERROR: 192.0.2.1, 192.0.2.2"},
		{"udp", "a.example", dns.TypeA, "TC NOERROR: "},
		{"tcp", "A.EXAMPLE", dns.TypeAAAA, "NOERROR: 2001:db8::1"},
		{"udp", "t.example", dns.TypeTXT, `NOERROR: "say \"hi\"", ""`},
		{"udp", "c.example", dns.TypeCAA, `NOERROR: 0 issue "ca.example"`},
		{"udp", "l.example", dns.TypeA, "NOERROR: a.example., 192.0.2.1, 192.0.2.2"},
		{"udp", "l.example", dns.TypeCNAME, "NOERROR: a.example."},
		{"udp", "e.example", dns.TypeTXT, "NOERROR: "},
		{"udp", "s.example", dns.TypeSRV, "NOERROR: 1 2 443 a.example."},
		{"udp", "gone.example", dns.TypeA, "NXDOMAIN: "},
		{"udp", "half.example", dns.TypeTXT, "NOERROR: "},
		{"udp", "example", dns.TypeA, "NOERROR: "}, // has names below it
		{"udp", "f.example", dns.TypeA, "SERVFAIL: "},
		{"udp", "big.example", dns.TypeTXT, "TC NOERROR: "},
	}
	for _, c := range cases {
		if got := ask(t, s, c.net, c.name, c.qtype); got != c.want {
			t.Errorf("%s %s %s: got %s, want %s", c.net, c.name, dns.Type(c.qtype), got, c.want)
		}
	}
	s.Fail("f.example", 0)
	if got := ask(t, s, "udp", "f.example", dns.TypeA); got != "NXDOMAIN: " {
		t.Errorf("after the failure was lifted: %s", got)
	}
	s.ChaseAliases(false)
	if got := ask(t, s, "udp", "l.example", dns.TypeA); got != "NOERROR: a.example." {
		t.Errorf("without chasing: %s", got)
	}
	q := s.Queries()
	if len(q) != len(cases)+2 || q[0].Name != "a.example" || q[0].Net != "tcp" || q[0].Type != "A" || q[2].Raw != "A.EXAMPLE." {
		t.Errorf("the log has %d entries, the first %+v, the third %+v", len(q), q[0], q[2])
	}
}

func TestDefault(t *testing.T) {
	s := start(t)
	s.Default(netip.MustParseAddr("127.0.0.1"))
	must(t, s.Set("own.example", "AAAA", "2001:db8::1"))
	must(t, s.Set("l.example", "CNAME", "other.example"))
	for name, want := range map[string]string{
		"any.example": "NOERROR: 127.0.0.1",
		"own.example": "NOERROR: ",
		"l.example":   "NOERROR: other.example., 127.0.0.1",
	} {
		if got := ask(t, s, "udp", name, dns.TypeA); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	if got := ask(t, s, "udp", "any.example", dns.TypeTXT); got != "NOERROR: " {
		t.Errorf("TXT of any name: %s", got)
	}
	s.Default(netip.Addr{})
	if got := ask(t, s, "udp", "any.example", dns.TypeA); got != "NXDOMAIN: " {
		t.Errorf("after the default was lifted: %s", got)
	}
}

func TestSequence(t *testing.T) {
	s := start(t)
	must(t, s.Sequence("x.example", "A", []string{"192.0.2.1"}, nil, []string{"127.0.0.1"}))
	for i, want := range []string{"192.0.2.1", "", "127.0.0.1", "127.0.0.1"} {
		if got := ask(t, s, "udp", "x.example", dns.TypeA); got != "NOERROR: "+want {
			t.Errorf("question %d: got %s, want %s", i, got, want)
		}
	}
}

func TestRefusesBadValues(t *testing.T) {
	s := start(t)
	for _, c := range [][3]string{
		{"x.example", "A", "nonsense"}, {"x.example", "A", "2001:db8::1"}, {"x.example", "AAAA", "192.0.2.1"},
		{"x.example", "NOTYPE", "x"}, {"x..example", "A", "192.0.2.1"}, {"x.example", "CNAME", "a..b"},
		{"x.example", "CAA", "issue"}, {"x.example", "SRV", "1 2 3 x.\ny. 0 IN A 192.0.2.1"}, {"x.example", "MX", ""},
	} {
		if err := s.Set(c[0], c[1], c[2]); err == nil {
			t.Errorf("%q was accepted", c)
		}
	}
	if err := s.Sequence("x.example", "A"); err == nil {
		t.Error("an empty sequence was accepted")
	}
	for _, addr := range []string{"nonsense", "127.0.0.1:notaport", s.Addr()} {
		if other, err := dnstest.Start(addr); err == nil {
			other.Close()
			t.Errorf("listening on %q succeeded", addr)
		}
	}
}

// Close must not wait for a delayed answer, and the port must be free again.
func TestCloseDuringDelay(t *testing.T) {
	s, err := dnstest.Start(porttest.Address(t)) // which nobody else takes in between
	must(t, err)
	t.Cleanup(s.Close)
	s.Delay("x.example", time.Hour)
	done := make(chan string)
	go func() { done <- ask(t, s, "tcp", "x.example", dns.TypeA) }()
	for len(s.Queries()) == 0 {
		time.Sleep(time.Millisecond)
	}
	s.Close()
	s.Close()
	if got := <-done; got != "error" {
		t.Errorf("got %s after Close", got)
	}
	again, err := dnstest.Start(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestConcurrentUse(t *testing.T) {
	s := start(t)
	var g sync.WaitGroup
	for i := range 8 {
		g.Go(func() {
			name := fmt.Sprintf("n%d.example", i)
			for range 20 {
				if err := s.Set(name, "TXT", "x"); err != nil {
					t.Error(err)
				}
				if got := ask(t, s, "udp", name, dns.TypeTXT); got != `NOERROR: "x"` {
					t.Error(got)
				}
				s.Remove(name, "TXT")
				s.Queries()
			}
		})
	}
	g.Wait()
}
