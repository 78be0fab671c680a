package enroll

import (
	"context"
	"crypto/x509"
	"math/rand/v2"
	"net/http"
	"time"

	"chancery/acme"
	"chancery/caa"
	"chancery/internal/enroll/solve"
	"chancery/internal/enroll/vault"
)

// Config is what an engine is made of.
type Config struct {
	// Resolver finds the CAA of the names.
	Resolver caa.Resolver
	// Forgive is caa.Climb's: the explicit override for a broken resolver. Each lookup
	// that it forgives is told as an event. Nil: a failed lookup fails the run.
	Forgive func(name string, err error) bool
	// Vault keeps what has to outlive a run.
	Vault *vault.Vault
	// HTTP gives the client that speaks to a CA's servers: to the one of the argument, or,
	// when that is nil, to a stranger found by discovery. It is asked often and gives the
	// same client again, so that connections are used again.
	HTTP func(configured *CA) *http.Client
	// Solver gives what answers the challenges of a certificate.
	Solver func(vault.Sheet) (*solve.Set, error)
	// EAB gives external account bindings that the vault does not have, by issuer name or
	// directory URL, of the first name that has one; vault.ErrNone if none has. Nil: the
	// vault's are all.
	EAB func(who ...string) (*acme.ExternalAccount, error)
	// Notifier takes what people must be told; nil: events alone tell it.
	Notifier Notifier
	// Observer hears every event, one at a time and in order, and must not call the
	// engine; nil: nobody does.
	Observer func(Event)
	Settings Settings

	// Now is the wall clock; nil: the system's. Waiting goes by Sleep.
	Now func() time.Time
	// Sleep waits, or gives the context's error; nil: a timer.
	Sleep func(ctx context.Context, d time.Duration) error
	// Random shuffles equals and makes jitter; nil: the system's cryptographic generator.
	Random rand.Source
}

// Settings are the decisions that its user may make otherwise; the zero value is the
// default of each.
type Settings struct {
	// CAs are the configured ones: defaults, and what is known of discovered ones.
	CAs []CA
	// Rules and DiscoveryOnRequest are caa.Question's.
	Rules              caa.Rules
	DiscoveryOnRequest bool
	// NoDiscovery: CAA still says who may issue, but only configured CAs are asked. Only
	// lets discovery find these issuer names alone; empty: any.
	NoDiscovery bool
	Only        []string
	// RequireAuthentic permits no discovery without DNSSEC (--dnssec require).
	RequireAuthentic bool
	// Identities says what directories must say of their issuer names: "prefer", which ""
	// means too, "require" or "ignore".
	Identities string
	// TermsByHand: naming a CA in CAA is not taken for agreement to its terms
	// (auto-discovery §8.2.1): discovered CAs need Options.AgreeTerms as well.
	TermsByHand bool
	// Contacts go to every account that is made, as URLs (mailto:…).
	Contacts []string
	// AccountKey is the type of account keys as the vault knows it; "" is its default.
	AccountKey string
	// Roots are the anchors that certificates of CAs without their own must chain to;
	// nil: the system's store.
	Roots *x509.CertPool

	// Patience is the longest time for one CA in one run; 0 is 5 minutes. It shrinks as
	// the present certificate nears its end, to no less than a tenth.
	Patience time.Duration
	// Tries is how often an unavailable CA is tried in one run; 0 is 4.
	Tries int
	// FirstPause is the longest first pause between two tries; it doubles with each; 0
	// is 2 seconds.
	FirstPause time.Duration
	// LongestPause is the most that is waited between two tries unless the CA asks for
	// more; 0 is a minute.
	LongestPause time.Duration
	// Total is the longest time for all CAs of one run; 0 is no limit but theirs.
	Total time.Duration
	// RenewBefore is the part of a certificate's life that is left when it is renewed,
	// where the CA does not say; 0 is a third.
	RenewBefore float64
	// BreakAfter failures in a row for want of availability set a CA back; 0 is 3.
	BreakAfter int
	// BreakFor is for how long at first; it doubles up to a day; 0 is 15 minutes.
	BreakFor time.Duration
	// TellAfter failures of a CA in a row, over runs and names, a person is told; 0 is 2.
	TellAfter int
}

// CA is what configuration says of one CA.
type CA struct {
	// Label names it; unique.
	Label string
	// Issuers are its issuer domain names.
	Issuers []string
	// Directory replaces https://ISSUER/.well-known/acme; a default must have it or a
	// name in Issuers.
	Directory string
	// Default: it serves names without CAA too; Priority orders such CAs, the lower the
	// earlier.
	Default  bool
	Priority int
	// Identities overrides Settings.Identities if it is not "".
	Identities string
	// Roots are the anchors of what it issues; nil: Settings.Roots.
	Roots *x509.CertPool
	// Profiles maps kinds to its ACME profiles (draft-ietf-acme-profiles); that of
	// caa.AnyKind is for orders that ask for no kind.
	Profiles map[caa.Kind]string
	// Policies are further certificate policies by which it marks a kind, as dotted OIDs.
	Policies map[caa.Kind][]string
	// AgreeTerms: the user has agreed to its terms of service.
	AgreeTerms bool
	// AccountKey overrides Settings.AccountKey if it is not "".
	AccountKey string
	// Contacts replace Settings.Contacts if there are any.
	Contacts []string
}

// Options are what one run may do.
type Options struct {
	// AllowCAChange lets discovery replace a certificate that it did not obtain, or one
	// of another kind (D13).
	AllowCAChange bool
	// PinCA forbids any CA but the one that issued last.
	PinCA bool
	// AgreeTerms: the user agrees to the terms of whichever CA serves (--agree-tos).
	AgreeTerms bool
	// Force renews what is not due.
	Force bool
	// Unattended: nobody watches, so the end without a certificate is a message too (D16).
	Unattended bool
}

// Notice is one message to people. Its fields are those of the messages that travel.
type Notice struct {
	ID       string // stable: one per incident and turn
	Time     time.Time
	Subject  string
	Text     string
	Data     map[string]any
	Severity Severity
}

// Severity says how much a notice matters.
type Severity string

// The severities.
const (
	Info    Severity = "info"
	Warning Severity = "warning"
	Error   Severity = "error"
)

// Notifier takes notices; it returns when they cannot be lost any more.
type Notifier interface {
	Put(ctx context.Context, n Notice) error
}
