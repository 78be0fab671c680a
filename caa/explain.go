package caa

import (
	"fmt"
	"slices"
	"strings"
)

// explain says why an offer stands where it does.
func (o Offer) explain(q Question, equals int) string {
	var parts []string
	free, authorizing := 0, Term{}
	for _, t := range o.Terms {
		if t.Free {
			free++
		} else {
			authorizing = t
		}
	}
	bound := len(o.Terms) - free
	switch {
	case o.Default != "" && bound == 0:
		parts = append(parts, "configured as "+o.Default+", and nothing restricts the names")
	case o.Default != "":
		parts = append(parts, "configured as "+o.Default+", and every name that restricts authorises it; it was not discovered")
	case bound == 1:
		parts = append(parts, fmt.Sprintf("%s authorises it with priority %s", authorizing.Subject, authorizing.Priority))
	default:
		parts = append(parts, fmt.Sprintf("%d names authorise it, %d of them with a worse priority than their best, and the priorities add up to %s",
			bound, o.cost.worse, abridged(o.cost.sum.String())))
	}
	if free > 0 && bound > 0 {
		parts = append(parts, fmt.Sprintf("%d more go along, as nothing restricts them", free))
	}
	if o.Kind != AnyKind {
		parts = append(parts, "asked for as "+string(o.Kind))
	}
	switch {
	case equals > 1 && q.Last.is(o):
		parts = append(parts, fmt.Sprintf("first of %d equals, as it issued last", equals))
	case equals > 1:
		parts = append(parts, fmt.Sprintf("chance decided among %d equals", equals))
	}
	if o.StepDown {
		parts = append(parts, "less than the "+string(q.Last.Kind)+" of the present certificate")
	}
	return strings.Join(parts, "; ")
}

// excluded says of each CA without an offer which names stand against it.
func excluded(pools []pool, grants []grant) []Exclusion {
	var all []Exclusion
	for _, p := range pools {
		if len(p.offers()) > 0 {
			continue
		}
		var against []string
		for i, b := range p.branches {
			if !b.free && len(b.alternatives) == 0 {
				against = append(against, grants[i].subject.Name)
			}
		}
		e := Exclusion{Issuer: p.issuer, Label: p.label}
		switch {
		case len(against) == 0:
			e.Reason = "the names authorise it for kinds of certificate or for accounts that exclude each other"
		case p.label == "":
			e.Reason = "no record by which it could be discovered for " + list(against)
		case p.issuer == "":
			e.Reason = "its issuer name is not configured, so it cannot be told whether it may issue for " + list(against)
		default:
			e.Reason = "not authorised for " + list(against) + " in a way that this client can satisfy"
		}
		all = append(all, e)
	}
	return all
}

// list names up to ten things.
func list(names []string) string {
	if len(names) > 10 {
		return strings.Join(names[:10], ", ") + fmt.Sprintf(" and %d more", len(names)-10)
	}
	return strings.Join(names, ", ")
}

// notes tells of faults in records that no refusal would show.
func (q Question) notes(grants []grant) []string {
	var all []string
	add := func(note string) {
		if !slices.Contains(all, note) {
			all = append(all, note)
		}
	}
	for _, g := range grants {
		for _, j := range g.report.Records {
			if j.Use == UseMalformed {
				add("at " + g.report.Owner + ": " + j.Reason)
			}
		}
		for _, p := range g.properties {
			at := "at " + g.report.Owner + ": " + shown(p.Record) + ": "
			if len(p.Values(termsAgreed)) > 0 {
				add(at + "termsOfServiceAgreed is not read; naming the CA is consent enough (auto-discovery §8.2)")
			}
			if _, why := p.discoverable(true); why != "" && why != saysFalse {
				add(at + why + "; the record is not for discovery")
			}
			if _, why := p.rank(q.Rules); why != "" {
				add(at + why + "; the record is not for discovery")
			}
		}
	}
	return all
}

// unordered warns where chance picks the first CA although the owner gave no order:
// one may be meant as the backup of the other (auto-discovery §8.1.2).
func unordered(plan Plan, grants []grant) []string {
	var first []string
	for _, o := range plan.Offers {
		if o.Tier == 0 && o.Default == "" && !slices.Contains(first, o.Issuer) {
			first = append(first, o.Issuer)
		}
	}
	if len(first) < 2 {
		return nil
	}
	for _, g := range grants {
		for _, p := range g.properties {
			if slices.Contains(first, p.Issuer) && len(p.Values(priority)) == 0 {
				slices.Sort(first)
				return []string{list(first) + " are authorised without an order, so chance picks the first; " +
					"if one is meant as a backup, its records should say so with a priority"}
			}
		}
	}
	return nil
}

// Cause says why there is no plan.
type Cause string

// Causes, in the order in which they are looked for.
const (
	CauseNoNames   Cause = "no-names"
	CauseUnknown   Cause = "unknown"          // a name's set is not the one that was found for it
	CauseCritical  Cause = "unknown-critical" // a name is stopped by a critical property
	CausePinned    Cause = "pinned"           // there are CAs, but not the one that is pinned
	CauseNoDefault Cause = "no-default"       // nothing restricts the names, and no CA is configured
	CauseNobody    Cause = "nobody"           // a name authorises nobody whom this client could use
	CauseNoCommon  Cause = "no-common"        // each name has CAs, but none in common
)

// ChoiceError says that no CA may be asked for all the names together.
type ChoiceError struct {
	Cause Cause
	Names []Report
	// Together are the fewest sets of names that can each have a certificate;
	// Never are the names that cannot have one at all.
	Together [][]Subject
	Never    []Subject
}

// Error says why there is no CA, what each of the first ten names authorises, and
// which names could go together; it has several lines.
func (e *ChoiceError) Error() string {
	var b strings.Builder
	switch e.Cause {
	case CauseNoNames:
		return "no CA can be chosen for no names: give at least one"
	case CauseUnknown:
		b.WriteString("the CAA records of some names are not known")
	case CauseCritical:
		b.WriteString("CAA records forbid every CA that does not know a critical property")
	case CausePinned:
		b.WriteString("the CA that issued last is pinned and is no longer among those that may issue: lift the pin to use another one")
	case CauseNoDefault:
		b.WriteString("no CAA record says who should issue, and no default CA is configured: configure one, or publish a CAA record that names a CA")
	case CauseNobody:
		b.WriteString("CAA records authorise no CA that this client could use, by discovery or configuration")
	case CauseNoCommon:
		b.WriteString("no CA is authorised by all the names")
	}
	for i, r := range e.Names {
		if i == 10 {
			fmt.Fprintf(&b, "\n  and %d more names", len(e.Names)-i)
			break
		}
		fmt.Fprintf(&b, "\n  %s: %s", r.Subject, r.verdict())
	}
	if len(e.Together) > 1 {
		b.WriteString("\nthese could each have a certificate of their own:")
		for _, group := range e.Together {
			var names []string
			for _, s := range group {
				names = append(names, s.Name)
			}
			b.WriteString("\n  " + list(names))
		}
	}
	return b.String()
}

// verdict sums a report up.
func (r Report) verdict() string {
	if authorized := r.Authorized(); len(authorized) > 0 {
		return "authorises " + abridged(list(authorized)) + " (at " + r.Owner + ")"
	}
	return r.Reason
}
