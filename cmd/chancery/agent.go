package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"chancery/internal/client"
	"chancery/internal/enroll"
	"chancery/internal/enroll/agent"
	"chancery/internal/enroll/guard"

	"github.com/spf13/cobra"
)

const agentLong = `Keeps all certificates that "chancery get" obtained, and those that client.toml lists in
[[certificate]] entries: obtains what is missing, renews in time (when the CA suggests,
RFC 9773, else when a third of the life is left), tries again what failed, repeats the
commands that put a certificate to use until they succeed, and tells people what they
must know.

It runs until it is told to end. SIGHUP reads client.toml again. "chancery agent install"
makes a systemd service of it; docs/agent.md says how it decides.

  chancery agent                run it here
  chancery agent --once         one pass over what is due, for cron
  chancery agent status         how the certificates do
  chancery agent install        make it a service

With --json each event is one line of JSON.
Exit status: 0 told to end, or with --once something was issued and nothing fails; 1 with
--once: nothing was due; 2 with --once: something fails, but every present certificate is
still good; 3 with --once: a certificate is missing or has expired; or it could not start.`

func (p *program) agent() *cobra.Command {
	var once bool
	cmd := &cobra.Command{
		Use: "agent [--once]", Short: "keep certificates: obtain, renew and install them in time", Long: agentLong,
		Annotations: map[string]string{endsAsRun: "yes"}, Args: between(0, 0, "agent takes flags, or one of status and install"),
		RunE: func(cmd *cobra.Command, _ []string) error { return p.runAgent(cmd.Context(), once) },
	}
	cmd.Flags().BoolVar(&once, "once", false, "do what is due now, and end")
	cmd.AddCommand(p.agentStatus(), p.agentInstall())
	return cmd
}

// journalist writes what an agent and its engines tell, one line at a time.
type journalist struct {
	mu       sync.Mutex
	progress *progress
	service  *agent.Service
	stamp    bool // nobody else notes the time
}

// agentLabels are the words for the agent's own events.
var agentLabels = map[enroll.EventKind]string{
	agent.EventReady: "ready", agent.EventStopping: "stopping", agent.EventReloaded: "reloaded", agent.EventWindow: "window",
	agent.EventClock: "clock", agent.EventLeft: "left alone", agent.EventTaken: "taken over", enroll.EventFailed: "failed",
}

// observe is an Observer.
func (j *journalist) observe(ev enroll.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if ev.Kind == agent.EventReady || ev.Kind == agent.EventReloaded {
		j.service.Ready(ev.Message)
	}
	label, own := agentLabels[ev.Kind]
	switch {
	case j.progress.json || !own:
		j.when(ev)
		j.progress.observe(ev)
	default:
		j.when(ev)
		about := ""
		if ev.Certificate != "" {
			about = guard.Shown(ev.Certificate) + ": "
		}
		fmt.Fprintf(j.progress.out, "%s%s: %s\n", about, label, guard.Shown(ev.Message))
	}
}

// when begins a line with the time, unless the journal does.
func (j *journalist) when(ev enroll.Event) {
	_, shown := labels[ev.Kind]
	_, own := agentLabels[ev.Kind]
	if j.stamp && !j.progress.json && (shown || own) {
		fmt.Fprintf(j.progress.out, "%s ", ev.Time.UTC().Format(time.RFC3339))
	}
}

// finished ends a run's part of the stream.
func (j *journalist) finished(o enroll.Outcome, err error) {
	if j.progress.json {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.progress.finish(o, err)
	}
}

// openAgentClient makes a client by the settings alone: an agent has no flags of its own
// that a restart would lose.
func (p *program) openAgentClient(ctx context.Context, observe func(enroll.Event)) (*client.Client, agent.Parts, error) {
	s, err := p.clientSettings()
	if err != nil {
		return nil, agent.Parts{}, err
	}
	c, err := client.Open(ctx, client.Options{Settings: s, Observer: observe, Forgave: func(name string, err error) {
		p.warn("the CAA of %s could not be looked up (%v); going on as if there were none, as the settings say", name, err)
	}})
	if err != nil {
		return nil, agent.Parts{}, err
	}
	parts, err := c.Parts()
	if err != nil {
		c.Drop()
		return nil, agent.Parts{}, err
	}
	return c, parts, nil
}

func (p *program) runAgent(ctx context.Context, once bool) error {
	ctx, stop := untilSignal(ctx)
	defer stop()
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	service, err := agent.OpenService(os.Getenv, os.Getpid())
	if err != nil {
		return &enrolError{enroll.Failed, fmt.Errorf("the service manager cannot be told: %w", err)}
	}
	defer service.Close()
	j := &journalist{progress: &progress{out: p.out, json: p.json, many: true}, service: service, stamp: os.Getenv("JOURNAL_STREAM") == ""}
	c, parts, err := p.openAgentClient(ctx, j.observe)
	if err != nil {
		return &enrolError{enroll.Failed, err}
	}
	unlock, err := agent.Lock(c.Vault.Dir())
	if err != nil {
		return &enrolError{enroll.Failed, err}
	}
	defer unlock()
	p.sweep(ctx, c)
	a, err := agent.New(agent.Config{Store: c.Vault, Parts: parts, Observer: j.observe, Finished: j.finished, Alive: service.Alive, Tick: service.Tick()})
	if err != nil {
		return &enrolError{enroll.Failed, err}
	}
	if once {
		return p.agentOnce(ctx, a, c, parts)
	}
	k := &keeper{program: p, agent: a, client: c, journalist: j}
	var reloads sync.WaitGroup
	reloads.Go(func() { k.reloads(ctx, hangup) })
	err = a.Run(ctx)
	stop()
	service.Stopping()
	reloads.Wait()
	p.closeClient(context.Background(), k.client)
	if err != nil {
		return &enrolError{enroll.Failed, err}
	}
	return nil
}

// keeper is a running agent and the client that it works with.
type keeper struct {
	*program
	agent      *agent.Agent
	client     *client.Client // owned by reloads until that returns
	journalist *journalist
}

// reloads reads the settings again at each signal; bad ones change nothing.
func (k *keeper) reloads(ctx context.Context, hangup <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
		}
		k.journalist.service.Reloading()
		if err := k.reload(ctx); err != nil && ctx.Err() == nil {
			k.journalist.service.Ready("the settings have mistakes; those read before stay")
			k.warn("the settings were not read again; those read before stay: %v", err)
		}
	}
}

func (k *keeper) reload(ctx context.Context) error {
	c, parts, err := k.openAgentClient(ctx, k.journalist.observe)
	if err != nil {
		return err
	}
	if was, is := k.client.Vault.Dir(), c.Vault.Dir(); was != is {
		c.Drop()
		return fmt.Errorf("data is now %s: end the agent and start it again to work there", is)
	}
	if err := k.agent.Reload(ctx, parts); err != nil {
		c.Drop()
		return err
	}
	old := k.client
	k.client = c
	k.closeClient(ctx, old)
	return nil
}

// agentOnce is one pass; its exit status is D17's, also for what failed in earlier passes
// and is not yet tried again.
func (p *program) agentOnce(ctx context.Context, a *agent.Agent, c *client.Client, parts agent.Parts) error {
	sum, err := a.Once(ctx)
	p.closeClient(ctx, c)
	if err != nil {
		return &enrolError{enroll.Failed, err}
	}
	all, err := agent.Standings(c.Vault, parts, time.Now())
	if err != nil {
		return &enrolError{enroll.Failed, err}
	}
	code := agent.ExitCode(all)
	switch {
	case code == 3 || sum.Worst == enroll.Failed:
		return &enrolError{enroll.Failed, errors.New("a certificate is missing or has expired: see \"chancery agent status\"")}
	case code == 2 || sum.Failed > 0:
		return &enrolError{enroll.StillValid, errors.New("something fails, while what there is is still good: see \"chancery agent status\"")}
	case sum.Issued == 0:
		return &enrolError{result: enroll.NotDue}
	}
	return nil
}
