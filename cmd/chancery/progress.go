package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"chancery/internal/enroll"
	"chancery/internal/enroll/guard"
)

// progress shows the events of a run as they happen: lines for people, or one JSON
// object a line (docs/events.md). The engine calls it for one event at a time.
type progress struct {
	out  io.Writer
	json bool
	last string // the certificate whose lines are being written
	// Many certificates at once: each line says which one it is about.
	many bool
}

// labels are the words in front of the lines. An event without one is for machines.
var labels = map[enroll.EventKind]string{
	enroll.EventNotDue: "not due", enroll.EventCAA: "CAA", enroll.EventForgiven: "warning", enroll.EventExisting: "in place",
	enroll.EventPlan: "plan", enroll.EventResumed: "resumed", enroll.EventSetBack: "down", enroll.EventTrying: "asking",
	enroll.EventDirectory: "directory", enroll.EventTerms: "terms", enroll.EventAccount: "account", enroll.EventOrder: "order",
	enroll.EventChallenge: "challenge", enroll.EventRetry: "again", enroll.EventPassed: "passed", enroll.EventIssued: "issued",
	enroll.EventInstalled: "installed", enroll.EventHook: "hook", enroll.EventCAChanged: "changed", enroll.EventIncident: "incident",
	enroll.EventRecovered: "recovered", enroll.EventNotice: "told", enroll.EventWarning: "warning",
}

// observe is the engine's Observer.
func (p *progress) observe(ev enroll.Event) {
	if p.json {
		p.line(ev)
		return
	}
	label, shown := labels[ev.Kind]
	if !shown {
		return
	}
	if p.many {
		fmt.Fprintf(p.out, "%s: %s: %s\n", guard.Shown(ev.Certificate), label, guard.Shown(ev.Message))
		return
	}
	if ev.Certificate != p.last {
		fmt.Fprintf(p.out, "%s\n", guard.Shown(ev.Certificate))
		p.last = ev.Certificate
	}
	fmt.Fprintf(p.out, "  %-10s %s\n", label, guard.Shown(ev.Message))
	// What was passed is summed up at the end of a failure; what this client lacked is
	// worth having even if another CA served.
	if ev.Advice != "" && (ev.Kind != enroll.EventPassed || ev.Class == enroll.ClassUnable) {
		fmt.Fprintf(p.out, "  %-10s %s\n", "", guard.Shown(ev.Advice))
	}
}

// line writes one object of the stream.
func (p *progress) line(value any) {
	e := json.NewEncoder(p.out)
	e.SetEscapeHTML(false)
	_ = e.Encode(value) // a reader that left does not end the run
}

// finished is the last line of a certificate's stream.
type finished struct {
	Kind string `json:"event"` // "finished"
	enroll.Outcome
	Error   string    `json:"error,omitempty"`
	Time    time.Time `json:"time"`
	Message string    `json:"message"`
}

// endings are the results as sentences.
var endings = map[enroll.Result]string{
	enroll.Issued: "a certificate was issued, and is in use", enroll.NotDue: "nothing was due",
	enroll.Undeployed: "there is a certificate, and it is not yet in use",
	enroll.StillValid: "no certificate came; the present one is still good", enroll.Failed: "no certificate came, and there is none that is good",
}

// finish tells what a run came to.
func (p *progress) finish(o enroll.Outcome, err error) {
	if p.json {
		f := finished{Time: time.Now(), Kind: "finished", Message: endings[o.Result], Outcome: o}
		if err := errors.Join(err, o.Err()); err != nil {
			f.Error = err.Error()
		}
		p.line(f)
		return
	}
	for _, w := range o.Warnings {
		fmt.Fprintf(p.out, "  %-10s %s\n", "warning", guard.Shown(w))
	}
	if o.Issued != nil && err == nil && o.Result == enroll.Issued { // what is not in use is an error that says so
		p.ready(o)
	}
}

// ready names what can be used now, whose it is and on which terms (D12, D17).
func (p *progress) ready(o enroll.Outcome) {
	from := o.Issued.Issuer
	if from == "" {
		from = o.Issued.Default
	}
	kind := ""
	if o.Issued.Kind != "" {
		kind = ", " + string(o.Issued.Kind)
	}
	fmt.Fprintf(p.out, "\nReady: a certificate from %s%s, valid until %s\n", guard.Shown(from), kind, moment(o.Issued.NotAfter))
	fmt.Fprintf(p.out, "  %-12s %s\n", "files in", o.Path)
	for _, path := range o.Installed {
		fmt.Fprintf(p.out, "  %-12s %s\n", "installed", path)
	}
	if o.Terms != "" {
		fmt.Fprintf(p.out, "  %-12s %s\n", "terms", guard.Shown(o.Terms))
	}
	if o.Previous != nil && !strings.EqualFold(o.Previous.Issuer, o.Issued.Issuer) {
		fmt.Fprintf(p.out, "  %-12s %s\n", "before", guard.Shown(o.Previous.Issuer))
	}
}
