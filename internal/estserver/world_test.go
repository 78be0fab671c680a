package estserver_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chancery/cms"
	"chancery/est"
	"chancery/internal/anchors"
	"chancery/internal/ca"
	"chancery/internal/certtest"
	"chancery/internal/estserver"
	"chancery/internal/nonce"
	"chancery/internal/sqldb"
	"chancery/internal/sqlstore"
	"chancery/internal/storetest"
)

// world is a whole EST service on loopback over a real core and store, and a maker of
// devices with roots of its own.
type world struct {
	t         testing.TB
	db        *sqldb.DB
	store     *sqlstore.Store
	authority *ca.Authority
	config    estserver.Config
	server    *estserver.Server
	front     *httptest.Server
	keys      *storetest.Keys
	maker     *maker
	log       *locked
	ahead     atomic.Int64 // the clock's, in nanoseconds
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

// pass moves the clock.
func (w *world) pass(d time.Duration) { w.ahead.Add(int64(d)) }

var allOperations = []est.Operation{est.SimpleEnroll, est.SimpleReenroll}

// anyWay accepts what the default label does.
var anyWay = []estserver.Way{{estserver.ByCertificate}, {estserver.ByPassword}, {estserver.ByOneTime}}

// plainLabel is the service that most tests begin with.
func plainLabel() estserver.Label {
	return estserver.Label{Profile: "device", Operations: allOperations, Accept: anyWay, Names: []string{"own"}}
}

// beside lets a test run beside others: what worlds mostly do is wait for the disk.
// Sub-tests keep their order, since their tests look at what they left.
func beside(t testing.TB) {
	if top, ok := t.(*testing.T); ok && !strings.Contains(t.Name(), "/") {
		if _, again := running.LoadOrStore(top, true); !again {
			top.Parallel()
		}
	}
}

var running sync.Map // the tests that had their first world

// newWorld serves the labels; edit may change the rest.
func newWorld(t testing.TB, edit func(*estserver.Config), labels ...estserver.Label) *world {
	t.Helper()
	beside(t)
	w := &world{t: t, db: storetest.SQLite(t), keys: &storetest.Keys{}, maker: newMaker(t), log: &locked{}}
	w.store = sqlstore.New(w.db)
	w.authority = storetest.Authority(t, w.store, w.keys, w.now)
	if err := w.authority.Found(context.Background(), storetest.Plan); err != nil {
		t.Fatal(err)
	}
	set, err := anchors.New(anchors.Config{Name: "acme devices", Roots: []*x509.Certificate{w.maker.root}, Revocation: anchors.None})
	if err != nil {
		t.Fatal(err)
	}
	w.config = estserver.Config{
		Authority: w.authority, Ledger: w.store, Requests: w.store, Credentials: w.store, DeviceKeys: w.store, Passphrases: w.store, Certificates: w.store,
		Labels: labels, Makers: map[string]estserver.Maker{"acme": set}, Realm: "devices", Nonces: w.nonces(), Seals: storetest.Seals{},
		Clock: w.now, Logger: slog.New(slog.NewTextHandler(w.log, nil)),
	}
	if edit != nil {
		edit(&w.config)
	}
	w.server = w.another()
	w.front = w.serve(w.server.Handler())
	return w
}

// another gives a server of its own over the same store, as another process.
func (w *world) another() *estserver.Server {
	w.t.Helper()
	w.config.Deliveries = estserver.NewDeliveries(estserver.DeliveriesConfig{
		Store: w.store, Ledger: w.store, Authority: w.authority, Clock: w.now, Logger: w.config.Logger,
	})
	s, err := estserver.New(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) nonces() *nonce.Source {
	ring, err := nonce.NewRing([]nonce.Key{nonce.NewKey(w.now())})
	if err != nil {
		w.t.Fatal(err)
	}
	source, err := nonce.NewSource(nonce.Config{Purpose: "est", Ring: ring, Clock: w.now})
	if err != nil {
		w.t.Fatal(err)
	}
	return source
}

// serve puts a handler behind TLS as the daemon does: a certificate is requested of
// everybody and verified by nobody.
func (w *world) serve(h http.Handler) *httptest.Server {
	w.t.Helper()
	front := httptest.NewUnstartedServer(h)
	front.EnableHTTP2 = true
	front.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	front.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12, DynamicRecordSizingDisabled: true}
	front.StartTLS()
	w.t.Cleanup(front.Close)
	return front
}

// holder is a key with a certificate for it.
type holder struct {
	key  crypto.Signer
	cert *x509.Certificate
	more [][]byte // sent along
}

func (h *holder) tls() tls.Certificate {
	return tls.Certificate{Certificate: append([][]byte{h.cert.Raw}, h.more...), PrivateKey: h.key, Leaf: h.cert}
}

// certify has the core issue a certificate as an administrator would.
func (w *world) certify(profile string, subject ca.Subject, names ...string) *holder {
	w.t.Helper()
	key := certtest.Key(w.t)
	req := ca.Request{ID: "test:" + ca.NewID(), By: ca.Principal{Room: "admin", ID: "test"}, Key: key.Public(), Subject: subject, Profile: profile}
	for _, n := range names {
		id, err := ca.ParseIdentifier("dns", n)
		if err != nil {
			w.t.Fatal(err)
		}
		req.Names = append(req.Names, id)
		req.Evidence = append(req.Evidence, ca.Evidence{Identifier: id, Method: "approval", At: w.now(), Expires: w.now().Add(time.Hour)})
	}
	record, err := w.authority.Issue(w.t.Context(), req)
	if err != nil {
		w.t.Fatal(err)
	}
	return &holder{key: key, cert: parse(w.t, record.DER)}
}

func parse(t testing.TB, der []byte) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// maker is a third party that makes devices.
type maker struct {
	root *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newMaker(t testing.TB) *maker {
	t.Helper()
	m := &maker{key: certtest.Key(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Acme Device Root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(20 * 365 * 24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, m.key.Public(), m.key)
	if err != nil {
		t.Fatal(err)
	}
	m.root = parse(t, der)
	return m
}

// device makes a device with a certificate for life.
func (m *maker) device(t *testing.T, subject pkix.Name, edit func(*x509.Certificate)) *holder {
	t.Helper()
	key := certtest.Key(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: subject, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	if edit != nil {
		edit(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, m.root, key.Public(), m.key)
	if err != nil {
		t.Fatal(err)
	}
	return &holder{key: key, cert: parse(t, der)}
}

// client is who asks. Each has one connection after another.
type client struct {
	w           *world
	front       *httptest.Server // nil: the world's
	holder      *holder
	login       string // the Authorization field
	maxTLS      uint16
	sessions    tls.ClientSessionCache
	header      http.Header
	noAgent     bool
	lastSession tls.ConnectionState
}

func (w *world) client(h *holder) *client { return &client{w: w, holder: h} }

// basic gives a client with a password.
func (w *world) basic(user, password string) *client {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return &client{w: w, login: r.Header.Get("Authorization")}
}

// dial opens a connection.
func (c *client) dial() *tls.Conn {
	c.w.t.Helper()
	front := c.front
	if front == nil {
		front = c.w.front
	}
	roots := x509.NewCertPool()
	roots.AddCert(front.Certificate())
	config := &tls.Config{RootCAs: roots, ServerName: "example.com", MaxVersion: c.maxTLS, ClientSessionCache: c.sessions, NextProtos: []string{"http/1.1"}}
	if c.holder != nil {
		config.Certificates = []tls.Certificate{c.holder.tls()}
	}
	conn, err := tls.Dial("tcp", front.Listener.Addr().String(), config)
	if err != nil {
		c.w.t.Fatal(err)
	}
	c.lastSession = conn.ConnectionState()
	return conn
}

// reply is an answer as it came.
type reply struct {
	*http.Response
	body []byte
	head string // the header, octet by octet
}

func (r *reply) words() string { return string(r.body) }

// send makes a request on a connection of its own; body may need to know that.
func (c *client) send(method, path string, body func(tls.ConnectionState) []byte) *reply {
	c.w.t.Helper()
	conn := c.dial()
	defer conn.Close()
	var content []byte
	if body != nil {
		content = body(c.lastSession)
	}
	return c.sendOn(conn, method, path, content)
}

func (c *client) sendOn(conn net.Conn, method, path string, content []byte) *reply {
	c.w.t.Helper()
	conn.SetDeadline(time.Now().Add(time.Minute))
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s %s HTTP/1.1\r\nHost: example.com\r\nContent-Length: %d\r\n", method, path, len(content))
	if !c.noAgent {
		out.WriteString("User-Agent: test\r\n")
	}
	if c.login != "" {
		fmt.Fprintf(&out, "Authorization: %s\r\n", c.login)
	}
	if method == http.MethodPost && c.header.Get("Content-Type") == "" {
		out.WriteString("Content-Type: application/pkcs10\r\n")
	}
	c.header.Write(&out)
	out.WriteString("\r\n")
	out.Write(content)
	if _, err := conn.Write(out.Bytes()); err != nil {
		c.w.t.Fatal(err)
	}
	return readReply(c.w.t, conn, method)
}

func readReply(t testing.TB, conn net.Conn, method string) *reply {
	t.Helper()
	var raw bytes.Buffer
	in := bufio.NewReader(io.TeeReader(conn, &raw))
	res, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(raw.String(), "\r\n\r\n")
	return &reply{Response: res, body: body, head: head}
}

const root = "/.well-known/est/"

// post sends a request that is no different on any connection.
func (c *client) post(path string, der []byte) *reply {
	c.w.t.Helper()
	return c.send(http.MethodPost, root+path, func(tls.ConnectionState) []byte { return est.Encode(der, est.Wrapped) })
}

func (c *client) get(path string) *reply {
	c.w.t.Helper()
	return c.send(http.MethodGet, root+path, nil)
}

// wish is what a request asks for.
type wish struct {
	est.Request
	key crypto.Signer // nil: a new one
}

// asking gives a wish by common name and host names.
func asking(cn string, names ...string) wish {
	w := wish{Request: est.Request{SubjectName: pkix.Name{CommonName: cn}}}
	w.DNSNames = names
	return w
}

// like asks for what a certificate has.
func like(h *holder) wish {
	w := wish{Request: est.Request{Subject: h.cert.RawSubject}, key: h.key}
	for _, e := range h.cert.Extensions {
		if e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
			w.RawSAN = e.Value
		}
	}
	return w
}

func (w wish) with(a ...cms.Attribute) wish {
	w.Attributes = append(slices.Clone(w.Attributes), a...)
	return w
}

// keyed gives the wish the same key however often it is made.
func (w wish) keyed(t testing.TB) wish {
	w.key = certtest.Key(t)
	return w
}

func (w wish) der(t testing.TB) []byte {
	t.Helper()
	key := w.key
	if key == nil {
		key = certtest.Key(t)
	}
	der, err := w.Sign(key, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// granted checks that an answer is exactly one certificate, and gives it.
func granted(t testing.TB, r *reply) *x509.Certificate {
	t.Helper()
	if r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", r.Status, r.words())
	}
	der, err := est.Decode(r.body, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	bag, err := cms.ParseBag(der)
	if err != nil || len(bag.Certificates) != 1 {
		t.Fatalf("%d certificates, %v", len(bag.Certificates), err)
	}
	return parse(t, bag.Certificates[0])
}

// refused checks an error's status and words.
func refused(t testing.TB, r *reply, status int, words ...string) {
	t.Helper()
	if r.StatusCode != status {
		t.Errorf("got %s, want %d: %s", r.Status, status, r.words())
		return
	}
	if status == http.StatusUnauthorized {
		if len(r.body) > 0 || !strings.Contains(r.head, "\r\nWWW-Authenticate: ") {
			t.Errorf("a 401 with body %q and header\n%s", r.body, r.head)
		}
		return
	}
	if got := r.Header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
		t.Errorf("an error of type %q", got)
	}
	for _, word := range words {
		if !strings.Contains(r.words(), word) {
			t.Errorf("the refusal %q does not say %q", r.words(), word)
		}
	}
}

// standing adds a user with a password.
func (w *world) standing(user, password string, names ...string) estserver.Credential {
	w.t.Helper()
	return w.add(estserver.Credential{User: user, Hash: estserver.HashPassword(password), Names: names,
		HA1: estserver.DigestHA1(user, w.config.Realm, password), Realm: w.config.Realm})
}

// oneTime adds a one-time password.
func (w *world) oneTime(user, password string, names ...string) estserver.Credential {
	w.t.Helper()
	return w.add(estserver.Credential{User: user, OneTime: true, Digest: estserver.OneTimeDigest(password), Names: names,
		HA1: estserver.DigestHA1(user, w.config.Realm, password), Realm: w.config.Realm, Expires: w.now().Add(24 * time.Hour)})
}

func (w *world) add(k estserver.Credential) estserver.Credential {
	w.t.Helper()
	k.ID, k.Created = ca.NewID(), w.now()
	e := ca.Principal{Room: "admin", ID: "test"}.Event(w.now(), "est.credential.added", k.ID)
	if err := w.store.AddCredential(context.Background(), k, e); err != nil {
		w.t.Fatal(err)
	}
	return k
}

// record gives what the ledger has of a certificate.
func (w *world) record(cert *x509.Certificate) ca.Record {
	w.t.Helper()
	r, err := w.store.BySerial(context.Background(), ca.SerialOf(cert.SerialNumber))
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) revoke(cert *x509.Certificate) {
	w.t.Helper()
	_, err := w.authority.Revoke(context.Background(), ca.Revocation{Serial: ca.SerialOf(cert.SerialNumber), Reason: ca.CessationOfOperation,
		By: ca.Principal{Room: "admin", ID: "test"}, At: w.now()})
	if err != nil {
		w.t.Fatal(err)
	}
}

// detail gives what the event of a certificate's intent says.
func (w *world) detail(cert *x509.Certificate) map[string]string {
	w.t.Helper()
	all := w.details("certificate.intended", string(ca.SerialOf(cert.SerialNumber)))
	if len(all) != 1 {
		w.t.Fatalf("%d events", len(all))
	}
	return all[0]
}

// happened tells how many events are of a kind.
func (w *world) happened(kind string) (n int) {
	w.t.Helper()
	if err := w.db.One(context.Background(), `SELECT COUNT(*) FROM events WHERE kind = $1`, []any{kind}, &n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// details gives what the events of a kind about a thing say.
func (w *world) details(kind, subject string) (all []map[string]string) {
	w.t.Helper()
	err := w.db.Query(context.Background(), `SELECT detail FROM events WHERE subject = $1 AND kind = $2`, []any{subject, kind}, func(row sqldb.Row) error {
		var text string
		if err := row.Scan(&text); err != nil {
			return err
		}
		detail := map[string]string{}
		if text == "" {
			text = "{}"
		}
		err := json.Unmarshal([]byte(text), &detail)
		all = append(all, detail)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// issued counts certificates.
func (w *world) issued() int {
	w.t.Helper()
	records, _, err := w.store.List(context.Background(), ca.Query{Now: w.now(), Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	return len(records)
}

// locked keeps what several connections log.
type locked struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *locked) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Reset()
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
