// Package directory fetches the ACME directory of a CA that auto-discovery named, from
// the well-known place on the CA's domain or from where the configuration says, and
// judges whether it is one, and whether it is that CA's.
//
// The CA is a stranger: the HTTP client is the guard's. The package makes no account
// and orders nothing; it must not know CAA records, the client's state or files.
package directory

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"chancery/acme"
	"chancery/internal/enroll/guard"
)

// WellKnown is the place of the directory on the CA's domain
// (draft-vanbrouwershaven-acme-auto-discovery §4, §7.1).
const WellKnown = "/.well-known/acme"

// Identities says what to make of a directory's caaIdentities (RFC 8555 §7.1.1) when
// the CA was asked for by an issuer name.
type Identities string

// The ways to treat caaIdentities.
const (
	Prefer  Identities = "prefer"  // they must hold the issuer name if there are any; the same as ""
	Require Identities = "require" // they must be there and hold the issuer name
	Ignore  Identities = "ignore"  // they are not looked at
)

// What vouches that a directory is the CA's that was asked for.
const (
	ByIdentities    = "caaIdentities" // the directory names the issuer
	ByTLSName       = "tls-name"      // the issuer's own host, by its certificate, gave the directory or the redirect to it
	ByConfiguration = "configuration" // the person who configured the URL
)

// Query says which directory to fetch.
type Query struct {
	// Issuer is the name in the CAA record, in any case, as A- or U-labels; "" for a
	// configured CA that was not asked for by a name.
	Issuer string
	// URL is a configured directory; "" means https://ISSUER/.well-known/acme.
	URL string
	// Identities is Prefer if empty.
	Identities Identities
	// Client is a guard.Policy's; nil means that of the zero policy.
	Client *http.Client
	// UserAgent is sent (RFC 8555 §6.1: clients MUST); "chancery" if empty.
	UserAgent string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Found is a directory that passed all checks. Its texts are a stranger's: show them
// with guard.Shown. Its URLs are well-formed (see Fetch).
type Found struct {
	Issuer string // canonical: A-labels in lower case
	Asked  string // where it was asked for
	URL    string // where it was found, after redirects
	// Redirects are the URLs that Asked led to, in order, URL the last; nil if none.
	Redirects []string
	Directory acme.Directory
	// VouchedBy is one of ByIdentities, ByTLSName and ByConfiguration.
	VouchedBy string
	Fetched   time.Time
	// Fresh is until when it may be used again without asking; not after Fetched if not
	// at all, and then it should not be stored either.
	Fresh time.Time
}

// Kind says what is wrong when there is no directory.
type Kind string

// The kinds of failure.
const (
	Unavailable   Kind = "unavailable"     // the CA cannot be reached or says that it is ill; another time it may be well
	NotThere      Kind = "not-there"       // the host answers, or does not exist, and there is no directory
	NotADirectory Kind = "not-a-directory" // there is something else, or it is damaged
	WrongCA       Kind = "wrong-ca"        // it says that it is not this CA's
	Unproven      Kind = "unproven"        // the server could not prove by TLS who it is
	Refused       Kind = "refused"         // the guard does not go there, or not as long
)

// Error says why there is no directory. Its text is safe to show.
type Error struct {
	Issuer string
	URL    string // where the trouble was
	Kind   Kind
	// Status is the HTTP status if there was an answer.
	Status int
	// RetryAfter is what an unavailable CA asked for, at most a day; 0 if it did not.
	RetryAfter time.Duration
	Err        error
}

// Error says what was asked for, what came of it and what to do.
func (e *Error) Error() string {
	who := "the configured CA"
	if e.Issuer != "" {
		who = "the CA " + guard.Shown(e.Issuer)
	}
	return fmt.Sprintf("%s: no usable ACME directory at %s: %v", who, guard.Shown(e.URL), e.Err)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Fetch gets a directory. It follows up to five redirects, https only, and judges what
// comes back: a JSON object without members that occur twice; newNonce, newAccount and
// newOrder present; they and all other resources that we know as guard.CheckURL has it;
// the terms of service and website a link that can be shown; caaIdentities as the query
// says. The error is an *Error, or the context's.
func Fetch(ctx context.Context, q Query) (Found, error) {
	return q.fetch(ctx)
}
