package estserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"chancery/est"
	"chancery/internal/ca"
)

// refusal is an answer that is no success: a status and a text that says what to do
// (RFC 7030 §4.2.3, RFC 8951 §5).
type refusal struct {
	Status     int
	Text       string
	RetryAfter time.Duration // zero: no advice
	Challenge  bool          // 401 with the ways to log in; Text is for the log
	Usual      bool          // it comes in the course of every good exchange, and is logged for debugging only
	Stale      bool          // of a challenge: only the nonce was too old
	Err        error         // the cause, for the log alone
}

// Error gives the text.
func (r *refusal) Error() string { return r.Text }

// Unwrap gives the cause, which may be nil.
func (r *refusal) Unwrap() error { return r.Err }

// refuse makes a refusal.
func refuse(status int, format string, args ...any) *refusal {
	return &refusal{Status: status, Text: fmt.Sprintf(format, args...)}
}

// kinds maps the core's kinds of refusal to HTTP (RFC 7030 §4.2.3). A kind that is
// not here is internal.
var kinds = map[ca.Kind]int{
	ca.Invalid:     http.StatusBadRequest,
	ca.BadKey:      http.StatusBadRequest,
	ca.BadCSR:      http.StatusBadRequest,
	ca.BadName:     http.StatusForbidden,
	ca.Denied:      http.StatusForbidden,
	ca.NotFound:    http.StatusNotFound,
	ca.Conflict:    http.StatusConflict,
	ca.Replayed:    http.StatusConflict,
	ca.Revoked:     http.StatusForbidden,
	ca.Limited:     http.StatusTooManyRequests,
	ca.CAA:         http.StatusForbidden,
	ca.CAAUnknown:  http.StatusServiceUnavailable,
	ca.Unavailable: http.StatusServiceUnavailable,
}

// encodings maps what can be wrong with a message to HTTP.
var encodings = map[est.Kind]int{
	est.Malformed:   http.StatusBadRequest,
	est.TooLarge:    http.StatusRequestEntityTooLarge,
	est.Unsupported: http.StatusBadRequest,
	est.Unmet:       http.StatusBadRequest,
	est.Unlinked:    http.StatusForbidden,
	est.Untrusted:   http.StatusForbidden,
}

// retryUnavailable is the advice that comes with a 503 that has none of its own.
const retryUnavailable = 5 * time.Second

// refusalOf is the one place where errors become answers. What is neither a refusal
// nor of the core or the encodings is our fault: the client learns an id, and the log
// what happened under it.
func (s *Server) refusalOf(ctx context.Context, err error) *refusal {
	var known *refusal
	if errors.As(err, &known) {
		return known
	}
	if e, ok := errors.AsType[*est.Error](err); ok {
		if status, known := encodings[e.Kind]; known {
			return &refusal{Status: status, Text: e.Error(), Err: err}
		}
	}
	e, ok := errors.AsType[*ca.Error](err)
	if !ok && ctx.Err() != nil {
		// Nobody waits for the answer any more, or the server is stopping.
		e, ok = &ca.Error{Kind: ca.Unavailable, Detail: "the request was given up before it was done; send it again"}, true
	}
	if !ok || kinds[e.Kind] == 0 {
		return s.internal(ctx, err)
	}
	r := &refusal{Status: kinds[e.Kind], Text: detail(e), RetryAfter: e.RetryAfter, Err: err}
	if e.Kind == ca.Unavailable || e.Kind == ca.CAAUnknown {
		r.RetryAfter = max(r.RetryAfter, retryUnavailable)
	}
	return r
}

// detail gives the text of the core's error with a line for each name at fault.
func detail(e *ca.Error) string {
	lines := []string{e.Detail}
	for i, sub := range e.Sub {
		if i == 20 {
			lines = append(lines, fmt.Sprintf("and %d more", len(e.Sub)-i))
			break
		}
		lines = append(lines, sub.Detail)
	}
	return strings.Join(lines, "\n")
}

// internal logs what the client is not told, under an id that it is told.
func (s *Server) internal(ctx context.Context, err error) *refusal {
	id := ca.NewID()
	s.Logger.ErrorContext(ctx, "an EST request failed", "id", id, "error", err)
	return refuse(http.StatusInternalServerError, "the server failed; try again later, or tell its administrators the id %s", id)
}
