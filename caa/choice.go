package caa

import (
	"math/rand/v2"
	"slices"
	"strconv"
)

// Name is one name that a certificate is wanted for, with its relevant set.
type Name struct {
	Subject Subject
	Set     Set // as [Find] gave it for the same subject; any other stops the name
}

// Client is what is known of who asks: what it can do and whom it knows. Each nil
// function has a meaning of its own.
type Client struct {
	// Methods gives the validation methods that it can serve for a subject, the
	// preferred first. Nil: all that this package knows for that form of name.
	Methods func(Subject) []string
	// Accounts gives the URLs of its accounts at a CA, the one that it uses unless
	// told otherwise first. Nil: it has none anywhere.
	Accounts func(issuer string) []string
	// Kinds tells whether it can ask a CA for a kind; a kind with [Kind.Binding] takes an
	// external account binding. Nil: any kind may be tried.
	Kinds func(issuer string, k Kind) bool
}

// Default is a configured CA. It is used when no name restricts, and otherwise
// behind the discovered ones, where all names authorise it.
type Default struct {
	Label    string   // what configuration calls it; unique
	Issuers  []string // its issuer domain names; without any it can only serve names that nothing restricts
	Priority int      // the lower, the earlier; equals are shuffled
}

// Last is the CA that issued the certificate that is to be renewed. One name of it
// is enough.
type Last struct {
	Issuer  string // its issuer domain name
	Default string // its label, if it was configured
	Kind    Kind
}

func (l Last) is(o Offer) bool {
	return l.Issuer != "" && lower(l.Issuer) == o.Issuer || l.Default != "" && l.Default == o.Default
}

// Question is all that a choice depends on.
type Question struct {
	Names    []Name // all on one certificate; repetitions count once
	Client   Client
	Defaults []Default
	Rules    Rules // "" is Seed
	// DiscoveryOnRequest turns round what a record without the discovery parameter
	// says (auto-discovery §3.2, the comment): it is then not for discovery.
	DiscoveryOnRequest bool
	// RequireAuthentic permits no discovery from a climb of which any answer was not
	// validated by DNSSEC. Such records restrict all the same.
	RequireAuthentic bool
	Last             Last // zero at a first issuance
	Pin              bool // no other CA than the last
	// Random shuffles equals. Nil is the system's cryptographic generator.
	Random rand.Source
}

// Term is what an offer means for one of the names.
type Term struct {
	Subject  Subject  `json:"name"`
	Free     bool     `json:"free,omitempty"`     // nothing restricts this name
	Record   Record   `json:"record"`             // that authorises it, unless Free
	Priority string   `json:"priority,omitempty"` // of that record, as it counts
	Worse    bool     `json:"worse,omitempty"`    // this name has a record with a better priority
	Methods  []string `json:"methods,omitempty"`  // those that may be used for this name, the client's preferred first
}

// Offer is one way to get the certificate: a CA, what to ask it for, and as whom.
type Offer struct {
	Issuer  string `json:"issuer,omitempty"`  // "" only for a default of unknown issuer name
	Default string `json:"default,omitempty"` // the label, if it comes from configuration and not from discovery
	Kind    Kind   `json:"kind,omitempty"`
	Account string `json:"account,omitempty"` // the account to use; "" for a new one
	Terms   []Term `json:"terms"`             // in the order of the names
	Tier    int    `json:"tier"`              // from 0; offers of one tier are equal and their order is chance
	// StepDown: it vouches for less than the certificate that is to be renewed, so it
	// is for when that one nears its end.
	StepDown bool   `json:"stepDown,omitempty"`
	Reason   string `json:"reason"` // why it stands where it stands

	cost  cost
	place int // where its alternatives stood in the lists of their records
}

// identity tells offers apart by what would be done.
func (o Offer) identity() string {
	id := strconv.Quote(o.Issuer) + strconv.Quote(o.Default) + strconv.Quote(string(o.Kind)) + strconv.Quote(o.Account)
	for _, t := range o.Terms {
		id += strconv.Quote(methodsKey(t.Methods))
	}
	return id
}

// Plan is the order in which to try.
type Plan struct {
	Offers   []Offer     `json:"offers"`
	Names    []Report    `json:"names"`
	Excluded []Exclusion `json:"excluded,omitempty"`
	Notes    []string    `json:"notes,omitempty"` // what the owner should know or put right
}

// Exclusion says why a CA that some name authorises is not in the plan.
type Exclusion struct {
	Issuer string `json:"issuer,omitempty"`
	Label  string `json:"label,omitempty"` // of a default
	Reason string `json:"reason"`
}

// Choose makes the plan (auto-discovery §5, §5.1). An offer stands in it only if
// every name authorises it. The best come first: those that give the fewest names a
// worse priority than their own best, then those with the smallest sum of
// priorities; equals are shuffled, but at a renewal the last CA stays first among
// them. Behind all discovered ones come the defaults that all names authorise.
//
// A name counts with the record by which the offer was made: an offer of a kind or
// for an account that a record asks for counts as that record does, although one
// that asks for nothing would be satisfied by it as well.
//
// Without any offer the error is a *ChoiceError, and the plan holds the reports.
func Choose(q Question) (Plan, error) {
	q = q.normal()
	grants := q.grants()
	plan := Plan{Notes: q.notes(grants)}
	for _, g := range grants {
		plan.Names = append(plan.Names, g.report)
	}
	shuffle := q.shuffler()
	pools := q.pools(grants)
	var discovered []Offer
	for _, p := range pools {
		if p.label == "" {
			discovered = append(discovered, p.offers()...)
		}
	}
	tiers := q.order(discovered, shuffle)
	seen := map[string]bool{}
	for _, o := range discovered {
		seen[taken(o)] = true
	}
	for _, equals := range q.defaultPools(pools) {
		shuffle(len(equals), func(i, j int) { equals[i], equals[j] = equals[j], equals[i] })
		tiers = append(tiers, q.orderDefaults(equals, seen, shuffle)...)
	}
	tiers, pinned := q.pinned(tiers)
	plan.Excluded = append(excluded(pools, grants), pinned...)
	for i, tier := range tiers {
		for _, o := range tier {
			o.Tier, o.StepDown = i, q.Last.Kind != AnyKind && o.Kind.Below(q.Last.Kind)
			o.Reason = o.explain(q, len(tier))
			plan.Offers = append(plan.Offers, o)
		}
	}
	plan.Notes = append(plan.Notes, unordered(plan, grants)...)
	if len(plan.Offers) == 0 {
		return plan, failure(pools, grants, pinned)
	}
	return plan, nil
}

// taken identifies an offer whether discovered or by default.
func taken(o Offer) string {
	o.Default = ""
	return o.identity()
}

// normal removes repeated names and fills in what is left open.
func (q Question) normal() Question {
	var names []Name
	for _, n := range q.Names {
		if !slices.ContainsFunc(names, func(m Name) bool { return m.Subject == n.Subject }) {
			names = append(names, n)
		}
	}
	q.Names = names
	if q.Rules == "" {
		q.Rules = Seed
	}
	if q.Client.Methods == nil {
		q.Client.Methods = knownMethods
	}
	if q.Client.Accounts == nil {
		q.Client.Accounts = func(string) []string { return nil }
	}
	if q.Client.Kinds == nil {
		q.Client.Kinds = func(string, Kind) bool { return true }
	}
	return q
}

// knownMethods are the labels of the "ACME Validation Methods" registry for a form
// of name. A wildcard is validated by DNS alone.
func knownMethods(s Subject) []string {
	switch s.Form {
	case Wildcard:
		return []string{"dns-01", "dns-account-01", "dns-persist-01"}
	case Mailbox:
		return []string{"email-reply-00"}
	case Address:
		return []string{"http-01", "tls-alpn-01"}
	}
	return []string{"http-01", "tls-alpn-01", "dns-01", "dns-account-01", "dns-persist-01"}
}

// Compare makes the plan under the other rules and tells whether it is another one,
// chance aside: which offers it has, or which comes before which.
func Compare(q Question) (other Plan, differs bool) {
	q = q.normal()
	one, _ := Choose(q)
	if q.Rules == Seed {
		q.Rules = Revision03
	} else {
		q.Rules = Seed
	}
	other, _ = Choose(q)
	if len(one.Offers) != len(other.Offers) {
		return other, true
	}
	tiers := map[string]int{}
	for _, o := range one.Offers {
		tiers[o.identity()] = o.Tier
	}
	for _, o := range other.Offers {
		if tier, ok := tiers[o.identity()]; !ok || tier != o.Tier {
			return other, true
		}
	}
	return other, false
}
