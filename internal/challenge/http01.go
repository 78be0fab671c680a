package challenge

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

const (
	// maxRedirects bounds a chain of redirects.
	maxRedirects = 10
	// bodySlack is how much longer than the key authorization a body may be:
	// white space at its end (RFC 8555 §8.3), and enough of a wrong one to show.
	bodySlack = 512
	// maxHeader bounds the header of an answer.
	maxHeader = 32 << 10
)

// http01 fetches the key authorization (RFC 8555 §8.3), following redirects.
func (v *Validator) http01(ctx context.Context, j Job, t *trail) (netip.Addr, *Failure) {
	p := page{host: j.Target.Value, limit: len(j.KeyAuthorization) + bodySlack, at: &url.URL{
		Scheme: "http",
		Host:   hostPort(j.Target.Value, v.conf.HTTPPort, 80),
		Path:   "/.well-known/acme-challenge/" + j.Token,
	}}
	p.url = p.at.String()
	seen := map[string]bool{}
	for hops := 0; ; hops++ {
		port, f := v.permit(&p)
		switch {
		case f != nil:
			return netip.Addr{}, f
		case hops > maxRedirects:
			return netip.Addr{}, fail(IncorrectResponse, "there were more than %d redirects, the last to %s", maxRedirects, p.url)
		case seen[p.at.String()]:
			return netip.Addr{}, fail(IncorrectResponse, "the redirects form a loop through %s", p.url)
		}
		seen[p.at.String()] = true
		p.port = port
		if p, f = v.get(ctx, p, t); f != nil {
			return p.addr, f
		}
		if p.next == nil {
			return p.addr, p.compare(j)
		}
		p = p.follow()
	}
}

// permit gives the port of a URL that may be fetched, or a failure: a redirect
// may lead to any host, but not to a service that is no web server.
func (v *Validator) permit(p *page) (uint16, *Failure) {
	u, usual := p.at, v.conf.HTTPPort
	switch u.Scheme {
	case "http":
	case "https":
		usual = v.conf.TLSPort
	default:
		return 0, fail(IncorrectResponse, "the redirect to %s is not followed: only http and https are", p.url)
	}
	if u.User != nil || u.Hostname() == "" {
		return 0, fail(IncorrectResponse, "the redirect to %s is not followed: it has no host or has a user name", p.url)
	}
	if u.Port() == "" {
		return usual, nil
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	port := uint16(n)
	if err != nil || port != 80 && port != 443 && port != v.conf.HTTPPort && port != v.conf.TLSPort {
		return 0, fail(IncorrectResponse, "the redirect to %s is not followed: only ports 80 and 443 are allowed", p.url)
	}
	return port, nil
}

// page is what a GET asked for and brought.
type page struct {
	host  string     // that is being validated
	home  netip.Addr // where the first page was; zero for the first
	at    *url.URL
	url   string // at, as it may be shown
	port  uint16
	limit int // of the body, in bytes

	foreign bool // from another host, or another address, than the first
	addr    netip.Addr
	code    int
	body    []byte
	long    bool     // the body went on beyond the limit
	next    *url.URL // where a redirect leads
}

// follow gives the page that this one redirects to.
func (p page) follow() page {
	next := page{host: p.host, home: p.home, at: p.next, url: p.next.Redacted(), limit: p.limit}
	if !next.home.IsValid() {
		next.home = p.addr
	}
	if p.foreign {
		next.url = p.next.Scheme + "://" + p.next.Host + "/…" // the rest is that page's content
	}
	return next
}

// excerpt quotes the beginning of the body, if it is the subscriber's own. A
// redirect makes us fetch from hosts that we reach and its author may not: he
// is not to read there through us.
func (p page) excerpt() string {
	if p.foreign {
		return "what is not shown after a redirect to another host"
	}
	return excerpt(p.body)
}

// get fetches one URL, without following redirects, over a connection to a
// checked address, and fills the page in.
func (v *Validator) get(ctx context.Context, p page, t *trail) (page, *Failure) {
	host := strings.TrimSuffix(p.at.Hostname(), ".")
	p.foreign = !strings.EqualFold(host, p.host)
	conn, addr, f := v.dial(ctx, host, p.port, t)
	p.addr = addr
	if f != nil {
		f.Detail = printable("GET "+p.url+": "+f.Detail, maxDetail)
		return p, f
	}
	// The same name at another address is another host: its owner rules the DNS.
	p.foreign = p.foreign || p.home.IsValid() && addr != p.home
	defer conn.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.at.String(), nil)
	if err != nil {
		return p, fail(IncorrectResponse, "%q cannot be fetched: %s", p.url, err).because(err).at(addr)
	}
	req.Header.Set("User-Agent", v.conf.UserAgent)
	req.Header.Set("Accept", "*/*")
	if p.at.Scheme == "https" {
		if conn, f = p.handshake(ctx, conn, host); f != nil {
			return p, f
		}
	}
	transport := oneShot(conn)
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return p, p.exchangeFailure(err)
	}
	defer resp.Body.Close()
	p.code = resp.StatusCode
	t.add("GET %s gave status %d", p.at, p.code)
	return p.read(resp, t)
}

// read takes the redirect or the body from a response.
func (p page) read(resp *http.Response, t *trail) (page, *Failure) {
	if location := resp.Header.Get("Location"); location != "" && isRedirect(p.code) {
		next, err := resp.Request.URL.Parse(location)
		if err != nil {
			p.body = []byte(location)
			return p, fail(IncorrectResponse, "GET %s at %s: status %d with the unreadable Location %s", p.url, p.addr, p.code, p.excerpt()).because(err).at(p.addr)
		}
		next.Fragment, next.RawFragment = "", ""
		t.add("redirect to %s", next.Redacted())
		p.next = next
		return p, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(p.limit)+1))
	if len(body) > p.limit {
		p.long, body = true, body[:p.limit]
	}
	p.body = body
	if err != nil && !p.long {
		why := "the body broke off"
		if timedOut(err) {
			why = "the body did not end in time"
		}
		return p, fail(Connection, "GET %s at %s: %s after %d bytes (%s): %s", p.url, p.addr, why, len(body), p.excerpt(), err).because(err).at(p.addr)
	}
	return p, nil
}

// isRedirect says whether a status asks to look elsewhere (RFC 9110 §15.4).
func isRedirect(code int) bool {
	switch code {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// compare checks the last page against the key authorization. Only status 200
// counts; white space at the end of the body does not (RFC 8555 §8.3 step 4).
func (p page) compare(j Job) *Failure {
	if p.code != http.StatusOK {
		return fail(Unauthorized, "GET %s at %s: status %d instead of 200; the body has %d bytes and begins with %s; expected %q",
			p.url, p.addr, p.code, len(p.body), p.excerpt(), j.KeyAuthorization).at(p.addr)
	}
	body := bytes.TrimRight(p.body, " \t\r\n\v\f")
	if p.long {
		return fail(IncorrectResponse, "GET %s at %s: the body is longer than %d bytes and begins with %s; expected %q and nothing else",
			p.url, p.addr, p.limit, p.excerpt(), j.KeyAuthorization).at(p.addr)
	}
	if !same(body, []byte(j.KeyAuthorization)) {
		return fail(Unauthorized, "GET %s at %s: the body has %d bytes and begins with %s; expected %q",
			p.url, p.addr, len(p.body), p.excerpt(), j.KeyAuthorization).at(p.addr)
	}
	return nil
}

// exchangeFailure sorts an error of the exchange after the connection was made.
func (p page) exchangeFailure(err error) *Failure {
	if timedOut(err) {
		return fail(Connection, "GET %s at %s: connected, but there was no answer in time", p.url, p.addr).because(err).at(p.addr)
	}
	why := err.Error()
	if p.foreign {
		why = "no answer in HTTP" // the error quotes what came
	}
	return fail(Connection, "GET %s at %s: the exchange failed: %s", p.url, p.addr, why).because(err).at(p.addr)
}

// handshake begins TLS. Certificates are not verified: a site may redirect to its
// own https before it has a certificate, and the proof is the content.
func (p page) handshake(ctx context.Context, conn net.Conn, host string) (net.Conn, *Failure) {
	client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: host})
	err := client.HandshakeContext(ctx)
	switch {
	case err == nil:
		return client, nil
	case timedOut(err):
		return nil, fail(Connection, "GET %s at %s: the TLS handshake did not end in time", p.url, p.addr).because(err).at(p.addr)
	}
	return nil, fail(TLS, "GET %s at %s: the TLS handshake failed: %s", p.url, p.addr, err).because(err).at(p.addr)
}

// oneShot is a transport over exactly one connection that is already there, with
// or without TLS: it resolves nothing, uses no proxy and keeps nothing alive.
func oneShot(conn net.Conn) *http.Transport {
	given := make(chan net.Conn, 1)
	given <- conn
	take := func(context.Context, string, string) (net.Conn, error) {
		select {
		case c := <-given:
			return c, nil
		default:
			return nil, errors.New("the connection was used up")
		}
	}
	return &http.Transport{
		DialContext:            take,
		DialTLSContext:         take,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
	}
}

// hostPort writes a host for a URL, with brackets around IPv6 and without the
// scheme's own port.
func hostPort(host string, port, own uint16) string {
	if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
		host = "[" + host + "]"
	}
	if port == own {
		return host
	}
	return host + ":" + strconv.Itoa(int(port))
}
