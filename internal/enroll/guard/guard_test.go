package guard

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// public stands for an address out there; dial leads it to the server of the test.
const public = "203.0.113.7"

// stranger is a hostile server at https://example.com, as its certificate says.
func stranger(t *testing.T, handler http.HandlerFunc) (Policy, *atomic.Int64) {
	t.Helper()
	requests := new(atomic.Int64)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return Policy{
		Roots:   roots,
		Timeout: 30 * time.Second,
		Resolve: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr(public)}, nil
		},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if host, _, _ := net.SplitHostPort(address); host != public {
				t.Errorf("connected to %s", address)
			}
			return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
		},
	}, requests
}

func get(t *testing.T, c *http.Client, url string) ([]byte, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(res.Body)
}

func wantRefused(t *testing.T, err error, reason string) {
	t.Helper()
	refused, ok := errors.AsType[*RefusedError](err)
	if !ok || !strings.Contains(refused.Reason, reason) {
		t.Errorf("got %v, want a refusal because %q", err, reason)
	}
	if err != nil && strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
		t.Errorf("the error can move a cursor: %q", err)
	}
}

func TestAddresses(t *testing.T) {
	for _, test := range []struct{ address, strangers, private string }{ // reasons, "" is permitted
		{"203.0.113.7", "", ""}, {"2a00::1", "", ""}, {"64:ff9b::203.0.113.7", "", ""},
		{"127.0.0.1", "loopback", "loopback"}, {"127.8.8.8", "loopback", "loopback"}, {"::1", "loopback", "loopback"},
		{"::ffff:127.0.0.1", "loopback", "loopback"}, {"::127.0.0.1", "loopback", "loopback"},
		{"64:ff9b::127.0.0.1", "loopback", "loopback"}, {"64:ff9b:1::7f00:1", "loopback", "loopback"},
		{"2002:7f00:1::1", "loopback", "loopback"}, {"2001:0:1::80ff:fffe", "loopback", "loopback"},
		{"169.254.169.254", "link-local", "link-local"}, {"fe80::1", "link-local", "link-local"}, {"fe80::1%eth0", "zone", "zone"},
		{"64:ff9b::169.254.169.254", "link-local", "link-local"}, {"::ffff:169.254.169.254", "link-local", "link-local"},
		{"0.0.0.0", "unspecified", "unspecified"}, {"::", "unspecified", "unspecified"}, {"0.1.2.3", "unspecified", "unspecified"},
		{"224.0.0.1", "multicast", "multicast"}, {"ff02::1", "multicast", "multicast"}, {"255.255.255.255", "multicast", "multicast"},
		{"100.100.100.200", "metadata", "metadata"}, {"fd00:ec2::254", "metadata", "metadata"}, {"168.63.129.16", "metadata", "metadata"},
		{"192.0.0.192", "metadata", "metadata"}, {"64:ff9b:1::", "unspecified", "unspecified"}, {"64:ff9b:1::1", "unspecified", "unspecified"},
		{"10.0.0.7", "private", ""}, {"172.31.0.1", "private", ""}, {"192.168.1.1", "private", ""}, {"100.64.0.1", "private", ""},
		{"fd12::1", "private", ""}, {"::ffff:10.0.0.7", "private", ""}, {"64:ff9b::10.0.0.7", "private", ""},
	} {
		a := netip.MustParseAddr(test.address)
		for want, p := range map[*string]Policy{&test.strangers: {}, &test.private: {Private: true}} {
			if got := p.Check(a); !strings.Contains(got, *want) || (got == "") != (*want == "") {
				t.Errorf("%s, private %t: %q, want %q", a, p.Private, got, *want)
			}
		}
		if got := (Policy{Allow: []netip.Prefix{netip.PrefixFrom(a.Unmap().WithZone(""), a.Unmap().BitLen())}}).Check(a); got != "" && a.Zone() == "" {
			t.Errorf("%s is refused although allowed: %s", a, got)
		}
	}
	if got := (Policy{}).Check(netip.Addr{}); got == "" {
		t.Error("no address is permitted")
	}
}

func TestStrangerIsReached(t *testing.T) {
	p, _ := stranger(t, func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Referer", "Cookie", "Authorization", "Accept-Encoding"} {
			if r.Header.Get(name) != "" {
				t.Errorf("%s: %s was sent", name, r.Header.Get(name))
			}
		}
		http.SetCookie(w, &http.Cookie{Name: "id", Value: "1"})
		if r.URL.Path == "/" {
			http.Redirect(w, r, "/there", http.StatusFound)
			return
		}
		io.WriteString(w, "hello")
	})
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY"} {
		t.Setenv(name, "http://127.0.0.1:1")
	}
	c := p.Client()
	for range 2 {
		if body, err := get(t, c, "https://example.com:8443/"); err != nil || string(body) != "hello" {
			t.Errorf("got %q, error %v", body, err)
		}
	}
}

func TestRedirects(t *testing.T) {
	for _, test := range []struct{ name, to, reason string }{
		{"loopback", "https://127.0.0.1/", "loopback"}, {"loopback in IPv6", "https://[::ffff:127.0.0.1]:8443/", "loopback"},
		{"metadata", "https://169.254.169.254/latest/", "link-local"}, {"private", "https://10.0.0.1/", "private"},
		{"downgrade", "http://example.com/", "not https"}, {"file", "file:///etc/passwd", "not https"},
		{"user name", "https://user:pw@example.com/", "user name"}, {"loop", "/", "more than 5 redirects"},
		{"shell", "https://127.0.0.1/$(reboot);`id`", "loopback"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, requests := stranger(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Location", test.to); w.WriteHeader(302) })
			_, err := get(t, p.Client(), "https://example.com/")
			wantRefused(t, err, test.reason)
			// The rules hold for clients with other ideas of redirects, too.
			c := p.Client()
			c.CheckRedirect = func(*http.Request, []*http.Request) error { return nil }
			requests.Store(0)
			_, err = get(t, c, "https://example.com/")
			wantRefused(t, err, test.reason)
			if n := requests.Load(); n > MaxRedirects+1 {
				t.Errorf("%d requests were sent", n)
			}
		})
	}
}

func TestSignedRequestIsForOneURL(t *testing.T) {
	p, requests := stranger(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
	})
	res, err := p.Client().Post("https://example.com/", "application/jose+json", strings.NewReader("{}"))
	if err != nil || res.StatusCode != http.StatusTemporaryRedirect || requests.Load() != 1 {
		t.Fatalf("got %v, error %v, %d requests", res, err, requests.Load())
	}
	res.Body.Close()
}

// A name that is public when it is looked at and loopback when it is connected to.
func TestRebinding(t *testing.T) {
	p, requests := stranger(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Connection", "close") })
	lookups := 0
	p.Resolve = func(context.Context, string) ([]netip.Addr, error) {
		if lookups++; lookups == 1 {
			return []netip.Addr{netip.MustParseAddr(public)}, nil
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	c := p.Client()
	if _, err := get(t, c, "https://example.com/"); err != nil || lookups != 1 { // what was checked is what was dialled
		t.Errorf("%d look-ups, error %v", lookups, err)
	}
	_, err := get(t, c, "https://example.com/")
	wantRefused(t, err, "loopback")
	if requests.Load() != 1 {
		t.Errorf("%d requests", requests.Load())
	}
}

func TestOnlyPermittedAddressesAreTried(t *testing.T) {
	p, _ := stranger(t, func(w http.ResponseWriter, r *http.Request) {})
	p.Resolve = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::ffff:" + public), netip.MustParseAddr("10.0.0.1")}, nil
	}
	if _, err := get(t, p.Client(), "https://example.com/"); err != nil { // Dial reports any other
		t.Error(err)
	}
}

func TestBodies(t *testing.T) {
	var sent atomic.Int64
	endless := func(w http.ResponseWriter, r *http.Request) {
		block := make([]byte, 64<<10)
		for {
			n, err := w.Write(block)
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	}
	for _, test := range []struct {
		name    string
		handler http.HandlerFunc
	}{
		{"endless", endless},
		{"a gigabyte announced", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1073741824")
			endless(w, r)
		}},
	} {
		sent.Store(0)
		p, _ := stranger(t, test.handler)
		_, err := get(t, p.Client(), "https://example.com/")
		wantRefused(t, err, "longer than 1048576 octets")
		if n := sent.Load(); n > 32<<20 { // what fits in the kernel's buffers and ours
			t.Errorf("%s: the server got rid of %d octets", test.name, n)
		}
	}
	p, _ := stranger(t, func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 100)) })
	for most, refused := range map[int64]bool{99: true, 100: false, 101: false} {
		p.Body = most
		body, err := get(t, p.Client(), "https://example.com/")
		if (err != nil) != refused || !refused && len(body) != 100 {
			t.Errorf("bound %d: %d octets, error %v", most, len(body), err)
		}
	}
}

func TestGzipBombStaysPacked(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	z.Write(make([]byte, 4<<20))
	z.Close()
	p, _ := stranger(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(bomb.Bytes())
	})
	body, err := get(t, p.Client(), "https://example.com/")
	if err != nil || len(body) != bomb.Len() {
		t.Errorf("%d octets of %d, error %v", len(body), bomb.Len(), err)
	}
}

func TestSlowAndLongAnswers(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		// A handler that returned would answer a client that is just closing.
		"no answer": func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done(); panic(http.ErrAbortHandler) },
		"drips": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				io.WriteString(w, "x")
				http.NewResponseController(w).Flush()
				time.Sleep(5 * time.Millisecond)
			}
			panic(http.ErrAbortHandler)
		},
	} {
		p, _ := stranger(t, handler)
		p.Timeout = 100 * time.Millisecond
		c := p.Client()
		c.Timeout = 0 // the transport alone must do
		_, err := get(t, c, "https://example.com/")
		if timeout, ok := errors.AsType[net.Error](err); !errors.Is(err, context.DeadlineExceeded) && (!ok || !timeout.Timeout()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p, _ := stranger(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) })
	if _, err := get(t, p.Client(), "https://example.com/"); err == nil {
		t.Error("a header of a megabyte was read")
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	server.Config.ErrorLog = nil
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	p := Policy{Roots: roots, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	if _, err := get(t, p.Client(), server.URL); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("got %v", err)
	}
}

func TestURLs(t *testing.T) {
	for url, reason := range map[string]string{
		"https://ca.example/dir": "", "https://ca.example:14000/dir?x=$(id)": "", "HTTPS://ca.example": "",
		"http://ca.example/": "https", "ca.example": "https", "": "https", "javascript:alert(1)": "https", "https:ca.example": "host",
		"https:///x": "host", "https://u@ca.example/": "user", "https://ca.example:0/": "port", "https://ca.example/\x1b[2J": "characters",
		"https://ca.example/ x": "characters", "https://cä.example/": "characters", "https://ca.example/\r\nX: y": "characters",
		"https://[::1": "no URL", "https://ca.example/" + strings.Repeat("x", 3000): "longer",
	} {
		err := CheckURL(url)
		if reason == "" && err != nil {
			t.Errorf("%q: %v", url, err)
		} else if reason != "" {
			wantRefused(t, err, reason)
		}
		if err != nil && len(err.Error()) > 1000 {
			t.Errorf("an error of %d octets", len(err.Error()))
		}
	}
}

func TestShown(t *testing.T) {
	for text, want := range map[string]string{
		"Größe 日本": "Größe 日本", "a\x1b[2Jb\r\n": `a\x1b[2Jb\r\n`, "\xff": `\xff`, "\u202eevil": `\u202eevil`, "\u200b": `\u200b`,
		"a\u0000": `a\x00`, "\ufffd": "\ufffd", "\u2028": `\u2028`,
		strings.Repeat("x", 1000): strings.Repeat("x", 300) + "…",
	} {
		if got := Shown(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

func TestProxyOnlyIfConfigured(t *testing.T) {
	p, _ := stranger(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "through") })
	dial := p.Dial
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "example.com:443" {
			t.Errorf("the proxy was asked for %s %s", r.Method, r.Host)
		}
		far, err := dial(r.Context(), "tcp", public+":443")
		if err != nil {
			t.Error(err)
			return
		}
		defer far.Close()
		near, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer near.Close()
		io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
		go io.Copy(far, near)
		io.Copy(near, far)
	}))
	defer proxy.Close()
	p.Dial, p.Resolve = nil, nil
	u, err := http.NewRequest(http.MethodGet, proxy.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.Proxy = u.URL
	c := p.Client()
	defer c.CloseIdleConnections()
	if body, err := get(t, c, "https://example.com/"); err != nil || string(body) != "through" {
		t.Errorf("got %q, error %v", body, err)
	}
	_, err = get(t, c, "https://127.0.0.1/")
	wantRefused(t, err, "loopback")
}
