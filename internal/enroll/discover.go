package enroll

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"chancery/acme"
	"chancery/caa"
	"chancery/internal/enroll/vault"
)

// Discover finds out what Get would do for a sheet, and why (D17). It asks the DNS, and
// then the CAs of the plan for their directories; no account is made and nothing ordered.
// When there is no plan the report says why, and the error is that of Get.
func (e *Engine) Discover(ctx context.Context, sheet vault.Sheet, o Options) (Report, error) {
	r, err := e.labelled(ctx, sheet, o)
	if err != nil {
		return Report{Names: sheet.Names, Error: err.Error()}, err
	}
	r.reporting = true
	rep := Report{Names: names(r.subjects)}
	if err := r.inPlace(); err != nil {
		rep.Notes = append(rep.Notes, clean(err))
	}
	rep.Existing = r.existing
	plan, err := r.plan(ctx)
	for _, n := range r.found {
		rep.Found = append(rep.Found, n.Set)
	}
	rep.Judged, rep.Notes = plan.Names, append(rep.Notes, plan.Notes...)
	if note := r.otherRules(); note != "" {
		rep.Notes = append(rep.Notes, note)
	}
	rep.Notes = append(rep.Notes, unbound(plan.Names)...)
	rep.Notes = append(rep.Notes, misspelled(plan.Names)...)
	for _, x := range plan.Excluded {
		rep.Excluded = append(rep.Excluded, Excluded{Name: caName(x.Issuer, x.Label), Rule: x.Reason})
	}
	if err != nil {
		rep.Error = err.Error()
		rep.fail(err)
		return rep, err
	}
	if rep.Offers, err = r.describe(ctx, plan.Offers); err != nil {
		return rep, err
	}
	rep.Notes = append(rep.Notes, r.remarks(rep.Offers)...)
	return rep, nil
}

// unbound names the records that this client could satisfy if it had credentials for a
// binding (auto-discovery §6).
func unbound(reports []caa.Report) (notes []string) {
	for _, rep := range reports {
		for _, j := range rep.Records {
			p, err := caa.Parse(j.Record)
			if err != nil || j.Use != caa.UseUnusable {
				continue
			}
			methods, _ := p.Methods()
			for _, m := range methods {
				if note := unmet(m, p.Issuer); note != "" && !slices.Contains(notes, note) {
					notes = append(notes, note)
				}
			}
		}
	}
	return notes
}

// unmet says what a value of validationmethods wants that was of no use: credentials for
// a kind of certificate, or a challenge that is not set up; "" for what nobody here knows.
func unmet(method, issuer string) string {
	switch {
	case strings.HasPrefix(method, "ca-") && caa.Kind(method).Binding():
		return fmt.Sprintf("a certificate of kind %s from %s takes an external account binding: get a key from the CA and enter it with \"chancery account eab add %s\"", method, issuer, issuer)
	case slices.Contains([]acme.ChallengeType{acme.ChallengeHTTP01, acme.ChallengeTLSALPN01, acme.ChallengeDNS01, acme.ChallengeDNSPersist01}, acme.ChallengeType(method)):
		return fmt.Sprintf("the record of %s permits %s: set up %s for this name, if it is not (docs/solving.md), and it can be asked", issuer, method, method)
	}
	return ""
}

// otherRules says whether the other revision of auto-discovery would plan otherwise (D6).
func (r *run) otherRules() string {
	if len(r.question.Names) == 0 {
		return ""
	}
	other, differs := caa.Compare(r.question)
	if !differs {
		return ""
	}
	rules := caa.Revision03
	if r.question.Rules == caa.Revision03 {
		rules = caa.Seed
	}
	if len(other.Offers) == 0 {
		return fmt.Sprintf("by the rules %q no CA would be left", rules)
	}
	return fmt.Sprintf("by the rules %q it would be otherwise: %s", rules, planSentence(other.Offers))
}

// fail fills in which names could go together.
func (rep *Report) fail(err error) {
	choice, ok := errors.AsType[*caa.ChoiceError](err)
	if !ok {
		return
	}
	for _, set := range choice.Together {
		rep.Together = append(rep.Together, names(set))
	}
	rep.Never = names(choice.Never)
}

// describe asks each CA of the plan for its directory, a few at a time, and says what an
// order there would be like.
func (r *run) describe(ctx context.Context, offers []caa.Offer) ([]OfferReport, error) {
	sorted, err := r.setBack(offers)
	if err != nil {
		return nil, err
	}
	list := make([]OfferReport, len(sorted))
	var group errgroup.Group
	group.SetLimit(lookups)
	at := map[string][]int{} // one request for each directory
	for i, o := range sorted {
		key := r.asked(o.Issuer, o.Default)
		at[key] = append(at[key], i)
	}
	for _, places := range at {
		group.Go(func() error {
			for _, i := range places {
				list[i] = r.report(ctx, sorted[i])
			}
			return nil
		})
	}
	return list, group.Wait()
}

// report describes one offer.
func (r *run) report(ctx context.Context, o caa.Offer) OfferReport {
	t := &turn{run: r, offer: o, conf: r.ca(o.Issuer, o.Default), at: r.asked(o.Issuer, o.Default)}
	rep := OfferReport{Offer: o, Asked: t.at}
	for _, term := range o.Terms {
		rep.Challenges = append(rep.Challenges, NameChallenges{Name: term.Subject.Name, Types: term.Methods})
	}
	v := r.engine.config.Vault
	known, err := v.CA(t.at)
	if err != nil {
		rep.Why = clean(err)
		return rep
	}
	rep.Circuit, rep.SetBack = known.Circuit, open(known.Circuit, r.engine.config.Now())
	if known.Account != nil {
		rep.Account, rep.Bound = known.Account.URL, true
	}
	if external, err := r.engine.binding(r.eabNames(o.Issuer, o.Default)...); err == nil && external != nil {
		rep.Bound = true
	}
	if t.found, err = r.directory(ctx, o); err != nil {
		rep.Why = because(err)
		return rep
	}
	rep.Directory, rep.Redirects, rep.VouchedBy = t.found.URL, t.found.Redirects, t.found.VouchedBy
	if m := t.found.Directory.Meta; m != nil {
		rep.Identities, rep.Terms, rep.Binding = m.CAAIdentities, m.TermsOfService, m.ExternalAccountRequired
	}
	if rep.Terms != "" {
		rep.Basis, _ = t.agreement() // the lack of it is found again below
	}
	if err := t.usable(known); err != nil {
		rep.Why = because(err)
		return rep
	}
	rep.Profile, rep.Usable = t.profile, true
	return rep
}

// usable tells whether an order could be made, without making an account.
func (t *turn) usable(known vault.CA) (err error) {
	if until, _ := t.run.limited(known); !until.IsZero() {
		return &inabilityError{class: ClassLimited, reason: fmt.Sprintf("it asked not to be asked again before %s", until)}
	}
	if t.profile, err = t.pick(); err != nil {
		return err
	}
	if err := t.bound(known.Account); err != nil {
		return err
	}
	if known.Account == nil {
		if _, err := t.external(); err != nil {
			return err
		}
	}
	_, err = t.agreement()
	return err
}

func because(err error) string {
	text := clean(err)
	if advice := classify(err, false).advice; advice != "" {
		text += "; " + advice
	}
	return text
}

// remarks are what only the directories and the place show, beside the plan's notes.
func (r *run) remarks(offers []OfferReport) []string {
	var notes []string
	if in := r.existing; in != nil && caa.DomainValidated.Below(in.Kind) && !asksForKind(offers) {
		notes = append(notes, fmt.Sprintf("the certificate in place is of kind %s, and no CAA record asks for that kind by validationmethods: "+
			"a lesser one could take its place (auto-discovery §8.1.1)", in.Kind))
	}
	if in := r.existing; in != nil && !in.Ours && len(offers) > 0 {
		notes = append(notes, (&ChangeError{In: *in, Next: caName(offers[0].Issuer, offers[0].Default), Kind: offers[0].Kind}).Error())
	}
	return notes
}

func asksForKind(offers []OfferReport) bool {
	for _, o := range offers {
		if o.Kind != caa.AnyKind {
			return true
		}
	}
	return false
}

// Split gives the sheets of as many certificates as it takes when no CA may issue for all
// the names of one (D8), the fewest; the first keeps the label. Only a single certificate
// can be installed where the sheet says, so a sheet with an install target is refused when
// it takes several.
func (e *Engine) Split(ctx context.Context, sheet vault.Sheet, o Options) ([]vault.Sheet, error) {
	r, err := e.labelled(ctx, sheet, o)
	if err != nil {
		return nil, err
	}
	if err := r.lookup(ctx); err != nil {
		return nil, err
	}
	if err := r.choose(ctx); err != nil {
		return nil, err
	}
	plans, err := caa.Split(r.ask(ctx))
	if err != nil {
		return nil, err
	}
	if len(plans) > 1 && !sheet.Install.Empty() {
		return nil, fmt.Errorf("it takes %d certificates for these names, and they cannot all be installed in the same place: get them one by one, each with its own place", len(plans))
	}
	var sheets []vault.Sheet
	for i, p := range plans {
		s := sheet
		s.Names = nil
		for _, n := range p.Names {
			s.Names = append(s.Names, n.Subject.Name)
		}
		if s.Name = r.sheet.Name; i > 0 {
			if s.Name, err = e.config.Vault.NewLabel(ctx, s.Names); err != nil {
				return nil, err
			}
			if slices.ContainsFunc(sheets, func(other vault.Sheet) bool { return other.Name == s.Name }) {
				s.Name = fmt.Sprintf("%s-%d", s.Name, i+1)
			}
		}
		sheets = append(sheets, s)
	}
	return sheets, nil
}
