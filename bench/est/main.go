// Command est measures EST enrolment: chancery beside a bare Go server (floor.go) that does
// the same cryptography, the same lints and the same two durable group commits and nothing
// else, once with what chancery saves and once as Go's own functions do it, with 1, 8 and 32
// clients over kept and over fresh connections; and what the machine itself can do, in
// handshakes and signatures. It only prints: what it found stands in
// bench/README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// servers are measured in this order in each round: ours, the bare one with our savings, and
// the bare one without.
var servers = []string{"chancery", "floor", "plain"}

type options struct {
	clients []int
	ways    []string
	servers []string
	count   int
	rounds  int
	dir     string
	binary  string
	limits  bool
}

// Children end with the thread that started them, so main holds it.
func init() { runtime.LockOSThread() }

func main() {
	if dir := os.Getenv(floorDirectory); dir != "" {
		if err := floor(dir); err != nil {
			fmt.Fprintln(os.Stderr, "floor:", err)
			os.Exit(1)
		}
		return
	}
	o, limit, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done after %s; allow more with -timeout or ask for less", limit))
		defer cancel()
		err = measure(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "est:", err)
		os.Exit(1)
	}
}

func parse(args []string) (o options, limit time.Duration, err error) {
	flags := flag.NewFlagSet("est", flag.ContinueOnError)
	clients := flags.String("clients", "1,8,32", "numbers of clients at a time")
	ways := flags.String("connections", "kept,fresh", "kept: one connection for each client; fresh: one for each enrolment")
	names := flags.String("servers", strings.Join(servers, ","), "which are measured")
	flags.IntVar(&o.count, "count", 2000, "enrolments of each measurement over kept connections; a quarter over fresh ones")
	flags.IntVar(&o.rounds, "rounds", 3, "how often everything is measured, in turn")
	flags.StringVar(&o.dir, "dir", "", "where the servers keep their data: a real disk, or commits cost nothing (default: the directory for temporary files)")
	flags.StringVar(&o.binary, "chancery", os.Getenv("BENCH_CHANCERY"), "chancery's binary ($BENCH_CHANCERY; default: build it)")
	flags.BoolVar(&o.limits, "limits", true, "measure handshakes and signatures, too")
	flags.DurationVar(&limit, "timeout", 15*time.Minute, "give up after so long")
	if err = flags.Parse(args); err != nil {
		return o, 0, err
	}
	for text := range strings.SplitSeq(*clients, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 256 {
			return o, 0, fmt.Errorf("-clients: %q is not a number from 1 to 256", text)
		}
		o.clients = append(o.clients, n)
	}
	o.ways = strings.Split(*ways, ",")
	for _, way := range o.ways {
		if !slices.Contains([]string{"kept", "fresh"}, way) {
			return o, 0, fmt.Errorf("-connections: %q is neither kept nor fresh", way)
		}
	}
	o.servers = strings.Split(*names, ",")
	for _, name := range o.servers {
		if !slices.Contains(servers, name) {
			return o, 0, fmt.Errorf("-servers: %q is none of %s", name, strings.Join(servers, ", "))
		}
	}
	if o.count < 4 || o.rounds < 1 || flags.NArg() > 0 {
		return o, 0, errors.New("-count must be at least 4, -rounds at least 1, and nothing may follow the options")
	}
	return o, limit, nil
}

func measure(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp(o.dir, "chancery-bench-est-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if o.binary == "" {
		if o.binary, err = build(ctx, dir); err != nil {
			return err
		}
	}
	if o.limits {
		if err := machine(); err != nil {
			return err
		}
	}
	var r report
	defer func() { r.print() }()
	for round := range o.rounds {
		for _, name := range o.servers {
			if err := r.server(ctx, o, task{name: name, dir: filepath.Join(dir, fmt.Sprintf("%s-%d", name, round)), round: round}); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// build builds chancery in its own module, which alone knows what the program requires.
func build(ctx context.Context, dir string) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "chancery").Output()
	if err != nil {
		return "", fmt.Errorf("chancery's module cannot be found: %w", err)
	}
	binary := filepath.Join(dir, "chancery")
	command := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/chancery")
	command.Dir, command.Stderr = strings.TrimSpace(string(root)), os.Stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("chancery cannot be built: %w", err)
	}
	return binary, nil
}
