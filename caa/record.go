package caa

import (
	"fmt"
	"strings"
)

// The property tags that this package understands. All others are unknown, and
// stop a name when they are critical.
const (
	Issue     = "issue"     // RFC 8659 §4.2
	IssueWild = "issuewild" // RFC 8659 §4.3
	IssueMail = "issuemail" // RFC 9495
	IODEF     = "iodef"     // RFC 8659 §4.4
)

// critical is bit 0, the most significant, of the flags (RFC 8659 §4.1).
const critical = 0x80

// Record is one CAA record as it came from the DNS, not yet judged. Tag and Value
// are the bytes of the wire, not their presentation: no escapes, no quotes.
type Record struct {
	Flags uint8  `json:"flags"`
	Tag   string `json:"tag"`
	Value string `json:"value"`
}

// Critical tells whether the issuer critical flag is set. The other flags are
// reserved and ignored (RFC 8659 §4.1).
func (r Record) Critical() bool { return r.Flags&critical != 0 }

// String gives the presentation form of RFC 8659 §4.1.1 with the tag as it was
// received. What is not printable ASCII is escaped, so it is fit for a terminal.
func (r Record) String() string {
	return fmt.Sprintf("%d %s %s", r.Flags, escaped(r.Tag), quoted(r.Value))
}

// quoted gives a <character-string> in quotes (RFC 1035 §5.1).
func quoted(s string) string { return `"` + escaped(s) + `"` }

func escaped(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\%03d`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Parameter is one tag=value behind the issuer's name.
type Parameter struct {
	Tag   string `json:"tag"` // lower case
	Value string `json:"value"`
}

// Property is a record that was read.
type Property struct {
	Record Record `json:"record"`
	Tag    string `json:"tag"` // lower case
	// Issuer is the issuer-domain-name in lower case, "" for nobody. Like
	// Parameters it is read of issue, issuewild and issuemail only.
	Issuer     string      `json:"issuer,omitempty"`
	Parameters []Parameter `json:"parameters,omitempty"` // in the order written, repetitions included
}

// Known tells whether this package understands the property's tag.
func (p Property) Known() bool { return p.authorizes() || p.Tag == IODEF }

// authorizes tells whether the tag is one of those that name an issuer.
func (p Property) authorizes() bool {
	return p.Tag == Issue || p.Tag == IssueWild || p.Tag == IssueMail
}

// Values gives the values of all parameters of that tag, in any case, in order.
func (p Property) Values(tag string) []string {
	var all []string
	for _, q := range p.Parameters {
		if q.Tag == lower(tag) {
			all = append(all, q.Value)
		}
	}
	return all
}

// Canonical gives the record that says the same in one agreed spelling: reserved
// flags cleared, the tag, the issuer and the parameters' tags in lower case, "; "
// between the parts. Parsing it gives the same property again.
func (p Property) Canonical() Record {
	r := Record{Flags: p.Record.Flags & critical, Tag: p.Tag, Value: p.Record.Value}
	if !p.authorizes() {
		return r
	}
	var b strings.Builder
	b.WriteString(p.Issuer)
	for _, q := range p.Parameters {
		b.WriteString("; " + q.Tag + "=" + q.Value)
	}
	r.Value = b.String()
	if p.Issuer == "" {
		r.Value = strings.TrimSpace(";" + strings.TrimPrefix(r.Value, ";"))
	}
	return r
}

// MalformedError says that a record's value breaks the grammar of RFC 8659 §4.2.
// Such a record authorises nobody.
type MalformedError struct {
	Record Record
	Offset int    // into the value, in bytes
	Reason string // what was found there
	Meant  string // a value that is well-formed and probably meant; "" if none suggests itself
}

// Error shows the record, what is wrong with it and what was probably meant.
func (e *MalformedError) Error() string {
	text := fmt.Sprintf("the record %s is malformed and authorises nobody: %s (at byte %d)", shown(e.Record), e.Reason, e.Offset)
	if e.Meant != "" {
		text += "; probably meant: " + abridged(quoted(e.Meant))
	}
	return text
}

// Parse reads a record. For issue, issuewild and issuemail the value must match
// issue-value of RFC 8659 §4.2, else the error is a *MalformedError and the property
// has its tag but no issuer: it still restricts, and authorises nobody. The values
// of other tags are not looked at.
func Parse(r Record) (Property, error) {
	p := Property{Record: r, Tag: lower(r.Tag)}
	if !p.authorizes() {
		return p, nil
	}
	s := scanner{text: r.Value}
	issuer, parameters, ok := s.issueValue()
	if !ok {
		return p, &MalformedError{Record: r, Offset: s.at, Reason: s.reason, Meant: meant(r.Value)}
	}
	p.Issuer, p.Parameters = issuer, parameters
	return p, nil
}

// lower lowers ASCII letters and nothing else: the folding of other scripts has
// letters that fold to ASCII's (the Kelvin sign to k), which DNS does not know.
func lower(s string) string {
	return strings.Map(func(c rune) rune {
		if 'A' <= c && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return c
	}, s)
}

// longest is how much of a stranger's text goes into a message.
const longest = 300

// shown gives a record for a message.
func shown(r Record) string { return abridged(r.String()) }

func abridged(s string) string {
	if len(s) <= longest {
		return s
	}
	return s[:longest] + "…"
}
