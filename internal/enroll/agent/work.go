package agent

import (
	"context"
	"errors"
	"strings"
	"time"

	"chancery/internal/enroll"
	"chancery/internal/enroll/vault"
)

// job is what a worker is to do.
type job struct {
	name   string
	do     act
	wanted *vault.Sheet
	asks   int
}

// work reads the record again, since others may have done what was due, and does it if it
// still is.
func (a *Agent) work(ctx context.Context, j job, parts Parts, rules rules) finish {
	f := finish{asks: j.asks}
	rec, err := a.config.Store.Record(j.name)
	switch {
	case errors.Is(err, vault.ErrNone) && j.wanted != nil:
		rec = vault.Record{Sheet: *j.wanted}
	case err != nil:
		return f // the loop finds the same, and says so
	}
	s := rules.next(rec, j.wanted, a.config.Now())
	if s.do != j.do || s.at.After(a.config.Now()) {
		return f
	}
	if j.do == ask {
		f.asks = a.question(ctx, rec, parts, j.asks)
		return f
	}
	f.out, f.err = a.run(ctx, rec, j, env{parts, rules})
	return f
}

// env is what a worker began with; a reload does not change it.
type env struct {
	parts Parts
	rules rules
}

// run has the engine get or finish a certificate.
func (a *Agent) run(ctx context.Context, rec vault.Record, j job, e env) (enroll.Outcome, error) {
	sheet := rec.Sheet
	err := a.prepare(ctx, &rec, j, e)
	if j.wanted != nil {
		sheet = *j.wanted
	}
	if err != nil {
		a.warn(j.name, "its record cannot be changed, so nothing is done: %v", err)
		return enroll.Outcome{}, err
	}
	begun, before := a.config.Now(), rec
	s := e.parts.Settings
	out, err := e.parts.Runner.Get(ctx, sheet, enroll.Options{Unattended: true, AllowCAChange: s.AllowCAChange, PinCA: s.PinCA})
	if busy, ok := errors.AsType[*vault.BusyError](err); ok {
		a.warn(j.name, "%v", busy)
		return enroll.Outcome{}, nil // the loop reads what came of it
	}
	if err != nil {
		a.failed(ctx, before, failure{sheet, out, err, begun})
	}
	if err == nil || ctx.Err() == nil {
		a.config.Finished(out, err)
	}
	return out, err
}

// prepare brings the configuration's word into the record, and has the engine see the
// certificate as due if it is.
func (a *Agent) prepare(ctx context.Context, rec *vault.Record, j job, e env) error {
	now := a.config.Now()
	if rec.Current == nil || rec.Sheet.Name == "" {
		return nil // the engine writes the first record
	}
	probe := *rec
	if probe.Window != nil {
		w := *probe.Window
		probe.Window = &w
	}
	if !adoptSheet(&probe, j.wanted, now) && !e.rules.hold(&probe, now) {
		return nil
	}
	return a.config.Store.UpdateRecord(context.WithoutCancel(ctx), j.name, func(r *vault.Record) error {
		adoptSheet(r, j.wanted, now)
		e.rules.hold(r, now)
		*rec = *r
		return nil
	})
}

// adoptSheet puts what the configuration says now into the record. Other names wait for
// their certificate: until then the record says what there is. A new place to install to
// is a deployment that is due.
func adoptSheet(rec *vault.Record, wanted *vault.Sheet, now time.Time) bool {
	if wanted == nil || sameSheet(rec.Sheet, *wanted) {
		return false
	}
	// What failed was asked for otherwise. That people know of it stays.
	rec.Tries = vault.Tries{Since: rec.Tries.Since, Told: rec.Tries.Told}
	if !sameNames(rec.Sheet.Names, wanted.Names) {
		return true
	}
	if rec.Sheet.Install != wanted.Install && rec.Current != nil && !wanted.Install.Empty() {
		rec.Undeployed = &vault.Undeployed{Generation: rec.Current.Generation, Since: now.UTC().Truncate(time.Second)}
	}
	rec.Sheet = *wanted
	return true
}

// failure is how a run failed.
type failure struct {
	sheet vault.Sheet
	out   enroll.Outcome
	err   error
	begun time.Time
}

// brief is an error's text for a record: it may list what many CAs said.
func brief(err error) string {
	const most = 2000
	text := err.Error()
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + " …"
	}
	return text
}

// failed writes down when the certificate is tried again. The engine counted the failure,
// unless it could not; what people were told is the engine's to note.
func (a *Agent) failed(ctx context.Context, before vault.Record, f failure) {
	stopped, now := ctx.Err() != nil, a.config.Now()
	err := a.config.Store.UpdateRecord(context.WithoutCancel(ctx), f.sheet.Name, func(r *vault.Record) error {
		if stopped { // it was called off, which is nobody's failure
			r.Tries = before.Tries
			return nil
		}
		if r.Sheet.Name == "" {
			r.Sheet = f.sheet
		}
		if r.Tries.Failures == before.Tries.Failures {
			r.Tries.Failures++
			r.Tries.Cause = brief(f.err)
		}
		r.Tries.Last = now
		r.Tries.Next = later(f.out.NotBefore, now.Add(pause(*r, now, a.draw())))
		return nil
	})
	if err != nil && !stopped {
		a.warn(f.sheet.Name, "the failure could not be written down: %v", err)
	}
}
