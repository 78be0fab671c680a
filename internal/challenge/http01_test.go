package challenge_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chancery/internal/challenge"
)

// body answers the challenge's path with a text.
func body(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != path {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, text)
	}
}

func TestHTTP01Bodies(t *testing.T) {
	cases := []struct {
		name, body string
		kind       challenge.Kind // 0: valid
		words      []string
	}{
		{"exact", keyAuth, 0, nil},
		{"white space behind", keyAuth + " \t\r\n\n", 0, nil},
		{"white space before", " " + keyAuth, challenge.Unauthorized, []string{strconv.Quote(" " + keyAuth)}},
		{"byte order mark", "\ufeff" + keyAuth, challenge.Unauthorized, []string{`\ufeff`}},
		{"wrong", "<html>wrong\x1b[31m</html>", challenge.Unauthorized, []string{`"<html>wrong\x1b[31m</html>"`, keyAuth, "127.0.0.2", path}},
		{"only the token", token, challenge.Unauthorized, nil},
		{"empty", "", challenge.Unauthorized, []string{"begins with nothing"}},
		{"more behind", keyAuth + "x", challenge.Unauthorized, nil},
		{"other case", strings.ToUpper(keyAuth), challenge.Unauthorized, nil},
		{"huge", strings.Repeat("abcdefgh", 1<<17), challenge.IncorrectResponse, []string{"longer than"}},
		{"huge but right at first", keyAuth + strings.Repeat("\n", 1<<20), challenge.IncorrectResponse, []string{"longer than"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.conf.HTTPPort = serve(t, front, body(c.body))
			got, err := r.validate(challenge.HTTP01, "x.example")
			if c.kind != 0 {
				wantFailure(t, err, c.kind, c.words...)
				return
			}
			wantResult(t, got, err, front, r.dns.Addr(), "x.example is at 127.0.0.2", "status 200", path)
		})
	}
}

func TestHTTP01Statuses(t *testing.T) {
	for _, code := range []int{201, 204, 206, 300, 301, 304, 400, 401, 404, 500, 503} {
		r := newRig(t)
		r.conf.HTTPPort = serve(t, front, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			if code >= 300 {
				_, _ = io.WriteString(w, keyAuth)
			}
		}))
		_, err := r.validate(challenge.HTTP01, "x.example")
		wantFailure(t, err, challenge.Unauthorized, fmt.Sprintf("status %d instead of 200", code))
	}
}

// What is sent: the right Host, our User-Agent, no cookie, no proxy, no
// compression, one request per connection.
func TestHTTP01Request(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	r := newRig(t)
	var got *http.Request
	port := serve(t, front, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.RawQuery == "" {
			w.Header().Set("Set-Cookie", "a=b")
			http.Redirect(w, q, "?again", http.StatusFound)
			return
		}
		got = q
		_, _ = io.WriteString(w, keyAuth)
	}))
	r.conf.HTTPPort, r.conf.UserAgent = port, "check/1"
	res, err := r.validate(challenge.HTTP01, "x.example")
	wantResult(t, res, err, front, "redirect to http://x.example", "?again")
	h := got.Header
	if got.Host != fmt.Sprintf("x.example:%d", port) || h.Get("User-Agent") != "check/1" || h.Get("Cookie") != "" || h.Get("Accept-Encoding") != "" || !got.Close {
		t.Errorf("Host %q, close %v, header %v", got.Host, got.Close, h)
	}
}

func TestHTTP01IP(t *testing.T) {
	r := newRig(t)
	var host atomic.Value
	h := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		host.Store(q.Host)
		body(keyAuth)(w, q)
	})
	r.conf.HTTPPort = serve(t, front, h)
	got, err := r.do(t.Context(), challenge.HTTP01, challenge.Target{Type: "ip", Value: "127.0.0.2"})
	wantResult(t, got, err, front)

	six := netip.IPv6Loopback()
	r.conf.HTTPPort = serve(t, six, h)
	_, err = r.do(t.Context(), challenge.HTTP01, challenge.Target{Type: "ip", Value: "::1"})
	wantFailure(t, err, challenge.Refused, "loopback")
	r.conf.Policy.AllowLoopback = true
	got, err = r.do(t.Context(), challenge.HTTP01, challenge.Target{Type: "ip", Value: "::1"})
	wantResult(t, got, err, six)
	if want := fmt.Sprintf("[::1]:%d", r.conf.HTTPPort); host.Load() != want {
		t.Errorf("Host %q, want %q", host.Load(), want)
	}
	if n := len(r.dns.Queries()); n != 0 {
		t.Errorf("%d DNS questions about addresses", n)
	}
}

// redirects serves a map of paths to redirect targets on front; the placeholder
// HTTP stands for the server's own port. Other paths give the key authorization.
func redirects(t *testing.T, to map[string]string) uint16 {
	t.Helper()
	var port atomic.Int64
	p := serve(t, front, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		target, ok := to[q.URL.RequestURI()]
		if !ok {
			_, _ = io.WriteString(w, keyAuth)
			return
		}
		w.Header().Set("Location", strings.ReplaceAll(target, "HTTP", strconv.FormatInt(port.Load(), 10)))
		w.WriteHeader(http.StatusMovedPermanently)
	}))
	port.Store(int64(p))
	return p
}

func TestHTTP01Redirects(t *testing.T) {
	chain := func(n int) map[string]string {
		m := map[string]string{path: "/1"}
		for i := 1; i < n; i++ {
			m[fmt.Sprintf("/%d", i)] = fmt.Sprintf("/%d", i+1)
		}
		return m
	}
	one := func(location string) map[string]string { return map[string]string{path: location} }
	cases := []struct {
		name  string
		to    map[string]string
		kind  challenge.Kind // 0: valid
		words []string
	}{
		{"relative", one("/elsewhere?a=b#c"), 0, nil},
		{"other host", one("http://y.example:HTTP/p"), 0, nil},
		{"usual port", one("http://y.example/p"), 0, nil},
		{"final dot", one("http://y.example./p"), 0, nil},
		{"ten", chain(10), 0, nil},
		{"eleven", chain(11), challenge.IncorrectResponse, []string{"more than 10 redirects"}},
		{"loop", one(path), challenge.IncorrectResponse, []string{"loop"}},
		{"longer loop", map[string]string{path: "/a", "/a": "/b", "/b": "/a"}, challenge.IncorrectResponse, []string{"loop"}},
		{"metadata", one("http://169.254.169.254/latest/meta-data/"), challenge.Refused, []string{"169.254.169.254", "link-local"}},
		{"loopback", one("http://127.0.0.1:HTTP/"), challenge.Refused, []string{"127.0.0.1", "loopback"}},
		{"mapped loopback", one("http://[::ffff:127.0.0.1]:HTTP/"), challenge.Refused, []string{"loopback"}},
		{"IPv6 loopback", one("http://[::1]:HTTP/"), challenge.Refused, []string{"::1", "loopback"}},
		{"unspecified", one("http://0.0.0.0:HTTP/"), challenge.Refused, []string{"unspecified"}},
		{"zone", one("http://[fe80::1%25lo]:HTTP/"), challenge.Refused, []string{"zone"}},
		{"decimal loopback", one("http://2130706433:HTTP/"), 0, nil}, // a name like any other: the DNS says front
		{"hidden loopback", one("http://inside.example:HTTP/"), challenge.Refused, []string{"inside.example", "loopback"}},
		{"no such name", one("http://missing.example:HTTP/"), challenge.DNS, []string{"missing.example", "does not exist"}},
		{"bad name", one("http://a_b..example:HTTP/"), challenge.DNS, nil},
		{"other port", one("http://y.example:22/"), challenge.IncorrectResponse, []string{":22", "ports 80 and 443"}},
		{"port zero", one("http://y.example:0/"), challenge.IncorrectResponse, nil},
		{"large port", one("http://y.example:65616/"), challenge.IncorrectResponse, nil}, // 80 modulo 65536
		{"other scheme", one("ftp://y.example/"), challenge.IncorrectResponse, []string{"only http and https"}},
		{"file", one("file:///etc/passwd"), challenge.IncorrectResponse, nil},
		{"user name", one("http://u:secret@y.example:HTTP/"), challenge.IncorrectResponse, []string{"user name"}},
		{"no host", one("http:///p"), challenge.IncorrectResponse, nil},
		{"unreadable", one("http://[::1"), challenge.IncorrectResponse, []string{"unreadable"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			must(t, r.dns.Set("inside.example", "A", "127.0.0.1"))
			r.dns.Fail("missing.example", 3)
			r.conf.HTTPPort = redirects(t, c.to)
			got, err := r.validate(challenge.HTTP01, "x.example")
			if c.kind != 0 {
				if f := wantFailure(t, err, c.kind, c.words...); strings.Contains(f.Detail+f.Seen, "secret") {
					t.Errorf("a password is repeated: %s; %s", f.Detail, f.Seen)
				}
				return
			}
			wantResult(t, got, err, front, "redirect to http://")
		})
	}
}

// Whoever can redirect us may not read, through our words, what he cannot reach.
func TestHTTP01ShowsNothingOfOtherHosts(t *testing.T) {
	const secret = "internal-secret"
	second := netip.MustParseAddr("127.0.0.3")
	say := func(code int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = io.WriteString(w, text)
		}
	}
	location := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		to     string // the other host; "" for the same name at another address
		kind   challenge.Kind
		words  []string
	}{
		"wrong body":          {say(200, secret), "http://y.example:HTTP/x", challenge.Unauthorized, []string{"has 15 bytes", "not shown"}},
		"other status":        {say(500, secret), "http://y.example:HTTP/x", challenge.Unauthorized, []string{"status 500", "not shown"}},
		"long body":           {say(200, strings.Repeat(secret, 1000)), "http://y.example:HTTP/x", challenge.IncorrectResponse, []string{"longer than"}},
		"an address":          {say(200, secret), "http://127.0.0.3:HTTP/x", challenge.Unauthorized, []string{"not shown"}},
		"the name rebound":    {say(200, secret), "", challenge.Unauthorized, []string{"not shown"}},
		"unreadable Location": {location("http://[" + secret), "http://y.example:HTTP/x", challenge.IncorrectResponse, []string{"unreadable"}},
		"another redirect":    {location("http://127.0.0.1/?" + secret), "http://y.example:HTTP/x", challenge.Refused, []string{"http://127.0.0.1/…", "loopback"}},
		"scheme":              {location("ftp://y.example/?" + secret), "http://y.example:HTTP/x", challenge.IncorrectResponse, []string{"ftp://y.example/…"}},
		"half a body": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "500")
			_, _ = io.WriteString(w, secret)
		}, "http://y.example:HTTP/x", challenge.Connection, []string{"broke off after 15 bytes"}},
		"no HTTP": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			must(t, err)
			_, _ = io.WriteString(conn, secret+"\r\n\r\n")
			conn.Close()
		}, "http://y.example:HTTP/x", challenge.Connection, []string{"exchange failed"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.conf.Policy.Allow = prefixes("127.0.0.2/31")
			must(t, r.dns.Set("y.example", "A", second.String()))
			must(t, r.dns.Set("x.example", "AAAA"))
			must(t, r.dns.Sequence("x.example", "A", []string{front.String()}, []string{second.String()}))
			var got http.Header
			port := serve(t, second, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				got = q.Header.Clone()
				c.answer(w, q)
			}))
			to := strings.ReplaceAll(c.to, "HTTP", strconv.Itoa(int(port)))
			if to == "" {
				to = "/again"
			}
			l, err := net.Listen("tcp", netip.AddrPortFrom(front, port).String())
			must(t, err)
			t.Cleanup(func() { l.Close() })
			go func() { _ = http.Serve(l, location(to)) }()
			r.conf.HTTPPort = port
			_, err = r.validate(challenge.HTTP01, "x.example")
			f := wantFailure(t, err, c.kind, c.words...)
			if strings.Contains(f.Detail, secret) {
				t.Errorf("it is told what stands there: %s", f.Detail)
			}
			// Nothing of ours goes there but the product's name.
			got.Del("User-Agent")
			got.Del("Accept")
			if got.Del("Connection"); len(got) != 0 {
				t.Errorf("the other host was sent %v", got)
			}
		})
	}
}

// A redirect may lead to https whose certificate is worth nothing.
func TestHTTP01RedirectToHTTPS(t *testing.T) {
	r := newRig(t)
	var sni atomic.Value
	r.conf.TLSPort = serveTLS(t, front, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		sni.Store(q.TLS.ServerName)
		_, _ = io.WriteString(w, keyAuth)
	}))
	r.conf.HTTPPort = redirects(t, map[string]string{path: "https://y.example/p"})
	got, err := r.validate(challenge.HTTP01, "x.example")
	wantResult(t, got, err, front, "GET https://y.example/p gave status 200")
	if sni.Load() != "y.example" {
		t.Errorf("server name %q", sni.Load())
	}
	r.conf.TLSPort = r.conf.HTTPPort // no TLS there
	_, err = r.validate(challenge.HTTP01, "x.example")
	wantFailure(t, err, challenge.TLS, "https://y.example/p")

	// A server that has no certificate for the name says so with an alert.
	r.conf.TLSPort, _ = handshakes(t, front, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, io.EOF }})
	_, err = r.validate(challenge.HTTP01, "x.example")
	wantFailure(t, err, challenge.TLS, "https://y.example/p", "127.0.0.2")

	// A server that never answers the hello.
	l, err := net.Listen("tcp", netip.AddrPortFrom(front, 0).String())
	must(t, err)
	t.Cleanup(func() { l.Close() })
	r.conf.TLSPort = l.Addr().(*net.TCPAddr).AddrPort().Port()
	err = r.inVain(challenge.HTTP01, "https://y.example/p", "in time")
	wantFailure(t, err, challenge.Connection, "https://y.example/p", "in time")
}

func TestHTTP01Families(t *testing.T) {
	r := newRig(t)
	r.conf.Policy.AllowLoopback = true
	must(t, r.dns.Set("x.example", "A", "127.0.0.1"))
	must(t, r.dns.Set("x.example", "AAAA", "::1"))

	r.conf.HTTPPort = serve(t, back, body(keyAuth))
	got, err := r.validate(challenge.HTTP01, "x.example")
	wantResult(t, got, err, back, "no connection to [::1]", "connected to 127.0.0.1")

	// An IPv6 host that answers wrongly is believed: there was a connection.
	six := serve(t, netip.IPv6Loopback(), body("wrong"))
	l, err := net.Listen("tcp", netip.AddrPortFrom(back, six).String())
	must(t, err)
	go func() { _ = http.Serve(l, body(keyAuth)) }()
	t.Cleanup(func() { l.Close() })
	r.conf.HTTPPort = six
	_, err = r.validate(challenge.HTTP01, "x.example")
	if f := wantFailure(t, err, challenge.Unauthorized, "::1"); f.Address != netip.IPv6Loopback() {
		t.Errorf("address %s", f.Address)
	}

	r.conf.HTTPPort = port(t)
	_, err = r.validate(challenge.HTTP01, "x.example")
	wantFailure(t, err, challenge.Connection, "127.0.0.1", "[::1]", "refused")
}

// A forbidden address beside a permitted one is left out.
func TestHTTP01SkipsForbiddenAddress(t *testing.T) {
	r := newRig(t)
	must(t, r.dns.Set("x.example", "A", "127.0.0.1", "127.0.0.2"))
	r.conf.HTTPPort = serve(t, front, body(keyAuth))
	got, err := r.validate(challenge.HTTP01, "x.example")
	wantResult(t, got, err, front, "127.0.0.1 refused")
}

// A name that is harmless when checked and loopback when asked again.
func TestHTTP01Rebinding(t *testing.T) {
	r := newRig(t)
	var hits atomic.Int64
	inside := serve(t, back, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		hits.Add(1)
		_, _ = io.WriteString(w, keyAuth)
	}))
	l, err := net.Listen("tcp", netip.AddrPortFrom(front, inside).String())
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() { _ = http.Serve(l, body(keyAuth)) }()
	r.conf.HTTPPort = inside
	rebind := func() {
		must(t, r.dns.Sequence("x.example", "A", []string{"127.0.0.2"}, []string{"127.0.0.1"}))
		must(t, r.dns.Set("x.example", "AAAA"))
	}
	rebind()
	got, err := r.validate(challenge.HTTP01, "x.example")
	wantResult(t, got, err, front)
	if n := len(r.dns.Queries()); n != 2 {
		t.Errorf("%d questions for one hop, want one A and one AAAA", n)
	}

	// The second hop to the same name is checked anew.
	rebind()
	port := redirects(t, map[string]string{path: "/again"})
	r.conf.HTTPPort = port
	_, err = r.validate(challenge.HTTP01, "x.example")
	wantFailure(t, err, challenge.Refused, "loopback", "/again")
	if hits.Load() != 0 {
		t.Error("the inside was reached")
	}
}

func TestHTTP01DNSFailures(t *testing.T) {
	r := newRig(t)
	r.conf.HTTPPort = serve(t, front, body(keyAuth))
	r.dns.Fail("broken.example", 2)
	r.dns.Fail("missing.example", 3)
	must(t, r.dns.Set("empty.example", "A"))
	for name, words := range map[string]string{"broken.example": "failed to look up", "missing.example": "does not exist", "empty.example": "no A and AAAA record"} {
		_, err := r.validate(challenge.HTTP01, name)
		wantFailure(t, err, challenge.DNS, name, words)
	}
}

func TestHTTP01Deadlines(t *testing.T) {
	hang := func(prefix string) http.HandlerFunc {
		return func(w http.ResponseWriter, q *http.Request) {
			if prefix != "" {
				_, _ = io.WriteString(w, prefix)
				w.(http.Flusher).Flush()
			}
			<-q.Context().Done()
			panic(http.ErrAbortHandler) // else it would answer a client that is just closing
		}
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		word    string
	}{
		"slow header": {hang(""), "no answer in time"},
		"slow body":   {hang("abc"), `"abc"`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.conf.HTTPPort = serve(t, front, c.handler)
			err := r.inVain(challenge.HTTP01, c.word, "in time")
			wantFailure(t, err, challenge.Connection, c.word, "in time")
		})
	}
	t.Run("slow DNS", func(t *testing.T) {
		r := newRig(t)
		r.conf.Timeout = 100 * time.Millisecond
		r.dns.Drop("x.example", true)
		_, err := r.validate(challenge.HTTP01, "x.example")
		wantFailure(t, err, challenge.DNS, "no DNS answer in time")
	})
	t.Run("the caller gives up", func(t *testing.T) {
		r := newRig(t)
		r.conf.Timeout = time.Hour
		ctx, cancel := context.WithCancel(t.Context())
		r.conf.HTTPPort = serve(t, front, http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
			cancel()
			<-q.Context().Done()
			panic(http.ErrAbortHandler)
		}))
		_, err := r.do(ctx, challenge.HTTP01, challenge.Target{Type: "dns", Value: "x.example"})
		if f := wantFailure(t, err, challenge.Internal, "interrupted"); !errors.Is(f, context.Canceled) {
			t.Errorf("cause %v", f.Err)
		}
	})
}

// Servers that are none.
func TestHTTP01BrokenServers(t *testing.T) {
	for name, c := range map[string]struct {
		say  string
		kind challenge.Kind
	}{
		"not HTTP":    {"SSH-2.0-OpenSSH\r\n\r\n", challenge.Connection},
		"hangs up":    {"", challenge.Connection},
		"half a body": {"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nabc", challenge.Connection},
		"huge header": {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 100<<10) + "\r\n\r\n", challenge.Connection},
		"plain":       {"HTTP/1.0 200 OK\r\n\r\n" + keyAuth, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", netip.AddrPortFrom(front, 0).String())
			must(t, err)
			t.Cleanup(func() { l.Close() })
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = conn.Read(make([]byte, 4096))
					_, _ = io.WriteString(conn, c.say)
					conn.Close()
				}
			}()
			r := newRig(t)
			r.conf.HTTPPort = l.Addr().(*net.TCPAddr).AddrPort().Port()
			got, err := r.validate(challenge.HTTP01, "x.example")
			if c.kind == 0 {
				wantResult(t, got, err, front)
				return
			}
			wantFailure(t, err, c.kind, "127.0.0.2")
		})
	}
}

func TestMaxConcurrent(t *testing.T) {
	r := newRig(t)
	var now, most atomic.Int64
	release := make(chan struct{})
	arrived := make(chan struct{}, 16)
	r.conf.MaxConcurrent = 2
	r.conf.HTTPPort = serve(t, front, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		arrived <- struct{}{}
		<-release
		now.Add(-1)
		_, _ = io.WriteString(w, keyAuth)
	}))
	v := challenge.New(r.conf)
	job := challenge.Job{Method: challenge.HTTP01, Target: challenge.Target{Type: "dns", Value: "x.example"}, Token: token, KeyAuthorization: keyAuth}
	var g sync.WaitGroup
	for range 6 {
		g.Go(func() {
			if _, err := v.Validate(t.Context(), job); err != nil {
				t.Error(err)
			}
		})
	}
	<-arrived
	<-arrived // both slots are taken
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := v.Validate(ctx, job)
	wantFailure(t, err, challenge.Internal, "too many validations")
	close(release)
	g.Wait()
	if most.Load() != 2 {
		t.Errorf("%d validations at once, want 2", most.Load())
	}
}

func TestSenselessJobs(t *testing.T) {
	good := challenge.Job{Method: challenge.HTTP01, Target: challenge.Target{Type: "dns", Value: "x.example"}, Token: token, KeyAuthorization: keyAuth}
	for name, bend := range map[string]func(*challenge.Job){
		"method":   func(j *challenge.Job) { j.Method = "tls-sni-01" },
		"type":     func(j *challenge.Job) { j.Target.Type = "email" },
		"wildcard": func(j *challenge.Job) { j.Target.Value = "*.x.example" },
		"no name":  func(j *challenge.Job) { j.Target.Value = "" },
		"dns-01 for ip": func(j *challenge.Job) {
			j.Method, j.Target = challenge.DNS01, challenge.Target{Type: "ip", Value: "192.0.2.1"}
		},
		"no address":     func(j *challenge.Job) { j.Target = challenge.Target{Type: "ip", Value: "x.example"} },
		"zone":           func(j *challenge.Job) { j.Target = challenge.Target{Type: "ip", Value: "fe80::1%lo"} },
		"no key":         func(j *challenge.Job) { j.KeyAuthorization = "" },
		"no token":       func(j *challenge.Job) { j.Token = "" },
		"token has path": func(j *challenge.Job) { j.Token = "../x" },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			j := good
			bend(&j)
			_, err := challenge.New(r.conf).Validate(t.Context(), j)
			wantFailure(t, err, challenge.Internal)
			if len(r.dns.Queries()) != 0 {
				t.Error("the network was asked")
			}
		})
	}
}
