package enroll

import (
	"context"
	"errors"
	"fmt"
	"time"

	"chancery/acme"
	"chancery/caa"
	"chancery/internal/enroll/install"
	"chancery/internal/enroll/vault"
)

// publish makes the certificate the vault's current one, and puts it in its place.
func (r *run) publish(ctx context.Context, got *obtained, o caa.Offer) (Outcome, error) {
	v := r.engine.config.Vault
	before := r.record.Current
	// From here on nothing is called off: the certificate is there.
	ctx = context.WithoutCancel(ctx)
	id, err := acme.CertID(got.chain.Certificates[0])
	if err != nil {
		id = "" // without a key identifier there is no renewal information
	}
	from := vault.Issued{Issuer: o.Issuer, Default: o.Default, Directory: got.at, Kind: o.Kind, Account: got.account,
		CertID: id, Terms: got.terms, ObtainedAt: r.engine.config.Now().UTC().Truncate(time.Second), Serial: got.chain.Certificates[0].SerialNumber.Text(16)}
	// A message is durable before what would make it old news: the record.
	r.changed(ctx, before, from)
	issued, err := v.Publish(ctx, r.sheet.Name, vault.Publication{Issued: from, Bundle: install.Bundle{Key: got.key, Chain: got.chain.Certificates}})
	if err != nil {
		return Outcome{}, &localError{fmt.Errorf("the certificate is there, and could not be kept: %w", err)}
	}
	r.record.Current = &issued
	out := Outcome{Result: Issued, Certificate: r.sheet.Name, Issued: &issued, Previous: before, Attempts: r.attempts, Terms: got.terms,
		Path: v.Lineage(r.sheet.Name)}
	if out.Unused, out.Installed = r.deploy(ctx); out.Unused != "" {
		out.Result = Undeployed
	}
	r.ended(ctx, "")
	return out, nil
}

// hooks runs the commands of a stage.
func (r *run) hooks(ctx context.Context, stage install.Stage, f install.Facts) error {
	if len(r.sheet.Hooks.At(stage)) == 0 {
		return nil
	}
	paths := r.engine.config.Vault.Paths(r.sheet.Name)
	f.Stage, f.Name, f.Names, f.Lineage = stage, r.sheet.Name, names(r.subjects), r.engine.config.Vault.Lineage(r.sheet.Name)
	t := r.sheet.Install
	f.Cert, f.Key, f.Chain, f.FullChain = either(t.Cert, paths.Cert), either(t.Key, paths.Key), either(t.Chain, paths.Chain), either(t.FullChain, paths.FullChain)
	f.Combined, f.PKCS12 = t.Combined, t.PKCS12
	if c := r.record.Current; c != nil {
		f.Issuer, f.Directory, f.Kind, f.Serial, f.NotBefore, f.NotAfter = caName(c.Issuer, c.Default), c.Directory, string(c.Kind), c.Serial, c.NotBefore, c.NotAfter
	}
	results, err := r.sheet.Hooks.Run(ctx, f)
	for i, result := range results {
		r.tell(Event{Kind: EventHook, Name: string(stage), Try: result.Attempts, Message: fmt.Sprintf("%s hook %d ended with %d after %s",
			stage, i+1, result.Exit, result.Took.Round(time.Millisecond))})
	}
	return err
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// ended runs what is to run after every attempt, and after a failed one.
func (r *run) ended(ctx context.Context, failure string) {
	ctx = context.WithoutCancel(ctx)
	f := install.Facts{Failure: failure}
	var errs []error
	if failure != "" {
		errs = append(errs, r.hooks(ctx, install.Failure, f))
	}
	errs = append(errs, r.hooks(ctx, install.Post, f))
	if err := errors.Join(errs...); err != nil {
		r.warn(clean(err))
	}
}

// changed tells that another CA issued, or another kind, than before (D13).
func (r *run) changed(ctx context.Context, before *vault.Issued, now vault.Issued) {
	was, kind := "", caa.AnyKind
	switch {
	case before != nil && (before.Directory != now.Directory || before.Kind != now.Kind):
		was, kind = caName(before.Issuer, before.Default), before.Kind
	case before == nil && r.existing != nil:
		was, kind = r.existing.Issuer, r.existing.Kind
	default:
		return
	}
	name := caName(now.Issuer, now.Default)
	r.tell(Event{Kind: EventCAChanged, Issuer: now.Issuer, Default: now.Default, Type: now.Kind, Directory: now.Directory, Before: was, Serial: now.Serial,
		Message: fmt.Sprintf("the certificate was %s's and is now %s's", was, name)})
	r.notify(ctx, Notice{ID: stableID("ca-changed", r.sheet.Name, now.Serial), Severity: Info,
		Subject: fmt.Sprintf("The certificate of %s is now from %s", r.subjects[0].Name, name),
		Text:    fmt.Sprintf("It was issued by %s before (%s), and by %s now (%s).\n%s", was, kindName(kind), name, kindName(now.Kind), r.story()),
		Data: map[string]any{"kind": "ca-changed", "certificate": r.sheet.Name, "names": names(r.subjects), "before": was, "beforeKind": kind,
			"issuer": now.Issuer, "default": now.Default, "directory": now.Directory, "certificateKind": now.Kind, "serial": now.Serial}})
}
