package enroll

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// Engine finds CAs and gets certificates. It may be used by several goroutines at once,
// and by several processes over one vault.
type Engine struct {
	config Config
	random *rand.Rand

	mu     sync.Mutex // owns random and pruned, and lets observers hear one event at a time
	pruned time.Time  // when CAs were forgotten last
}

// New makes an engine. The error says what its configuration lacks.
func New(c Config) (*Engine, error) {
	switch {
	case c.Resolver == nil:
		return nil, errors.New("enroll: no resolver: CAA must be known before any CA is asked")
	case c.Vault == nil:
		return nil, errors.New("enroll: no vault: accounts and orders must outlive the run")
	case c.HTTP == nil:
		return nil, errors.New("enroll: no way to CAs")
	case c.Solver == nil:
		return nil, errors.New("enroll: no way to answer challenges")
	}
	if err := c.Settings.check(); err != nil {
		return nil, err
	}
	c.Settings = c.Settings.filled()
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Sleep == nil {
		c.Sleep = sleep
	}
	if c.Random == nil {
		c.Random = systemRandom{}
	}
	return &Engine{config: c, random: rand.New(c.Random)}, nil
}

// prune forgets, once a day, CAs that were met and never used.
func (e *Engine) prune(ctx context.Context) error {
	now := e.config.Now()
	e.mu.Lock()
	due := now.Sub(e.pruned).Abs() >= 24*time.Hour
	if due {
		e.pruned = now
	}
	e.mu.Unlock()
	if !due {
		return nil
	}
	_, err := e.config.Vault.PruneCAs(ctx, now)
	return err
}

// sleep waits by the monotonic clock: a jump of the wall clock changes nothing.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// draw gives a uniform number in [0, 1).
func (e *Engine) draw() float64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.random.Float64()
}

// tell gives an event to the observer.
func (e *Engine) tell(ev Event) {
	if e.config.Observer == nil {
		return
	}
	ev.Time = e.config.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.config.Observer(ev)
}
