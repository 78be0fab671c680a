package status_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"chancery/internal/ca"
	"chancery/internal/sqldb"
	"chancery/internal/sqlstore"
	"chancery/internal/status"
	"chancery/internal/storetest"

	"golang.org/x/crypto/ocsp"
)

// clock is moved by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// line is the storage as the core sees it, which a test can cut.
type line struct {
	*sqlstore.Store
	mu   sync.Mutex
	cut  error
	bys  int // how often BySerial was asked
	left int // so many more answers, if then is set
	then error
	jam  chan struct{} // when set, BySerial answers after it is closed
}

// after cuts the line when the ledger was asked n more times.
func (l *line) after(n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left, l.then = n, err
}

// block makes the ledger wait until release is called.
func (l *line) block() (release func()) {
	jam := make(chan struct{})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.jam = jam
	return sync.OnceFunc(func() { close(jam) })
}

func (l *line) set(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = err
}

func (l *line) looks() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bys
}

func (l *line) BySerial(ctx context.Context, serial ca.Serial) (ca.Record, error) {
	l.mu.Lock()
	err, jam := l.cut, l.jam
	if l.left--; l.then != nil && l.left < 0 {
		err = l.then
	}
	l.bys++
	l.mu.Unlock()
	if jam != nil {
		select {
		case <-jam:
		case <-ctx.Done():
			return ca.Record{}, ctx.Err()
		}
	}
	if err != nil {
		return ca.Record{}, err
	}
	return l.Store.BySerial(ctx, serial)
}

func (l *line) CRL(ctx context.Context, issuer string, shard int) (ca.CRLRecord, error) {
	l.mu.Lock()
	err := l.cut
	l.mu.Unlock()
	if err != nil {
		return ca.CRLRecord{}, err
	}
	return l.Store.CRL(ctx, issuer, shard)
}

// bench is the room with a real core and store behind it.
type bench struct {
	*ca.Authority
	line    *line
	clock   *clock
	server  *status.Server
	handler http.Handler
	db      *sqldb.DB
}

func newBench(t testing.TB) *bench {
	t.Helper()
	db := storetest.SQLite(t)
	b := &bench{
		db:    db,
		line:  &line{Store: sqlstore.New(db)},
		clock: &clock{now: time.Now().Truncate(time.Second).Add(300 * time.Millisecond)},
	}
	b.Authority = storetest.Authority(t, b.line.Store, &storetest.Keys{}, b.clock.read)
	b.Authority.Ledger = b.line
	plan := storetest.Plan
	plan.Shards = 2
	if err := b.Found(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	b.server = status.New(status.Config{
		Authority: b.Authority, Revocations: b.line, Clock: b.clock.read,
		Logger: slog.New(slog.DiscardHandler), OCSPLife: 24 * time.Hour,
	})
	b.handler = b.server.Handler()
	return b
}

func (b *bench) issuing() *ca.Issuer { return b.Issuers().Line(ca.DefaultLine, b.clock.read()) }

// leaf has a certificate issued.
func (b *bench) leaf(t testing.TB, name string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := ca.DNS(name)
	if err != nil {
		t.Fatal(err)
	}
	record, err := b.Issue(t.Context(), ca.Request{
		ID: "test:" + ca.NewID(), By: ca.Principal{Room: "acme", ID: "somebody"}, Key: key.Public(),
		Names: []ca.Identifier{id}, Profile: "tls-server",
		Evidence: []ca.Evidence{{Identifier: id, Method: "http-01", At: b.clock.read(), Expires: b.clock.read().Add(time.Hour)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(record.DER)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (b *bench) revoke(t testing.TB, cert *x509.Certificate, reason ca.Reason) {
	t.Helper()
	_, err := b.Revoke(t.Context(), ca.Revocation{Serial: ca.SerialOf(cert.SerialNumber), Reason: reason, By: ca.Principal{Room: "admin", ID: "test"}})
	if err != nil {
		t.Fatal(err)
	}
}

// question is what golang.org/x/crypto/ocsp asks about a certificate.
func question(t testing.TB, cert, issuer *x509.Certificate, hash crypto.Hash) []byte {
	t.Helper()
	der, err := ocsp.CreateRequest(cert, issuer, &ocsp.RequestOptions{Hash: hash})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// do sends a request with headers given as name, value, …
func (b *bench) do(r *http.Request, headers ...string) *httptest.ResponseRecorder {
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	return w
}
