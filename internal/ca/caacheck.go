package ca

import (
	"context"
	"slices"
	"sync"
	"time"

	"chancery/caa"
)

const (
	// caaTime bounds all the look-ups of one request.
	caaTime = 15 * time.Second
	// caaAtOnce bounds how many names of one request are looked up at a time.
	caaAtOnce = 8
	// caaInAll bounds the questions under way for all requests together: each costs
	// a socket, and a resolver that does not answer would gather them.
	caaInAll = 256
	// caaRetry is when to come back whose names' records could not be had.
	caaRetry = 30 * time.Second
	// caaLife is how long a check speaks for an intent that was not finished, the
	// eight hours that the public CAs agreed upon.
	caaLife = 8 * time.Hour
)

// caaBinds tells whether a name has CAA records at all: host names, wildcards
// and the domains of mailboxes do (RFC 8659, RFC 9495).
func caaBinds(name Identifier) bool { return name.Type() == TypeDNS || name.Type() == TypeEmail }

// caaFinding is what was found about one name.
type caaFinding struct {
	name     Identifier
	request  caa.Request
	set      caa.Set
	decision caa.Decision
	err      error // the records are not known
}

// caaAsked is one name with what is true of the issuance.
type caaAsked struct {
	name     Identifier
	methods  []string // the labels that are true
	accounts []string
}

// askCAA is the step of the road at which the records of the names' owners are
// looked up, anew for each request, and obeyed (RFC 8659 §3: before issuing, a
// CA MUST check). It gives what the auditor shall read, "" where CAA is off. The
// refusal is of kind [CAA], or [CAAUnknown] for want of an answer.
func (a *Authority) askCAA(ctx context.Context, p *Profile, req *Request) (string, error) {
	rules := a.caa.Load()
	if rules.off(p.line()) || !slices.ContainsFunc(req.Names, caaBinds) {
		return "", nil
	}
	policy := rules.of(p.line())
	now := a.Clock()
	labels := p.labels(req, now)
	var asked []caaAsked
	for _, name := range req.Names {
		if caaBinds(name) {
			asked = append(asked, caaAsked{name, append(req.methodsFor(name, p.Evidence, now), labels...), req.Accounts})
		}
	}
	findings := a.findCAA(ctx, &policy, asked)
	refused := policy.refusal(findings)
	if refused == nil {
		return policy.account(findings), nil
	}
	a.Logger.WarnContext(ctx, "CAA records forbid a certificate", "mode", string(policy.Mode), "request", req.ID, "profile", p.Name,
		"by", req.By.String(), "refused", len(refused.Sub), "names", len(req.Names), "first", refused.Sub[0].Detail)
	if policy.Mode == CAAReport || req.ownService() {
		return policy.account(findings), nil
	}
	return "", refused
}

// CAAQuestion is what a room wants to know before it comes with a [Request].
type CAAQuestion struct {
	Name     Identifier
	Method   string   // that proved it
	Accounts []string // as [Request.Accounts]
	Profiles []string // that the request may come with; one that would be issued is enough
}

// CheckCAA tells early whether a name's CAA records would forbid every request
// that the question describes, so that an asker learns of it before all other
// work is done. Its word is not kept: [Authority.Issue] looks again. An account
// counts as vetted for what the profiles ask, as that is only known then. Errors
// are those of [Authority.Issue] on account of CAA; there is none unless CAA is
// enforced.
func (a *Authority) CheckCAA(ctx context.Context, q CAAQuestion) error {
	if !caaBinds(q.Name) {
		return nil
	}
	rules := a.caa.Load()
	var policy *CAAPolicy
	methods := []string{q.Method}
	for _, name := range q.Profiles {
		p, ok := a.Profiles[name]
		if !ok {
			continue
		}
		of := rules.of(p.line())
		if of.Mode != CAAEnforce {
			return nil
		}
		policy = &of
		if p.Kind != "" {
			methods = append(methods, string(p.Kind))
		}
	}
	if policy == nil {
		return nil
	}
	if refused := policy.refusal(a.findCAA(ctx, policy, []caaAsked{{q.Name, methods, q.Accounts}})); refused != nil {
		return refused
	}
	return nil
}

// findCAA looks up each name's relevant records and decides by them. It gives one
// finding for each, in their order, and takes [caaTime] at most.
func (a *Authority) findCAA(ctx context.Context, p *CAAPolicy, asked []caaAsked) []caaFinding {
	ctx, cancel := context.WithTimeout(ctx, caaTime)
	defer cancel()
	climb := caa.Climb{Resolver: &sharedAnswers{resolver: p.Resolver, turns: a.caaTurns, asked: map[string]*sharedAnswer{}}}
	findings := make([]caaFinding, len(asked))
	next := make(chan int, len(asked))
	for n := range asked {
		next <- n
	}
	close(next)
	var workers sync.WaitGroup
	for range min(caaAtOnce, len(asked)) {
		workers.Go(func() {
			for n := range next {
				findings[n] = p.findOne(ctx, climb, asked[n])
			}
		})
	}
	workers.Wait()
	return findings
}

// findOne fails closed: whatever is not known is an error.
func (p *CAAPolicy) findOne(ctx context.Context, climb caa.Climb, one caaAsked) caaFinding {
	f := caaFinding{name: one.name}
	subject, err := caa.ParseSubject(one.name.Value())
	if err != nil {
		f.err = err
		return f
	}
	f.request = caa.Request{
		Issuers: p.Identities, Subject: subject, Accounts: one.accounts, Methods: one.methods, NoParameters: !p.Parameters,
	}
	if f.set, f.err = climb.Find(ctx, subject); f.err == nil {
		f.decision = caa.Authorize(f.set, f.request)
	}
	return f
}

// sharedAnswers asks about each domain once for all the names of one request,
// which mostly have their parents in common. It does not outlive the request, so
// nothing is ever taken from an older one.
type sharedAnswers struct {
	resolver caa.Resolver
	turns    chan struct{} // of the whole process; who asks holds one
	mu       sync.Mutex    // guards asked
	asked    map[string]*sharedAnswer
}

type sharedAnswer struct {
	done   chan struct{} // closed when the rest is there
	answer caa.Answer
	err    error
}

// CAA implements [caa.Resolver].
func (s *sharedAnswers) CAA(ctx context.Context, name string) (caa.Answer, error) {
	s.mu.Lock()
	one, known := s.asked[name]
	if !known {
		one = &sharedAnswer{done: make(chan struct{})}
		s.asked[name] = one
	}
	s.mu.Unlock()
	if !known {
		defer close(one.done)
		one.answer, one.err = s.ask(ctx, name)
		return one.answer, one.err
	}
	select {
	case <-one.done:
		return one.answer, one.err
	case <-ctx.Done():
		return caa.Answer{}, ctx.Err()
	}
}

// ask asks when it is its turn, and not after the end of ctx, which a resolver
// need not look at.
func (s *sharedAnswers) ask(ctx context.Context, name string) (caa.Answer, error) {
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	case <-ctx.Done():
	}
	if err := ctx.Err(); err != nil {
		return caa.Answer{}, err
	}
	return s.resolver.CAA(ctx, name)
}

// labels gives the kinds of certificate that this issuance is: the profile's own
// kind if what was vetted of the asker suffices for it, and other words of the
// room. A certificate of one kind is none of another (auto-discovery §8.1.1).
func (p *Profile) labels(req *Request, now time.Time) []string {
	kinds := []string{string(caa.DomainValidated), string(caa.OrganizationValidated), string(caa.ExtendedValidation), string(caa.QualifiedWeb)}
	labels := slices.DeleteFunc(slices.Clone(req.Labels), func(l string) bool { return slices.Contains(kinds, l) })
	if p.Kind != "" && p.vetted(req, now) {
		labels = append(labels, string(p.Kind))
	}
	return labels
}

// vetted tells whether more is known of who asks than the proofs of its names,
// where the profile's kind wants more: the room says so, or a person approved
// each name.
func (p *Profile) vetted(req *Request, now time.Time) bool {
	if !p.Kind.Binding() || slices.Contains(req.Labels, string(p.Kind)) {
		return true
	}
	approved := func(name Identifier) bool {
		_, ok := req.evidenceFor(name, []string{"approval"}, now)
		return ok
	}
	return len(req.Names) > 0 && !slices.ContainsFunc(req.Names, func(n Identifier) bool { return !approved(n) })
}

// methodsFor gives all methods by which a name is proven, of those that the
// profile takes: more than one can be true.
func (r *Request) methodsFor(name Identifier, taken []string, now time.Time) []string {
	var methods []string
	for _, e := range r.Evidence {
		if e.Identifier == name && now.Before(e.Expires) && slices.Contains(taken, e.Method) {
			methods = append(methods, e.Method)
		}
	}
	return methods
}

// ownService tells whether the request is for this server's own name, which its
// operator wrote into the configuration: CAA protects against strangers' wishes,
// and a server that may not name itself could not tell anybody what is wrong.
func (r *Request) ownService() bool {
	return r.By.Room == "core" && len(r.Evidence) > 0 &&
		!slices.ContainsFunc(r.Evidence, func(e Evidence) bool { return e.Method != "own-service" })
}

// caaOutdated tells whether an intent's check of CAA lies too far back for its bytes
// still to be signed.
func (a *Authority) caaOutdated(r *Record) bool {
	p, ok := a.Profiles[r.Profile]
	return ok && a.caa.Load().of(p.line()).Mode == CAAEnforce && slices.ContainsFunc(r.Names, caaBinds) &&
		a.Clock().Sub(r.IntendedAt) > caaLife
}
