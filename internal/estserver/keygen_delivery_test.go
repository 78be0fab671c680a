package estserver_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"chancery/cms"
	"chancery/est"
	"chancery/internal/ca"
	"chancery/internal/estserver"
	"chancery/internal/sqldb"
)

// trouble is what happens to the next answer 200.
type trouble struct {
	next   atomic.Value // of func(*bad)
	handle http.Handler
}

// bad is a connection that fails when it matters.
type bad struct {
	http.ResponseWriter
	request     *http.Request
	sick        bool // the answer is 200
	failWrite   bool
	failFlushes int // the so-manieth flush fails; 0: none
	gone        bool
	crash       bool
	hold        func() // before the answer begins
	flushes     int
}

var errCut = errors.New("the connection was cut")

func (b *bad) Unwrap() http.ResponseWriter { return b.ResponseWriter }

func (b *bad) WriteHeader(status int) {
	b.sick = status == http.StatusOK
	if b.sick && b.crash {
		panic(http.ErrAbortHandler)
	}
	if b.sick && b.hold != nil {
		b.hold()
	}
	b.ResponseWriter.WriteHeader(status)
}

func (b *bad) Write(p []byte) (int, error) {
	if b.sick && b.failWrite {
		n, _ := b.ResponseWriter.Write(p[:len(p)/2])
		return n, errCut
	}
	return b.ResponseWriter.Write(p)
}

func (b *bad) FlushError() error {
	b.flushes++
	if b.sick && b.flushes == b.failFlushes {
		return errCut
	}
	err := http.NewResponseController(b.ResponseWriter).Flush()
	if b.sick && b.gone && b.flushes == 1 {
		<-b.request.Context().Done() // the client hangs up when it has the first octets
	}
	return err
}

func (tr *trouble) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b := &bad{ResponseWriter: w, request: r}
	if set, ok := tr.next.Load().(func(*bad)); ok {
		set(b)
	}
	tr.handle.ServeHTTP(b, r)
}

// troubled puts a front with trouble before the world's server.
func (w *keyWorld) troubled() *trouble {
	tr := &trouble{handle: w.server.Handler()}
	w.front = w.serve(tr)
	return tr
}

func healthy(*bad) {}

// cut asks and hangs up: at once when the answer begins, or never hears it.
func (w *keyWorld) cut(login string, h *holder, der []byte) {
	w.t.Helper()
	c := w.client(h)
	c.login = login
	conn := c.dial()
	defer conn.Close()
	head := "POST " + root + "serverkeygen HTTP/1.1\r\nHost: example.com\r\nUser-Agent: test\r\nContent-Type: application/pkcs10\r\n"
	if login != "" {
		head += "Authorization: " + login + "\r\n"
	}
	body := est.Encode(der, est.Wrapped)
	head += "Content-Length: " + strings.TrimSpace(string(appendInt(len(body)))) + "\r\n\r\n"
	if _, err := conn.Write(append([]byte(head), body...)); err != nil {
		w.t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(time.Minute))
	conn.Read(make([]byte, 16)) // the answer begins, or nothing comes
}

func appendInt(n int) []byte {
	if n < 10 {
		return []byte{byte('0' + n)}
	}
	return append(appendInt(n/10), byte('0'+n%10))
}

// newest gives the record of what was issued last.
func (w *keyWorld) newest() ca.Record {
	w.t.Helper()
	records, _, err := w.store.List(context.Background(), ca.Query{Now: w.now(), Limit: 1})
	if err != nil || len(records) == 0 {
		w.t.Fatal(err)
	}
	return records[0]
}

// wasUndelivered waits until a certificate is revoked, as the handler may still be at
// it when the client's side is through, and checks how.
func (w *keyWorld) wasUndelivered(serial ca.Serial) {
	w.t.Helper()
	var r ca.Record
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		var err error
		if r, err = w.store.BySerial(context.Background(), serial); err != nil {
			w.t.Fatal(err)
		}
		if !r.RevokedAt.IsZero() {
			break
		}
	}
	if r.RevokedAt.IsZero() || r.Reason != ca.Superseded {
		w.t.Fatalf("the certificate of a key that was not delivered: revoked %v, %s", r.RevokedAt, r.Reason)
	}
	if actor, _ := w.event("certificate.revoked", string(serial)); actor != "undelivered" {
		w.t.Errorf("it was revoked by %q", actor)
	}
}

// ways in which an answer does not arrive.
var cuts = map[string]func(*bad){
	"half is written":         func(b *bad) { b.failWrite = true },
	"the header is not":       func(b *bad) { b.failFlushes = 1 },
	"the last octets are not": func(b *bad) { b.failFlushes = 2 },
	"the client is gone":      func(b *bad) { b.gone = true },
}

// TestUndelivered: when the answer could not be written whole, its certificate is
// revoked, and the repeat makes a new key.
func TestUndelivered(t *testing.T) {
	for name, how := range cuts {
		t.Run(name, func(t *testing.T) {
			w := newKeyWorld(t, nil, keyLabel(nil))
			tr := w.troubled()
			der := like(w.device).der(t)
			tr.next.Store(how)
			w.cut("", w.device, der)
			first := w.newest()
			if first.Serial == ca.SerialOf(w.device.cert.SerialNumber) {
				t.Fatal("nothing was issued")
			}
			w.wasUndelivered(first.Serial)
			tr.next.Store(healthy)
			m := plain(t, w.client(w.device).post("serverkeygen", der))
			if r := w.record(m.cert); !r.RevokedAt.IsZero() || bytes.Equal(r.KeyHash, first.KeyHash) {
				t.Error("the repeat got the old key, or a revoked certificate")
			}
			w.nothingLeft()
		})
	}
}

// TestUndeliveredPassword: a one-time password is good for one key that arrives, and
// for as many as it takes.
func TestUndeliveredPassword(t *testing.T) {
	for name, how := range cuts {
		t.Run(name, func(t *testing.T) {
			w := newKeyWorld(t, nil, keyLabel(func(l *estserver.Label) { l.Names = []string{"own", "CN=*"} }))
			tr := w.troubled()
			w.oneTime("", "sesame", "CN=pump")
			c := w.basic("", "sesame")
			der := asking("pump").der(t)
			for range 2 {
				tr.next.Store(how)
				w.cut(c.login, nil, der)
				w.wasUndelivered(w.newest().Serial)
			}
			tr.next.Store(healthy)
			m := plain(t, c.post("serverkeygen", der))
			refused(t, c.post("serverkeygen", der), http.StatusServiceUnavailable, "being answered")
			w.pass(2 * time.Minute)
			refused(t, c.post("serverkeygen", der), http.StatusForbidden, "not sent twice")
			refused(t, c.post("simpleenroll", der), http.StatusForbidden, "one-time password")
			if r := w.record(m.cert); !r.RevokedAt.IsZero() {
				t.Error("the delivered certificate was revoked")
			}
		})
	}
}

// TestUndeliveredCrash: a process that dies between the certificate and the answer
// leaves nothing that is sent later. A repeat waits until the answer must have ended,
// then a new key is made and the old certificate revoked.
func TestUndeliveredCrash(t *testing.T) {
	w := newKeyWorld(t, nil, keyLabel(func(l *estserver.Label) { l.Names = []string{"own", "CN=*"} }))
	tr := w.troubled()
	w.oneTime("", "sesame", "CN=pump")
	c := w.basic("", "sesame")
	der := asking("pump").der(t)
	tr.next.Store(func(b *bad) { b.crash = true })
	w.cut(c.login, nil, der)
	first := w.newest()
	if !first.Settled() || !first.RevokedAt.IsZero() {
		t.Fatalf("the certificate that was issued before the crash: %+v", first)
	}
	tr.next.Store(healthy)
	early := c.post("serverkeygen", der)
	refused(t, early, http.StatusServiceUnavailable, "being answered")
	if early.Header.Get("Retry-After") != "60" {
		t.Errorf("Retry-After is %q", early.Header.Get("Retry-After"))
	}
	w.pass(2 * time.Minute)
	m := plain(t, c.post("serverkeygen", der))
	w.wasUndelivered(first.Serial)
	if bytes.Equal(w.record(m.cert).KeyHash, first.KeyHash) {
		t.Error("a key survived the crash")
	}
	w.pass(time.Hour)
	refused(t, c.post("serverkeygen", der), http.StatusForbidden, "not sent twice")
}

// TestGivingUpFails: while the certificate of a lost key cannot be revoked, no other is
// made, and the next repeat begins again.
func TestGivingUpFails(t *testing.T) {
	w := newKeyWorld(t, nil, keyLabel(func(l *estserver.Label) { l.Names = []string{"own", "CN=*"} }))
	tr := w.troubled()
	w.oneTime("", "sesame", "CN=pump")
	c := w.basic("", "sesame")
	der := asking("pump").der(t)
	tr.next.Store(func(b *bad) { b.crash = true })
	w.cut(c.login, nil, der)
	first := w.newest()
	tr.next.Store(healthy)
	w.pass(2 * time.Minute)
	exec := func(statement string) {
		t.Helper()
		if _, err := w.db.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE TRIGGER jammed BEFORE UPDATE OF revoked ON certificates BEGIN SELECT RAISE(ABORT, 'jammed'); END`)
	for range 2 {
		got := c.post("serverkeygen", der)
		refused(t, got, http.StatusServiceUnavailable, "could not be revoked")
		if got.Header.Get("Retry-After") == "" {
			t.Error("nothing says when to come back")
		}
	}
	if w.newest().Serial != first.Serial {
		t.Error("another key was made while the first certificate is valid")
	}
	exec(`DROP TRIGGER jammed`)
	m := plain(t, c.post("serverkeygen", der))
	w.wasUndelivered(first.Serial)
	if bytes.Equal(w.record(m.cert).KeyHash, first.KeyHash) {
		t.Error("a key was sent twice")
	}
}

// TestMarksEnd: what is kept of made keys is swept one day, and then a repeat gets no
// second certificate either.
func TestMarksEnd(t *testing.T) {
	w := newKeyWorld(t, nil, keyLabel(func(l *estserver.Label) { l.Names = []string{"own", "CN=*"} }))
	k := estserver.Credential{OneTime: true, Digest: estserver.OneTimeDigest("sesame"), Names: []string{"CN=pump"}} // without an end
	w.add(k)
	c := w.basic("", "sesame")
	der := asking("pump").der(t)
	m := plain(t, c.post("serverkeygen", der))
	for range 3 {
		w.pass(401 * 24 * time.Hour)
		if _, err := w.db.Exec(t.Context(), `DELETE FROM spent WHERE expires < $1`, w.now().UnixMilli()); err != nil {
			t.Fatal(err)
		}
		refused(t, c.post("serverkeygen", der), http.StatusForbidden, "not sent twice")
	}
	if r := w.record(m.cert); !r.RevokedAt.IsZero() {
		t.Error("the delivered certificate was revoked")
	}
	left := 0
	if err := w.db.One(t.Context(), `SELECT COUNT(*) FROM spent`, nil, &left); err != nil || left != 0 {
		t.Errorf("%d marks are left, %v", left, err)
	}
}

// TestKeyGenAfterEnrol: a one-time password that got a certificate for the client's own
// key gets no other by having a key made, and that certificate stays good.
func TestKeyGenAfterEnrol(t *testing.T) {
	w := newKeyWorld(t, nil, keyLabel(func(l *estserver.Label) { l.Names = []string{"own", "CN=*"} }))
	w.oneTime("", "sesame", "CN=pump")
	c := w.basic("", "sesame")
	ask := asking("pump").keyed(t)
	cert := granted(t, c.post("simpleenroll", ask.der(t)))
	for range 3 {
		w.pass(time.Hour)
		refused(t, c.post("serverkeygen", ask.der(t)), http.StatusForbidden, "not sent twice")
	}
	if r := w.record(cert); !r.RevokedAt.IsZero() {
		t.Error("the enrolled certificate was revoked")
	}
	if again := granted(t, c.post("simpleenroll", ask.der(t))); !again.Equal(cert) {
		t.Error("the repeat of the enrolment got another certificate")
	}
}

// approve decides as an administrator would.
func (w *keyWorld) approve(state estserver.RequestState) estserver.Pending {
	w.t.Helper()
	rows, _, err := w.store.ListRequests(context.Background(), estserver.RequestQuery{Limit: 10, Now: w.now()})
	if err != nil || len(rows) != 1 {
		w.t.Fatalf("%d requests, %v", len(rows), err)
	}
	by := ca.Principal{Room: "admin", ID: "test"}
	row, err := w.store.DecideRequest(context.Background(), estserver.Decision{ID: rows[0].ID, State: state, By: by, At: w.now(), Expires: w.now().Add(24 * time.Hour)},
		by.Event(w.now(), "est.decided", rows[0].ID))
	if err != nil {
		w.t.Fatal(err)
	}
	return row
}

// TestServerKeyGenManual: the key is made when the certificate is, so that what waits
// holds none; a repeat is known again though its public key, which is ignored, is
// another.
func TestServerKeyGenManual(t *testing.T) {
	w := newKeyWorld(t, nil, keyLabel(func(l *estserver.Label) { l.Manual = true }))
	tr := w.troubled()
	c := w.client(w.device)
	before := w.issued()
	for range 2 {
		r := c.post("serverkeygen", like(w.device).keyed(t).der(t))
		if r.StatusCode != http.StatusAccepted || r.Header.Get("Retry-After") == "" {
			t.Fatalf("%s: %s", r.Status, r.words())
		}
	}
	row := w.approve(estserver.Approved)
	if row.KeyHash != nil || w.issued() != before {
		t.Error("there is a key before there is an approval")
	}
	tr.next.Store(cuts["the last octets are not"])
	w.cut("", w.device, like(w.device).keyed(t).der(t))
	first := w.newest()
	w.wasUndelivered(first.Serial)
	tr.next.Store(healthy)
	m := plain(t, c.post("serverkeygen", like(w.device).keyed(t).der(t)))
	if bytes.Equal(w.record(m.cert).KeyHash, first.KeyHash) {
		t.Error("a key was sent twice")
	}
	w.pass(2 * time.Minute)
	refused(t, c.post("serverkeygen", like(w.device).keyed(t).der(t)), http.StatusForbidden, "not sent twice")
	row, err := w.store.RequestByID(context.Background(), row.ID)
	if err != nil || row.Attempts != 2 {
		t.Errorf("%d deliveries were begun, %v; want 2", row.Attempts, err)
	}
	if again := w.another(); again != nil { // another process knows the same
		c.front = w.serve(again.Handler())
		refused(t, c.post("serverkeygen", like(w.device).keyed(t).der(t)), http.StatusForbidden, "not sent twice")
	}
}

func TestServerKeyGenManualRefused(t *testing.T) {
	w := newKeyWorld(t, nil, keyLabel(func(l *estserver.Label) { l.Manual = true }))
	c := w.client(w.device)
	if r := c.post("serverkeygen", like(w.device).der(t)); r.StatusCode != http.StatusAccepted {
		t.Fatal(r.words())
	}
	w.approve(estserver.Refused)
	refused(t, c.post("serverkeygen", like(w.device).der(t)), http.StatusForbidden, "refused")
}

// TestServerKeyGenTwins: of two who repeat at once one gets a key, and the other is told
// to come back, or that it was delivered.
func TestServerKeyGenTwins(t *testing.T) {
	w := newKeyWorld(t, nil, keyLabel(func(l *estserver.Label) { l.Names = []string{"own", "CN=*"} }))
	w.oneTime("", "sesame", "CN=pump")
	der := asking("pump").der(t)
	answers := make(chan int, 4)
	for range cap(answers) {
		go func() {
			req, err := http.NewRequest(http.MethodPost, w.front.URL+root+"serverkeygen", bytes.NewReader(est.Encode(der, est.Wrapped)))
			if err != nil {
				answers <- 0
				return
			}
			req.Header.Set("Content-Type", est.PKCS10)
			req.SetBasicAuth("", "sesame")
			r, err := w.front.Client().Do(req)
			if err != nil {
				answers <- 0
				return
			}
			r.Body.Close()
			answers <- r.StatusCode
		}()
	}
	count := map[int]int{}
	for range cap(answers) {
		count[<-answers]++
	}
	if count[http.StatusOK] != 1 || count[http.StatusOK]+count[http.StatusForbidden]+count[http.StatusServiceUnavailable] != cap(answers) {
		t.Errorf("four at once got %v", count)
	}
}

// archive gives a certificate to whose key copies are encrypted, and its files.
func archive(t testing.TB, key crypto.Signer, use x509.KeyUsage) (cert *x509.Certificate, args []string) {
	f := newFiles(t)
	cert = selfSigned(t, key, []byte("archive"), use)
	return cert, []string{"-inkey", f.put(keyPEM(t, key)), "-recip", f.put(pemOf(cert.Raw))}
}

// TestServerKeyGenArchive: the copy is stored before the key is sent, and OpenSSL opens
// it with the archive's key.
func TestServerKeyGenArchive(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"RSA": newRSA(t, 2048), "EC": ec} {
		t.Run(name, func(t *testing.T) {
			cert, args := archive(t, key, 0)
			w := newKeyWorld(t, nil, keyLabel(func(l *estserver.Label) { l.ServerKeys.ArchiveTo = cert }))
			m := plain(t, w.generate())
			serial := ca.SerialOf(m.cert.SerialNumber)
			kept, err := w.store.Archived(context.Background(), serial)
			if err != nil {
				t.Fatal(err)
			}
			f := newFiles(t)
			opened := f.openssl(append([]string{"cms", "-decrypt", "-inform", "DER", "-in", f.put(kept), "-binary"}, args...)...)
			if !bytes.Equal(opened, m.der) {
				t.Error("the archive's copy is another key")
			}
			if _, detail := w.event("serverkey.archived", string(serial)); detail["to"] != cert.Subject.String() {
				t.Errorf("the event is %v", detail)
			}
			o := w.office()
			for range 2 {
				got := done[estserver.CertificateNamed, estserver.ArchivedKey](o, "est.archive.get", estserver.CertificateNamed{Serial: string(serial)})
				if got.CMS != pemBlock("CMS", kept) {
					t.Errorf("est.archive.get gives %q", got.CMS)
				}
			}
			if got := w.details("serverkey.fetched", string(serial)); len(got) != 2 {
				t.Errorf("%d events of who fetched it", len(got))
			}
			w.secret(m)
		})
	}
}

// noArchive cannot keep copies.
type noArchive struct{ estserver.DeviceKeys }

func (noArchive) Archive(context.Context, ca.Serial, []byte, ca.Event) error {
	return ca.Errorf(ca.Unavailable, "the database is gone")
}

// TestServerKeyGenArchiveFails: a key of which no copy could be kept is not sent.
func TestServerKeyGenArchiveFails(t *testing.T) {
	cert, _ := archive(t, newRSA(t, 2048), 0)
	w := newKeyWorld(t, func(c *estserver.Config) { c.DeviceKeys = noArchive{c.DeviceKeys} }, keyLabel(func(l *estserver.Label) { l.ServerKeys.ArchiveTo = cert }))
	refused(t, w.generate(), http.StatusServiceUnavailable, "database")
	w.wasUndelivered(w.newest().Serial)
}

// TestKeyStaysInMemory: the private key is never on disk or in a log, however it
// travels and whatever goes wrong.
func TestKeyStaysInMemory(t *testing.T) {
	cert, _ := archive(t, newRSA(t, 2048), 0)
	for name, edit := range map[string]func(*estserver.Label){
		"plain":    func(*estserver.Label) {},
		"archived": func(l *estserver.Label) { l.ServerKeys.ArchiveTo = cert },
		"manual":   func(l *estserver.Label) { l.Manual = true },
	} {
		t.Run(name, func(t *testing.T) {
			w := newKeyWorld(t, nil, keyLabel(edit))
			if r := w.generate(); r.StatusCode == http.StatusAccepted {
				w.approve(estserver.Approved)
			} else {
				w.secret(plain(t, r))
			}
			w.secret(plain(t, w.over(tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, like(w.device).der(t))))
		})
	}
	t.Run("encrypted", func(t *testing.T) {
		w := newKeyWorld(t, nil, keyLabel(nil))
		kek := make([]byte, 32)
		rand.Read(kek)
		w.register(estserver.Symmetric, []byte("a"), kek)
		part, issued := parts(t, w.generate(est.DecryptKeyIdentifier([]byte("a")), able(t, cms.Secret(kek))))
		w.secret(fits(t, w.unlock(part, "-secretkey", hex.EncodeToString(kek), "-secretkeyid", "61"), issued))
		w.absent("the device's symmetric key", kek)
	})
}

// secret looks for a key in everything that was written.
func (w *keyWorld) secret(m made) {
	w.t.Helper()
	raw, err := m.key.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		w.t.Fatal(err)
	}
	w.absent("the key", m.der)
	w.absent("the key's number", raw)
}

// absent looks for octets in the database's files and the log: as they are, in hex and
// in base64 of each alignment.
func (w *keyWorld) absent(what string, octets []byte) {
	w.t.Helper()
	var dir string
	err := w.db.Query(context.Background(), `PRAGMA database_list`, nil, func(row sqldb.Row) error {
		var n int64
		var name string
		return row.Scan(&n, &name, &dir)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	written := map[string][]byte{"the log": []byte(w.log.String())}
	found, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "*"))
	if err != nil || len(found) == 0 {
		w.t.Fatalf("there is no database: %v", err)
	}
	for _, path := range found {
		if written[path], err = os.ReadFile(path); err != nil {
			w.t.Fatal(err)
		}
	}
	forms := map[string][]byte{
		"as it is": octets, "in hex": []byte(hex.EncodeToString(octets)), "in HEX": []byte(strings.ToUpper(hex.EncodeToString(octets))),
		"as PEM": bytes.Split(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: octets}), []byte("\n"))[1],
	}
	for shift := range 3 {
		text := base64.StdEncoding.EncodeToString(append(make([]byte, shift), octets...))
		forms["in base64"+string('0'+rune(shift))] = []byte(text[4 : len(text)-4])
	}
	total := 0
	for place, content := range written {
		total += len(content)
		for form, needle := range forms {
			if bytes.Contains(content, needle) {
				w.t.Errorf("%s is in %s, %s", what, place, form)
			}
		}
	}
	if total < 4096 {
		w.t.Errorf("only %d octets were looked at", total)
	}
}

// halfLedger forgets to settle while it is told to.
type halfLedger struct {
	ca.Ledger
	fail *atomic.Bool
}

func (l halfLedger) Settle(ctx context.Context, s ca.Settlement) (ca.Record, error) {
	if l.fail.Load() {
		return ca.Record{}, ca.Errorf(ca.Unavailable, "the power was cut")
	}
	return l.Ledger.Settle(ctx, s)
}

// TestUndeliveredIntent: a power cut between the intent and the certificate leaves an
// intent for a key that nobody has. The repeat revokes it and gets another key.
func TestUndeliveredIntent(t *testing.T) {
	var fail atomic.Bool
	w := newKeyWorld(t, func(c *estserver.Config) { c.Authority.Ledger = halfLedger{c.Authority.Ledger, &fail} },
		keyLabel(func(l *estserver.Label) { l.Names = []string{"own", "CN=*"} }))
	w.oneTime("", "sesame", "CN=pump")
	c := w.basic("", "sesame")
	der := asking("pump").der(t)
	fail.Store(true)
	refused(t, c.post("serverkeygen", der), http.StatusServiceUnavailable)
	fail.Store(false)
	first := w.newest()
	if first.Settled() {
		t.Fatal("it was settled")
	}
	w.pass(2 * time.Minute)
	m := plain(t, c.post("serverkeygen", der))
	w.wasUndelivered(first.Serial)
	if bytes.Equal(w.record(m.cert).KeyHash, first.KeyHash) {
		t.Error("the key of the intent was kept")
	}
}
