package acmeserver

import (
	"context"
	"time"

	"chancery/acme"
	"chancery/internal/ca"
)

// statusAt gives the status as the clock has it: only what somebody did is
// stored, not the passing of time.
func (a *Authorization) statusAt(now time.Time) acme.AuthorizationStatus {
	if now.Before(a.Expires) {
		return a.Status
	}
	switch a.Status {
	case acme.AuthorizationPending:
		return acme.AuthorizationInvalid
	case acme.AuthorizationValid:
		return acme.AuthorizationExpired
	}
	return a.Status
}

// challengeAt gives the status of one of the authorisation's challenges.
func (a *Authorization) challengeAt(method string, now time.Time) acme.ChallengeStatus {
	switch {
	case method != a.Method:
		return acme.ChallengePending
	case !a.Validated.IsZero():
		return acme.ChallengeValid
	case a.statusAt(now) == acme.AuthorizationInvalid:
		return acme.ChallengeInvalid
	case !a.Processing.IsZero():
		return acme.ChallengeProcessing
	}
	return acme.ChallengePending
}

// loadAuthorization reads an authorisation of the caller.
func (s *Server) loadAuthorization(ctx context.Context, c *call, id string) (*Authorization, error) {
	if !ca.WellFormedID(id) {
		return nil, ca.Errorf(ca.NotFound, "there is no such authorization")
	}
	list, err := s.Orders.Authorizations(ctx, []string{id})
	if err != nil {
		return nil, err
	}
	if list[0].Account != c.account.ID {
		return nil, acme.Unauthorized("this authorization belongs to another account")
	}
	return &list[0], s.settle(ctx, list)
}

// wireChallenge gives one challenge (RFC 8555 §8).
func (s *Server) wireChallenge(a *Authorization, method string) acme.Challenge {
	out := acme.Challenge{
		Type: acme.ChallengeType(method), URL: s.challengeURL(a.ID, method),
		Status: a.challengeAt(method, s.Clock()), Token: a.Token,
	}
	if method != a.Method {
		return out
	}
	if out.Status == acme.ChallengeValid {
		out.Validated = a.Validated.UTC().Truncate(time.Second)
	} else {
		out.Error = a.Problem
	}
	return out
}

// shown gives the challenges to list: all while one can be chosen, afterwards
// the one that was tried (RFC 8555 §7.1.4).
func (s *Server) shown(a *Authorization, status acme.AuthorizationStatus) []string {
	if a.Method != "" && status != acme.AuthorizationPending {
		return []string{a.Method}
	}
	return a.Offered
}

// authorizationAnswer gives an authorisation as its owner sees it (RFC 8555 §7.1.4).
func (s *Server) authorizationAnswer(a *Authorization) *answer {
	now := s.Clock()
	status := a.statusAt(now)
	out := &acme.Authorization{
		Identifier: wireName(a.Identifier.Base()), Status: status,
		Expires: a.Expires.UTC().Truncate(time.Second), Wildcard: a.Identifier.IsWildcard(), Challenges: []acme.Challenge{},
	}
	for _, method := range s.shown(a, status) {
		out.Challenges = append(out.Challenges, s.wireChallenge(a, method))
	}
	reply := &answer{body: out}
	if status == acme.AuthorizationPending {
		reply.retryAfter = s.pollAfter(a)
	}
	return reply
}

// authorization answers a POST-as-GET of an authorisation, and deactivates it
// (RFC 8555 §7.5.2).
func (s *Server) authorization(ctx context.Context, c *call) (*answer, error) {
	a, err := s.loadAuthorization(ctx, c, c.path("id"))
	if err != nil {
		return nil, err
	}
	if c.jws.PostAsGet() {
		return s.authorizationAnswer(a), nil
	}
	var in acme.AuthorizationUpdate
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.Status != acme.AuthorizationDeactivated {
		return nil, acme.Malformed("the one change of an authorization is \"status\": \"deactivated\" (RFC 8555 §7.5.2)")
	}
	return s.deactivate(ctx, c, a)
}

// deactivate ends an authorisation. A validation may store its result at the
// same time; then the new state is looked at once more, and its end wins.
func (s *Server) deactivate(ctx context.Context, c *call, a *Authorization) (*answer, error) {
	for try := 0; ; try++ {
		now := s.Clock()
		switch status := a.statusAt(now); status {
		case acme.AuthorizationDeactivated:
			return s.authorizationAnswer(a), nil
		case acme.AuthorizationPending, acme.AuthorizationValid:
		default:
			return nil, acme.Malformed("the authorization is %s already; there is nothing left to deactivate", status)
		}
		next := *a
		next.Status, next.Processing = acme.AuthorizationDeactivated, time.Time{}
		w := c.write(now, "authorization.deactivated", a.ID)
		w.Event.Detail = map[string]string{"name": a.Identifier.Value()}
		err := s.Orders.UpdateAuthorization(ctx, next, w)
		if err == nil {
			return s.authorizationAnswer(&next), nil
		}
		if ca.KindOf(err) != ca.Conflict || try == 5 {
			return nil, err
		}
		if a, err = s.loadAuthorization(ctx, c, a.ID); err != nil {
			return nil, err
		}
	}
}
