package acmeserver_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/acmeserver"
	"chancery/internal/challenge"
	"chancery/internal/dnstest"
	"chancery/internal/nonce"
	"chancery/internal/resolver"
	"chancery/internal/sqldb"
	"chancery/internal/sqlstore"
	"chancery/internal/storetest"
)

// world is a whole ACME service on loopback, and a subscriber's web server, TLS
// server and zone that answer challenges.
type world struct {
	t      *testing.T
	server *acmeserver.Server
	config acmeserver.Config
	store  *sqlstore.Store
	base   string
	dns    *dnstest.Server
	ahead  atomic.Int64 // the clock's, in nanoseconds
	asked  atomic.Int64 // requests to the web server

	mu    sync.Mutex
	pages map[string]string // http-01: path to key authorisation
	certs map[string]*tls.Certificate
	gate  chan struct{} // when set, the web server answers after it is closed
	front *httptest.Server
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

func newWorld(t *testing.T, edit func(*acmeserver.Config)) *world {
	t.Helper()
	return newWorldOn(t, storetest.SQLite(t), edit)
}

func newWorldOn(t *testing.T, db *sqldb.DB, edit func(*acmeserver.Config)) *world {
	t.Helper()
	w := &world{t: t, pages: map[string]string{}, certs: map[string]*tls.Certificate{}}
	w.store = sqlstore.New(db)
	authority := storetest.Authority(t, w.store, &storetest.Keys{}, w.now)
	if err := authority.Found(context.Background(), storetest.Plan); err != nil {
		t.Fatal(err)
	}
	policy := challenge.AddressPolicy{AllowLoopback: true}
	w.config = acmeserver.Config{
		Authority: authority, Ledger: w.store, Accounts: w.store, Orders: w.store, Background: w.store,
		Validator: w.validator(policy), CheckAddress: policy.CheckIdentifier, Clock: w.now,
		Seen: nonce.NewSeen(nonce.SeenConfig{Clock: w.now}), Nonces: w.nonces(),
		Profiles: []string{"tls-server", "tls-client"}, Challenges: []string{"http-01", "dns-01", "tls-alpn-01"},
		MaxNames: 100, OrderLife: 7 * 24 * time.Hour, AuthzLife: 30 * 24 * time.Hour,
		Attempts: 1, AttemptPause: time.Millisecond,
	}
	if edit != nil {
		edit(&w.config)
	}
	front := httptest.NewUnstartedServer(nil)
	w.front = front
	w.base = "http://" + front.Listener.Addr().String()
	w.config.Base = w.base
	w.server = w.another()
	front.Config.Handler = w.server.Handler()
	front.Start()
	t.Cleanup(func() {
		front.Close()
		w.close(w.server)
	})
	return w
}

// another gives a server of its own over the same store, as another process.
func (w *world) another() *acmeserver.Server {
	w.t.Helper()
	s, err := acmeserver.New(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// close waits until the server's validations have stored what they found.
func (w *world) close(s *acmeserver.Server) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		w.t.Error(err)
	}
}

func (w *world) nonces() *nonce.Source {
	ring, err := nonce.NewRing([]nonce.Key{nonce.NewKey(w.now())})
	if err != nil {
		w.t.Fatal(err)
	}
	source, err := nonce.NewSource(nonce.Config{Purpose: "acme", Ring: ring, Clock: w.now})
	if err != nil {
		w.t.Fatal(err)
	}
	return source
}

// validator is the real one, whose ports are those of the subscriber's servers.
func (w *world) validator(policy challenge.AddressPolicy) *challenge.Validator {
	w.t.Helper()
	zone, err := dnstest.Start("127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(zone.Close)
	zone.Default(netip.MustParseAddr("127.0.0.1"))
	w.dns = zone
	look, err := resolver.New(resolver.Config{Servers: []string{zone.Addr()}})
	if err != nil {
		w.t.Fatal(err)
	}
	web := httptest.NewServer(http.HandlerFunc(w.page))
	w.t.Cleanup(web.Close)
	return challenge.New(challenge.Config{
		Resolver: look, Policy: policy, HTTPPort: portOf(web.Listener.Addr()), TLSPort: w.tlsServer(), Timeout: 30 * time.Second,
	})
}

func portOf(a net.Addr) uint16 { return netip.MustParseAddrPort(a.String()).Port() }

func (w *world) page(rw http.ResponseWriter, r *http.Request) {
	w.asked.Add(1)
	w.mu.Lock()
	text, gate := w.pages[r.URL.Path], w.gate
	w.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-r.Context().Done():
		}
	}
	if text == "" {
		http.NotFound(rw, r)
		return
	}
	rw.Write([]byte(text))
}

func (w *world) tlsServer() uint16 {
	w.t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		NextProtos: []string{acme.TLSALPNProtocol},
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.certs[h.ServerName], nil
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				conn.(*tls.Conn).Handshake()
			}()
		}
	}()
	return portOf(listener.Addr())
}

// hold makes the web server wait; the function lets it go on.
func (w *world) hold() (release func()) {
	gate := make(chan struct{})
	w.mu.Lock()
	w.gate = gate
	w.mu.Unlock()
	return sync.OnceFunc(func() {
		w.mu.Lock()
		w.gate = nil
		w.mu.Unlock()
		close(gate)
	})
}

// answer puts the proof of one challenge where it will be looked for.
func (w *world) answer(id acme.Identifier, c acme.Challenge, keyAuth string) error {
	switch c.Type {
	case acme.ChallengeHTTP01:
		w.mu.Lock()
		defer w.mu.Unlock()
		w.pages[acme.HTTP01Path(c.Token)] = keyAuth
	case acme.ChallengeDNS01:
		return w.dns.Add(acme.DNS01Name(id.Value), "TXT", acme.DNS01Value(keyAuth))
	case acme.ChallengeTLSALPN01:
		cert, err := acme.TLSALPNCertificate(id, keyAuth)
		if err != nil {
			return err
		}
		name, err := acme.TLSALPNServerName(id)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.certs[name] = &cert
		return err
	}
	return nil
}

// solver meets challenges of one type; none means http-01.
type solver struct {
	world *world
	typ   acme.ChallengeType
}

func (s solver) Types(acme.Identifier) []acme.ChallengeType {
	if s.typ == "" {
		return []acme.ChallengeType{acme.ChallengeHTTP01}
	}
	return []acme.ChallengeType{s.typ}
}

func (s solver) Present(_ context.Context, id acme.Identifier, c acme.Challenge, keyAuth string) error {
	return s.world.answer(id, c, keyAuth)
}

func (s solver) CleanUp(context.Context, acme.Identifier, acme.Challenge, string) error { return nil }

// client gives a registered client with a key of its own.
func (w *world) client() *acme.Client {
	w.t.Helper()
	c := &acme.Client{Directory: w.base + "/acme/directory", Key: certKey(w.t)}
	if _, err := c.Register(w.t.Context(), acme.Registration{}); err != nil {
		w.t.Fatal(err)
	}
	return c
}

func certKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func dnsNames(names ...string) (list []acme.Identifier) {
	for _, n := range names {
		list = append(list, acme.Identifier{Type: acme.IdentifierDNS, Value: n})
	}
	return list
}

// obtain gets a certificate by http-01.
func (w *world) obtain(c *acme.Client, names ...string) (*acme.Chain, *ecdsa.PrivateKey) {
	w.t.Helper()
	key := certKey(w.t)
	chain, err := c.Obtain(w.t.Context(), acme.ObtainRequest{Identifiers: dnsNames(names...), Key: key, Solver: solver{world: w}})
	if err != nil {
		w.t.Fatal(err)
	}
	return chain, key
}

// order makes an order and answers its challenges of the type, without telling.
func (w *world) order(c *acme.Client, names ...string) *acme.Order {
	w.t.Helper()
	o, err := c.NewOrder(w.t.Context(), acme.NewOrder{Identifiers: dnsNames(names...)})
	if err != nil {
		w.t.Fatal(err)
	}
	return o
}

// pick gives an authorisation of an order and its http-01 challenge.
func (w *world) pick(c *acme.Client, url string) (*acme.Authorization, acme.Challenge) {
	w.t.Helper()
	a, err := c.Authorization(w.t.Context(), url)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, ch := range a.Challenges {
		if ch.Type == acme.ChallengeHTTP01 {
			return a, ch
		}
	}
	w.t.Fatalf("%s has no http-01: %+v", a.Identifier.Value, a)
	return nil, acme.Challenge{}
}

// prove puts the proof for a challenge in its place.
func (w *world) prove(c *acme.Client, id acme.Identifier, ch acme.Challenge) {
	w.t.Helper()
	keyAuth, err := c.KeyAuthorization(ch.Token)
	if err == nil {
		err = w.answer(id, ch, keyAuth)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// ready makes an order whose names are proven.
func (w *world) ready(c *acme.Client, names ...string) *acme.Order {
	w.t.Helper()
	o := w.order(c, names...)
	for _, url := range o.Authorizations {
		a, ch := w.pick(c, url)
		w.prove(c, a.Identifier, ch)
		if _, err := c.Respond(w.t.Context(), ch); err != nil {
			w.t.Fatal(err)
		}
	}
	o, err := c.WaitOrder(w.t.Context(), o.URL)
	if err != nil || o.Status != acme.OrderReady {
		w.t.Fatalf("the order is %+v, %v; want it ready", o, err)
	}
	return o
}

// csr makes a request; names that are addresses become such.
func csr(t testing.TB, key crypto.Signer, commonName string, names ...string) []byte {
	t.Helper()
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: commonName}}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// refused checks that err is a problem of the type, with the words.
func refused(t testing.TB, err error, typ string, words ...string) {
	t.Helper()
	if !acme.HasType(err, typ) {
		t.Errorf("got %v; want a problem of type %s", err, typ)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the problem %q does not say %q", err, word)
		}
	}
}

// stored reads an authorisation past the server.
func (w *world) stored(url string) acmeserver.Authorization {
	w.t.Helper()
	list, err := w.store.Authorizations(context.Background(), []string{url[strings.LastIndexByte(url, '/')+1:]})
	if err != nil {
		w.t.Fatal(err)
	}
	return list[0]
}
