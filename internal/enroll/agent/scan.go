package agent

import (
	"context"
	"fmt"
	"time"

	"chancery/internal/enroll"
	"chancery/internal/enroll/vault"
)

// ofConfiguration is the origin of sheets that were written for the configuration.
const ofConfiguration = "configuration"

// scan reads all records and times them anew: at the start, now and then, since others
// work at the same vault, and after a reload or a jump of the clock.
func (a *Agent) scan(ctx context.Context) error {
	wanted, disabled := wantedOf(a.config.Parts)
	seen := make(map[string]bool, len(a.entries)+len(wanted))
	first := a.scanned.IsZero()
	for rec, err := range a.config.Store.Records() {
		name := rec.Sheet.Name
		if err != nil && name == "" {
			return err
		}
		if err := ctx.Err(); err != nil {
			return nil
		}
		e := a.entries[name]
		if left := leftAlone(rec, wanted[name], disabled[name]); left != "" && err == nil {
			if e != nil || first {
				a.tell(enroll.Event{Kind: EventLeft, Certificate: name, Message: left})
			}
			continue // forgotten below, if it was kept
		}
		seen[name] = true
		if e == nil {
			e = &entry{name: name}
			a.entries[name] = e
		}
		if w := wanted[name]; w != nil && e.wanted == nil && err == nil && rec.Sheet.Origin != ofConfiguration {
			a.tell(enroll.Event{Kind: EventTaken, Certificate: name, Message: "it was asked for by hand; from now on it is as the configuration says"})
		}
		e.wanted = wanted[name]
		a.set(e, rec, err)
	}
	for name, w := range wanted {
		if !seen[name] && !disabled[name] {
			seen[name] = true
			a.add(name, w)
		}
	}
	for name, e := range a.entries {
		if !seen[name] {
			a.forget(e)
		}
	}
	a.scanned = time.Now()
	a.listed = a.scanned
	return nil
}

// leftAlone says why a certificate is not kept, in a sentence; "" = it is.
func leftAlone(rec vault.Record, wanted *vault.Sheet, disabled bool) string {
	switch {
	case disabled:
		return "the configuration says to leave it alone: it stays, and is not renewed"
	case rec.Disabled:
		return "it is marked to be left alone: it stays, and is not renewed"
	case wanted == nil && rec.Sheet.Origin == ofConfiguration:
		return "the configuration does not list it any more: it stays, and is not renewed"
	}
	return ""
}

// add begins to keep a certificate that has no record yet, as far as is known.
func (a *Agent) add(name string, wanted *vault.Sheet) {
	e := a.entries[name]
	if e == nil {
		e = &entry{name: name}
		a.entries[name] = e
	}
	e.wanted = wanted
	if e.place != underway {
		a.look(e)
	}
}

// list finds certificates that others added to the vault, or removed. It is cheaper than a
// scan.
func (a *Agent) list(context.Context) {
	a.listed = time.Now()
	names, err := a.config.Store.Names()
	if err != nil {
		return // the next scan will tell
	}
	wanted, disabled := wantedOf(a.config.Parts)
	for _, name := range names {
		if a.entries[name] != nil {
			continue
		}
		rec, err := a.config.Store.Record(name)
		if err == nil && leftAlone(rec, wanted[name], disabled[name]) == "" {
			a.add(name, wanted[name])
		}
	}
	there := make(map[string]bool, len(names))
	for _, name := range names {
		there[name] = true
	}
	for name, e := range a.entries {
		if !there[name] && e.wanted == nil {
			a.forget(e)
		}
	}
}

// forget stops keeping a certificate. A worker that has it brings its work to an end.
func (a *Agent) forget(e *entry) {
	if e.place == underway {
		e.wanted = nil
		return // what is read then decides
	}
	a.unplace(e)
	delete(a.entries, e.name)
}

// kept counts the certificates.
func (a *Agent) kept() int { return len(a.entries) }

// describe names a moment for people.
func describe(t time.Time) string { return fmt.Sprint(t.UTC().Format(time.RFC3339)) }
