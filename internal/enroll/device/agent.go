package device

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"chancery/est"
)

// The agent's pace.
const (
	// tick is how often the wall clock is looked at while nothing is due, so that a jump
	// of it is noticed.
	tick = time.Minute
	// backoffLeast and backoffMost bound the pause after an attempt that failed; it
	// doubles from one to the other.
	backoffLeast = time.Minute
	backoffMost  = 6 * time.Hour
	// spread is the part of a certificate's life over which renewals are spread.
	spread = 24
)

// Job is what is to be done next.
type Job string

// The jobs.
const (
	JobResume  Job = "resume"  // a request that is under way
	JobRenew   Job = "renew"   // the certificate in use
	JobRefresh Job = "refresh" // the CA's certificates
	JobDeploy  Job = "deploy"  // what is current, into its places
	JobEnroll  Job = "enroll"  // nothing is there yet
)

// RenewAt is when a certificate is renewed: after two thirds of its life and up to a
// twenty-fourth of it more, by its serial number, so that devices that were enrolled
// together do not come together, and a restart changes nothing.
func RenewAt(c *Current) time.Time {
	life := c.NotAfter.Sub(c.NotBefore)
	sum := sha256.Sum256([]byte(c.SHA256 + c.Serial))
	jitter := time.Duration(float64(life/spread) * float64(binary.BigEndian.Uint32(sum[:])) / (1 << 32))
	return c.NotBefore.Add(life/3*2 + jitter)
}

// Step is a job and when it is due.
type Step struct {
	Job Job
	At  time.Time
}

// Plan tells what is to be done and when, in the order in which it is done when several
// are due. It is a function of the state and the clock alone.
func Plan(s *State, now time.Time) []Step {
	var all []Step
	earliest := now.Add(s.Tries.left(now))
	add := func(job Job, at time.Time) {
		if at.Before(earliest) {
			at = earliest
		}
		all = append(all, Step{job, at})
	}
	if !s.Refresh.IsZero() {
		// A clock that was far ahead once wrote this: never wait longer than a refresh
		// can be away. It is first, as it may bring what the others need.
		add(JobRefresh, earlier(s.Refresh, now.Add(refreshMost)))
	}
	switch {
	case s.Pending != nil:
		add(JobResume, now.Add(max(s.Pending.left(now), 0)))
	case s.Current != nil && !s.Current.Revoked.IsZero(): // no server renews it
		add(JobEnroll, now)
	case s.Current != nil:
		add(JobRenew, RenewAt(s.Current))
	default:
		add(JobEnroll, now)
	}
	if s.Undeployed {
		add(JobDeploy, now)
	}
	return all
}

// Next gives the first of a plan.
func Next(s *State, now time.Time) Step {
	plan := Plan(s, now)
	first := plan[0]
	for _, step := range plan[1:] {
		if step.At.Before(first.At) {
			first = step
		}
	}
	return first
}

// refreshMost is the longest time between two looks at the CA's certificates.
const refreshMost = 31 * 24 * time.Hour

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// left is how long no other attempt is made. A clock that went back does not make it
// longer.
func (t Tries) left(now time.Time) time.Duration {
	if t.Count == 0 {
		return 0
	}
	return max(min(t.Last.Add(t.Wait).Sub(now), t.Wait), 0)
}

// after counts an attempt that failed and says how long to wait: twice as long each time,
// but not less than the server says, and short enough to try several times before the
// certificate ends.
func (t Tries) after(err error, s *State, now time.Time) Tries {
	t.Count++
	t.Last, t.Error = now.UTC(), err.Error()
	wait := min(backoffLeast<<min(t.Count-1, 20), backoffMost)
	if s.Current != nil {
		if left := s.Current.NotAfter.Sub(now); left > 0 {
			wait = max(min(wait, left/8), backoffLeast)
		}
	}
	wait = wait*3/4 + rand.N(wait/2)
	if refused, ok := errors.AsType[*est.StatusError](err); ok {
		wait = max(wait, refused.RetryAfter)
	}
	t.Wait = wait
	return t
}

// Passed is what a pass came to.
type Passed struct {
	Next time.Time // when to look again
	Did  []Job
	Err  error // attempts that failed, and are tried again; they have been told
}

// Pass does all that is due now. The error says that nothing could be tried.
func (d *Device) Pass(ctx context.Context) (p Passed, err error) {
	unlock, err := d.Lock(ctx)
	if err != nil {
		return p, err
	}
	defer unlock()
	if err := d.steady(); err != nil {
		return p, err
	}
	tried := map[Job]bool{}
	for {
		s, err := d.State()
		if err != nil {
			return p, err
		}
		step, due := d.due(s, tried)
		if !due {
			if err := d.count(s, p); err != nil {
				return p, err
			}
			p.Next = Next(s, d.options.Now()).At
			return p, nil
		}
		tried[step.Job] = true
		if step.Job == JobRenew { // what follows it is this attempt's, too
			tried[JobResume] = true
		}
		err = d.do(ctx, s, step.Job)
		if ctx.Err() != nil {
			return p, ctx.Err()
		}
		if _, waits := errors.AsType[*est.PendingError](err); waits { // told, and kept
			err = nil
		} else if err == nil {
			p.Did = append(p.Did, step.Job)
		}
		if err != nil {
			tried[JobDeploy] = tried[JobDeploy] || step.Job != JobRefresh
			if !errors.Is(err, ErrNone) { // which ends the agent, and is said then
				d.unhappy(s, step.Job, err)
			}
			p.Err = errors.Join(p.Err, err)
		}
	}
}

// steady counts pauses from now that were begun at a later time: the clock went back, and
// they would never end.
func (d *Device) steady() error {
	s, err := d.State()
	if err != nil {
		return err
	}
	now, odd := d.options.Now().UTC(), false
	if s.Tries.Last.After(now) {
		s.Tries.Last, odd = now, true
	}
	if s.Pending != nil && s.Pending.Asked.After(now) {
		s.Pending.Asked, odd = now, true
	}
	if !odd {
		return nil
	}
	d.tell(Warned, "the clock of this machine went back")
	return d.save(s)
}

// count keeps how a pass went.
func (d *Device) count(s *State, p Passed) error {
	switch {
	case errors.Is(p.Err, ErrNone): // there is nothing to try again
		return nil
	case p.Err != nil:
		s.Tries = s.Tries.after(p.Err, s, d.options.Now())
	case s.Tries.Count > 0 && len(p.Did) > 0:
		s.Tries = Tries{}
	default:
		return nil
	}
	return d.save(s)
}

// due gives the first step that is due and was not tried in this pass.
func (d *Device) due(s *State, tried map[Job]bool) (Step, bool) {
	now := d.options.Now()
	for _, step := range Plan(s, now) {
		if !tried[step.Job] && !step.At.After(now) {
			return step, true
		}
	}
	return Step{}, false
}

// unhappy tells of an attempt that failed.
func (d *Device) unhappy(s *State, job Job, failed error) {
	words := "; it is tried again"
	switch {
	case job == JobEnroll, job == JobResume && s.Pending == nil && s.Current == nil: // a person has to do something first
		words = ""
	case s.Current != nil && d.options.Now().After(s.Current.NotAfter):
		command := "enroll"
		if s.Current.ServerKey {
			command = "serverkeygen"
		}
		words += fmt.Sprintf("; the certificate has ended on %s: if the server does not renew it any more, enrol anew with chancery est %s --dir %s --anew", s.Current.NotAfter.Format(time.RFC3339), command, d.dir)
	}
	d.tell(Failed, "%s: %v%s", job, failed, words)
}

// do does one job.
func (d *Device) do(ctx context.Context, s *State, job Job) error {
	switch job {
	case JobDeploy:
		return d.Deploy(ctx, s)
	case JobRefresh:
		changed, err := d.Refresh(ctx, s)
		if err != nil {
			return err
		}
		if changed && s.Current != nil { // programs are to take notice of the roots, too
			s.Undeployed = true
		}
		return d.save(s)
	case JobRenew:
		return d.renew(ctx, s)
	case JobEnroll:
		if err := d.Revoked(s); err != nil {
			return err
		}
		return fmt.Errorf("%s: %w", d.dir, ErrNone)
	}
	return d.resume(ctx, s)
}

// renew renews the certificate in use as it was got: with a key that the server makes if
// it made the last one.
func (d *Device) renew(ctx context.Context, s *State) error {
	if s.Current.ServerKey || s.Settings.ServerKey {
		return deployed(d.ServerKey(ctx, s, Ask{}))
	}
	return deployed(d.Reenroll(ctx, s, Ask{}))
}

// deployed gives what went wrong, with the order or with its result.
func deployed(o *Outcome, err error) error {
	if err != nil {
		return err
	}
	return o.Deployed
}

// resume takes up the request that is under way.
func (d *Device) resume(ctx context.Context, s *State) error {
	switch s.Pending.Operation {
	case est.SimpleReenroll:
		return deployed(d.Reenroll(ctx, s, Ask{}))
	case est.ServerKeyGen:
		return deployed(d.ServerKey(ctx, s, Ask{}))
	case est.FullCMC:
		return deployed(d.FullEnroll(ctx, s, Full{}))
	}
	return deployed(d.Enroll(ctx, s, Ask{}))
}

// Pulse is how somebody knows that the agent is alive.
type Pulse struct {
	Beat  func()        // nil: nobody wants to know
	Every time.Duration // at least so often between passes; 0: every minute
}

// Run keeps the device enrolled until ctx is done.
func (d *Device) Run(ctx context.Context, pulse Pulse) error {
	told := time.Time{}
	for {
		p, err := d.Pass(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case errors.Is(p.Err, ErrNone): // there is nothing to keep
			return p.Err
		}
		if !p.Next.Equal(told) {
			d.tell(Planned, "the next look is at %s", p.Next.UTC().Format(time.RFC3339))
			told = p.Next
		}
		if !d.sleep(ctx, p.Next, pulse) {
			return nil
		}
	}
}

// sleep waits until the wall clock says next, looking at it every tick. It tells whether
// to go on.
func (d *Device) sleep(ctx context.Context, next time.Time, pulse Pulse) bool {
	for {
		if pulse.Beat != nil {
			pulse.Beat()
		}
		wait := min(next.Sub(d.options.Now()), tick)
		if pulse.Every > 0 {
			wait = min(wait, pulse.Every)
		}
		if wait <= 0 {
			return true
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		}
		// Another process may have enrolled the device meanwhile, or the clock may have
		// gone back: then something else is next.
		if s, err := d.State(); err == nil {
			if Next(s, d.options.Now()).At.Before(next) {
				return true
			}
			if next.Sub(d.options.Now()) > refreshMost {
				return true
			}
		}
	}
}
