package estserver

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"chancery/cms/cmc"
	"chancery/internal/ca"
	"chancery/internal/nonce"
)

// Room is the name under which this room's principals and requests are known to the
// core: a client is Principal{Room, [Identity.String]}, a request's id begins "est:".
const Room = "est"

// Limit says whether key may do once more, and if not, when to come back.
type Limit func(key string, now time.Time) (retryAfter time.Duration, ok bool)

// Maker verifies certificates of one third party, a device maker for example, under
// its own trust anchors (the Implicit TA database of RFC 7030 §3.3.2), with
// revocation. internal/anchors fits.
type Maker interface {
	Verify(ctx context.Context, chain []*x509.Certificate, now time.Time) error
}

// Delegate is a key of this service with the certificate that the authority gave it:
// it signs what is no certificate, keys that were made and CMC responses.
type Delegate struct {
	Key   crypto.Signer
	Chain []*x509.Certificate // its own first
}

// The values of [Config.Digest].
const (
	DigestOff    = ""
	DigestSHA256 = "sha-256"
	DigestMD5    = "md5" // offered first, for old clients, and SHA-256 after it
)

// Config is what the server works with.
type Config struct {
	Authority    *ca.Authority
	Ledger       ca.Ledger
	Requests     Requests
	Credentials  Credentials
	DeviceKeys   DeviceKeys
	Passphrases  Passphrases
	Certificates Certificates
	Deliveries   *Deliveries // of made keys; one for all servers of a process
	Labels       []Label
	Makers       map[string]Maker // names have no ':' and no '+'
	Digest       string           // whether HTTP Digest is offered, else Basic is
	Realm        string           // of passwords; Digest's are bound to it
	Nonces       *nonce.Source    // for Digest; its purpose is "est"
	Seals        ca.Seals         // for device keys; nil: none can be registered
	// Delegate gives the key and certificate of a profile; nil: nothing is signed.
	Delegate        func(ctx context.Context, profile string) (Delegate, error)
	Attempts        Limit // failed log-ins per user and address; nil: none
	AddressAttempts Limit // failed log-ins per address, whoever the user; nil: none
	// Concerns gives what else some clients will stumble over, for [Server.Warnings]; may be nil.
	Concerns func(now time.Time) []string
	Clock    func() time.Time
	Logger   *slog.Logger
}

// Server answers EST requests. It is safe for concurrent use; everything that changes
// is in the stores that it was given, but for what auth_password.go, auth_attempts.go,
// unfinished.go and cacerts.go keep for a while.
type Server struct {
	Config
	labels     map[string]*Label
	passwords  passwords
	bags       bags
	attempts   attempts
	revoking   attempts // by the secret of a certificate, see [Server.failedRevocation]
	unfinished unfinished
	explicit   atomic.Pointer[authorities] // see issuedHere
	riddles    atomic.Pointer[cmc.Secret]  // see challengeKey
}

// New checks the configuration and gives the server. The error names every part that
// is missing or wrong: a server that lacks one is not to start.
func New(c Config) (*Server, error) {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Realm == "" {
		c.Realm = "EST"
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	s := &Server{Config: c, labels: map[string]*Label{}, passwords: newPasswords()}
	for _, l := range c.Labels {
		l.complete()
		s.labels[l.Name] = &l
	}
	return s, nil
}

func (c *Config) check() error {
	var errs []error
	for _, part := range []struct {
		name    string
		missing bool
	}{
		{"Authority", c.Authority == nil}, {"Ledger", c.Ledger == nil}, {"Requests", c.Requests == nil},
		{"Credentials", c.Credentials == nil}, {"DeviceKeys", c.DeviceKeys == nil},
		{"Passphrases", c.Passphrases == nil}, {"Certificates", c.Certificates == nil}, {"Deliveries", c.Deliveries == nil},
		{"Labels", len(c.Labels) == 0}, {"Nonces (Digest is on)", c.Digest != DigestOff && c.Nonces == nil},
	} {
		if part.missing {
			errs = append(errs, fmt.Errorf("the EST server's configuration has no %s", part.name))
		}
	}
	if !slices.Contains([]string{DigestOff, DigestSHA256, DigestMD5}, c.Digest) {
		errs = append(errs, fmt.Errorf(`digest %q is not known: it is "", "sha-256" or "md5"`, c.Digest))
	}
	if strings.ContainsFunc(c.Realm, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) || len(c.Realm) > 100 {
		errs = append(errs, fmt.Errorf("the realm %q must be up to 100 plain ASCII characters without quotes", c.Realm))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Makers)) {
		if name == "" || strings.ContainsAny(name, ":+") || c.Makers[name] == nil {
			errs = append(errs, fmt.Errorf("the maker %q: a name has no ':' and no '+', and anchors belong to it", name))
		}
	}
	if c.Authority == nil {
		return errors.Join(errs...)
	}
	seen := map[string]bool{}
	for i := range c.Labels {
		l := &c.Labels[i]
		if seen[l.Name] {
			errs = append(errs, fmt.Errorf("the EST label %s is there twice", l))
		}
		seen[l.Name] = true
		errs = append(errs, l.check(c))
	}
	return errors.Join(errs...)
}
