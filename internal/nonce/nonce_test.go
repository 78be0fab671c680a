package nonce

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// clock is a hand-driven clock.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(start.UnixNano())
	return c
}

func (c *clock) Now() time.Time          { return time.Unix(0, c.at.Load()) }
func (c *clock) Advance(d time.Duration) { c.at.Add(int64(d)) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newSource(tb testing.TB, purpose string, r *Ring, c *clock) *Source {
	tb.Helper()
	return must(NewSource(Config{Purpose: purpose, Ring: r, Clock: c.Now}))
}

func TestMintAndCheck(t *testing.T) {
	c := newClock()
	s := newSource(t, "acme", must(NewRing([]Key{NewKey(c.Now())})), c)
	first, second := s.Mint(), s.Mint()
	if first == second || len(first) != 56 || strings.Trim(first, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		t.Fatalf("%q, %q", first, second)
	}
	a, b := must(s.Check(first)), must(s.Check(second))
	if string(a.ID()) == string(b.ID()) || a.Source() != b.Source() || a.Sequence() != 1 || b.Sequence() != 2 {
		t.Fatalf("%+v, %+v", a, b)
	}
	if !a.Expires().Equal(start.Add(48 * time.Hour)) {
		t.Fatalf("expires %v", a.Expires())
	}
}

func TestCheckRefuses(t *testing.T) {
	c := newClock()
	ring := must(NewRing([]Key{NewKey(c.Now())}))
	s := newSource(t, "acme", ring, c)
	good := s.Mint()
	otherKey := NewKey(c.Now())
	sameID := NewKey(c.Now())
	sameID.ID = (*ring.keys.Load())[0].ID
	tests := []struct {
		name, text string
		err        error
	}{
		{"empty", "", ErrMalformed},
		{"short", good[:55], ErrMalformed},
		{"long", good + "A", ErrMalformed},
		{"line break", good[:55] + "\n", ErrMalformed},
		{"other alphabet", "+" + good[1:], ErrMalformed},
		{"padding", good[:54] + "==", ErrMalformed},
		{"other purpose", newSource(t, "digest", ring, c).Mint(), ErrForged},
		{"longer purpose", newSource(t, "acmes", ring, c).Mint(), ErrForged},
		{"unknown key", newSource(t, "acme", must(NewRing([]Key{otherKey})), c).Mint(), ErrForged},
		{"other secret", newSource(t, "acme", must(NewRing([]Key{sameID})), c).Mint(), ErrForged},
		{"nothing but zeros", strings.Repeat("A", 56), ErrForged},
	}
	for _, test := range tests {
		if _, err := s.Check(test.text); !errors.Is(err, test.err) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	raw := must(base64.RawURLEncoding.DecodeString(good))
	for i := range raw {
		raw[i] ^= 1
		if _, err := s.Check(base64.RawURLEncoding.EncodeToString(raw)); !errors.Is(err, ErrForged) {
			t.Errorf("octet %d changed: %v", i, err)
		}
		raw[i] ^= 1
	}
}

func TestAge(t *testing.T) {
	c := newClock()
	s := newSource(t, "acme", must(NewRing([]Key{NewKey(c.Now())})), c)
	n := s.Mint()
	for _, step := range []struct {
		by  time.Duration
		err error
	}{
		{Lifetime, nil},                                // the last instant
		{time.Second, ErrExpired},                      // past it
		{-time.Second - Lifetime - 5*time.Minute, nil}, // the clock was set back a little before the minting
		{-time.Hour, ErrExpired},                       // and a lot
	} {
		c.Advance(step.by)
		if _, err := s.Check(n); !errors.Is(err, step.err) {
			t.Errorf("after %v: %v", step.by, err)
		}
	}
	// What is minted now works now, whatever the clock did.
	if _, err := s.Check(s.Mint()); err != nil {
		t.Error(err)
	}
}

func TestRestartAndReplicas(t *testing.T) {
	c := newClock()
	ring := must(NewRing([]Key{NewKey(c.Now())}))
	before := newSource(t, "acme", ring, c)
	n := must(before.Check(before.Mint()))
	after := newSource(t, "acme", ring, c)
	m := must(before.Check(after.Mint()))
	if string(n.ID()) == string(m.ID()) || m.Sequence() != n.Sequence() {
		t.Fatal("a restarted source mints what was minted before")
	}
	if _, err := after.Check(before.Mint()); err != nil {
		t.Fatalf("after a restart: %v", err)
	}
}

// Two replicas over ten days: one keeps the keys, the other reads them up to
// nine minutes late. Each nonce must be accepted by both for its whole life.
func TestRotation(t *testing.T) {
	c := newClock()
	stored := []Key{NewKey(c.Now())}
	prompt, late := must(NewRing(stored)), must(NewRing(stored))
	a, b := newSource(t, "acme", prompt, c), newSource(t, "acme", late, c)
	type minted struct {
		text string
		at   time.Time
	}
	var alive []minted
	made, deleted, read := 1, 0, 0
	const step = 3 * time.Minute
	for range int(10 * 24 * time.Hour / step) {
		c.Advance(step)
		now := c.Now()
		if prompt.Due(now) {
			stored = append(stored, NewKey(now))
			made++
		}
		for _, id := range prompt.Stale(now) {
			for i := range stored {
				if stored[i].ID == id {
					stored = append(append([]Key(nil), stored[:i]...), stored[i+1:]...)
					deleted++
					break
				}
			}
		}
		if err := prompt.Set(stored); err != nil {
			t.Fatal(err)
		}
		if read++; read%3 == 0 {
			if err := late.Set(stored); err != nil {
				t.Fatal(err)
			}
		}
		alive = append(alive, minted{a.Mint(), now}, minted{b.Mint(), now})
		for len(alive) > 0 && now.Sub(alive[0].at) > Lifetime {
			alive = alive[1:]
		}
		// The oldest, the newest and some between.
		for i := 0; i < len(alive); i += max(1, len(alive)/7) {
			for _, s := range []*Source{a, b} {
				if _, err := s.Check(alive[i].text); err != nil {
					t.Fatalf("a nonce of %v at %v: %v", alive[i].at, now, err)
				}
			}
		}
		if _, err := b.Check(alive[len(alive)-2].text); err != nil {
			t.Fatalf("the newest: %v", err)
		}
	}
	if made != 11 || deleted < 6 || len(stored) > 5 {
		t.Fatalf("%d keys made, %d deleted, %d left", made, deleted, len(stored))
	}
}

func TestCurrentKey(t *testing.T) {
	c := newClock()
	old, young := NewKey(c.Now()), NewKey(c.Now().Add(time.Hour))
	r := must(NewRing([]Key{young, old}))
	for _, test := range []struct {
		at   time.Duration
		want Key
	}{
		{0, old}, {time.Hour + 9*time.Minute, old}, {time.Hour + 10*time.Minute, young}, {-time.Hour, old},
	} {
		if got := r.current(start.Add(test.at)); got.ID != test.want.ID {
			t.Errorf("at %v: %v", test.at, got)
		}
	}
	if r.Due(start.Add(24*time.Hour)) || !r.Due(start.Add(25*time.Hour)) {
		t.Error("due at the wrong time")
	}
	// A rotation that stopped for a month leaves the last key in use.
	if got := r.Stale(start.Add(30 * 24 * time.Hour)); len(got) != 1 || got[0] != old.ID {
		t.Errorf("stale: %v", got)
	}
}

func TestRingRefuses(t *testing.T) {
	k := NewKey(start)
	r := must(NewRing([]Key{k}))
	for name, keys := range map[string][]Key{"none": nil, "twice": {k, k}, "no secret": {{ID: 1, Created: start}}} {
		if err := r.Set(keys); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if r.current(start) != k {
		t.Error("the ring changed")
	}
	for _, text := range []string{fmt.Sprint(k), fmt.Sprintf("%+v", k), fmt.Sprintf("%#v", k), k.LogValue().String(), fmt.Sprint([]Key{k})} {
		shown := strings.Contains(text, fmt.Sprintf("%d %d", k.Secret[0], k.Secret[1])) || strings.Contains(text, fmt.Sprintf("%#x, %#x", k.Secret[0], k.Secret[1]))
		if shown || !strings.Contains(text, "nonce key") {
			t.Errorf("a key prints as %s", text)
		}
	}
	for _, c := range []Config{{Ring: r}, {Purpose: "x"}, {Purpose: strings.Repeat("x", 256), Ring: r}} {
		if _, err := NewSource(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

func TestConcurrentMint(t *testing.T) {
	c := newClock()
	keys := []Key{NewKey(c.Now())}
	ring := must(NewRing(keys))
	s := newSource(t, "acme", ring, c)
	seen := NewSeen(SeenConfig{Clock: c.Now})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 500 {
				if n, err := s.Check(s.Mint()); err != nil || !seen.Spend(n) {
					t.Errorf("%v", err)
					return
				}
				if err := ring.Set(keys); err != nil {
					t.Error(err)
				}
				seen.Merge(seen.Drain())
			}
		})
	}
	group.Wait()
	if seen.Len() != 4000 {
		t.Fatalf("%d spent", seen.Len())
	}
}

func FuzzCheck(f *testing.F) {
	c := newClock()
	s := newSource(f, "acme", must(NewRing([]Key{NewKey(c.Now())})), c)
	good := s.Mint()
	f.Add(good)
	f.Add("")
	f.Add(strings.Repeat("_", 56))
	f.Fuzz(func(t *testing.T, text string) {
		// The keys are fresh in each process, so nothing that is found may pass.
		if _, err := s.Check(text); err == nil && text != good {
			t.Fatalf("%q was accepted", text)
		}
	})
}

func BenchmarkMint(b *testing.B) {
	c := newClock()
	s := newSource(b, "acme", must(NewRing([]Key{NewKey(c.Now())})), c)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			s.Mint()
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	c := newClock()
	s := newSource(b, "acme", must(NewRing([]Key{NewKey(c.Now())})), c)
	n := s.Mint()
	b.ReportAllocs()
	for b.Loop() {
		must(s.Check(n))
	}
}
