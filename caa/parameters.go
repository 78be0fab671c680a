package caa

import (
	"math/big"
	"slices"
	"strings"
)

// The parameters that this package reads, in lower case.
const (
	accountURI        = "accounturi"           // RFC 8657 §3
	validationMethods = "validationmethods"    // RFC 8657 §4
	discovery         = "discovery"            // auto-discovery §3.1.1
	priority          = "priority"             // auto-discovery §3.1.2
	termsAgreed       = "termsofserviceagreed" // auto-discovery §8.2.2, which advises against it
)

// AccountURI gives what the record binds authorisation to. bound is false for a
// record that any account satisfies. A record with several is bound to "", which no
// account is (RFC 8657 §3).
func (p Property) AccountURI() (uri string, bound bool) {
	switch all := p.Values(accountURI); len(all) {
	case 0:
		return "", false
	case 1:
		return all[0], true
	}
	return "", true
}

// Methods gives the labels of which one must be used (RFC 8657 §4). bound is false
// for a record that any method satisfies. A record with several lists, with an empty
// one, or with one that breaks RFC 8657's grammar is bound to none at all.
func (p Property) Methods() (labels []string, bound bool) {
	all := p.Values(validationMethods)
	if len(all) != 1 || all[0] == "" {
		return nil, len(all) > 0
	}
	labels = strings.Split(all[0], ",")
	for _, l := range labels {
		if l == "" || strings.ContainsFunc(l, func(c rune) bool { return c != '-' && (c > '~' || !alphanumeric(byte(c))) }) {
			return nil, true
		}
	}
	return labels, true
}

// saysFalse is the one reason against discovery that is no fault.
const saysFalse = "discovery=false"

// discoverable tells whether the record may be used for discovery, and if not,
// why. absent is what a record without the parameter says.
func (p Property) discoverable(absent bool) (ok bool, why string) {
	all := p.Values(discovery)
	switch {
	case len(all) == 0 && absent:
		return true, ""
	case len(all) == 0:
		return false, "it has no discovery parameter, and configuration says that this means false"
	case len(all) > 1:
		return false, "discovery stands there more than once"
	}
	switch lower(all[0]) {
	case "true":
		return true, ""
	case "false":
		return false, saysFalse
	}
	return false, "discovery must be true or false"
}

// Rules says which revision of auto-discovery orders the records.
type Rules string

// The two sets of rules. They differ in records without a priority and in those
// with priority 0.
const (
	// Seed: no priority is 0, which comes first; then 1, 2, 3 ….
	Seed Rules = "seed"
	// Revision03 is the last one published: 1 comes first, no priority last, and 0 is
	// malformed.
	Revision03 Rules = "03"
)

// rank gives the record's priority, nil if it states none, and what is wrong with
// it if it cannot be used for discovery.
func (p Property) rank(rules Rules) (n *big.Int, why string) {
	all := p.Values(priority)
	switch {
	case len(all) == 0 && rules == Revision03:
		return nil, ""
	case len(all) == 0:
		return new(big.Int), ""
	case len(all) > 1:
		return nil, "priority stands there more than once"
	case all[0] == "" || strings.ContainsFunc(all[0], func(c rune) bool { return c < '0' || c > '9' }):
		return nil, "priority must be digits and nothing else"
	}
	n, _ = new(big.Int).SetString(all[0], 10)
	if rules == Revision03 && n.Sign() == 0 {
		return nil, "priority 0 is none by the rules of revision 03"
	}
	return n, ""
}

// Kind is a kind of certificate, as the labels of validationmethods name it that
// begin with "ca-" (auto-discovery §8.1.1). "" is any kind.
type Kind string

// The kinds of certificates, in rising order of what is vetted.
const (
	AnyKind               Kind = ""
	DomainValidated       Kind = "ca-dv"
	OrganizationValidated Kind = "ca-ov"
	ExtendedValidation    Kind = "ca-ev"
	QualifiedWeb          Kind = "ca-qwac"
)

var kinds = []Kind{DomainValidated, OrganizationValidated, ExtendedValidation, QualifiedWeb}

// Binding tells whether this kind takes more than an ACME account can show by
// itself, so that it needs an external account binding (auto-discovery §6).
func (k Kind) Binding() bool { return k != AnyKind && k != DomainValidated }

// Below tells whether k vouches for less than other does. Any kind vouches for as
// little as a domain-validated one.
func (k Kind) Below(other Kind) bool {
	return max(0, slices.Index(kinds, k)) < max(0, slices.Index(kinds, other))
}

// String gives the label, or "any kind".
func (k Kind) String() string {
	if k == AnyKind {
		return "any kind"
	}
	return string(k)
}
