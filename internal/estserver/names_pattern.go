package estserver

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"chancery/internal/ca"
)

// pattern is one rule about what may be asked for, as people write it:
//
//	own                       what the certificate that authenticates has itself
//	*                         everything
//	gw.example, 192.0.2.7     this name, in the alternative names or as common name
//	*.iot.example             every name below it, at any depth
//	gw-*.example              any other "*" in a host name stands within one label
//	{serial}.iot.example      with what is known of who asks: {serial}, {cn}, {user}; a host
//	                          name, whatever that is: "ip:{cn}" for an address
//	192.0.2.0/24              every address of the network
//	uri:urn:dev:*             other kinds of names by their type; "*" stands for anything
//	CN=*, SN={serial}, O=Ex   attributes of the subject: CN, SN (serialNumber), O, OU, C, L, ST
type pattern struct {
	own       bool
	all       bool
	attribute string            // a word of attributeOf; "": a name
	kind      ca.IdentifierType // as written; "": told by the form, see means
	means     ca.IdentifierType // the kind of names that it speaks of; "": of none
	network   netip.Prefix      // if it is one
	text      string            // with "*" and {fields}
}

// own and all are the two patterns that are words.
const ownNames, allNames = "own", "*"

// The fields of a pattern.
var patternFields = []string{"{serial}", "{cn}", "{user}"}

// attributeOf gives an attribute of the subject by its short name (RFC 4514 §3; SN is
// serialNumber here).
var attributeOf = map[string]func(*ca.Subject) *string{
	"CN": func(s *ca.Subject) *string { return &s.CommonName },
	"SN": func(s *ca.Subject) *string { return &s.SerialNumber },
	"O":  func(s *ca.Subject) *string { return &s.Organization },
	"OU": func(s *ca.Subject) *string { return &s.OrganizationalUnit },
	"C":  func(s *ca.Subject) *string { return &s.Country },
	"L":  func(s *ca.Subject) *string { return &s.Locality },
	"ST": func(s *ca.Subject) *string { return &s.Province },
}

// attributeWords is attributeOf's order for messages.
var attributeWords = []string{"CN", "SN", "O", "OU", "C", "L", "ST"}

var patternKinds = []ca.IdentifierType{ca.TypeDNS, ca.TypeIP, ca.TypeEmail, ca.TypeURI, ca.TypePermanentID, ca.TypeHardwareModule}

// CheckPattern tells what is wrong with a pattern of a label's names; nil: nothing.
func CheckPattern(text string) error {
	_, err := parsePattern(text)
	return err
}

// parsePattern reads a pattern; the error says what is wrong with it.
func parsePattern(text string) (pattern, error) {
	switch text {
	case ownNames:
		return pattern{own: true}, nil
	case allNames:
		return pattern{all: true}, nil
	}
	p := pattern{text: text}
	if word, rest, ok := strings.Cut(text, "="); ok && attributeOf[word] != nil {
		p.attribute, p.text = word, rest
	} else if word, rest, ok := strings.Cut(text, ":"); ok && slices.Contains(patternKinds, ca.IdentifierType(word)) {
		p.kind, p.text = ca.IdentifierType(word), rest
	}
	bare := p.text
	for _, field := range patternFields {
		bare = strings.ReplaceAll(bare, field, "x")
	}
	switch {
	case p.text == "" || len(text) > 512:
		return p, fmt.Errorf("the pattern %.80q names nothing, or is longer than 512 characters", text)
	case strings.ContainsAny(bare, "{}"):
		return p, fmt.Errorf("the pattern %q has a field that is not known; there are %s", text, strings.Join(patternFields, ", "))
	case strings.Contains(bare, "/") && (p.kind == "" || p.kind == ca.TypeIP) && p.attribute == "":
		var err error
		if p.network, err = netip.ParsePrefix(p.text); err != nil {
			return p, fmt.Errorf("the pattern %q is no network: write an address and the number of bits, as 192.0.2.0/24 or 2001:db8::/32", text)
		}
	case strings.Count(bare, "*") > 1:
		return p, fmt.Errorf("the pattern %q has more than one *", text)
	}
	if p.attribute == "" {
		p.means = p.kindOf(bare)
	}
	if p.means == ca.TypeDNS && strings.ContainsAny(bare, ":=/") {
		return p, fmt.Errorf("the pattern %q is no host name, and begins with no kind of names or attribute that is known; there are %s, and %s", text, kindWords(), strings.Join(attributeWords, "=, ")+"=")
	}
	if err := p.possible(); err != nil {
		return p, fmt.Errorf("the pattern %.80q can let nothing pass: %w", text, err)
	}
	return p, nil
}

// possible tells why no name can fit the pattern; nil: one can. Of the kinds without a form of their own it says nothing.
func (p pattern) possible() (err error) {
	if p.network.IsValid() || !slices.Contains([]ca.IdentifierType{ca.TypeDNS, ca.TypeEmail, ca.TypeIP}, p.means) {
		return nil
	}
	if p.means == ca.TypeIP && strings.ContainsAny(p.text, "*{") {
		return nil // a glob of an address's text, or an address that a client has
	}
	for _, star := range []string{"x", "x@x", "xxxx"} { // what a star or a field may stand for
		made := p.text
		for _, open := range append([]string{"xn--*", "*"}, patternFields...) {
			made = strings.ReplaceAll(made, open, star)
		}
		if _, err = ca.ParseIdentifier(string(p.means), made); err == nil {
			return nil
		}
	}
	if p.means == ca.TypeDNS {
		return fmt.Errorf("it is no host name (letters, digits and hyphens, with dots between; international names in their xn-- form); for a common name write \"CN=%.80s\"", p.text)
	}
	told, _ := errors.AsType[*ca.Error](err)
	return errors.New(told.Detail)
}

// kindWords lists the kinds for messages.
func kindWords() string {
	words := make([]string, len(patternKinds))
	for i, kind := range patternKinds {
		words[i] = string(kind) + ":"
	}
	return strings.Join(words, ", ")
}

// kindOf tells of which kind of names the pattern speaks: of the one that it names, or
// that its form tells. What clients bring in fields is no part of the form: it stands for
// itself in a host name, or with its kind before it in another ("ip:{cn}").
func (p pattern) kindOf(bare string) ca.IdentifierType {
	if p.kind != "" {
		return p.kind
	}
	if _, err := netip.ParseAddr(bare); err == nil || p.network.IsValid() {
		return ca.TypeIP
	}
	if strings.Contains(bare, "@") {
		return ca.TypeEmail
	}
	return ca.TypeDNS
}

// fill puts what is known of who asks in the place of the fields. A pattern with a
// field that is not known fits nothing: false.
func (p pattern) fill(fields map[string]string) (string, bool) {
	text := p.text
	for _, field := range patternFields {
		if !strings.Contains(text, field) {
			continue
		}
		// A value with a star would be a pattern itself.
		value := fields[field]
		if value == "" || strings.ContainsAny(value, "*{}") {
			return "", false
		}
		text = strings.ReplaceAll(text, field, value)
	}
	return text, true
}

// fitsName tells whether the pattern lets a name pass.
func (p pattern) fitsName(n ca.Identifier, fields map[string]string) bool {
	if p.all {
		return true
	}
	if n.Type() != p.means {
		return false
	}
	if p.network.IsValid() {
		addr, ok := n.Addr()
		return ok && p.network.Contains(addr)
	}
	text, ok := p.fill(fields)
	if !ok {
		return false
	}
	switch n.Type() {
	case ca.TypeIP:
		given, err := ca.IP(text)
		return err == nil && given == n || glob(text, n.Value())
	case ca.TypeDNS:
		return globHost(lower(text), n.Value())
	}
	return glob(text, n.Value())
}

// fitsAttribute tells whether the pattern lets an attribute of the subject pass. A
// pattern of host names fits a common name as well.
func (p pattern) fitsAttribute(word, value string, fields map[string]string) bool {
	if p.all {
		return true
	}
	if p.own || p.attribute != word && (p.attribute != "" || word != "CN") {
		return false
	}
	text, ok := p.fill(fields)
	if !ok {
		return false
	}
	if p.attribute == word {
		return glob(text, value)
	}
	for _, kind := range []ca.IdentifierType{ca.TypeDNS, ca.TypeIP, ca.TypeEmail} {
		if n, err := ca.ParseIdentifier(string(kind), value); err == nil && p.fitsName(n, fields) {
			return true
		}
	}
	return p.kind == "" && !strings.Contains(text, "*") && text == value
}

// glob compares with a text in which one "*" stands for one character or more.
func glob(text, value string) bool {
	before, after, star := strings.Cut(text, "*")
	if !star {
		return text == value
	}
	return len(value) > len(before)+len(after) && strings.HasPrefix(value, before) && strings.HasSuffix(value, after)
}

// globHost compares with a pattern of host names: a "*" at its beginning with a dot behind
// it, or alone, stands for labels at any depth, and any other stands within one label.
func globHost(text, value string) bool {
	if !glob(text, value) {
		return false
	}
	before, after, star := strings.Cut(text, "*")
	if !star || text == "*" || before == "" && strings.HasPrefix(after, ".") {
		return true
	}
	return !strings.Contains(value[len(before):len(value)-len(after)], ".")
}

func lower(s string) string { return strings.ToLower(s) }
