package agent

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"time"

	"chancery/acme"
	"chancery/internal/enroll"
	"chancery/internal/enroll/vault"
)

// Store is what the agent needs of the vault.
type Store interface {
	// Names lists all certificates.
	Names() ([]string, error)
	// Records reads all; one that cannot be read comes with its name and an error.
	Records() iter.Seq2[vault.Record, error]
	// Record gives vault.ErrNone if there is none.
	Record(name string) (vault.Record, error)
	UpdateRecord(ctx context.Context, name string, change func(*vault.Record) error) error
}

// Runner gets and renews certificates; *enroll.Engine does.
type Runner interface {
	Get(ctx context.Context, sheet vault.Sheet, o enroll.Options) (enroll.Outcome, error)
}

// Advisor asks a CA when to renew; *enroll.Advisor does.
type Advisor interface {
	RenewalInfo(ctx context.Context, rec vault.Record) (*acme.RenewalInfo, error)
}

// Post takes messages to people and sees to their delivery.
type Post interface {
	enroll.Notifier
	// Flush tries what is due.
	Flush(ctx context.Context) error
	// Next is when something is due; false if nothing waits.
	Next() (time.Time, bool)
}

// Settings are the decisions that its user may make otherwise. The zero value of each
// number stands for the default.
type Settings struct {
	// Before is what part of its life a certificate has left when it is renewed, where its
	// CA does not say; 0 is a third.
	Before float64
	// IgnoreARI: CAs are not asked when to renew (RFC 9773).
	IgnoreARI bool
	// Jitter is over how much time such renewals are spread, no more than a tenth of the
	// certificate's life.
	Jitter time.Duration
	// Workers is how many certificates are worked on at a time; 0 is 4.
	Workers int
	// Starts and StartsPerCA are how many runs are begun in a minute, of all and at one CA;
	// 0 is 60 and 30.
	Starts, StartsPerCA int
	// Asks and AsksPerCA are how many questions about renewal are asked in a minute; 0 is
	// 240 and 120.
	Asks, AsksPerCA int
	// AllowCAChange and PinCA are enroll.Options'.
	AllowCAChange, PinCA bool
}

func (s Settings) filled() Settings {
	for _, one := range []struct {
		value *int
		or    int
	}{{&s.Workers, 4}, {&s.Starts, 60}, {&s.StartsPerCA, 30}, {&s.Asks, 240}, {&s.AsksPerCA, 120}} {
		if *one.value <= 0 {
			*one.value = one.or
		}
	}
	if !(s.Before > 0 && s.Before < 1) {
		s.Before = 1.0 / 3
	}
	s.Jitter = max(s.Jitter, 0)
	return s
}

// Parts are what a reload exchanges.
type Parts struct {
	Runner  Runner
	Advisor Advisor // nil: CAs are not asked
	Post    Post    // nil: nobody is told
	// Wanted are the certificates of the configuration.
	Wanted []vault.Sheet
	// Disabled are the names of those that are to be left alone.
	Disabled []string
	Settings Settings
}

// Config is what an agent is made of.
type Config struct {
	Store Store
	Parts
	// Observer hears of what the agent does beside the engine's events, one event at a time.
	Observer func(enroll.Event)
	// Finished hears the end of each run. Several may end at a time.
	Finished func(enroll.Outcome, error)
	// Alive is called whenever the loop comes round, which is at least each Tick; 0 is a
	// minute, and that is also the most.
	Alive func()
	Tick  time.Duration

	// Now is the wall clock; nil: the system's. Waiting and pace go by time.Now.
	Now func() time.Time
	// Random draws moments and jitter; nil: the system's cryptographic generator.
	Random rand.Source
}

// longestTick is how long the loop goes by what it believes of the clock.
const longestTick = time.Minute

func (c *Config) fill() error {
	if c.Store == nil || c.Runner == nil {
		return errors.New("agent: it needs a store and a runner")
	}
	c.Settings = c.Settings.filled()
	if c.Observer == nil {
		c.Observer = func(enroll.Event) {}
	}
	if c.Finished == nil {
		c.Finished = func(enroll.Outcome, error) {}
	}
	if c.Alive == nil {
		c.Alive = func() {}
	}
	if c.Tick <= 0 || c.Tick > longestTick {
		c.Tick = longestTick
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = systemRandom{}
	}
	return nil
}
