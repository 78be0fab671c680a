package interop_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// programs is where TestMain has what tests build.
var programs string

func TestMain(m *testing.M) {
	var err error
	if programs, err = os.MkdirTemp("", "chancery-interop-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(programs)
	os.Exit(code)
}

// chancery builds the real binary, once.
var chancery = sync.OnceValues(func() (string, error) {
	path := filepath.Join(programs, "chancery")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/chancery")
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// settingsFile writes the client.toml of a real binary: the lab's CAs, which it cannot
// find at port 443, by their directories. more follows; text for [discovery] and such
// tables that are written here already is not possible.
func (l *lab) settingsFile(name, more string) string {
	l.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "data = %q\n[dns]\nresolvers = [%q]\n[discovery]\nroots = %q\n", filepath.Join(l.dir, name), l.dns.Addr(), l.roots())
	fmt.Fprintf(&b, "[challenge]\nhttp = \"\"\nwebroot = %q\n[retry]\nattempts = 2\npause = \"20ms\"\nper_ca = \"10s\"\n", l.webroot)
	for i, f := range l.fronts {
		fmt.Fprintf(&b, "[[ca]]\nlabel = \"c%d\"\nissuers = [%q]\ndirectory = %q\n", i+1, f.issuer, f.directory())
	}
	return l.write(name+".toml", b.String()+more)
}

// ran is a run of the real binary.
type ran struct {
	code        int
	out, errors string
	peak        int64 // of its resident memory, octets
}

func (r ran) String() string { return fmt.Sprintf("exit %d\n%s\n%s", r.code, r.out, r.errors) }

// exec runs the real binary with a clean environment in the lab's directory.
func (l *lab) exec(t *testing.T, args ...string) ran {
	t.Helper()
	path, err := chancery()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = l.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + l.dir, "TMPDIR=" + l.dir, "LANG=C.UTF-8", "SSL_CERT_FILE=" + filepath.Join(l.dir, "roots.pem"), "SSL_CERT_DIR=" + l.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	over, peak := make(chan struct{}), make(chan int64)
	go watch(cmd.Process.Pid, over, peak)
	err = cmd.Wait()
	close(over)
	r := ran{out: out.String(), errors: complaints.String(), peak: <-peak}
	if ctx.Err() != nil {
		t.Fatalf("chancery %q does not end\n%s", args, r)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		r.code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return r
}

// watch reads the high-water mark of a process's memory until it is over: what the kernel
// tells of a child that has ended counts what its parent had.
func watch(pid int, over <-chan struct{}, peak chan<- int64) {
	var most int64
	for {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for line := range strings.Lines(string(text)) {
			if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmHWM:" {
				kilo, _ := strconv.ParseInt(fields[1], 10, 64)
				most = max(most, kilo<<10)
			}
		}
		select {
		case <-over:
			peak <- most
			return
		case <-time.After(3 * time.Millisecond):
		}
	}
}

// ends wants an exit code.
func (l *lab) ends(t *testing.T, code int, args ...string) ran {
	t.Helper()
	r := l.exec(t, args...)
	if r.code != code {
		t.Fatalf("chancery %q: want exit %d, got %s", args, code, r)
	}
	return r
}
