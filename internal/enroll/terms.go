package enroll

import (
	"context"
	"fmt"
	"slices"
	"time"

	"chancery/internal/enroll/guard"
	"chancery/internal/enroll/vault"
)

// The bases of an agreement to terms of service, as the vault keeps them.
const (
	basisCAA     = "caa"           // the owner named the CA in CAA (auto-discovery §8.2.1)
	basisOption  = "--agree-tos"   // the user said so for this certificate
	basisSetting = "configuration" // the user said so for this CA
)

// termsURL is where the CA's terms of service are; "" if it has none.
func (t *turn) termsURL() string {
	if m := t.found.Directory.Meta; m != nil {
		return m.TermsOfService
	}
	return ""
}

// basis says by what the terms of an offer's CA are agreed to; "" if by nothing. A
// default CA was never named by the owner, so CAA says nothing about it, nor about one
// with whom an account is made by hand (D12).
func (r *run) basis(label string, conf *CA) string {
	switch {
	case r.options.AgreeTerms || r.sheet.CA.AgreeTerms:
		return basisOption
	case conf != nil && conf.AgreeTerms:
		return basisSetting
	case label == "" && !r.engine.config.Settings.TermsByHand && r.hand == nil:
		return basisCAA
	}
	return ""
}

// agreement gives the basis on which the terms of the offer's CA, as they are now, are
// agreed to: what is said for this offer, or what a person agreed to at this CA before,
// which is those very terms and no others. What CAA said for other names is no agreement
// for these. "" without an error if there are no terms.
func (t *turn) agreement() (string, error) {
	url := t.termsURL()
	if url == "" {
		return "", nil
	}
	if b := t.run.basis(t.offer.Default, t.conf); b != "" {
		return b, nil
	}
	known, err := t.run.engine.config.Vault.CA(t.at)
	if err != nil {
		return "", &localError{err}
	}
	reason := fmt.Sprintf("%s has terms of service, %s, to which nobody agreed", t.name(), guard.Shown(url))
	for _, kept := range slices.Backward(known.Terms) {
		switch {
		case kept.Agreed.IsZero() || kept.Basis == basisCAA:
		case kept.URL == url:
			return kept.Basis, nil
		default:
			reason = fmt.Sprintf("%s has new terms of service, %s; what somebody agreed to is %s", t.name(), guard.Shown(url), guard.Shown(kept.URL))
		}
	}
	return "", &inabilityError{class: ClassUnable, reason: reason,
		advice: "read them, and agree with --agree-tos or in the configuration of that CA"}
}

// terms shows the terms with every certificate, keeps their URL and time, and tells of a
// change (D12). Whether they are agreed to is another matter.
func (t *turn) terms(ctx context.Context) error {
	url := t.termsURL()
	if url == "" || t.told {
		return nil
	}
	t.told = true
	r := t.run
	basis, _ := t.agreement() // the lack of it is for whoever goes on
	r.tell(t.event(Event{Kind: EventTerms, Terms: url, Basis: basis, Message: "the terms of service of " + t.name() + ": " + guard.Shown(url)}))
	known, err := r.engine.config.Vault.CA(t.at)
	if err != nil {
		return &localError{err}
	}
	n := len(known.Terms)
	if n > 0 && known.Terms[n-1].URL == url {
		return nil
	}
	now := r.engine.config.Now()
	// Durable before the change is written down: its ID keeps a crash between the two from
	// making it two. One a day, since a CA could change them at each look.
	if n > 0 && !changedOn(known.Terms, now) {
		r.notify(ctx, t.newTerms(known.Terms[n-1].URL, basis))
	}
	return r.update(ctx, t.at, func(c *vault.CA) {
		seen := vault.Terms{URL: url, Seen: now}
		if i := slices.IndexFunc(c.Terms, func(kept vault.Terms) bool { return kept.URL == url }); i >= 0 {
			seen.Agreed, seen.Basis = c.Terms[i].Agreed, c.Terms[i].Basis
			c.Terms = slices.Delete(c.Terms, i, i+1)
		}
		c.Terms = append(c.Terms, seen)
	})
}

// changedOn tells whether terms changed on that day: those first seen are no change.
func changedOn(terms []vault.Terms, now time.Time) bool {
	day := now.UTC().Format(time.DateOnly)
	for i, t := range terms {
		if i > 0 && t.Seen.UTC().Format(time.DateOnly) == day {
			return true
		}
	}
	return false
}

// newTerms is the message of a change. The day is part of its ID, as terms may change to
// and fro.
func (t *turn) newTerms(before, basis string) Notice {
	url, day, by := t.termsURL(), t.run.engine.config.Now().UTC().Format(time.DateOnly), basis
	if by == "" {
		by = "nobody, so nothing is ordered there that needs somebody's agreement"
	}
	return Notice{ID: stableID("terms", t.at, url, day), Severity: Info, Subject: "New terms of service at " + t.name(),
		Text: fmt.Sprintf("%s changed its terms of service from %s to %s.\nAgreed to by: %s.\nIf you do not agree, take the CA out of CAA or out of the configuration.",
			t.name(), guard.Shown(before), guard.Shown(url), by),
		Data: map[string]any{"kind": "terms-changed", "issuer": t.offer.Issuer, "directory": t.at, "before": before, "terms": url, "basis": basis}}
}

// agreed notes by what the terms are agreed to, now that there is an account that they
// hold for. A person's own word counts for more than the owner's record.
func (t *turn) agreed(ctx context.Context) error {
	basis, err := t.agreement()
	if err != nil || basis == "" {
		return nil // an account that was taken over as it was
	}
	news := func(c *vault.CA) *vault.Terms {
		n := len(c.Terms)
		if n == 0 || c.Terms[n-1].URL != t.termsURL() {
			return nil
		}
		if last := &c.Terms[n-1]; last.Agreed.IsZero() || basis != basisCAA && last.Basis == basisCAA {
			return last
		}
		return nil
	}
	v, now := t.run.engine.config.Vault, t.run.engine.config.Now()
	known, err := v.CA(t.at)
	if err != nil {
		return &localError{err}
	}
	if news(&known) == nil {
		return nil
	}
	return t.run.update(ctx, t.at, func(c *vault.CA) {
		if last := news(c); last != nil {
			last.Agreed, last.Basis = now, basis
		}
	})
}
