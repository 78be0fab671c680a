// Command agent measures the client that stays: "chancery agent" with ten thousand
// certificates, from its start until it is ready, and what it keeps in memory; and beside
// it what one look at one certificate that is not due costs with chancery, certbot and
// lego. It only prints: what it found stands in bench/README.md.
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
	"strings"
	"syscall"
	"time"
)

type options struct {
	certificates int
	idle         time.Duration
	rounds       int
	dir          string
	binary       string
	peers        bool
}

// Children end with the thread that started them, so main holds it.
func init() { runtime.LockOSThread() }

func main() {
	var o options
	flag.IntVar(&o.certificates, "certificates", 10_000, "certificates that the agent keeps")
	flag.DurationVar(&o.idle, "idle", time.Minute, "how long it idles before its memory is read again")
	flag.IntVar(&o.rounds, "rounds", 5, "how often everything is measured")
	flag.StringVar(&o.dir, "dir", "/dev/shm", "where the data directory is made: in memory it is made sooner")
	flag.StringVar(&o.binary, "chancery", os.Getenv("BENCH_CHANCERY"), "chancery's binary ($BENCH_CHANCERY; default: build it)")
	flag.BoolVar(&o.peers, "peers", true, "measure certbot and lego, too, where they are installed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := measure(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp(o.dir, "chancery-bench-agent-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if o.binary == "" {
		o.binary = filepath.Join(dir, "chancery")
		// In its own module, which alone knows what the program requires.
		root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "chancery").Output()
		if err != nil {
			return fmt.Errorf("chancery's module cannot be found: %w", err)
		}
		build := exec.CommandContext(ctx, "go", "build", "-o", o.binary, "./cmd/chancery")
		build.Dir, build.Stderr = strings.TrimSpace(string(root)), os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("chancery cannot be built: %w", err)
		}
	}
	data := filepath.Join(dir, "data")
	begin := time.Now()
	if err := fill(ctx, data, o.certificates); err != nil {
		return err
	}
	fmt.Printf("a vault of %d certificates was made in %s\n", o.certificates, time.Since(begin).Round(time.Millisecond))
	var rounds []figures
	for range o.rounds {
		f, err := start(ctx, o, data)
		if err != nil {
			return err
		}
		rounds = append(rounds, f)
		fmt.Printf("ready after %4d ms, CPU %4d ms; RSS %5.1f MiB when ready, %5.1f MiB after %s (CPU %d ms meanwhile), peak %5.1f MiB\n",
			f.ready.Milliseconds(), f.cpuReady.Milliseconds(), mib(f.rssReady), mib(f.rssIdle), o.idle, (f.cpuIdle - f.cpuReady).Milliseconds(), mib(f.peak))
	}
	if len(rounds) == 0 {
		return errors.New("-rounds must be at least 1")
	}
	if !o.peers {
		return nil
	}
	return beside(ctx, o, dir)
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
