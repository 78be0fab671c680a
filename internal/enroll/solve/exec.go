package solve

import (
	"bytes"
	"context"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"chancery/acme"
	"chancery/internal/owned"
)

const (
	execOutputTail  = 2 << 10
	execKillPatient = 5 * time.Second
)

// Exec publishes through a program of the user's that takes what lego's exec provider
// gives: PROGRAM present|cleanup NAME. VALUE, or, in the raw mode,
// PROGRAM present|cleanup -- DOMAIN TOKEN KEYAUTH. The program is started directly, with
// no shell in between, and inherits the environment; calls come one at a time. It must
// end with 0.
type Exec struct {
	Program string // path, or a name to find in PATH
	// Arguments come before those above; lego gives none.
	Arguments []string
	Raw       bool
	// Timeout is for one call; 0 means 2 min.
	Timeout time.Duration
	// Env is the program's environment; nil: this process's.
	Env []string

	mu sync.Mutex
}

func (e *Exec) zoneless() {}

// Publish calls the program with "present". The error is a *HookError or a *ValueError.
func (e *Exec) Publish(ctx context.Context, a Answer) error { return e.run(ctx, "present", a) }

// Withdraw calls the program with "cleanup".
func (e *Exec) Withdraw(ctx context.Context, a Answer) error { return e.run(ctx, "cleanup", a) }

// arguments checks once more all that the program gets to see: nothing begins with a
// hyphen that could be taken for an option, but base64url values, whose place is fixed.
func (e *Exec) arguments(action string, a Answer) ([]string, error) {
	challenge := acme.Challenge{Type: acme.ChallengeDNS01, Token: a.Token}
	if err := Check(a.Identifier, challenge, a.KeyAuth); err != nil {
		return nil, err
	}
	if !acme.ValidToken(a.Value) || !hostName(strings.TrimSuffix(a.Name, ".")) {
		return nil, &ValueError{"record", shorten(a.Name + " " + a.Value), "it is not a host name and base64url"}
	}
	if e.Raw {
		domain := strings.TrimPrefix(a.Identifier.Value, "*.")
		return []string{action, "--", domain, a.Token, a.KeyAuth}, nil
	}
	return []string{action, a.Name, a.Value}, nil
}

func (e *Exec) run(ctx context.Context, action string, a Answer) error {
	args, err := e.arguments(action, a)
	if err != nil {
		return err
	}
	timeout := e.Timeout
	if timeout <= 0 {
		timeout = 2 * time.Minute
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var output tail
	cmd := exec.CommandContext(ctx, e.Program, slices.Concat(e.Arguments, args)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = e.Env, &output, &output
	if cmd.Err == nil { // it was found in PATH, or named
		_, err = owned.Program(cmd.Path) // it is run by its name, at which scripts may look
	}
	if err != nil {
		return &HookError{Program: e.Program, Action: action, Err: err}
	}
	// A script's children end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = execKillPatient
	err = cmd.Run()
	if ctx.Err() != nil && cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		err = ctx.Err()
	}
	if err != nil {
		return &HookError{Program: e.Program, Action: action, Output: output.text(), Err: err}
	}
	return nil
}

// tail keeps the end of what is written to it.
type tail struct{ kept []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if extra := len(t.kept) - execOutputTail; extra > 0 {
		t.kept = bytes.Clone(t.kept[extra:])
	}
	return len(p), nil
}

// text is printable: control characters, which could disturb a terminal, become blanks.
func (t *tail) text() string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, string(bytes.ToValidUTF8(t.kept, []byte("?")))))
}
