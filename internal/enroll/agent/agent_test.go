package agent

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"chancery/internal/enroll"
	"chancery/internal/enroll/vault"
)

// box is a post that keeps what it is given.
type box struct {
	mu      sync.Mutex
	put     []enroll.Notice
	flushed int
	waiting bool
}

func (b *box) Put(_ context.Context, n enroll.Notice) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put, b.waiting = append(b.put, n), true
	return nil
}

func (b *box) Flush(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flushed++
	b.waiting = false
	return nil
}

func (b *box) Next() (time.Time, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Time{}, b.waiting
}

// A reload waits for what is under way, takes in new entries, and leaves alone what is not
// listed any more.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 90*day)
		w.took = 10 * time.Minute
		sheet := func(name string) vault.Sheet {
			return vault.Sheet{Name: name, Names: []string{name}, Origin: ofConfiguration}
		}
		parts := Parts{Runner: w, Advisor: w, Wanted: []vault.Sheet{sheet("a.test")}}
		a, err := New(Config{Store: w, Parts: parts, Now: w.now})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { _ = a.Run(ctx) })
		time.Sleep(time.Minute)
		if w.begun() != 1 {
			t.Fatalf("%d runs", w.begun())
		}
		parts.Wanted = []vault.Sheet{sheet("b.test")}
		if err := a.Reload(ctx, parts); err != nil {
			t.Fatal(err)
		}
		if rec, err := w.Record("a.test"); err != nil || rec.Current == nil {
			t.Error("the reload did not wait for what was under way")
		}
		time.Sleep(80 * day)
		if a, _ := w.Record("a.test"); a.Current.Serial != "1" {
			t.Error("what is not listed any more was renewed")
		}
		if b, err := w.Record("b.test"); err != nil || b.Current == nil || b.Current.Serial == "2" {
			t.Errorf("the new entry was not kept: %v", err)
		}
		cancel()
		done.Wait()
	})
}

// What others add to the vault is kept, too; what they remove is forgotten.
func TestOthersAtTheVault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 90*day)
		a, err := New(Config{Store: w, Parts: Parts{Runner: w, Advisor: w}, Now: w.now})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { _ = a.Run(ctx) })
		time.Sleep(time.Hour)
		for _, name := range []string{"kept.test", "gone.test"} {
			made := w.issue("https://ca.test/", w.now().Add(-59*day))
			_ = w.UpdateRecord(ctx, name, func(r *vault.Record) error { r.Sheet.Names, r.Current = []string{name}, made; return nil })
		}
		time.Sleep(5 * time.Minute)
		w.mu.Lock()
		w.memory.mu.Lock()
		delete(w.records, "gone.test")
		w.memory.mu.Unlock()
		w.mu.Unlock()
		time.Sleep(2 * day)
		if rec, _ := w.Record("kept.test"); rec.Current.Serial != "3" {
			t.Errorf("it was not renewed: %s", rec.Current.Serial)
		}
		if w.begun() != 1 {
			t.Errorf("%d runs", w.begun())
		}
		cancel()
		done.Wait()
	})
}

// A run that is called off is nobody's failure, and the next start takes it up at once.
func TestCalledOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 90*day)
		w.records["a.test"] = vault.Record{Sheet: vault.Sheet{Name: "a.test", Names: []string{"a.test"}}, Current: w.issue("https://ca.test/", w.now().Add(-70*day))}
		w.took = time.Hour
		w.during(time.Minute, Settings{IgnoreARI: true})
		if rec, _ := w.Record("a.test"); rec.Tries != (vault.Tries{}) {
			t.Errorf("it counts: %+v", rec.Tries)
		}
		w.took = time.Second
		w.during(time.Minute, Settings{IgnoreARI: true})
		if rec, _ := w.Record("a.test"); rec.Current.Serial != "2" {
			t.Error("it was not taken up")
		}
	})
}

// A failure before the engine counts it, such as one of the settings, has its pause too.
func TestFailureBeforeTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 90*day)
		calls := 0
		runner := runnerFunc(func() (enroll.Outcome, error) {
			calls++
			return enroll.Outcome{Result: enroll.Failed}, errors.New("no challenge is set up")
		})
		parts := Parts{Runner: runner, Wanted: []vault.Sheet{{Name: "a.test", Names: []string{"a.test"}, Origin: ofConfiguration}}}
		for range 30 { // restarts
			a, err := New(Config{Store: w, Parts: parts, Now: w.now})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			_ = a.Run(ctx)
			cancel()
		}
		rec, err := w.Record("a.test")
		if err != nil || rec.Tries.Failures != calls || rec.Tries.Cause == "" || rec.Sheet.Origin != ofConfiguration {
			t.Errorf("%d calls: %+v, %v", calls, rec, err)
		}
		if calls < 3 || calls > 8 {
			t.Errorf("%d tries in five hours", calls)
		}
	})
}

type runnerFunc func() (enroll.Outcome, error)

func (f runnerFunc) Get(context.Context, vault.Sheet, enroll.Options) (enroll.Outcome, error) {
	return f()
}

// A certificate that does not come into use is put there again until it is; what people
// are told of it is the engine's, and is sent.
func TestDeploymentIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, post := newWorld(t, 90*day), &box{}
		w.records["a.test"] = vault.Record{Sheet: vault.Sheet{Name: "a.test", Names: []string{"a.test"}}, Current: w.issue("https://ca.test/", w.now()),
			Undeployed: &vault.Undeployed{Generation: "g000001"}}
		tries := 0
		runner := runnerFunc(func() (enroll.Outcome, error) {
			tries++
			_ = w.UpdateRecord(t.Context(), "a.test", func(r *vault.Record) error {
				if u := r.Undeployed; tries > 6 {
					r.Undeployed = nil
				} else {
					u.Failures++
					u.Cause, u.Next = "hook", w.now().Add(time.Minute<<min(u.Failures, 6))
				}
				return nil
			})
			if tries == 3 {
				_ = post.Put(t.Context(), enroll.Notice{ID: "undeployed"})
			}
			if tries > 6 {
				return enroll.Outcome{Result: enroll.NotDue}, nil
			}
			return enroll.Outcome{Result: enroll.Undeployed, Unused: "hook"}, nil
		})
		a, err := New(Config{Store: w, Parts: Parts{Runner: runner, Post: post}, Now: w.now})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), day)
		defer cancel()
		_ = a.Run(ctx)
		if tries != 7 || len(post.put) != 1 {
			t.Errorf("%d tries, %+v", tries, post.put)
		}
		if post.flushed == 0 {
			t.Error("nothing was sent")
		}
	})
}

// A store that takes no writes does not make the agent spin.
func TestDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 90*day)
		w.fill(5, 1)
		full := &readOnly{w.memory}
		a, err := New(Config{Store: full, Parts: Parts{Runner: w, Advisor: w}, Now: w.now})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), day)
		defer cancel()
		_ = a.Run(ctx)
		if n := len(w.askings); n < 5 || n > 5*200 {
			t.Errorf("%d questions in a day", n)
		}
	})
}

type readOnly struct{ *memory }

func (readOnly) UpdateRecord(context.Context, string, func(*vault.Record) error) error {
	return errors.New("there is no space left")
}

// One pass does what is due and ends.
func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 90*day)
		w.fill(3, 1)
		sum, err := w.agent(Settings{}).Once(t.Context())
		if err != nil || sum != (Summary{Worst: enroll.NotDue}) || len(w.askings) != 3 {
			t.Errorf("%+v, %v, %d questions", sum, err, len(w.askings))
		}
		time.Sleep(61 * day)
		w.fail = func(name string) error {
			if name == "c00001.test" {
				return errors.New("no")
			}
			return nil
		}
		sum, err = w.agent(Settings{}).Once(t.Context())
		if err != nil || sum != (Summary{Issued: 2, Failed: 1, Worst: enroll.StillValid}) {
			t.Errorf("%+v, %v", sum, err)
		}
	})
}

// Whose certificate ends first comes first, at whichever CA; no CA gets more than its share,
// and no more work than there are workers.
func TestUrgentFirst(t *testing.T) {
	now := time.Now()
	g := newGate(limits{total: 600, perCA: 24}, 5, now)
	for name, end := range map[string]time.Duration{"c": 3, "a": 1, "d": 4, "b": 2, "e": 5} {
		g.push(&entry{name: name, ca: "https://one.test/", end: now.Add(end * day)})
	}
	g.push(&entry{name: "z", ca: "https://two.test/", end: now.Add(90 * day)})
	order := ""
	for e, _ := g.pop(now); e != nil; e, _ = g.pop(now) {
		order += e.name
	}
	if order != "abz" { // two at the first CA, which is a twelfth of 24
		t.Errorf("%q", order)
	}
	e, wait := g.pop(now)
	if e != nil || wait <= 0 || wait > 2500*time.Millisecond+1 {
		t.Errorf("%v, %s", e, wait)
	}
	now = now.Add(wait)
	if e, _ := g.pop(now); e == nil || e.name != "c" {
		t.Errorf("%+v", e)
	}
	now = now.Add(time.Hour)
	if e, _ := g.pop(now); e == nil || e.name != "d" {
		t.Errorf("%+v", e)
	}
	if e, wait := g.pop(now); e != nil || wait != 0 {
		t.Errorf("more work than workers: %+v", e)
	}
}

// unreadable is a store with a record that cannot be read.
type unreadable struct{ Store }

func (unreadable) Names() ([]string, error) { return []string{"a.test"}, nil }

func (unreadable) Record(string) (vault.Record, error) {
	return vault.Record{}, &vault.FileError{Path: "/a.test/record.json", Reason: strings.Repeat("this file is damaged ", 1000)}
}

func (u unreadable) Records() iter.Seq2[vault.Record, error] {
	return func(yield func(vault.Record, error) bool) {
		_, err := u.Record("")
		yield(vault.Record{Sheet: vault.Sheet{Name: "a.test"}}, err)
	}
}

// A record that cannot be read is a message: nothing else would say that nothing is renewed.
func TestDamagedRecordIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(t, 90*day), &box{}
		a, err := New(Config{Store: unreadable{w}, Parts: Parts{Runner: w, Post: b}, Now: w.now})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_ = a.Run(ctx)
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.put) != 1 || b.put[0].Severity != enroll.Error || !strings.Contains(b.put[0].Text, "/a.test/record.json") || len(b.put[0].Text) > 3000 || b.flushed == 0 {
			t.Errorf("%d messages: %.200v", len(b.put), b.put)
		}
	})
}

// What a run says is kept in bounds, and another configuration does not make people hear
// the same again.
func TestFailuresInTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 90*day)
		a, err := New(Config{Store: w, Parts: Parts{Runner: w}, Now: w.now})
		if err != nil {
			t.Fatal(err)
		}
		rec := vault.Record{Sheet: vault.Sheet{Name: "a.test", Names: []string{"a.test"}}, Tries: vault.Tries{Failures: 2, Told: "none", Since: noon}}
		a.failed(t.Context(), rec, failure{sheet: rec.Sheet, err: errors.New(strings.Repeat("é", 100_000))})
		if got, _ := w.Record("a.test"); len(got.Tries.Cause) > 3000 || got.Tries.Told != "" {
			t.Errorf("%d octets, told %q", len(got.Tries.Cause), got.Tries.Told)
		}
		if adoptSheet(&rec, &vault.Sheet{Name: "a.test", Names: []string{"b.test"}}, noon); rec.Tries.Failures != 0 || rec.Tries.Told != "none" || rec.Tries.Since != noon {
			t.Errorf("%+v", rec.Tries)
		}
	})
}

// Names whose CAs hang until the time is over take half of the workers, and no more once
// that is known: other certificates are renewed at once.
func TestHostileNamesStarveNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 90*day)
		var wanted []vault.Sheet
		for i := range 12 {
			name := fmt.Sprintf("hostile%d.test", i)
			wanted = append(wanted, vault.Sheet{Name: name, Names: []string{name}, Origin: ofConfiguration})
		}
		hang := runnerSheet(func(ctx context.Context, s vault.Sheet, o enroll.Options) (enroll.Outcome, error) {
			if !strings.HasPrefix(s.Name, "hostile") {
				return w.Get(ctx, s, o)
			}
			select {
			case <-time.After(15 * time.Minute):
			case <-ctx.Done():
			}
			return enroll.Outcome{Result: enroll.Failed}, errors.New("no CA issued")
		})
		a, err := New(Config{Store: w, Parts: Parts{Runner: hang, Wanted: wanted}, Now: w.now})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { _ = a.Run(ctx) })
		time.Sleep(3 * time.Hour)
		for i := range 20 {
			name := fmt.Sprintf("good%02d.test", i)
			made := w.issue("https://ca.test/", w.now().Add(-70*day))
			_ = w.UpdateRecord(ctx, name, func(r *vault.Record) error { r.Sheet.Names, r.Current = []string{name}, made; return nil })
			time.Sleep(5 * time.Minute)
			if rec, _ := w.Record(name); rec.Current.Serial == made.Serial {
				t.Errorf("%s waits", name)
			}
		}
		cancel()
		done.Wait()
	})
}

type runnerSheet func(context.Context, vault.Sheet, enroll.Options) (enroll.Outcome, error)

func (f runnerSheet) Get(ctx context.Context, s vault.Sheet, o enroll.Options) (enroll.Outcome, error) {
	return f(ctx, s, o)
}
