package acmeserver_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/acmeserver"
	"chancery/internal/challenge"
	"chancery/internal/keys"
	"chancery/internal/nonce"
	"chancery/internal/registry"
	"chancery/internal/sqldb"
	"chancery/internal/sqlstore"
	"chancery/internal/storetest"
)

// desk is a server with what stands behind it, all of it real. A second server
// over the same database is made by beside.
type desk struct {
	t        testing.TB
	db       *sqldb.DB
	ring     *nonce.Ring
	registry *registry.Registry
	config   acmeserver.Config
	url      string // where it listens; also its base unless it is a second one
	log      *bytes.Buffer
	server   *acmeserver.Server
}

// newDesk starts a server; change may alter its configuration.
func newDesk(t testing.TB, change func(*acmeserver.Config)) *desk {
	t.Helper()
	d := &desk{t: t, db: storetest.SQLite(t), log: &bytes.Buffer{}}
	var err error
	if d.ring, err = nonce.NewRing([]nonce.Key{nonce.NewKey(time.Now())}); err != nil {
		t.Fatal(err)
	}
	store := sqlstore.New(d.db)
	safe, err := keys.Open(keys.Config{Dir: t.TempDir() + "/keys"})
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := safe.Sealer(context.Background(), "registry")
	if err != nil {
		t.Fatal(err)
	}
	if d.registry, err = registry.New(registry.Config{Store: store, Sealer: sealer, Clock: time.Now}); err != nil {
		t.Fatal(err)
	}
	d.config = acmeserver.Config{
		Authority: storetest.Authority(t, store, &storetest.Keys{}, nil), Ledger: store,
		Accounts: store, Orders: store, Background: store, Registry: d.registry,
		Validator: &challenge.Validator{}, CheckAddress: func(netip.Addr) error { return nil },
		Clock: time.Now, Logger: slog.New(slog.NewTextHandler(d.log, nil)),
		Profiles: []string{"tls-server"}, Challenges: []string{"http-01"},
		MaxNames: 100, OrderLife: time.Hour, AuthzLife: time.Hour, Attempts: 3, AttemptPause: time.Second,
	}
	if change != nil {
		change(&d.config)
	}
	d.start()
	return d
}

// start makes the server and has it listen; the memory of spent nonces and the
// source of new ones are its own.
func (d *desk) start() {
	d.t.Helper()
	listener := httptest.NewUnstartedServer(nil)
	d.url = "http://" + listener.Listener.Addr().String()
	if d.config.Base == "" {
		d.config.Base = d.url
	}
	d.config.Nonces = d.source(time.Now)
	d.config.Seen = nonce.NewSeen(nonce.SeenConfig{})
	var err error
	if d.server, err = acmeserver.New(d.config); err != nil {
		d.t.Fatal(err)
	}
	listener.Config.Handler = d.server.Handler()
	listener.Start()
	d.t.Cleanup(listener.Close)
}

// source gives another source of nonces under the same keys.
func (d *desk) source(clock func() time.Time) *nonce.Source {
	d.t.Helper()
	s, err := nonce.NewSource(nonce.Config{Purpose: "acme", Ring: d.ring, Clock: clock})
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

// beside starts a second server over the same database, with the same base.
func (d *desk) beside() *desk {
	second := *d
	second.start()
	return &second
}

func (d *desk) base() string { return d.config.Base }

// drawKey draws a P-256 key.
func drawKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// client gives a client with a registered account.
func (d *desk) client(reg acme.Registration) *acme.Client {
	d.t.Helper()
	c := d.stranger()
	if _, err := c.Register(context.Background(), reg); err != nil {
		d.t.Fatal(err)
	}
	return c
}

// stranger gives a client without an account.
func (d *desk) stranger() *acme.Client {
	return &acme.Client{Directory: d.base() + "/acme/directory", Key: drawKey(d.t)}
}

// reply is an answer, read completely.
type reply struct {
	*http.Response
	body    []byte
	problem acme.Problem
}

// do sends a request to this server, whatever URL it was signed for.
func (d *desk) do(method, path, contentType string, body []byte) *reply {
	d.t.Helper()
	req, err := http.NewRequest(method, d.url+path, bytes.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	r := &reply{Response: res}
	if r.body, err = io.ReadAll(res.Body); err != nil {
		d.t.Fatal(err)
	}
	if res.Header.Get("Content-Type") == acme.ProblemMediaType && method != http.MethodHead {
		if err := json.Unmarshal(r.body, &r.problem); err != nil {
			d.t.Fatalf("%v in %s", err, r.body)
		}
	}
	return r
}

// post sends a body as ACME wants it.
func (d *desk) post(path string, body []byte) *reply {
	d.t.Helper()
	return d.do(http.MethodPost, path, acme.JOSEMediaType, body)
}

// signed signs a payload for a path of this server; header fields that are empty
// are filled in, except the account.
func (d *desk) signed(key crypto.Signer, path string, h acme.Header, payload string) []byte {
	d.t.Helper()
	if h.Nonce == "" {
		h.Nonce = d.config.Nonces.Mint()
	}
	if h.URL == "" {
		h.URL = d.base() + path
	}
	body, err := acme.Sign(key, h, []byte(payload))
	if err != nil {
		d.t.Fatal(err)
	}
	return body
}

// raw signs with ES256 whatever the protected header says.
func raw(t testing.TB, key *ecdsa.PrivateKey, protected map[string]any, payload string) []byte {
	t.Helper()
	head, err := json.Marshal(protected)
	if err != nil {
		t.Fatal(err)
	}
	jws := map[string]string{"protected": b64(head), "payload": b64([]byte(payload))}
	sum := sha256.Sum256([]byte(jws["protected"] + "." + jws["payload"]))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	jws["signature"] = b64(signature)
	body, err := json.Marshal(jws)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwk gives a key's public part as a raw JWK.
func jwk(t testing.TB, key crypto.Signer) json.RawMessage {
	t.Helper()
	k, err := acme.NewKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	text, err := k.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// wants checks a refusal: status, type, and what every refusal of a POST has.
func (r *reply) wants(t testing.TB, status int, typ string) {
	t.Helper()
	if r.StatusCode != status || r.problem.Type != typ {
		t.Errorf("got %d %s; want %d %s", r.StatusCode, r.body, status, typ)
	}
	if r.problem.Status != r.StatusCode || r.problem.Detail == "" {
		t.Errorf("the problem %s has no detail, or another status than %d", r.body, r.StatusCode)
	}
	if r.Request.Method == http.MethodPost {
		r.wantsHeader(t)
	}
}

// wantsHeader checks what every answer to a POST has.
func (r *reply) wantsHeader(t testing.TB) {
	t.Helper()
	if !acme.ValidToken(r.Header.Get("Replay-Nonce")) {
		t.Errorf("Replay-Nonce is %q", r.Header.Get("Replay-Nonce"))
	}
	if links := r.Header.Values("Link"); len(links) == 0 || !strings.HasSuffix(links[0], `/acme/directory>;rel="index"`) {
		t.Errorf("Link is %q", links)
	}
	if got := r.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control is %q", got)
	}
	if got := r.Header.Get("Access-Control-Allow-Origin"); got != "*" {
		t.Errorf("Access-Control-Allow-Origin is %q", got)
	}
}

func decode(text string) ([]byte, error) { return base64.RawURLEncoding.DecodeString(text) }
