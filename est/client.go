package est

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Client speaks to one EST server, or one label of it. It keeps at most one connection,
// so its methods wait for one another; several goroutines may use it.
//
// Before an answer is believed, or a password sent, the server is authenticated and
// authorised (RFC 7030 §3.6). What it answers is bounded and read leniently; what is
// sent is the strictest form. Nothing is written to disk and nobody is asked: see the
// functions of [ClientConfig] and [Offer].
type Client struct {
	config ClientConfig
	base   *url.URL // scheme, host and port
	label  string

	mutex sync.Mutex
	trust Trust
	line  *line // the connection that is open; nil
}

// ClientConfig says which server, how it is judged and who asks.
type ClientConfig struct {
	// Server is a whole URL, as https://est.example/.well-known/est/label, or the
	// authority alone, as est.example:8443 (RFC 7030 §3.1).
	Server string
	// Label follows the authority; it must be "" when the URL has one.
	Label string
	Trust Trust
	// Identities are the certificates that the client may show, the preferred first.
	Identities []ClientIdentity
	// Login answers the server's HTTP authentication (RFC 7030 §3.2.3), which it gets
	// only when it asks; nil: there is no password.
	Login *Login
	// SecretsOverImplicit lets passwords and other secrets, be they in a request, be sent
	// to, and keys be made by, a server that only Implicit anchors verify. RFC 7030 §6
	// warns of it. No secret ever follows a redirect to another origin.
	SecretsOverImplicit bool
	// Consent is asked before a POST follows a redirect to another origin (RFC 7030
	// §3.2.1); an error refuses, and so does nil.
	Consent func(ctx context.Context, from, to *url.URL) error
	// Pending is told of each 202 and waits at least as long as it says (see [Wait]);
	// when it gives nil, the request is repeated. nil: a 202 is the *[PendingError].
	Pending func(ctx context.Context, p *PendingError) error
	// MaxTLS is the newest version that is offered; 0: TLS 1.3. Servers whose proof of
	// possession breaks under 1.3 need [tls.VersionTLS12].
	MaxTLS uint16
	// Dial makes connections; nil: a [net.Dialer] without proxy.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Timeout bounds one exchange, the handshake included; 0: one minute.
	Timeout time.Duration
	// UserAgent is sent in every request; "": chancery-est.
	UserAgent string
	// Now is the clock; nil: [time.Now].
	Now func() time.Time
}

// ClientIdentity is a certificate with its key and what is sent along.
type ClientIdentity struct {
	Certificate *x509.Certificate
	Chain       []*x509.Certificate // intermediates, from below
	Key         crypto.Signer
}

// Bounds of what a server may answer. A bag of certificates is the largest that is
// expected.
const (
	headMax    = 64 << 10
	bodyMax    = 2 << 20
	hopsMax    = 5 // redirects that are followed in a row
	exchange   = time.Minute
	agent      = "chancery-est"
	loginTries = 2 // the second only after a stale nonce
)

// NewClient makes a client; it opens no connection. The error says what in the
// configuration is wrong.
func NewClient(config ClientConfig) (*Client, error) {
	base, label, err := ServerURL(config.Server, config.Label)
	if err != nil {
		return nil, err
	}
	if config.Timeout <= 0 {
		config.Timeout = exchange
	}
	if config.UserAgent == "" {
		config.UserAgent = agent
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Dial == nil {
		config.Dial = (&net.Dialer{}).DialContext
	}
	if config.MaxTLS != 0 && config.MaxTLS < tls.VersionTLS12 {
		return nil, errors.New("TLS 1.1 and older are refused (RFC 8996): let at least TLS 1.2 be used")
	}
	if strings.ContainsAny(config.UserAgent, "\r\n") {
		return nil, errors.New("the user agent holds a line break")
	}
	if err := config.Login.check(); err != nil {
		return nil, err
	}
	for _, id := range config.Identities {
		if err := id.check(); err != nil {
			return nil, err
		}
	}
	return &Client{config: config, base: base, label: label, trust: config.Trust}, nil
}

// ServerURL reads what a person calls a server: a whole URL with or without the EST
// path, or the authority alone; with a label beside it or in the path (RFC 7030 §3.1).
// It gives the scheme, host and port, and the label.
func ServerURL(server, label string) (base *url.URL, found string, err error) {
	text := strings.TrimSpace(server)
	if text == "" {
		return nil, "", errors.New("no server was named: give its address, as est.example or https://est.example:8443")
	}
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Hostname() == "" {
		return nil, "", malformed("%q is no address of a server: write est.example:8443 or https://est.example:8443", server)
	}
	switch {
	case u.Scheme != "https":
		return nil, "", malformed("EST is spoken over https alone (RFC 7030 section 3.2.2), not over %q", u.Scheme)
	case u.User != nil:
		return nil, "", malformed("the server's address holds a user name: it goes beside the address, and the password into a file")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, "", malformed("the server's address has a query or a fragment: leave away what follows the path")
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	rest, ok := strings.CutPrefix(path+"/", WellKnown+"/")
	if path != "" && !ok {
		return nil, "", malformed("the path %q is not EST's: it begins with %s", path, WellKnown)
	}
	if path == "" {
		rest = ""
	}
	rest = strings.TrimSuffix(rest, "/")
	// Somebody may have copied the address of an operation.
	if before, last := cutLast(rest); slices.Contains(Operations, Operation(last)) {
		rest = before
	}
	switch {
	case rest != "" && label != "" && rest != label:
		return nil, "", malformed("the address has the label %q and the label given beside it is %q: give one", rest, label)
	case rest != "":
		label = rest
	}
	if label != "" {
		if err := CheckLabel(label); err != nil {
			return nil, "", err
		}
	}
	return &url.URL{Scheme: "https", Host: strings.ToLower(u.Host)}, label, nil
}

func cutLast(path string) (before, last string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}

// URL gives the address of an operation.
func (c *Client) URL(op Operation) *url.URL { return URL(c.base, c.label, op) }

// SetTrust exchanges the anchors, as after CA certificates came (RFC 7030 §4.1.3). The
// next operation makes a new connection.
func (c *Client) SetTrust(t Trust) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.trust = t
	c.hangUp()
}

// Trust gives the anchors.
func (c *Client) Trust() Trust {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.trust
}

// Close ends the connection, if one is open. The client can still be used.
func (c *Client) Close() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.hangUp()
}

func (c *Client) hangUp() {
	if c.line != nil {
		c.line.close()
		c.line = nil
	}
}

// check tells whether certificate and key belong together.
func (i ClientIdentity) check() error {
	if i.Certificate == nil || i.Key == nil {
		return errors.New("a client identity needs a certificate and its key")
	}
	if !sameKey(i.Certificate.PublicKey, i.Key.Public()) {
		return errors.New("the client's key is not the one of its certificate: name the two that belong together")
	}
	return nil
}

func sameKey(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}
