package limit

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newLimit(tb testing.TB, r Rule) *Limit {
	tb.Helper()
	l, err := New(r)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func TestAllow(t *testing.T) {
	l := newLimit(t, Rule{Name: "x", Count: 6, Per: time.Minute, Burst: 2})
	for i, step := range []struct {
		at    time.Duration
		key   string
		retry time.Duration
	}{
		{0, "a", 0},
		{0, "a", 0},
		{0, "a", 10 * time.Second},
		{0, "b", 0}, // keys do not share
		{4 * time.Second, "a", 6 * time.Second},
		{10 * time.Second, "a", 0},
		{10 * time.Second, "a", 10 * time.Second}, // refusals cost nothing
		{20 * time.Second, "a", 0},
		{time.Hour, "a", 0}, // full again, and not fuller
		{time.Hour, "a", 0},
		{time.Hour, "a", 10 * time.Second},
		{0, "a", 10 * time.Second}, // the clock goes back an hour: not shut for an hour
		{10 * time.Second, "a", 0},
	} {
		retry, ok := l.Allow(step.key, start.Add(step.at))
		if retry != step.retry || ok != (step.retry == 0) {
			t.Errorf("step %d: %v, %v", i, retry, ok)
		}
	}
}

func TestUnlimited(t *testing.T) {
	for _, l := range []*Limit{nil, newLimit(t, Rule{})} {
		for range 1000 {
			if _, ok := l.Allow("a", start); !ok {
				t.Fatal("refused")
			}
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, r := range []Rule{
		{Count: -1}, {Count: 1}, {Count: 10, Per: 5}, {Count: 1, Per: time.Hour, Burst: -1},
		{Count: 1, Per: time.Hour, Keys: -1}, {Count: 1, Per: -time.Hour}, {Count: 1, Per: 1 << 62, Burst: 8},
	} {
		if _, err := New(r); err == nil {
			t.Errorf("%+v was accepted", r)
		}
	}
}

func TestBounded(t *testing.T) {
	const keys = 320
	l := newLimit(t, Rule{Count: 1, Per: time.Hour, Keys: keys})
	for i := range 10 * keys {
		l.Allow(strconv.Itoa(i), start.Add(time.Duration(i)))
	}
	if n := l.Len(); n > keys || n < keys/2 {
		t.Fatalf("%d keys", n)
	}
	// The most recent is never the one that goes.
	if _, ok := l.Allow(strconv.Itoa(10*keys-1), start.Add(time.Second)); ok {
		t.Fatal("the most recent key was evicted")
	}
	long := strings.Repeat("x", 1<<20)
	l.Allow(long, start)
	for i := range l.shards {
		for key := range l.shards[i].buckets {
			if len(key) > maxKey {
				t.Fatalf("a key of %d octets is kept", len(key))
			}
		}
	}
}

func TestConcurrent(t *testing.T) {
	l := newLimit(t, Rule{Count: 100, Per: time.Hour})
	var allowed atomic.Int64
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 100 {
				if _, ok := l.Allow("a", start); ok {
					allowed.Add(1)
				}
			}
		})
	}
	group.Wait()
	if allowed.Load() != 100 {
		t.Fatalf("%d were allowed", allowed.Load())
	}
}

func TestAddressKey(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"192.0.2.1", "192.0.2.1"},
		{"192.0.2.1:443", "192.0.2.1"},
		{"::ffff:192.0.2.1", "192.0.2.1"},
		{"[::ffff:192.0.2.1]:443", "192.0.2.1"},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"[2001:db8:1:2::7]:443", "2001:db8:1:2::/64"},
		{"fe80::1%eth0", "fe80::/64"},
		{"[fe80::1%eth0]:80", "fe80::/64"},
		{"@", "@"},
		{"", ""},
	} {
		if got := AddressKey(test.in); got != test.want {
			t.Errorf("%q: %q", test.in, got)
		}
	}
}

func FuzzAddressKey(f *testing.F) {
	f.Add("192.0.2.1:443")
	f.Add("[2001:db8::1%eth0]:1")
	f.Fuzz(func(t *testing.T, in string) {
		key := AddressKey(in)
		if rest, isPrefix := strings.CutSuffix(key, "/64"); isPrefix && AddressKey(rest) != key && key != in {
			t.Fatalf("%q gives %q, which gives %q", in, key, AddressKey(rest))
		}
	})
}

func BenchmarkAllow(b *testing.B) {
	l, _ := New(Rule{Count: 1000, Per: time.Second})
	keys := make([]string, 1<<17) // twice as many as are kept
	for i := range keys {
		keys[i] = "2001:db8::" + strconv.Itoa(i)
	}
	now := time.Now()
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for i := 0; p.Next(); i++ {
			l.Allow(keys[i%len(keys)], now)
		}
	})
}
