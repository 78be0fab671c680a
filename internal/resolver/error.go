package resolver

import (
	"fmt"

	"github.com/miekg/dns"
)

// Kind says in which way a look-up failed.
type Kind int

// The kinds of failure. NotFound and NoData are answers, and final; after every
// other kind the next server was tried before this one was reported.
const (
	// NotFound: the name does not exist (NXDOMAIN).
	NotFound Kind = iota + 1
	// NoData: the name exists, but has no record of the type.
	NoData
	// ServFail: the server could not find out (SERVFAIL or another error code);
	// often a broken delegation or a DNSSEC signature that does not verify.
	ServFail
	// Refused: the server does not answer this client or for this name.
	Refused
	// Timeout: no answer in time, or the caller's context ended.
	Timeout
	// Malformed: the answer is not a DNS message, is not to the question, or
	// its aliases form a loop or a chain that is too long.
	Malformed
	// Unreachable: the server's port cannot be reached at all.
	Unreachable
	// BadName: the name cannot stand in the DNS; nobody was asked.
	BadName
)

var kindTexts = map[Kind]string{
	NotFound:    "not found",
	NoData:      "no data",
	ServFail:    "server failure",
	Refused:     "refused",
	Timeout:     "timeout",
	Malformed:   "malformed answer",
	Unreachable: "unreachable",
	BadName:     "bad name",
}

// String names the kind in two words.
func (k Kind) String() string {
	if s, ok := kindTexts[k]; ok {
		return s
	}
	return fmt.Sprintf("kind %d", int(k))
}

// Error is the only type of error that look-ups return.
type Error struct {
	Name   string // as asked, without the final dot
	Type   string // "A", "TXT", …; "A and AAAA" from Host and Addresses
	Kind   Kind
	Server string // who answered or failed to, as address:port; "" if nobody was asked
	Reason string // more words, where there are any
	Err    error  // the cause, if it was a network or context error
}

// Error is a sentence for the person who has to mend the DNS.
func (e *Error) Error() string {
	var s string
	switch e.Kind {
	case NotFound:
		s = fmt.Sprintf("the DNS says that %s does not exist (NXDOMAIN, asked for %s)", e.Name, e.Type)
	case NoData:
		s = fmt.Sprintf("the DNS has no %s record for %s", e.Type, e.Name)
	case ServFail:
		s = fmt.Sprintf("the DNS server failed to look up %s for %s; look for a broken delegation or DNSSEC signature", e.Type, e.Name)
	case Refused:
		s = fmt.Sprintf("the DNS server refused to look up %s for %s", e.Type, e.Name)
	case Timeout:
		s = fmt.Sprintf("no DNS answer in time to %s for %s", e.Type, e.Name)
	case Malformed:
		s = fmt.Sprintf("the DNS answer to %s for %s makes no sense", e.Type, e.Name)
	case Unreachable:
		s = fmt.Sprintf("the DNS server cannot be reached to look up %s for %s", e.Type, e.Name)
	case BadName:
		return fmt.Sprintf("%q cannot be looked up: %s", e.Name, e.Reason)
	default:
		s = fmt.Sprintf("looking up %s for %s failed", e.Type, e.Name)
	}
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	if e.Server != "" {
		s += " (server " + e.Server + ")"
	}
	return s
}

// Unwrap gives the network or context error below, if there is one.
func (e *Error) Unwrap() error { return e.Err }

// final says that asking another server is pointless.
func (e *Error) final() bool { return e.Kind == NotFound || e.Kind == NoData || e.Kind == BadName }

// rcodeError maps a response code other than NOERROR to an error (RFC 1035
// §4.1.1); the caller fills in what was asked of whom.
func rcodeError(rcode int) *Error {
	switch rcode {
	case dns.RcodeNameError:
		return &Error{Kind: NotFound}
	case dns.RcodeRefused:
		return &Error{Kind: Refused}
	case dns.RcodeServerFailure:
		return &Error{Kind: ServFail}
	}
	text := dns.RcodeToString[rcode]
	if text == "" {
		text = fmt.Sprint(rcode)
	}
	return &Error{Kind: ServFail, Reason: "response code " + text}
}
