package srpfront

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// sharing gives a process's patience with a file.
func sharing(t *testing.T, path string) *patience {
	t.Helper()
	b, err := openBook(path, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.file.Close() })
	return &patience{first: time.Second, longest: time.Minute, forget: time.Hour, most: 100, names: map[string]*record{}, book: b, logger: slog.New(slog.DiscardHandler)}
}

// tries gives how long the name waits now, in a process that has it wait no longer.
func (p *patience) tries(name string, now time.Time) time.Duration {
	d, _ := p.turn(name, now)
	p.done(name)
	return d
}

// TestSharedBackOff: failures count in every process with the file, and in the next one.
func TestSharedBackOff(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	a, b := sharing(t, path), sharing(t, path)
	now, s := time.Now(), time.Second
	for i, test := range []struct {
		p    *patience
		want time.Duration
	}{{a, 0}, {b, s}, {a, 3 * s}, {sharing(t, path), 7 * s}, {b, 15 * s}} {
		if got := test.p.tries("jdoe", now); got != test.want {
			t.Errorf("try %d waits %v, want %v", i, got, test.want)
		}
	}
	if got := b.tries("other", now); got != 0 {
		t.Errorf("another waits %v", got)
	}
	b.arrived("jdoe", now)
	for i, want := range []time.Duration{0, s} {
		if got := a.tries("jdoe", now); got != want {
			t.Errorf("after a good log-in at another process, try %d waits %v, want %v", i, got, want)
		}
	}
	if got := b.tries("jdoe", now.Add(2*time.Hour)); got != 0 {
		t.Errorf("waits %v after a long time", got)
	}
	// A clock that was ahead by years.
	b.tries("jdoe", now.Add(100_000*time.Hour))
	b.tries("jdoe", now.Add(100_000*time.Hour))
	if got := a.tries("jdoe", now); got > (maxWaiting+1)*time.Minute {
		t.Errorf("waits %v", got)
	}
}

// TestAtOnceInTheBook: no failure gets lost between processes.
func TestAtOnceInTheBook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	now := time.Now()
	var all sync.WaitGroup
	for range 4 {
		p := sharing(t, path)
		all.Go(func() {
			for range 25 {
				p.tries("jdoe", now)
			}
		})
	}
	all.Wait()
	err := sharing(t, path).book.change("jdoe", now, func(r *record) *record {
		if r == nil || r.failures != 100 {
			t.Errorf("%+v", r)
		}
		return r
	})
	if err != nil {
		t.Error(err)
	}
}

// TestBookIsBounded: the file does not grow with names, has none of them in clear, and a
// flood does not wash away who failed often.
func TestBookIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	p := sharing(t, path)
	now := time.Now()
	for range 20 {
		p.tries("jdoe", now)
	}
	for n := range buckets * places {
		if err := p.book.change(fmt.Sprint("flood", n), now, func(*record) *record { return &record{failures: 1, next: now, last: now} }); err != nil {
			t.Fatal(err)
		}
	}
	if got := p.tries("jdoe", now); got < time.Minute {
		t.Errorf("jdoe waits %v", got)
	}
	content, err := os.ReadFile(path)
	if err != nil || len(content) > bookHead+buckets*bucketSize || bytes.Contains(content, []byte("jdoe")) {
		t.Errorf("%d octets, %v", len(content), err)
	}
}

// TestStrangeState: a file of something else is left alone, and a full disk stops nobody.
func TestStrangeState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	for _, content := range []string{"x", strings.Repeat("x", 1000), bookMark} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(Config{Listen: newTerminator(t, "tcp", "127.0.0.1:0"), Backend: "127.0.0.1:1", State: path}); err == nil || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("%.20q is taken: %v", content, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	p := sharing(t, path)
	now := time.Now()
	p.tries("jdoe", now)
	_ = p.book.file.Close()
	if got := p.tries("jdoe", now); got != time.Second {
		t.Errorf("without the file it waits %v", got)
	}
	p.arrived("jdoe", now)
	if got := p.tries("jdoe", now); got != 0 {
		t.Errorf("after a good log-in it waits %v", got)
	}
}
