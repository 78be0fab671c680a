package caa

import (
	"cmp"
	"math/big"
	"slices"
)

// cost orders offers.
type cost struct {
	worse int      // how many names get a worse priority than their own best
	sum   *big.Int // of the priorities
}

func (c cost) compare(d cost) int { return cmp.Or(cmp.Compare(c.worse, d.worse), c.sum.Cmp(d.sum)) }

// branch is what one name permits a pool's CA.
type branch struct {
	subject      Subject
	free         bool
	able         []string // the client's methods for it
	alternatives []alternative
	own          *big.Int // the best priority that the name has for anyone
}

// pool is one CA, discovered or by default, and what each name permits it.
type pool struct {
	issuer   string // "" only for a default without names
	label    string // "" for a discovered one
	priority int    // of a default
	usual    string // the account that the client uses there unless bound to another
	branches []branch
}

// shape is what of an offer concerns the whole certificate. Methods are each
// name's own affair, since each name is validated by itself.
type shape struct {
	kind    Kind
	account string
}

// pools makes one pool for each CA that any name lets be discovered, and one for
// each default.
func (q Question) pools(grants []grant) []pool {
	var issuers []string
	for _, g := range grants {
		for issuer, all := range g.alternatives {
			if slices.ContainsFunc(all, func(a alternative) bool { return a.discovered }) {
				issuers = append(issuers, issuer)
			}
		}
	}
	slices.Sort(issuers)
	var all []pool
	for _, issuer := range slices.Compact(issuers) {
		p := pool{issuer: issuer}
		for _, g := range grants {
			b := q.branch(g, g.free && !g.blind, issuer)
			b.alternatives = slices.DeleteFunc(b.alternatives, func(a alternative) bool { return !a.discovered })
			p.branches = append(p.branches, b)
		}
		all = append(all, q.withAccount(p))
	}
	for _, d := range q.Defaults {
		p := pool{label: d.Label, priority: d.Priority}
		var names []string
		for _, name := range d.Issuers {
			names = append(names, lower(name))
		}
		if len(names) > 0 {
			p.issuer = names[0]
		}
		for _, g := range grants {
			p.branches = append(p.branches, q.branch(g, g.free, names...))
		}
		all = append(all, q.withAccount(p))
	}
	return all
}

// branch picks a name's alternatives for one CA, which may have several names.
func (q Question) branch(g grant, free bool, issuers ...string) branch {
	b := branch{subject: g.subject, free: free, able: q.Client.Methods(g.subject), own: g.own}
	for _, issuer := range issuers {
		b.alternatives = append(b.alternatives, g.alternatives[issuer]...)
	}
	return b
}

func (q Question) withAccount(p pool) pool {
	if accounts := q.Client.Accounts(p.issuer); p.issuer != "" && len(accounts) > 0 {
		p.usual = accounts[0]
	}
	return p
}

// shapes lists the kinds and accounts that any of the pool's records asks for.
func (p pool) shapes() []shape {
	kinds, accounts := []Kind{AnyKind}, []string{""}
	for _, b := range p.branches {
		for _, a := range b.alternatives {
			kinds, accounts = append(kinds, a.kind), append(accounts, a.account)
		}
	}
	slices.Sort(kinds)
	slices.Sort(accounts)
	var all []shape
	for _, k := range slices.Compact(kinds) {
		for _, a := range slices.Compact(accounts) {
			all = append(all, shape{k, a})
		}
	}
	return all
}

// fits tells whether an offer of that shape satisfies the alternative.
func (s shape) fits(a alternative) bool {
	return (a.kind == AnyKind || a.kind == s.kind) && (a.account == "" || a.account == s.account)
}

// states tells what of the shape the alternative asks for, as bits.
func (s shape) states(a alternative) int {
	bits := 0
	if a.kind != AnyKind {
		bits |= 1
	}
	if a.account != "" {
		bits |= 2
	}
	return bits
}

// all are the bits that the names' records together must ask for: an offer of a
// kind that nobody's record named would be an invention.
func (s shape) all() int { return s.states(alternative{kind: s.kind, account: s.account}) }

// offers lists what all names authorise, each thing once, at its best cost. For each
// shape there is the offer in which each name goes by its best record, and one
// for each set of methods that records state, in which the names that state
// it go by that: so a CA comes again with the methods of a later record.
func (p pool) offers() []Offer {
	best := map[string]Offer{}
	var order []string
	for _, s := range p.shapes() {
		for _, methods := range p.methods(s) {
			o, ok := p.solve(s, methods)
			if !ok {
				continue
			}
			id := o.identity()
			old, known := best[id]
			if !known {
				order = append(order, id)
			}
			if !known || o.cost.compare(old.cost) < 0 {
				best[id] = o
			}
		}
	}
	var all []Offer
	for _, id := range order {
		all = append(all, best[id])
	}
	return all
}

// methods lists the sets of methods that records fitting the shape state; nil, for
// "each name its best", first.
func (p pool) methods(s shape) []*string {
	all := []*string{nil}
	seen := map[string]bool{}
	for _, b := range p.branches {
		for _, a := range b.alternatives {
			if key := methodsKey(a.methods); s.fits(a) && !seen[key] {
				seen[key] = true
				all = append(all, &key)
			}
		}
	}
	return all
}

// walk is a choice of one alternative for each of the first names.
type walk struct {
	before *walk
	chosen *alternative // nil for a free name
	cost   cost
}

// solve finds the cheapest choice of one alternative per name that fits the shape
// and together asks for all of it. It goes through the names once and keeps the
// best walk for each set of bits asked for so far.
func (p pool) solve(s shape, methods *string) (Offer, bool) {
	states := [4]*walk{{cost: cost{0, new(big.Int)}}}
	for i := range p.branches {
		b := &p.branches[i]
		if b.free {
			for bits, w := range states {
				if w != nil {
					states[bits] = &walk{w, nil, w.cost}
				}
			}
			continue
		}
		var next [4]*walk
		for _, a := range b.fitting(s, methods) {
			for bits, w := range states {
				if w == nil {
					continue
				}
				c := b.add(w.cost, a)
				if to := &next[bits|s.states(*a)]; *to == nil || c.compare((*to).cost) < 0 {
					*to = &walk{w, a, c}
				}
			}
		}
		states = next
	}
	end := states[s.all()]
	if end == nil {
		return Offer{}, false
	}
	return p.offer(s, end), true
}

// fitting gives the alternatives for a shape; those with the stated methods alone,
// if there are any.
func (b *branch) fitting(s shape, methods *string) []*alternative {
	var all, stated []*alternative
	for i := range b.alternatives {
		a := &b.alternatives[i]
		if !s.fits(*a) {
			continue
		}
		all = append(all, a)
		if methods != nil && methodsKey(a.methods) == *methods {
			stated = append(stated, a)
		}
	}
	if len(stated) > 0 {
		return stated
	}
	return all
}

func (b *branch) add(c cost, a *alternative) cost {
	c.sum = new(big.Int).Add(c.sum, a.priority)
	if b.own != nil && a.priority.Cmp(b.own) > 0 {
		c.worse++
	}
	return c
}

// offer writes a walk down.
func (p pool) offer(s shape, w *walk) Offer {
	o := Offer{Issuer: p.issuer, Default: p.label, Kind: s.kind, Account: s.account, cost: w.cost}
	if o.Account == "" {
		o.Account = p.usual
	}
	for _, b := range slices.Backward(p.branches) {
		t := Term{Subject: b.subject, Free: b.free, Methods: b.able}
		if a := w.chosen; a != nil {
			t.Record, t.Methods, t.Priority = a.record, a.methods, abridged(a.priority.String())
			t.Worse = b.own != nil && a.priority.Cmp(b.own) > 0
			o.place += a.place
		}
		o.Terms = append(o.Terms, t)
		w = w.before
	}
	slices.Reverse(o.Terms)
	return o
}
