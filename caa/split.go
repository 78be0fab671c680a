package caa

import (
	"cmp"
	"errors"
	"math/big"
	"slices"
)

// cover is one thing to ask one CA for, and the names that it would do for.
type cover struct {
	names []bool
	costs []*big.Int // of each of these names; nil for one that is free
	count int
}

// covers lists them, without those that another one includes.
func covers(pools []pool) []cover {
	var all []cover
	for _, p := range pools {
		for _, s := range p.shapes() {
			c := cover{names: make([]bool, len(p.branches)), costs: make([]*big.Int, len(p.branches))}
			for i, b := range p.branches {
				for _, a := range b.alternatives {
					if s.fits(a) && (c.costs[i] == nil || a.priority.Cmp(c.costs[i]) < 0) {
						c.costs[i] = a.priority
					}
				}
				if c.names[i] = b.free || c.costs[i] != nil; c.names[i] {
					c.count++
				}
			}
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, b cover) int { return cmp.Compare(b.count, a.count) })
	var kept []cover
	for _, c := range all {
		if c.count > 0 && !slices.ContainsFunc(kept, func(k cover) bool { return k.includes(c) }) {
			kept = append(kept, c)
		}
	}
	return kept
}

func (c cover) includes(d cover) bool {
	for i, covered := range d.names {
		if covered && !c.names[i] {
			return false
		}
	}
	return true
}

// search looks for the fewest covers.
type search struct {
	covers []cover
	best   []int // indices of covers
	work   int
}

// budget bounds the search, which takes exponential time at worst, in glances at one
// name of one cover. When it is used up the best found so far is taken, which the
// greedy start has made good.
const budget = 10_000_000

// fewest gives covers for all names that have any: for what people write down the
// fewest there are.
func fewest(all []cover, names int) []cover {
	open := make([]bool, names)
	for i := range open {
		open[i] = slices.ContainsFunc(all, func(c cover) bool { return c.names[i] })
	}
	s := &search{covers: all}
	left := slices.Clone(open)
	for slices.Contains(left, true) {
		most, at := 0, 0
		for i, c := range all {
			if n := c.gain(left); n > most {
				most, at = n, i
			}
		}
		s.best, left = append(s.best, at), all[at].without(left)
	}
	s.improve(nil, open)
	var chosen []cover
	for _, i := range s.best {
		chosen = append(chosen, all[i])
	}
	return chosen
}

func (c cover) gain(open []bool) (n int) {
	for i, o := range open {
		if o && c.names[i] {
			n++
		}
	}
	return n
}

func (c cover) without(open []bool) []bool {
	left := slices.Clone(open)
	for i, covered := range c.names {
		left[i] = left[i] && !covered
	}
	return left
}

// improve tries every cover of the open name that has the fewest.
func (s *search) improve(taken []int, open []bool) {
	if !slices.Contains(open, true) {
		if len(taken) < len(s.best) {
			s.best = slices.Clone(taken)
		}
		return
	}
	if s.work += len(open) * len(s.covers); s.work > budget || len(taken)+1 >= len(s.best) {
		return
	}
	var rarest []int
	for i, o := range open {
		if !o {
			continue
		}
		var with []int
		for j, c := range s.covers {
			if c.names[i] {
				with = append(with, j)
			}
		}
		if rarest == nil || len(with) < len(rarest) {
			rarest = with
		}
	}
	for _, j := range rarest {
		s.improve(append(taken, j), s.covers[j].without(open))
	}
}

// together gives the fewest sets of names that can each have a certificate, every
// name in the set that serves it best, and the names that cannot have one.
func together(pools []pool, grants []grant) (sets [][]Subject, never []Subject) {
	chosen := fewest(covers(pools), len(grants))
	sets = make([][]Subject, len(chosen))
	for i, g := range grants {
		at := -1
		for j, c := range chosen {
			if c.names[i] && (at < 0 || c.costs[i] != nil && c.costs[i].Cmp(chosen[at].costs[i]) < 0) {
				at = j
			}
		}
		if at < 0 {
			never = append(never, g.subject)
		} else {
			sets[at] = append(sets[at], g.subject)
		}
	}
	return slices.DeleteFunc(sets, func(set []Subject) bool { return len(set) == 0 }), never
}

// failure says why there is no offer.
func failure(pools []pool, grants []grant, pinned []Exclusion) error {
	e := &ChoiceError{Cause: CauseNoCommon}
	allFree := true
	for _, g := range grants {
		e.Names = append(e.Names, g.report)
		allFree = allFree && g.free
		switch {
		case g.unknown:
			e.Cause = CauseUnknown
		case g.stopped && e.Cause != CauseUnknown:
			e.Cause = CauseCritical
		}
	}
	e.Together, e.Never = together(pools, grants)
	switch {
	case len(grants) == 0:
		e.Cause = CauseNoNames
	case e.Cause != CauseNoCommon:
	case len(pinned) > 0:
		e.Cause = CausePinned
	case allFree:
		e.Cause = CauseNoDefault
	case len(e.Never) > 0:
		e.Cause = CauseNobody
	}
	return e
}

// Split makes as many plans as it takes, one if there is a CA for all names, else
// for the fewest sets of names that can each have a certificate. Names that
// cannot have one stop it all: the error is a *ChoiceError then.
func Split(q Question) ([]Plan, error) {
	plan, err := Choose(q)
	var none *ChoiceError
	if err == nil || !errors.As(err, &none) || len(none.Never) > 0 || len(none.Together) < 2 {
		return []Plan{plan}, err
	}
	var plans []Plan
	for _, set := range none.Together {
		part := q
		part.Names = slices.DeleteFunc(slices.Clone(q.Names), func(n Name) bool { return !slices.Contains(set, n.Subject) })
		plan, err := Choose(part)
		if err != nil {
			return plans, err
		}
		plans = append(plans, plan)
	}
	return plans, nil
}
