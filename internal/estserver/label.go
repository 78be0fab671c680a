package estserver

import (
	"cmp"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"chancery/est"
	"chancery/internal/ca"
)

// Means is one kind of proof of who a client is.
type Means string

// The means of authentication.
const (
	ByCertificate Means = "certificate" // of ours, under the Explicit TA database (RFC 7030 §3.3.2)
	ByMaker       Means = "maker"       // a third party's, under an Implicit TA database
	ByPassword    Means = "password"    // a standing one, by HTTP Basic or Digest (§3.2.3)
	ByOneTime     Means = "one-time"    // a password good for one certificate (§6)
	BySRP         Means = "srp"         // certificate-less TLS (§3.3.3), by the terminator's word
)

var allMeans = []Means{ByCertificate, ByMaker, ByPassword, ByOneTime, BySRP}

// Way is a set of means that a client has to show together.
type Way []Means

// String gives the way as people write it: "certificate+password".
func (w Way) String() string {
	words := make([]string, len(w))
	for i, m := range w {
		words[i] = string(m)
	}
	return strings.Join(words, "+")
}

// The values of [Label.Wrap]. "" is WrapAuto.
const (
	WrapAuto  = "auto"    // lines of 64 characters, but one line for who sends no User-Agent
	WrapLines = "wrapped" // always lines of 64
	WrapBare  = "bare"    // always one line
)

// KeyPolicy says how keys are made for clients (RFC 7030 §4.4).
type KeyPolicy struct {
	Encrypted  bool              // a key is never sent without encryption of its own
	WeakCipher bool              // TLS may be weaker than the key that it protects
	ArchiveTo  *x509.Certificate // a copy of each key is kept, encrypted to this one; nil: none
}

// Label is one service under the well-known path: a profile and what it takes to get
// a certificate of it (RFC 7030 §3.2.2). The zero value of a field is the strict choice.
type Label struct {
	Name       string // "" serves requests without a label
	Profile    string
	Operations []est.Operation // cacerts is always served
	// Accept lists the ways of authentication; any one of them is enough.
	Accept []Way
	// Holders are the profiles of ours whose certificates authenticate; empty: Profile.
	Holders []string
	Makers  []string // names in Config.Makers; needed for ByMaker
	// Names are patterns of what may be asked for; see [pattern]. Empty: "own" alone,
	// and where Manual is set whatever the approver lets pass.
	Names  []string
	Manual bool // a person approves each request (RFC 7030 §4.2.3), but for renewals of one's own
	// ManualRenewals has renewals approved, too, where Manual is set.
	ManualRenewals bool
	// PendingLife is how long a request waits for that; 0: a week. RetryAfter is what
	// the client is told; 0: five minutes. PendingLimit is how many requests of one
	// identity may wait; 0: 20.
	PendingLife, RetryAfter time.Duration
	PendingLimit            int
	RequireLinking          bool // requests must be bound to their TLS connection (§3.5)
	// ChallengeSecret has challengePassword read as an enrolment secret, a one-time
	// password or the password of the user that the common name names, and not as the
	// channel binding.
	ChallengeSecret bool
	// RAs are the profiles of ours whose holders may enrol others, if their certificate
	// has id-kp-cmcRA (§3.7); RANames are the patterns for them; RAUnlinked exempts
	// them from linking. They are exempt from Quota.
	RAs, RANames []string
	RAUnlinked   bool
	MACAddress   bool // csrattrs asks for macAddress (RFC 7030 §4.5.2); nobody is refused without
	// ChangeSubject honours ChangeSubjectName (RFC 6402 §2.8), within Names.
	ChangeSubject bool
	ExpiredGrace  time.Duration // how long after its end a certificate can be renewed with
	RevokeOld     bool          // the renewed certificate is revoked as superseded, if its holder or an RA renewed it
	Wrap          string
	ServerKeys    KeyPolicy
	// Quota bounds the certificates of one identity in QuotaPer, about: of requests at
	// once a few more may pass. 0: no bound.
	Quota    int
	QuotaPer time.Duration
	SHA1CMC  bool // SHA-1 in CMC, a MUST of RFC 5274
}

// offers tells whether the label serves the operation.
func (l *Label) offers(op est.Operation) bool {
	return op == est.CACerts || slices.Contains(l.Operations, op)
}

// takes tells whether any way of the label has the means.
func (l *Label) takes(m Means) bool {
	return slices.ContainsFunc(l.Accept, func(w Way) bool { return slices.Contains(w, m) })
}

// holders are the profiles whose certificates authenticate.
func (l *Label) holders() []string {
	if len(l.Holders) == 0 {
		return []string{l.Profile}
	}
	return l.Holders
}

// String names the label for logs and messages.
func (l *Label) String() string {
	if l.Name == "" {
		return "(none)"
	}
	return l.Name
}

// serverAuth is id-kp-serverAuth (RFC 5280 §4.2.1.12).
var serverAuth = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}

// OpenCommonName warns of "CN=*" where certificates are servers' and no person looks at
// what is asked for; "" where there is nothing to warn of. The profile is the label's, nil:
// there is none. What is nearly a host name the core refuses, and programs differ in what
// they read as one.
func (l *Label) OpenCommonName(p *ca.Profile) string {
	if p == nil || l.Manual || !slices.Contains(l.Names, "CN=*") ||
		!slices.ContainsFunc(p.Demands().ExtKeyUsage, serverAuth.Equal) {
		return ""
	}
	return fmt.Sprintf("the EST label %s lets every common name pass (CN=*) in certificates for servers (the profile %s has server-auth), and old programs take a common name for a host: say which, as CN={serial} or CN=pump-*, or use a profile without server-auth", l, l.Profile)
}

// complete fills in what is left out.
func (l *Label) complete() {
	if l.PendingLife == 0 {
		l.PendingLife = 7 * 24 * time.Hour
	}
	if l.RetryAfter == 0 {
		l.RetryAfter = 5 * time.Minute
	}
	if l.PendingLimit == 0 {
		l.PendingLimit = 20
	}
	if l.Wrap == "" {
		l.Wrap = WrapAuto
	}
}

// check gives everything that is wrong with a label. The error's parts begin with
// its name.
func (l *Label) check(c *Config) error {
	var errs []error
	wrong := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("the EST label %s: %w", l, fmt.Errorf(format, args...)))
		}
	}
	if l.Name != "" {
		err := est.CheckLabel(l.Name)
		wrong(err != nil, "%w", err)
	}
	l.checkProfiles(c, wrong)
	l.checkWays(c, wrong)
	for _, op := range l.Operations {
		wrong(!slices.Contains(est.Operations, op), "there is no operation %q", op)
	}
	wrong(!slices.Contains([]string{"", WrapAuto, WrapLines, WrapBare}, l.Wrap), "wrap %q is not one of auto, wrapped, bare", l.Wrap)
	wrong(l.Quota < 0 || l.Quota > 0 && l.QuotaPer <= 0, "a quota is a positive number with the time that it is for")
	wrong(l.PendingLife < 0 || l.RetryAfter < 0 || l.ExpiredGrace < 0 || l.PendingLimit < 0, "times and numbers cannot be negative")
	if to := l.ServerKeys.ArchiveTo; to != nil {
		err := cmp.Or(canReceive(to.PublicKey), encrypts(to))
		if told, ok := errors.AsType[*ca.Error](err); ok {
			err = errors.New(told.Detail)
		}
		wrong(err != nil, "the archive's certificate (%s) cannot be used: %w", to.Subject, err)
	}
	for _, list := range [][]string{l.Names, l.RANames} {
		for _, text := range list {
			_, err := parsePattern(text)
			wrong(err != nil, "%w", err)
		}
	}
	return errors.Join(errs...)
}

func (l *Label) checkProfiles(c *Config, wrong func(bool, string, ...any)) {
	wrong(l.Profile == "", "it names no profile")
	for _, name := range slices.Concat([]string{l.Profile}, l.Holders, l.RAs) {
		p := c.Authority.Profiles[name]
		wrong(p == nil, "there is no profile %q; see: chancery profile list", name)
		wrong(p != nil && name == l.Profile && !p.Serves(Room), "the profile %s does not list the room %q, so that EST cannot give its certificates", name, Room)
	}
	wrong(l.Manual && c.Authority.Profiles[l.Profile] != nil && !slices.Contains(c.Authority.Profiles[l.Profile].Evidence, byApproval),
		"requests wait for approval, but the profile %s takes no approval as evidence", l.Profile)
	wrong(len(l.RAs) > 0 && len(l.RANames) == 0, `it has registration authorities, but says not which names they may enrol; "*" is every name`)
	wrong(len(l.RAs) > 0 && !l.takes(ByCertificate), "registration authorities authenticate by certificate, which it does not accept")
}

func (l *Label) checkWays(c *Config, wrong func(bool, string, ...any)) {
	wrong(len(l.Accept) == 0, "it accepts no way of authentication")
	for _, w := range l.Accept {
		wrong(len(w) == 0, "a way of authentication without any means would let everybody in")
		for _, m := range w {
			wrong(!slices.Contains(allMeans, m), "%q is no means of authentication; there are certificate, maker, password, one-time and srp", m)
		}
		wrong(slices.Contains(w, ByCertificate) && slices.Contains(w, ByMaker), "a client shows one certificate: %s cannot be met", w)
		wrong(slices.Contains(w, BySRP) && l.RequireLinking, "nothing binds a request to its connection over SRP: %s and required linking exclude each other", w)
	}
	wrong(l.takes(ByMaker) && len(l.Makers) == 0, "it accepts makers' certificates, but names no maker")
	for _, name := range l.Makers {
		wrong(c.Makers[name] == nil, "there is no maker %q", name)
	}
}
