package cms

import "fmt"

// Kind says what sort of fault an [Error] is.
type Kind string

// The kinds of faults.
const (
	Malformed   Kind = "malformed"   // the octets are not what the syntax asks for
	TooLarge    Kind = "too large"   // a limit of size, depth or number was passed
	Unsupported Kind = "unsupported" // well formed, but an algorithm or form that is not had, or that is too weak
	BadValue    Kind = "bad value"   // the caller's argument cannot be used: a key that does not fit, an empty list
	Unverified  Kind = "unverified"  // the signature, digest or authentication code is wrong
	Undecrypted Kind = "undecrypted" // the content could not be decrypted; deliberately nothing more is told
	NoRecipient Kind = "no recipient"
)

// Error is every error of this package. Kind is for programs, Detail for people: it
// names the field or the algorithm, never a secret.
type Error struct {
	Kind   Kind
	Detail string
	Err    error // the cause, or nil
}

// Error gives the words.
func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("cms: %s: %s: %v", e.Kind, e.Detail, e.Err)
	}
	return fmt.Sprintf("cms: %s: %s", e.Kind, e.Detail)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is makes errors.Is(err, &Error{Kind: k}) true for every error of the kind k.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Kind == e.Kind && t.Detail == "" && t.Err == nil
}

func fault(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}
