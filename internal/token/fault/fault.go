// Package fault is how keys in tokens and TPMs fail, in one form for both.
//
// The room must not know either.
package fault

import "errors"

// Kind is the sort of a failure: what can be done about it.
type Kind string

// The kinds.
const (
	WrongPIN  Kind = "wrong PIN" // it was tried once, and is not tried again
	NoPIN     Kind = "no PIN"    // one is wanted and nobody gave it
	Locked    Kind = "locked"    // or the next wrong PIN would lock it
	Absent    Kind = "absent"    // the token, the TPM, or the library is not there
	Missing   Kind = "missing"   // the key is not
	Ambiguous Kind = "ambiguous" // several tokens or keys match
	Gone      Kind = "gone"      // it was there a moment ago; another time may be better
	Unfit     Kind = "unfit"     // the key or the token cannot do that
	Full      Kind = "full"
	Refused   Kind = "refused" // anything else that it said
)

// Error is a failure, for a person: what is wrong, and what to do.
type Error struct {
	Kind   Kind
	Reason string
	Err    error // what the system says; may be nil
}

// Error gives the reason.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Reason + ": " + e.Err.Error()
	}
	return e.Reason
}

// Unwrap gives the system's error.
func (e *Error) Unwrap() error { return e.Err }

// Is tells whether an error is a failure of this kind.
func Is(err error, kind Kind) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Kind == kind
}
