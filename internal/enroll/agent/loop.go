package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"chancery/internal/enroll"
	"chancery/internal/enroll/vault"
)

// finish is what a worker reports.
type finish struct {
	entry *entry
	did   act
	took  time.Duration
	asks  int // questions in a row that failed, now
	out   enroll.Outcome
	err   error
}

// loop is the one goroutine that decides.
func (a *Agent) loop(ctx context.Context) error {
	workers, callOff := context.WithCancel(ctx)
	defer callOff()
	a.wall, a.mono = a.config.Now().Round(0), time.Now()
	if err := a.scan(ctx); err != nil {
		return err
	}
	a.tell(enroll.Event{Kind: EventReady, Message: fmt.Sprintf("keeping %d certificates", a.kept())})
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		a.config.Alive()
		if ctx.Err() != nil {
			return a.drain()
		}
		wait := a.turn(workers)
		if a.once != nil && a.busy == 0 && a.idle() {
			return nil
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case f := <-a.done:
			a.finished(f)
		case r := <-a.reloads:
			a.next, a.replies = &r.parts, append(a.replies, r.reply)
		case <-timer.C:
		}
	}
}

// drain waits for the workers, which were called off.
func (a *Agent) drain() error {
	a.tell(enroll.Event{Kind: EventStopping, Message: fmt.Sprintf("stopping; %d under way end in order", a.busy)})
	for a.busy > 0 {
		a.finished(<-a.done)
		a.config.Alive()
	}
	for _, reply := range a.replies {
		reply <- context.Canceled
	}
	return nil
}

// turn begins what may begin and says how long nothing else will.
func (a *Agent) turn(ctx context.Context) time.Duration {
	if a.next != nil && a.busy == 0 {
		a.exchange(ctx)
	}
	mono := time.Now()
	a.watchClock(ctx, mono)
	if mono.Sub(a.scanned) >= a.rescan {
		if err := a.scan(ctx); err != nil {
			a.warn("", "the certificates cannot be read; those that are known are kept: %v", err)
		}
	} else if mono.Sub(a.listed) >= a.relist {
		a.list(ctx)
	}
	a.mono, a.wall = mono, a.config.Now().Round(0)
	now := a.wall
	for e := a.heap.first(); e != nil && !e.step.at.After(now); e = a.heap.first() {
		a.heap.remove(e)
		a.queue(e)
	}
	wait := a.config.Tick
	if e := a.heap.first(); e != nil {
		wait = min(wait, e.step.at.Sub(now))
	}
	if a.next != nil {
		return wait
	}
	if left := a.held.Sub(mono); left > 0 {
		return min(wait, left)
	}
	for _, g := range []*gate{a.runs, a.asks} {
		for {
			e, after := g.pop(mono)
			if e == nil {
				if after > 0 {
					wait = min(wait, after)
				}
				break
			}
			a.begin(ctx, e)
		}
	}
	return wait
}

// idle tells whether nothing is to be done now.
func (a *Agent) idle() bool {
	e := a.heap.first()
	return a.runs.empty() && a.asks.empty() && (e == nil || e.step.at.After(a.config.Now()))
}

func (a *Agent) gateOf(do act) *gate {
	if do == ask {
		return a.asks
	}
	return a.runs
}

func (a *Agent) queue(e *entry) {
	e.place = queued
	a.gateOf(e.step.do).push(e)
}

// begin gives an entry to a worker.
func (a *Agent) begin(ctx context.Context, e *entry) {
	e.place = underway
	a.busy++
	job := job{name: e.name, do: e.step.do, wanted: e.wanted, asks: e.asks}
	parts, rules := a.config.Parts, a.rules
	go func() {
		start := time.Now()
		f := a.work(ctx, job, parts, rules)
		f.entry, f.did, f.took = e, job.do, time.Since(start)
		a.done <- f
	}()
}

// finished takes what a worker reports and puts the entry where it belongs now.
func (a *Agent) finished(f finish) {
	a.busy--
	a.gateOf(f.did).release(f.entry)
	if f.did == run {
		f.entry.tedious = f.err != nil && f.took > longRun
	}
	f.entry.place, f.entry.asks = nowhere, f.asks
	if f.did == run {
		a.count(f)
		a.send()
	}
	a.look(f.entry)
	a.calm(f.entry, f.did)
}

// longRun is more than a run takes at CAs that are well.
const longRun = time.Minute

// calm puts off what is due again at once although it was just done: a record that cannot
// be written, say, must not make the agent spin.
func (a *Agent) calm(e *entry, did act) {
	now := a.config.Now().Round(0)
	if e.place != timed || e.step.do != did || e.step.at.After(now) {
		e.spins = 0
		return
	}
	a.heap.remove(e)
	e.step.at = now.Add(min(time.Minute<<min(e.spins, 10), time.Hour))
	e.spins++
	a.heap.push(e)
}

func (a *Agent) count(f finish) {
	if a.once == nil || f.out.Result == "" {
		return
	}
	switch {
	case f.err != nil:
		a.once.Failed++
	case f.out.Result == enroll.Issued:
		a.once.Issued++
		if a.once.Worst == enroll.NotDue {
			a.once.Worst = enroll.Issued
		}
	}
	if f.err != nil && f.out.Result.ExitCode() > a.once.Worst.ExitCode() {
		a.once.Worst = f.out.Result
	}
}

// look reads an entry's record and times it.
func (a *Agent) look(e *entry) {
	rec, err := a.config.Store.Record(e.name)
	if errors.Is(err, vault.ErrNone) {
		rec, err = vault.Record{}, nil
		if e.wanted == nil {
			a.forget(e)
			return
		}
	}
	a.set(e, rec, err)
}

// set times an entry by its record.
func (a *Agent) set(e *entry, rec vault.Record, err error) {
	if e.place == underway {
		return // it is looked at when the worker is done
	}
	a.unplace(e)
	if err != nil {
		if !e.broken {
			a.warn(e.name, "its record cannot be read, so it is not kept: %v", err)
			a.broken(e.name, err)
		}
		e.broken = true
		return
	}
	e.broken = false
	now := a.config.Now().Round(0)
	e.end, e.ca = forever, ""
	if rec.Current != nil {
		e.end, e.ca = rec.Current.NotAfter, rec.Current.Directory
	}
	if e.step = a.rules.next(rec, e.wanted, now); e.step.do != rest {
		e.place = timed
		a.heap.push(e)
	}
}

// broken tells people, once a day and certificate, of a record that cannot be read: no
// other message would say that nothing is renewed.
func (a *Agent) broken(name string, err error) {
	post, now := a.currentPost(), a.config.Now()
	if post == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), putWithin)
	defer cancel()
	n := enroll.Notice{ID: "unreadable-" + name + "-" + now.UTC().Format(time.DateOnly), Time: now, Severity: enroll.Error,
		Subject: "The certificate " + name + " is not kept: its record cannot be read", Text: brief(err) + "\nNothing is renewed until it can.",
		Data: map[string]any{"kind": "damaged-record", "certificate": name, "error": brief(err)}}
	if err := post.Put(ctx, n); err != nil {
		a.warn(name, "the message %q could not be handed over: %v", n.Subject, err)
	}
	a.send()
}

// putWithin is how long the loop waits for a message to be kept.
const putWithin = 10 * time.Second

// unplace takes an entry out of heap or queue.
func (a *Agent) unplace(e *entry) {
	switch e.place {
	case timed:
		a.heap.remove(e)
	case queued:
		a.gateOf(e.step.do).remove(e)
	}
	e.place = nowhere
}

// watchClock compares the clocks. When the wall clock jumped, all is looked at anew, and
// nothing begun for a while.
func (a *Agent) watchClock(ctx context.Context, mono time.Time) {
	off := a.config.Now().Round(0).Sub(a.wall) - mono.Sub(a.mono)
	if off.Abs() < jump {
		return
	}
	a.held = mono.Add(settle)
	a.tell(enroll.Event{Kind: EventClock, Wait: settle.Seconds(), Message: fmt.Sprintf(
		"the clock jumped by %s, or the machine slept: everything is looked at anew, and nothing begun for %s", off.Round(time.Second), settle)})
	if err := a.scan(ctx); err != nil {
		a.warn("", "the certificates cannot be read; those that are known are kept: %v", err)
	}
}

// exchange brings in the parts of a reload.
func (a *Agent) exchange(ctx context.Context) {
	a.adopt(*a.next)
	s, now := a.config.Settings, time.Now()
	a.runs.tune(limits{s.Starts, s.StartsPerCA}, now)
	a.asks.tune(limits{s.Asks, s.AsksPerCA}, now)
	err := a.scan(ctx)
	for _, reply := range a.replies {
		reply <- err
	}
	a.next, a.replies = nil, nil
	a.tell(enroll.Event{Kind: EventReloaded, Message: fmt.Sprintf("the configuration was read again; keeping %d certificates", a.kept())})
}
