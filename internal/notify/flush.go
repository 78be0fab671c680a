package notify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"chancery/internal/durable"
)

// DeliveryError says that a channel did not deliver a message, which goes on waiting.
type DeliveryError struct {
	Channel string
	ID      string
	Next    time.Time // when it is tried again
	Err     error
}

// Error names the channel and says why and until when; it is safe to show.
func (e *DeliveryError) Error() string {
	return fmt.Sprintf("notify: %s did not deliver the message %q; next try at %s: %s",
		clip(oneLine(e.Channel), maxSubject), e.ID, e.Next.UTC().Format(time.RFC3339), clip(oneLine(e.Err.Error()), 2*maxSubject))
}

// Unwrap gives the channel's error.
func (e *DeliveryError) Unwrap() error { return e.Err }

// Flush tries every message that is due on every channel that has not delivered it, once.
// If another process is at it, Flush waits for it to end. The error joins a
// *DeliveryError for each failed try and a *DamagedError for each file that cannot be
// read; neither keeps the rest from being tried.
func (o *Outbox) Flush(ctx context.Context) error {
	unlock, err := lock(ctx, filepath.Join(o.dir, "flush"))
	if err != nil {
		return err
	}
	defer unlock()
	all, err := o.load()
	failed := []error{err}
	inARow := map[string]int{}
	for _, e := range all {
		for _, c := range o.o.Channels {
			if ctx.Err() != nil {
				return errors.Join(append(failed, ctx.Err())...)
			}
			if inARow[c.Name()] >= patience {
				continue // it is down: the next flush begins again, the others are not kept waiting
			}
			tried, err := o.try(ctx, c, e.Message.ID)
			switch {
			case err != nil:
				inARow[c.Name()]++
				failed = append(failed, err)
			case tried:
				inARow[c.Name()] = 0
			}
		}
		failed = append(failed, o.settle(ctx, e.Message.ID))
	}
	return errors.Join(append(failed, o.forget())...)
}

// try sends a message on a channel if it is due, and notes what came of it. The file is
// read again: it may have been dropped meanwhile.
func (o *Outbox) try(ctx context.Context, c Channel, id string) (bool, error) {
	e, err := readEntry(o.waiting(id))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	d := e.Channels[c.Name()]
	if !d.Done.IsZero() || d.Next.After(o.o.Now()) {
		return false, nil
	}
	err = c.Send(ctx, e.Message)
	if err != nil && ctx.Err() != nil {
		return false, nil // it was interrupted, and did not fail
	}
	d.Tries++
	if err == nil {
		d = delivery{Done: o.o.Now(), Tries: d.Tries}
	} else {
		d.Next = o.o.Now().Add(o.pause(d.Tries, err))
		d.Error = clip(oneLine(err.Error()), 2*maxSubject)
		err = &DeliveryError{Channel: c.Name(), ID: id, Next: d.Next, Err: err}
	}
	return true, errors.Join(err, o.note(id, c.Name(), d))
}

// pause doubles, with jitter of its upper half, and is not shorter than what was asked.
func (o *Outbox) pause(tries int, err error) time.Duration {
	p := time.Duration(min(float64(FirstPause)*math.Pow(2, float64(tries-1)), float64(LongestPause)))
	f, ok := errors.AsType[*Failure](err)
	if ok && f.Lasting {
		p = LongestPause
	}
	p = p/2 + time.Duration(o.o.Random()*float64(p/2))
	if ok {
		p = max(p, min(f.After, LongestPause))
	}
	return p
}

// note writes what a channel did about a message. What has been sent must be noted, so
// the caller's context does not end it.
func (o *Outbox) note(id, channel string, d delivery) error {
	unlock, err := lock(context.Background(), filepath.Join(o.dir, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	e, err := readEntry(o.waiting(id))
	if errors.Is(err, os.ErrNotExist) { // dropped while it was sent
		return nil
	} else if err != nil {
		return err
	}
	if e.Channels == nil {
		e.Channels = map[string]delivery{}
	}
	e.Channels[channel] = d
	return writeEntry(o.waiting(id), e)
}

// settle moves a message that all channels have delivered to those that are told. Its
// text and data go: what remains is there to know it again.
func (o *Outbox) settle(ctx context.Context, id string) error {
	unlock, err := lock(context.WithoutCancel(ctx), filepath.Join(o.dir, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	e, err := readEntry(o.waiting(id))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, c := range o.o.Channels {
		if e.Channels[c.Name()].Done.IsZero() {
			return nil
		}
	}
	return o.retire(e)
}

// retire takes a message out of those that wait. The caller holds the lock. The memory
// comes first: a crash between the two leaves a message that is done on all channels.
func (o *Outbox) retire(e entry) error {
	id := e.Message.ID
	e.Message = Message{ID: id, Time: e.Message.Time, Severity: e.Message.Severity, Subject: e.Message.Subject}
	if err := writeEntry(o.told(id), e); err != nil {
		return err
	}
	return remove(o.waiting(id))
}

// shorten makes one message of the oldest if too many wait. The caller holds the lock.
// latest is the one that was just put: it stays.
func (o *Outbox) shorten(latest string) error {
	all, _ := o.load() // damaged files are told by Flush
	if len(all) <= o.o.Limit {
		return nil
	}
	// A message about dropped ones that some channel has delivered stands as it is: the
	// next ones get a new message.
	total, subjects := 0, []string{}
	var gone []entry
	spare := len(all) - o.o.Limit + 1
	for _, e := range all {
		open := !slices.ContainsFunc(o.o.Channels, func(c Channel) bool { return !e.Channels[c.Name()].Done.IsZero() })
		if e.Message.ID == latest || e.Dropped == 0 && spare == 0 || e.Dropped > 0 && !open && spare == 0 {
			continue
		}
		if e.Dropped > 0 && open {
			total += e.Dropped
			subjects = append(subjects, earlier(e)...)
		} else {
			total++
			subjects = append(subjects, e.Message.Time.UTC().Format(time.RFC3339)+" "+e.Message.Subject)
		}
		spare = max(spare-1, 0)
		gone = append(gone, e)
	}
	if len(gone) == 0 {
		return nil
	}
	m := o.droppedMessage(total, subjects)
	m.ID = "dropped-" + strconv.FormatInt(o.o.Now().UnixNano(), 36) + "-" + hash(latest)[:8]
	// First the new one: a crash in between repeats a subject and loses none.
	if err := writeEntry(o.waiting(m.ID), entry{Message: m, Put: gone[0].Put, Dropped: total}); err != nil {
		return err
	}
	for _, e := range gone {
		if err := o.retire(e); err != nil {
			return err
		}
	}
	return nil
}

// maxListed is how many subjects the message about dropped ones repeats.
const maxListed = 20

func (o *Outbox) droppedMessage(total int, subjects []string) Message {
	subjects = subjects[max(0, len(subjects)-maxListed):]
	text := fmt.Sprintf("%d messages could not be delivered in time, and there was no room to keep them all.\nThe last of them were:\n\n  %s\n",
		total, strings.Join(subjects, "\n  "))
	return Message{Time: o.o.Now(), Severity: Warning, Subject: fmt.Sprintf("%d messages were dropped", total), Text: text,
		Data: map[string]any{"kind": "dropped", "dropped": total, "subjects": subjects}}
}

// earlier gives the subjects that a message about dropped ones repeats.
func earlier(e entry) []string {
	var all []string
	list, _ := e.Message.Data["subjects"].([]any)
	for _, item := range list {
		if text, ok := item.(string); ok {
			all = append(all, text)
		}
	}
	return all
}

// forget removes the oldest of what was told, and what a crash left half written.
func (o *Outbox) forget() error {
	type memory struct {
		path string
		at   time.Time
	}
	var told []memory
	var failed []error
	for _, name := range []string{"waiting", "told"} {
		dir := filepath.Join(o.dir, name)
		files, err := os.ReadDir(dir)
		failed = append(failed, err)
		for _, f := range files {
			info, err := f.Info()
			if err != nil {
				continue // removed meanwhile
			}
			path := filepath.Join(dir, f.Name())
			switch {
			case durable.Temporary(f.Name()):
				if o.o.Now().Sub(info.ModTime()) > time.Hour {
					failed = append(failed, os.Remove(path))
				}
			case name == "told":
				told = append(told, memory{path, info.ModTime()})
			}
		}
	}
	slices.SortFunc(told, func(a, b memory) int { return b.at.Compare(a.at) })
	for i, m := range told {
		if i >= memories || o.o.Now().Sub(m.at) > remembered {
			failed = append(failed, os.Remove(m.path))
		}
	}
	return errors.Join(failed...)
}
