package daemon_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/admin"
	"chancery/internal/config"
	"chancery/internal/daemon"
	"chancery/internal/desk"
	"chancery/internal/dnstest"
	"chancery/internal/peertest"
	"chancery/internal/porttest"
	"chancery/internal/sqldb"
	"chancery/internal/sqlstore"

	"golang.org/x/crypto/ocsp"
)

// The names are loopback's, as the site is there.
const (
	baseURL   = "https://ca.localhost"
	statusURL = "http://status.localhost"
	// long is how long something is waited for that must happen.
	long = 30 * time.Second
)

// engines runs a test on SQLite and on PostgreSQL, both at once. The URL is ""
// for SQLite: the file in the data directory.
func engines(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("sqlite", func(t *testing.T) { t.Parallel(); test(t, "") })
	t.Run("postgres", func(t *testing.T) { t.Parallel(); test(t, peertest.Postgres(t)) })
}

// within gives a context that ends in time for the test to say what it waited for.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// until polls, and fails the test when what is wanted does not come.
func until(t testing.TB, what string, ready func() bool) {
	t.Helper()
	for deadline := time.Now().Add(long); !ready(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain for: %s", long, what)
		}
	}
}

// site is the subscriber's side: a web server for http-01 and a zone in which
// every name has the web server's address.
type site struct {
	port  int
	zone  *dnstest.Server
	asked atomic.Int64 // requests for proofs
	mu    sync.Mutex
	pages map[string]string
	gate  chan struct{} // when set, proofs are given after it is closed
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{pages: map[string]string{}}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	s.port = web.Listener.Addr().(*net.TCPAddr).Port
	zone, err := dnstest.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(zone.Close)
	zone.Default(netip.MustParseAddr("127.0.0.1"))
	s.zone = zone
	return s
}

// ServeHTTP implements [http.Handler].
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	text, gate := s.pages[r.URL.Path], s.gate
	s.mu.Unlock()
	s.asked.Add(1)
	if gate != nil {
		select {
		case <-gate:
		case <-r.Context().Done():
		}
	}
	if text == "" {
		http.NotFound(w, r)
		return
	}
	io.WriteString(w, text)
}

// hold makes the web server wait until release is called.
func (s *site) hold() (release func()) {
	gate := make(chan struct{})
	s.mu.Lock()
	s.gate = gate
	s.mu.Unlock()
	return sync.OnceFunc(func() {
		s.mu.Lock()
		s.gate = nil
		s.mu.Unlock()
		close(gate)
	})
}

// Types implements [acme.Solver].
func (s *site) Types(acme.Identifier) []acme.ChallengeType {
	return []acme.ChallengeType{acme.ChallengeHTTP01}
}

// Present implements [acme.Solver].
func (s *site) Present(_ context.Context, _ acme.Identifier, c acme.Challenge, keyAuth string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages[acme.HTTP01Path(c.Token)] = keyAuth
	return nil
}

// CleanUp implements [acme.Solver]. Proofs stay, so that a test may repeat itself.
func (s *site) CleanUp(context.Context, acme.Identifier, acme.Challenge, string) error { return nil }

// dataDir is short, as the path of a Unix socket must be.
func dataDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "chancery-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func freeAddress(t testing.TB) string { t.Helper(); return porttest.Address(t) }

// plan is a server with data of its own, that goes to the site to validate.
func plan(t testing.TB, s *site, url string) setup {
	return setup{
		Data: dataDir(t), Database: url, Public: porttest.Address(t), Base: baseURL, Status: statusURL,
		Resolver: s.zone.Addr(), HTTPPort: s.port,
	}
}

// server is a running daemon, in this process or in one of its own.
type server struct {
	setup
	t      testing.TB
	daemon *daemon.Daemon
	child  *exec.Cmd
	dead   chan struct{} // closed when the child has ended
	log    *record
	roots  *x509.CertPool
	faults *atomic.Int64 // answers of 500 and above to http's clients
}

// record keeps a log, to be shown when a test fails.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements [io.Writer].
func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

// String gives what was written.
func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// start runs a daemon in this process until the test ends.
func start(t testing.TB, p setup) *server {
	t.Helper()
	return startWith(t, p, p.config())
}

// startWith is start with more in the configuration than a plan says.
func startWith(t testing.TB, p setup, c *config.Config) *server {
	t.Helper()
	s := &server{setup: p, t: t, log: &record{}, roots: x509.NewCertPool(), faults: &atomic.Int64{}}
	d, err := daemon.Start(context.Background(), daemon.Options{Config: c, Logger: slog.New(slog.NewTextHandler(s.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s.daemon = d
	for _, root := range d.Roots() {
		s.roots.AddCert(root)
	}
	t.Cleanup(func() {
		s.close()
		if t.Failed() {
			t.Logf("the server's log:\n%s", s.log)
		}
	})
	return s
}

// close stops the daemon; twice does no harm.
func (s *server) close() {
	s.t.Helper()
	if err := s.daemon.Close(within(s.t, 10*time.Second)); err != nil {
		s.t.Error("close:", err)
	}
}

// launch runs a daemon in a process of its own, with more in its environment.
// It gives nil if the process died before it was ready.
func launch(t testing.TB, p setup, environment ...string) *server {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{setup: p, t: t, log: &record{}, dead: make(chan struct{}), faults: &atomic.Int64{}}
	s.child = exec.Command(os.Args[0])
	s.child.Env = append(append(os.Environ(), serveVariable+"="+string(text)), environment...)
	s.child.Stderr = s.log
	s.child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := s.child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	first, _ := bufio.NewReader(out).ReadString('\n')
	go func() { s.child.Wait(); close(s.dead) }()
	if first != "ready\n" {
		<-s.dead
		s.log.Write([]byte(first))
		return s.stillborn()
	}
	s.trust()
	return s
}

// stillborn tells a child that was killed from one that refused to start.
func (s *server) stillborn() *server {
	s.t.Helper()
	status, ok := s.child.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || status.Signal() != syscall.SIGKILL {
		s.t.Fatalf("the server does not start: %s\n%s", s.child.ProcessState, s.log)
	}
	return nil
}

// kill is SIGKILL; what is dead already stays so.
func (s *server) kill() {
	s.child.Process.Kill()
	<-s.dead
}

// trust asks the server over its socket for the roots, as an administrator does.
func (s *server) trust() {
	s.t.Helper()
	s.roots = x509.NewCertPool()
	found, err := ask[struct{}, desk.Roots](s, "ca.roots", struct{}{})
	if err != nil {
		// The next crash point may be in whatever the server does first.
		select {
		case <-s.dead:
			return
		case <-time.After(time.Second):
			s.t.Fatal(err)
		}
	}
	for _, root := range found.Roots {
		s.roots.AppendCertsFromPEM([]byte(root.PEM))
	}
}

// ask does an administrator's operation.
func ask[In, Out any](s *server, name string, in In) (Out, error) {
	c := admin.Dial(admin.SocketPath(s.Data))
	defer c.Close()
	return admin.Call[In, Out](within(s.t, long), c, name, in)
}

// must gives the result of what may not fail.
func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// http gives a client all of whose requests go to this server, whatever host
// their URLs name, as a balancer sends them.
func (s *server) http() *http.Client {
	return &http.Client{Timeout: long, Transport: counting{s.faults, &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", s.Public)
		},
		TLSClientConfig: &tls.Config{RootCAs: s.roots}, MaxIdleConnsPerHost: 128,
	}}}
}

// counting counts the answers that no client must ever see.
type counting struct {
	faults *atomic.Int64
	next   http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := c.next.RoundTrip(r)
	if err == nil && res.StatusCode >= 500 {
		c.faults.Add(1)
	}
	return res, err
}

// at gives a client for an account, which may be at home at another server.
func (s *server) at(account *acme.Client) *acme.Client {
	return &acme.Client{Directory: s.Base + "/acme/directory", HTTP: s.http(), Key: account.Key, AccountURL: account.AccountURL}
}

// stranger gives a client with a new key and no account.
func (s *server) stranger() *acme.Client { return s.at(&acme.Client{Key: newKey(s.t)}) }

// client gives a client with an account.
func (s *server) client() *acme.Client {
	s.t.Helper()
	c := s.stranger()
	if _, err := c.Register(within(s.t, long), acme.Registration{}); err != nil {
		s.t.Fatal(err)
	}
	return c
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	return must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
}

func dnsNames(names ...string) (list []acme.Identifier) {
	for _, n := range names {
		list = append(list, acme.Identifier{Type: acme.IdentifierDNS, Value: n})
	}
	return list
}

// obtain gets a certificate by http-01.
func (s *site) obtain(ctx context.Context, c *acme.Client, key *ecdsa.PrivateKey, names ...string) (*acme.Chain, error) {
	return c.Obtain(ctx, acme.ObtainRequest{Identifiers: dnsNames(names...), Key: key, Solver: s})
}

// order makes an order of one name and puts the proof in its place, without
// telling the server.
func (s *site) order(ctx context.Context, c *acme.Client, name string) (*acme.Order, acme.Challenge, error) {
	o, err := c.NewOrder(ctx, acme.NewOrder{Identifiers: dnsNames(name)})
	if err != nil {
		return nil, acme.Challenge{}, err
	}
	a, err := c.Authorization(ctx, o.Authorizations[0])
	if err != nil {
		return nil, acme.Challenge{}, err
	}
	for _, ch := range a.Challenges {
		if ch.Type == acme.ChallengeHTTP01 {
			text, err := c.KeyAuthorization(ch.Token)
			if err == nil {
				err = s.Present(ctx, a.Identifier, ch, text)
			}
			return o, ch, err
		}
	}
	return nil, acme.Challenge{}, &acme.AuthorizationError{Authorization: a}
}

// ready makes an order whose name is proven.
func (s *site) ready(t testing.TB, c *acme.Client, name string) *acme.Order {
	t.Helper()
	ctx := within(t, long)
	o, ch, err := s.order(ctx, c, name)
	if err == nil {
		_, err = c.Respond(ctx, ch)
	}
	if err == nil {
		o, err = c.WaitOrder(ctx, o.URL)
	}
	if err != nil || o.Status != acme.OrderReady {
		t.Fatalf("the order for %s is not ready: %+v, %v", name, o, err)
	}
	return o
}

func csrFor(t testing.TB, key *ecdsa.PrivateKey, names ...string) []byte {
	t.Helper()
	return must[[]byte](t)(acme.NewCSR(key, dnsNames(names...)))
}

// ocsp asks the server for the status of a chain's leaf, and gives it checked
// against the issuer.
func (s *server) ocsp(chain *acme.Chain) (int, error) {
	leaf, issuer := chain.Certificates[0], chain.Certificates[1]
	question, err := ocsp.CreateRequest(leaf, issuer, nil)
	if err != nil {
		return 0, err
	}
	res, err := s.http().Post(statusURL+"/ocsp", "application/ocsp-request", bytes.NewReader(question))
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	answer, err := ocsp.ParseResponseForCert(body, leaf, issuer)
	if err != nil {
		return 0, err
	}
	return answer.Status, nil
}

// store opens the data of a server that does not run, or PostgreSQL's.
func (p setup) store(t testing.TB) (*sqldb.DB, *sqlstore.Store) {
	t.Helper()
	url := p.Database
	if url == "" {
		url = "sqlite:" + filepath.Join(p.Data, "chancery.db")
	}
	db := must[*sqldb.DB](t)(sqldb.Open(context.Background(), sqldb.Config{URL: url}))
	return db, sqlstore.New(db)
}

// number gives the one number that a query finds.
func number(t testing.TB, db *sqldb.DB, query string, args ...any) int {
	t.Helper()
	var n int
	if err := db.One(context.Background(), query, args, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// alter changes rows behind the server's back: time that is not waited for.
func alter(t testing.TB, db *sqldb.DB, statement string) {
	t.Helper()
	if err := db.Batch(context.Background(), sqldb.Statement{SQL: statement, Want: sqldb.AnyRows}); err != nil {
		t.Fatal(err)
	}
}

// verifies checks that a leaf has a way, by the certificates of its chains, to
// one of the roots.
func (s *server) verifies(chain *acme.Chain, roots *x509.CertPool, more ...*acme.Chain) {
	s.t.Helper()
	above := x509.NewCertPool()
	for _, one := range append(more, chain) {
		for _, cert := range one.Certificates[1:] {
			above.AddCert(cert)
		}
	}
	if _, err := chain.Certificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: above}); err != nil {
		s.t.Errorf("%v: %v", chain.Certificates[0].DNSNames, err)
	}
}

// nonce gets a new one.
func (s *server) nonce() string {
	s.t.Helper()
	res, err := s.http().Head(baseURL + "/acme/new-nonce")
	if err != nil {
		s.t.Fatal(err)
	}
	res.Body.Close()
	return res.Header.Get("Replay-Nonce")
}

// posting is one signed request, made by hand.
type posting struct {
	url     string
	client  *acme.Client // whose key signs
	embed   bool         // the key itself instead of the account's URL
	nonce   string
	payload any
}

// post sends it as it is, without the client's patience with nonces. It gives
// the status code and, of a refusal, the problem.
func (s *server) post(p posting) (int, *acme.Problem) {
	s.t.Helper()
	header := acme.Header{URL: p.url, Nonce: p.nonce, KeyID: p.client.AccountURL}
	if p.embed {
		header.KeyID = ""
	}
	payload, ok := p.payload.([]byte)
	if !ok {
		payload = must[[]byte](s.t)(json.Marshal(p.payload))
	}
	body := must[[]byte](s.t)(acme.Sign(p.client.Key, header, payload))
	res, err := s.http().Post(p.url, acme.JOSEMediaType, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode < 400 {
		return res.StatusCode, nil
	}
	problem := &acme.Problem{}
	if err := json.NewDecoder(res.Body).Decode(problem); err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, problem
}
