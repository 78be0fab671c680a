package storetest

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"chancery/internal/ca"
	"chancery/internal/estserver"
)

// DeliveryStore is what the EST room needs of a store for the keys that it makes.
type DeliveryStore interface {
	estserver.DeliveryStore
	estserver.Nonces
	ca.Ledger
}

// Deliveries is the suite of deliveries of made keys.
func Deliveries(t *testing.T, s DeliveryStore) {
	ctx := context.Background()
	t.Run("with the intent", func(t *testing.T) { deliveryIntended(ctx, t, s) })
	t.Run("listed", func(t *testing.T) { deliveriesListed(ctx, t, s) })
	t.Run("ended or lost", func(t *testing.T) { deliveryDecided(ctx, t, s) })
	t.Run("mark", func(t *testing.T) { deliveryMarked(ctx, t, s) })
}

// beginDelivery does what the core does with a key that was made.
func beginDelivery(ctx context.Context, t *testing.T, s DeliveryStore, key byte) []byte {
	t.Helper()
	in := Intent(ca.NewID())
	in.KeyHash = bytes.Repeat([]byte{key}, 32)
	id := estserver.DeliveryID(in.KeyHash, in.Request)
	in.Once = estserver.DeliveryBegun.Once(id)
	if r, err := s.Intend(ctx, in); err != nil || r.Serial != in.Serial {
		t.Fatal(r, err)
	}
	return id
}

// under gives all deliveries of a state.
func under(ctx context.Context, t *testing.T, s DeliveryStore, state estserver.DeliveryState) [][]byte {
	t.Helper()
	ids, err := s.Deliveries(ctx, state, nil, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// has tells whether an id is among others.
func has(ids [][]byte, id []byte) bool {
	for _, one := range ids {
		if bytes.Equal(one, id) {
			return true
		}
	}
	return false
}

// deliveryIntended: of two who make a key for one request, one is certified and leaves a
// delivery; the other leaves nothing.
func deliveryIntended(ctx context.Context, t *testing.T, s DeliveryStore) {
	in := Intent(ca.NewID())
	var ids [2][]byte
	for n := range ids {
		twin := Intent(in.Request)
		twin.KeyHash = bytes.Repeat([]byte{byte(n)}, 32)
		ids[n] = estserver.DeliveryID(twin.KeyHash, twin.Request)
		twin.Once = estserver.DeliveryBegun.Once(ids[n])
		r, err := s.Intend(ctx, twin)
		if err != nil || (r.Serial == twin.Serial) != (n == 0) {
			t.Fatalf("twin %d: %+v, %v", n, r, err)
		}
	}
	if begun := under(ctx, t, s, estserver.DeliveryBegun); !has(begun, ids[0]) || has(begun, ids[1]) {
		t.Errorf("begun are %x; the first was certified", begun)
	}
	if err := s.EndDelivery(ctx, ids[0], nil); err != nil {
		t.Error(err)
	}
}

func deliveriesListed(ctx context.Context, t *testing.T, s DeliveryStore) {
	want := map[string]bool{}
	for n := range 7 {
		want[string(beginDelivery(ctx, t, s, byte(0xff-n)))] = true
	}
	lost := beginDelivery(ctx, t, s, 0)
	if err := s.LoseDelivery(ctx, lost); err != nil {
		t.Fatal(err)
	}
	if err := s.SpendNonce(ctx, []byte("another"), base); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int{1, 3, 100} {
		seen := map[string]bool{}
		var after []byte
		for {
			ids, err := s.Deliveries(ctx, estserver.DeliveryBegun, after, limit)
			if err != nil || len(ids) > limit {
				t.Fatalf("%d of %d, %v", len(ids), limit, err)
			}
			if len(ids) == 0 {
				break
			}
			for _, id := range ids {
				if seen[string(id)] || !want[string(id)] || bytes.Compare(id, after) <= 0 {
					t.Fatalf("by %d: %x is out of place", limit, id)
				}
				seen[string(id)], after = true, id
			}
		}
		if len(seen) != len(want) {
			t.Errorf("by %d: %d were listed", limit, len(seen))
		}
	}
	if ids := under(ctx, t, s, estserver.DeliveryLost); len(ids) != 1 || !bytes.Equal(ids[0], lost) {
		t.Errorf("lost are %x", ids)
	}
	for id := range want {
		if err := s.EndDelivery(ctx, []byte(id), nil); err != nil {
			t.Error(err)
		}
	}
	for range 2 {
		if err := s.ForgetDelivery(ctx, lost); err != nil {
			t.Error(err)
		}
	}
	if n := len(under(ctx, t, s, estserver.DeliveryBegun)) + len(under(ctx, t, s, estserver.DeliveryLost)); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// deliveryDecided: a delivery ends or is lost, whoever comes first, and never both.
func deliveryDecided(ctx context.Context, t *testing.T, s DeliveryStore) {
	for n := range 8 {
		id := beginDelivery(ctx, t, s, byte(n))
		var errs [4]error
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				if i%2 == 0 {
					errs[i] = s.EndDelivery(ctx, id, nil)
				} else {
					errs[i] = s.LoseDelivery(ctx, id)
				}
			})
		}
		wg.Wait()
		won, lost := 0, false
		for i, err := range errs {
			if err == nil {
				won++
				lost = i%2 == 1
			} else if ca.KindOf(err) != ca.Conflict {
				t.Error(err)
			}
		}
		if won != 1 || has(under(ctx, t, s, estserver.DeliveryLost), id) != lost || has(under(ctx, t, s, estserver.DeliveryBegun), id) {
			t.Errorf("%d won, lost %v", won, lost)
		}
		if err := s.ForgetDelivery(ctx, id); err != nil {
			t.Error(err)
		}
	}
}

// deliveryMarked: the mark is set with the end, and not without it.
func deliveryMarked(ctx context.Context, t *testing.T, s DeliveryStore) {
	for _, lose := range []bool{false, true} {
		id := beginDelivery(ctx, t, s, 1)
		mark := &ca.Once{ID: append([]byte("mark:"), id...), Expires: base}
		if lose {
			if err := s.LoseDelivery(ctx, id); err != nil {
				t.Fatal(err)
			}
		}
		for n := range 2 { // again, as after an outcome that is not known
			err := s.EndDelivery(ctx, id, mark)
			set, err2 := s.Spent(ctx, mark.ID)
			if (err == nil) != (n == 0 && !lose) || err != nil && ca.KindOf(err) != ca.Conflict || err2 != nil || set == lose {
				t.Errorf("lost %v: end %d: %v; the mark is set: %v, %v", lose, n+1, err, set, err2)
			}
		}
	}
	id := beginDelivery(ctx, t, s, 2)
	mark := &ca.Once{ID: []byte("mark that was set"), Expires: base}
	if err := s.SpendNonce(ctx, mark.ID, base); err != nil {
		t.Fatal(err)
	}
	if err := s.EndDelivery(ctx, id, mark); err != nil || has(under(ctx, t, s, estserver.DeliveryBegun), id) {
		t.Errorf("with a mark that was set: %v", err)
	}
}
