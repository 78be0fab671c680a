package anchors

import "fmt"

// Kind says why a certificate is refused.
type Kind string

// The kinds of refusal.
const (
	Unknown   Kind = "unknown"   // no root of the set stands above it, or not by a path that counts
	Expired   Kind = "expired"   // it, or one above it, is not valid at this time
	Revoked   Kind = "revoked"   // it, or one above it, was revoked
	Unchecked Kind = "unchecked" // whether it was revoked cannot be found out now
	Unfit     Kind = "unfit"     // its own words forbid the use
)

// Error is the refusal of a certificate. Its text is for who showed it and for the log;
// nothing in it is secret.
type Error struct {
	Kind   Kind
	Set    string // the set's name
	Detail string
	Err    error // the cause, may be nil
}

// Error says which set refuses, and why.
func (e *Error) Error() string {
	return fmt.Sprintf("not accepted under the anchors %q: %s", e.Set, e.Detail)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Foreign tells whether the certificate has nothing to do with the set, so that another
// set may be asked.
func (e *Error) Foreign() bool { return e.Kind == Unknown }

// Passing tells whether the certificate may well be accepted later, as it is.
func (e *Error) Passing() bool { return e.Kind == Unchecked }
