package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"chancery/internal/enroll/agent"
	"chancery/internal/enroll/device"

	"github.com/spf13/cobra"
)

const estAgentLong = `Keeps a device enrolled: renews its certificate when two thirds of its life are over, takes
up a request that waits for a decision, fetches the CA's certificates before they end and
follows a change of its root, puts new certificates in their places, and repeats the
commands of --deploy until they succeed. What fails is tried again, at first after a
minute, later every few hours; also when the certificate has ended, as servers may renew
it for a while.

It needs no flags but the directory: all else is as "chancery est enroll" was told. A
systemd service of it is Type=notify; docs/est-client.md has a unit.

Exit status: 0 told to end, or with --once nothing fails; 2 with --once: something fails,
but the certificate is good; 3 there is none, or it has ended or was revoked; 6 there is
none yet, as the request for it waits for a decision.`

func (p *program) estAgent() *cobra.Command {
	var f estFlags
	var once bool
	cmd := &cobra.Command{
		Use: "agent --dir DIR [--once]", Short: "keep a device enrolled: renew its certificate in time", Long: estAgentLong,
		Args: between(0, 0, "agent takes flags only"),
		RunE: interruptible(func(cmd *cobra.Command, _ []string) error {
			if f.dir == "" {
				return &usageError{cmd: cmd, text: "something is missing: the device's directory (--dir DIR)"}
			}
			return p.keepDevice(cmd.Context(), f.dir, once)
		}),
	}
	estTexts(cmd, textFlag{&f.dir, "dir", "`DIR` of the device, as enroll made it"})
	cmd.Flags().BoolVar(&once, "once", false, "do what is due now, and end")
	return cmd
}

func (p *program) keepDevice(ctx context.Context, dir string, once bool) error {
	service, err := agent.OpenService(os.Getenv, os.Getpid())
	if err != nil {
		return fmt.Errorf("the service manager cannot be told: %w", err)
	}
	defer service.Close()
	stamped := os.Getenv("JOURNAL_STREAM") == ""
	observe := func(e device.Event) {
		if e.Kind == device.Planned {
			service.Ready(e.Message)
		}
		if stamped && !p.json {
			fmt.Fprintf(p.err, "%s", e.Time.Format(time.RFC3339))
		}
		p.observeDevice(e)
	}
	d, err := device.Open(dir, device.Options{Observe: observe, UserAgent: "chancery"})
	if err != nil {
		return &estError{err}
	}
	if _, err := d.State(); err != nil { // before anything is locked or told
		return p.deviceEnd(d, err)
	}
	unlock, err := agent.Lock(d.Dir())
	if err != nil {
		return &estError{err}
	}
	defer unlock()
	if once {
		passed, err := d.Pass(ctx)
		return p.deviceEnd(d, errors.Join(err, passed.Err))
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP) // the state is read at each pass: there is nothing to read again
	defer signal.Stop(hangup)
	err = d.Run(ctx, device.Pulse{Beat: service.Alive, Every: service.Tick()})
	service.Stopping()
	return p.deviceEnd(d, err)
}

// deviceEnd gives the exit status of the agent: by how the certificate is.
func (p *program) deviceEnd(d *device.Device, failed error) error {
	s, err := d.State()
	switch {
	case err != nil:
		return &deviceError{3, err}
	case s.Current == nil && s.Pending != nil:
		return waitsStill(s.Pending, failed)
	case s.Current == nil && errors.Is(failed, device.ErrNone):
		return &deviceError{3, failed}
	case s.Current == nil:
		return &deviceError{3, errors.Join(failed, fmt.Errorf("%s: %w", d.Dir(), device.ErrNone))}
	case time.Now().After(s.Current.NotAfter):
		return &deviceError{3, errors.Join(failed, fmt.Errorf("the certificate has ended on %s", moment(s.Current.NotAfter)))}
	case d.Revoked(s) != nil:
		if _, said := errors.AsType[*device.RevokedError](failed); !said {
			failed = errors.Join(failed, d.Revoked(s))
		}
		return &deviceError{3, failed}
	case failed != nil:
		return &deviceError{2, failed}
	}
	if p.json {
		(&progress{out: p.out}).line(map[string]any{"event": "finished", "serial": s.Current.Serial, "notAfter": s.Current.NotAfter, "renew": device.RenewAt(s.Current)})
	}
	return nil
}

// waitsStill says that there is no certificate yet, since a request is under way: which is
// no failure where it waits for a decision, and was only asked for too early.
func waitsStill(pending *device.Pending, failed error) error {
	if failed != nil || pending.Asked.IsZero() {
		return &deviceError{3, errors.Join(failed, errors.New("there is no certificate yet: a request is under way"))}
	}
	return &deviceError{exitLater, fmt.Errorf("there is no certificate yet: the request waits for a decision, and the server wants to be asked again at %s, not before", moment(pending.Due()))}
}

// deviceError is how an agent ended, with its status.
type deviceError struct {
	status int
	err    error
}

// Error is the reason, fit for a terminal.
func (e *deviceError) Error() string { return (&estError{e.err}).Error() }

// Unwrap gives the reason.
func (e *deviceError) Unwrap() error { return e.err }
