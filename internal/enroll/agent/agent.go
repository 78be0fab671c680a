package agent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"chancery/internal/enroll"
	"chancery/internal/enroll/vault"
)

// Agent keeps the certificates of a store. Run or Once is called once.
type Agent struct {
	config Config
	rules  rules

	// Owned by the loop.
	entries map[string]*entry
	heap    *heap
	runs    *gate
	asks    *gate
	busy    int            // workers at work
	scanned time.Time      // when all records were read last, monotonic
	listed  time.Time      // when their names were, monotonic
	held    time.Time      // nothing is begun before, monotonic
	wall    time.Time      // the wall clock when the loop came round last,
	mono    time.Time      // and the monotonic one
	next    *Parts         // of a reload, when the workers are done
	replies []chan<- error // of it
	once    *Summary
	rescan  time.Duration // between two readings of all records,
	relist  time.Duration // and of their names

	done    chan finish
	reloads chan reload
	poke    chan struct{} // there may be messages to send

	mu     sync.Mutex // owns random, and lets the observer hear one event at a time
	random *rand.Rand
}

type reload struct {
	parts Parts
	reply chan<- error
}

// Summary counts what a pass came to.
type Summary struct {
	Issued, Failed int
	// Worst is how the worst run ended, enroll.NotDue if there was none.
	Worst enroll.Result
}

// After a jump of the clock nothing is begun for settle, since a second jump, back, is not
// rare.
const (
	settle = 2 * time.Minute
	jump   = time.Minute
)

// New makes an agent.
func New(c Config) (*Agent, error) {
	if err := c.fill(); err != nil {
		return nil, err
	}
	a := &Agent{
		config: c, entries: map[string]*entry{}, heap: &heap{before: func(a, b *entry) bool { return a.step.at.Before(b.step.at) }},
		done: make(chan finish), reloads: make(chan reload), poke: make(chan struct{}, 1), random: rand.New(c.Random),
		rescan: 10 * time.Minute, relist: time.Minute,
	}
	now := time.Now()
	s := c.Settings
	a.runs, a.asks = newGate(limits{s.Starts, s.StartsPerCA}, s.Workers, now), newGate(limits{s.Asks, s.AsksPerCA}, s.Workers, now)
	a.adopt(c.Parts)
	return a, nil
}

// adopt makes the rules of the parts.
func (a *Agent) adopt(p Parts) {
	p.Settings = p.Settings.filled()
	before := a.config.Settings.Workers
	a.mu.Lock()
	a.config.Parts = p
	a.mu.Unlock()
	a.runs.staff(before, p.Settings.Workers)
	a.asks.staff(before, p.Settings.Workers)
	a.rules = rules{settings: p.Settings, advised: !p.Settings.IgnoreARI && p.Advisor != nil}
}

// Run keeps the certificates until ctx is done. Runs of the engine that are under way are
// called off then and end in order: their orders stay for the next start. The error says
// that the store cannot be read.
func (a *Agent) Run(ctx context.Context) error {
	var post sync.WaitGroup
	post.Go(func() { a.deliver(ctx) })
	defer post.Wait()
	return a.loop(ctx)
}

// Once does what is due now and ends.
func (a *Agent) Once(ctx context.Context) (Summary, error) {
	a.once = &Summary{Worst: enroll.NotDue}
	err := a.loop(ctx)
	return *a.once, err
}

// Reload exchanges the parts when the workers are done; nothing new is begun meanwhile. It
// returns when it is done, or with the context's error.
func (a *Agent) Reload(ctx context.Context, p Parts) error {
	reply := make(chan error, 1)
	select {
	case a.reloads <- reload{p, reply}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *Agent) tell(ev enroll.Event) {
	ev.Time = a.config.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.config.Observer(ev)
}

// warn tells what went wrong without harm.
func (a *Agent) warn(name, format string, args ...any) {
	a.tell(enroll.Event{Kind: enroll.EventWarning, Certificate: name, Message: fmt.Sprintf(format, args...)})
}

// draw gives a number in [0, 1).
func (a *Agent) draw() float64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.random.Float64()
}

// deliver sends messages when they are due, and again when they could not be delivered.
func (a *Agent) deliver(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.poke:
		case <-timer.C:
		}
		timer.Reset(longestTick)
		post := a.currentPost()
		if post == nil {
			continue
		}
		if at, waits := post.Next(); waits && !at.After(a.config.Now()) {
			if err := post.Flush(ctx); err != nil && ctx.Err() == nil {
				a.warn("", "messages could not be delivered, and are kept: %v", err)
			}
		}
	}
}

func (a *Agent) currentPost() Post {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.config.Post
}

func (a *Agent) send() {
	select {
	case a.poke <- struct{}{}:
	default:
	}
}

// wantedOf indexes the configuration's certificates.
func wantedOf(p Parts) (wanted map[string]*vault.Sheet, disabled map[string]bool) {
	wanted, disabled = map[string]*vault.Sheet{}, map[string]bool{}
	for i := range p.Wanted {
		wanted[p.Wanted[i].Name] = &p.Wanted[i]
	}
	for _, name := range p.Disabled {
		disabled[name] = true
	}
	return wanted, disabled
}
