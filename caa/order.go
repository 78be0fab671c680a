package caa

import (
	"cmp"
	crand "crypto/rand"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
)

// system is the machine's cryptographic generator as a source.
type system struct{}

func (system) Uint64() uint64 {
	var b [8]byte
	_, _ = crand.Read(b[:]) // never fails: it ends the process rather
	return binary.NativeEndian.Uint64(b[:])
}

// shuffle is the method of [rand.Rand].
type shuffle func(n int, swap func(i, j int))

func (q Question) shuffler() shuffle {
	if q.Random == nil {
		return rand.New(system{}).Shuffle
	}
	return rand.New(q.Random).Shuffle
}

// order sorts offers into tiers of equals, and each tier by chance. It starts from
// one agreed order, so that the same seed gives the same result however the DNS
// mixed its answer.
func (q Question) order(offers []Offer, by shuffle) [][]Offer {
	slices.SortFunc(offers, func(a, b Offer) int {
		return cmp.Or(a.cost.compare(b.cost), strings.Compare(a.identity(), b.identity()))
	})
	var tiers [][]Offer
	for len(offers) > 0 {
		n := 1
		for n < len(offers) && offers[n].cost.compare(offers[0].cost) == 0 {
			n++
		}
		tiers = append(tiers, q.arrange(offers[:n], by))
		offers = offers[n:]
	}
	return tiers
}

// arrange orders equals. Chance decides between CAs and not between offers, for it
// is the CAs' load that is to be spread (auto-discovery §3.2): one with many records
// is drawn no more often. Offers of one CA that are alternatives of one record
// keep the order of its list. The CA that issued last goes first.
func (q Question) arrange(tier []Offer, by shuffle) []Offer {
	var byCA [][]Offer
	for _, o := range tier {
		i := slices.IndexFunc(byCA, func(of []Offer) bool { return of[0].Issuer == o.Issuer && of[0].Default == o.Default })
		if i < 0 {
			i = len(byCA)
			byCA = append(byCA, nil)
		}
		byCA[i] = append(byCA[i], o)
	}
	by(len(byCA), func(i, j int) { byCA[i], byCA[j] = byCA[j], byCA[i] })
	for _, of := range byCA {
		by(len(of), func(i, j int) { of[i], of[j] = of[j], of[i] })
		slices.SortStableFunc(of, func(a, b Offer) int { return cmp.Compare(a.place, b.place) })
	}
	return q.sticky(slices.Concat(byCA...))
}

// sticky moves what the last CA offers to the front of its equals, and there what
// is of the last kind.
func (q Question) sticky(tier []Offer) []Offer {
	rank := func(o Offer) int {
		switch {
		case !q.Last.is(o):
			return 2
		case o.Kind != q.Last.Kind:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(tier, func(a, b Offer) int { return cmp.Compare(rank(a), rank(b)) })
	return tier
}

// defaultPools gives the defaults by priority, equals together.
func (q Question) defaultPools(pools []pool) [][]pool {
	var all []pool
	for _, p := range pools {
		if p.label != "" {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b pool) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), strings.Compare(a.label, b.label))
	})
	var groups [][]pool
	for i, p := range all {
		if i == 0 || p.priority != all[i-1].priority {
			groups = append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], p)
	}
	return groups
}

// orderDefaults gives the tiers of equal defaults, which chance has ordered: in the
// first what each has best, and so on. What was discovered is not offered again.
func (q Question) orderDefaults(equals []pool, seen map[string]bool, by shuffle) [][]Offer {
	var tiers [][]Offer
	for _, p := range equals {
		fresh := slices.DeleteFunc(p.offers(), func(o Offer) bool { return seen[taken(o)] })
		for level, tier := range q.order(fresh, by) {
			if level == len(tiers) {
				tiers = append(tiers, nil)
			}
			tiers[level] = append(tiers[level], tier...)
		}
	}
	for i := range tiers {
		tiers[i] = q.sticky(tiers[i])
	}
	return tiers
}

// pinned leaves only the last CA's offers if the question says so.
func (q Question) pinned(tiers [][]Offer) ([][]Offer, []Exclusion) {
	if !q.Pin {
		return tiers, nil
	}
	var left [][]Offer
	var out []Exclusion
	for _, tier := range tiers {
		var kept []Offer
		for _, o := range tier {
			e := Exclusion{o.Issuer, o.Default, "the CA that issued last is pinned"}
			if q.Last.is(o) {
				kept = append(kept, o)
			} else if !slices.Contains(out, e) {
				out = append(out, e)
			}
		}
		if len(kept) > 0 {
			left = append(left, kept)
		}
	}
	return left, out
}
