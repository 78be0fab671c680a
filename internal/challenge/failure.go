package challenge

import (
	"fmt"
	"net/netip"
	"strconv"
	"unicode"
)

// Kind says in which way a validation failed. Each has one error type of RFC
// 8555 §6.7; who speaks ACME maps them.
type Kind int

// The kinds of failure.
const (
	// DNS: a look-up failed, or the name does not exist ("dns").
	DNS Kind = iota + 1
	// Connection: the address could not be reached, or fell silent ("connection").
	Connection
	// TLS: the handshake failed ("tls").
	TLS
	// Unauthorized: the proof was looked for in the right place, and another or
	// none was there ("unauthorized").
	Unauthorized
	// IncorrectResponse: what came breaks the challenge's own rules, whatever the
	// proof: a redirect that may not be followed, an endless body, a certificate
	// of the wrong shape ("incorrectResponse").
	IncorrectResponse
	// Refused: policy forbids connecting to the address ("rejectedIdentifier" or
	// "connection").
	Refused
	// Internal: not the subscriber's fault: a job that makes no sense, too much
	// to do, or the caller gave up. It proves nothing, so try again
	// ("serverInternal").
	Internal
)

var kindTexts = [...]string{"", "dns", "connection", "tls", "unauthorized", "incorrect response", "refused", "internal"}

// String names the kind.
func (k Kind) String() string {
	if k > 0 && int(k) < len(kindTexts) {
		return kindTexts[k]
	}
	return "kind " + strconv.Itoa(int(k))
}

// Failure is the only type of error that Validate returns.
type Failure struct {
	Kind Kind
	// Detail is written for the subscriber: what was asked of whom, what came,
	// what was expected. Printable, at most 2 KiB.
	Detail string
	// Address is the last address connected to or refused; zero if none.
	Address netip.Addr
	// Seen is what was seen up to the failure, as in [Result].Detail.
	Seen string
	// Err is the cause, if there is one; matched with errors.As and Is.
	Err error
}

// Error gives the detail.
func (f *Failure) Error() string { return f.Detail }

// Unwrap gives the cause.
func (f *Failure) Unwrap() error { return f.Err }

// maxDetail bounds every text that leaves this package.
const maxDetail = 2048

// fail makes a failure.
func fail(kind Kind, format string, args ...any) *Failure {
	return &Failure{Kind: kind, Detail: printable(fmt.Sprintf(format, args...), maxDetail)}
}

// because adds the cause.
func (f *Failure) because(err error) *Failure {
	f.Err = err
	return f
}

// at adds the address.
func (f *Failure) at(addr netip.Addr) *Failure {
	f.Address = addr
	return f
}

// printable bounds a text and takes what could deceive a terminal or a log out
// of it: part of it was written by a stranger.
func printable(s string, limit int) string {
	out := make([]rune, 0, min(len(s), limit))
	size := 0
	for _, r := range s {
		if !unicode.IsPrint(r) {
			r = '\uFFFD'
		}
		if size += len(string(r)); size > limit-len("…") {
			return string(append(out, '…'))
		}
		out = append(out, r)
	}
	return string(out)
}

// excerpt quotes the first 100 bytes of what a stranger sent, in ASCII.
func excerpt(b []byte) string {
	if len(b) == 0 {
		return "nothing"
	}
	const limit = 100
	if len(b) > limit {
		return strconv.QuoteToASCII(string(b[:limit])) + "…"
	}
	return strconv.QuoteToASCII(string(b))
}
