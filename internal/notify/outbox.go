package notify

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// What an outbox does if its options do not say otherwise.
const (
	DefaultLimit = 100
	FirstPause   = time.Minute   // after a first failure; it doubles with each
	LongestPause = 6 * time.Hour // and after a lasting failure at once

	remembered = 90 * 24 * time.Hour // for how long a delivered message is known again
	memories   = 4096                // and how many of them
	maxText    = 64 << 10            // octets
	maxSubject = 200                 // characters
	patience   = 2                   // failures in a row after which a flush leaves a channel alone
)

// Options are an outbox's. The zero value has no channels.
type Options struct {
	// Channels get every message. Their names differ.
	Channels []Channel
	// Limit is how many messages may wait; beyond it the oldest become one that says how
	// many were dropped. 0 means DefaultLimit.
	Limit int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Random gives numbers in [0, 1) for jitter; nil means a secure source.
	Random func() float64
}

// Outbox is a directory of messages that not every channel has delivered yet. Several
// processes may share it. Delivery is at least once: a channel gets a message a second
// time only if the process ends between the other side's taking it and the note of that
// on the disk. Message-ID and the "id" member are then the same, so that the receiver can
// tell.
//
//	DIR/waiting/HASH.json  messages with what each channel did about them
//	DIR/told/HASH.json     delivered ones without their text, for 90 days
//	DIR/lock, DIR/flush    locked while the directory is changed, and while one sends
//
// A message's file is written whole beside its place, synced and moved there.
type Outbox struct {
	dir string
	o   Options
}

// Open makes the directory if it is not there, for the owner alone.
func Open(dir string, o Options) (*Outbox, error) {
	if o.Limit <= 0 {
		o.Limit = DefaultLimit
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = secureFraction
	}
	seen := map[string]bool{}
	for _, c := range o.Channels {
		if seen[c.Name()] {
			return nil, fmt.Errorf("notify: two channels have the name %q; give one another", c.Name())
		}
		seen[c.Name()] = true
	}
	for _, d := range []string{dir, filepath.Join(dir, "waiting"), filepath.Join(dir, "told")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("notify: %w", err)
		}
	}
	return &Outbox{dir: dir, o: o}, nil
}

func secureFraction() float64 {
	var b [8]byte
	rand.Read(b[:])
	return float64(binary.BigEndian.Uint64(b[:])>>11) / (1 << 53)
}

// entry is a message's file.
type entry struct {
	Message  Message             `json:"message"`
	Put      time.Time           `json:"put"`
	Channels map[string]delivery `json:"channels,omitempty"`
	// Dropped counts, in the message that says so, how many were dropped.
	Dropped int `json:"dropped,omitempty"`
}

// delivery is what one channel did about a message.
type delivery struct {
	Done  time.Time `json:"done,omitzero"`
	Tries int       `json:"tries,omitempty"`
	Next  time.Time `json:"next,omitzero"`
	Error string    `json:"error,omitempty"`
}

// Put keeps a message until all channels delivered it. It is on the disk when Put
// returns. A message whose ID is known, waiting or delivered, is not taken again.
func (o *Outbox) Put(ctx context.Context, m Message) error {
	if m.ID == "" {
		return errors.New("notify: a message without ID")
	}
	if m.Time.IsZero() {
		m.Time = o.o.Now()
	}
	m.Subject, m.Text = clip(oneLine(m.Subject), maxSubject), clipText(m.Text)
	e := entry{Message: m, Put: o.o.Now()}
	if _, err := json.Marshal(e); err != nil {
		return fmt.Errorf("notify: the message %q cannot be kept: %w", m.ID, err)
	}
	unlock, err := lock(ctx, filepath.Join(o.dir, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	for _, place := range []string{o.waiting(m.ID), o.told(m.ID)} {
		if _, err := os.Stat(place); err == nil {
			return nil
		} else if !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("notify: %w", err)
		}
	}
	if err := writeEntry(o.waiting(m.ID), e); err != nil {
		return err
	}
	return o.shorten(m.ID)
}

// Pending are the messages that wait, the oldest first. The error joins a *DamagedError
// for each file that cannot be read; the others are there.
func (o *Outbox) Pending() ([]Message, error) {
	all, err := o.load()
	var messages []Message
	for _, e := range all {
		messages = append(messages, e.Message)
	}
	return messages, err
}

// Next is when Flush has something to try again; false if nothing waits.
func (o *Outbox) Next() (time.Time, bool) {
	all, _ := o.load()
	var next time.Time
	found := false
	for _, e := range all {
		for _, c := range o.o.Channels {
			d := e.Channels[c.Name()]
			if d.Done.IsZero() && (!found || d.Next.Before(next)) {
				next, found = d.Next, true
			}
		}
	}
	return next, found
}

// load reads what waits, the oldest first.
func (o *Outbox) load() ([]entry, error) {
	files, err := os.ReadDir(filepath.Join(o.dir, "waiting"))
	if err != nil {
		return nil, fmt.Errorf("notify: %w", err)
	}
	var all []entry
	var damaged []error
	for _, f := range files {
		if filepath.Ext(f.Name()) != ".json" {
			continue
		}
		e, err := readEntry(filepath.Join(o.dir, "waiting", f.Name()))
		switch {
		case errors.Is(err, os.ErrNotExist): // delivered meanwhile
		case err != nil:
			damaged = append(damaged, err)
		default:
			all = append(all, e)
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int { return a.Put.Compare(b.Put) })
	return all, errors.Join(damaged...)
}
