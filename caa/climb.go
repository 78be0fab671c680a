package caa

import (
	"context"
	"fmt"
	"strings"
)

// Answer is what the DNS says of the CAA records at one name.
type Answer struct {
	// Records is empty for NXDOMAIN and NODATA alike: both let the climb go on.
	Records []Record
	// Authentic says that the answer, an empty one too, was validated by DNSSEC. The
	// resolver sets it only when the way to who validated is safe: it runs on
	// this machine, is reached over TLS, or was named as trusted.
	Authentic bool
	Aliases   []string // the CNAME and DNAME targets followed, in order
	Server    string   // who answered, for display
}

// Resolver looks up the CAA records of exactly one name, without climbing, and
// follows its aliases (RFC 8659 §3). The name is lower-case ASCII without a final
// dot. SERVFAIL, REFUSED, timeouts, bogus and unreadable answers are errors; a name or
// type that provably is not there is an Answer without records and no error.
type Resolver interface {
	CAA(ctx context.Context, name string) (Answer, error)
}

// Step is one question of a climb.
type Step struct {
	Name      string   `json:"name"`
	Found     int      `json:"found"` // how many records
	Authentic bool     `json:"authentic"`
	Aliases   []string `json:"aliases,omitempty"`
	Server    string   `json:"server,omitempty"`
	Failure   string   `json:"failure,omitempty"` // of a lookup that was forgiven
}

// Set is the relevant record set of a name (RFC 8659 §3) and how it was found.
type Set struct {
	Name    string   `json:"name"`            // where the climb began; an address itself
	Owner   string   `json:"owner,omitempty"` // where the records stand; "" if there are none
	Records []Record `json:"records,omitempty"`
	// Authentic: every answer of the climb was, the empty ones too, so no record was
	// suppressed on the way.
	Authentic bool   `json:"authentic"`
	Steps     []Step `json:"steps,omitempty"`
}

// LookupError says that the relevant set of a name is unknown, because a lookup
// failed before any records were found. It is never to be taken for "no CAA".
type LookupError struct {
	Name string // where the climb began
	At   string // whose records could not be had
	Err  error
}

// Error says which lookup failed and what to look at.
func (e *LookupError) Error() string {
	return fmt.Sprintf("the CAA records of %s are unknown, as those of %s could not be looked up: %v; "+
		"without them no CA may be chosen and none may issue: check the name servers of %s and the resolver", e.Name, e.At, e.Err, e.At)
}

// Unwrap gives the resolver's error.
func (e *LookupError) Unwrap() error { return e.Err }

// Climb finds relevant sets.
type Climb struct {
	Resolver Resolver
	// Forgive is asked about each failed lookup and may tell to go on as if the name
	// had no records. It is for people with a broken resolver inside their network who
	// said so; whoever sets it logs each call that it answers with true. Nil never
	// forgives. The end of the context is never forgiven.
	Forgive func(name string, err error) bool
}

// Find looks up the relevant set of a subject, without forgiveness: see
// [Climb.Find].
func Find(ctx context.Context, r Resolver, s Subject) (Set, error) {
	return Climb{Resolver: r}.Find(ctx, s)
}

// Find climbs from the subject's domain to the zone below the root, and ends at
// the first name with CAA records (RFC 8659 §3). The parent of the name itself is
// climbed to, never that of an alias's target, as RFC 6844 once had it. A wildcard
// is looked up at the name behind the asterisk. An error is a *LookupError.
func (c Climb) Find(ctx context.Context, s Subject) (Set, error) {
	set := Set{Name: s.Domain, Authentic: true}
	if s.Form == Address {
		set.Name = s.Name // there is nothing to look up, and so nothing to distrust
		return set, nil
	}
	for at := s.Domain; at != ""; _, at, _ = strings.Cut(at, ".") {
		answer, err := c.Resolver.CAA(ctx, at)
		if ctx.Err() != nil && err != nil || err != nil && (c.Forgive == nil || !c.Forgive(at, err)) {
			return Set{}, &LookupError{Name: s.Domain, At: at, Err: err}
		}
		step := Step{Name: at}
		if err != nil {
			step.Failure = err.Error()
		} else {
			step = Step{Name: at, Found: len(answer.Records), Authentic: answer.Authentic, Aliases: answer.Aliases, Server: answer.Server}
		}
		set.Steps = append(set.Steps, step)
		set.Authentic = set.Authentic && step.Authentic
		if step.Found > 0 {
			set.Owner, set.Records = at, answer.Records
			return set, nil
		}
	}
	return set, nil
}
