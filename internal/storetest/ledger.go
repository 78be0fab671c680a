package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"chancery/internal/ca"
)

// CoreStore is what the core needs of a store.
type CoreStore interface {
	ca.Ledger
	ca.Recovery
	ca.Listing
}

// Core is the suite of the ledger.
func Core(t *testing.T, s CoreStore) {
	ctx := context.Background()
	t.Run("settle once", func(t *testing.T) { settleOnce(ctx, t, s) })
	t.Run("one record for a request", func(t *testing.T) { oneForRequest(ctx, t, s) })
	t.Run("once is spent with the intent", func(t *testing.T) { spentOnce(ctx, t, s) })
	t.Run("claim", func(t *testing.T) { claim(ctx, t, s) })
	t.Run("absent", func(t *testing.T) { absent(ctx, t, s) })
	t.Run("list", func(t *testing.T) { list(ctx, t, s) })
}

var base = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var serials = struct {
	sync.Mutex
	n int
}{}

// Intent makes an intent of its own for a request.
func Intent(request string) ca.Intent {
	serials.Lock()
	serials.n++
	n := serials.n
	serials.Unlock()
	serial, _ := ca.ParseSerial(fmt.Sprintf("40%030x", n))
	name, _ := ca.DNS(fmt.Sprintf("host%d.example", n))
	by := ca.Principal{Room: "test", ID: "asker"}
	return ca.Intent{
		Serial: serial, Request: request, By: by, Profile: "tls-server", Issuer: "issuer", KeyHash: []byte{byte(n), 1},
		Names: []ca.Identifier{name}, Subject: "CN=x", NotBefore: base, NotAfter: base.Add(90 * 24 * time.Hour),
		TBS: []byte{1, 2, 0, 3}, Seal: []byte{4}, At: base, Lease: base.Add(time.Minute),
		Event: by.Event(base, "certificate.intended", string(serial)),
	}
}

func settlement(serial ca.Serial, der ...byte) ca.Settlement {
	return ca.Settlement{Serial: serial, DER: der, At: base.Add(time.Second), Event: ca.Principal{Room: "test"}.Event(base, "certificate.issued", string(serial))}
}

func settleOnce(ctx context.Context, t *testing.T, s CoreStore) {
	in := Intent("settle-once")
	r, err := s.Intend(ctx, in)
	if err != nil || r.Serial != in.Serial || r.Settled() {
		t.Fatalf("Intend gave %+v, %v", r, err)
	}
	if r, err = s.BySerial(ctx, in.Serial); err != nil || !bytes.Equal(r.TBS, in.TBS) || !bytes.Equal(r.Seal, in.Seal) || !r.NotAfter.Equal(in.NotAfter) || r.Names[0] != in.Names[0] {
		t.Fatalf("the intent came back as %+v, %v", r, err)
	}
	first, err := s.Settle(ctx, settlement(in.Serial, 7, 7))
	if err != nil || !bytes.Equal(first.DER, []byte{7, 7}) || first.TBS != nil {
		t.Fatalf("Settle gave %+v, %v", first, err)
	}
	second, err := s.Settle(ctx, settlement(in.Serial, 8, 8))
	if err != nil || !bytes.Equal(second.DER, []byte{7, 7}) {
		t.Fatalf("a second settlement gave %x, %v; want the first's", second.DER, err)
	}
}

func oneForRequest(ctx context.Context, t *testing.T, s CoreStore) {
	const callers = 20
	got := make([]ca.Serial, callers)
	var wg sync.WaitGroup
	for n := range callers {
		wg.Go(func() {
			r, err := s.Intend(ctx, Intent("same-request"))
			if err != nil {
				t.Error(err)
			}
			got[n] = r.Serial
		})
	}
	wg.Wait()
	for _, serial := range got {
		if serial != got[0] {
			t.Fatalf("one request got the serials %s and %s", got[0], serial)
		}
	}
}

func spentOnce(ctx context.Context, t *testing.T, s CoreStore) {
	once := &ca.Once{ID: []byte("nonce-1"), Expires: base.Add(time.Hour)}
	first, second := Intent("once-1"), Intent("once-2")
	first.Once, second.Once = once, once
	if _, err := s.Intend(ctx, first); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Intend(ctx, second); ca.KindOf(err) != ca.Replayed {
		t.Fatalf("a spent token gave %v; want kind %s", err, ca.Replayed)
	}
	if _, err := s.BySerial(ctx, second.Serial); ca.KindOf(err) != ca.NotFound {
		t.Fatalf("the replayed intent left a record: %v", err)
	}
}

func claim(ctx context.Context, t *testing.T, s CoreStore) {
	in := Intent("claim")
	in.Lease = base.Add(-time.Hour)
	if _, err := s.Intend(ctx, in); err != nil {
		t.Fatal(err)
	}
	now := base.Add(-30 * time.Minute)
	got, err := s.Claim(ctx, ca.Claim{Now: now, Until: now.Add(time.Minute), Limit: 10})
	if err != nil || len(got) != 1 || got[0].Serial != in.Serial {
		t.Fatalf("Claim gave %v, %v; want the lapsed intent", got, err)
	}
	if got, err = s.Claim(ctx, ca.Claim{Now: now, Until: now.Add(time.Minute), Limit: 10}); err != nil || len(got) != 0 {
		t.Fatalf("a claimed intent was claimed again: %v, %v", got, err)
	}
	if _, err := s.Settle(ctx, settlement(in.Serial, 1)); err != nil {
		t.Fatal(err)
	}
	if got, err = s.Claim(ctx, ca.Claim{Now: now.Add(10 * time.Minute), Until: now.Add(time.Hour), Limit: 10}); err != nil || len(got) != 0 {
		t.Fatalf("a settled intent was claimed: %v, %v", got, err)
	}
}

func absent(ctx context.Context, t *testing.T, s CoreStore) {
	_, bySerial := s.BySerial(ctx, "7f")
	_, byRequest := s.ByRequest(ctx, "nobody's")
	for _, err := range []error{bySerial, byRequest} {
		var e *ca.Error
		if !errors.As(err, &e) || e.Kind != ca.NotFound {
			t.Errorf("an absent record gave %v; want kind %s", err, ca.NotFound)
		}
	}
}

func list(ctx context.Context, t *testing.T, s CoreStore) {
	by := ca.Principal{Room: "test", ID: "lister"}
	want := map[ca.Serial]bool{}
	var named ca.Intent
	for n := range 7 {
		in := Intent(fmt.Sprintf("list-%d", n))
		in.By = by
		in.At = base.Add(time.Duration(n/2) * time.Second) // some share their instant
		if _, err := s.Intend(ctx, in); err != nil {
			t.Fatal(err)
		}
		want[in.Serial], named = true, in
	}
	q := ca.Query{By: by, Limit: 3, Now: base}
	for pages := 0; ; pages++ {
		records, next, err := s.List(ctx, q)
		if err != nil || pages > 3 {
			t.Fatalf("page %d: %v", pages, err)
		}
		for _, r := range records {
			if !want[r.Serial] {
				t.Fatalf("%s was listed twice or never asked for", r.Serial)
			}
			delete(want, r.Serial)
		}
		if q.Cursor = next; next == "" {
			break
		}
	}
	if len(want) != 0 {
		t.Fatalf("%d records were not listed", len(want))
	}
	got, _, err := s.List(ctx, ca.Query{Name: named.Names[0], State: "pending", Now: base, Limit: 5})
	if err != nil || len(got) != 1 || got[0].Serial != named.Serial {
		t.Fatalf("by name: %v, %v", got, err)
	}
}
