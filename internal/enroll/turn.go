package enroll

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"chancery/acme"
	"chancery/caa"
	"chancery/internal/enroll/directory"
	"chancery/internal/enroll/vault"
	"chancery/internal/plain"
)

// turn is one offer's: everything between "try this CA" and a certificate that passed
// all checks, over as many tries as the CA's patience allows.
type turn struct {
	run   *run
	offer caa.Offer
	conf  *CA    // nil for a stranger
	at    string // where the directory is asked for: the CA's name in the vault

	found   directory.Found
	client  *acme.Client
	profile string
	told    bool      // of the terms
	again   bool      // the account was looked for again: once is enough
	ordered bool      // an order was made, so the CA is not altogether down
	bare    bool      // an order that said what it replaces failed: leave that out
	lease   time.Time // until which its probe sets the CA back for others; zero: it does not
}

// obtained is a certificate that passed all checks, with its key.
type obtained struct {
	key     crypto.Signer
	chain   *acme.Chain
	account string
	terms   string
	at      string
}

func (t *turn) name() string { return caName(t.offer.Issuer, t.offer.Default) }

// event fills in whom an event is about.
func (t *turn) event(ev Event) Event {
	ev.Issuer, ev.Default, ev.Type = t.offer.Issuer, t.offer.Default, t.offer.Kind
	if ev.Directory == "" {
		ev.Directory = t.at
	}
	return ev
}

// turn begins an offer's.
func (r *run) turn(o caa.Offer) *turn {
	return &turn{run: r, offer: o, conf: r.ca(o.Issuer, o.Default), at: r.asked(o.Issuer, o.Default)}
}

// try takes an offer's turn for a certificate.
func (r *run) try(ctx context.Context, o caa.Offer) (got *obtained, a Attempt, err error) {
	a, err = r.turn(o).take(ctx, func(ctx context.Context, t *turn) (err error) {
		got, err = t.once(ctx)
		return err
	})
	return got, a, err
}

// take tries, and waits between the tries as their class of failure and the CA's patience
// allow (D14). What became of it is in the attempt; the error is this machine's own.
func (t *turn) take(ctx context.Context, try func(context.Context, *turn) error) (Attempt, error) {
	r := t.run
	a := Attempt{Issuer: t.offer.Issuer, Default: t.offer.Default, Kind: t.offer.Kind, Directory: t.at}
	if skipped, err := t.held(&a); skipped || err != nil {
		return a, err
	}
	p := r.patienceFor(t.at)
	once, lease, err := r.probe(ctx, t.at, p.total)
	if err != nil {
		return a, err
	}
	if t.lease = lease; once {
		p.tries = p.used + 1
	}
	r.tell(t.event(Event{Kind: EventTrying, Message: strings.TrimSuffix("asking "+t.name()+": "+t.offer.Reason, ": ")}))
	for {
		err := p.spend(ctx, func(ctx context.Context) error { return try(ctx, t) })
		v := classify(err, ctx.Err() != nil)
		a.Tries++
		a.Class, a.Advice = v.class, v.advice
		if err != nil {
			a.Error = clean(err)
		}
		wait, more := time.Duration(0), false
		if v.class == ClassUnavailable || v.class == ClassLimited && v.after > 0 {
			wait, more = p.again(v.after, r.engine.draw())
		}
		if more {
			r.tell(t.event(Event{Kind: EventRetry, Class: v.class, Error: a.Error, Problem: problemType(err), Try: a.Tries, Wait: wait.Seconds(),
				Message: fmt.Sprintf("%s failed; it is tried again in %s", t.name(), wait.Round(time.Second))}))
			if r.engine.config.Sleep(ctx, wait) == nil {
				p.spent += wait
				continue
			}
			a.Class = ClassStopped
		}
		return a, t.settle(ctx, &a, v)
	}
}

// held tells whether the CA must be left alone for now: it said so itself. Its turn comes
// when the others had theirs, so that it is asked earlier than it likes if need be.
func (t *turn) held(a *Attempt) (bool, error) {
	c, err := t.run.engine.config.Vault.CA(t.at)
	if err != nil {
		return false, &localError{err}
	}
	until, anyway := t.run.limited(c)
	if !anyway.After(t.run.engine.config.Now()) {
		return false, nil
	}
	a.Class, a.RetryAfter = ClassLimited, anyway
	a.Error = "the CA asked not to be asked again before " + until.Format(time.RFC3339)
	a.Advice = "nothing to do but to wait"
	if anyway.Before(until) {
		a.Advice += "; if no other CA issues it is asked again at " + anyway.Format(time.RFC3339)
	}
	return true, nil
}

// patienceFor gives what is left for a CA in this run: its offers share it, and each that
// gets a turn gets one try at least.
func (r *run) patienceFor(at string) *patience {
	s := r.engine.config.Settings
	p := r.patiences[at]
	if p == nil {
		left, first := r.left()
		p = &patience{tries: s.Tries, total: budget(r.perCA(), left, first), pause: s.FirstPause, most: s.LongestPause}
		r.patiences[at] = p
	}
	p.tries = max(s.Tries, p.used+1)
	return p
}

// settle writes down how a turn ended: the circuit, the CA's wish to be left alone, the
// incident (D15, D16).
func (t *turn) settle(ctx context.Context, a *Attempt, v verdict) error {
	r := t.run
	now := r.engine.config.Now()
	if a.Class == ClassNone && t.client == nil {
		// Its directory alone is there, and that may be a copy: it has issued nothing yet, so
		// what comes next has all the tries, and is the one that shows whether it is well.
		r.patienceFor(t.at).used = 0
		return r.update(ctx, t.at, func(c *vault.CA) { t.unlease(&c.Circuit, now) })
	}
	if a.Class == ClassStopped || a.Class == ClassLocal {
		return r.update(ctx, t.at, func(c *vault.CA) { t.unlease(&c.Circuit, now) })
	}
	if a.Class == ClassUnavailable && !t.ordered {
		r.down[t.at] = true
	}
	draw := r.engine.draw()
	err := r.update(ctx, t.at, func(c *vault.CA) {
		knownAs(c, t.offer.Issuer)
		if a.Class == ClassUnable || a.Class == ClassSkipped {
			t.unlease(&c.Circuit, now)
			return
		}
		r.engine.config.Settings.trip(&c.Circuit, ending{a.Class, a.Error, now, draw})
	})
	if err != nil {
		return err
	}
	if a.Class == ClassLimited || a.Class == ClassUnavailable && v.after > 0 {
		return t.leaveAlone(ctx, a, v.after)
	}
	return nil
}

// leaveAlone notes how long the CA wants to be left alone; without its word as long as one
// that is down. The word of a web server before it counts for no more than that either.
func (t *turn) leaveAlone(ctx context.Context, a *Attempt, wait time.Duration) error {
	r := t.run
	c, err := r.engine.config.Vault.CA(t.at)
	if err != nil {
		return &localError{err}
	}
	rhythm := r.engine.config.Settings.rhythm(c.Circuit)
	if wait == 0 || a.Class == ClassUnavailable && wait > rhythm {
		wait = rhythm
	}
	now := r.engine.config.Now()
	until := now.Add(wait)
	a.RetryAfter = earlier(until, r.holdEnds(now))
	label := r.sheet.Name
	if a.Class == ClassUnavailable || !t.ordering() {
		label = "" // nothing of this certificate was sent yet: it concerns all
	}
	return r.limit(ctx, t.at, label, until)
}

// ordering tells whether the CA had got as far as to know which certificate is wanted.
func (t *turn) ordering() bool { return t.client != nil && t.client.AccountURL != "" }

// once is one try: from the directory to the certificate.
func (t *turn) once(ctx context.Context) (*obtained, error) {
	if err := t.prepare(ctx); err != nil {
		return nil, err
	}
	if err := t.terms(ctx); err != nil {
		return nil, err
	}
	if _, err := t.agreement(); err != nil {
		return nil, err
	}
	if err := t.account(ctx); err != nil {
		return nil, err
	}
	if err := t.agreed(ctx); err != nil {
		return nil, err
	}
	got, err := t.issue(ctx)
	if !forgotten(err) || t.again {
		return got, err
	}
	// The CA lost the account, or the directory moved to another server: look for it by
	// its key, and make it anew if it is gone (RFC 8555 §7.3.1).
	t.again = true
	if err := t.reregister(ctx); err != nil {
		return nil, err
	}
	return t.issue(ctx)
}

// reregister finds the account again by its key, or makes it with the same key.
func (t *turn) reregister(ctx context.Context) error {
	unlock, err := t.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	key := t.client.Key
	if done, err := t.recover(ctx, key, nil); done || err != nil {
		return err
	}
	return t.register(ctx)
}

// prepare gets the directory, and sees whether this client has what it asks for. It does
// nothing when an earlier try of the turn has done it.
func (t *turn) prepare(ctx context.Context) error {
	if t.client != nil {
		return nil
	}
	found, err := t.run.directory(ctx, t.offer)
	if err != nil {
		return err
	}
	t.found = found
	if t.profile, err = t.pick(); err != nil {
		return err
	}
	client, err := using(t.run.engine.config.HTTP(t.conf), found)
	if err != nil {
		return &localError{err}
	}
	t.client = &acme.Client{Directory: found.URL, HTTP: client, UserAgent: userAgent}
	return nil
}

// pick chooses the profile to order (D7): the sheet's own; else the one that is configured
// for the kind; else the directory's of that name, with or without "ca-".
func (t *turn) pick() (string, error) {
	name, err := t.profileFor(t.run.sheet.Profile, t.offer.Kind)
	if err != nil {
		return "", &inabilityError{class: ClassUnable, reason: fmt.Sprintf("%s: %v", t.name(), err),
			advice: "set the profile for this kind under that CA in the configuration, or take the kind out of validationmethods"}
	}
	return name, nil
}

func (t *turn) profileFor(own string, k caa.Kind) (string, error) {
	var offered map[string]string
	if m := t.found.Directory.Meta; m != nil {
		offered = m.Profiles
	}
	if t.conf != nil && t.conf.Profiles[k] != "" && (k != caa.AnyKind || own == "") {
		return t.conf.Profiles[k], nil
	}
	if k != caa.AnyKind {
		for _, name := range []string{string(k), strings.TrimPrefix(string(k), "ca-")} {
			if _, ok := offered[name]; ok {
				return name, nil
			}
		}
	}
	switch {
	case own != "":
		if _, ok := offered[own]; !ok && len(offered) > 0 {
			return "", fmt.Errorf("it offers no profile %q", own)
		}
		return own, nil
	case k.Binding():
		return "", fmt.Errorf("no profile is known for certificates of kind %s", k)
	}
	return "", nil
}

// clean is an error's text on one line, fit for a terminal and in bounds: much of it is a
// stranger's.
func clean(err error) string {
	const most = 2000
	text := err.Error()
	text = plain.Folded(text[:min(len(text), 2*most)])
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + " …"
	}
	return text
}

func problemType(err error) string {
	if p, ok := errors.AsType[*acme.Problem](err); ok {
		return strings.TrimPrefix(clean(errors.New(p.Type)), "urn:ietf:params:acme:error:")
	}
	return ""
}

// stableID names an incident, the same on every run.
func stableID(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return parts[0] + "-" + hex.EncodeToString(sum[:8])
}
