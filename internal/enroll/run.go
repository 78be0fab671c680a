package enroll

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"chancery/acme"
	"chancery/caa"
	"chancery/internal/enroll/install"
	"chancery/internal/enroll/solve"
	"chancery/internal/enroll/vault"
)

// run is the road of one certificate, once.
type run struct {
	engine    *Engine
	sheet     vault.Sheet
	options   Options
	record    vault.Record
	isNew     bool // there was no record before
	unread    bool // there is one, and it cannot be read
	subjects  []caa.Subject
	solvers   *solve.Set
	chosen    *CA     // that the sheet names, if it names one
	reporting bool    // nothing but a report is wanted
	hand      *byHand // something is done to an account by hand, and no certificate is wanted

	found    []caa.Name
	question caa.Question // that the plan answers
	existing *ExistingFound
	pending  *pending   // the order under way
	kept     []*pending // at other CAs, begun before
	keyHash  string
	held     crypto.Signer // the certificate's key, once it is durable

	patiences map[string]*patience
	most      time.Duration   // for one CA; 0: as the settings say
	charged   map[string]bool // CAs whose failure this run has counted
	down      map[string]bool // CAs that this run found unavailable: no other offer of theirs is tried
	attempts  []Attempt
	warnings  []string
}

// begin makes a run of a sheet. There is one also with an error, which knows of the
// certificate what can be known, so that its failure is told like any other's.
func (e *Engine) begin(sheet vault.Sheet, o Options) (*run, error) {
	r := &run{engine: e, sheet: sheet, options: o, isNew: true, patiences: map[string]*patience{}, charged: map[string]bool{}, down: map[string]bool{}}
	subjects, bad := parse(sheet.Names)
	if r.subjects = subjects; sheet.Name == "" {
		if bad != nil {
			return r, bad
		}
		r.sheet.Name = vault.Label(subjects[0].Name)
	}
	if err := r.read(); err != nil {
		return r, err
	}
	if bad != nil {
		return r, bad
	}
	var err error
	r.solvers, err = e.config.Solver(sheet)
	return r, err
}

// read reads the record.
func (r *run) read() error {
	rec, err := r.engine.config.Vault.Record(r.sheet.Name)
	r.isNew = errors.Is(err, vault.ErrNone)
	if r.unread = err != nil && !r.isNew; r.unread {
		return err
	}
	r.record = rec
	return nil
}

func (r *run) tell(ev Event) {
	ev.Certificate = r.sheet.Name
	r.engine.tell(ev)
}

// warn notes what went wrong without harm.
func (r *run) warn(text string) {
	r.warnings = append(r.warnings, text)
	r.tell(Event{Kind: EventWarning, Message: text})
}

func names(subjects []caa.Subject) []string {
	var list []string
	for _, s := range subjects {
		list = append(list, s.Name)
	}
	return list
}

func (r *run) identifiers() []acme.Identifier {
	var list []acme.Identifier
	for _, s := range r.subjects {
		list = append(list, identifier(s))
	}
	return list
}

// sameIdentifiers tells whether an order is for the names of the run.
func (r *run) sameIdentifiers(o *acme.Order) bool {
	if len(o.Identifiers) == 0 {
		return true // some servers leave them out
	}
	var got []string
	for _, id := range o.Identifiers {
		got = append(got, canonicalName(id.Value))
	}
	for _, s := range r.subjects {
		if !slices.Contains(got, canonicalName(s.Name)) {
			return false
		}
	}
	return len(got) == len(r.subjects)
}

func (r *run) updateRecord(ctx context.Context, change func(*vault.Record)) error {
	err := r.engine.config.Vault.UpdateRecord(context.WithoutCancel(ctx), r.sheet.Name, func(rec *vault.Record) error {
		if rec.Sheet.Name == "" {
			rec.Sheet = r.sheet
		}
		change(rec)
		return nil
	})
	if err != nil {
		return &localError{err}
	}
	return nil
}

// key gives the certificate's key, durable before anybody sees it.
func (r *run) key(ctx context.Context) (crypto.Signer, error) {
	if r.held != nil {
		return r.held, nil
	}
	v := r.engine.config.Vault
	if r.sheet.ReuseKey && r.record.Current != nil && r.record.Revoked.IsZero() && len(r.orders()) == 0 {
		b, err := v.CurrentBundle(r.sheet.Name)
		if err != nil {
			return nil, &localError{err}
		}
		if r.sheet.KeyType == "" || install.KeyType(b.Key.Public()) == r.sheet.KeyType {
			if err := v.SetPendingKey(ctx, r.sheet.Name, b.Key); err != nil {
				return nil, &localError{err}
			}
		}
	}
	key, err := v.PendingKey(ctx, r.sheet.Name, r.sheet.KeyType)
	if err != nil {
		return nil, &localError{err}
	}
	other := r.sheet.KeyType != "" && install.KeyType(key.Public()) != r.sheet.KeyType
	if other || r.pending == nil && r.record.Pending != nil {
		// The order under way is for other names, too old, or for another type of key.
		if err := v.DropPending(ctx, r.sheet.Name); err != nil {
			return nil, &localError{err}
		}
		r.pending, r.kept, r.record.Pending, r.record.Kept = nil, nil, nil, nil
		return r.key(ctx)
	}
	if r.keyHash, err = vault.PublicKeySHA256(key.Public()); err != nil {
		return nil, &localError{err}
	}
	r.held = key
	return key, nil
}

// left is the time that the present certificate is still good for; first says that there
// is none at all.
func (r *run) left() (left time.Duration, first bool) {
	now := r.engine.config.Now()
	switch {
	case r.record.Current != nil:
		return r.record.Current.NotAfter.Sub(now), false
	case r.existing != nil && r.existing.holds(names(r.subjects)):
		return r.existing.NotAfter.Sub(now), false
	}
	return 0, true
}

// holds tells whether a certificate serves for all the names: another's, for other names,
// is nothing to go on with.
func (e *ExistingFound) holds(wanted []string) bool {
	return !slices.ContainsFunc(wanted, func(name string) bool {
		return !slices.ContainsFunc(e.Names, func(has string) bool { return strings.EqualFold(has, name) })
	})
}

// inPlace looks at what is installed where the certificate is to go (D13).
func (r *run) inPlace() error {
	cert, err := install.Existing(r.sheet.Install)
	if err != nil {
		return fmt.Errorf("what is installed already cannot be read: %w", err)
	}
	if cert == nil {
		return nil
	}
	now := r.engine.config.Now()
	e := &ExistingFound{Issuer: issuerName(cert), Kind: kindOf(cert, nil), NotAfter: cert.NotAfter, Current: now.Before(cert.NotAfter)}
	e.Names = append(e.Names, cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		e.Names = append(e.Names, ip.String())
	}
	if c := r.record.Current; c != nil && c.SHA256 == fingerprint(cert.Raw) {
		e.Ours, e.CA, e.Kind = true, caName(c.Issuer, c.Default), c.Kind
	}
	r.existing = e
	return nil
}

// plan finds the CAA of every name, and makes of it the order in which to ask. No CA has
// been connected to when it returns, but for the one directory that choose may ask for.
func (r *run) plan(ctx context.Context) (caa.Plan, error) {
	if err := r.lookup(ctx); err != nil {
		return caa.Plan{}, err
	}
	if err := r.choose(ctx); err != nil {
		return caa.Plan{}, err
	}
	r.question = r.ask(ctx)
	plan, err := caa.Choose(r.question)
	if err == nil {
		err = r.provable()
	}
	if err != nil {
		plan.Offers = nil
		return plan, err
	}
	r.wanted(&plan)
	r.few(&plan)
	if len(plan.Offers) == 0 {
		return plan, &caa.ChoiceError{Cause: caa.CauseNobody, Names: plan.Names}
	}
	return plan, nil
}

// provable tells whether there is a way to prove each name at all, whatever its records
// permit: without one no CA need be asked.
func (r *run) provable() error {
	var errs []error
	for _, s := range r.subjects {
		if len(r.methods(s)) == 0 {
			errs = append(errs, &solve.NoMethodError{Identifier: identifier(s)})
		}
	}
	if len(errs) > 0 {
		return &localError{errors.Join(errs...)}
	}
	return nil
}
