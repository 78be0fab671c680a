package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"chancery/internal/config"
	"chancery/internal/daemon"

	"github.com/spf13/cobra"
)

// drainTime is what requests and validations under way get to end.
const drainTime = 30 * time.Second

func (p *program) serve() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use: "serve [--data DIR] [--config FILE] [--listen ADDR]", Short: "run the server",
		Long: `Runs the server. The first start makes everything: keys, database, root and issuer.
Without configuration it listens on 127.0.0.1:8443 only.

SIGHUP reads the configuration again; SIGINT and SIGTERM let requests under way end
and stop; a second one stops at once.`,
		Args: between(0, 0, "serve takes flags only"),
		RunE: func(cmd *cobra.Command, _ []string) error { return p.runServer(cmd.Context(), listen) },
	}
	cmd.Flags().StringVar(&listen, "listen", "", "`ADDR` for HTTPS, as 127.0.0.1:8443 or :8443")
	return cmd
}

func (p *program) runServer(ctx context.Context, listen string) error {
	overrides := config.Overrides{Listen: listen}
	c, err := p.loadLoudly(overrides)
	if err != nil {
		return err
	}
	// The live heap is a few MiB, so collecting at four times of it instead of
	// twice costs little memory and saves a twentieth of the work.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(300)
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	o := p.options(c)
	d, err := daemon.Start(ctx, o)
	if err != nil {
		return err
	}
	if err := p.announce(d, c.Data); err != nil {
		o.Logger.Error("what was made cannot be told", "error", err)
	}
	failed := make(chan error, 1)
	go func() { failed <- d.Wait() }()
	for {
		select {
		case <-hangup:
			p.reload(d, overrides, o.Logger)
		case err = <-failed:
			return closeDaemon(d, err)
		case <-ctx.Done():
			o.Logger.Info("stopping: requests under way may end", "within", drainTime)
			return closeDaemon(d, nil)
		}
	}
}

// closeDaemon lets what is under way end; cause, if any, is why.
func closeDaemon(d *daemon.Daemon, cause error) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if err := d.Close(ctx); cause == nil {
		return err
	}
	return cause
}

// options makes what a daemon needs beside its configuration: the log, on
// standard error.
func (p *program) options(c *config.Config) daemon.Options {
	level := &slog.LevelVar{}
	_ = level.UnmarshalText([]byte(c.Log.Level)) // config.Load has checked the word
	form := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewTextHandler(p.err, form)
	if c.Log.Format == "json" {
		handler = slog.NewJSONHandler(p.err, form)
	}
	return daemon.Options{Config: c, ConfigPath: p.config, Logger: slog.New(handler), Level: level}
}

// reload reads the configuration again; a bad one changes nothing.
func (p *program) reload(d *daemon.Daemon, o config.Overrides, log *slog.Logger) {
	c, warnings, err := p.load(o)
	for _, w := range warnings {
		log.Warn("configuration: " + w.String())
	}
	if err == nil {
		err = d.Reload(c)
	}
	if err != nil {
		log.Error("the configuration was not read again; the old one stays", "error", err)
	}
}

// ready is the line that serve --json prints when requests are answered.
type ready struct {
	Event     string     `json:"event"` // "ready"
	Data      string     `json:"data"`
	Directory string     `json:"directory"`
	BaseURL   string     `json:"base_url"`
	StatusURL string     `json:"status_url"`
	Socket    string     `json:"socket"`
	Founded   bool       `json:"founded"` // this start made the hierarchy
	Roots     []rootSeen `json:"roots"`   // newest first
}

type rootSeen struct {
	Subject     string   `json:"subject"`
	Fingerprint string   `json:"sha256"`
	Domains     []string `json:"domains,omitempty"` // permitted name constraints; none: every name
}

// announce tells that the server answers, and what it made.
func (p *program) announce(d *daemon.Daemon, data string) error {
	r := ready{Event: "ready", Data: data, Directory: d.Directory(), BaseURL: d.BaseURL(), StatusURL: d.StatusURL(),
		Socket: d.Socket(), Founded: d.Founded(), Roots: rootsSeen(d.Roots())}
	if p.json {
		return json.NewEncoder(p.out).Encode(r)
	}
	if !r.Founded || len(r.Roots) == 0 {
		fmt.Fprintf(p.out, "chancery is ready: %s\n", r.Directory)
		return nil
	}
	return p.introduce(r)
}
