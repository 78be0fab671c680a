package acmeserver

import (
	"context"
	"errors"
	"time"

	"chancery/acme"
	"chancery/internal/ca"
)

const (
	claimAtOnce = 32
	// keepEnded is how long what ended can still be looked at.
	keepEnded = 24 * time.Hour
	// keepProofs is how long authorisations that were valid can be looked at after
	// the end of the last order that could rest on them. What was seen stays in
	// their events.
	keepProofs = 30 * 24 * time.Hour
	sweepEvery = 10 * time.Minute
	sweepLimit = 1000
)

// Work does one pass of the server's own work: it takes over validations that
// another process left, and now and then deletes what ended a day ago. Call it
// every second or so; validations go on after it returned (see [Server.Close]).
func (s *Server) Work(ctx context.Context) error {
	now := s.Clock()
	lapsed, err := s.Background.ClaimValidations(ctx, now, now.Add(leaseTime), claimAtOnce)
	errs := []error{err}
	for _, a := range lapsed {
		errs = append(errs, s.takeOver(ctx, a))
	}
	return errors.Join(append(errs, s.sweep(ctx, now))...)
}

// takeOver goes on with a validation that was claimed.
func (s *Server) takeOver(ctx context.Context, a Authorization) error {
	if a.held() && s.Clock().Before(a.Expires) {
		return s.settle(ctx, []Authorization{a})
	}
	p, fresh, err := s.running.begin(&a)
	if err != nil || !fresh {
		return nil // stopping, or too much to do, or at it after all: the lease is ours now, and lapses if nothing comes of it
	}
	key, err := s.keyOf(ctx, a.Account)
	if err != nil {
		p.end()
		return err
	}
	if key == nil || !s.Clock().Before(a.Expires) {
		defer p.end()
		held := a.held()
		a.Status, a.Processing = acme.AuthorizationInvalid, time.Time{}
		if held {
			a.Problem = acme.Unauthorized("the name was proven, but the authorization ended before the customer who registered it confirmed that this account is his; make a new order")
		}
		if a.Problem == nil {
			a.Problem = acme.Unauthorized("the account or the authorization ended before the name was proven")
		}
		s.store(&a, "authorization.failed")
		return nil
	}
	first := make(chan outcome, 1)
	lease := a.Processing.Sub(s.Clock())
	go func() { first <- s.attempt(p, &a, attempting{key: key, lease: lease}) }()
	go s.pursue(p, a, pursuing{key: key, first: first})
	return nil
}

// keyOf gives an account's key; nil when the account has ended.
func (s *Server) keyOf(ctx context.Context, id string) (*acme.Key, error) {
	account, err := s.Accounts.Account(ctx, id)
	if ca.KindOf(err) == ca.NotFound || err == nil && account.Status != acme.AccountValid {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return acme.ParseKey(account.Key)
}

// sweep deletes what ended, some at a time so that nobody waits for it.
func (s *Server) sweep(ctx context.Context, now time.Time) error {
	s.running.mu.Lock()
	due := !now.Before(s.running.sweepAt)
	if due {
		s.running.sweepAt = now.Add(sweepEvery)
	}
	s.running.mu.Unlock()
	if !due {
		return nil
	}
	// An order rests on proofs that were valid when it was made.
	n, err := s.Background.Sweep(ctx, Ended{
		Before: now.Add(-keepEnded), Proofs: now.Add(-s.OrderLife - keepProofs), Limit: sweepLimit,
	})
	if n >= sweepLimit { // there is more: go on at the next pass
		s.running.mu.Lock()
		s.running.sweepAt = now
		s.running.mu.Unlock()
	}
	return err
}
