package agent

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"

	"chancery/internal/enroll/vault"
)

// act is what is to be done with a certificate when its time comes.
type act int

const (
	rest act = iota // nothing, ever
	ask             // ask the CA when to renew
	run             // have the engine renew it, or finish what was left
)

// step is the next thing to be done, and when.
type step struct {
	at time.Time
	do act
}

// rules decide from a record alone; every method is a function of its arguments.
type rules struct {
	settings Settings
	advised  bool // CAs are asked
}

// next says what is to be done with a certificate. wanted is what the configuration says
// of it; nil: nothing.
func (r rules) next(rec vault.Record, wanted *vault.Sheet, now time.Time) step {
	due := r.renewal(rec, now)
	if wanted != nil && !sameSheet(rec.Sheet, *wanted) {
		due = now
	}
	if u := rec.Undeployed; u != nil && rec.Current != nil {
		due = sooner(due, bounded(u.Next, now, longestDeployPause))
	}
	if at, may := r.question(rec, now); may && at.Before(due) {
		return step{at, ask}
	}
	return step{due, run}
}

// renewal is when the engine is to get a certificate anew. Once an attempt failed, what
// led to it does not count any more: it is tried again until one succeeds.
func (r rules) renewal(rec vault.Record, now time.Time) time.Time {
	if rec.Tries.Failures > 0 {
		return r.retry(rec, now)
	}
	return r.due(rec, now)
}

// longestDeployPause is the engine's longest pause between two tries to deploy.
const longestDeployPause = time.Hour

// due is when a certificate is to be renewed, if nothing failed.
func (r rules) due(rec vault.Record, now time.Time) time.Time {
	c := rec.Current
	if c == nil || !rec.Revoked.IsZero() || !rec.Holds() {
		return now
	}
	own := r.own(*c)
	if w := rec.Window; r.advised && w != nil && !w.Start.IsZero() && !w.Chosen.IsZero() {
		if !w.Chosen.Before(c.NotAfter) {
			return own
		}
		return later(w.Chosen, earliest(*c))
	}
	return own
}

// own is when a certificate is renewed where its CA does not say: at a moment of the
// jitter's time before the configured part of its life is left. The moment is made from the
// certificate's hash, so it is the same after a restart and nobody has to write it down.
func (r rules) own(c vault.Issued) time.Time {
	life := c.NotAfter.Sub(c.NotBefore)
	jitter := min(r.settings.Jitter, life/10)
	at := c.NotAfter.Add(-time.Duration(float64(life) * r.settings.Before))
	return later(at.Add(-time.Duration(share(c)*float64(jitter))), earliest(c))
}

// share is a number in [0, 1) that belongs to a certificate.
func share(c vault.Issued) float64 {
	sum, _ := hex.DecodeString(c.SHA256)
	var n uint64
	for _, b := range append(sum, make([]byte, 8)...)[:8] {
		n = n<<8 | uint64(b)
	}
	return float64(n>>11) / (1 << 53)
}

// earliest is before when a certificate is not renewed again, whatever its CA says: one
// that answered with a window in the past each time would otherwise be asked for one
// certificate after the other.
func earliest(c vault.Issued) time.Time {
	life := c.NotAfter.Sub(c.NotBefore)
	return later(c.ObtainedAt, c.NotBefore).Add(min(life/10, 6*time.Hour))
}

// question is when the CA is to be asked, and whether it may be at all: not of a
// certificate that expired (RFC 9773 §4.3), nor of one that is revoked already.
func (r rules) question(rec vault.Record, now time.Time) (time.Time, bool) {
	c := rec.Current
	if !r.advised || c == nil || c.CertID == "" || !rec.Revoked.IsZero() || !now.Before(c.NotAfter) {
		return time.Time{}, false
	}
	if rec.Window == nil {
		return now, true
	}
	return bounded(rec.Window.Ask, now, longestAsk), true
}

// bounded is a time that was written down, no farther ahead than it can have been: one
// that is comes from a clock that was wrong.
func bounded(t, now time.Time, most time.Duration) time.Time {
	if t.IsZero() || t.After(now.Add(most)) {
		return now
	}
	return t
}

// The pauses after failures: they double, with jitter, from the first to the longest.
const (
	firstPause      = 10 * time.Minute
	longestPause    = 8 * time.Hour // while the present certificate is good
	longestPauseBad = 2 * time.Hour // while there is none that is
	longestLimit    = 31 * 24 * time.Hour
)

// pause is how long after a failure a certificate is tried again. draw is in [0, 1). It is
// shorter the less life the present certificate has left, though never a hammering: not
// below ten minutes, or below a fiftieth of a life that is shorter than eight hours.
func pause(rec vault.Record, now time.Time, draw float64) time.Duration {
	first, longest := firstPause, longestPauseBad
	if c := rec.Current; c != nil {
		first = min(firstPause, max(c.NotAfter.Sub(c.NotBefore)/50, time.Second))
		if left := c.NotAfter.Sub(now); left > 0 {
			longest = min(longestPause, max(left/6, first))
		}
	}
	d := min(first<<min(max(rec.Tries.Failures-1, 0), 16), longest)
	return time.Duration(float64(d) * (0.75 + draw/2))
}

// longestLook is after how long a certificate that failed is looked at again, however long
// its CAs want to be left alone: the engine leaves them alone, but the owner may name
// others by then.
const longestLook = 24 * time.Hour

// retry is when a certificate that failed is tried again: what was written down after the
// failure, or, if a crash came between, what would have been. A CA that wants to be left
// alone for weeks keeps the engine neither from a look each day, nor from telling in time
// that the present certificate nears its end, and that it has ended.
func (r rules) retry(rec vault.Record, now time.Time) time.Time {
	t := rec.Tries
	if !t.Next.After(t.Last) {
		return bounded(t.Last.Add(pause(rec, t.Last, 0.5)), now, longestPause*2)
	}
	at := sooner(bounded(t.Next, now, longestLimit), t.Last.Add(longestLook))
	if c := rec.Current; c != nil {
		for _, stage := range []time.Time{r.near(*c), c.NotAfter} {
			if stage.After(t.Last) {
				at = sooner(at, stage)
			}
		}
	}
	return at
}

// near is when a certificate nears its end, as the engine has it: in the last third of the
// time for renewals. It is a moment later, when that has begun.
func (r rules) near(c vault.Issued) time.Time {
	left := time.Duration(r.settings.Before*float64(c.NotAfter.Sub(c.NotBefore))) / 3
	return c.NotAfter.Add(-left).Add(time.Second)
}

// hold makes the engine see a certificate as due when the agent does: Engine.Due goes by
// the chosen moment, and so a renewal by anybody else, which clears it, is seen under the
// certificate's lock. It tells whether it changed the record.
func (r rules) hold(rec *vault.Record, now time.Time) bool {
	c, w := rec.Current, rec.Window
	switch {
	case c == nil, r.renewal(*rec, now).After(now), !now.Before(c.NotAfter), !rec.Revoked.IsZero():
		return false
	case w != nil && !w.Chosen.IsZero() && !w.Chosen.After(now):
		return false
	case w == nil:
		rec.Window = &vault.Window{}
	}
	rec.Window.Chosen = now.UTC().Truncate(time.Second)
	return true
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func sooner(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// forever is the end of a certificate that there is not: what has one comes first.
var forever = time.Unix(math.MaxInt32, 0)

// sameSheet compares as the vault keeps them.
func sameSheet(a, b vault.Sheet) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// sameNames tells whether two lists hold the same names, in whatever order.
func sameNames(a, b []string) bool {
	clean := func(list []string) []string {
		var out []string
		for _, n := range list {
			out = append(out, strings.ToLower(strings.TrimSuffix(n, ".")))
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	return slices.Equal(clean(a), clean(b))
}
