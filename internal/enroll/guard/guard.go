// Package guard makes HTTP clients for talking to strangers: CAs that were found by
// discovery and that nobody here has chosen. Such a client speaks https alone, connects
// to no address of this machine or its surroundings, and spends no more than a bounded
// number of octets and seconds on any answer.
//
// All of it is enforced where requests are sent, in the transport, so that it also holds
// for code that brings its own idea of redirects. The package knows HTTP and addresses;
// it must not know ACME, CAA, configuration or files.
package guard

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// What a client spends on one answer if the policy does not say otherwise.
const (
	DefaultTimeout = 30 * time.Second // redirects and the body included
	DefaultBody    = 1 << 20          // octets
	MaxRedirects   = 5

	maxHeader       = 64 << 10         // octets of a response's header
	headerTimeout   = 15 * time.Second // from the request sent to the header read
	handshakeLimit  = 10 * time.Second
	connectionLimit = 10 * time.Second // for one address
	idleLimit       = 30 * time.Second
)

// Policy says what a client may reach and spend. The zero value is for strangers: the
// public Internet and nothing else.
type Policy struct {
	// Allow are networks that may be reached whatever else the rules say: the only way
	// to loopback, link-local, multicast, unspecified and cloud metadata addresses. An
	// IPv6 address that carries an IPv4 one (NAT64, 6to4, Teredo) must pass as both,
	// unless Allow names the IPv6 network.
	Allow []netip.Prefix
	// Private lets addresses be reached that mean something within one organisation
	// only: RFC 1918, RFC 6598, unique local IPv6 and what else is not routed.
	Private bool
	// Roots judge the servers' certificates; nil means the system's.
	Roots *x509.CertPool
	// Resolve gives a host's addresses; nil asks the system.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Dial connects to an address that was checked, "IP:port"; nil means net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Timeout is for one request with its redirects and the body; 0 means DefaultTimeout.
	Timeout time.Duration
	// Body is the number of octets of an answer that are read; 0 means DefaultBody.
	Body int64
	// Proxy, if set, carries all requests; the environment is never asked for one. It is
	// the proxy then that resolves names and keeps strangers out of the network: here
	// only addresses written as such in a URL are checked.
	Proxy *url.URL
}

// Client makes the client. It is safe for concurrent use; its idle connections are its
// own. What it refuses is a *RefusedError, found with errors.As. It keeps no cookies,
// sends no Referer, follows redirects of GET and HEAD only (a signed request is for one
// URL), and hands bodies on as they come, never unpacked.
func (p Policy) Client() *http.Client {
	if p.Timeout <= 0 {
		p.Timeout = DefaultTimeout
	}
	if p.Body <= 0 {
		p.Body = DefaultBody
	}
	var versions http.Protocols
	versions.SetHTTP1(true) // fewer ways to be kept busy than with HTTP/2
	inner := &http.Transport{
		DialContext:            p.dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.Roots},
		TLSHandshakeTimeout:    min(handshakeLimit, p.Timeout),
		ResponseHeaderTimeout:  min(headerTimeout, p.Timeout),
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true, // a small body must not become a large one here
		IdleConnTimeout:        idleLimit,
		MaxIdleConns:           16,
		Protocols:              &versions,
	}
	if p.Proxy != nil {
		inner.Proxy = http.ProxyURL(p.Proxy)
		inner.DialContext = p.dialProxy
	}
	return &http.Client{
		Transport:     &transport{policy: p, inner: inner},
		CheckRedirect: checkRedirect,
		Timeout:       p.Timeout,
	}
}

// checkRedirect only says early what the transport would say as well.
func checkRedirect(next *http.Request, via []*http.Request) error {
	if m := via[0].Method; m != http.MethodGet && m != http.MethodHead {
		return http.ErrUseLastResponse
	}
	if len(via) > MaxRedirects {
		return tooManyRedirects(next.URL)
	}
	return CheckURL(next.URL.String())
}
