package enroll

import (
	"context"
	"time"

	"chancery/internal/enroll/vault"
)

// patience bounds what one CA costs in one run (D14): tries, and time by the monotonic
// clock, so that a jump of the wall clock neither ends nor prolongs it.
type patience struct {
	tries int
	total time.Duration
	pause time.Duration // the longest first pause
	most  time.Duration // the longest of all

	used  int
	spent time.Duration
}

// full is how long before its end a certificate leaves all the time there is for a CA.
const full = 24 * time.Hour

// budget is the time for one CA: all of it while the present certificate has a day or
// more, or if there is none, since then somebody waits for the first one and no CA has
// failed yet; less in proportion as its end comes nearer, but a tenth at least.
func budget(most, left time.Duration, first bool) time.Duration {
	if first || left >= full {
		return most
	}
	return max(time.Duration(float64(most)*float64(left)/float64(full)), most/10)
}

// left is the time that remains for the CA.
func (p *patience) left() time.Duration { return max(p.total-p.spent, 0) }

// spend runs one try within what is left of the time.
func (p *patience) spend(ctx context.Context, try func(context.Context) error) error {
	p.used++
	ctx, cancel := context.WithTimeout(ctx, max(p.left(), p.total/10))
	defer cancel()
	start := time.Now()
	defer func() { p.spent += time.Since(start) }()
	return try(ctx)
}

// again tells whether another try is due, and after which pause: exponential, with full
// jitter (draw is uniform in [0, 1)), and never before the CA wants it.
func (p *patience) again(after time.Duration, draw float64) (time.Duration, bool) {
	if p.used >= p.tries {
		return 0, false
	}
	ceiling := min(p.pause<<min(p.used-1, 10), p.most)
	wait := max(time.Duration(draw*float64(ceiling)), after)
	if wait >= p.left() {
		return 0, false
	}
	return wait, true
}

// near tells whether a certificate is so near its end that a step down in kind is better
// than to wait (D13): in the last third of the time that is left for renewals, which by
// default is the last ninth of its life.
func (s Settings) near(c *vault.Issued, now time.Time) bool {
	life := c.NotAfter.Sub(c.NotBefore)
	return c.NotAfter.Sub(now) < time.Duration(s.RenewBefore*float64(life))/3
}
