package agent

import (
	"errors"
	"slices"
	"strings"
	"time"

	"chancery/caa"
	"chancery/internal/enroll/vault"
)

// State says in a word how a certificate does.
type State string

// The states, the worse the later.
const (
	Good      State = "good"
	LeftAlone State = "left-alone" // it is not kept; Why says so
	Wanted    State = "wanted"     // there is none yet, and nothing failed
	Unused    State = "not-in-use" // it is there, and its installation or command failed
	Failing   State = "failing"    // its renewal failed, and it is still good
	Bad       State = "bad"        // there is none that is good
	Damaged   State = "damaged"    // its record cannot be read
)

// Standing is what a person wants to know of one certificate.
type Standing struct {
	Certificate string      `json:"certificate"`
	State       State       `json:"state"`
	Why         string      `json:"why,omitempty"`
	Names       []string    `json:"names,omitempty"`
	Issuer      string      `json:"issuer,omitempty"`
	Default     string      `json:"default,omitempty"`
	Directory   string      `json:"directory,omitempty"`
	Kind        caa.Kind    `json:"kind,omitempty"`
	Configured  bool        `json:"configured"` // listed in the configuration
	NotAfter    time.Time   `json:"notAfter,omitzero"`
	Next        time.Time   `json:"next,omitzero"`     // when the agent does something with it,
	NextAct     string      `json:"nextAct,omitempty"` // "ask" or "renew", if nothing changes
	Renewal     time.Time   `json:"renewal,omitzero"`  // when it is renewed, as things are
	Window      *WindowSeen `json:"window,omitempty"`
	Failures    int         `json:"failures,omitempty"`
	FailedLast  time.Time   `json:"failedLast,omitzero"`
	Cause       string      `json:"cause,omitempty"`
	Undeployed  bool        `json:"undeployed,omitempty"`
	Pending     string      `json:"order,omitempty"` // one under way
}

// WindowSeen is what the CA suggests (RFC 9773 §4.2).
type WindowSeen struct {
	Start       time.Time `json:"start"`
	End         time.Time `json:"end"`
	Explanation string    `json:"explanationURL,omitempty"`
	Chosen      time.Time `json:"chosen"`
	Ask         time.Time `json:"askAgain,omitzero"`
}

// Standings looks at all certificates of a store and of the configuration, by name, as an
// agent with those parts would. No lock is taken and nothing is changed. The error says
// that the store cannot be read at all.
func Standings(store Store, p Parts, now time.Time) ([]Standing, error) {
	wanted, disabled := wantedOf(p)
	r := rules{settings: p.Settings.filled(), advised: !p.Settings.IgnoreARI}
	var all []Standing
	seen := map[string]bool{}
	for rec, err := range store.Records() {
		name := rec.Sheet.Name
		if err != nil && name == "" {
			return nil, err
		}
		seen[name] = true
		if err != nil {
			all = append(all, Standing{Certificate: name, State: Damaged, Why: err.Error(), Configured: wanted[name] != nil})
			continue
		}
		s := r.standing(rec, wanted[name], now)
		if left := leftAlone(rec, wanted[name], disabled[name]); left != "" {
			s.State, s.Why, s.Next, s.NextAct, s.Renewal = LeftAlone, left, time.Time{}, "", time.Time{}
		}
		all = append(all, s)
	}
	for name, w := range wanted {
		if !seen[name] && !disabled[name] {
			all = append(all, Standing{Certificate: name, State: Wanted, Names: w.Names, Configured: true, Next: now, NextAct: "renew", Renewal: now})
		}
	}
	slices.SortFunc(all, func(a, b Standing) int { return strings.Compare(a.Certificate, b.Certificate) })
	return all, nil
}

func (r rules) standing(rec vault.Record, wanted *vault.Sheet, now time.Time) Standing {
	s := Standing{Certificate: rec.Sheet.Name, State: Good, Names: rec.Sheet.Names, Configured: wanted != nil,
		Failures: rec.Tries.Failures, FailedLast: rec.Tries.Last, Cause: rec.Tries.Cause, Undeployed: rec.Undeployed != nil}
	next := r.next(rec, wanted, now)
	s.Next, s.NextAct = next.at, map[act]string{ask: "ask", run: "renew"}[next.do]
	s.Renewal = r.renewal(rec, now)
	if w := rec.Window; w != nil && !w.Start.IsZero() {
		s.Window = &WindowSeen{Start: w.Start, End: w.End, Explanation: w.Explanation, Chosen: w.Chosen, Ask: w.Ask}
	}
	if rec.Pending != nil {
		s.Pending = rec.Pending.OrderURL
	}
	c := rec.Current
	if c != nil {
		s.Issuer, s.Default, s.Directory, s.Kind, s.NotAfter = c.Issuer, c.Default, c.Directory, c.Kind, c.NotAfter
	}
	good := c != nil && now.Before(c.NotAfter) && rec.Revoked.IsZero()
	switch {
	case c == nil && rec.Tries.Failures == 0:
		s.State = Wanted
	case !good:
		s.State = Bad
	case rec.Tries.Failures > 0:
		s.State = Failing
	case rec.Undeployed != nil && rec.Undeployed.Failures > 0:
		s.State, s.Cause = Unused, rec.Undeployed.Cause
	}
	return s
}

// ExitCode is what "agent status" ends with: 3 if any certificate is bad or its record
// damaged, 2 if anything fails while what there is is still good, else 0.
func ExitCode(all []Standing) int {
	code := 0
	for _, s := range all {
		switch s.State {
		case Bad, Damaged:
			return 3
		case Failing, Unused:
			code = 2
		}
	}
	return code
}

// ErrRunning says that an agent is at work on the same data directory.
var ErrRunning = errors.New("an agent keeps this data directory already")
