package enroll

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"chancery/acme"
	"chancery/caa"
	"chancery/internal/enroll/directory"
	"chancery/internal/enroll/vault"
)

// lookups is how many names' CAA are looked up at the same time.
const lookups = 8

// parse reads the names, each once.
func parse(names []string) ([]caa.Subject, error) {
	var subjects []caa.Subject
	var errs []error
	for _, name := range names {
		s, err := caa.ParseSubject(name)
		if err == nil && s.Form == caa.Mailbox {
			err = &caa.NameError{Text: name, Reason: "certificates for mailboxes are not obtained this way"}
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !slices.Contains(subjects, s) {
			subjects = append(subjects, s)
		}
	}
	if len(errs) == 0 && len(subjects) == 0 {
		errs = append(errs, errors.New("no names were given"))
	}
	return subjects, errors.Join(errs...)
}

// identifier is a subject as ACME orders it.
func identifier(s caa.Subject) acme.Identifier {
	if s.Form == caa.Address {
		return acme.Identifier{Type: acme.IdentifierIP, Value: s.Name}
	}
	return acme.Identifier{Type: acme.IdentifierDNS, Value: s.Name}
}

// lookup finds the CAA of every name. Nothing else may be asked of anybody before all
// are known (auto-discovery §5), so one failure fails them all (D2).
func (r *run) lookup(ctx context.Context) error {
	climb := caa.Climb{Resolver: r.engine.config.Resolver}
	if forgive := r.engine.config.Forgive; forgive != nil {
		climb.Forgive = func(name string, err error) bool {
			ok := forgive(name, err)
			if ok {
				r.tell(Event{Kind: EventForgiven, Name: name, Error: err.Error(),
					Message: fmt.Sprintf("the CAA of %s could not be looked up, and the configuration says to go on as if there were none", name)})
			}
			return ok
		}
	}
	r.found = make([]caa.Name, len(r.subjects))
	errs := make([]error, len(r.subjects))
	var group errgroup.Group
	group.SetLimit(lookups)
	for i, s := range r.subjects {
		group.Go(func() error {
			set, err := climb.Find(ctx, s)
			r.found[i], errs[i] = caa.Name{Subject: s, Set: set}, err
			return nil
		})
	}
	_ = group.Wait() // the functions give their errors in errs
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, n := range r.found {
		r.tell(Event{Kind: EventCAA, Name: n.Subject.Name, CAA: &n.Set, Message: foundSentence(n.Set)})
	}
	return nil
}

func foundSentence(s caa.Set) string {
	switch {
	case s.Owner == "":
		return fmt.Sprintf("no CAA records for %s", s.Name)
	case s.Authentic:
		return fmt.Sprintf("%d CAA records for %s at %s, validated by DNSSEC", len(s.Records), s.Name, s.Owner)
	}
	return fmt.Sprintf("%d CAA records for %s at %s, not validated by DNSSEC", len(s.Records), s.Name, s.Owner)
}

// ask gathers all that the choice depends on.
func (r *run) ask(ctx context.Context) caa.Question {
	s := r.engine.config.Settings
	cas := r.known(ctx)
	q := caa.Question{
		Names: r.found, Rules: s.Rules, DiscoveryOnRequest: s.DiscoveryOnRequest, RequireAuthentic: s.RequireAuthentic,
		Client:   caa.Client{Methods: r.methods, Accounts: r.accounts(cas), Kinds: r.kinds(cas)},
		Defaults: r.defaults(),
		Pin:      r.options.PinCA || r.sheet.CA.Pin,
		Random:   locked{r.engine},
	}
	if c := r.record.Current; c != nil {
		q.Last = caa.Last{Issuer: c.Issuer, Default: c.Default, Kind: c.Kind}
	} else if r.existing != nil && !r.existing.Ours {
		q.Last.Kind = r.existing.Kind
	}
	if q.Last.Issuer == "" && q.Last.Default == "" {
		q.Pin = false // nobody issued last
	}
	return q
}

// locked lets plans of several goroutines draw from one generator.
type locked struct{ *Engine }

func (l locked) Uint64() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.random.Uint64()
}

var _ rand.Source = locked{}

// methods gives what the solvers can do for a name. A wildcard is validated by DNS alone.
func (r *run) methods(s caa.Subject) []string {
	var list []string
	for _, t := range r.solvers.Methods(identifier(s)) {
		if s.Form == caa.Wildcard && !strings.HasPrefix(string(t), "dns-") {
			continue
		}
		if want := r.sheet.Challenge.Types; len(want) == 0 || slices.Contains(want, string(t)) {
			list = append(list, string(t))
		}
	}
	if want := r.sheet.Challenge.Types; len(want) > 0 {
		slices.SortStableFunc(list, func(a, b string) int { return slices.Index(want, a) - slices.Index(want, b) })
	}
	return list
}

// accounts gives the URLs of the accounts in the vault, by issuer name (RFC 8657 §3).
func (r *run) accounts(cas []vault.CA) func(string) []string {
	return func(issuer string) (urls []string) {
		for _, c := range cas {
			if c.Account != nil && r.isOf(c, issuer) {
				urls = append(urls, c.Account.URL)
			}
		}
		return urls
	}
}

// isOf tells whether what the vault holds is of the CA with that issuer name. What was
// once found under a name counts only while it is asked for at the same place.
func (r *run) isOf(c vault.CA, issuer string) bool {
	return sameURL(c.Directory, r.asked(issuer, ""))
}

// sameURL compares directories; the vault keeps hosts in lower case.
func sameURL(a, b string) bool {
	ua, err := url.Parse(a)
	ub, errB := url.Parse(b)
	if err != nil || errB != nil {
		return a == b
	}
	return strings.EqualFold(ua.Host, ub.Host) && ua.Path == ub.Path && ua.RawQuery == ub.RawQuery
}

// kinds tells which kinds can be asked for: those above domain validation need an
// account there or the credentials to bind one (auto-discovery §6).
func (r *run) kinds(cas []vault.CA) func(string, caa.Kind) bool {
	return func(issuer string, k caa.Kind) bool {
		if !k.Binding() {
			return true
		}
		for _, c := range cas {
			if c.Account != nil && r.isOf(c, issuer) {
				return true
			}
		}
		external, err := r.engine.binding(r.eabNames(issuer, "")...)
		return err == nil && external != nil
	}
}

// asked is where the directory of an offer's CA is asked for; it names the CA in the
// vault too.
func (r *run) asked(issuer, label string) string {
	if c := r.ca(issuer, label); c != nil && c.Directory != "" {
		return c.Directory
	} else if c != nil && issuer == "" && len(c.Issuers) > 0 {
		issuer = c.Issuers[0]
	}
	return "https://" + issuer + directory.WellKnown
}

// ca is what is configured for an offer's CA; nil for a stranger.
func (r *run) ca(issuer, label string) *CA {
	if c := r.chosen; c != nil && (label == c.Label || label == "" && c.knownAs(issuer)) {
		return c
	}
	return r.engine.config.Settings.ca(issuer, label)
}

// defaults are the configured CAs that serve names without CAA; if the sheet chose one,
// that one alone.
func (r *run) defaults() []caa.Default {
	if c := r.chosen; c != nil {
		return []caa.Default{{Label: c.Label, Issuers: c.Issuers}}
	}
	var list []caa.Default
	for _, c := range r.engine.config.Settings.CAs {
		if c.Default {
			list = append(list, caa.Default{Label: c.Label, Issuers: c.Issuers, Priority: c.Priority})
		}
	}
	return list
}

// choose resolves what the sheet says of the CA: "this one and no discovery". It is
// called when all CAA is known, for it may ask the directory for its issuer names.
func (r *run) choose(ctx context.Context) error {
	c := r.sheet.CA
	switch {
	case c.Label != "":
		for i := range r.engine.config.Settings.CAs {
			if known := &r.engine.config.Settings.CAs[i]; known.Label == c.Label {
				r.chosen = known
			}
		}
		if r.chosen == nil {
			return &localError{fmt.Errorf("no CA %q is configured", c.Label)}
		}
	case c.Directory != "":
		r.chosen = &CA{Label: c.Directory, Directory: c.Directory, Default: true}
		for _, known := range r.engine.config.Settings.CAs {
			if sameURL(known.Directory, c.Directory) {
				r.chosen = &known
			}
		}
		if len(r.chosen.Issuers) > 0 {
			return nil
		}
		return r.acquaint(ctx)
	}
	return nil
}

// acquaint asks a directory that the user named by which issuer names CAA knows it. That
// is a turn like any other's, for a CA that is down is down here too; a report asks once.
func (r *run) acquaint(ctx context.Context) error {
	t := r.turn(caa.Offer{Default: r.chosen.Label})
	var found directory.Found
	ask := func(ctx context.Context, t *turn) (err error) {
		found, err = r.directory(ctx, t.offer)
		return err
	}
	if r.reporting {
		if err := ask(ctx, t); err != nil {
			return err
		}
	} else if a, err := t.take(ctx, ask); err != nil {
		return err
	} else if a.Class != ClassNone {
		r.attempts = append(r.attempts, a)
		if err := r.passed(ctx, a); err != nil {
			return err
		}
		return &RunError{Names: names(r.subjects), Attempts: r.attempts}
	}
	if m := found.Directory.Meta; m != nil {
		r.chosen.Issuers = m.CAAIdentities
	}
	return nil
}

// wanted leaves of a plan what the sheet wants: the chosen CA, the kind.
func (r *run) wanted(plan *caa.Plan) {
	want := caa.Kind(r.sheet.CA.Kind)
	var kept []caa.Offer
	for _, o := range plan.Offers {
		if o.Default == "" && r.chosen == nil && !r.discoverable(&o) {
			plan.Excluded = append(plan.Excluded, caa.Exclusion{Issuer: o.Issuer, Reason: "this client is not to discover it (configuration)"})
			continue
		}
		if r.chosen != nil && o.Default != r.chosen.Label && !r.chosen.knownAs(o.Issuer) {
			continue
		}
		if want != caa.AnyKind && o.Kind == caa.AnyKind {
			o.Kind = want
			o.StepDown = want.Below(r.question.Last.Kind)
		}
		if o.Kind.Below(want) {
			continue
		}
		kept = append(kept, o)
	}
	plan.Offers = kept
}

// discoverable tells whether the settings let an offer's CA be discovered. If they do
// not, and it is a configured default, it is asked as that.
func (r *run) discoverable(o *caa.Offer) bool {
	s := r.engine.config.Settings
	if !s.NoDiscovery && (len(s.Only) == 0 || slices.ContainsFunc(s.Only, func(n string) bool { return strings.EqualFold(n, o.Issuer) })) {
		return true
	}
	c := s.ca(o.Issuer, "")
	if c == nil || !c.Default {
		return false
	}
	o.Default = c.Label
	return true
}
