package resolver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
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

// certificate makes one that signs itself, for names or addresses.
func certificate(t *testing.T, hosts ...string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	set(t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "dns"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true, IsCA: true,
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	set(t, err)
	parsed, err := x509.ParseCertificate(der)
	set(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// pass hands a question to the server and gives what it says.
func pass(s *dnstest.Server, q *dns.Msg) *dns.Msg {
	m, _, err := (&dns.Client{Net: "tcp"}).Exchange(q, s.Addr())
	if err != nil {
		return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
	}
	return m
}

// dot serves DNS over TLS on loopback and gives where.
func dot(t *testing.T, c tls.Certificate, answer func(*dns.Msg) *dns.Msg) string {
	t.Helper()
	return dotAt(t, "127.0.0.1", c, answer)
}

// dotAt does so at another address.
func dotAt(t *testing.T, host string, c tls.Certificate, answer func(*dns.Msg) *dns.Msg) string {
	t.Helper()
	l, err := tls.Listen("tcp", net.JoinHostPort(host, "0"), &tls.Config{Certificates: []tls.Certificate{c}, NextProtos: []string{"dot"}})
	set(t, err)
	started := make(chan struct{})
	s := &dns.Server{Listener: l, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		_ = w.WriteMsg(answer(q))
	})}
	go func() { _ = s.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { _ = s.Shutdown() })
	return l.Addr().String()
}

// doh serves DNS over HTTPS on loopback and gives where; what it is asked must be as
// RFC 8484 has it.
func doh(t *testing.T, c tls.Certificate, answer func(http.ResponseWriter, *dns.Msg)) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		q := new(dns.Msg)
		if err != nil || q.Unpack(body) != nil || q.Id != 0 || r.Method != "POST" || r.URL.Path != "/dns-query" || r.ProtoMajor != 2 ||
			r.Header.Get("Content-Type") != "application/dns-message" || r.Header.Get("Accept") != "application/dns-message" {
			t.Errorf("asked %s %s %s %v: %v", r.Method, r.URL, r.Proto, r.Header, q)
		}
		answer(w, q)
	}))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{c}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func write(w http.ResponseWriter, m *dns.Msg) {
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/dns-message")
	_, _ = w.Write(b)
}

// TestOverTLS asks by both ways over TLS: who shows the right certificate is
// believed, also in DNSSEC; who does not is asked nothing.
func TestOverTLS(t *testing.T) {
	s := start(t)
	s.Authentic(true)
	var values []string
	for i := range 1001 {
		values = append(values, fmt.Sprintf(`0 issue "ca%d.example"`, i))
	}
	set(t, s.Set("x.example", "CAA", values...))
	s.Fail("fail.example", dns.RcodeServerFailure)
	right, roots := certificate(t, "dns.example", "localhost", "127.0.0.1")
	unnamed, unnamedRoots := certificate(t, "other.example")
	asked := 0
	answer := func(q *dns.Msg) *dns.Msg { asked++; return pass(s, q) }
	web := func(w http.ResponseWriter, q *dns.Msg) { write(w, answer(q)) }
	host := func(address string) string { return strings.Replace(address, "127.0.0.1", "dns.example", 1) }
	dotRight, dohRight := dot(t, right, answer), doh(t, right, web)
	dotOther, dohOther := dot(t, unnamed, answer), doh(t, unnamed, web)
	for _, test := range []struct {
		server string
		roots  *x509.CertPool
		good   bool
	}{
		{"tls://" + dotRight, roots, true},
		{"tls://" + dotRight + "#dns.example", roots, true},
		{"tls://" + dotRight + "#DNS.Example.", roots, true},
		{"tls://" + dotRight + "#other.example", roots, false},
		{"tls://" + dotRight, unnamedRoots, false},
		{"tls://" + dotRight, nil, false},
		{"tls://" + dotOther, unnamedRoots, false},
		{"https://" + dohRight + "/dns-query", roots, true},
		{"https://" + dohRight + "/dns-query{?dns}", roots, true},
		{"https://" + host(dohRight) + "/dns-query@127.0.0.1", roots, true},
		{"https://" + strings.Replace(dohRight, "127.0.0.1", "localhost", 1) + "/dns-query", roots, true}, // the system finds it
		{"https://" + host(dohOther) + "/dns-query@127.0.0.1", unnamedRoots, false},
		{"https://" + dohRight + "/dns-query", unnamedRoots, false},
		{"https://" + dohRight + "/dns-query", nil, false},
		{"https://" + dohOther + "/dns-query", unnamedRoots, false},
	} {
		asked = 0
		r := newResolver(t, resolver.Config{Servers: []string{test.server}, Roots: test.roots, Attempts: 1, MixCase: true})
		got, err := r.CAA(t.Context(), "x.example")
		if !test.good {
			if e := wantKind(t, err, resolver.Unreachable); asked != 0 || !strings.Contains(e.Reason, "cannot show that it is the server") {
				t.Errorf("%s: asked %d times, %v", test.server, asked, e)
			}
			continue
		}
		if err != nil || !got.Authentic || len(got.Records) != 1001 || got.Server != r.Servers()[0] {
			t.Errorf("%s: %d records, authentic %v, from %s, %v", test.server, len(got.Records), got.Authentic, got.Server, err)
		}
		if empty, err := r.CAA(t.Context(), "nothing.example"); err != nil || !empty.Authentic {
			t.Errorf("%s: %+v, %v", test.server, empty, err)
		}
		_, err = r.CAA(t.Context(), "fail.example")
		wantKind(t, err, resolver.ServFail)
		s2 := start(t)
		set(t, s2.Set("fail.example", "CAA"))
		over := newResolver(t, resolver.Config{Servers: []string{test.server, s2.Addr()}, Roots: test.roots})
		if a, err := over.CAA(t.Context(), "fail.example"); err != nil || a.Server != s2.Addr() {
			t.Errorf("%s: failing over: %+v, %v", test.server, a, err)
		}
	}
}

// TestWebAnswers: what is no answer over HTTPS.
func TestWebAnswers(t *testing.T) {
	right, roots := certificate(t, "127.0.0.1")
	elsewhere, gaveUp := 0, make(chan struct{})
	for name, test := range map[string]struct {
		answer func(http.ResponseWriter, *dns.Msg)
		kind   resolver.Kind
	}{
		"status": {func(w http.ResponseWriter, q *dns.Msg) { w.WriteHeader(503) }, resolver.Unreachable},
		"redirect": {func(w http.ResponseWriter, q *dns.Msg) {
			w.Header().Set("Location", "/dns-query?x")
			w.WriteHeader(307)
			elsewhere++
		}, resolver.Unreachable},
		"type": {func(w http.ResponseWriter, q *dns.Msg) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<p>")
		}, resolver.Malformed},
		"no message": {func(w http.ResponseWriter, q *dns.Msg) {
			w.Header().Set("Content-Type", "application/dns-message")
			fmt.Fprint(w, "x")
		}, resolver.Malformed},
		"other name": {func(w http.ResponseWriter, q *dns.Msg) {
			m := caaReply(q)
			m.Question[0].Name = "y.example."
			write(w, m)
		}, resolver.Malformed},
		"other id":  {func(w http.ResponseWriter, q *dns.Msg) { m := caaReply(q); m.Id = 7; write(w, m) }, resolver.Malformed},
		"truncated": {func(w http.ResponseWriter, q *dns.Msg) { m := caaReply(q); m.Truncated = true; write(w, m) }, resolver.Malformed},
		"refused":   {func(w http.ResponseWriter, q *dns.Msg) { write(w, new(dns.Msg).SetRcode(q, dns.RcodeRefused)) }, resolver.Refused},
		"endless":   {endless, resolver.Malformed},
		"no answer": {func(http.ResponseWriter, *dns.Msg) { <-gaveUp; panic(http.ErrAbortHandler) }, resolver.Timeout},
		"half answer": {func(w http.ResponseWriter, q *dns.Msg) {
			w.Header().Set("Content-Length", "900")
			write(w, caaReply(q))
		}, resolver.Unreachable},
	} {
		t.Run(name, func(t *testing.T) {
			timeout := 30 * time.Second
			if test.kind == resolver.Timeout {
				timeout = 50 * time.Millisecond
			}
			r := newResolver(t, resolver.Config{Servers: []string{"https://" + doh(t, right, test.answer) + "/dns-query"}, Roots: roots, Attempts: 1, Timeout: timeout})
			_, err := r.CAA(t.Context(), "x.example")
			if test.kind == resolver.Timeout {
				close(gaveUp)
			}
			wantKind(t, err, test.kind)
		})
	}
	if elsewhere != 1 {
		t.Errorf("the redirect was followed: %d questions", elsewhere)
	}
}

// endless writes until nobody reads any more.
func endless(w http.ResponseWriter, q *dns.Msg) {
	w.Header().Set("Content-Type", "application/dns-message")
	b, _ := caaReply(q).Pack()
	for {
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}

// TestTrust: whose word on DNSSEC counts. The servers that are not on loopback are
// not asked: the description says the same as is acted upon.
func TestTrust(t *testing.T) {
	for _, test := range []struct {
		server  string
		trusted []string
		want    string
	}{
		{"127.0.0.1", nil, "127.0.0.1:53 (on this machine: what it says of DNSSEC counts)"},
		{"127.9.8.7:5353", nil, "127.9.8.7:5353 (on this machine: what it says of DNSSEC counts)"},
		{"::1", nil, "[::1]:53 (on this machine: what it says of DNSSEC counts)"},
		{"[::ffff:127.0.0.1]:53", nil, "[::ffff:127.0.0.1]:53 (on this machine: what it says of DNSSEC counts)"},
		{"192.0.2.1", nil, "192.0.2.1:53 (unprotected: what it says of DNSSEC does not count)"},
		{"192.0.2.1", []string{"192.0.2.1"}, "192.0.2.1:53 (named as trusted: what it says of DNSSEC counts)"},
		{"192.0.2.1:54", []string{"192.0.2.1"}, "192.0.2.1:54 (named as trusted: what it says of DNSSEC counts)"},
		{"192.0.2.1:54", []string{"192.0.2.1:54"}, "192.0.2.1:54 (named as trusted: what it says of DNSSEC counts)"},
		{"2001:db8::1", []string{"[2001:db8::1]:53"}, "[2001:db8::1]:53 (named as trusted: what it says of DNSSEC counts)"},
		{"tls://192.0.2.1#Dns.Example", nil, "tls://192.0.2.1:853#dns.example (over TLS, as dns.example: what it says of DNSSEC counts)"},
		{"tls://192.0.2.1", nil, "tls://192.0.2.1:853 (over TLS, as 192.0.2.1: what it says of DNSSEC counts)"},
		{"https://dns.example/dns-query", nil, "https://dns.example/dns-query (over TLS, as dns.example: what it says of DNSSEC counts)"},
		{"https://[2001:db8::1]/q", nil, "https://[2001:db8::1]/q (over TLS, as 2001:db8::1: what it says of DNSSEC counts)"},
	} {
		r := newResolver(t, resolver.Config{Servers: []string{test.server}, Trusted: test.trusted})
		if got := r.Describe(); got != test.want {
			t.Errorf("%s: %s", test.server, got)
		}
	}
	r := newResolver(t, resolver.Config{Servers: []string{"127.0.0.1", "192.0.2.1"}})
	if got := r.Describe(); !strings.Contains(got, "counts), then 192.0.2.1:53 (unprotected") {
		t.Errorf("two servers: %s", got)
	}
	for name, c := range map[string]resolver.Config{
		"no address":    {Servers: []string{"192.0.2.1"}, Trusted: []string{"dns.example"}},
		"none of them":  {Servers: []string{"192.0.2.1"}, Trusted: []string{"192.0.2.2"}},
		"another port":  {Servers: []string{"192.0.2.1"}, Trusted: []string{"192.0.2.1:54"}},
		"not of system": {Trusted: []string{"x"}},
	} {
		if _, err := resolver.New(c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestUntrusted asks a server off loopback, at an address of this machine's own: its
// AD bit counts only when it is named.
func TestUntrusted(t *testing.T) {
	var own string
	addrs, err := net.InterfaceAddrs()
	set(t, err)
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			own = n.IP.String()
		}
	}
	if own == "" {
		t.Skip("this machine has no address but loopback")
	}
	s, err := dnstest.Start(own + ":0")
	set(t, err)
	t.Cleanup(s.Close)
	s.Authentic(true)
	set(t, s.Set("x.example", "CAA", `0 issue "ca.example"`))
	for _, trusted := range [][]string{nil, {own}, {s.Addr()}} {
		r := newResolver(t, resolver.Config{Servers: []string{s.Addr()}, Trusted: trusted})
		for _, name := range []string{"x.example", "y.example"} {
			got, err := r.CAA(t.Context(), name)
			if err != nil || got.Authentic != (trusted != nil) {
				t.Errorf("trusted %v: %+v, %v", trusted, got, err)
			}
		}
	}
	certificate, roots := certificate(t, own)
	over := "tls://" + dotAt(t, own, certificate, func(q *dns.Msg) *dns.Msg { return pass(s, q) })
	got, err := newResolver(t, resolver.Config{Servers: []string{over}, Roots: roots}).CAA(t.Context(), "x.example")
	if err != nil || !got.Authentic {
		t.Errorf("over TLS: %+v, %v", got, err)
	}
}

// TestFailOverForCAA goes on to the good server behind any that does not serve.
func TestFailOverForCAA(t *testing.T) {
	good := start(t)
	set(t, good.Set("x.example", "CAA", `0 issue "ca.example"`))
	failing, refusing, silent, closed := start(t), start(t), start(t), porttest.Address(t)
	failing.Fail("x.example", dns.RcodeServerFailure)
	refusing.Fail("x.example", dns.RcodeRefused)
	silent.Drop("x.example", true)
	lame := raw(t, func(q *dns.Msg) []*dns.Msg { return []*dns.Msg{new(dns.Msg).SetReply(q)} })
	cut := raw(t, func(q *dns.Msg) []*dns.Msg { m := caaReply(q); m.Truncated = true; return []*dns.Msg{m} }) // has no TCP
	certificate, roots := certificate(t, "other.example")
	stranger := "tls://" + dot(t, certificate, func(q *dns.Msg) *dns.Msg { return caaReply(q) })
	for _, first := range []string{failing.Addr(), refusing.Addr(), silent.Addr(), closed, lame, cut, stranger, "tls://" + closed, "https://" + closed + "/dns-query"} {
		for _, network := range []string{"udp", "tcp"} {
			r := newResolver(t, resolver.Config{Servers: []string{first, good.Addr()}, Net: network, Timeout: 250 * time.Millisecond, Attempts: 100, Roots: roots})
			got, err := r.CAA(t.Context(), "x.example")
			if err != nil || len(got.Records) != 1 || got.Server != good.Addr() {
				t.Errorf("behind %s by %s: %+v, %v", first, network, got, err)
			}
			r = newResolver(t, resolver.Config{Servers: []string{first}, Net: network, Timeout: 100 * time.Millisecond, Roots: roots})
			if got, err := r.CAA(t.Context(), "x.example"); err == nil {
				t.Errorf("%s alone: %+v", first, got)
			}
		}
	}
	if !slices.ContainsFunc(good.Queries(), func(q dnstest.Query) bool { return q.Net == "tcp" }) {
		t.Error("nothing came by TCP")
	}
}

// counting counts connections, and closes each after so many answers.
type counting struct {
	net.Listener
	opened atomic.Int64
}

func (l *counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.opened.Add(1)
	}
	return c, err
}

// TestConnectionIsUsedAgain: one connection serves many questions over TLS, and one
// that the server has closed meanwhile is no failure.
func TestConnectionIsUsedAgain(t *testing.T) {
	own, roots := certificate(t, "127.0.0.1")
	for _, test := range []struct {
		each int // questions that a connection may bring
		want int64
	}{{100, 1}, {1, 6}, {2, 3}} {
		inner, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{own}})
		set(t, err)
		l := &counting{Listener: inner}
		started := make(chan struct{})
		s := &dns.Server{Listener: l, MaxTCPQueries: test.each, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			_ = w.WriteMsg(caaReply(q))
		})}
		go func() { _ = s.ActivateAndServe() }()
		<-started
		r := newResolver(t, resolver.Config{Servers: []string{"tls://" + l.Addr().String()}, Roots: roots, Attempts: 1})
		for range 6 {
			if _, err := r.CAA(t.Context(), "x.example"); err != nil {
				t.Errorf("%d questions for each connection: %v", test.each, err)
			}
		}
		if n := l.opened.Load(); n != test.want {
			t.Errorf("%d questions for each connection: %d connections, want %d", test.each, n, test.want)
		}
		set(t, s.Shutdown())
	}
}
