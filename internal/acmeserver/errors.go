package acmeserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"chancery/acme"
	"chancery/internal/ca"
)

// refusal is a problem that is sent with more header fields than its own.
type refusal struct {
	problem  *acme.Problem
	location string
	links    []link
}

// Error gives the problem's text.
func (r *refusal) Error() string { return r.problem.Error() }

// Unwrap gives the problem.
func (r *refusal) Unwrap() error { return r.problem }

// kinds maps the core's kinds of refusal to ACME's words (RFC 8555 §6.7). A kind
// that is not here is internal.
var kinds = map[ca.Kind]struct {
	typ    string
	status int
}{
	ca.Invalid:  {acme.TypeMalformed, http.StatusBadRequest},
	ca.BadKey:   {acme.TypeBadPublicKey, http.StatusBadRequest},
	ca.BadCSR:   {acme.TypeBadCSR, http.StatusBadRequest},
	ca.BadName:  {acme.TypeRejectedIdentifier, http.StatusForbidden},
	ca.Denied:   {acme.TypeUnauthorized, http.StatusForbidden},
	ca.NotFound: {acme.TypeMalformed, http.StatusNotFound},
	ca.Conflict: {acme.TypeMalformed, http.StatusConflict},
	ca.Replayed: {acme.TypeBadNonce, http.StatusBadRequest},
	ca.Revoked:  {acme.TypeAlreadyRevoked, http.StatusBadRequest},
	ca.Limited:  {acme.TypeRateLimited, http.StatusTooManyRequests},
	ca.CAA:      {acme.TypeCAA, http.StatusForbidden},
	// Not "caa": to a client that would be the owner's last word.
	ca.CAAUnknown:  {acme.TypeDNS, http.StatusBadRequest},
	ca.Unavailable: {acme.TypeServerInternal, http.StatusServiceUnavailable},
}

// retryUnavailable is the advice that comes with a 503 that has none of its own.
const retryUnavailable = 5 * time.Second

// problemOf is the one place where errors become problem documents. What is
// neither a problem nor a refusal of the core is our fault: the client learns
// a request id, and the log what happened under it.
func (s *Server) problemOf(ctx context.Context, err error) *acme.Problem {
	var known *acme.Problem
	if errors.As(err, &known) {
		p := *known
		if p.Status == 0 {
			p.Status = acme.NewProblem(p.Type, "").Status
		}
		return &p
	}
	var e *ca.Error
	if !errors.As(err, &e) {
		if ctx.Err() != nil {
			// Nobody waits for the answer any more, or the server is stopping.
			e = &ca.Error{Kind: ca.Unavailable, Detail: "the request was given up before it was done; try again", Err: err}
		} else {
			return s.internal(ctx, err)
		}
	}
	word, ok := kinds[e.Kind]
	if !ok {
		return s.internal(ctx, err)
	}
	p := &acme.Problem{Type: word.typ, Status: word.status, Detail: e.Detail, RetryAfter: e.RetryAfter}
	for _, sub := range e.Sub {
		p.Subproblems = append(p.Subproblems, subproblem(sub))
	}
	if e.Kind == ca.Unavailable {
		p.RetryAfter = max(p.RetryAfter, retryUnavailable)
		s.Logger.WarnContext(ctx, "an ACME request could not be served now", "error", err)
	}
	return p
}

// subproblem attributes a refusal to its name (RFC 8555 §6.7.1).
func subproblem(sub ca.SubError) acme.Subproblem {
	typ := acme.TypeMalformed
	if word, ok := kinds[sub.Kind]; ok {
		typ = word.typ
	}
	p := acme.Subproblem{Type: typ, Detail: sub.Detail}
	if !sub.Identifier.IsZero() {
		p.Identifier = &acme.Identifier{Type: acme.IdentifierType(sub.Identifier.Type()), Value: sub.Identifier.Value()}
	}
	return p
}

// internal logs what the client is not told, under an id that it is told.
func (s *Server) internal(ctx context.Context, err error) *acme.Problem {
	p := acme.ServerInternal()
	p.Detail = "the server failed; try again later, or tell its administrators the instance below"
	p.Instance = newInstance()
	s.Logger.ErrorContext(ctx, "an ACME request failed", "instance", p.Instance, "error", err)
	return p
}

// newInstance names one occurrence of a problem (RFC 7807 §3.1): a random UUID
// (RFC 9562 §5.4), which is a URI that leads nowhere.
func newInstance() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
