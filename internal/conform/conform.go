// Package conform measures servers from outside: black-box suites that ask a running
// server what the specification lets them ask, and say clause by clause what was seen.
// It knows the protocols' encodings alone. It must not know our own servers: a suite
// judges any program that says it speaks the protocol, and is as strict with ours.
package conform

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Level says what it means when a check fails.
type Level string

// The levels.
const (
	Must   Level = "MUST"   // the specification demands it
	Should Level = "SHOULD" // the specification recommends it
	Field  Level = "field"  // a client that is in use fails without it
)

// Outcome is what a check came to.
type Outcome string

// The outcomes.
const (
	Passed        Outcome = "pass"
	Failed        Outcome = "fail"
	NotApplicable Outcome = "not applicable" // the server has no such thing, and need not
	NotRun        Outcome = "not run"        // it could not be found out, or nobody allowed to
)

// Check is one thing that a suite looks at.
type Check struct {
	ID       string `json:"id"` // group.name; it does not change
	Level    Level  `json:"level"`
	Clause   string `json:"clause"`   // where it is demanded
	Expected string `json:"expected"` // what a server does that passes
}

// Group is the part of the id in front of the dot.
func (c Check) Group() string { return strings.SplitN(c.ID, ".", 2)[0] }

// Finding is a check with what was seen.
type Finding struct {
	Check
	Outcome Outcome `json:"outcome"`
	Seen    string  `json:"seen"`
}

// Report is what a suite found out, in its order.
type Report struct {
	Suite    string    `json:"suite"`
	Target   string    `json:"target"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	Findings []Finding `json:"findings"`
	// Certificates are the serial numbers, hexadecimal, of those that were issued to the
	// suite: somebody may want to revoke them.
	Certificates []string `json:"certificates,omitempty"`
	Connections  int      `json:"connections"`
}

// Count tells how many checks of a level ("" is all of them) had an outcome.
func (r *Report) Count(outcome Outcome, level Level) int {
	n := 0
	for _, f := range r.Findings {
		if f.Outcome == outcome && (level == "" || f.Level == level) {
			n++
		}
	}
	return n
}

// Conforms tells whether no check of what the specification demands failed.
func (r *Report) Conforms() bool { return r.Count(Failed, Must) == 0 }

// Choice says which checks of a suite are run, by groups or ids.
type Choice struct {
	Only []string // empty: all
	Skip []string
}

// Has tells whether a check is chosen.
func (c Choice) Has(check Check) bool {
	named := func(list []string) bool {
		return slices.Contains(list, check.ID) || slices.Contains(list, check.Group())
	}
	return (len(c.Only) == 0 || named(c.Only)) && !named(c.Skip)
}

// Unknown lists what the choice names that no check is called.
func (c Choice) Unknown(checks []Check) (unknown []string) {
	for _, name := range slices.Concat(c.Only, c.Skip) {
		if !slices.ContainsFunc(checks, func(k Check) bool { return k.ID == name || k.Group() == name }) {
			unknown = append(unknown, name)
		}
	}
	return unknown
}

// verdict is the end of a check.
type verdict struct {
	outcome Outcome
	seen    string
}

func passed(format string, args ...any) verdict { return verdict{Passed, fmt.Sprintf(format, args...)} }
func failed(format string, args ...any) verdict { return verdict{Failed, fmt.Sprintf(format, args...)} }
func absent(format string, args ...any) verdict {
	return verdict{NotApplicable, fmt.Sprintf(format, args...)}
}
func unrun(format string, args ...any) verdict { return verdict{NotRun, fmt.Sprintf(format, args...)} }

// judge passes what is good, and says of the rest what was seen all the same.
func judge(good bool, format string, args ...any) verdict {
	if good {
		return passed(format, args...)
	}
	return failed(format, args...)
}

// step is a check with how it is done.
type step struct {
	Check
	do func(*session, context.Context) verdict
}

// seenMost bounds what is kept of what a server says, in octets.
const seenMost = 400

// brief makes what a server sent fit for a sentence: one line, bounded, nothing that a
// terminal obeys.
func brief(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x200b && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > seenMost {
		text = strings.ToValidUTF8(text[:seenMost], "") + "…"
	}
	return text
}
