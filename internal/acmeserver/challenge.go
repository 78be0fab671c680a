package acmeserver

import (
	"context"
	"slices"
	"time"

	"chancery/acme"
	"chancery/internal/ca"
)

// patience is how long a POST to a challenge waits for the result, so that a
// quick validation costs one commit and no polling.
const patience = time.Second

// challenge answers a POST-as-GET of a challenge, and a POST that says that the
// client is ready (RFC 8555 §7.5.1).
func (s *Server) challenge(ctx context.Context, c *call) (*answer, error) {
	a, err := s.loadAuthorization(ctx, c, c.path("authz"))
	if err != nil {
		return nil, err
	}
	method := c.path("method")
	if !slices.Contains(a.Offered, method) {
		return nil, ca.Errorf(ca.NotFound, "the authorization has no challenge %q", clip(method))
	}
	if c.jws.PostAsGet() {
		return s.challengeAnswer(a, method), nil
	}
	// Clients still send members of old drafts; they mean nothing (§7.5.1).
	if err := c.decode(&struct{}{}); err != nil {
		return nil, err
	}
	now := s.Clock()
	if a.statusAt(now) != acme.AuthorizationPending || a.held() {
		return s.challengeAnswer(a, method), nil
	}
	if now.Before(a.Processing) && a.Method != method {
		return nil, acme.Malformed("a validation by %s is under way for this authorization; wait for its end, or deactivate the authorization and make a new order", a.Method)
	}
	return s.respondTo(ctx, c, a, method)
}

// challengeAnswer gives a challenge with a link to its authorisation (§7.5.1).
func (s *Server) challengeAnswer(a *Authorization, method string) *answer {
	out := s.wireChallenge(a, method)
	reply := &answer{body: out, links: []link{{s.authzURL(a.ID), "up"}}}
	if out.Status == acme.ChallengeProcessing {
		reply.retryAfter = s.pollAfter(a)
	}
	return reply
}

// respondTo begins a validation, or hurries one that is pausing (§8.2).
func (s *Server) respondTo(ctx context.Context, c *call, a *Authorization, method string) (*answer, error) {
	p, fresh, err := s.running.begin(a)
	if err != nil {
		return nil, err
	}
	if !fresh {
		p.hurry()
		reply := s.challengeAnswer(a, method)
		reply.retryAfter = poll
		return reply, nil
	}
	if s.Clock().Before(a.Processing) { // another process is at it
		p.end()
		return s.challengeAnswer(a, method), nil
	}
	stored, err := s.firstAttempt(ctx, c, p, beginning{authorization: *a, method: method})
	if ca.KindOf(err) == ca.Conflict {
		// Somebody else stored something meanwhile: that is the truth now.
		if a, err = s.loadAuthorization(ctx, c, a.ID); err != nil {
			return nil, err
		}
		return s.challengeAnswer(a, method), nil
	}
	if err != nil {
		return nil, err
	}
	return s.challengeAnswer(stored, method), nil
}

func stopping() error {
	return ca.Errorf(ca.Unavailable, "the server is stopping; try again in a moment")
}

// beginning is the authorisation as it was read, and the challenge to be tried.
type beginning struct {
	authorization Authorization
	method        string
}

// firstAttempt validates, and stores in one commit what is known after a second:
// the result, or that a validation is under way. Until that commit nobody else
// writes for this attempt, and afterwards only the pursuit does, so no outcome is
// lost or stored twice.
func (s *Server) firstAttempt(ctx context.Context, c *call, p *pursuit, b beginning) (*Authorization, error) {
	a := b.authorization
	if a.Method != b.method {
		a.Method, a.Attempts, a.Problem = b.method, 0, nil
	}
	first := make(chan outcome, 1)
	go func() { first <- s.attempt(p, &a, attempting{key: c.key, lease: waitingLease}) }()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	next, event := a, "validation.begun"
	select {
	case o := <-first:
		if p.ctx.Err() != nil { // broken off: this says nothing of the name
			p.end()
			return nil, stopping()
		}
		first = nil
		next, event = s.judge(a, o)
	case <-timer.C:
	case <-ctx.Done(): // the client left; what it asked for is done all the same
	}
	if first != nil {
		next.Processing = s.Clock().Add(p.lease())
	}
	w := c.write(s.Clock(), event, next.ID)
	w.Event.Detail = next.account()
	if err := s.Orders.UpdateAuthorization(context.WithoutCancel(ctx), next, w); err != nil {
		p.end()
		return nil, err
	}
	next.Version++
	if !next.pursued() {
		p.end()
	} else {
		go s.pursue(p, next, pursuing{key: c.key, first: first})
	}
	return &next, nil
}

// lease is that of the first attempt: a longer one while it waits for its turn.
func (p *pursuit) lease() time.Duration {
	if p.begun.Load() {
		return leaseTime
	}
	return waitingLease
}

// account tells the auditor about an attempt.
func (a *Authorization) account() map[string]string {
	detail := map[string]string{"name": a.Identifier.Value(), "method": a.Method}
	if a.Problem != nil {
		detail["problem"] = a.Problem.Detail
	}
	if a.Detail != "" {
		detail["seen"] = a.Detail
	}
	return detail
}
