package resolver

import (
	"fmt"
	"strings"

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
	// Bogus: a server that validates found that the answer's DNSSEC signatures do
	// not hold. Only a server whose word on DNSSEC counts could say otherwise.
	Bogus
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
	Bogus:       "bogus",
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
	Server string // who answered or failed to, as in Resolver.Servers; "" if nobody was asked
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
	case Bogus:
		s = fmt.Sprintf("the DNSSEC signatures of the answer to %s for %s do not hold; look for a signature that expired or a DS record that is out of date", e.Type, e.Name)
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

// rcodeError maps a message with a response code other than NOERROR to an error
// (RFC 1035 §4.1.1); the caller fills in what was asked of whom.
func rcodeError(m *dns.Msg) *Error {
	e := &Error{Kind: ServFail}
	switch m.Rcode {
	case dns.RcodeNameError:
		e.Kind = NotFound
	case dns.RcodeRefused:
		e.Kind = Refused
	case dns.RcodeServerFailure:
	default:
		e.Reason = dns.RcodeToString[m.Rcode]
		if e.Reason == "" {
			e.Reason = fmt.Sprint(m.Rcode)
		}
		e.Reason = "response code " + e.Reason
	}
	if text, bogus := extended(m); text != "" {
		e.Reason = strings.TrimPrefix(e.Reason+", "+text, ", ")
		if bogus && e.Kind == ServFail {
			e.Kind = Bogus
		}
	}
	return e
}

// extended gives the words of a message's extended error (RFC 8914), and whether it
// says that validation failed.
func extended(m *dns.Msg) (text string, bogus bool) {
	opt := m.IsEdns0()
	if opt == nil {
		return "", false
	}
	for _, option := range opt.Option {
		ede, ok := option.(*dns.EDNS0_EDE)
		if !ok {
			continue
		}
		// The extra text is the server's own and goes to a terminal.
		words := dns.ExtendedErrorCodeToString[ede.InfoCode]
		if words == "" {
			words = fmt.Sprintf("extended error %d", ede.InfoCode)
		}
		if extra := printable(ede.ExtraText); extra != "" {
			words += " (" + extra + ")"
		}
		text = strings.TrimPrefix(text+", "+words, ", ")
		bogus = bogus || validation[ede.InfoCode]
		if len(text) > maxExtended {
			break
		}
	}
	return text, bogus
}

// maxExtended bounds what a server's own words take of an error.
const maxExtended = 200

// printable gives the printable ASCII of a text, and no more than maxExtended of it.
func printable(s string) string {
	keep := func(c rune) rune {
		if c < ' ' || c > '~' {
			return -1
		}
		return c
	}
	s = strings.Map(keep, s)
	return s[:min(len(s), maxExtended)]
}

// validation are the codes of RFC 8914 §4 by which a validator says that what it was
// given does not hold, rather than that it could get nothing.
var validation = map[uint16]bool{
	dns.ExtendedErrorCodeDNSBogus:                    true,
	dns.ExtendedErrorCodeSignatureExpired:            true,
	dns.ExtendedErrorCodeSignatureNotYetValid:        true,
	dns.ExtendedErrorCodeDNSKEYMissing:               true,
	dns.ExtendedErrorCodeRRSIGsMissing:               true,
	dns.ExtendedErrorCodeNoZoneKeyBitSet:             true,
	dns.ExtendedErrorCodeNSECMissing:                 true,
	dns.ExtendedErrorCodeSignatureExpiredBeforeValid: true,
}
