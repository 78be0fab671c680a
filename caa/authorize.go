package caa

import (
	"fmt"
	"slices"
	"strings"
)

// Request is what somebody wants to issue, or wants issued.
type Request struct {
	// Issuers are the issuer domain names of one CA, in any case.
	Issuers []string
	Subject Subject
	// Accounts are the URLs by which the CA knows the account that asks; empty if
	// there is none yet, and then no accounturi is satisfied.
	Accounts []string
	// Methods are the labels that are true of this issuance: the validation method
	// used, and the CA's own labels (ca-…) that it fulfils. One that the record lists
	// is enough.
	Methods []string
	// NoParameters is for a CA that does not support RFC 8657's parameters, which it
	// must say and then must not half support (RFC 8657 §5.3): they are ignored.
	NoParameters bool
}

// Rule names what decided.
type Rule string

// The rules, first those that permit.
const (
	RuleUnrestricted Rule = "unrestricted"     // no property concerns the request (RFC 8659 §3)
	RuleAuthorized   Rule = "authorized"       // a record names the CA, and its parameters are satisfied
	RuleUnknown      Rule = "unknown"          // the set is not the one that was found for this name
	RuleCritical     Rule = "unknown-critical" // RFC 8659 §4.5
	RuleNobody       Rule = "nobody"           // an empty issuer
	RuleMalformed    Rule = "malformed"        // as an empty issuer (RFC 8659 §4.2)
	RuleOther        Rule = "other-ca"         // a record names another CA
	RuleAccount      Rule = "account"          // accounturi is not satisfied (RFC 8657 §3)
	RuleMethod       Rule = "method"           // validationmethods is not satisfied (RFC 8657 §4)
)

// rank of a refusal: the nearer a record was to authorising, the later it stands.
var nearness = []Rule{RuleMalformed, RuleNobody, RuleOther, RuleMethod, RuleAccount}

// Verdict is what one record means for a request.
type Verdict struct {
	Record Record `json:"record"`
	Rule   Rule   `json:"rule"`
	Reason string `json:"reason"`
}

// Decision says whether the CA may issue, and why.
type Decision struct {
	Allowed  bool      `json:"allowed"`
	Rule     Rule      `json:"rule"`
	Reason   string    `json:"reason"`             // one sentence for a person
	Verdicts []Verdict `json:"verdicts,omitempty"` // of each record that concerns the request
}

// reading is a property, or why it could not be read.
type reading struct {
	Property
	malformed error
}

// concern is what of a set concerns a subject.
type concern struct {
	stop     *Property // an unknown critical one: nobody may issue
	tag      string    // the tag that counts, "" if none restricts
	readings []reading // the properties of that tag
	rest     []reading // all others
}

// concerning picks the properties for a subject (RFC 8659 §4.3, §4.5, RFC 9495).
func (s Set) concerning(subject Subject) concern {
	var c concern
	if subject.Form == Address {
		return c // what stands in the set, if anything, was never meant for it
	}
	first, second := subject.tags()
	var all []reading
	for _, r := range s.Records {
		p, err := Parse(r)
		all = append(all, reading{p, err})
		if !p.Known() && r.Critical() && c.stop == nil {
			c.stop = &p
		}
		if p.Tag == first || p.Tag == second && c.tag == "" {
			c.tag = p.Tag
		}
	}
	for _, r := range all {
		if c.tag != "" && r.Tag == c.tag {
			c.readings = append(c.readings, r)
		} else {
			c.rest = append(c.rest, r)
		}
	}
	return c
}

// Authorize decides whether a CA may issue for one name (RFC 8659 §4, RFC 8657,
// RFC 9495). The set must be the one found for the same subject. Records are
// alternatives: one that authorises is enough.
func Authorize(s Set, q Request) Decision {
	c := s.concerning(q.Subject)
	if !s.of(q.Subject) {
		return Decision{Rule: RuleUnknown, Reason: unknown(q.Subject)}
	}
	if c.stop != nil {
		return Decision{Rule: RuleCritical, Reason: stopped(s, *c.stop)}
	}
	if c.tag == "" {
		return Decision{Allowed: true, Rule: RuleUnrestricted, Reason: s.free(q.Subject)}
	}
	d := Decision{Rule: RuleMalformed}
	for _, r := range c.readings {
		v := q.judge(r)
		d.Verdicts = append(d.Verdicts, v)
		switch {
		case v.Rule == RuleAuthorized && !d.Allowed:
			d.Allowed, d.Rule, d.Reason = true, v.Rule, fmt.Sprintf("%s at %s authorises it", shown(v.Record), s.Owner)
		case !d.Allowed && slices.Index(nearness, v.Rule) >= slices.Index(nearness, d.Rule):
			d.Rule = v.Rule
		}
	}
	if !d.Allowed {
		d.Reason = s.refusal(q, d)
	}
	return d
}

// judge says what one record of the tag that counts means.
func (q Request) judge(r reading) Verdict {
	v := Verdict{Record: r.Record}
	switch {
	case r.malformed != nil:
		v.Rule, v.Reason = RuleMalformed, r.malformed.Error()
	case r.Issuer == "":
		v.Rule, v.Reason = RuleNobody, "it names no CA"
	case !slices.ContainsFunc(q.Issuers, func(i string) bool { return lower(i) == r.Issuer }):
		v.Rule, v.Reason = RuleOther, "it names "+r.Issuer
	case q.NoParameters:
		v.Rule, v.Reason = RuleAuthorized, "it names this CA"
	default:
		v.Rule, v.Reason = q.parameters(r.Property)
	}
	return v
}

// parameters judges by RFC 8657.
func (q Request) parameters(p Property) (Rule, string) {
	if uri, bound := p.AccountURI(); bound && (uri == "" || !slices.Contains(q.Accounts, uri)) {
		if uri == "" {
			return RuleAccount, "accounturi is empty or stands there more than once, which no account satisfies"
		}
		return RuleAccount, "it is for the account " + abridged(uri) + " alone"
	}
	labels, bound := p.Methods()
	if bound && !slices.ContainsFunc(labels, func(l string) bool { return slices.Contains(q.Methods, l) }) {
		if len(labels) == 0 {
			return RuleMethod, "validationmethods lists nothing, is malformed, or stands there more than once, which no method satisfies"
		}
		return RuleMethod, "it permits " + abridged(strings.Join(labels, ", ")) + " alone"
	}
	return RuleAuthorized, "it names this CA and its parameters are satisfied"
}

// of tells whether the set was found for the subject. The zero set, which comes with
// a lookup's error, was found for none, so nobody can take it for "no CAA".
func (s Set) of(subject Subject) bool {
	if subject.Form == Address {
		return s.Name != "" && s.Name == subject.Name
	}
	return s.Name != "" && s.Name == subject.Domain
}

func unknown(subject Subject) string {
	return "the CAA records of " + subject.Name + " are not known, so no CA may issue: look them up first"
}

func stopped(s Set, p Property) string {
	return fmt.Sprintf("%s at %s is critical and nobody here knows what it means, so no CA may issue (RFC 8659 §4.5)", shown(p.Record), s.Owner)
}

// free says why nothing restricts a subject.
func (s Set) free(subject Subject) string {
	switch {
	case subject.Form == Address:
		return "IP addresses have no CAA records"
	case s.Owner == "":
		return "neither " + s.Name + " nor a domain above it has CAA records"
	}
	first, second := subject.tags()
	if first != second {
		first += " or " + second
	}
	return fmt.Sprintf("the CAA records at %s have no %s, so they do not restrict %s", s.Owner, first, subject)
}

// refusal puts what the records say into one sentence.
func (s Set) refusal(q Request, d Decision) string {
	var all []string
	for _, v := range d.Verdicts {
		if v.Rule == d.Rule && len(all) < 5 {
			all = append(all, shown(v.Record)+": "+v.Reason)
		}
	}
	who := "this CA"
	if len(q.Issuers) > 0 {
		who = strings.Join(q.Issuers, ", ")
	}
	return fmt.Sprintf("the CAA records at %s do not let %s issue for %s: %s", s.Owner, who, q.Subject, strings.Join(all, "; "))
}
