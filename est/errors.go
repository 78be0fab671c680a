package est

import (
	"errors"
	"fmt"
)

// Kind says what is wrong with a message, so that a server can choose its status.
type Kind int

// The kinds of [Error].
const (
	Malformed   Kind = iota // not what the specification says
	TooLarge                // more than the bound that the error names
	Unsupported             // well-formed, but an algorithm or form that this package does not know
	Unmet                   // a demand that cannot be met
	Unlinked                // nothing binds the request to its connection
	Untrusted               // does not lead to what is trusted
)

// Error is what every function of this package returns when a message is at fault.
// Its text names no secret and may be shown to the peer.
type Error struct {
	Kind Kind
	Text string
	Err  error // the cause, if another package found it
}

// Error gives the text, and the cause's.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Text + ": " + e.Err.Error()
	}
	return e.Text
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is tells whether an error is an [Error] of a kind.
func Is(err error, kind Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == kind
}

func fault(kind Kind, format string, a ...any) error {
	return &Error{Kind: kind, Text: fmt.Sprintf(format, a...)}
}

func malformed(format string, a ...any) error { return fault(Malformed, format, a...) }

func because(kind Kind, text string, err error) error {
	return &Error{Kind: kind, Text: text, Err: err}
}
