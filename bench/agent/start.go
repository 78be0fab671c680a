package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// figures are of one start.
type figures struct {
	ready                   time.Duration
	rssReady, rssIdle, peak int64
	cpuReady, cpuIdle       time.Duration
}

// start runs the agent, waits until it says that it is ready, lets it idle and ends it.
func start(ctx context.Context, o options, data string) (f figures, err error) {
	cmd := exec.CommandContext(ctx, o.binary, "agent", "--json", "--data", data)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+data)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return f, err
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return f, err
	}
	ready := false
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if ready = bytes.Contains(lines.Bytes(), []byte(`"agent-ready"`)); ready {
			break
		}
	}
	f.ready = time.Since(begin)
	if !ready {
		return f, errors.Join(errors.New("the agent ended before it was ready"), cmd.Wait())
	}
	f.rssReady, f.cpuReady = memory(cmd.Process.Pid, "VmRSS"), cpu(cmd.Process.Pid)
	select {
	case <-time.After(o.idle):
	case <-ctx.Done():
		return f, ctx.Err()
	}
	f.rssIdle, f.cpuIdle, f.peak = memory(cmd.Process.Pid, "VmRSS"), cpu(cmd.Process.Pid), memory(cmd.Process.Pid, "VmHWM")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return f, err
	}
	for lines.Scan() {
	}
	return f, cmd.Wait()
}

// memory reads a line of /proc/PID/status, in bytes.
func memory(pid int, what string) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, what+":"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// cpu is what a process has used; Linux counts in hundredths of a second.
func cpu(pid int) time.Duration {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}
