// Command bench measures chancery beside other ACME servers on this machine:
// the same client drives the same orders against each, in turn, and the figures
// come out side by side with their ratios. README.md says how it is run and what
// was measured.
//
// It is a module of its own so that nothing of it, and no peer, becomes a
// dependency of chancery.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Children are told to die with the thread that started them, so the one that
// starts them all is held for main.
func init() { runtime.LockOSThread() }

// messages are where the words go that are no figures.
var messages io.Writer = os.Stderr

// options is the command line.
type options struct {
	servers  []string
	workers  []int
	orders   int
	rounds   int
	startups int
	json     string
	dir      string
	cache    string
	profile  string
	binaries map[string]string // by program: path, "" = build it
}

func main() {
	o, limit, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done after %s; allow more with -timeout or ask for less", limit))
		defer cancel()
		err = run(ctx, o)
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, time.Duration, error) {
	o := options{binaries: map[string]string{}}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(messages)
	servers := flags.String("servers", "chancery,chancery-postgres,pebble,step-ca", "what to measure, in this order in each round")
	workers := flags.String("workers", "1,8", "numbers of clients at a time")
	flags.IntVar(&o.orders, "orders", 300, "orders of each measurement")
	flags.IntVar(&o.rounds, "rounds", 3, "how often everything is measured, in turn")
	flags.IntVar(&o.startups, "startups", 5, "how many starts are timed on a database that exists; 0 = none")
	flags.StringVar(&o.json, "json", "", "write all figures to this file, too")
	flags.StringVar(&o.dir, "dir", "", "where the servers keep their data while they are measured: a real disk, or commits cost nothing (default: the directory for temporary files)")
	flags.StringVar(&o.profile, "profile", "", "write CPU profiles of chancery at the most workers to files of this name with the server appended")
	limit := flags.Duration("timeout", 15*time.Minute, "give up after so long")
	home, _ := os.UserCacheDir()
	flags.StringVar(&o.cache, "cache", filepath.Join(home, "chancery-bench"), "where programs that were built are kept")
	paths := map[string]*string{}
	for _, p := range []string{"chancery", "pebble", "step-ca"} {
		variable := "BENCH_" + strings.ToUpper(strings.ReplaceAll(p, "-", "_"))
		paths[p] = flags.String(p, os.Getenv(variable), p+"'s binary ($"+variable+"; default: build it)")
	}
	if err := flags.Parse(args); err != nil {
		return o, 0, err
	}
	for p, path := range paths {
		o.binaries[p] = *path
	}
	o.servers = strings.Split(*servers, ",")
	for _, s := range o.servers {
		if !slices.Contains(known, s) {
			return o, 0, fmt.Errorf("-servers: %q is not one of %s", s, strings.Join(known, ", "))
		}
	}
	for text := range strings.SplitSeq(*workers, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1000 {
			return o, 0, fmt.Errorf("-workers: %q is not a number from 1 to 1000", text)
		}
		o.workers = append(o.workers, n)
	}
	if o.orders < 1 || o.rounds < 1 || o.startups < 0 || flags.NArg() > 0 {
		return o, 0, errors.New("-orders and -rounds must be at least 1, -startups at least 0, and nothing may follow the options")
	}
	return o, *limit, nil
}

// run measures and reports. What was measured before an error is reported, too.
func run(ctx context.Context, o options) error {
	l, err := newLab(ctx, o)
	if err != nil {
		return err
	}
	defer l.close()
	report := newReport(o)
	err = l.measureAll(ctx, report)
	if len(report.Measurements) > 0 {
		report.print(os.Stdout)
	}
	if o.json != "" {
		err = errors.Join(err, report.write(o.json))
	}
	return err
}

// measureAll goes A B C A B C: what the machine does meanwhile hits all alike.
func (l *lab) measureAll(ctx context.Context, r *report) error {
	for round := range l.rounds {
		for _, workers := range l.workers {
			for _, name := range l.servers {
				m, err := l.measure(ctx, task{server: name, workers: workers, round: round})
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				fmt.Fprintln(messages, m)
				r.Measurements = append(r.Measurements, m)
			}
		}
	}
	for range l.startups {
		for _, name := range l.servers {
			s, err := l.timeStart(ctx, name)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			r.Startups = append(r.Startups, s)
		}
	}
	return nil
}
