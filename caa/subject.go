package caa

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// Form says what kind of name a certificate is asked for: it decides which
// properties concern it.
type Form string

// The forms of names.
const (
	Host     Form = "host"     // issue alone (RFC 8659 §4.2)
	Wildcard Form = "wildcard" // issuewild, else issue (RFC 8659 §4.3)
	Mailbox  Form = "mailbox"  // issuemail alone (RFC 9495)
	Address  Form = "address"  // IP addresses have no CAA: nothing restricts them
)

// Subject is one name that a certificate is asked for. Only [ParseSubject] makes
// one that is sure to be canonical. It is comparable.
type Subject struct {
	Form   Form   `json:"form"`
	Name   string `json:"name"`             // as it goes into the certificate, with *. or the mailbox
	Domain string `json:"domain,omitempty"` // where the climb begins; "" for addresses
}

// String gives the name.
func (s Subject) String() string { return s.Name }

// tags names the property that concerns the subject, and the one that serves when
// a set has none of the first.
func (s Subject) tags() (first, second string) {
	switch s.Form {
	case Wildcard:
		return IssueWild, Issue
	case Mailbox:
		return IssueMail, IssueMail
	}
	return Issue, Issue
}

// NameError says that a text is no name that a certificate can be asked for.
type NameError struct {
	Text   string
	Reason string
}

// Error shows the text and says what is wrong with it.
func (e *NameError) Error() string {
	return fmt.Sprintf("%s is not a name that a certificate can hold: %s", abridged(quoted(e.Text)), e.Reason)
}

// ParseSubject reads a domain name (international names in either form, with or
// without a final dot), a wildcard, a mail address or an IP address. The error is
// a *NameError.
func ParseSubject(text string) (Subject, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		if a.Zone() != "" {
			return Subject{}, &NameError{text, "an address of a zone means something on one machine only"}
		}
		return Subject{Form: Address, Name: a.Unmap().String()}, nil
	}
	if at := strings.LastIndexByte(text, '@'); at >= 0 {
		domain, reason := domainName(text[at+1:])
		if at == 0 {
			reason = "nothing stands before the @"
		}
		if reason != "" {
			return Subject{}, &NameError{text, reason}
		}
		return Subject{Form: Mailbox, Name: text[:at+1] + domain, Domain: domain}, nil
	}
	bare, wildcard := strings.CutPrefix(text, "*.")
	domain, reason := domainName(bare)
	switch {
	case reason != "":
		return Subject{}, &NameError{text, reason}
	case wildcard:
		return Subject{Form: Wildcard, Name: "*." + domain, Domain: domain}, nil
	}
	return Subject{Form: Host, Name: domain, Domain: domain}, nil
}

// domainName gives the lower-case form in ASCII without the final dot, or what is
// wrong. Underscores are let through: there are such hosts, and the question is
// only where their CAA is.
func domainName(text string) (name, reason string) {
	name = lower(strings.TrimSuffix(text, "."))
	if strings.ContainsFunc(name, func(c rune) bool { return c > '~' }) {
		ascii, err := idna.Lookup.ToASCII(name)
		if err != nil {
			return "", "it breaks the rules for international names"
		}
		name = ascii
	}
	if name == "" || len(name) > 253 {
		return "", "a domain name has 1 to 253 characters"
	}
	label := ""
	for label = range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return "", "each part of a domain name has 1 to 63 characters"
		}
		for i := range len(label) {
			if c := label[i]; !alphanumeric(c) && c != '-' && c != '_' {
				return "", "a domain name has letters, digits and hyphens only"
			}
		}
	}
	if strings.Trim(label, "0123456789") == "" {
		return "", "a domain name does not end in a number, and an IP address has no more to it than itself"
	}
	return name, ""
}
