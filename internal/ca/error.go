package ca

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what sort of refusal an [Error] is. Each room maps kinds to its
// protocol's words in exactly one function.
type Kind string

// The kinds of refusal. Anything that is not an [*Error] is internal and its
// text must not leave the process.
const (
	Invalid     Kind = "invalid"     // the request cannot be understood or contradicts itself
	BadKey      Kind = "bad-key"     // the public key is weak, blocked or of a kind the profile does not take
	BadCSR      Kind = "bad-csr"     // the CSR asks for something else than was authorised
	BadName     Kind = "bad-name"    // a name that this authority never certifies
	Denied      Kind = "denied"      // understood, and refused by policy or for want of evidence
	NotFound    Kind = "not-found"   // no such thing
	Conflict    Kind = "conflict"    // contradicts what is recorded already
	Replayed    Kind = "replayed"    // the request's single-use token was spent before
	Revoked     Kind = "revoked"     // the certificate is revoked already
	Limited     Kind = "limited"     // too much; come back after RetryAfter
	CAA         Kind = "caa"         // CAA records forbid it (RFC 8659)
	CAAUnknown  Kind = "caa-unknown" // CAA records could not be looked up, so nothing may be issued; come back after RetryAfter
	Unavailable Kind = "unavailable" // storage or key not reachable now; nothing was done that is not recorded
	Internal    Kind = "internal"    // our fault
)

// Error is the core's one error. Detail is written for the person who asked
// and says what to do next; Err, the cause, is for the log alone.
type Error struct {
	Kind       Kind
	Detail     string
	Sub        []SubError    // one for each name at fault, may be empty
	RetryAfter time.Duration // zero: no advice
	Err        error
}

// SubError is the part of an [Error] that concerns one name.
type SubError struct {
	Kind       Kind
	Identifier Identifier
	Detail     string
}

// Error gives kind, detail and cause; rooms show Detail only.
func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Kind, e.Detail, e.Err)
	}
	return fmt.Sprintf("%s: %s", e.Kind, e.Detail)
}

// Unwrap gives the cause, which may be nil.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an [*Error] of the kind with a formatted detail. A %w verb also
// sets the cause; use it only for texts that may leave.
func Errorf(kind Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Detail: err.Error(), Err: errors.Unwrap(err)}
}

// because sets a cause whose text must not leave.
func (e *Error) because(err error) *Error {
	e.Err = err
	return e
}

// KindOf gives the kind of the first [*Error] in err's chain, [Internal] for
// any other error and "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}
