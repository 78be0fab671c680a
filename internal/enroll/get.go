package enroll

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"chancery/caa"
	"chancery/internal/enroll/install"
	"chancery/internal/enroll/vault"
)

// Get obtains the certificate of a sheet, installs it, and keeps the sheet for renewals.
// One that is there for the same names and not due is left alone, unless the options
// force it. The outcome is always filled in; the error says what went wrong: a *RunError
// when every CA was asked in vain, a *caa.ChoiceError when there is none to ask, a
// *ChangeError when a certificate in place is not to be replaced unasked, a
// *caa.LookupError when CAA is unknown.
func (e *Engine) Get(ctx context.Context, sheet vault.Sheet, o Options) (Outcome, error) {
	r, err := e.labelled(ctx, sheet, o)
	if err != nil {
		return r.stillborn(ctx, err)
	}
	unlock, err := e.config.Vault.Lock(ctx, r.sheet.Name)
	if err != nil {
		return r.stillborn(ctx, err)
	}
	defer unlock()
	if err := e.prune(ctx); err != nil && ctx.Err() == nil {
		r.warn("forgetting CAs that were never used: " + clean(err))
	}
	return r.whole(ctx)
}

// labelled begins the run of a sheet, which may leave it open how the vault is to call
// the certificate.
func (e *Engine) labelled(ctx context.Context, sheet vault.Sheet, o Options) (*run, error) {
	if sheet.Name == "" {
		subjects, err := parse(sheet.Names)
		if err == nil {
			sheet.Name, err = e.config.Vault.NewLabel(ctx, names(subjects))
		}
		if err != nil {
			return &run{engine: e, sheet: sheet, options: o, isNew: true, subjects: subjects}, err
		}
	}
	return e.begin(sheet, o)
}

// Renew does again what Get did for a certificate of the vault, if it is due. Errors are
// as Get's, or the vault's if there is no such certificate.
func (e *Engine) Renew(ctx context.Context, name string, o Options) (Outcome, error) {
	rec, err := e.config.Vault.Record(name)
	if errors.Is(err, vault.ErrNone) {
		return Outcome{Result: Failed, Certificate: name}, err
	}
	if err != nil {
		return (&run{engine: e, sheet: vault.Sheet{Name: name}, options: o, unread: true}).stillborn(ctx, err)
	}
	return e.Get(ctx, rec.Sheet, o)
}

// Due is when a certificate is to be renewed: at the moment drawn from the window that
// the CA suggests, if there is one, else when as much of its life is left as the settings
// say. A moment behind its end counts as none: such a window helps nobody. One that does not
// hold the sheet's names was due when it began. It is zero for a record without a certificate.
func (e *Engine) Due(rec vault.Record) time.Time {
	c := rec.Current
	if c == nil {
		return time.Time{}
	}
	if !rec.Holds() {
		return c.NotBefore
	}
	if w := rec.Window; w != nil && !w.Chosen.IsZero() && w.Chosen.Before(c.NotAfter) {
		return w.Chosen
	}
	life := c.NotAfter.Sub(c.NotBefore)
	return c.NotAfter.Add(-time.Duration(e.config.Settings.RenewBefore * float64(life)))
}

// stillborn ends a run that failed before it began, like any other. But who only waited
// for another process leaves it to that one to tell.
func (r *run) stillborn(ctx context.Context, err error) (Outcome, error) {
	out := r.failed(err)
	if _, busy := errors.AsType[*vault.BusyError](err); !busy {
		r.regret(ctx, &out, err)
	}
	out.Warnings = r.warnings
	return out, err
}

// whole is the run, under the certificate's lock.
func (r *run) whole(ctx context.Context) (Outcome, error) {
	v := r.engine.config.Vault
	if err := r.read(); err != nil {
		return r.stillborn(ctx, err)
	}
	rec := r.record
	unused := ""
	if rec.Undeployed != nil && rec.Current != nil {
		unused, _ = r.deploy(ctx) // an earlier run got it, and it did not come into use
	}
	if r.keep() {
		due := r.engine.Due(r.record)
		r.tell(Event{Kind: EventNotDue, Until: due, NotAfter: rec.Current.NotAfter, Result: NotDue,
			Message: fmt.Sprintf("not due before %s", due.Format(time.RFC3339))})
		out := Outcome{Result: NotDue, Certificate: r.sheet.Name, Issued: rec.Current, NotBefore: due, Path: v.Lineage(r.sheet.Name), Warnings: r.warnings}
		if out.Unused = unused; unused != "" {
			out.Result = Undeployed
		}
		return out, nil
	}
	r.tell(Event{Kind: EventStarted, Names: names(r.subjects), Message: "a certificate is wanted for " + strings.Join(names(r.subjects), ", ")})
	got, offer, err := r.obtain(ctx)
	var out Outcome
	if err == nil {
		out, err = r.publish(ctx, got, offer)
	}
	if err != nil {
		out = r.failed(err)
		r.regret(ctx, &out, err)
		if _, none := v.Record(r.sheet.Name); r.isNew && r.sheet.Origin == "" && errors.Is(none, vault.ErrNone) {
			// What locking made, which holds nothing; that another was quicker does no harm.
			_ = v.Remove(context.WithoutCancel(ctx), r.sheet.Name)
		}
	}
	out.Warnings = r.warnings
	return out, err
}

// keep tells whether what is there is as the sheet wants it and not due.
func (r *run) keep() bool {
	c := r.record.Current
	if c == nil || r.options.Force || !r.record.Revoked.IsZero() {
		return false
	}
	return r.record.Holds() && vault.SameNames(r.record.Sheet.Names, r.sheet.Names) && r.engine.config.Now().Before(r.engine.Due(r.record))
}

// obtain goes from the names to a certificate that passed all checks.
func (r *run) obtain(ctx context.Context) (*obtained, caa.Offer, error) {
	if err := r.inPlace(); err != nil {
		return nil, caa.Offer{}, &localError{err}
	}
	plan, err := r.plan(ctx)
	if err != nil {
		return nil, caa.Offer{}, err
	}
	r.pending, r.kept = r.readPending()
	if err := r.mayReplace(plan.Offers[0]); err != nil {
		return nil, caa.Offer{}, err
	}
	offers, err := r.readable(r.resumed(plan.Offers))
	if err != nil {
		return nil, caa.Offer{}, err
	}
	offers, err = r.setBack(offers)
	if err != nil {
		return nil, caa.Offer{}, err
	}
	plan.Offers = offers
	r.tell(Event{Kind: EventPlan, Names: names(r.subjects), Plan: &plan, Message: planSentence(offers)})
	r.record.Sheet = r.sheet
	if err := r.updateRecord(ctx, func(rec *vault.Record) { rec.Sheet = r.sheet }); err != nil {
		return nil, caa.Offer{}, err
	}
	if err := r.hooks(ctx, install.Pre, install.Facts{}); err != nil {
		return nil, caa.Offer{}, &localError{err}
	}
	total := r.total()
	r.split(total, offers)
	if total > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, total)
		defer cancel()
	}
	return r.walk(ctx, offers)
}

func planSentence(offers []caa.Offer) string {
	var list []string
	for _, o := range offers {
		name := caName(o.Issuer, o.Default)
		if o.Kind != caa.AnyKind {
			name += " for " + string(o.Kind)
		}
		list = append(list, name)
	}
	return "the CAs, in order: " + strings.Join(list, ", then ")
}

// resumed moves an order that was finalized already to the front: there may be a
// certificate, and a second one would be waste.
func (r *run) resumed(offers []caa.Offer) []caa.Offer {
	var there []*pending
	for _, p := range r.orders() {
		if p.Finalized {
			there = append(there, p)
		}
	}
	front := func(o caa.Offer) bool {
		return slices.ContainsFunc(there, func(p *pending) bool { return r.asked(o.Issuer, o.Default) == p.Directory && o.Kind == p.offer.Kind })
	}
	sorted := slices.Clone(offers)
	slices.SortStableFunc(sorted, func(a, b caa.Offer) int { return btoi(front(b)) - btoi(front(a)) })
	return sorted
}

// ChangeError says that a certificate is in place which this client did not obtain, and
// that it is not replaced unless told so (auto-discovery §8.1.1; D13).
type ChangeError struct {
	In   ExistingFound
	Next string // the CA that would be asked
	Kind caa.Kind
}

// Error says which CA the certificate is from, which is next, and what to do.
func (e *ChangeError) Error() string {
	kind := ""
	if e.In.Kind != caa.AnyKind {
		kind = ", of kind " + string(e.In.Kind)
	}
	next := e.Next
	if e.Kind != caa.AnyKind {
		next += " for one of kind " + string(e.Kind)
	}
	return fmt.Sprintf("the certificate in place was issued by %s%s and not obtained by this client; %s would be asked next. "+
		"To replace it, say --allow-ca-change", e.In.Issuer, kind, next)
}

// mayReplace says which certificate is in place and who comes next, and refuses to
// replace what this client did not obtain unless told to.
func (r *run) mayReplace(next caa.Offer) error {
	in := r.existing
	if in == nil {
		return nil
	}
	name := caName(next.Issuer, next.Default)
	r.tell(Event{Kind: EventExisting, Before: in.Issuer, Type: in.Kind, NotAfter: in.NotAfter, Issuer: next.Issuer, Default: next.Default,
		Message: fmt.Sprintf("the certificate in place is from %s; %s comes next", in.Issuer, name)})
	if in.Ours || r.options.AllowCAChange || r.sheet.CA.AllowChange {
		return nil
	}
	return &ChangeError{In: *in, Next: name, Kind: next.Kind}
}

// walk asks one CA after the other until one issues.
func (r *run) walk(ctx context.Context, offers []caa.Offer) (*obtained, caa.Offer, error) {
	blamed := map[string][]string{} // by CA, the methods whose challenges failed there for want of an answer
	for _, o := range offers {
		a := Attempt{Issuer: o.Issuer, Default: o.Default, Kind: o.Kind, Directory: r.asked(o.Issuer, o.Default), Class: ClassSkipped}
		var got *obtained
		var err error
		switch {
		case r.down[a.Directory]:
			a.Error = "the CA was unavailable a moment ago"
		case slices.Contains(blamed[a.Directory], methodsOf(o)):
			a.Error = "the challenges failed there already"
		case o.StepDown && !r.mayStepDown():
			a.Error = fmt.Sprintf("%s vouches for less than the present certificate, which is still good", kindName(o.Kind))
			a.Advice = "it is taken when the present certificate nears its end, or with --allow-ca-change"
		default:
			got, a, err = r.try(ctx, o)
		}
		r.attempts = append(r.attempts, a)
		if err != nil {
			return nil, o, err
		}
		if got != nil {
			return got, o, r.well(ctx, a.Directory)
		}
		if err := r.passed(ctx, a); err != nil {
			return nil, o, err
		}
		if a.Class == ClassUser {
			blamed[a.Directory] = append(blamed[a.Directory], methodsOf(o))
		}
		// With another method the same CA may still issue, and so may one more CA.
		if a.Class == ClassLocal || a.Class == ClassStopped || len(blamed) > 1 {
			break
		}
	}
	return nil, caa.Offer{}, &RunError{Names: names(r.subjects), Attempts: r.attempts}
}

// passed tells that an offer came to nothing, and counts it.
func (r *run) passed(ctx context.Context, a Attempt) error {
	r.tell(Event{Kind: EventPassed, Issuer: a.Issuer, Default: a.Default, Type: a.Kind, Directory: a.Directory, Class: a.Class, Error: a.Error,
		Advice: a.Advice, Until: a.RetryAfter, Message: a.Name() + " did not issue: " + a.Error})
	return r.blame(ctx, a)
}

// methodsOf tells two offers of one CA apart by how each name is to be proven.
func methodsOf(o caa.Offer) string {
	var b strings.Builder
	for _, term := range o.Terms {
		fmt.Fprintf(&b, "%s=%s;", term.Subject.Name, strings.Join(term.Methods, ","))
	}
	return b.String()
}

func kindName(k caa.Kind) string {
	if k == caa.AnyKind {
		return "a certificate of any kind"
	}
	return "a certificate of kind " + string(k)
}

// mayStepDown tells whether a certificate that vouches for less may take the place of the
// present one: when told, or when that one nears its end (D13).
func (r *run) mayStepDown() bool {
	if r.options.AllowCAChange || r.sheet.CA.AllowChange {
		return true
	}
	c := r.record.Current
	return c == nil || r.engine.config.Settings.near(c, r.engine.config.Now())
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// issuerName is what a certificate calls its issuer, fit for a terminal.
func issuerName(c *x509.Certificate) string {
	name := c.Issuer.CommonName
	if len(c.Issuer.Organization) > 0 && !strings.Contains(name, c.Issuer.Organization[0]) {
		name = strings.TrimSpace(c.Issuer.Organization[0] + " " + name)
	}
	if name == "" {
		name = c.Issuer.String()
	}
	if string(c.RawIssuer) == string(c.RawSubject) {
		name += " (itself)"
	}
	return clean(errors.New(name))
}
