package srpfront

import (
	"log/slog"
	"sync"
	"time"
)

// patience knows how long each user name has to wait. Handshakes of one name pass one
// after another, each after its own delay: many at once gain nothing.
type patience struct {
	first, longest, forget time.Duration
	most                   int
	logger                 *slog.Logger

	mu    sync.Mutex
	names map[string]*record
	book  *book // nil: what is known is this process's
}

// record is what is known of one name.
type record struct {
	failures int       // handshakes passed on after which no request arrived
	next     time.Time // when the next may be passed on
	last     time.Time // of the last one that came
	waiting  int
}

// maxFailures is more than anything depends on.
const maxFailures = 1 << 20

// maxWaiting is how many handshakes of one name may wait at once.
const maxWaiting = 4

// turn says how long a handshake of the name has to wait now, and counts it as one
// after which no request arrived, until one does. With false it is one too many, and
// not counted.
func (p *patience) turn(name string, now time.Time) (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.names[name]
	if r != nil && now.Sub(r.last) > p.forget && r.waiting == 0 {
		r = nil
	}
	if r == nil {
		p.makeRoom(now)
		r = &record{next: now}
		p.names[name] = r
	}
	if r.waiting >= maxWaiting {
		return 0, false
	}
	var at time.Time
	p.noted(name, now, func(known *record, shared bool) *record {
		if shared {
			r.take(known, now, p.longest)
		}
		if at = r.next; at.Before(now) {
			at = now
		}
		r.last = now
		r.failures = min(r.failures+1, maxFailures)
		r.next = at.Add(p.delay(r.failures))
		return r
	})
	r.waiting++
	return at.Sub(now), true
}

// noted changes what is known of a name, with what the book has of it if there is one
// (shared). Without it, as when its disk is full, this process goes on by itself.
func (p *patience) noted(name string, now time.Time, do func(known *record, shared bool) *record) {
	if p.book == nil {
		do(nil, false)
		return
	}
	done := false
	err := p.book.change(name, now, func(known *record) *record {
		done = true
		return do(known, true)
	})
	if err == nil {
		return
	}
	p.logger.Error("what is known of wrong SRP passwords is not kept for other processes", "error", err)
	if !done {
		do(nil, false)
	}
}

// take follows what the book has, which others may have changed: nil is that somebody's
// request arrived. A clock that was wrong when it was written makes nobody wait for long.
func (r *record) take(known *record, now time.Time, longest time.Duration) {
	if known == nil {
		r.failures, r.next = 0, now
		return
	}
	r.failures, r.next = known.failures, known.next
	if most := now.Add((maxWaiting + 1) * longest); r.next.After(most) {
		r.next = most
	}
}

// delay is what follows after so many failures in a row.
func (p *patience) delay(failures int) time.Duration {
	d := p.first
	for range failures - 1 {
		if d *= 2; d >= p.longest {
			return p.longest
		}
	}
	return min(d, p.longest)
}

// done is told when a handshake no longer waits.
func (p *patience) done(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.names[name]; r != nil {
		r.waiting--
	}
}

// arrived forgives a name: who sent a request knows the password.
func (p *patience) arrived(name string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.names[name]
	p.noted(name, now, func(*record, bool) *record { return nil })
	switch {
	case r == nil:
	case r.waiting == 0:
		delete(p.names, name)
	default:
		r.failures, r.next = 0, now
	}
}

// sample is how many names are looked at when there is no room.
const sample = 64

// makeRoom drops of some names the one that failed least, so that a flood of invented
// names does not wash away what is known of one that is being guessed at.
func (p *patience) makeRoom(now time.Time) {
	if len(p.names) < p.most {
		return
	}
	least, victim, looked := 0, "", 0
	for name, r := range p.names {
		if r.waiting > 0 {
			continue
		}
		if now.Sub(r.last) > p.forget {
			delete(p.names, name)
			return
		}
		if victim == "" || r.failures < least {
			least, victim = r.failures, name
		}
		if looked++; looked == sample {
			break
		}
	}
	delete(p.names, victim)
}
