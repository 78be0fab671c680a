package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"chancery/acme"
	"chancery/internal/enroll"
	"chancery/internal/enroll/vault"
)

// memory is a store without a disk, for ten thousand certificates over months.
type memory struct {
	mu      sync.Mutex
	records map[string]vault.Record
	writes  int
}

func newMemory() *memory { return &memory{records: map[string]vault.Record{}} }

func (m *memory) Names() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name := range m.records {
		names = append(names, name)
	}
	return names, nil
}

func (m *memory) Records() iter.Seq2[vault.Record, error] {
	names, _ := m.Names()
	slices.Sort(names)
	return func(yield func(vault.Record, error) bool) {
		for _, name := range names {
			if rec, err := m.Record(name); err == nil && !yield(rec, nil) {
				return
			}
		}
	}
}

func (m *memory) Record(name string) (vault.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rec, ok := m.records[name]
	if !ok {
		return rec, vault.ErrNone
	}
	return deep(rec), nil
}

// deep copies what is changed through pointers.
func deep(rec vault.Record) vault.Record {
	if rec.Window != nil {
		w := *rec.Window
		rec.Window = &w
	}
	if rec.Undeployed != nil {
		u := *rec.Undeployed
		rec.Undeployed = &u
	}
	return rec
}

func (m *memory) UpdateRecord(_ context.Context, name string, change func(*vault.Record) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	rec := deep(m.records[name])
	if err := change(&rec); err != nil {
		return err
	}
	rec.Sheet.Name = name
	m.records[name] = rec
	m.writes++
	return nil
}

// world is the CAs, the engine in small, and what was asked of them.
type world struct {
	*memory
	t      *testing.T
	life   time.Duration
	window func(vault.Issued) (*acme.RenewalInfo, error) // nil: not offered
	fail   func(name string) error
	took   time.Duration // each run
	offset time.Duration // of the wall clock

	mu      sync.Mutex
	starts  []time.Time            // of runs, monotonic
	byCA    map[string][]time.Time // the same, by CA
	askings []time.Time
	expired int // runs that came after the end
	serial  int
	random  *rand.Rand
	events  map[enroll.EventKind]int
}

func newWorld(t *testing.T, life time.Duration) *world {
	return &world{memory: newMemory(), t: t, life: life, byCA: map[string][]time.Time{}, random: rand.New(rand.NewPCG(1, 2)), events: map[enroll.EventKind]int{}, took: 3 * time.Second}
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Round(0).Add(w.offset)
}

func (w *world) shift(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.offset += d
}

// issue makes a certificate of a CA, which began life at the given time.
func (w *world) issue(ca string, from time.Time) *vault.Issued {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.serial++
	sum := sha256.Sum256(fmt.Append(nil, w.serial))
	return &vault.Issued{Directory: ca, NotBefore: from, NotAfter: from.Add(w.life), ObtainedAt: from,
		CertID: fmt.Sprintf("AAAA.%06d", w.serial), SHA256: hex.EncodeToString(sum[:]), Serial: fmt.Sprint(w.serial)}
}

// fill puts n certificates into the store that were obtained within the hour.
func (w *world) fill(n, cas int) {
	now := w.now()
	for i := range n {
		name := fmt.Sprintf("c%05d.test", i)
		from := now.Add(-time.Duration(i) * min(time.Hour, w.life/4) / time.Duration(n))
		w.records[name] = vault.Record{Sheet: vault.Sheet{Name: name, Names: []string{name}}, Current: w.issue(fmt.Sprintf("https://ca%d.test/", i%cas), from)}
	}
}

// Get is the engine: what matters of it here.
func (w *world) Get(ctx context.Context, sheet vault.Sheet, o enroll.Options) (enroll.Outcome, error) {
	if !o.Unattended {
		w.t.Error("a run does not know that nobody watches")
	}
	rec, _ := w.Record(sheet.Name)
	ca := "https://ca0.test/"
	w.mu.Lock()
	w.starts = append(w.starts, time.Now())
	if rec.Current != nil {
		ca = rec.Current.Directory
	}
	w.byCA[ca] = append(w.byCA[ca], time.Now())
	w.mu.Unlock()
	select {
	case <-time.After(w.took):
	case <-ctx.Done():
		return enroll.Outcome{Result: enroll.StillValid}, ctx.Err()
	}
	now := w.now()
	if c := rec.Current; c != nil {
		if !now.Before(c.NotAfter) {
			w.mu.Lock()
			w.expired++
			w.mu.Unlock()
		} else if win := rec.Window; (win == nil || win.Chosen.After(now)) && sameNames(rec.Sheet.Names, sheet.Names) && rec.Undeployed == nil && rec.Revoked.IsZero() && now.Before(c.NotAfter.Add(-w.life/3)) {
			w.t.Errorf("the engine would say of %s that it is not due", sheet.Name)
			return enroll.Outcome{Result: enroll.NotDue}, nil
		}
	}
	if w.fail != nil {
		if err := w.fail(sheet.Name); err != nil {
			_ = w.UpdateRecord(ctx, sheet.Name, func(r *vault.Record) error {
				r.Tries.Failures++
				r.Tries.Last = now
				return nil
			})
			return enroll.Outcome{Result: enroll.StillValid}, err
		}
	}
	made := w.issue(ca, now)
	_ = w.UpdateRecord(ctx, sheet.Name, func(r *vault.Record) error {
		r.Sheet, r.Current, r.Window, r.Tries, r.Undeployed = sheet, made, nil, vault.Tries{}, nil
		return nil
	})
	return enroll.Outcome{Result: enroll.Issued, Certificate: sheet.Name}, nil
}

// RenewalInfo is the CAs' word.
func (w *world) RenewalInfo(_ context.Context, rec vault.Record) (*acme.RenewalInfo, error) {
	w.mu.Lock()
	w.askings = append(w.askings, time.Now())
	w.mu.Unlock()
	if !w.now().Before(rec.Current.NotAfter) {
		w.t.Errorf("%s expired, and its CA was asked about it (RFC 9773 §4.3)", rec.Sheet.Name)
	}
	if w.window == nil {
		return nil, acme.ErrNotOffered
	}
	return w.window(*rec.Current)
}

func (w *world) agent(s Settings) *Agent {
	w.t.Helper()
	a, err := New(Config{Store: w, Parts: Parts{Runner: w, Advisor: w, Settings: s}, Now: w.now, Random: rand.NewPCG(3, 4),
		Observer: func(e enroll.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events[e.Kind]++
		}})
	if err != nil {
		w.t.Fatal(err)
	}
	a.rescan, a.relist = 12*time.Hour, 12*time.Hour // each costs the test ten thousand looks
	return a
}

// during runs an agent for so long, and then ends it.
func (w *world) during(d time.Duration, s Settings) {
	ctx, cancel := context.WithTimeout(w.t.Context(), d)
	defer cancel()
	if err := w.agent(s).Run(ctx); err != nil {
		w.t.Error(err)
	}
}

// begun counts the runs so far.
func (w *world) begun() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.starts)
}

// most is the largest number of moments within any span of that length.
func most(moments []time.Time, span time.Duration) (top int) {
	first := 0
	for i, t := range moments {
		for t.Sub(moments[first]) >= span {
			first++
		}
		top = max(top, i-first+1)
	}
	return top
}

// bounds asserts that nothing was begun faster than the settings say: so many in a minute,
// and a twelfth more after a quiet time.
func (w *world) bounds(s Settings) {
	w.t.Helper()
	s = s.filled()
	check := func(what string, moments []time.Time, perMinute int) {
		w.t.Helper()
		burst := max(perMinute/12, 1)
		if got := most(moments, time.Minute); got > perMinute+burst+1 {
			w.t.Errorf("%d %s in a minute, more than %d", got, what, perMinute+burst+1)
		}
		if got := most(moments, time.Hour); got > 60*perMinute+burst+1 {
			w.t.Errorf("%d %s in an hour", got, what)
		}
	}
	check("runs", w.starts, s.Starts)
	check("questions", w.askings, s.Asks)
	for ca, moments := range w.byCA {
		check("runs at "+ca, moments, s.StartsPerCA)
	}
}

// never asserts that no certificate was without life.
func (w *world) never() {
	w.t.Helper()
	if w.expired > 0 {
		w.t.Errorf("%d certificates were renewed after their end", w.expired)
	}
	now := w.now()
	for name, rec := range w.records {
		if !now.Before(rec.Current.NotAfter) {
			w.t.Fatalf("%s expired on %s", name, rec.Current.NotAfter)
		}
	}
}

const day = 24 * time.Hour

// Ten thousand certificates of one hour, kept for ninety days by their own time: each is
// renewed in good time, and they spread over the day that they are given.
func TestNinetyDaysByTheirOwnTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 90*day)
		w.fill(crowd, 3)
		s := Settings{Jitter: day, IgnoreARI: true}
		w.during(90*day, s)
		w.bounds(s)
		w.never()
		if len(w.starts) != crowd { // at sixty days; the next time would be at a hundred and twenty
			t.Errorf("%d renewals", len(w.starts))
		}
		// 10 000 over 24 hours are 417 an hour.
		if got := most(w.starts, time.Hour); got > crowd/20+20 {
			t.Errorf("%d in one hour: they do not spread", got)
		}
		if got := w.starts[len(w.starts)-1].Sub(w.starts[0]); got < 23*time.Hour || got > 26*time.Hour {
			t.Errorf("they spread over %s", got)
		}
	})
}

// The same as the CAs suggest: each question is answered with a window of two days.
func TestNinetyDaysAsSuggested(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 45*day)
		w.fill(crowd, 3)
		w.window = func(c vault.Issued) (*acme.RenewalInfo, error) {
			start := c.NotBefore.Add(30 * day)
			return &acme.RenewalInfo{SuggestedWindow: acme.Window{Start: start, End: start.Add(2 * day)}, RetryAfter: 48 * time.Hour}, nil
		}
		s := Settings{Jitter: time.Hour}
		w.during(90*day, s)
		w.bounds(s)
		w.never()
		if n := len(w.starts); n < 2*crowd || n > 3*crowd {
			t.Errorf("%d renewals in 90 days of certificates that are renewed after 30 to 32", n)
		}
		if got := most(w.starts[:crowd], time.Hour); got > crowd/33+10 { // 10 000 over 48 hours are 208
			t.Errorf("%d in one hour: they do not spread over their windows", got)
		}
		// Retry-After of two days is taken for one: about 90 questions each.
		if n := len(w.askings); n < crowd*80 || n > crowd*100 {
			t.Errorf("%d questions", n)
		}
	})
}

// After an outage longer than their life all have expired; they come back at the pace.
func TestAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 90*day)
		w.fill(crowd, 4)
		time.Sleep(80 * day)
		s := Settings{Jitter: time.Hour}
		w.during(2*day, s)
		w.bounds(s)
		w.never()
		if len(w.starts) != crowd {
			t.Errorf("%d renewals", len(w.starts))
		}
	})
}

// A clock that jumps ten years ahead, and back the next day, makes nothing urgent at once.
func TestClockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 90*day)
		w.fill(crowd, 3)
		s := Settings{Jitter: time.Hour, IgnoreARI: true, Starts: 30, StartsPerCA: 10}
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		a := w.agent(s)
		done.Go(func() { _ = a.Run(ctx) })
		time.Sleep(time.Hour)
		if w.begun() != 0 {
			t.Errorf("%d renewals of fresh certificates", w.begun())
		}
		w.shift(10 * 365 * day)
		time.Sleep(settle - time.Second) // at settle itself the agent may wake before this test
		if n := w.begun(); n != 0 {
			t.Errorf("%d were begun right after the jump", n)
		}
		time.Sleep(10 * time.Minute)
		ahead := w.begun()
		if ahead == 0 || ahead > 310 {
			t.Errorf("%d renewals in ten minutes", ahead)
		}
		w.shift(-10 * 365 * day)
		time.Sleep(day)
		if n := w.begun() - ahead; n > 40 { // those under way when it jumped
			t.Errorf("%d renewals in the day after the clock was right again", n)
		}
		if w.events[EventClock] != 2 {
			t.Errorf("%d jumps were told", w.events[EventClock])
		}
		cancel()
		done.Wait()
		w.bounds(s)
	})
}

// Restarts all the time redraw nothing, and hammer nobody.
func TestRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 90*day)
		w.fill(200, 2)
		w.fail = func(string) error { return errors.New("no") }
		w.window = func(c vault.Issued) (*acme.RenewalInfo, error) {
			return &acme.RenewalInfo{SuggestedWindow: acme.Window{Start: c.NotBefore.Add(40 * day), End: c.NotBefore.Add(50 * day)}}, nil
		}
		s := Settings{Jitter: time.Hour}
		w.during(time.Hour, s)
		chosen := map[string]time.Time{}
		for name, rec := range w.records {
			chosen[name] = rec.Window.Chosen
		}
		for range 20 {
			w.during(7*time.Hour, s)
		}
		for name, rec := range w.records {
			if !rec.Window.Chosen.Equal(chosen[name]) {
				t.Fatalf("%s: drawn anew", name)
			}
		}
		time.Sleep(50 * day)
		w.starts = nil
		for range 100 {
			w.during(5*time.Minute, s)
		}
		// Eight hours: the first, and again after 10, 20, 40, 80, 160 minutes and so on.
		if n := len(w.starts); n < 200 || n > 200*8 {
			t.Errorf("%d runs of 200 certificates that fail, in 8 hours and 100 starts", n)
		}
		w.fail = nil
		w.during(day, s)
		w.never()
		for name, rec := range w.records {
			if rec.Tries.Failures != 0 {
				t.Fatalf("%s was given up", name)
			}
		}
	})
}

// A CA whose window is always in the past does not get one order after the other.
func TestWindowAlwaysPast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 90*day)
		w.fill(10, 1)
		w.window = func(c vault.Issued) (*acme.RenewalInfo, error) {
			return &acme.RenewalInfo{SuggestedWindow: acme.Window{Start: c.NotBefore.Add(-2 * day), End: c.NotBefore.Add(-day)}, RetryAfter: time.Second}, nil
		}
		w.during(day, Settings{Jitter: time.Hour})
		if n := len(w.starts); n < 10 || n > 10*5 {
			t.Errorf("%d renewals of 10 certificates in a day", n)
		}
		if n := len(w.askings); n > 10*(12*24+10) {
			t.Errorf("%d questions: Retry-After of a second was taken at its word", n)
		}
	})
}

// Short lives have short pauses: a certificate of an hour outlives an outage of its CA of
// a quarter.
func TestShortLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Hour)
		w.fill(20, 1)
		begin := time.Now()
		w.fail = func(string) error {
			if since := time.Since(begin) % (2 * time.Hour); since < 15*time.Minute {
				return errors.New("down")
			}
			return nil
		}
		w.during(2*day, Settings{Jitter: time.Minute, IgnoreARI: true})
		w.never()
	})
}
