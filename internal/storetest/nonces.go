package storetest

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"chancery/internal/sqlstore"
)

// SeenNoncesStore is what the messages about spent nonces need of a store.
type SeenNoncesStore interface {
	AddSeenNonces(ctx context.Context, m sqlstore.SeenNonces) error
	SeenNonces(ctx context.Context, since time.Time, except string, each func(sqlstore.SeenNonces) error) error
	SweepSeenNonces(ctx context.Context, before time.Time, limit int) (int, error)
}

// SeenNonces is the suite of what processes tell each other of spent nonces.
func SeenNonces(t *testing.T, s SeenNoncesStore) {
	ctx := context.Background()
	sent := map[string]sqlstore.SeenNonces{}
	add := func(m sqlstore.SeenNonces) {
		t.Helper()
		if err := s.AddSeenNonces(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	for i, id := range []string{"a1", "a2", "a3", "b1"} {
		m := sqlstore.SeenNonces{ID: id, Process: id[:1], At: base.Add(time.Duration(i) * time.Second), Bits: []byte{0, byte(i), 255}}
		sent[id] = m
		add(m)
	}
	again := sent["a2"]
	again.At, again.Bits = base.Add(time.Hour), []byte{9}
	add(again) // the first time counts

	tests := []struct {
		since  time.Duration
		except string
		want   []string
	}{
		{0, "", []string{"a1", "a2", "a3", "b1"}},
		{time.Second, "", []string{"a2", "a3", "b1"}},
		{time.Second + time.Millisecond, "b", []string{"a3"}},
		{0, "a", []string{"b1"}},
		{4 * time.Second, "", nil},
	}
	expect := func(since time.Duration, except string, want ...string) {
		t.Helper()
		got := readSeen(ctx, t, s, base.Add(since), except)
		if len(got) != len(want) {
			t.Errorf("since %v except %q: %d messages, want %v", since, except, len(got), want)
		}
		for _, id := range want {
			if g, w := got[id], sent[id]; g.Process != w.Process || !g.At.Equal(w.At) || !bytes.Equal(g.Bits, w.Bits) {
				t.Errorf("%s: %+v, want %+v", id, g, w)
			}
		}
	}
	for _, test := range tests {
		expect(test.since, test.except, test.want...)
	}
	stop := errors.New("stop")
	if err := s.SeenNonces(ctx, base, "", func(sqlstore.SeenNonces) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the reader's own error came back as %v", err)
	}
	for _, want := range []int{2, 1, 0} {
		if n, err := s.SweepSeenNonces(ctx, base.Add(3*time.Second), 2); err != nil || n != want {
			t.Errorf("swept %d, %v; want %d", n, err, want)
		}
	}
	expect(0, "", "b1")
}

func readSeen(ctx context.Context, t *testing.T, s SeenNoncesStore, since time.Time, except string) map[string]sqlstore.SeenNonces {
	t.Helper()
	got := map[string]sqlstore.SeenNonces{}
	err := s.SeenNonces(ctx, since, except, func(m sqlstore.SeenNonces) error {
		if _, twice := got[m.ID]; twice {
			t.Errorf("%s came twice", m.ID)
		}
		m.Bits = bytes.Clone(m.Bits)
		got[m.ID] = m
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}
