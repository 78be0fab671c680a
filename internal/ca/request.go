package ca

import (
	"crypto"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
)

// Principal is who asked: the result of a room's authentication. The core
// never sees tokens, keys of accounts or connections.
type Principal struct {
	Room string // "acme", "admin", "status", "core", …
	ID   string // the room's name for the asker: an account, an administrator
}

// String gives "room:id".
func (p Principal) String() string { return p.Room + ":" + p.ID }

// Evidence is what proves one name: a validation, an approval, a client
// certificate. A request needs unexpired evidence for each of its names, by a
// method that the profile takes.
type Evidence struct {
	Identifier Identifier
	Method     string // "http-01", "approval", …
	At         time.Time
	Expires    time.Time
	Detail     string // what was seen, for the auditor; bounded by the room
}

// Subject is what of a distinguished name can be asked for. A profile says
// which attributes it takes (RFC 5280 §4.1.2.6); an attribute it does not name
// is a refusal, never silently dropped.
type Subject struct {
	CommonName          string
	SerialNumber        string
	Organization        string
	OrganizationalUnit  string
	Country             string
	Locality            string
	Province            string
	BusinessCategory    string // X.520; "Private Organization", …: what vetting found
	JurisdictionCountry string // where it is registered, two letters (CA/B Forum's EV guidelines §9.2)
}

// IsZero tells whether nothing is asked for.
func (s Subject) IsZero() bool { return s == Subject{} }

// Request is all that survives of what was asked: a proven key, names and the
// evidence for them. Rooms build it; [Authority.Issue] answers it.
type Request struct {
	ID        string // the room's durable id, e.g. "acme:ORDER"; the same ID gets the same certificate
	By        Principal
	Key       crypto.PublicKey // possession was proven to the room, by a CSR's signature or better
	Names     []Identifier
	Subject   Subject
	Evidence  []Evidence
	Profile   string
	NotBefore time.Time // zero: the profile's
	NotAfter  time.Time // zero: the profile's
	// Accounts are all URLs by which this CA knows the account that asks, for the
	// accounturi of CAA records (RFC 8657 §3); empty for who has none.
	Accounts []string
	// Labels are the words for CAA's validationmethods, beginning with "ca-", that
	// are true of who asks: the kinds of certificate for which it was vetted.
	Labels []string
	Once   *Once // spent in the transaction of the intent; nil where the room needs none
	// Detail is what else the auditor shall know of how the request came: by which
	// operation, from which address. It is recorded with the intent, clipped to a
	// bound, and decides nothing. No secrets.
	Detail map[string]string
}

// The bounds of Request.Detail: entries, and octets of each word and text.
const (
	maxDetails    = 24
	maxDetailWord = 40
	maxDetailText = 500
)

// details gives the room's own words for the auditor, bounded, under the core's.
func (r *Request) details(core map[string]string) map[string]string {
	all := make(map[string]string, len(r.Detail)+len(core))
	for _, word := range slices.Sorted(maps.Keys(r.Detail)) {
		if len(all) < maxDetails {
			all[bounded(word, maxDetailWord)] = bounded(r.Detail[word], maxDetailText)
		}
	}
	maps.Copy(all, core)
	return all
}

// bounded keeps a text to so many octets, and to what every store takes.
func bounded(s string, octets int) string {
	return strings.ReplaceAll(strings.ToValidUTF8(clipTo(s, octets), "\uFFFD"), "\x00", "\uFFFD")
}

// Once is a single-use token, an ACME nonce for example. A store keeps it until
// it expires; a second act that carries the same one fails as [Replayed] and
// changes nothing.
type Once struct {
	ID      []byte
	Expires time.Time
	// Grounds are what the act rests on: a store sees in the act's own transaction that
	// each still stands, and refuses with [ErrEnded] and changes nothing if one does not.
	Grounds []Ground
}

// Ground is something of a room's that an act rests on and that may end at any time.
type Ground struct {
	Kind string // a word of the room's, which its store knows
	ID   string
}

// ErrEnded is in the chain of a refusal, of kind [Denied], because a [Ground] had ended.
var ErrEnded = errors.New("what the request rests on has ended")

// evidenceFor finds the evidence for name among methods that a profile takes.
func (r *Request) evidenceFor(name Identifier, methods []string, now time.Time) (Evidence, bool) {
	for _, e := range r.Evidence {
		if e.Identifier == name && now.Before(e.Expires) && slices.Contains(methods, e.Method) {
			return e, true
		}
	}
	return Evidence{}, false
}
