package interop_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chancery/internal/client"
	"chancery/internal/dnstest"
	"chancery/internal/enroll"
	"chancery/internal/enroll/settings"
	"chancery/internal/enroll/vault"
	"chancery/internal/notify"
	"chancery/internal/porttest"
)

// sealer is an authority of the test's own.
type sealer struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newSealer(t *testing.T, name string) *sealer {
	t.Helper()
	s := &sealer{key: ecKey(t).(*ecdsa.PrivateKey)}
	s.cert = s.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, s.key.Public())
	return s
}

// sign fills in serial and validity where the template lacks them. Without a certificate
// of its own the sealer signs itself.
func (s *sealer) sign(t *testing.T, template *x509.Certificate, key crypto.PublicKey) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Error(err)
	}
	template.SerialNumber = serial
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(90 * 24 * time.Hour)
	}
	parent := s.cert
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, s.key)
	if err != nil {
		t.Error(err)
		return nil
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Error(err)
	}
	return cert
}

// server makes a certificate of a server.
func (s *sealer) server(t *testing.T, hosts ...string) tls.Certificate {
	t.Helper()
	key := ecKey(t)
	cert := s.sign(t, &x509.Certificate{DNSNames: hosts, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, key.Public())
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

func encodePEM(certs ...*x509.Certificate) string {
	var b strings.Builder
	for _, c := range certs {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return b.String()
}

// lab is what a client has around it: a DNS, CAs behind fronts that carry their issuer
// names, and a web server where their validators look.
type lab struct {
	t         *testing.T
	dir       string
	dns       *dnstest.Server
	web       *sealer // certifies the fronts
	anchors   []*x509.Certificate
	fronts    []*front
	http, tls int // ports of validation
	webroot   string

	mu    sync.Mutex
	dials []string // addresses that the client connected to
}

// newLab lets the test run beside others.
func newLab(t *testing.T) *lab {
	t.Helper()
	t.Parallel()
	d, err := dnstest.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	d.Default(netip.MustParseAddr("127.0.0.1"))
	l := &lab{t: t, dir: t.TempDir(), dns: d, web: newSealer(t, "the web's root"), http: porttest.Free(t), tls: porttest.Free(t)}
	l.webroot = filepath.Join(l.dir, "webroot")
	if err := os.MkdirAll(l.webroot, 0o755); err != nil {
		t.Fatal(err)
	}
	return l
}

// serveWebroot answers http-01 from files, for runs beside each other.
func (l *lab) serveWebroot() {
	l.t.Helper()
	serve(l.t, listen(l.t, fmt.Sprintf("127.0.0.1:%d", l.http)), http.FileServer(http.Dir(l.webroot)))
}

func (l *lab) write(name, text string) string {
	l.t.Helper()
	path := filepath.Join(l.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return path
}

// caa says which CAs the owner of a name wants, as values of issue records.
func (l *lab) caa(name string, values ...string) {
	l.t.Helper()
	var records []string
	for _, v := range values {
		records = append(records, fmt.Sprintf("0 issue %q", v))
	}
	if err := l.dns.Set(name, "CAA", records...); err != nil {
		l.t.Fatal(err)
	}
}

// anchor trusts further roots.
func (l *lab) anchor(certs ...*x509.Certificate) { l.anchors = append(l.anchors, certs...) }

// roots writes the file of roots that the client is given.
func (l *lab) roots() string {
	l.t.Helper()
	return l.write("roots.pem", encodePEM(append([]*x509.Certificate{l.web.cert}, l.anchors...)...))
}

// fault answers a request itself, and tells so, or lets it pass.
type fault func(w http.ResponseWriter, r *http.Request) bool

// asked is a request that a front saw.
type asked struct {
	path    string
	payload map[string]any // of a signed request; nil otherwise
}

// front is a CA's web server: what the client knows of the CA goes through it, and can be
// spoiled there.
type front struct {
	lab    *lab
	issuer string
	server *httptest.Server
	base   *url.URL // of the CA behind it
	at     string   // path of the directory there
	mute   bool     // it says nothing of Pebble's name
	refuse atomic.Bool
	seen   atomic.Int64

	mu       sync.Mutex
	fault    fault
	rewrite  func(path string, object map[string]any) // changes what JSON objects say
	requests []asked
	csr      *x509.CertificateRequest // the last one that was sent
}

// moody closes connections before any TLS while its front refuses.
type moody struct {
	net.Listener
	front *front
}

func (m moody) Accept() (net.Conn, error) {
	for {
		c, err := m.Listener.Accept()
		if err != nil || !m.front.refuse.Load() {
			return c, err
		}
		m.front.seen.Add(1)
		c.Close()
	}
}

// front puts a CA under an issuer name: the next of ca1.test, ca2.test, … Pebble calls
// itself otherwise in its caaIdentities; there the front leaves them out.
func (l *lab) front(directory string) *front {
	l.t.Helper()
	f := l.frontAs(fmt.Sprintf("ca%d.test", len(l.fronts)+1), directory)
	f.mute = true
	return f
}

// pebbleName is what Pebble says that it is.
const pebbleName = "pebble.letsencrypt.org"

// frontAs puts a CA under the issuer name.
func (l *lab) frontAs(issuer, directory string) *front {
	l.t.Helper()
	base, err := url.Parse(directory)
	if err != nil {
		l.t.Fatal(err)
	}
	f := &front{lab: l, issuer: issuer, base: base, at: base.Path}
	pool := x509.NewCertPool()
	for _, c := range append([]*x509.Certificate{l.web.cert}, l.anchors...) {
		pool.AddCert(c) // step-ca's own server is certified by its root
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { // the Host stays, and so the CA's URLs lead here
			r.Out.URL.Scheme, r.Out.URL.Host = base.Scheme, base.Host
			r.Out.Host = r.In.Host
			if r.In.URL.Path == "/.well-known/acme" {
				r.Out.URL.Path = f.at
			}
		},
		Transport:      &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "localhost"}, DisableKeepAlives: true},
		ModifyResponse: f.modify,
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	f.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.note(r)
		f.mu.Lock()
		fault := f.fault
		f.mu.Unlock()
		if fault == nil || !fault(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	f.server.Listener = moody{f.server.Listener, f}
	f.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.server.TLS = &tls.Config{Certificates: []tls.Certificate{l.web.server(l.t, f.issuer, "localhost")}}
	f.server.StartTLS()
	l.t.Cleanup(func() {
		f.server.CloseClientConnections() // who hangs lets go
		f.server.Close()
	})
	l.fronts = append(l.fronts, f)
	return f
}

// directory is where a program without the lab's addresses finds the CA.
func (f *front) directory() string {
	return fmt.Sprintf("https://localhost:%d/.well-known/acme", f.server.Listener.Addr().(*net.TCPAddr).Port)
}

// note keeps what was asked, and leaves the body as it was.
func (f *front) note(r *http.Request) {
	f.seen.Add(1)
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	one := asked{path: r.URL.Path}
	var signed struct{ Payload string }
	if json.Unmarshal(body, &signed) == nil {
		text, _ := base64.RawURLEncoding.DecodeString(signed.Payload)
		_ = json.Unmarshal(text, &one.payload)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, one)
	if text, ok := one.payload["csr"].(string); ok {
		der, _ := base64.RawURLEncoding.DecodeString(text)
		f.csr, _ = x509.ParseCertificateRequest(der)
	}
}

func (f *front) modify(res *http.Response) error {
	f.mu.Lock()
	rewrite := f.rewrite
	f.mu.Unlock()
	if rewrite == nil && !f.mute || !strings.Contains(res.Header.Get("Content-Type"), "json") {
		return nil
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	var object map[string]any
	if json.Unmarshal(body, &object) == nil && object != nil {
		if meta, ok := object["meta"].(map[string]any); ok && f.mute && fmt.Sprint(meta["caaIdentities"]) == "["+pebbleName+"]" {
			delete(meta, "caaIdentities")
		}
		if rewrite != nil {
			rewrite(res.Request.URL.Path, object)
		}
		if body, err = json.Marshal(object); err != nil {
			return err
		}
	}
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	res.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

// set spoils the CA; nil makes it well.
func (f *front) set(bad fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = bad
}

func (f *front) setRewrite(change func(path string, object map[string]any)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rewrite = change
}

// setMeta changes what the directory says of itself.
func (f *front) setMeta(change func(meta map[string]any)) {
	f.setRewrite(func(path string, object map[string]any) {
		if path != f.at {
			return
		}
		meta, _ := object["meta"].(map[string]any)
		if meta == nil {
			meta = map[string]any{}
		}
		change(meta)
		object["meta"] = meta
	})
}

// well forgets all faults and requests.
func (f *front) well() {
	f.refuse.Store(false)
	f.set(nil)
	f.setRewrite(nil)
	f.seen.Store(0)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = nil
}

// down refuses all connections, those that are open too.
func (f *front) down() {
	f.refuse.Store(true)
	f.server.CloseClientConnections()
}

// sent gives the payloads that have a member of this name.
func (f *front) sent(member string) (list []map[string]any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.requests {
		if _, ok := r.payload[member]; ok {
			list = append(list, r.payload)
		}
	}
	return list
}

// redirect has the well-known place lead to the CA's own server.
func (f *front) redirect() {
	to := "https://localhost:" + f.base.Port() + f.at
	f.set(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/.well-known/acme" {
			http.Redirect(w, r, to, http.StatusFound)
			return true
		}
		return false
	})
}

// resolve gives each CA an address of its own, where only dial leads.
func (l *lab) resolve(_ context.Context, host string) ([]netip.Addr, error) {
	for i, f := range l.fronts {
		if host == f.issuer {
			return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)})}, nil
		}
	}
	if host == "localhost" {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (l *lab) dial(ctx context.Context, network, address string) (net.Conn, error) {
	l.mu.Lock()
	l.dials = append(l.dials, address)
	l.mu.Unlock()
	for i, f := range l.fronts {
		if address == fmt.Sprintf("127.0.1.%d:443", i+1) {
			address = f.server.Listener.Addr().String()
		}
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// dialled gives the addresses that were connected to so far, and forgets them.
func (l *lab) dialled() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.dials
	l.dials = nil
	return list
}

// settings are a client's, impatient, over the lab; change may say otherwise.
func (l *lab) settings(data string, change func(*settings.Settings)) *settings.Settings {
	l.t.Helper()
	s := settings.Default(nil)
	s.Data = filepath.Join(l.dir, data)
	s.DNS.Resolvers = []string{l.dns.Addr()}
	s.Discovery.Roots = l.roots()
	s.Discovery.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	s.Challenge.HTTP, s.Challenge.Webroot = "", l.webroot
	s.Retry.Attempts, s.Retry.Pause, s.Retry.PerCA = 2, "20ms", "10s"
	if change != nil {
		change(s)
	}
	if err := s.Check(); err != nil {
		l.t.Fatal(err)
	}
	return s
}

// patron is an open client with what it told.
type patron struct {
	*client.Client
	t    *testing.T
	mu   sync.Mutex
	told []notify.Message
	all  []enroll.Event
}

// Name and Send make the patron the journal of its messages.
func (d *patron) Name() string { return "journal" }

func (d *patron) Send(_ context.Context, m notify.Message) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.told = append(d.told, m)
	return nil
}

// messages gives what was told of a kind, sending what waits first.
func (d *patron) messages(kind string) (list []notify.Message) {
	d.t.Helper()
	if err := d.Outbox.Flush(d.t.Context()); err != nil {
		d.t.Error(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range d.told {
		if m.Data["kind"] == kind {
			list = append(list, m)
		}
	}
	return list
}

func (d *patron) events(kind enroll.EventKind) (list []enroll.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.all {
		if e.Kind == kind {
			list = append(list, e)
		}
	}
	return list
}

// opening is how a client differs from the usual one.
type opening struct {
	change func(*settings.Settings)
	ahead  time.Duration // of the clock
}

// open opens a client on a data directory, as a new process would.
func (l *lab) open(data string, o opening) *patron {
	l.t.Helper()
	d := &patron{t: l.t}
	c, err := client.Open(l.t.Context(), client.Options{
		Settings: l.settings(data, o.change), Dial: l.dial, Resolve: l.resolve, Journal: d,
		Now:      func() time.Time { return time.Now().Add(o.ahead) },
		Observer: func(e enroll.Event) { d.mu.Lock(); defer d.mu.Unlock(); d.all = append(d.all, e) },
	})
	if err != nil {
		l.t.Fatal(err)
	}
	d.Client = c
	l.t.Cleanup(func() { _ = c.Close(context.Background()) })
	return d
}

// get must come to a certificate; the outcome says from whom.
func (d *patron) get(t *testing.T, o enroll.Options, sheet vault.Sheet) enroll.Outcome {
	t.Helper()
	out, err := d.Engine.Get(t.Context(), sheet, o)
	if err != nil || out.Result != enroll.Issued {
		t.Fatalf("%v: %s: %v", sheet.Names, out.Result, err)
	}
	return out
}

// from gets a certificate and says which CA it must be from.
func (d *patron) from(t *testing.T, want *front, names ...string) enroll.Outcome {
	t.Helper()
	out := d.get(t, enroll.Options{Force: true}, vault.Sheet{Names: names})
	if out.Issued.Issuer != want.issuer {
		t.Errorf("%v: the certificate is from %s, want %s; %+v", names, out.Issued.Issuer, want.issuer, out.Attempts)
	}
	return out
}

// leaf is the certificate that is in the vault.
func (d *patron) leaf(t *testing.T, out enroll.Outcome) *x509.Certificate {
	t.Helper()
	b, err := d.Vault.CurrentBundle(out.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	return b.Chain[0]
}

// controller lets hooks set TXT records: PUT and DELETE /txt/NAME, as world's does.
func (l *lab) controller() string {
	l.t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /txt/{name}", func(_ http.ResponseWriter, r *http.Request) {
		value, _ := io.ReadAll(r.Body)
		if err := l.dns.Add(r.PathValue("name"), "TXT", string(value)); err != nil {
			l.t.Error(err)
		}
	})
	mux.HandleFunc("DELETE /txt/{name}", func(_ http.ResponseWriter, r *http.Request) { l.dns.Remove(r.PathValue("name"), "TXT") })
	s := listen(l.t, "127.0.0.1:0")
	serve(l.t, s, mux)
	return "http://" + s.Addr().String()
}

func itoa(n int) string { return strconv.Itoa(n) }
