package ca

import (
	"encoding/asn1"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// IdentifierType names a kind of name that a certificate can carry.
type IdentifierType string

// The types of identifiers; the words are those of the ACME registry
// (RFC 8555 §9.7.7 and its later entries).
const (
	TypeDNS             IdentifierType = "dns"
	TypeIP              IdentifierType = "ip"
	TypeEmail           IdentifierType = "email"
	TypeURI             IdentifierType = "uri"
	TypePermanentID     IdentifierType = "permanent-identifier"
	TypeHardwareModule  IdentifierType = "hardware-module"
	maxDNSLength                       = 253
	maxIdentifierLength                = 512
)

// Identifier is one name in canonical form. Only the constructors make one, so
// two identifiers that mean the same are equal; the zero value means none.
type Identifier struct {
	kind  IdentifierType
	value string
}

// Type gives the identifier's type.
func (i Identifier) Type() IdentifierType { return i.kind }

// Value gives the canonical value: lower-case A-labels for dns, the shortest
// form for ip.
func (i Identifier) Value() string { return i.value }

// String gives "type:value".
func (i Identifier) String() string { return string(i.kind) + ":" + i.value }

// IsZero tells whether i names nothing.
func (i Identifier) IsZero() bool { return i.kind == "" }

// IsWildcard tells whether i is a dns name whose first label is "*".
func (i Identifier) IsWildcard() bool {
	return i.kind == TypeDNS && strings.HasPrefix(i.value, "*.")
}

// Base gives i without its wildcard label.
func (i Identifier) Base() Identifier {
	return Identifier{i.kind, strings.TrimPrefix(i.value, "*.")}
}

// Addr gives the address of an ip identifier.
func (i Identifier) Addr() (netip.Addr, bool) {
	if i.kind != TypeIP {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(i.value)
	return a, err == nil
}

// ParseIdentifier makes an identifier of the named type from what a person or
// a protocol wrote. Errors are [*Error] of kind [BadName].
func ParseIdentifier(kind, value string) (Identifier, error) {
	switch IdentifierType(kind) {
	case TypeDNS:
		return DNS(value)
	case TypeIP:
		return IP(value)
	case TypeEmail:
		return Email(value)
	case TypeURI:
		return URI(value)
	case TypePermanentID, TypeHardwareModule:
		return deviceName(IdentifierType(kind), value)
	}
	return Identifier{}, Errorf(BadName, "identifier type %q is not known here; use dns or ip", clip(kind))
}

// DNS makes a dns identifier, with a leading "*." for a wildcard. The name must
// be made of letters, digits, hyphens and valid A-labels (RFC 5890 §2.3.2.1);
// it is lower-cased. Names under no public suffix are as good as any other:
// this is a private authority's core.
func DNS(name string) (Identifier, error) {
	lower := lowerASCII(name) // Unicode's folding would turn foreign letters into ASCII
	base := strings.TrimPrefix(lower, "*.")
	err := checkHostname(base)
	if err == nil && len(lower) > maxDNSLength {
		err = fmt.Errorf("it is longer than %d characters", maxDNSLength)
	}
	if err != nil {
		return Identifier{}, Errorf(BadName, "%q is not a host name: %v", clip(name), err)
	}
	return Identifier{TypeDNS, lower}, nil
}

func checkHostname(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("it is empty")
	case len(name) > maxDNSLength:
		return fmt.Errorf("it is longer than %d characters", maxDNSLength)
	case strings.HasSuffix(name, "."):
		return fmt.Errorf("leave out the dot at the end")
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return fmt.Errorf("it is an address: ask for an identifier of type ip")
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if err := checkLabel(label); err != nil {
			return err
		}
	}
	if last := labels[len(labels)-1]; numeric(last) {
		return fmt.Errorf("the last label is a number, as in an address")
	}
	return nil
}

// numeric tells whether some program would read a last label as part of an IPv4
// address: decimal, octal or hexadecimal.
func numeric(label string) bool {
	digits, hex := strings.CutPrefix(label, "0x")
	for i := range len(digits) {
		c := digits[i]
		if (c < '0' || c > '9') && (!hex || c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

func checkLabel(label string) error {
	if label == "" || len(label) > 63 {
		return fmt.Errorf("each part between dots has 1 to 63 characters")
	}
	for _, c := range label {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return fmt.Errorf("%q is not allowed in it; write international names in their xn-- form", c)
		}
	}
	if label[0] == '-' || label[len(label)-1] == '-' {
		return fmt.Errorf("a part begins or ends with a hyphen")
	}
	if len(label) >= 4 && label[2:4] == "--" {
		if !strings.HasPrefix(label, "xn--") {
			return fmt.Errorf("%q has hyphens in third and fourth place but is no xn-- name", label)
		}
		if u, err := idna.Registration.ToUnicode(label); err != nil || u == label {
			return fmt.Errorf("%q is not a valid xn-- name", label)
		}
	}
	return nil
}

// IP makes an ip identifier (RFC 8738 §3). Zones, ports and prefixes are no
// part of it; an IPv4-mapped IPv6 address is refused, as it is a second way to
// write the first.
func IP(text string) (Identifier, error) {
	addr, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		return Identifier{}, Errorf(BadName, "%q is not an IP address", clip(text))
	case addr.Zone() != "":
		return Identifier{}, Errorf(BadName, "%q has a zone; only plain addresses can be certified", clip(text))
	case addr.Is4In6():
		return Identifier{}, Errorf(BadName, "%q is an IPv4 address in IPv6 form; write %s", clip(text), addr.Unmap())
	}
	return Identifier{TypeIP, addr.String()}, nil
}

// Email makes an email identifier: an ASCII mailbox (RFC 5280 §4.2.1.6,
// rfc822Name) whose domain is lower-cased and whose local part is kept.
func Email(address string) (Identifier, error) {
	at := strings.LastIndexByte(address, '@')
	if at < 1 || at > 64 {
		return Identifier{}, Errorf(BadName, "%q is not an e-mail address", clip(address))
	}
	local, domain := address[:at], lowerASCII(address[at+1:])
	const special = "!#$%&'*+-/=?^_`{|}~."
	for i := range len(local) {
		c := local[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && strings.IndexByte(special, c) < 0 {
			return Identifier{}, Errorf(BadName, "%q is not a plain ASCII e-mail address", clip(address))
		}
	}
	if local[0] == '.' || local[len(local)-1] == '.' || strings.Contains(local, "..") {
		return Identifier{}, Errorf(BadName, "%q has a misplaced dot", clip(address))
	}
	if err := checkHostname(domain); err != nil {
		return Identifier{}, Errorf(BadName, "the domain of %q is not a host name: %v", clip(address), err)
	}
	return Identifier{TypeEmail, local + "@" + domain}, nil
}

// URI makes a uri identifier: absolute, ASCII, with a scheme and no spaces
// (RFC 5280 §4.2.1.6).
func URI(text string) (Identifier, error) {
	scheme, rest, ok := strings.Cut(text, ":")
	if !ok || scheme == "" || rest == "" || len(text) > maxIdentifierLength {
		return Identifier{}, Errorf(BadName, "%q is not an absolute URI", clip(text))
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return Identifier{}, Errorf(BadName, "%q is not an ASCII URI", clip(text))
		}
	}
	return Identifier{TypeURI, lowerASCII(scheme) + ":" + rest}, nil
}

func parseOID(text string) (asn1.ObjectIdentifier, error) {
	var oid asn1.ObjectIdentifier
	for part := range strings.SplitSeq(text, ".") {
		n, err := strconv.ParseUint(part, 10, 31)
		if err != nil || (len(part) > 1 && part[0] == '0') {
			return nil, fmt.Errorf("%q is not an object identifier", clip(text))
		}
		oid = append(oid, int(n))
	}
	if len(oid) < 2 || oid[0] > 2 || (oid[0] < 2 && oid[1] > 39) {
		return nil, fmt.Errorf("%q is not an object identifier", clip(text))
	}
	return oid, nil
}

// clip keeps what a stranger wrote short enough to be shown back.
func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:77], "") + "..."
	}
	return s
}
