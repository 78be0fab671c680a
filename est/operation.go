package est

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// WellKnown is the path under which EST is served (RFC 7030 §3.2.2).
const WellKnown = "/.well-known/est"

// Operation is the last segment of an EST path (RFC 7030 §3.2.2).
type Operation string

// The operations of RFC 7030.
const (
	CACerts        Operation = "cacerts"        // §4.1
	SimpleEnroll   Operation = "simpleenroll"   // §4.2.1
	SimpleReenroll Operation = "simplereenroll" // §4.2.2
	FullCMC        Operation = "fullcmc"        // §4.3
	ServerKeyGen   Operation = "serverkeygen"   // §4.4
	CSRAttributes  Operation = "csrattrs"       // §4.5
)

// Operations lists those of RFC 7030, which this package reads paths of.
var Operations = []Operation{CACerts, SimpleEnroll, SimpleReenroll, FullCMC, ServerKeyGen, CSRAttributes}

// Registered lists every name that stands for an operation under [WellKnown], and
// therefore can be no label (RFC 7030 §3.2.2): those of RFC 7030, RFC 8295 §2.1
// (whose "…/return" are covered by their first segment), those of RFC 8995 §8.3.1 and
// the short names of RFC 9148 §5.1.
var Registered = []string{
	"cacerts", "simpleenroll", "simplereenroll", "fullcmc", "serverkeygen", "csrattrs",
	"pal", "eecerts", "crls", "symmetrickeys", "firmware", "tamp",
	"requestvoucher", "voucher_status", "requestauditlog", "enrollstatus",
	"crts", "sen", "sren", "skg", "skc", "att",
}

// labelMax bounds a label: it stands in a path of which devices keep few bytes.
const labelMax = 64

// CheckLabel tells whether a text may be a label: one path segment of unreserved
// characters (RFC 3986 §2.3), at most 64, that is no registered operation in any
// case (RFC 7030 §3.2.2). Percent-encoding is refused, as two spellings of one label
// would be two labels to one peer and one to another. Errors are [Malformed].
func CheckLabel(label string) error {
	switch {
	case label == "":
		return malformed("the label is empty")
	case len(label) > labelMax:
		return malformed("the label is longer than %d characters", labelMax)
	case strings.Trim(label, ".") == "":
		return malformed("%q is no label: a path cannot keep it", label)
	case slices.Contains(Registered, strings.ToLower(label)):
		return malformed("%q is the name of an EST operation and cannot be a label (RFC 7030 section 3.2.2): choose another", label)
	}
	for i := range len(label) {
		if !unreserved(label[i]) {
			return malformed("a label consists of letters, digits, '-', '.', '_' and '~', without percent-encoding")
		}
	}
	return nil
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// ParsePath takes a request's path as it was sent (percent-encoded) and gives its
// label, "" if it has none, and its operation. A path of another shape, or whose last
// segment is no operation of RFC 7030, is [Malformed]: 404 to a server. A label is
// given only if it passes [CheckLabel]. Octets that need no percent-encoding and have it
// all the same, as Java writes '~', stand for themselves (RFC 3986 §2.3, §6.2.2.2).
func ParsePath(p string) (label string, op Operation, err error) {
	rest, ok := strings.CutPrefix(plainly(p), WellKnown+"/")
	if !ok {
		return "", "", malformed("the path does not begin with %s/", WellKnown)
	}
	last := rest
	if before, after, two := strings.Cut(rest, "/"); two {
		if after == "" && slices.Contains(Operations, Operation(before)) {
			return "", "", malformed("the path ends with a slash: leave it out")
		}
		label, last = before, after
		if err := CheckLabel(label); err != nil {
			return "", "", err
		}
	}
	if !slices.Contains(Operations, Operation(last)) {
		return "", "", malformed("there is no such EST operation: known are cacerts, simpleenroll, simplereenroll, fullcmc, serverkeygen and csrattrs")
	}
	return label, Operation(last), nil
}

// plainly decodes what is percent-encoded without need.
func plainly(p string) string {
	if !strings.Contains(p, "%") {
		return p
	}
	var out strings.Builder
	for i := 0; i < len(p); i++ {
		if p[i] == '%' && i+2 < len(p) {
			if c, err := strconv.ParseUint(p[i+1:i+3], 16, 8); err == nil && unreserved(byte(c)) {
				out.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		out.WriteByte(p[i])
	}
	return out.String()
}

// URL gives the address of an operation at a server, of which the scheme, the host
// and the port are taken, under a label unless that is "" (RFC 7030 §3.2.2).
func URL(base *url.URL, label string, op Operation) *url.URL {
	p := WellKnown + "/"
	if label != "" {
		p += label + "/"
	}
	return &url.URL{Scheme: base.Scheme, Host: base.Host, Path: p + string(op)}
}
