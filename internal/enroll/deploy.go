package enroll

import (
	"context"
	"fmt"
	"strings"
	"time"

	"chancery/internal/enroll/install"
	"chancery/internal/enroll/vault"
)

// deploy puts the current certificate in its place and runs the deploy hooks. It gives
// why the certificate is not in use, "" if it is, and the files that are in place. What
// fails stays noted in the vault, so that the next run, or the agent, does it again.
func (r *run) deploy(ctx context.Context) (unused string, installed []string) {
	ctx = context.WithoutCancel(ctx)
	before, err := r.deployment(ctx)
	if err == nil {
		r.inUse(ctx, before)
		return "", r.sheet.Install.Paths()
	}
	unused = clean(err)
	r.warn("the certificate is there, and not yet in use: " + unused)
	now := r.engine.config.Now()
	var after vault.Undeployed
	err = r.updateRecord(ctx, func(rec *vault.Record) {
		if u := rec.Undeployed; u != nil {
			u.Failures++
			u.Cause = unused
			u.Next = now.Add(min(time.Minute<<min(u.Failures, 10), time.Hour))
			after = *u
		}
	})
	if err != nil {
		r.warn(clean(err))
	}
	r.unused(ctx, after)
	if after.Installed {
		installed = r.sheet.Install.Paths()
	}
	return unused, installed
}

// deployment does what is still to be done, and gives what was noted of it before.
func (r *run) deployment(ctx context.Context) (before *vault.Undeployed, err error) {
	v := r.engine.config.Vault
	rec, err := v.Record(r.sheet.Name)
	if err != nil || rec.Undeployed == nil {
		return nil, err
	}
	before = rec.Undeployed
	if !before.Installed && !r.sheet.Install.Empty() {
		b, err := v.CurrentBundle(r.sheet.Name)
		if err != nil {
			return before, err
		}
		if err := r.sheet.Install.Install(ctx, b); err != nil {
			return before, err
		}
		for _, path := range r.sheet.Install.Paths() {
			r.tell(Event{Kind: EventInstalled, Path: path, Serial: rec.Current.Serial, NotAfter: rec.Current.NotAfter, Message: "installed " + path})
		}
	}
	if err := r.updateRecord(ctx, func(rec *vault.Record) {
		if rec.Undeployed != nil {
			rec.Undeployed.Installed = true
		}
	}); err != nil {
		return before, err
	}
	if err := r.hooks(ctx, install.Deploy, install.Facts{}); err != nil {
		return before, err
	}
	return before, r.updateRecord(ctx, func(rec *vault.Record) { rec.Undeployed = nil })
}

// unused tells people, if nobody watches, that a certificate does not come into use, once
// it failed as often as the settings say (D16). The message is durable before the record
// says that they were told; its ID keeps a crash between the two from making it two.
func (r *run) unused(ctx context.Context, u vault.Undeployed) {
	c := r.record.Current
	if !r.options.Unattended || u.Told || c == nil || u.Failures < r.engine.config.Settings.TellAfter {
		return
	}
	err := r.put(ctx, Notice{ID: "undeployed-" + c.SHA256, Severity: Error, Subject: "The new certificate of " + r.title() + " does not come into use",
		Text: fmt.Sprintf("It was obtained, and %d times it could not be put in its place, or its command failed:\n%s\nThis is tried again; you will hear when it works.",
			u.Failures, u.Cause), Data: r.deploymentData(u.Failures)})
	if err != nil {
		r.warn("the message that the certificate is not in use could not be handed over, and is tried again after the next failure: " + clean(err))
		return
	}
	if err := r.updateRecord(ctx, func(rec *vault.Record) {
		if rec.Undeployed != nil && rec.Undeployed.Generation == u.Generation {
			rec.Undeployed.Told = true
		}
	}); err != nil {
		r.warn(clean(err))
	}
}

// inUse tells that what people heard to be failing works.
func (r *run) inUse(ctx context.Context, before *vault.Undeployed) {
	if before == nil || !before.Told || r.record.Current == nil {
		return
	}
	r.notify(ctx, Notice{ID: "undeployed-" + r.record.Current.SHA256 + "-recovered", Severity: Info,
		Subject: "The new certificate of " + r.title() + " is in use", Text: "What failed before has worked now.", Data: r.deploymentData(0)})
}

func (r *run) deploymentData(failures int) map[string]any {
	list := names(r.subjects)
	return map[string]any{"kind": "undeployed", "certificate": r.sheet.Name, "names": list, "failures": failures}
}

// UndeployedError says for a command that a certificate is there and not in use.
type UndeployedError struct {
	Certificate string
	Path        string // the directory with its files
	Cause       string
}

// Error says where the certificate is, and what happens next.
func (e *UndeployedError) Error() string {
	return fmt.Sprintf("the certificate %s is there, in %s, and not in use: %s\nput that right; \"chancery renew\" and the agent try again, and get no other certificate for it",
		e.Certificate, e.Path, strings.TrimSpace(e.Cause))
}
