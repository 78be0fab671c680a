package admin

import (
	"errors"
	"fmt"
	"net/http"
)

// The kinds of errors that a caller can meet. A program branches on these; only
// people read the detail.
const (
	Invalid     = "invalid"     // the input is wrong; the same again fails again
	NotFound    = "not-found"   // what the input names does not exist
	Conflict    = "conflict"    // the state of things forbids it
	Denied      = "denied"      // the caller may not
	Unavailable = "unavailable" // try again later
	Internal    = "internal"    // our fault; the log knows more
)

// Error is what goes wrong with an operation, on both sides of the socket.
type Error struct {
	Kind   string `json:"kind"`
	Detail string `json:"detail"` // for people: what is wrong, what to do next
}

// Error is the detail.
func (e *Error) Error() string { return e.Detail }

// Is matches another *Error of the same kind and an empty detail, so that
// errors.Is(err, &Error{Kind: NotFound}) asks for the kind.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Kind == e.Kind && (other.Detail == "" || other.Detail == e.Detail)
}

// statusOf gives each kind its HTTP status; an unknown kind is internal.
func statusOf(kind string) int {
	switch kind {
	case Invalid:
		return http.StatusBadRequest
	case NotFound:
		return http.StatusNotFound
	case Conflict:
		return http.StatusConflict
	case Denied:
		return http.StatusForbidden
	case Unavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// ErrNotRunning says that nobody listens on a server's socket; match it with
// errors.AsType or errors.As.
type ErrNotRunning struct {
	Directory string // the data directory whose server was wanted
	Err       error  // why, from the system
}

// Error says how to start one.
func (e *ErrNotRunning) Error() string {
	return fmt.Sprintf("no chancery is running on %s: start it with `chancery serve --data %s`", e.Directory, e.Directory)
}

// Unwrap gives the system's error.
func (e *ErrNotRunning) Unwrap() error { return e.Err }

// ForeignError says that the server on a directory is neither root's nor this user's: it
// may answer what it likes.
type ForeignError struct {
	Directory string
	UID       int    // who runs it, as the kernel says
	Owner     string // the same with the user's name, where the system knows it
}

// Error names the owner.
func (e *ForeignError) Error() string {
	return fmt.Sprintf("the chancery on %s is run by %s: what it says is that user's word", e.Directory, e.Owner)
}

// ErrInUse says that another process serves the socket.
var ErrInUse = errors.New("another chancery is running on this data directory")
