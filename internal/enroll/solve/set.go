package solve

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"chancery/acme"
)

// cleanUpTime is what taking one answer away may last, also after the caller's context
// has ended.
const cleanUpTime = 30 * time.Second

// Choice is one solver and the names that it is for.
type Choice struct {
	Solver acme.Solver
	// Label is what the settings call it, "" without a name: an answer that a crash left is
	// taken away by the choice of the same label.
	Label string
	// Names are such as "shop.example", "*.shop.example" or "192.0.2.7"; ".shop.example"
	// stands for all names below shop.example. Empty: all names.
	Names []string
}

// Set is the solvers that a process has, the preferred first. It is immutable and safe
// for concurrent use, as are the solvers of this package.
type Set struct {
	choices []Choice
	journal *Journal
}

// NewSet makes a set of choices, the preferred first. The journal remembers over a crash
// what is to be taken away; nil: nothing does.
func NewSet(journal *Journal, choices ...Choice) *Set {
	return &Set{choices: slices.Clone(choices), journal: journal}
}

// Methods gives the challenges that can be met for an identifier, the preferred first.
// A wildcard's has its "*.". It is what a client tells of itself before a server is chosen.
func (s *Set) Methods(identifier acme.Identifier) []acme.ChallengeType {
	return methods(s.choices, identifier)
}

func methods(choices []Choice, identifier acme.Identifier) (list []acme.ChallengeType) {
	for _, c := range choices {
		if !c.serves(identifier) {
			continue
		}
		for _, t := range c.Solver.Types(identifier) {
			if !slices.Contains(list, t) {
				list = append(list, t)
			}
		}
	}
	return list
}

func (c Choice) serves(identifier acme.Identifier) bool {
	if len(c.Names) == 0 {
		return true
	}
	name := canonical(identifier).Value
	return slices.ContainsFunc(c.Names, func(n string) bool {
		n = canonical(acme.Identifier{Type: identifier.Type, Value: n}).Value
		return n == name || strings.HasPrefix(n, ".") && strings.HasSuffix(name, n)
	})
}

// Job says what one order is about.
type Job struct {
	// Identifiers are those that will be ordered, wildcards with their "*.". Answers for
	// others are refused, whatever the server asks for.
	Identifiers []acme.Identifier
	// Methods permits only some methods for a name, by the identifier's value: those of
	// its CAA record (RFC 8657 §4). A name that is not in it may use any.
	Methods map[string][]string
	// Issuers are the issuer names by which the server was chosen. dns-persist-01 accepts
	// no others from the server: a record for another CA must not be asked of the user.
	// Empty: it was configured by URL, and is trusted with its name.
	Issuers []string
	// Account is the URL of the account that orders.
	Account string
}

// binder is a solver that needs to know the job.
type binder interface {
	bind(job Job) prober
}

// prober is a solver that can say beforehand whether it will be of use: nil, or why not.
type prober interface {
	acme.Solver
	probe(ctx context.Context, identifier acme.Identifier) error
}

// Begin takes on a job. It asks the DNS for dns-persist-01's records, if that is among
// the choices, and nobody else; so that a *NoMethodError, joined if there are several,
// comes before anything is ordered.
func (s *Set) Begin(ctx context.Context, job Job) (*Task, error) {
	t := &Task{journal: s.journal, types: map[acme.Identifier][]acme.ChallengeType{}}
	for _, c := range s.choices {
		if b, ok := c.Solver.(binder); ok {
			c.Solver = b.bind(job)
		}
		t.choices = append(t.choices, c)
	}
	permitted := map[string][]string{}
	for name, list := range job.Methods {
		permitted[strings.ToLower(name)] = list
	}
	var errs []error
	for _, id := range job.Identifiers {
		id = canonical(id)
		list, bound := permitted[id.Value]
		usable := t.usable(ctx, id, func(m acme.ChallengeType) bool { return !bound || slices.Contains(list, string(m)) })
		if len(usable) == 0 {
			errs = append(errs, &NoMethodError{Identifier: id, Configured: methods(t.choices, id), Permitted: list})
		}
		t.types[id] = usable
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return t, nil
}

// usable gives the methods for one identifier, without one of which it is known that it
// will not do. If that is the only one it stays: there may be no challenge to meet, and
// if there is one it tells more exactly what is missing.
func (t *Task) usable(ctx context.Context, id acme.Identifier, permitted func(acme.ChallengeType) bool) []acme.ChallengeType {
	var useful, useless []acme.ChallengeType
	for _, m := range methods(t.choices, id) {
		if !permitted(m) {
			continue
		}
		if p, ok := t.solver(id, m).(prober); ok && p.probe(ctx, id) != nil {
			useless = append(useless, m)
			continue
		}
		useful = append(useful, m)
	}
	if len(useful) == 0 {
		return useless
	}
	return useful
}
