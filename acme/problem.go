package acme

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// ProblemMediaType is the content type of errors (RFC 7807 §6.1).
const ProblemMediaType = "application/problem+json"

const errorNamespace = "urn:ietf:params:acme:error:"

// The error types of RFC 8555 §6.7 and of the registry it founded (§9.7.3). RFC 8555
// §6.7: servers MUST NOT use the namespace for anything that is not registered.
const (
	TypeAccountDoesNotExist     = errorNamespace + "accountDoesNotExist"
	TypeAlreadyRevoked          = errorNamespace + "alreadyRevoked"
	TypeBadCSR                  = errorNamespace + "badCSR"
	TypeBadNonce                = errorNamespace + "badNonce"
	TypeBadPublicKey            = errorNamespace + "badPublicKey"
	TypeBadRevocationReason     = errorNamespace + "badRevocationReason"
	TypeBadSignatureAlgorithm   = errorNamespace + "badSignatureAlgorithm"
	TypeCAA                     = errorNamespace + "caa"
	TypeCompound                = errorNamespace + "compound"
	TypeConnection              = errorNamespace + "connection"
	TypeDNS                     = errorNamespace + "dns"
	TypeExternalAccountRequired = errorNamespace + "externalAccountRequired"
	TypeIncorrectResponse       = errorNamespace + "incorrectResponse"
	TypeInvalidContact          = errorNamespace + "invalidContact"
	TypeMalformed               = errorNamespace + "malformed"
	TypeOrderNotReady           = errorNamespace + "orderNotReady"
	TypeRateLimited             = errorNamespace + "rateLimited"
	TypeRejectedIdentifier      = errorNamespace + "rejectedIdentifier"
	TypeServerInternal          = errorNamespace + "serverInternal"
	TypeTLS                     = errorNamespace + "tls"
	TypeUnauthorized            = errorNamespace + "unauthorized"
	TypeUnsupportedContact      = errorNamespace + "unsupportedContact"
	TypeUnsupportedIdentifier   = errorNamespace + "unsupportedIdentifier"
	TypeUserActionRequired      = errorNamespace + "userActionRequired"

	// TypeAlreadyReplaced: the order's "replaces" names a certificate that another order
	// has replaced (RFC 9773 §7.4).
	TypeAlreadyReplaced = errorNamespace + "alreadyReplaced"
	// TypeInvalidProfile: the order names a profile that is not offered
	// (draft-ietf-acme-profiles §6).
	TypeInvalidProfile = errorNamespace + "invalidProfile"
	// TypeBadAttestationStatement: a device's attestation was refused
	// (draft-acme-device-attest).
	TypeBadAttestationStatement = errorNamespace + "badAttestationStatement"
)

// TypeBlank is what a problem without a type means (RFC 7807 §4.2): just the status.
const TypeBlank = "about:blank"

// defaultStatus has the types that are not sent with 400 Bad Request.
var defaultStatus = map[string]int{
	TypeCAA:                     http.StatusForbidden,
	TypeExternalAccountRequired: http.StatusForbidden,
	TypeOrderNotReady:           http.StatusForbidden, // RFC 8555 §7.4: MUST be 403
	TypeRateLimited:             http.StatusTooManyRequests,
	TypeRejectedIdentifier:      http.StatusForbidden,
	TypeServerInternal:          http.StatusInternalServerError,
	TypeUnauthorized:            http.StatusForbidden,
	TypeUserActionRequired:      http.StatusForbidden, // RFC 8555 §7.3.3: MUST be 403
	TypeAlreadyReplaced:         http.StatusConflict,  // RFC 9773 §5: MUST be 409
}

// Problem is a problem document (RFC 7807, RFC 8555 §6.7). As an error it reads well
// at a terminal. RFC 8555 §6.7.1: "identifier" MUST NOT stand at the top level, so
// only Subproblem has it.
type Problem struct {
	Type     string `json:"type"`
	Title    string `json:"title,omitempty"`
	Status   int    `json:"status,omitempty"`
	Detail   string `json:"detail,omitempty"`
	Instance string `json:"instance,omitempty"`
	// Subproblems attribute errors to identifiers (RFC 8555 §6.7.1).
	Subproblems []Subproblem `json:"subproblems,omitempty"`
	// Algorithms MUST be sent with badSignatureAlgorithm (RFC 8555 §6.2).
	Algorithms []string `json:"algorithms,omitempty"`
	// RetryAfter travels in the Retry-After header field; 0 means that there is none.
	RetryAfter time.Duration `json:"-"`
}

// Subproblem is one of several reasons (RFC 8555 §6.7.1).
type Subproblem struct {
	Type       string      `json:"type"`
	Title      string      `json:"title,omitempty"`
	Status     int         `json:"status,omitempty"`
	Detail     string      `json:"detail,omitempty"`
	Instance   string      `json:"instance,omitempty"`
	Identifier *Identifier `json:"identifier,omitempty"`
}

// NewProblem makes a problem of one of the types above, with the status that goes with
// it. The detail is shown to people: say what is wrong and what to do next.
func NewProblem(typ, format string, args ...any) *Problem {
	status, ok := defaultStatus[typ]
	if !ok {
		status = http.StatusBadRequest
	}
	return &Problem{Type: typ, Status: status, Detail: fmt.Sprintf(format, args...)}
}

// Malformed is NewProblem(TypeMalformed, …), 400.
func Malformed(format string, args ...any) *Problem {
	return NewProblem(TypeMalformed, format, args...)
}

// Unauthorized is NewProblem(TypeUnauthorized, …), 403.
func Unauthorized(format string, args ...any) *Problem {
	return NewProblem(TypeUnauthorized, format, args...)
}

// BadSignatureAlgorithm refuses alg and lists what is supported (RFC 8555 §6.2: MUST).
func BadSignatureAlgorithm(alg string) *Problem {
	p := NewProblem(TypeBadSignatureAlgorithm, "the algorithm %.40q is not supported; use one of %s",
		alg, strings.Join(Algorithms(), ", "))
	p.Algorithms = Algorithms()
	return p
}

// RateLimited tells the client to come back after the given time (RFC 8555 §6.6).
func RateLimited(after time.Duration, format string, args ...any) *Problem {
	p := NewProblem(TypeRateLimited, format, args...)
	p.RetryAfter = after
	return p
}

// ServerInternal says that it is not the client's fault, and nothing else: the cause
// belongs into the server's log.
func ServerInternal() *Problem {
	return NewProblem(TypeServerInternal, "the server failed; try again later")
}

// UserActionRequired sends a person to instance (RFC 8555 §7.3.3).
func UserActionRequired(instance, format string, args ...any) *Problem {
	p := NewProblem(TypeUserActionRequired, format, args...)
	p.Instance = instance
	return p
}

// Compound gathers several reasons. A single one with no identifier becomes the problem
// itself, and of a shared type the whole has that type too.
func Compound(subproblems []Subproblem, format string, args ...any) *Problem {
	typ := TypeCompound
	if len(subproblems) > 0 {
		typ = subproblems[0].Type
	}
	for _, s := range subproblems {
		if s.Type != typ {
			typ = TypeCompound
		}
	}
	p := NewProblem(typ, format, args...)
	p.Subproblems = subproblems
	return p
}

// Error is the short type and the detail, then the subproblems, one a line.
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(shortType(p.Type))
	if p.Status != 0 {
		fmt.Fprintf(&b, " (%d)", p.Status)
	}
	writeDetail(&b, p.Detail, p.Title)
	for _, s := range p.Subproblems {
		b.WriteString("\n  ")
		if s.Identifier != nil {
			fmt.Fprintf(&b, "%s: ", printable(s.Identifier.Value))
		}
		b.WriteString(shortType(s.Type))
		writeDetail(&b, s.Detail, s.Title)
	}
	if p.Instance != "" {
		b.WriteString("\n  see " + printable(p.Instance))
	}
	if p.RetryAfter > 0 {
		fmt.Fprintf(&b, "\n  try again in %s", p.RetryAfter.Round(time.Second))
	}
	return b.String()
}

func writeDetail(b *strings.Builder, detail, title string) {
	if detail == "" {
		detail = title
	}
	if detail != "" {
		b.WriteString(": " + printable(detail))
	}
}

func shortType(typ string) string {
	if typ == "" {
		typ = TypeBlank
	}
	return printable(strings.TrimPrefix(typ, errorNamespace))
}

// printable keeps a server's words from moving the cursor of the terminal they end on.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

// LogValue makes the parts of a problem attributes of their own.
func (p *Problem) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("type", p.Type), slog.Int("status", p.Status), slog.String("detail", p.Detail)}
	if p.Instance != "" {
		attrs = append(attrs, slog.String("instance", p.Instance))
	}
	if len(p.Subproblems) > 0 {
		sub, err := json.Marshal(p.Subproblems)
		if err == nil {
			attrs = append(attrs, slog.String("subproblems", string(sub)))
		}
	}
	return slog.GroupValue(attrs...)
}

// AsProblem finds the *Problem in err. What has none is a ServerInternal: foreign
// errors' words never leave the server. It returns nil for nil.
func AsProblem(err error) *Problem {
	if err == nil {
		return nil
	}
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	return ServerInternal()
}

// HasType says whether err is, or wraps, a problem of the given type.
func HasType(err error, typ string) bool {
	var p *Problem
	return errors.As(err, &p) && p.Type == typ
}
