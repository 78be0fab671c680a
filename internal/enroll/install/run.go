package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"chancery/internal/owned"
	"chancery/internal/plain"
)

const (
	hookTimeout  = time.Minute
	hookAttempts = 3
	hookPause    = 2 * time.Second
	outputHalf   = 8 << 10
)

func (h Hook) limit() time.Duration {
	if h.Timeout > 0 {
		return time.Duration(h.Timeout)
	}
	return hookTimeout
}

// name is the program, without arguments: these may hold what is nobody's business.
func (h Hook) name() string {
	if len(h.Command) > 0 {
		return h.Command[0]
	}
	first, _, _ := strings.Cut(strings.TrimSpace(h.Shell), " ")
	return first
}

// Validate judges the hook by itself.
func (h Hook) Validate() error {
	switch {
	case len(h.Command) > 0 && h.Shell != "":
		return errors.New("a hook is either a list of program and arguments or one line for the shell, not both")
	case strings.TrimSpace(h.Shell) == "" && (len(h.Command) == 0 || h.Command[0] == ""):
		return errors.New("a hook needs a command")
	case strings.ContainsRune(h.Shell+strings.Join(h.Command, ""), 0):
		return errors.New("a hook's command holds a NUL")
	case h.Timeout < 0 || h.Attempts < 0 || h.Attempts > 20:
		return errors.New("a hook's timeout and attempts must not be negative, and it is tried at most 20 times")
	}
	return nil
}

// Run runs the hooks of facts.Stage in order and stops at the first that fails,
// except after the fact: of post and failure hooks all run. A deploy hook that
// fails is tried again, after a pause. The errors are *HookError, joined.
func (h Hooks) Run(ctx context.Context, facts Facts) (results []Result, err error) {
	for _, one := range h.At(facts.Stage) {
		attempts := 1
		if facts.Stage == Deploy {
			if attempts = one.Attempts; attempts == 0 {
				attempts = hookAttempts
			}
		}
		result, failed := one.repeat(ctx, facts, attempts)
		results = append(results, result)
		err = errors.Join(err, failed)
		if failed != nil && facts.Stage != Post && facts.Stage != Failure {
			break
		}
	}
	return results, err
}

func (h Hook) repeat(ctx context.Context, facts Facts, attempts int) (Result, error) {
	for n := 1; ; n++ {
		result, err := h.Run(ctx, facts)
		result.Attempts = n
		if failed, ok := errors.AsType[*HookError](err); ok {
			failed.Result.Attempts = n
		}
		if err == nil || n >= attempts || ctx.Err() != nil || errors.Is(err, os.ErrNotExist) || refused(err) {
			return result, err
		}
		timer := time.NewTimer(hookPause)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
}

// refused tells whether a hook was not run at all since others could exchange it.
func refused(err error) bool {
	_, ok := errors.AsType[*owned.Refusal](err)
	return ok
}

// Run runs the command once, in the root directory, without input, with the
// environment of facts. It is killed with its children when its time is over or
// ctx is done. The error is a *HookError.
func (h Hook) Run(ctx context.Context, facts Facts) (Result, error) {
	if err := h.Validate(); err != nil {
		return Result{Exit: -1}, &HookError{Stage: facts.Stage, Hook: h, Result: Result{Exit: -1}, Err: err}
	}
	limited, cancel := context.WithTimeout(ctx, h.limit())
	defer cancel()
	argv := h.Command
	if len(argv) == 0 {
		argv = []string{"/bin/sh", "-c", h.Shell}
	}
	output := &bounded{}
	cmd := exec.CommandContext(limited, argv[0], argv[1:]...)
	err := cmd.Err // it is not in PATH
	if err == nil {
		err = h.judge(cmd.Path)
	}
	if err != nil {
		return Result{Exit: -1, Attempts: 1}, &HookError{Stage: facts.Stage, Hook: h, Result: Result{Exit: -1, Attempts: 1}, Err: err}
	}
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = "/", facts.Environment(), output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second // a daemon that kept our pipe open must not hold us
	start := time.Now()
	err = cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) { // the command itself ended well
		err = nil
	}
	result := Result{Output: output.String(), Truncated: output.cut(), Took: time.Since(start), Attempts: 1}
	if err == nil {
		return result, nil
	}
	result.Exit = -1
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		result.Exit = ended.ExitCode()
	}
	return result, &HookError{
		Stage: facts.Stage, Hook: h, Result: result, Err: err,
		TimedOut: ctx.Err() == nil && limited.Err() != nil,
	}
}

// judge refuses a program that others could exchange: of a list the program at path, of a
// line for the shell the first word if that is a path. Programs are run by the name that
// they were given, at which scripts may look; the way there has been judged.
func (h Hook) judge(path string) error {
	if h.Shell == "" {
		_, err := owned.Program("/" + path) // where it is run
		return err
	}
	if path = h.name(); !strings.HasPrefix(path, "/") {
		return nil
	}
	_, err := owned.Program(path)
	if !refused(err) {
		return nil // the shell may read the word in another way
	}
	return err
}

// Environment is all that a hook's environment holds: PATH, HOME, LANG and
// LOGNAME of this process, these variables of ours
//
//	CHANCERY_STAGE      pre, deploy, post or failure
//	CHANCERY_CERTIFICATE the certificate's name in the vault
//	CHANCERY_NAMES      the names in it, separated by spaces
//	CHANCERY_NAME       the first of them
//	CHANCERY_ISSUER, CHANCERY_OLD_ISSUER, CHANCERY_DIRECTORY, CHANCERY_KIND
//	CHANCERY_SERIAL     hexadecimal
//	CHANCERY_NOT_BEFORE, CHANCERY_NOT_AFTER as 2026-11-22T10:00:00Z
//	CHANCERY_LINEAGE    directory with privkey.pem, cert.pem, chain.pem, fullchain.pem
//	CHANCERY_CERT, CHANCERY_KEY, CHANCERY_CHAIN, CHANCERY_FULLCHAIN,
//	CHANCERY_COMBINED, CHANCERY_PKCS12 paths
//	CHANCERY_ERROR      what went wrong, for failure and post
//
// and those that deploy scripts for certbot (RENEWED_LINEAGE, RENEWED_DOMAINS)
// and lego (LEGO_CERT_DOMAIN, LEGO_CERT_PATH, LEGO_CERT_KEY_PATH) read. A variable
// without a value is left out. Values hold no control characters and are at most
// 32 KiB long.
func (f Facts) Environment() []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "LANG", "LOGNAME"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	if os.Getenv("PATH") == "" {
		env = append(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	}
	for _, variable := range f.variables() {
		if value := harmless(variable[1]); value != "" {
			env = append(env, variable[0]+"="+value)
		}
	}
	return env
}

func (f Facts) variables() [][2]string {
	stamp := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	names, first := strings.Join(f.Names, " "), ""
	if len(f.Names) > 0 {
		first = f.Names[0]
	}
	all := [][2]string{
		{"CHANCERY_STAGE", string(f.Stage)}, {"CHANCERY_CERTIFICATE", f.Name},
		{"CHANCERY_NAMES", names}, {"CHANCERY_NAME", first},
		{"CHANCERY_ISSUER", f.Issuer}, {"CHANCERY_OLD_ISSUER", f.OldIssuer},
		{"CHANCERY_DIRECTORY", f.Directory}, {"CHANCERY_KIND", f.Kind}, {"CHANCERY_SERIAL", f.Serial},
		{"CHANCERY_NOT_BEFORE", stamp(f.NotBefore)}, {"CHANCERY_NOT_AFTER", stamp(f.NotAfter)},
		{"CHANCERY_LINEAGE", f.Lineage}, {"CHANCERY_CERT", f.Cert}, {"CHANCERY_KEY", f.Key},
		{"CHANCERY_CHAIN", f.Chain}, {"CHANCERY_FULLCHAIN", f.FullChain},
		{"CHANCERY_COMBINED", f.Combined}, {"CHANCERY_PKCS12", f.PKCS12}, {"CHANCERY_ERROR", f.Failure},
	}
	if f.Stage == Deploy {
		all = append(all, [][2]string{
			{"RENEWED_LINEAGE", f.Lineage}, {"RENEWED_DOMAINS", names}, {"LEGO_CERT_DOMAIN", first},
			{"LEGO_CERT_PATH", f.FullChain}, {"LEGO_CERT_KEY_PATH", f.Key},
		}...)
	}
	return all
}

// harmless takes away what could forge a line in a log or confuse a script. Escapes
// would confuse one too.
func harmless(value string) string {
	value = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !plain.Visible(r) {
			return '?'
		}
		return r
	}, value)
	return value[:min(len(value), 32<<10)]
}

// bounded keeps the beginning and the end of what is written to it.
type bounded struct {
	mutex sync.Mutex
	head  []byte
	tail  []byte
	lost  int
}

// Write never fails and never blocks the command.
func (b *bounded) Write(data []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	n := len(data)
	if room := outputHalf - len(b.head); room > 0 {
		room = min(room, len(data))
		b.head, data = append(b.head, data[:room]...), data[room:]
	}
	b.tail = append(b.tail, data...)
	if over := len(b.tail) - outputHalf; over > 0 {
		b.lost += over
		b.tail = append(b.tail[:0], b.tail[over:]...)
	}
	return n, nil
}

func (b *bounded) cut() bool {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.lost > 0
}

// String is the text, without what a terminal would act upon.
func (b *bounded) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	text := string(b.head)
	if b.lost > 0 {
		text += fmt.Sprintf("\n[%d octets left out]\n", b.lost)
	}
	text += string(b.tail)
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && !plain.Visible(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// tail is the end of a text on one line.
func tail(text string, most int) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= most {
		return text
	}
	return "…" + strings.ToValidUTF8(text[len(text)-most:], "")
}
