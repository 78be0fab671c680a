package acmeserver

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"chancery/acme"
	"chancery/internal/ca"
	"chancery/internal/challenge"
)

// leaseTime is how long a process has for one attempt before another may take
// the validation over. It is longer than attemptTime by far.
const (
	leaseTime   = time.Minute
	attemptTime = 40 * time.Second
	// waitingLease is the lease of one that has to wait for its turn first.
	waitingLease = 5 * time.Minute
	// pursuitsPerAccount (or as many as an order may have names) and pursuitsInAll
	// are at most under way: waiting, being tried or pausing.
	pursuitsPerAccount = 128
	pursuitsInAll      = 2048
	// crowdedPause is when to come back who met one of these bounds.
	crowdedPause = 10 * time.Second
	// maxPause bounds the doubling of Config.AttemptPause.
	maxPause = 10 * time.Minute
	// internalAttempts are made in addition while a failure is ours, such as too
	// much to do: the subscriber is not to pay for it.
	internalAttempts = 10
)

// validations are those that this process is at.
type validations struct {
	turns turns
	room  int // for pursuits of one account

	mu      sync.Mutex
	running map[string]*pursuit // by authorisation
	of      map[string]int      // how many by account
	closed  bool
	sweepAt time.Time // when Work sweeps next
	count   sync.WaitGroup
}

// pursuit is one validation with all its attempts. Whoever began it ends it.
type pursuit struct {
	of      *validations
	id      string
	account string
	ctx     context.Context // ends the attempt under way
	cancel  context.CancelFunc
	open    context.Context // of ctx; ended: no further attempt begins
	shut    context.CancelFunc
	sooner  chan struct{} // the client asks for the next attempt now
	begun   atomic.Bool   // the first attempt had its turn
}

// begin gives the authorisation's pursuit; fresh says that it is new and the
// caller's. It refuses once the server is stopping, and when too many are under
// way: then nothing is begun, and the client has to come back.
func (v *validations) begin(a *Authorization) (p *pursuit, fresh bool, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil, false, stopping()
	}
	if p, ok := v.running[a.ID]; ok {
		return p, false, nil
	}
	switch {
	case v.of[a.Account] >= v.room:
		return nil, false, acme.RateLimited(crowdedPause, "this account has %d validations under way, which is the limit; respond to this challenge when some have ended", v.room)
	case len(v.running) >= pursuitsInAll:
		return nil, false, acme.RateLimited(crowdedPause, "too many validations are under way here; respond to this challenge again in a moment")
	}
	if v.running == nil {
		v.running, v.of = map[string]*pursuit{}, map[string]int{}
	}
	p = &pursuit{of: v, id: a.ID, account: a.Account, sooner: make(chan struct{}, 1)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.open, p.shut = context.WithCancel(p.ctx)
	v.running[a.ID] = p
	v.of[a.Account]++
	v.count.Add(1)
	return p, true, nil
}

func (p *pursuit) end() {
	p.cancel()
	v := p.of
	v.mu.Lock()
	delete(v.running, p.id)
	if v.of[p.account]--; v.of[p.account] == 0 {
		delete(v.of, p.account)
	}
	v.mu.Unlock()
	v.count.Done()
}

// hurry ends the pause before the next attempt (RFC 8555 §8.2).
func (p *pursuit) hurry() {
	select {
	case p.sooner <- struct{}{}:
	default:
	}
}

// pause waits; false says that there shall be no further attempt.
func (p *pursuit) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.open.Done():
		return false
	case <-timer.C:
	case <-p.sooner:
	}
	return true
}

// Close lets the validations under way end, and begins no others; those that wait
// for their turn are broken off. When ctx ends
// first they are broken off: their leases lapse, and another process or the next
// start takes them over. It gives ctx's error then.
func (s *Server) Close(ctx context.Context) error {
	v := &s.running
	v.mu.Lock()
	if !v.closed {
		v.closed = true
		for _, p := range v.running {
			p.shut()
		}
	}
	v.mu.Unlock()
	done := make(chan struct{})
	go func() { v.count.Wait(); s.asking.close(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	v.mu.Lock()
	for _, p := range v.running {
		p.cancel()
	}
	v.mu.Unlock()
	<-done
	return ctx.Err()
}

// outcome is what one attempt gave.
type outcome struct {
	result challenge.Result
	err    error
}

// errCrowded: others had all the turns for as long as the lease allowed.
var errCrowded = &challenge.Failure{Kind: challenge.Internal, Detail: "too many validations are under way; it will be tried again"}

// attempt validates once, when it is the account's turn; it waits for it so long
// that the lease still covers the attempt.
func (s *Server) attempt(p *pursuit, a *Authorization, with attempting) outcome {
	wait, cancel := context.WithTimeout(p.open, max(with.lease-attemptTime, time.Second))
	defer cancel()
	done, ok := s.running.turns.take(wait, a.Account)
	if !ok {
		if p.open.Err() != nil {
			p.cancel() // stopping: this says nothing of the name
		}
		return outcome{err: errCrowded}
	}
	defer done()
	p.begun.Store(true)
	return s.validate(p.ctx, a, with.key)
}

// attempting is what an attempt needs: the account's key of that time, and how
// long the validation is this process's.
type attempting struct {
	key   *acme.Key
	lease time.Duration
}

// validate makes the key authorisation from the account's key (RFC 8555 §8.1) and
// has the name looked at.
func (s *Server) validate(ctx context.Context, a *Authorization, key *acme.Key) outcome {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	base := a.Identifier.Base()
	result, err := s.Validator.Validate(ctx, challenge.Job{
		Method: a.Method, Target: challenge.Target{Type: string(base.Type()), Value: base.Value()},
		Token: a.Token, KeyAuthorization: acme.KeyAuthorization(a.Token, key),
	})
	if err == nil {
		err = s.checkCAA(ctx, a)
	}
	return outcome{result, err}
}

// judge gives the authorisation after an attempt, and what the event is called;
// a failure is told to the operator as well as to the subscriber.
func (s *Server) judge(a Authorization, o outcome) (Authorization, string) {
	next, event := s.verdict(a, o)
	if o.err != nil {
		s.Logger.Info("a validation failed", "account", a.Account, "authorization", a.ID, "name", a.Identifier.Value(),
			"method", a.Method, "attempt", next.Attempts, "final", next.Status == acme.AuthorizationInvalid, "error", o.err)
	}
	return next, event
}

func (s *Server) verdict(a Authorization, o outcome) (Authorization, string) {
	now := s.Clock()
	a.Attempts++
	a.Processing = time.Time{}
	if o.err == nil && now.Before(a.Expires) {
		a.Detail = o.result.Detail
		return s.prove(a)
	}
	limit := s.Attempts
	var f *challenge.Failure
	_, final := forbidden(o.err)
	switch {
	case final:
		limit = 0
	case !errors.As(o.err, &f):
	case f.Kind == challenge.Internal:
		limit += internalAttempts
	case f.Kind == challenge.Refused: // the policy will say the same again
		limit = 0
	}
	a.Problem, a.Detail = s.problemWith(o.err)
	if a.Attempts >= limit || !now.Before(a.Expires) {
		a.Status = acme.AuthorizationInvalid
		return a, "authorization.failed"
	}
	a.Processing = now.Add(s.pauseAfter(a.Attempts) + s.lease(a.Account))
	return a, "validation.failed"
}

// lease is how long a validation that begins now needs to be this process's.
func (s *Server) lease(account string) time.Duration {
	if s.running.turns.busy(account) {
		return waitingLease
	}
	return leaseTime
}

// pauseAfter doubles with each attempt.
func (s *Server) pauseAfter(attempts int) time.Duration {
	pause := s.AttemptPause
	for range attempts - 1 {
		if pause *= 2; pause > maxPause {
			return maxPause
		}
	}
	return pause
}

// failureTypes maps the validator's kinds to ACME's words (RFC 8555 §6.7).
var failureTypes = map[challenge.Kind]string{
	challenge.DNS: acme.TypeDNS, challenge.Connection: acme.TypeConnection, challenge.TLS: acme.TypeTLS,
	challenge.Unauthorized: acme.TypeUnauthorized, challenge.IncorrectResponse: acme.TypeIncorrectResponse,
	challenge.Refused: acme.TypeRejectedIdentifier,
}

// problemWith tells the subscriber why an attempt failed, and gives what was seen.
func (s *Server) problemWith(err error) (*acme.Problem, string) {
	if err == nil {
		return acme.Malformed("the proof came after the authorization had expired; make a new order"), ""
	}
	if refusal, _ := forbidden(err); refusal != nil {
		return problemByCAA(refusal), ""
	}
	var f *challenge.Failure
	if !errors.As(err, &f) {
		s.Logger.Error("a validator failed in an unknown way", "error", err)
		return acme.ServerInternal(), ""
	}
	typ, ok := failureTypes[f.Kind]
	if !ok {
		typ = acme.TypeServerInternal
	}
	return acme.NewProblem(typ, "%s", f.Detail), f.Seen
}

// pursuing is what a pursuit goes on with.
type pursuing struct {
	key   *acme.Key
	first chan outcome // an attempt under way; nil: the pause comes next
}

// pursue stores the outcome of the attempt under way and makes further ones,
// until the challenge is valid or invalid. What it cannot store it leaves: the
// lease lapses, and the validation is taken over.
func (s *Server) pursue(p *pursuit, a Authorization, with pursuing) {
	defer p.end()
	for {
		if with.first == nil {
			if !p.pause(s.pauseAfter(a.Attempts)) {
				return
			}
			with.first = make(chan outcome, 1)
			with.first <- s.attempt(p, &a, attempting{key: with.key, lease: a.Processing.Sub(s.Clock())})
		}
		o := <-with.first
		with.first = nil
		if p.ctx.Err() != nil {
			return // broken off: this says nothing of the name
		}
		next, event := s.judge(a, o)
		if !s.store(&next, event) || !next.pursued() {
			return
		}
		a = next
	}
}

// store commits what a pursuit found out, and tells whether it could.
func (s *Server) store(a *Authorization, kind string) bool {
	event := ca.Principal{Room: Room, ID: a.Account}.Event(s.Clock(), kind, a.ID)
	event.Detail = a.account()
	err := s.Orders.UpdateAuthorization(context.Background(), *a, Write{Event: event})
	switch {
	case err == nil:
		a.Version++
		return true
	case ca.KindOf(err) != ca.Conflict: // deactivated or taken over is no failure
		s.Logger.Warn("the outcome of a validation could not be stored; it will be validated again", "authorization", a.ID, "error", err)
	}
	return false
}
