package estserver_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chancery/internal/ca"
	"chancery/internal/estserver"
)

// deliveries is what another process over the same store knows of deliveries: nothing of
// its own. edit may change what it works with.
func (w *keyWorld) deliveries(edit func(*estserver.DeliveriesConfig)) *estserver.Deliveries {
	c := w.config.Deliveries.DeliveriesConfig
	if edit != nil {
		edit(&c)
	}
	return estserver.NewDeliveries(c)
}

// with has a new server take over, with deliveries of its own.
func (w *keyWorld) with(d *estserver.Deliveries) {
	w.t.Helper()
	c := w.config
	c.Deliveries = d
	s, err := estserver.New(c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.server = s
}

func alone(c *estserver.DeliveriesConfig) { c.Alone = true }

// sweeps wants a sweep to give up so many.
func (w *keyWorld) sweeps(d *estserver.Deliveries, want int) {
	w.t.Helper()
	if n, err := d.Sweep(context.Background()); n != want || err != nil {
		w.t.Errorf("the sweep gave up %d, %v; want %d", n, err, want)
	}
}

// underWay tells how many deliveries the store has, begun and lost.
func (w *keyWorld) underWay() (begun, lost int) {
	w.t.Helper()
	for state, n := range map[estserver.DeliveryState]*int{estserver.DeliveryBegun: &begun, estserver.DeliveryLost: &lost} {
		ids, err := w.store.Deliveries(context.Background(), state, nil, 1000)
		if err != nil {
			w.t.Fatal(err)
		}
		*n = len(ids)
	}
	return begun, lost
}

// nothingLeft waits until the handlers are through, as they go on when a client has its
// answer, and nothing is under way.
func (w *keyWorld) nothingLeft() {
	w.t.Helper()
	w.until("every delivery ended", func() bool { begun, lost := w.underWay(); return begun+lost == 0 })
}

func (w *keyWorld) until(what string, done func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain until %s; the log:\n%s", what, w.log)
		}
	}
}

// crashed has the device ask for a key and the server die when the answer begins, and
// gives the record of the certificate that nobody has the key of.
func (w *keyWorld) crashed(tr *trouble) ca.Record {
	w.t.Helper()
	tr.next.Store(func(b *bad) { b.crash = true })
	w.cut("", w.device, like(w.device).der(w.t))
	tr.next.Store(healthy)
	r := w.newest()
	if !r.Settled() || !r.RevokedAt.IsZero() || r.Serial == ca.SerialOf(w.device.cert.SerialNumber) {
		w.t.Fatalf("the certificate that was issued before the crash: %+v", r)
	}
	return r
}

// TestDeliveryCutOff: a process that dies between certificate and answer, though nothing
// says that a repeat is one, leaves a certificate that is revoked when it must have died:
// at once where no other process has the store.
func TestDeliveryCutOff(t *testing.T) {
	for name, edit := range map[string]func(*estserver.DeliveriesConfig){"alone": alone, "replica": nil} {
		t.Run(name, func(t *testing.T) {
			w := newKeyWorld(t, nil, keyLabel(nil))
			tr := w.troubled()
			before := plain(t, w.client(w.device).post("serverkeygen", like(w.device).der(t)))
			w.nothingLeft()
			lost := w.crashed(tr)
			next := w.deliveries(edit) // of the process that is started next
			if edit == nil {
				w.pass(5 * time.Minute)
				w.sweeps(next, 0)
				if r := w.newest(); !r.RevokedAt.IsZero() {
					t.Error("another process may still be at it")
				}
				w.pass(2 * time.Minute)
			}
			after := plain(t, w.client(w.device).post("serverkeygen", like(w.device).der(t)))
			w.until("the delivery is recorded", func() bool { begun, _ := w.underWay(); return begun == 1 })
			w.sweeps(next, 1)
			w.wasUndelivered(lost.Serial)
			w.nothingLeft()
			w.sweeps(next, 0)
			w.pass(24 * time.Hour)
			w.sweeps(next, 0)
			for what, m := range map[string]made{"before": before, "after": after} {
				if r := w.record(m.cert); !r.RevokedAt.IsZero() || bytes.Equal(r.KeyHash, lost.KeyHash) {
					t.Errorf("%s: delivered, and revoked %v", what, r.RevokedAt)
				}
			}
			if text := w.log.String(); strings.Count(text, "was not delivered, so the certificate is revoked") != 1 || !strings.Contains(text, "serial="+string(lost.Serial)) {
				t.Errorf("the log says:\n%s", text)
			}
		})
	}
}

// TestDeliveryOfAnIntent: so does one that dies between intent and certificate, and then
// there is none any more.
func TestDeliveryOfAnIntent(t *testing.T) {
	var fail atomic.Bool
	w := newKeyWorld(t, func(c *estserver.Config) { c.Authority.Ledger = halfLedger{c.Authority.Ledger, &fail} }, keyLabel(nil))
	fail.Store(true)
	refused(t, w.generate(), http.StatusServiceUnavailable)
	fail.Store(false)
	intent := w.newest()
	if begun, _ := w.underWay(); intent.Settled() || begun != 1 {
		t.Fatalf("settled %v, %d under way", intent.Settled(), begun)
	}
	w.sweeps(w.config.Deliveries, 0)
	w.pass(7 * time.Minute)
	w.sweeps(w.config.Deliveries, 1) // which the same process may do, as it is through with it
	w.wasUndelivered(intent.Serial)
	if n, err := w.authority.Recover(context.Background()); n != 0 || err != nil {
		t.Errorf("%d were finished, %v", n, err)
	}
	if r := w.newest(); r.Serial != intent.Serial || r.Settled() {
		t.Errorf("the certificate came nevertheless: %+v", r)
	}
	w.nothingLeft()
}

// held stops the next answer until it is let go.
func (tr *trouble) held() (reached, let chan struct{}) {
	reached, let = make(chan struct{}), make(chan struct{})
	tr.next.Store(func(b *bad) { b.hold = func() { close(reached); <-let } })
	return reached, let
}

// asks asks beside the test.
func (c *client) asks(der []byte) chan *reply {
	got := make(chan *reply, 1)
	go func() { got <- c.post("serverkeygen", der) }()
	return got
}

// TestDeliveryUnderWay: what is on its way from here is left alone, however long it takes.
func TestDeliveryUnderWay(t *testing.T) {
	w := newKeyWorld(t, nil, keyLabel(nil))
	d := w.deliveries(alone)
	w.with(d)
	tr := w.troubled()
	reached, let := tr.held()
	got := w.client(w.device).asks(like(w.device).der(t))
	<-reached
	w.sweeps(d, 0)
	w.pass(time.Hour)
	w.sweeps(d, 0)
	close(let)
	m := plain(t, <-got)
	w.nothingLeft()
	if r := w.record(m.cert); !r.RevokedAt.IsZero() {
		t.Error("the delivered certificate was revoked")
	}
}

// between does something between the listing of deliveries and what is done about them.
type between struct {
	estserver.DeliveryStore
	once *sync.Once
	do   func()
}

func (s between) Deliveries(ctx context.Context, state estserver.DeliveryState, after []byte, limit int) ([][]byte, error) {
	ids, err := s.DeliveryStore.Deliveries(ctx, state, after, limit)
	s.once.Do(s.do)
	return ids, err
}

// TestDeliveryJustInTime: what ends when it is about to be given up has ended.
func TestDeliveryJustInTime(t *testing.T) {
	w := newKeyWorld(t, nil, keyLabel(nil))
	tr := w.troubled()
	reached, let := tr.held()
	got := w.client(w.device).asks(like(w.device).der(t))
	<-reached
	listed := false
	w.sweeps(w.deliveries(func(c *estserver.DeliveriesConfig) {
		c.Alone, c.Store = true, between{c.Store, &sync.Once{}, func() {
			begun, _ := w.underWay()
			listed = begun == 1
			close(let)
			w.nothingLeft()
		}}
	}), 0)
	m := plain(t, <-got)
	if r := w.record(m.cert); !listed || !r.RevokedAt.IsZero() {
		t.Errorf("listed %v, revoked %v", listed, r.RevokedAt)
	}
}

// TestDeliveryTooLate: of an answer that ends after another process had to give it up, the
// certificate stays revoked, and the log says so; a password is good for another.
func TestDeliveryTooLate(t *testing.T) {
	w := newKeyWorld(t, nil, keyLabel(func(l *estserver.Label) { l.Names = []string{"own", "CN=*"} }))
	tr := w.troubled()
	w.oneTime("", "sesame", "CN=pump")
	for _, c := range []*client{w.client(w.device), w.basic("", "sesame")} {
		der := like(w.device).der(t)
		if c.login != "" {
			der = asking("pump").der(t)
		}
		reached, let := tr.held()
		got := c.asks(der)
		<-reached
		tr.next.Store(healthy)
		w.pass(7 * time.Minute)
		w.sweeps(w.deliveries(nil), 1)
		close(let)
		m := plain(t, <-got)
		w.wasUndelivered(ca.SerialOf(m.cert.SerialNumber))
		w.until("the log tells", func() bool {
			return strings.Contains(w.log.String(), "had been given up as undelivered") && strings.Contains(w.log.String(), "serial="+string(ca.SerialOf(m.cert.SerialNumber)))
		})
		again := plain(t, c.post("serverkeygen", der))
		if r := w.record(again.cert); !r.RevokedAt.IsZero() || again.key.(*ecdsa.PrivateKey).Equal(m.key) {
			t.Error("the repeat got the old key, or a revoked certificate")
		}
		w.nothingLeft()
	}
}

// deaf cannot record that a key arrived while it is told so.
type deaf struct {
	estserver.DeliveryStore
	now *atomic.Bool
}

func (s deaf) EndDelivery(ctx context.Context, id []byte, mark *ca.Once) error {
	if s.now.Load() {
		return ca.Errorf(ca.Unavailable, "the database is gone")
	}
	return s.DeliveryStore.EndDelivery(ctx, id, mark)
}

// TestDeliveryNotRecorded: that a key arrived is known in this process until it can be
// recorded, and the certificate stays good.
func TestDeliveryNotRecorded(t *testing.T) {
	w := newKeyWorld(t, nil, keyLabel(func(l *estserver.Label) { l.Names = []string{"own", "CN=*"} }))
	var now atomic.Bool
	d := w.deliveries(func(c *estserver.DeliveriesConfig) { c.Alone, c.Store = true, deaf{c.Store, &now} })
	w.with(d)
	w.troubled()
	now.Store(true)
	w.oneTime("", "sesame", "CN=pump")
	c := w.basic("", "sesame")
	one := plain(t, w.client(w.device).post("serverkeygen", like(w.device).der(t)))
	two := plain(t, c.post("serverkeygen", asking("pump").der(t)))
	w.until("the log tells", func() bool {
		return strings.Count(w.log.String(), "could not be recorded that a key was delivered") == 2
	})
	w.pass(time.Hour)
	if n, err := d.Sweep(t.Context()); n != 0 || ca.KindOf(err) != ca.Unavailable {
		t.Errorf("the sweep gave up %d, %v", n, err)
	}
	refused(t, c.post("serverkeygen", asking("pump").der(t)), http.StatusServiceUnavailable, "could not be revoked")
	if err := d.Record(t.Context()); ca.KindOf(err) != ca.Unavailable {
		t.Errorf("what cannot be recorded gave %v", err)
	}
	now.Store(false)
	refused(t, c.post("serverkeygen", asking("pump").der(t)), http.StatusForbidden, "not sent twice")
	w.sweeps(d, 0)
	w.nothingLeft()
	w.sweeps(w.deliveries(alone), 0)
	for _, m := range []made{one, two} {
		if r := w.record(m.cert); !r.RevokedAt.IsZero() {
			t.Error("the delivered certificate was revoked")
		}
	}
}

// TestDeliveryForgotten: if the process dies before it could record that a key arrived,
// nobody knows, and the certificate is revoked; log and history say why.
func TestDeliveryForgotten(t *testing.T) {
	w := newKeyWorld(t, nil, keyLabel(nil))
	var now atomic.Bool
	now.Store(true)
	w.with(w.deliveries(func(c *estserver.DeliveriesConfig) { c.Store = deaf{c.Store, &now} }))
	w.troubled()
	m := plain(t, w.client(w.device).post("serverkeygen", like(w.device).der(t)))
	w.until("the log tells", func() bool { return strings.Contains(w.log.String(), "could not be recorded") })
	w.sweeps(w.deliveries(alone), 1)
	serial := ca.SerialOf(m.cert.SerialNumber)
	w.wasUndelivered(serial)
	if text := w.log.String(); !strings.Contains(text, "before it was known that the answer had been written whole") || !strings.Contains(text, string(serial)) {
		t.Errorf("the log says:\n%s", text)
	}
}

// TestSweepOfDeliveriesFails: one that cannot be revoked stays lost until it can, also when
// its own answer failed, and one after which there is nothing left to revoke is forgotten.
func TestSweepOfDeliveriesFails(t *testing.T) {
	w := newKeyWorld(t, nil, keyLabel(nil))
	tr := w.troubled()
	exec := func(statement string) {
		t.Helper()
		if _, err := w.db.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	first := w.crashed(tr)
	exec(`CREATE TRIGGER jammed BEFORE UPDATE OF revoked ON certificates BEGIN SELECT RAISE(ABORT, 'jammed'); END`)
	tr.next.Store(cuts["half is written"])
	w.cut("", w.device, like(w.device).der(t))
	w.until("the log tells", func() bool { return strings.Contains(w.log.String(), "could not be revoked: this is tried again") })
	second := w.newest()
	d := w.deliveries(alone)
	for range 2 {
		if n, err := d.Sweep(t.Context()); n != 0 || err == nil {
			t.Errorf("the sweep gave up %d, %v", n, err)
		}
		if begun, lost := w.underWay(); begun != 0 || lost != 2 {
			t.Errorf("%d are begun, %d lost", begun, lost)
		}
	}
	exec(`DROP TRIGGER jammed`)
	w.sweeps(w.deliveries(nil), 2) // also by who is not alone: what is lost is lost
	w.wasUndelivered(first.Serial)
	w.wasUndelivered(second.Serial)
	third := w.crashed(tr)
	w.pass(time.Until(third.NotAfter) + time.Hour)
	w.sweeps(d, 1)
	w.nothingLeft()
	if r := w.newest(); !r.RevokedAt.IsZero() {
		t.Error("a certificate that ended was revoked")
	}
}

// slowLedger takes its time to settle.
type slowLedger struct {
	ca.Ledger
	pass func()
}

func (l slowLedger) Settle(ctx context.Context, s ca.Settlement) (ca.Record, error) {
	l.pass()
	return l.Ledger.Settle(ctx, s)
}

// TestDeliverySlow: a certificate that took so long that others may take its key for lost
// is not sent.
func TestDeliverySlow(t *testing.T) {
	var slow atomic.Bool
	var w *keyWorld
	w = newKeyWorld(t, func(c *estserver.Config) {
		c.Authority.Ledger = slowLedger{c.Authority.Ledger, func() {
			if slow.Load() {
				w.pass(time.Minute)
			}
		}}
	}, keyLabel(nil))
	slow.Store(true)
	refused(t, w.generate(), http.StatusServiceUnavailable, "too long")
	w.wasUndelivered(w.newest().Serial)
	w.nothingLeft()
}
