package enroll

import (
	"context"
	"fmt"
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

// agreement gives the basis on which a new account agrees to the terms; "" without an
// error if there are no terms.
func (t *turn) agreement() (string, error) {
	if t.termsURL() == "" {
		return "", nil
	}
	if b := t.run.basis(t.offer.Default, t.conf); b != "" {
		return b, nil
	}
	return "", &inabilityError{class: ClassUnable,
		reason: fmt.Sprintf("%s has terms of service, %s, to which nobody agreed", t.name(), guard.Shown(t.termsURL())),
		advice: "read them, and agree with --agree-tos or in the configuration of that CA"}
}

// terms shows the terms with every certificate, keeps their URL and time, and tells of a
// change (D12).
func (t *turn) terms(ctx context.Context) error {
	url := t.termsURL()
	if url == "" || t.told {
		return nil
	}
	t.told = true
	r := t.run
	basis := r.basis(t.offer.Default, t.conf)
	now := r.engine.config.Now()
	err := r.update(ctx, t.at, func(c *vault.CA) {
		if n := len(c.Terms); n > 0 {
			if last := &c.Terms[n-1]; last.URL == url {
				// A person's own word counts for more than the owner's record.
				if basis != "" && (last.Agreed.IsZero() || r.hand != nil && last.Basis == basisCAA) {
					last.Agreed, last.Basis = now, basis
				}
				return
			}
			before := c.Terms[n-1].URL
			// Durable before the change is written down: its ID keeps a crash between the two
			// from making it two. One a day, since a CA could change them at each look.
			if !changedOn(c.Terms, now) {
				r.notify(ctx, t.newTerms(before, basis))
			}
		}
		seen := vault.Terms{URL: url, Seen: now}
		if basis != "" {
			seen.Agreed, seen.Basis = now, basis
		}
		c.Terms = append(c.Terms, seen)
	})
	if err != nil {
		return err
	}
	r.tell(t.event(Event{Kind: EventTerms, Terms: url, Basis: basis, Message: "the terms of service of " + t.name() + ": " + guard.Shown(url)}))
	return nil
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
	url, day := t.termsURL(), t.run.engine.config.Now().UTC().Format(time.DateOnly)
	return Notice{ID: stableID("terms", t.at, url, day), Severity: Info, Subject: "New terms of service at " + t.name(),
		Text: fmt.Sprintf("%s changed its terms of service from %s to %s.\nAgreed to by: %s.\nIf you do not agree, take the CA out of CAA or out of the configuration.",
			t.name(), guard.Shown(before), guard.Shown(url), orNobody(basis)),
		Data: map[string]any{"kind": "terms-changed", "issuer": t.offer.Issuer, "directory": t.at, "before": before, "terms": url, "basis": basis}}
}

func orNobody(basis string) string {
	if basis == "" {
		return "nobody"
	}
	return basis
}
