package solve

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"

	"chancery/acme"
)

// presentation is one answer that was put somewhere. Nothing in it is secret: whoever
// looks at the answer sees the key authorisation, or its hash.
type presentation struct {
	Identifier acme.Identifier `json:"identifier"`
	Challenge  acme.Challenge  `json:"challenge"`
	KeyAuth    string          `json:"keyAuthorization"`
	place
}

// place is where an answer was put, as far as another process needs it to take the answer
// away: the settings may have changed by then.
type place struct {
	Webroot  string `json:"webroot,omitempty"`  // the directory
	Provider string `json:"provider,omitempty"` // the Choice's label
	Port     bool   `json:"port,omitempty"`     // it was answered by the process, and is gone with it
}

// placeOf says where a choice puts answers.
func placeOf(c Choice) place {
	at := place{Provider: c.Label}
	switch s := c.Solver.(type) {
	case *Webroot:
		at.Webroot = s.Dir
		if dir, err := filepath.Abs(s.Dir); err == nil {
			at.Webroot = dir
		}
	case *Standalone, *TLSALPN:
		at.Port = true
	}
	return at
}

func (p presentation) same(q presentation) bool {
	return p.Identifier == q.Identifier && p.Challenge.Type == q.Challenge.Type && p.KeyAuth == q.KeyAuth
}

// Task meets the challenges of one order; it is an [acme.Solver]. It is safe for
// concurrent use. Close it when the order is done with.
type Task struct {
	choices []Choice
	journal *Journal
	types   map[acme.Identifier][]acme.ChallengeType // immutable

	mu    sync.Mutex
	stand []standing // guarded by mu
}

type standing struct {
	presentation
	entry *entry
}

// choice gives the first that meets this type of challenge for the identifier.
func (t *Task) choice(id acme.Identifier, typ acme.ChallengeType) (Choice, bool) {
	for _, c := range t.choices {
		if c.serves(id) && slices.Contains(c.Solver.Types(id), typ) {
			return c, true
		}
	}
	return Choice{}, false
}

// solver is the choice's solver, or nil.
func (t *Task) solver(id acme.Identifier, typ acme.ChallengeType) acme.Solver {
	c, _ := t.choice(id, typ)
	return c.Solver
}

// Types gives the methods that are configured for the identifier and permitted, the
// preferred first; none for an identifier that the task is not about.
func (t *Task) Types(identifier acme.Identifier) []acme.ChallengeType {
	return slices.Clone(t.types[canonical(identifier)])
}

// Present puts one answer in its place. What a failed attempt leaves is taken away at
// once. The error is an *Error (the user's trouble) or a *ValueError (the server's fault).
func (t *Task) Present(ctx context.Context, identifier acme.Identifier, challenge acme.Challenge, keyAuth string) error {
	p := presentation{Identifier: canonical(identifier), Challenge: challenge, KeyAuth: keyAuth}
	if err := Check(p.Identifier, challenge, keyAuth); err != nil {
		return err
	}
	if !slices.Contains(t.types[p.Identifier], challenge.Type) {
		return &ValueError{"challenge", string(challenge.Type) + " for " + p.Identifier.Value, "this order has no such name, or the name permits no such method"}
	}
	choice, _ := t.choice(p.Identifier, challenge.Type)
	p.place = placeOf(choice)
	entry, err := t.journal.write(p)
	if err != nil {
		return wrap("present", p, err)
	}
	if err := choice.Solver.Present(ctx, p.Identifier, challenge, keyAuth); err != nil {
		// The solvers leave nothing behind when they fail and can.
		return wrap("present", p, errors.Join(err, entry.remove()))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stand = append(t.stand, standing{p, entry})
	return nil
}

// CleanUp takes one answer away, also if the context has ended. Without an answer that
// stands it does nothing.
func (t *Task) CleanUp(ctx context.Context, identifier acme.Identifier, challenge acme.Challenge, keyAuth string) error {
	p := presentation{Identifier: canonical(identifier), Challenge: challenge, KeyAuth: keyAuth}
	t.mu.Lock()
	i := slices.IndexFunc(t.stand, func(s standing) bool { return s.same(p) })
	if i < 0 {
		t.mu.Unlock()
		return nil
	}
	s := t.stand[i]
	t.stand = slices.Delete(t.stand, i, i+1)
	t.mu.Unlock()
	return t.takeAway(ctx, s)
}

func (t *Task) takeAway(ctx context.Context, s standing) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	return s.takeAway(ctx, t.solver(s.Identifier, s.Challenge.Type))
}

func (s standing) takeAway(ctx context.Context, by acme.Solver) error {
	err := by.CleanUp(ctx, s.Identifier, s.Challenge, s.KeyAuth)
	if err == nil {
		return s.entry.remove()
	}
	s.entry.abandon()
	return wrap("clean up", s.presentation, err)
}

// Close takes away all that still stands, also if the context has ended. The task can
// not be used after it.
func (t *Task) Close(ctx context.Context) error {
	t.mu.Lock()
	stand := t.stand
	t.stand = nil
	t.mu.Unlock()
	var errs []error
	for _, s := range slices.Backward(stand) {
		errs = append(errs, t.takeAway(ctx, s))
	}
	return errors.Join(errs...)
}
