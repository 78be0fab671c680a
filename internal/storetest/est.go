package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"chancery/internal/ca"
	"chancery/internal/estserver"
)

// ESTStore is what the EST room needs of a store, with the ledger that it shares.
type ESTStore interface {
	estserver.Requests
	estserver.Sweeper
	estserver.Credentials
	ca.Ledger
}

var approver = ca.Principal{Room: "admin", ID: "approver"}

// EST is the suite of the EST room's requests and credentials.
func EST(t *testing.T, s ESTStore) {
	ctx := context.Background()
	for _, c := range []struct {
		name string
		test func(context.Context, *testing.T, ESTStore)
	}{
		{"request comes back", requestComesBack}, {"one request of a digest", oneOfDigest}, {"undecided are limited", undecidedLimited},
		{"one password for one request", onePassword}, {"password goes free", passwordFree}, {"decided once", decidedOnce},
		{"deliveries are counted", deliveriesCounted}, {"requests are listed", requestsListed},
		{"credentials", credentials}, {"digest nonces", digestNonces}, {"sweep", sweepEST},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(ctx, t, s) })
	}
}

// pendingOf makes a request of an asker's.
func pendingOf(identity, what string) estserver.Pending {
	sum := sha256.Sum256([]byte(identity + "/" + what))
	name, _ := ca.DNS("device.example")
	return estserver.Pending{
		ID: ca.NewID(), Digest: sum[:], Label: "floor", Operation: "simpleenroll", Identity: identity, Subject: "CN=device", Names: []ca.Identifier{name},
		KeyHash: []byte{1, 2}, CSR: []byte{0x30, 0}, Address: "192.0.2.1", State: estserver.Undecided, Created: base, Expires: base.Add(time.Hour),
	}
}

func eventOf(kind, subject string) ca.Event { return approver.Event(base, kind, subject) }

func addRequest(ctx context.Context, s ESTStore, p estserver.Pending, limit int) (estserver.Pending, error) {
	return s.AddRequest(ctx, p, limit, eventOf("est-request.added", p.ID))
}

func mustAdd(ctx context.Context, t *testing.T, s ESTStore, p estserver.Pending) estserver.Pending {
	t.Helper()
	stored, err := addRequest(ctx, s, p, 100)
	if err != nil || stored.ID != p.ID {
		t.Fatalf("a new request gave %+v, %v", stored, err)
	}
	return stored
}

func samePending(a, b estserver.Pending) bool {
	return a.ID == b.ID && bytes.Equal(a.Digest, b.Digest) && a.Label == b.Label && a.Operation == b.Operation && a.Identity == b.Identity &&
		a.Subject == b.Subject && slices.Equal(a.Names, b.Names) && bytes.Equal(a.KeyHash, b.KeyHash) && (a.KeyHash == nil) == (b.KeyHash == nil) &&
		bytes.Equal(a.CSR, b.CSR) && a.Passphrase == b.Passphrase && a.Password == b.Password && a.Address == b.Address && a.State == b.State && a.Reason == b.Reason &&
		a.DecidedBy == b.DecidedBy && a.Created.Equal(b.Created) && a.Decided.Equal(b.Decided) && a.Expires.Equal(b.Expires) && a.Attempts == b.Attempts
}

func requestComesBack(ctx context.Context, t *testing.T, s ESTStore) {
	p := pendingOf("user:back", "one")
	p.Passphrase = "hashed"
	none := pendingOf("user:back", "two")
	none.Names, none.KeyHash, none.Operation, none.Label = nil, nil, "serverkeygen", ""
	for _, want := range []estserver.Pending{p, none} {
		stored := mustAdd(ctx, t, s, want)
		byDigest, err := s.Request(ctx, want.Digest)
		byID, err2 := s.RequestByID(ctx, want.ID)
		if err != nil || err2 != nil || !samePending(stored, want) || !samePending(byDigest, want) || !samePending(byID, want) {
			t.Errorf("stored %+v\ngot    %+v, %v\nand    %+v, %v", stored, byDigest, err, byID, err2)
		}
	}
	_, err := s.Request(ctx, []byte("nobody's"))
	_, err2 := s.RequestByID(ctx, "nobody's")
	if ca.KindOf(err) != ca.NotFound || ca.KindOf(err2) != ca.NotFound {
		t.Errorf("absent requests gave %v and %v", err, err2)
	}
}

func oneOfDigest(ctx context.Context, t *testing.T, s ESTStore) {
	const callers = 100
	got := make([]string, callers)
	var wg sync.WaitGroup
	for n := range callers {
		wg.Go(func() {
			stored, err := addRequest(ctx, s, pendingOf("user:crowd", "same"), 1)
			if err != nil {
				t.Error(err)
			}
			got[n] = stored.ID
		})
	}
	wg.Wait()
	stored, err := s.Request(ctx, pendingOf("user:crowd", "same").Digest)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range got {
		if id != stored.ID {
			t.Fatalf("one digest is stored as %s and was answered with %q", stored.ID, id)
		}
	}
}

func undecidedLimited(ctx context.Context, t *testing.T, s ESTStore) {
	const limit = 3
	var wg sync.WaitGroup
	var mu sync.Mutex
	var stored []estserver.Pending
	for n := range 20 {
		wg.Go(func() {
			p, err := addRequest(ctx, s, pendingOf("user:greedy", fmt.Sprint(n)), limit)
			if err == nil {
				mu.Lock()
				stored = append(stored, p)
				mu.Unlock()
			} else if ca.KindOf(err) != ca.Limited {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(stored) != limit {
		t.Fatalf("%d requests of one asker wait; want %d", len(stored), limit)
	}
	if again, err := addRequest(ctx, s, stored[0], limit); err != nil || again.ID != stored[0].ID {
		t.Errorf("a repeat at the limit gave %+v, %v", again, err)
	}
	if _, err := addRequest(ctx, s, pendingOf("user:other", "1"), limit); err != nil {
		t.Errorf("another asker: %v", err)
	}
	decide(ctx, t, s, stored[1].ID, estserver.Refused)
	if _, err := addRequest(ctx, s, pendingOf("user:greedy", "after"), limit); err != nil {
		t.Errorf("after a decision: %v", err)
	}
	late := pendingOf("user:greedy", "late")
	late.Created, late.Expires = base.Add(time.Hour), base.Add(2*time.Hour)
	if _, err := addRequest(ctx, s, late, limit); err != nil {
		t.Errorf("after the others ran out: %v", err)
	}
}

func decide(ctx context.Context, t *testing.T, s ESTStore, id string, state estserver.RequestState) estserver.Pending {
	t.Helper()
	p, err := s.DecideRequest(ctx, decision(id, state), eventOf("est-request.decided", id))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func decision(id string, state estserver.RequestState) estserver.Decision {
	return estserver.Decision{ID: id, State: state, Reason: "because", By: approver, At: base.Add(time.Minute), Expires: base.Add(24 * time.Hour)}
}

func decidedOnce(ctx context.Context, t *testing.T, s ESTStore) {
	p := mustAdd(ctx, t, s, pendingOf("user:decided", "1"))
	var wg sync.WaitGroup
	var mu sync.Mutex
	var won []estserver.Pending
	for n := range 8 {
		state := []estserver.RequestState{estserver.Approved, estserver.Refused}[n%2]
		wg.Go(func() {
			got, err := s.DecideRequest(ctx, decision(p.ID, state), eventOf("est-request.decided", p.ID))
			switch ca.KindOf(err) {
			case "":
				mu.Lock()
				won = append(won, got)
				mu.Unlock()
			case ca.Conflict:
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d decisions won", len(won))
	}
	want := p
	want.State, want.Reason, want.DecidedBy, want.Decided, want.Expires = won[0].State, "because", approver, base.Add(time.Minute), base.Add(24*time.Hour)
	if got, err := s.RequestByID(ctx, p.ID); err != nil || !samePending(got, want) || !samePending(won[0], want) {
		t.Errorf("decided %+v\nstored %+v, %v", won[0], got, err)
	}
	_, err := s.DecideRequest(ctx, decision(ca.NewID(), estserver.Approved), eventOf("est-request.decided", "x"))
	if ca.KindOf(err) != ca.NotFound {
		t.Errorf("an absent request gave %v", err)
	}
	late := mustAdd(ctx, t, s, pendingOf("user:decided", "2"))
	d := decision(late.ID, estserver.Approved)
	d.At = late.Expires
	if got, err := s.DecideRequest(ctx, d, eventOf("est-request.decided", late.ID)); ca.KindOf(err) != ca.Conflict || got.State != estserver.Undecided {
		t.Errorf("a late decision gave %+v, %v", got, err)
	}
}

func deliveriesCounted(ctx context.Context, t *testing.T, s ESTStore) {
	p := mustAdd(ctx, t, s, pendingOf("user:delivered", "1"))
	var wg sync.WaitGroup
	won := make(chan error, 8)
	for range 8 {
		wg.Go(func() { won <- s.CountDelivery(ctx, p.ID, 0) })
	}
	wg.Wait()
	close(won)
	first := 0
	for err := range won {
		if err == nil {
			first++
		} else if ca.KindOf(err) != ca.Conflict {
			t.Error(err)
		}
	}
	if got, err := s.RequestByID(ctx, p.ID); err != nil || first != 1 || got.Attempts != 1 {
		t.Errorf("%d of 8 were first, and the row counts %d, %v", first, got.Attempts, err)
	}
	if err := s.CountDelivery(ctx, p.ID, 1); err != nil {
		t.Error(err)
	}
}

func requestsListed(ctx context.Context, t *testing.T, s ESTStore) {
	label := "listed"
	want := map[string]bool{}
	for n := range 7 {
		p := pendingOf("user:listed", fmt.Sprint(n))
		p.Label, p.Created = label, base.Add(time.Duration(n/3)*time.Second)
		mustAdd(ctx, t, s, p)
		want[p.ID] = true
	}
	for _, limit := range []int{1, 2, 3, 100} {
		seen := map[string]bool{}
		q := estserver.RequestQuery{Label: &label, Limit: limit, Now: base}
		last := base.Add(time.Hour)
		for {
			list, next, err := s.ListRequests(ctx, q)
			if err != nil || len(list) > limit {
				t.Fatalf("%d of %d: %v", len(list), limit, err)
			}
			for _, p := range list {
				if seen[p.ID] || !want[p.ID] || p.Created.After(last) {
					t.Fatalf("pages of %d show %s out of place", limit, p.ID)
				}
				seen[p.ID], last = true, p.Created
			}
			if q.Cursor = next; next == "" {
				break
			}
		}
		if len(seen) != len(want) {
			t.Errorf("pages of %d have %d requests; want %d", limit, len(seen), len(want))
		}
	}
	first, _, err := s.ListRequests(ctx, estserver.RequestQuery{Label: &label, Limit: 1, Now: base})
	if err != nil || len(first) != 1 {
		t.Fatal(first, err)
	}
	decide(ctx, t, s, first[0].ID, estserver.Approved)
	for _, c := range []struct {
		state estserver.RequestState
		now   time.Time
		want  int
	}{{estserver.Undecided, base, 6}, {estserver.Approved, base, 1}, {estserver.Refused, base, 0}, {"", base, 7}, {estserver.Undecided, base.Add(time.Hour), 0}} {
		list, _, err := s.ListRequests(ctx, estserver.RequestQuery{Label: &label, State: c.state, Limit: 100, Now: c.now})
		if err != nil || len(list) != c.want {
			t.Errorf("%q has %d, %v; want %d", c.state, len(list), err, c.want)
		}
	}
	for _, cursor := range []string{"x", "1", "1.", "1.zz", "9223372036854775808.00"} {
		if _, _, err := s.ListRequests(ctx, estserver.RequestQuery{Limit: 1, Cursor: cursor}); ca.KindOf(err) != ca.Invalid {
			t.Errorf("the cursor %q gave %v", cursor, err)
		}
	}
}
