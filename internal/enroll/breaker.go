package enroll

import (
	"context"
	"slices"
	"time"

	"chancery/caa"
	"chancery/internal/enroll/vault"
)

// longestBreak is the most for which a circuit is open.
const longestBreak = 24 * time.Hour

// open tells whether a CA is set back behind others now (D15). A time that lies farther
// ahead than this client ever sets it comes from a clock that was wrong, and is ignored.
func open(c vault.Circuit, now time.Time) bool {
	return now.Before(c.OpenUntil) && c.OpenUntil.Sub(now) <= longestBreak
}

// halfOpen tells whether the CA was set back and may show now, with one try, that it is
// well again.
func halfOpen(c vault.Circuit, now time.Time) bool { return c.Opened > 0 && !open(c, now) }

// setBack moves the offers whose CAs are down behind the others, and behind these those
// whose CAs asked to be left alone; else they keep their order. None is left out: when
// nothing else works they are tried.
func (r *run) setBack(offers []caa.Offer) ([]caa.Offer, error) {
	now := r.engine.config.Now()
	rank := map[string]int{}
	for _, o := range offers {
		at := r.asked(o.Issuer, o.Default)
		if _, known := rank[at]; known {
			continue
		}
		rank[at] = 0
		c, err := r.engine.config.Vault.CA(at)
		if err != nil {
			continue // one that cannot be read is told where it is passed over
		}
		ev := Event{Kind: EventSetBack, Issuer: o.Issuer, Default: o.Default, Directory: at}
		until, _ := r.limited(c)
		switch {
		case !until.IsZero():
			rank[at] = 2
			ev.Until = until
			ev.Message = caName(o.Issuer, o.Default) + " asked to be left alone until " + until.Format(time.RFC3339)
		case open(c.Circuit, now):
			rank[at] = 1
			ev.Until, ev.Error = c.Circuit.OpenUntil, c.Circuit.Cause
			ev.Message = caName(o.Issuer, o.Default) + " was down and is set back until " + c.Circuit.OpenUntil.Format(time.RFC3339)
		default:
			continue
		}
		r.tell(ev)
	}
	sorted := slices.Clone(offers)
	slices.SortStableFunc(sorted, func(a, b caa.Offer) int {
		return rank[r.asked(a.Issuer, a.Default)] - rank[r.asked(b.Issuer, b.Default)]
	})
	return sorted, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// probe takes the circuit's state for a turn: whether it may have one try only, because
// it is open, or half-open. The first who finds it half-open sets the others back while it
// tries, so that not all names of a machine fall upon a CA that just came back: until the
// time of its lease, zero if it took none.
func (r *run) probe(ctx context.Context, at string, most time.Duration) (once bool, lease time.Time, err error) {
	now := r.engine.config.Now()
	c, err := r.engine.config.Vault.CA(at)
	if err != nil {
		return false, time.Time{}, &localError{err}
	}
	if open(c.Circuit, now) {
		return true, time.Time{}, nil
	}
	if !halfOpen(c.Circuit, now) {
		return false, time.Time{}, nil
	}
	err = r.update(ctx, at, func(c *vault.CA) {
		if !open(c.Circuit, now) {
			lease = now.Add(most)
			c.Circuit.OpenUntil = lease
		}
	})
	return true, lease, err
}

// unlease gives back the place of a probe that showed nothing of the CA, if it has it still.
func (t *turn) unlease(c *vault.Circuit, now time.Time) {
	if !t.lease.IsZero() && c.OpenUntil.Equal(t.lease) {
		c.OpenUntil = now
	}
}

// ending is how a turn ended. draw is uniform in [0, 1).
type ending struct {
	class Class
	cause string
	now   time.Time
	draw  float64
}

// rhythm is for how long a CA is set back when it fails once more.
func (s Settings) rhythm(c vault.Circuit) time.Duration {
	return min(s.BreakFor<<min(c.Opened, 10), longestBreak)
}

// trip notes how a turn ended in the circuit. Only unavailability opens it.
func (s Settings) trip(c *vault.Circuit, e ending) {
	switch e.class {
	case ClassNone, ClassFinal, ClassUser, ClassWrong, ClassAction, ClassLimited, ClassUnfinished:
		*c = vault.Circuit{} // it answers
	case ClassUnavailable:
		c.Failures++
		c.Last, c.Cause = e.now, e.cause
		if c.Failures < s.BreakAfter && c.Opened == 0 {
			return
		}
		d := s.rhythm(*c)
		// Up to a tenth less, so that many machines do not come back at once.
		c.OpenUntil = e.now.Add(d - time.Duration(e.draw*float64(d)/10))
		c.Opened++
	}
}
