package enroll

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"chancery/internal/enroll/vault"
)

// notes is what the engine keeps of a CA beside the vault's own members.
type notes struct {
	// Limits are the times before which the CA wants no requests: for one certificate, by
	// its label, or "" for all.
	Limits map[string]time.Time `json:"limits,omitempty"`
	// Since is when it said so.
	Since map[string]time.Time `json:"since,omitempty"`
	// Visits are the pages that the CA wants a person to visit: when each was first wanted,
	// by the hash of its words.
	Visits map[string]time.Time `json:"visits,omitempty"`
}

// readNotes gives empty ones for what cannot be read: all of it can be had again.
func readNotes(c vault.CA) (n notes) {
	if len(c.Cached) > 0 && json.Unmarshal(c.Cached, &n) != nil {
		return notes{}
	}
	return n
}

// update changes what the vault holds of a CA.
func (r *run) update(ctx context.Context, at string, change func(*vault.CA)) error {
	// What is known now must not be lost because the run is told to end.
	err := r.engine.config.Vault.UpdateCA(context.WithoutCancel(ctx), at, func(c *vault.CA) error {
		change(c)
		return nil
	})
	if err != nil {
		return &localError{fmt.Errorf("writing down what is known of a CA: %w", err)}
	}
	return nil
}

func (r *run) updateNotes(ctx context.Context, at string, change func(*notes)) error {
	return r.update(ctx, at, func(c *vault.CA) {
		n := readNotes(*c)
		change(&n)
		n.keep(c)
	})
}

// keep puts the notes into what the vault holds.
func (n notes) keep(c *vault.CA) {
	if text, err := json.Marshal(n); err == nil {
		c.Cached = text
	}
}

// longestLimit is the most that a CA's wish to be left alone counts, as with the client.
const longestLimit = 31 * 24 * time.Hour

// limited gives the time before which the CA does not want to be asked for this
// certificate, and the time at which it is asked all the same if no other CA issues; both
// are zero if it wants nothing of the kind.
func (r *run) limited(c vault.CA) (until, anyway time.Time) {
	now := r.engine.config.Now()
	n := readNotes(c)
	for _, label := range []string{"", r.sheet.Name} {
		t := n.Limits[label]
		if t.After(now) && t.Sub(now) <= longestLimit && t.After(until) {
			until, anyway = t, earlier(t, r.holdEnds(n.Since[label]))
		}
	}
	return until, anyway
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// holdEnds is until when a CA's wish of that time to be left alone counts when no other
// issues: for a quarter of what the present certificate was good for then, so that it does
// not end meanwhile, and an hour at least; for a day where there is none.
func (r *run) holdEnds(since time.Time) time.Time {
	left, first := r.left()
	if first {
		return since.Add(longestBreak)
	}
	end := r.engine.config.Now().Add(left)
	return since.Add(max(time.Hour, end.Sub(since)/4))
}

// limit notes the CA's wish.
func (r *run) limit(ctx context.Context, at, label string, until time.Time) error {
	now := r.engine.config.Now()
	return r.updateNotes(ctx, at, func(n *notes) {
		if n.Limits == nil {
			n.Limits = map[string]time.Time{}
		}
		if n.Since == nil {
			n.Since = map[string]time.Time{}
		}
		for l, t := range n.Limits {
			if !t.After(now) {
				delete(n.Limits, l)
			}
		}
		n.Limits[label], n.Since[label] = until, now
		for len(n.Limits) > mostLimits { // the soonest over are the easiest to do without
			soonest := label
			for l, t := range n.Limits {
				if t.Before(n.Limits[soonest]) {
					soonest = l
				}
			}
			delete(n.Limits, soonest)
		}
		maps.DeleteFunc(n.Since, func(l string, _ time.Time) bool { return n.Limits[l].IsZero() })
	})
}

// mostLimits is for how many certificates a CA's wishes are kept.
const mostLimits = 1000

// knownAs adds the issuer name by which a CA was found.
func knownAs(c *vault.CA, issuer string) {
	if issuer != "" && !slices.ContainsFunc(c.Issuers, func(n string) bool { return strings.EqualFold(n, issuer) }) {
		c.Issuers = append(c.Issuers, strings.ToLower(issuer))
	}
}

// A CA could want another page at each look.
const (
	mostVisits     = 16
	visitsPerDay   = 4
	visitForgotten = 90 * 24 * time.Hour
)

// visit notes that the CA wants a page visited, and tells since when; zero if it wanted
// too many others of late.
func (n *notes) visit(words string, now time.Time) time.Time {
	sum := stableID("visit", words)
	recent := 0
	for s, at := range n.Visits {
		if age := now.Sub(at); age < 24*time.Hour {
			recent++
		} else if age > visitForgotten && s != sum {
			delete(n.Visits, s)
		}
	}
	if at, known := n.Visits[sum]; known {
		return at
	}
	if recent >= visitsPerDay || len(n.Visits) >= mostVisits {
		return time.Time{}
	}
	if n.Visits == nil {
		n.Visits = map[string]time.Time{}
	}
	n.Visits[sum] = now.UTC().Truncate(time.Second)
	return n.Visits[sum]
}
