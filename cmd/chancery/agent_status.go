package main

import (
	"errors"
	"fmt"
	"time"

	"chancery/internal/client"
	"chancery/internal/enroll"
	"chancery/internal/enroll/agent"
	"chancery/internal/enroll/guard"

	"github.com/spf13/cobra"
)

func (p *program) agentStatus() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "how the certificates do, and what is done with them next",
		Long: `Lists every certificate: its names, its CA and kind, until when it is good, when it is
looked at next, when its CA wants it renewed, what failed and why, and whether it is in
use; then the CAs that are set back because they are down, and the messages that wait.
It reads the data directory: the agent may run or not.

Exit status: 0 all is well; 2 something fails, but what there is is still good; 3 a
certificate is missing after failures or has expired, or a record cannot be read.`,
		Annotations: map[string]string{endsAsRun: "yes"}, Args: between(0, 0, "status takes flags only"),
		RunE: func(cmd *cobra.Command, _ []string) error { return p.showAgent(cmd) },
	}
}

// agentReport is all that status tells.
type agentReport struct {
	Running      bool             `json:"running"` // an agent is at work on the data directory
	Data         string           `json:"data"`
	Certificates []agent.Standing `json:"certificates"`
	SetBack      []caSetBack      `json:"setBack,omitempty"`
	Messages     []messageWaiting `json:"messages,omitempty"`
}

// caSetBack is a CA that is down.
type caSetBack struct {
	Directory string    `json:"directory"`
	Issuers   []string  `json:"issuers,omitempty"`
	Until     time.Time `json:"until,omitzero"`
	Failures  int       `json:"failures"`
	Cause     string    `json:"cause,omitempty"`
	Since     time.Time `json:"since,omitzero"` // of the incident
}

// messageWaiting is one that could not be delivered yet.
type messageWaiting struct {
	Time    time.Time `json:"time"`
	Subject string    `json:"subject"`
}

func (p *program) showAgent(cmd *cobra.Command) error {
	c, parts, err := p.openAgentClient(cmd.Context(), nil)
	if err != nil {
		return &enrolError{enroll.Failed, err}
	}
	now := time.Now()
	r, err := agentReportOf(c, parts, now)
	if err != nil {
		return &enrolError{enroll.Failed, err}
	}
	if p.json {
		(&progress{out: p.out}).line(r)
	} else {
		p.printAgent(r, now)
	}
	switch agent.ExitCode(r.Certificates) {
	case 0:
		return nil
	case 2:
		return &enrolError{result: enroll.StillValid}
	}
	return &enrolError{result: enroll.Failed}
}

func agentReportOf(c *client.Client, parts agent.Parts, now time.Time) (r agentReport, err error) {
	r.Data = c.Vault.Dir()
	unlock, err := agent.Lock(r.Data)
	if r.Running = errors.Is(err, agent.ErrRunning); err == nil {
		unlock()
	} else if !r.Running {
		return r, err
	}
	if r.Certificates, err = agent.Standings(c.Vault, parts, now); err != nil {
		return r, err
	}
	cas, err := c.Vault.CAs()
	if err != nil {
		return r, err
	}
	for _, ca := range cas {
		down := caSetBack{Directory: ca.Directory, Issuers: ca.Issuers, Failures: ca.Circuit.Failures, Cause: ca.Circuit.Cause}
		if ca.Circuit.OpenUntil.After(now) {
			down.Until = ca.Circuit.OpenUntil
		}
		if ca.Incident != nil {
			down.Since, down.Cause, down.Failures = ca.Incident.Since, ca.Incident.Cause, max(down.Failures, ca.Incident.Count)
		}
		if !down.Until.IsZero() || !down.Since.IsZero() {
			r.SetBack = append(r.SetBack, down)
		}
	}
	waiting, err := c.Outbox.Pending()
	for _, m := range waiting {
		r.Messages = append(r.Messages, messageWaiting{m.Time, m.Subject})
	}
	return r, err
}

func (p *program) printAgent(r agentReport, now time.Time) {
	if r.Running {
		fmt.Fprintf(p.out, "an agent keeps %s\n", r.Data)
	} else {
		fmt.Fprintf(p.out, "no agent keeps %s: start one with \"chancery agent\", or \"chancery agent install\"\n", r.Data)
	}
	if len(r.Certificates) == 0 {
		fmt.Fprintf(p.out, "there are no certificates yet: chancery get NAME, or [[certificate]] entries in client.toml\n")
	}
	for _, s := range r.Certificates {
		p.printStanding(s, now)
	}
	for _, ca := range r.SetBack {
		fmt.Fprintf(p.out, "\nCA %s\n", guard.Shown(ca.Directory))
		p.row("state", setBackText(ca))
		p.row("because", ca.Cause)
	}
	if len(r.Messages) > 0 {
		fmt.Fprintf(p.out, "\n%d messages wait to be delivered:\n", len(r.Messages))
		for _, m := range r.Messages {
			fmt.Fprintf(p.out, "  %s  %s\n", moment(m.Time), guard.Shown(m.Subject))
		}
	}
}

func setBackText(ca caSetBack) string {
	text := fmt.Sprintf("failed %d times", ca.Failures)
	if !ca.Since.IsZero() {
		text += " since " + moment(ca.Since)
	}
	if !ca.Until.IsZero() {
		text += "; others come first until " + moment(ca.Until)
	}
	return text
}

// row writes one line about a certificate; nothing for nothing.
func (p *program) row(label, text string) {
	if text != "" {
		fmt.Fprintf(p.out, "  %-12s %s\n", label, guard.Shown(text))
	}
}

// stateWords are what people read.
var stateWords = map[agent.State]string{
	agent.Good: "good", agent.LeftAlone: "left alone", agent.Wanted: "not obtained yet", agent.Unused: "not in use",
	agent.Failing: "its renewal fails", agent.Bad: "NOT GOOD", agent.Damaged: "DAMAGED",
}

func (p *program) printStanding(s agent.Standing, now time.Time) {
	fmt.Fprintf(p.out, "\n%s: %s\n", guard.Shown(s.Certificate), stateWords[s.State])
	p.row("because", s.Why)
	for i, name := range s.Names {
		p.row([]string{"names", ""}[min(i, 1)], name)
	}
	from := s.Issuer
	if from == "" {
		from = s.Default
	}
	if s.Kind != "" {
		from += ", " + string(s.Kind)
	}
	p.row("from", from)
	switch {
	case s.NotAfter.IsZero():
	case now.Before(s.NotAfter):
		p.row("valid until", moment(s.NotAfter))
	default:
		p.row("expired", moment(s.NotAfter))
	}
	if w := s.Window; w != nil {
		p.row("window", fmt.Sprintf("%s to %s, as its CA suggests", moment(w.Start), moment(w.End)))
		p.row("explained", w.Explanation)
	}
	p.row("renewal", moment(s.Renewal))
	if s.NextAct == "ask" {
		p.row("next look", moment(s.Next))
	}
	if s.Failures > 0 {
		p.row("failed", fmt.Sprintf("%d times, last %s", s.Failures, moment(s.FailedLast)))
	}
	p.row("cause", s.Cause)
	p.row("order", s.Pending)
	if s.Undeployed {
		p.row("in use", "not yet: its installation or command has not succeeded")
	}
}
