package enroll_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chancery/caa"
	"chancery/internal/dnstest"
	"chancery/internal/enroll"
	"chancery/internal/enroll/guard"
	"chancery/internal/enroll/solve"
	"chancery/internal/enroll/vault"
	"chancery/internal/resolver"
	"chancery/testca"
)

// trust signs the certificates of the CAs' web servers.
type trust struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newTrust(t *testing.T) *trust {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the web's root"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(240 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &trust{key, cert, pool}
}

func (tr *trust) server(t *testing.T, host string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(240 * time.Hour), DNSNames: []string{host, "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, tr.cert, key.Public(), tr.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// house is a chancery with its web front: everything that the client sends to it goes
// through the front, which can spoil it.
type house struct {
	ca     *testca.CA
	issuer string // its name in CAA
	listen *httptest.Server
	seen   atomic.Int64 // requests
	orders atomic.Int64

	mu    sync.Mutex
	proxy http.Handler // to ca
	base  string       // of ca
	fault fault
	meta  func(meta map[string]any)
}

// fault answers a request itself, and tells so, or lets it pass.
type fault func(w http.ResponseWriter, r *http.Request) bool

func (h *house) set(f fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = f
}

func (h *house) setMeta(f func(map[string]any)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.meta = f
}

func (h *house) current() (fault, func(map[string]any)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.fault, h.meta
}

func (h *house) reset() {
	h.set(nil)
	h.setMeta(nil)
	h.seen.Store(0)
	h.orders.Store(0)
}

// noTLS is a fault of connections: the front closes them before any TLS.
func noTLS(http.ResponseWriter, *http.Request) bool { panic("only its address is compared") }

func openHouse(t *testing.T, tr *trust, issuer string, options ...testca.Option) *house {
	t.Helper()
	h := &house{issuer: issuer}
	h.install(t, options...)
	h.listen = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.seen.Add(1)
		if strings.HasSuffix(r.URL.Path, "/new-order") {
			h.orders.Add(1)
		}
		if f, _ := h.current(); f != nil && f(w, r) {
			return
		}
		h.mu.Lock()
		proxy := h.proxy
		h.mu.Unlock()
		proxy.ServeHTTP(w, r)
	}))
	h.listen.Config.ErrorLog = discard
	h.listen.TLS = &tls.Config{Certificates: []tls.Certificate{tr.server(t, issuer)}}
	h.listen.StartTLS()
	t.Cleanup(h.listen.Close)
	return h
}

// install puts a CA behind the front, in place of one that is gone with all that it knew.
func (h *house) install(t *testing.T, options ...testca.Option) {
	t.Helper()
	ca := testca.Start(t, options...)
	base, err := url.Parse(ca.Base)
	if err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(ca.Directory)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = base.Scheme, base.Host
			r.Out.Host = base.Host
			if r.In.URL.Path == "/.well-known/acme" {
				r.Out.URL.Path = at.Path
			}
		},
		Transport:      &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}},
		ModifyResponse: func(res *http.Response) error { return h.rewrite(res, at.Path) },
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ca, h.proxy, h.base = ca, proxy, base.Host
}

// port is that of the CA's own addresses.
func (h *house) port() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, port, _ := net.SplitHostPort(h.base)
	return port
}

// rewrite gives the directory the meta that a test wants.
func (h *house) rewrite(res *http.Response, directory string) error {
	_, meta := h.current()
	if res.Request.URL.Path != directory || meta == nil {
		return nil
	}
	var object map[string]any
	if err := json.NewDecoder(res.Body).Decode(&object); err != nil {
		return err
	}
	m, _ := object["meta"].(map[string]any)
	if m == nil {
		m = map[string]any{}
	}
	meta(m)
	object["meta"] = m
	text, err := json.Marshal(object)
	if err != nil {
		return err
	}
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	res.Header.Set("Content-Length", strconv.Itoa(len(text)))
	return nil
}

// rig is a client, its DNS, and some CAs.
type rig struct {
	t       *testing.T
	dns     *dnstest.Server
	trust   *trust
	houses  []*house
	webroot string
}

func newRig(t *testing.T, options ...[]testca.Option) *rig {
	t.Helper()
	dns, err := dnstest.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dns.Close)
	r := &rig{t: t, dns: dns, trust: newTrust(t), webroot: t.TempDir()}
	for i, o := range options {
		h := openHouse(t, r.trust, fmt.Sprintf("ca%d.test", i+1), o...)
		r.houses = append(r.houses, h)
		r.serve(h)
	}
	return r
}

// serve answers where a CA looks for answers.
func (r *rig) serve(h *house) {
	r.t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", h.ca.HTTPPort))
	if err != nil {
		r.t.Fatal(err)
	}
	web := &http.Server{Handler: http.FileServer(http.Dir(r.webroot)), ErrorLog: discard}
	go func() { _ = web.Serve(l) }()
	r.t.Cleanup(func() { web.Close() })
}

func (r *rig) set(name string, records ...string) {
	r.t.Helper()
	if err := r.dns.Set(name, "CAA", records...); err != nil {
		r.t.Fatal(err)
	}
}

// reset makes all CAs well and forgets all CAA.
func (r *rig) reset(names ...string) {
	for _, h := range r.houses {
		h.reset()
	}
	for _, n := range names {
		r.dns.Remove(n, "")
	}
}

// resolve gives each CA an address of its own, and dial leads to its front, also from
// the addresses that its directory names.
func (r *rig) resolve(_ context.Context, host string) ([]netip.Addr, error) {
	for i, h := range r.houses {
		if host == h.issuer {
			return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)})}, nil
		}
	}
	if host == "localhost" {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (r *rig) dial(ctx context.Context, network, address string) (net.Conn, error) {
	for i, h := range r.houses {
		if address != fmt.Sprintf("127.0.1.%d:443", i+1) && address != "127.0.0.1:"+h.port() {
			continue
		}
		if f, _ := h.current(); f != nil && fmt.Sprintf("%p", f) == fmt.Sprintf("%p", fault(noTLS)) {
			h.seen.Add(1)
			a, b := net.Pipe()
			b.Close()
			return a, nil
		}
		var d net.Dialer
		return d.DialContext(ctx, network, h.listen.Listener.Addr().String())
	}
	return nil, fmt.Errorf("nobody listens on %s", address)
}

func (r *rig) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, h := range r.houses {
		pool.AddCert(h.ca.Root)
	}
	return pool
}

// client is one engine with what it told.
type client struct {
	*enroll.Engine
	vault   *vault.Vault
	clock   *clock
	mu      sync.Mutex
	events  []enroll.Event
	notices []enroll.Notice
}

// clock is the only thing that is not real: nobody waits for it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.add(d)
	return ctx.Err()
}

func (c *client) Put(_ context.Context, n enroll.Notice) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notices = append(c.notices, n)
	return nil
}

// told gives the notices of one kind.
func (c *client) told(kind string) (list []enroll.Notice) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.notices {
		if n.Data["kind"] == kind {
			list = append(list, n)
		}
	}
	return list
}

// heard gives the events of one kind.
func (c *client) heard(kind enroll.EventKind) (list []enroll.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		if e.Kind == kind {
			list = append(list, e)
		}
	}
	return list
}

// client makes an engine on a vault; dir "" is a fresh one.
func (r *rig) client(dir string, change ...func(*enroll.Config)) *client {
	r.t.Helper()
	if dir == "" {
		dir = filepath.Join(r.t.TempDir(), "vault")
	}
	v, err := vault.Open(dir)
	if err != nil {
		r.t.Fatal(err)
	}
	dns, err := resolver.New(resolver.Config{Servers: []string{r.dns.Addr()}, Timeout: 30 * time.Second})
	if err != nil {
		r.t.Fatal(err)
	}
	policy := guard.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Roots: r.trust.pool, Resolve: r.resolve, Dial: r.dial, Timeout: 20 * time.Second}
	http := policy.Client()
	c := &client{vault: v, clock: &clock{now: time.Now()}}
	config := enroll.Config{
		Resolver: dns, Vault: v, Notifier: c,
		Observer: func(e enroll.Event) { c.mu.Lock(); defer c.mu.Unlock(); c.events = append(c.events, e) },
		Solver: func(vault.Sheet) (*solve.Set, error) {
			return solve.NewSet(nil, solve.Choice{Solver: &solve.Webroot{Dir: r.webroot}}), nil
		},
		Settings: enroll.Settings{Roots: r.roots(), Patience: 20 * time.Second},
		Now:      c.clock.Now, Sleep: c.clock.Sleep, Random: mrand.NewPCG(1, 2),
	}
	config.HTTP = func(*enroll.CA) *httpClient { return http }
	for _, f := range change {
		f(&config)
	}
	if c.Engine, err = enroll.New(config); err != nil {
		r.t.Fatal(err)
	}
	return c
}

type httpClient = http.Client

// get asks for a certificate and gives who issued it; the test fails if nobody did.
func (c *client) get(t *testing.T, o enroll.Options, names ...string) enroll.Outcome {
	t.Helper()
	out, err := c.Get(t.Context(), vault.Sheet{Names: names}, o)
	if err != nil || out.Result != enroll.Issued {
		t.Fatalf("%v: %s: %v", names, out.Result, err)
	}
	return out
}

func issue(issuer string, parameters ...string) string {
	return fmt.Sprintf("0 issue %q", strings.Join(append([]string{issuer}, parameters...), "; "))
}

var _ caa.Resolver = (*resolver.Resolver)(nil)
