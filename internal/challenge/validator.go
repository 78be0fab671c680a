package challenge

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/netip"
	"strings"
	"time"

	"chancery/internal/resolver"
)

// The methods of validation.
const (
	HTTP01    = "http-01"
	DNS01     = "dns-01"
	TLSALPN01 = "tls-alpn-01"
)

// Target is what is to be proven.
type Target struct {
	Type  string // "dns" or "ip"
	Value string // canonical: a name in lower case without "*.", or an address as netip writes it
}

// Job is one validation to be done.
type Job struct {
	Method string // HTTP01, DNS01 or TLSALPN01
	Target Target
	// Token is the challenge's (RFC 8555 §8.1); only http-01 sends it anywhere.
	Token string
	// KeyAuthorization is token "." thumbprint (RFC 8555 §8.1).
	KeyAuthorization string
}

// Result is a validation that succeeded.
type Result struct {
	// Address is where the proof was found; zero for dns-01.
	Address netip.Addr
	// Detail is the evidence for an auditor: resolver, addresses, redirects,
	// status. Printable, at most 2 KiB.
	Detail string
}

// Config is what a Validator needs. Only Resolver is required.
type Config struct {
	Resolver *resolver.Resolver
	// HTTPPort and TLSPort are where the first connection goes; 0 means 80 and
	// 443, which RFC 8555 §8.3 and RFC 8737 §3 demand. Others are for tests and
	// demonstrations without privileges.
	HTTPPort, TLSPort uint16
	Policy            AddressPolicy
	// Timeout is for one whole validation, all its look-ups and redirects; 0
	// means 10 s.
	Timeout time.Duration
	// UserAgent is sent with http-01; "" means "chancery".
	UserAgent string
	// MaxConcurrent bounds the validations under way; 0 means 64. Others wait.
	MaxConcurrent int
}

// Validator does jobs. It is immutable but for its slots, and safe for
// concurrent use.
type Validator struct {
	conf  Config
	slots chan struct{}
}

// New gives a validator. It panics if there is no Resolver, which is a mistake
// of the program and not of its user.
func New(c Config) *Validator {
	if c.Resolver == nil {
		panic("challenge: Config.Resolver is nil")
	}
	if c.HTTPPort == 0 {
		c.HTTPPort = 80
	}
	if c.TLSPort == 0 {
		c.TLSPort = 443
	}
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	if c.UserAgent == "" {
		c.UserAgent = "chancery"
	}
	if c.MaxConcurrent <= 0 {
		c.MaxConcurrent = 64
	}
	return &Validator{conf: c, slots: make(chan struct{}, c.MaxConcurrent)}
}

// Validate does a job. The error is always a *Failure. It waits for a free slot
// as long as the context allows; the time-out runs from then on. A context that
// the caller cancels gives kind Internal, since that says nothing of the target.
func (v *Validator) Validate(ctx context.Context, j Job) (Result, error) {
	if f := j.check(); f != nil {
		return Result{}, f
	}
	select {
	case v.slots <- struct{}{}:
		defer func() { <-v.slots }()
	case <-ctx.Done():
		return Result{}, fail(Internal, "too many validations are under way; try again").because(context.Cause(ctx))
	}
	limited, cancel := context.WithTimeout(ctx, v.conf.Timeout)
	defer cancel()
	t := &trail{}
	addr, f := v.dispatch(limited, j, t)
	switch {
	case f == nil:
		return Result{Address: addr, Detail: t.String()}, nil
	case errors.Is(ctx.Err(), context.Canceled):
		f = fail(Internal, "the validation was interrupted; try again").because(context.Cause(ctx))
	}
	f.Seen = t.String()
	return Result{}, f
}

// dispatch picks the method.
func (v *Validator) dispatch(ctx context.Context, j Job, t *trail) (netip.Addr, *Failure) {
	switch j.Method {
	case HTTP01:
		return v.http01(ctx, j, t)
	case DNS01:
		return netip.Addr{}, v.dns01(ctx, j, t)
	default:
		return v.tlsALPN01(ctx, j, t)
	}
}

// check refuses jobs that make no sense: those are mistakes of the caller.
func (j Job) check() *Failure {
	switch {
	case j.Method != HTTP01 && j.Method != DNS01 && j.Method != TLSALPN01:
		return fail(Internal, "there is no validation method %q", j.Method)
	case j.Target.Type != "dns" && j.Target.Type != "ip":
		return fail(Internal, "there is no identifier type %q", j.Target.Type)
	case j.Target.Type == "ip" && j.Method == DNS01:
		return fail(Internal, "dns-01 cannot prove an IP address (RFC 8738 §7)")
	case j.Target.Value == "" || strings.HasPrefix(j.Target.Value, "*"):
		return fail(Internal, "the name to be validated is empty or a wildcard")
	case j.KeyAuthorization == "" || j.Token == "":
		return fail(Internal, "the token or the key authorization is missing")
	}
	if j.Target.Type == "ip" {
		if a, err := netip.ParseAddr(j.Target.Value); err != nil || a.Zone() != "" {
			return fail(Internal, "%q is not an IP address", j.Target.Value)
		}
	}
	for _, c := range []byte(j.Token) { // RFC 8555 §8.3: base64url, so it needs no escaping in a URL
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return fail(Internal, "the token has characters outside the base64url alphabet")
		}
	}
	return nil
}

// digest is SHA-256 of the key authorization, as dns-01 and tls-alpn-01 want it.
func (j Job) digest() [sha256.Size]byte { return sha256.Sum256([]byte(j.KeyAuthorization)) }

// text is the digest as it stands in a TXT record (RFC 8555 §8.4).
func (j Job) text() string {
	d := j.digest()
	return base64.RawURLEncoding.EncodeToString(d[:])
}

// same compares in constant time, so that no wrong answer learns how far it was
// right.
func same(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
