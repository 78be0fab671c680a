package guard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// transport holds each request and each answer to the policy.
type transport struct {
	policy Policy
	inner  *http.Transport
}

// RoundTrip sends one request. The errors are safe to show.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.check(r); err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), t.policy.Timeout)
	sent := r.Clone(ctx)
	for _, name := range []string{"Referer", "Cookie", "Authorization"} {
		sent.Header.Del(name) // nothing that one stranger hears about another, or about us
	}
	res, err := t.inner.RoundTrip(sent)
	if err != nil {
		cancel()
		return nil, shown(err)
	}
	res.Request = r
	res.Body = &body{from: res.Body, left: t.policy.Body, most: t.policy.Body, url: r.URL.String(), cancel: cancel}
	if r.Method != http.MethodHead && res.ContentLength > t.policy.Body {
		res.Body.Close()
		return nil, tooLong(r.URL.String(), t.policy.Body)
	}
	return res, nil
}

// CloseIdleConnections does what http.Client's method of that name expects.
func (t *transport) CloseIdleConnections() { t.inner.CloseIdleConnections() }

// check judges what is known before anything is connected to.
func (t *transport) check(r *http.Request) error {
	if reason := form(r.URL); reason != "" {
		return &RefusedError{URL: r.URL.String(), Reason: reason}
	}
	if hops(r) > MaxRedirects {
		return tooManyRedirects(r.URL)
	}
	if a, ok := literal(r.URL); ok {
		if reason := t.policy.Check(a); reason != "" {
			return &RefusedError{URL: r.URL.String(), Address: a.String(), Reason: reason}
		}
	}
	return nil
}

// shown makes an error's text harmless, if it is not already.
func shown(err error) error {
	if _, ok := errors.AsType[*RefusedError](err); ok {
		return err
	}
	return failure{err}
}

// maxAddresses bounds the addresses tried for one connection.
const maxAddresses = 6

// dial resolves, checks, and connects to the very address that it checked, so that a
// name which points elsewhere a moment later (DNS rebinding) gains nothing.
func (p Policy) dial(ctx context.Context, network, hostport string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	addresses, err := p.addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	var permitted []netip.Addr
	var failed error
	for _, a := range addresses {
		if reason := p.Check(a); reason != "" {
			failed = &RefusedError{URL: "https://" + hostport, Address: a.String(), Reason: reason}
		} else if len(permitted) < maxAddresses {
			permitted = append(permitted, a.Unmap())
		}
	}
	for i, a := range permitted {
		c, err := p.connect(ctx, network, target{net.JoinHostPort(a.String(), port), len(permitted) - i})
		if err == nil {
			return c, nil
		}
		if failed = err; ctx.Err() != nil {
			break
		}
	}
	if failed == nil {
		failed = &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	return nil, failed
}

// target is an address to connect to, and among how many that remain.
type target struct {
	address string
	remain  int
}

// connect gives each address its share of the time, so that a dead one leaves some.
func (p Policy) connect(ctx context.Context, network string, t target) (net.Conn, error) {
	limit := min(connectionLimit, p.Timeout/time.Duration(t.remain))
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if p.Dial != nil {
		return p.Dial(ctx, network, t.address)
	}
	return new(net.Dialer).DialContext(ctx, network, t.address)
}

// dialProxy connects to the proxy, whose address the configuration vouches for.
func (p Policy) dialProxy(ctx context.Context, network, hostport string) (net.Conn, error) {
	return p.connect(ctx, network, target{hostport, 1})
}

func (p Policy) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	if p.Resolve != nil {
		return p.Resolve(ctx, host)
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// body is an answer's body with an end. Reading past it is a *RefusedError.
type body struct {
	from   io.ReadCloser
	left   int64
	most   int64
	url    string
	cancel context.CancelFunc
}

// Read gives at most as many octets as are left.
func (b *body) Read(into []byte) (int, error) {
	if len(into) == 0 {
		return 0, nil
	}
	if b.left == 0 {
		// One more octet tells an end from an excess.
		n, err := b.from.Read(into[:1])
		if n > 0 {
			return 0, tooLong(b.url, b.most)
		}
		return 0, end(err)
	}
	if int64(len(into)) > b.left {
		into = into[:b.left]
	}
	n, err := b.from.Read(into)
	b.left -= int64(n)
	return n, end(err)
}

// Close ends the exchange; the connection is kept only if the body was read to its end.
func (b *body) Close() error {
	err := b.from.Close()
	b.cancel()
	return err
}

func end(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return shown(err)
}

func tooLong(url string, most int64) error {
	return &RefusedError{URL: url, Reason: fmt.Sprintf("its answer is longer than %d octets", most)}
}
