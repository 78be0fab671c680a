// Package acmeserver is the room that speaks ACME (RFC 8555): it authenticates
// requests by their JWS, keeps accounts, orders and authorisations, has names
// validated, and hands proven requests to the core. It does not sign, knows no
// SQL and no other room; what it needs of storage are the small interfaces in
// store.go.
package acmeserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"chancery/internal/ca"
	"chancery/internal/challenge"
	"chancery/internal/nonce"
	"chancery/internal/registry"
)

// Room is the name under which this room's principals and requests are known
// to the core: an account is Principal{Room, account id}, an order's request id
// is "acme:" and the order's id.
const Room = "acme"

// Validator goes out and looks whether a name's holder answers a challenge;
// internal/challenge fits.
type Validator interface {
	Validate(ctx context.Context, job challenge.Job) (challenge.Result, error)
}

// Config is what the server works with.
type Config struct {
	Base       string // the fixed external base URL, "https://ca.example", without a slash at the end (never taken from a request)
	Authority  *ca.Authority
	Ledger     ca.Ledger
	Accounts   Accounts
	Orders     Orders
	Background Background
	// Registry holds the keys of external account bindings; nil: bindings are
	// neither verified nor reflected (RFC 8555 §7.3.4), and no operation of an
	// administrator makes any.
	Registry  *registry.Registry
	Validator Validator
	// CheckAddress refuses addresses that may not be certified or validated.
	CheckAddress func(netip.Addr) error
	Nonces       *nonce.Source
	Seen         *nonce.Seen
	Clock        func() time.Time
	Logger       *slog.Logger

	Terms, Website string
	CAAIdentities  []string
	RequireEAB     bool
	Profiles       []string // offered, the default first; never empty
	// Directories are further ones over the same accounts; the fields above make
	// the first.
	Directories []Directory
	// RedirectWellKnown has /.well-known/acme redirect to the directory instead of
	// giving it.
	RedirectWellKnown bool

	Challenges   []string // "http-01", "dns-01", "tls-alpn-01"
	MaxNames     int
	OrderLife    time.Duration
	AuthzLife    time.Duration // of a valid authorisation
	Attempts     int           // validations tried before a challenge is invalid
	AttemptPause time.Duration // before the second; doubles
	Workers      int           // validations at once, of all accounts; 0: 64. The Validator's own bound

	MostPending int   // authorisations of one account that are pending at once; 0: any number
	NewAccounts Limit // by client address; nil: none
	NewOrders   Limit // by account; nil: none
	NewBindings Limit // by account, customer and client address; nil: none

	// Customers tells to whom accounts belong; nil: to nobody, and then Policy is zero.
	Customers Customers
	Policy    Policy
}

// Limit says whether key may do once more, and if not, when to come back.
type Limit func(key string, now time.Time) (retryAfter time.Duration, ok bool)

// Server answers ACME requests. It is safe for concurrent use; everything that
// changes is in the stores that it was given, but for the validations under way.
type Server struct {
	Config
	entrances []*entrance // the first is that of the configuration itself
	keys      parsedKeys
	running   validations // those that this process is at
	asking    askers
}

// New checks the configuration and gives the server. The error names every part
// that is missing: a server that lacks one is not to start.
func New(c Config) (*Server, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Policy.Pause <= 0 {
		c.Policy.Pause = 15 * time.Second
	}
	if c.Workers <= 0 {
		c.Workers = 64
	}
	s := &Server{Config: c}
	s.asking.places = make(chan struct{}, askersAtOnce)
	s.running.turns.limit, s.running.room = c.Workers, max(pursuitsPerAccount, c.MaxNames)
	return s, s.makeEntrances()
}

func (c *Config) check() error {
	var errs []error
	if err := checkBase(c.Base); err != nil {
		errs = append(errs, err)
	}
	for _, part := range []struct {
		name    string
		missing bool
	}{
		{"Authority", c.Authority == nil}, {"Ledger", c.Ledger == nil}, {"Accounts", c.Accounts == nil},
		{"Orders", c.Orders == nil}, {"Background", c.Background == nil}, {"Validator", c.Validator == nil},
		{"CheckAddress", c.CheckAddress == nil}, {"Nonces", c.Nonces == nil}, {"Seen", c.Seen == nil},
		{"Profiles", len(c.Profiles) == 0}, {"Challenges", len(c.Challenges) == 0}, {"MaxNames", c.MaxNames <= 0},
		{"OrderLife", c.OrderLife <= 0}, {"AuthzLife", c.AuthzLife <= 0},
		{"Attempts", c.Attempts <= 0}, {"AttemptPause", c.AttemptPause <= 0},
		{"Customers (Policy is set)", c.Customers == nil && (c.Policy.Require || c.Policy.ByDomain || c.Policy.ByMail)},
		{"Registry (RequireEAB is set)", c.requiresEAB() && c.Registry == nil},
	} {
		if part.missing {
			errs = append(errs, fmt.Errorf("the ACME server's configuration has no %s", part.name))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) requiresEAB() bool {
	return c.RequireEAB || slices.ContainsFunc(c.Directories, func(d Directory) bool { return d.RequireEAB })
}

// checkBase: RFC 8555 §6.1 demands https. Plain http is left to loopback, where
// a terminator or a test stands.
func checkBase(base string) error {
	u, err := url.Parse(base)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(base, "/"):
		return fmt.Errorf("the ACME server's base URL %q must look like https://ca.example, without a slash at the end", base)
	case u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("the ACME server's base URL %q must be https (RFC 8555 §6.1); http serves loopback only", base)
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
