package enroll

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"chancery/internal/enroll/vault"
)

// notify hands a message over. Whoever cannot be told by message reads it in the events.
func (r *run) notify(ctx context.Context, n Notice) {
	if err := r.put(ctx, n); err != nil {
		r.warn(fmt.Sprintf("the message %q could not be handed over: %s", n.Subject, clean(err)))
	}
}

func (r *run) put(ctx context.Context, n Notice) error {
	n.Time = r.engine.config.Now()
	r.tell(Event{Kind: EventNotice, Name: n.ID, Message: n.Subject})
	if r.engine.config.Notifier == nil {
		return nil
	}
	return r.engine.config.Notifier.Put(context.WithoutCancel(ctx), n)
}

// blame counts a failure of a CA, over runs and names, and tells of it when there were
// several in a row: one message per incident (D16). A run counts once.
func (r *run) blame(ctx context.Context, a Attempt) error {
	if a.Class == ClassAction {
		if err := r.visit(ctx, a); err != nil {
			return err
		}
	}
	if !a.Class.against() || r.charged[a.Directory] || a.Tries == 0 {
		return nil
	}
	r.charged[a.Directory] = true
	now := r.engine.config.Now()
	begin := func(c *vault.CA) {
		if c.Incident == nil {
			c.Incident = &vault.Incident{ID: stableID("incident", a.Directory, now.Format(time.RFC3339Nano)), Since: now}
		}
	}
	if r.engine.config.Settings.TellAfter < 2 { // its ID is durable before it is told
		if err := r.update(ctx, a.Directory, begin); err != nil {
			return err
		}
	}
	return r.update(ctx, a.Directory, func(c *vault.CA) {
		begin(c)
		i := c.Incident
		i.Count++
		i.Cause = a.Error
		if i.Told || i.Count < r.engine.config.Settings.TellAfter {
			return
		}
		r.tell(Event{Kind: EventIncident, Issuer: a.Issuer, Default: a.Default, Directory: a.Directory, Class: a.Class, Error: a.Error, Name: i.ID, Try: i.Count,
			Message: fmt.Sprintf("%s failed %d times in a row", a.Name(), i.Count)})
		// The message is durable before the incident says that it was told; its ID keeps a
		// crash between the two from making it two.
		err := r.put(ctx, Notice{ID: i.ID, Severity: Warning, Subject: fmt.Sprintf("%s failed %d times in a row", a.Name(), i.Count),
			Text: fmt.Sprintf("Since %s no certificate could be had from %s.\nThe last time, for %s: %s\n%s\nYou will hear when it serves again, and not before.",
				i.Since.Format(time.RFC3339), a.Name(), strings.Join(names(r.subjects), ", "), a.Error, a.Advice),
			Data: map[string]any{"kind": "ca-failing", "issuer": a.Issuer, "default": a.Default, "directory": a.Directory, "certificate": r.sheet.Name,
				"names": names(r.subjects), "class": a.Class, "error": a.Error, "count": i.Count, "since": i.Since}})
		i.Told = err == nil
	})
}

// visit tells that a CA wants a page visited, once for as long as it wants that one.
func (r *run) visit(ctx context.Context, a Attempt) error {
	var since time.Time
	if err := r.updateNotes(ctx, a.Directory, func(n *notes) { since = n.visit(a.Error, r.engine.config.Now()) }); err != nil || since.IsZero() {
		return err
	}
	r.notify(ctx, Notice{ID: stableID("action", a.Directory, a.Error, occurrence(since)), Severity: Warning, Subject: a.Name() + " wants you to visit a page",
		Text: a.Error + "\n" + a.Advice, Data: map[string]any{"kind": "action-required", "issuer": a.Issuer, "directory": a.Directory, "error": a.Error}})
	return nil
}

// well ends a CA's incident: it issued (D16).
func (r *run) well(ctx context.Context, at string) error {
	return r.update(ctx, at, func(c *vault.CA) {
		if n := readNotes(*c); len(n.Visits) > 0 { // wanted again, it is news
			n.Visits = nil
			n.keep(c)
		}
		i := c.Incident
		if i == nil {
			return
		}
		c.Incident = nil
		if !i.Told {
			return
		}
		name := strings.Join(c.Issuers, ", ")
		if name == "" {
			name = at
		}
		r.tell(Event{Kind: EventRecovered, Directory: at, Name: i.ID, Message: name + " serves again"})
		r.notify(ctx, Notice{ID: i.ID + "-recovered", Severity: Info, Subject: name + " serves again",
			Text: fmt.Sprintf("It failed %d times since %s, and has issued a certificate for %s now.", i.Count, i.Since.Format(time.RFC3339), strings.Join(names(r.subjects), ", ")),
			Data: map[string]any{"kind": "ca-recovered", "directory": at, "issuers": c.Issuers, "since": i.Since, "count": i.Count}})
	})
}

// story tells what happened at each CA.
func (r *run) story() string {
	var b strings.Builder
	for _, a := range r.attempts {
		if a.Error != "" {
			fmt.Fprintf(&b, "%s: %s\n", a.Name(), brief(a.Error))
		}
	}
	return b.String()
}

// failed is the outcome of a run without a certificate.
func (r *run) failed(err error) Outcome {
	out := Outcome{Result: Failed, Certificate: r.sheet.Name, Issued: r.record.Current, Attempts: r.attempts}
	if left, first := r.left(); !first && left > 0 && r.record.Revoked.IsZero() {
		out.Result = StillValid
	}
	for _, a := range r.attempts {
		if !a.RetryAfter.IsZero() && (out.NotBefore.IsZero() || a.RetryAfter.Before(out.NotBefore)) {
			out.NotBefore = a.RetryAfter
		}
	}
	if v := classify(err, false); v.class != ClassLimited && len(r.attempts) > 0 && !allLimited(r.attempts) {
		out.NotBefore = time.Time{} // some CA may be asked at once
	}
	return out
}

func allLimited(attempts []Attempt) bool {
	for _, a := range attempts {
		if a.RetryAfter.IsZero() && a.Class != ClassSkipped {
			return false
		}
	}
	return true
}

// regret ends a run without a certificate: it is noted, the hooks run, and if nobody
// watches a person is told, once for each stage of the present certificate's life (D16).
func (r *run) regret(ctx context.Context, out *Outcome, err error) {
	stopped := ctx.Err() != nil // called off is nobody's failure: the next run takes it up
	ctx = context.WithoutCancel(ctx)
	r.tell(Event{Kind: EventFailed, Result: out.Result, Error: clean(err), Attempts: r.attempts, Until: out.NotBefore, Message: "no certificate: " + firstLine(err)})
	tries, noted := r.record.Tries, false
	switch {
	case r.unread:
	case r.isNew && r.sheet.Origin == "" && len(r.orders()) == 0:
		// A name that never had a certificate, and was asked for by hand, leaves nothing.
		if _, e := r.engine.config.Vault.Record(r.sheet.Name); e == nil {
			if e := r.engine.config.Vault.Remove(ctx, r.sheet.Name); e != nil {
				r.warn(clean(e))
			}
		}
	case !stopped:
		tries, noted = r.count(ctx, err, out.NotBefore)
	}
	if r.options.Unattended && !stopped {
		r.bury(ctx, err, tries, noted)
	}
	r.ended(ctx, clean(err))
}

// count writes a failure down.
func (r *run) count(ctx context.Context, err error, until time.Time) (tries vault.Tries, noted bool) {
	now := r.engine.config.Now()
	e := r.updateRecord(ctx, func(rec *vault.Record) {
		t := &rec.Tries
		t.Failures++
		t.Last, t.Cause, t.Next = now, clean(err), until
		if t.Since.IsZero() {
			t.Since = now.UTC().Truncate(time.Second)
		}
		tries = *t
	})
	if e != nil {
		r.warn(clean(e))
		return r.record.Tries, false
	}
	return tries, true
}

// bury tells people of the end without a certificate, once for each stage. The message is
// durable before the record says that they were told; its ID keeps a crash between the
// two from making it two.
func (r *run) bury(ctx context.Context, err error, tries vault.Tries, noted bool) {
	now := r.engine.config.Now()
	if r.unread {
		r.notify(ctx, damagedNotice(err, now))
		return
	}
	stage := r.stage(now)
	if tries.Told == stage {
		return
	}
	if e := r.put(ctx, r.obituary(stage, tries.Since, err)); e != nil {
		r.warn("the message that there is no certificate could not be handed over, and is tried again after the next failure: " + clean(e))
		return
	}
	if noted {
		if e := r.updateRecord(ctx, func(rec *vault.Record) { rec.Tries.Told = stage }); e != nil {
			r.warn(clean(e))
		}
	}
}

// occurrence is a time as part of a message's ID; zero is none.
func occurrence(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// stage is where in its life the present certificate is.
func (r *run) stage(now time.Time) string {
	c := r.record.Current
	switch {
	case c == nil:
		return "none"
	case !now.Before(c.NotAfter):
		return "expired"
	case r.engine.config.Settings.near(c, now):
		return "near"
	}
	return "good"
}

// title is what people call the certificate.
func (r *run) title() string {
	switch {
	case len(r.subjects) > 0:
		return r.subjects[0].Name
	case len(r.sheet.Names) > 0:
		return clean(errors.New(r.sheet.Names[0]))
	}
	return r.sheet.Name
}

// obituary is the message at the end of an unattended run without a certificate. since is
// the first failure of the row: another row of the same certificate is another message.
func (r *run) obituary(stage string, since time.Time, err error) Notice {
	serial, state, severity := "", "There is no certificate yet.", Error
	if c := r.record.Current; c != nil {
		serial = c.Serial
		switch stage {
		case "expired":
			state = "The present certificate ended on " + c.NotAfter.Format(time.RFC3339) + "."
		default:
			state, severity = "The present certificate is good until "+c.NotAfter.Format(time.RFC3339)+".", Warning
			if stage == "near" {
				severity = Error
			}
		}
	}
	return Notice{ID: stableID("no-certificate", r.sheet.Name, serial, stage, occurrence(since)), Severity: severity,
		Subject: "No new certificate for " + r.title(), Text: state + "\n" + err.Error(),
		Data: map[string]any{"kind": "no-certificate", "certificate": r.sheet.Name, "names": names(r.subjects), "stage": stage, "error": clean(err), "attempts": r.attempts}}
}
