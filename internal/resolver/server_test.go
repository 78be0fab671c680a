package resolver

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestParseServer(t *testing.T) {
	for text, want := range map[string]string{ // text, address, host, URL
		"192.0.2.1":                             "192.0.2.1:53 192.0.2.1:53",
		"192.0.2.1:54":                          "192.0.2.1:54 192.0.2.1:54",
		"2001:DB8::1":                           "[2001:db8::1]:53 [2001:db8::1]:53",
		"[2001:db8::1]":                         "[2001:db8::1]:53 [2001:db8::1]:53",
		"[2001:db8::1]:54":                      "[2001:db8::1]:54 [2001:db8::1]:54",
		"fe80::1%lo":                            "[fe80::1%lo]:53 [fe80::1%lo]:53",
		"tls://192.0.2.1":                       "tls://192.0.2.1:853 192.0.2.1:853 192.0.2.1",
		"tls://[2001:db8::1]:54#a.example":      "tls://[2001:db8::1]:54#a.example [2001:db8::1]:54 a.example",
		"tls://192.0.2.1#192.0.2.9":             "tls://192.0.2.1:853#192.0.2.9 192.0.2.1:853 192.0.2.9",
		"https://a.example/q":                   "https://a.example/q invalid AddrPort a.example https://a.example/q",
		"https://A.example:8443/q{?dns}":        "https://A.example:8443/q{?dns} invalid AddrPort a.example https://A.example:8443/q",
		"https://a.example/q@192.0.2.1":         "https://a.example/q@192.0.2.1 192.0.2.1:443 a.example https://a.example/q",
		"https://a.example:8443/q@2001:db8::1":  "https://a.example:8443/q@2001:db8::1 [2001:db8::1]:8443 a.example https://a.example:8443/q",
		"https://192.0.2.1/q":                   "https://192.0.2.1/q 192.0.2.1:443 192.0.2.1 https://192.0.2.1/q",
		"https://[2001:db8::1]:8443/dns/q":      "https://[2001:db8::1]:8443/dns/q [2001:db8::1]:8443 2001:db8::1 https://[2001:db8::1]:8443/dns/q",
		"https://a.example/q@b/c@192.0.2.1":     "https://a.example/q@b/c@192.0.2.1 192.0.2.1:443 a.example https://a.example/q@b/c",
		"":                                      "",
		"localhost":                             "",
		"192.0.2.1:":                            "",
		"192.0.2.1:0":                           "",
		"192.0.2.1:65536":                       "",
		"[192.0.2.1]":                           "",
		"[2001:db8::1":                          "",
		"2001:db8::1]":                          "",
		"udp://192.0.2.1":                       "",
		"TLS://192.0.2.1":                       "",
		"tls://":                                "",
		"tls://a.example":                       "",
		"tls://192.0.2.1#":                      "",
		"tls://192.0.2.1#a b":                   "",
		"tls://192.0.2.1#fe80::1%lo":            "",
		"tls://192.0.2.1/q":                     "",
		"http://a.example/q":                    "",
		"https://":                              "",
		"https:///q":                            "",
		"https://a.example":                     "",
		"https://a.example/":                    "",
		"https://a.example/@192.0.2.1":          "",
		"https://a.example:/q":                  "",
		"https://a.example:0/q":                 "",
		"https://a.example:65536/q":             "",
		"https://user@a.example/q":              "",
		"https://a.example/q?x":                 "",
		"https://a.example/q?":                  "",
		"https://a.example/q#f":                 "",
		"https://a.example/q@":                  "",
		"https://a.example/q@b.example":         "",
		"https://192.0.2.1/q@192.0.2.2":         "",
		"https://a_b..example/q":                "",
		"https://a.example/q{?dns}@192.0.2.1#x": "",
	} {
		s, err := parseServer(text)
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), "write it as") {
				t.Errorf("%q: %+v, %v", text, s, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := strings.TrimSpace(strings.Join([]string{s.text, s.address.String(), s.host, s.url}, " ")); got != want {
			t.Errorf("%q:\n%s, want\n%s", text, got, want)
		}
	}
}

// FuzzParseServer: what is taken can be asked, is taken again in the form that is
// shown, and means the same then.
func FuzzParseServer(f *testing.F) {
	for _, s := range []string{"192.0.2.1", "[::1]:53", "::1", "tls://192.0.2.1:853#dns.example", "tls://[::1]", "https://dns.example/dns-query{?dns}", "https://dns.example:8443/q@192.0.2.1", "https://[::1]/q", "https://u@h/q", "https://h/%40@::1", "fe80::1%eth0", "::ffff:127.0.0.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseServer(text)
		if err != nil {
			return
		}
		if s.via != overWeb && (!s.address.IsValid() || s.address.Port() == 0) || s.via != plain && s.host == "" || (s.via == overWeb) != strings.HasPrefix(s.url, "https://") {
			t.Fatalf("%q: %+v", text, s)
		}
		again, err := parseServer(s.text)
		if err != nil || *again != *s {
			t.Fatalf("%q: shown as %q, which is %+v, %v", text, s.text, again, err)
		}
		s.trust([]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:0")})
		if s.via == plain && s.trusted && !s.address.Addr().Unmap().IsLoopback() && s.address.Addr().Unmap() != netip.MustParseAddr("192.0.2.1") {
			t.Fatalf("%q is trusted", text)
		}
	})
}

// FuzzReadMessage: nothing that comes over HTTPS upsets the reader, and what it
// takes answers the question.
func FuzzReadMessage(f *testing.F) {
	q := query(question{name: "x.example", qtype: dns.TypeCAA})
	q.Id = 0
	good := new(dns.Msg).SetReply(q)
	good.RecursionAvailable = true
	good.Answer = []dns.RR{
		&dns.CNAME{Hdr: dns.RR_Header{Name: "x.example.", Rrtype: dns.TypeCNAME, Class: dns.ClassINET}, Target: "y.example."},
		&dns.CAA{Hdr: dns.RR_Header{Name: "y.example.", Rrtype: dns.TypeCAA, Class: dns.ClassINET}, Tag: "issue", Value: "ca.example"},
	}
	for _, m := range []*dns.Msg{good, new(dns.Msg).SetRcode(q, dns.RcodeServerFailure), q} {
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := readMessage(body, q)
		if err != nil {
			if err.Kind != Malformed {
				t.Fatalf("%v", err)
			}
			return
		}
		if m.Id != 0 || !m.Response {
			t.Fatalf("taken: %v", m)
		}
		if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
			if e := rcodeError(m); strings.ContainsFunc(e.Reason, func(c rune) bool { return c < ' ' || c > '~' }) {
				t.Fatalf("the reason %q is not fit for a terminal", e.Reason)
			}
			return
		}
		answers(m, question{name: "x.example", qtype: dns.TypeCAA})
		knowing(m)
		a := &Answer{Name: "x.example"}
		if end, problem := a.follow(m, "x.example", dns.TypeCAA); problem == "" && end != "x.example" && len(a.Aliases) == 0 {
			t.Fatalf("went to %q without an alias", end)
		}
	})
}
