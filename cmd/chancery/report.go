package main

import (
	"errors"
	"fmt"
	"strings"

	"chancery/internal/admin"
	"chancery/internal/ca"
	"chancery/internal/config"
	"chancery/internal/enroll"
	"chancery/internal/enroll/settings"
	"chancery/internal/enroll/vault"

	"github.com/spf13/cobra"
)

// The exit statuses; the root command's help lists them, and scripts rely on them.
const (
	exitDone = iota
	exitFailed
	exitUsage
	exitNotFound
	exitNotRunning
	exitRefused
	exitLater
)

// endsAsRun marks the commands whose exit status is that of a run of the client (D17).
const endsAsRun = "ends-as-run"

// usageError is a mistake in what was typed.
type usageError struct {
	cmd  *cobra.Command
	text string
}

// Error says the mistake and where help is.
func (e *usageError) Error() string {
	return fmt.Sprintf("%s\nusage: %s\nmore: %s --help", e.text, e.cmd.UseLine(), e.cmd.CommandPath())
}

// inputError is a file or value that is not what the command needs.
type inputError struct{ text string }

func (e *inputError) Error() string { return e.text }

func badInput(format string, args ...any) error { return &inputError{fmt.Sprintf(format, args...)} }

// statusOf gives the exit status for an error.
func statusOf(err error) int {
	if run, ok := errors.AsType[*enrolError](err); ok {
		return run.result.ExitCode()
	}
	if status, ok := accountStatusOf(err); ok {
		return status
	}
	if status, ok := estStatusOf(err); ok {
		return status
	}
	if _, ok := errors.AsType[*admin.ErrNotRunning](err); ok {
		return exitNotRunning
	}
	if told, ok := errors.AsType[*admin.Error](err); ok {
		return map[string]int{
			admin.Invalid: exitUsage, admin.NotFound: exitNotFound, admin.Conflict: exitRefused,
			admin.Denied: exitRefused, admin.Unavailable: exitLater, admin.Internal: exitFailed,
		}[told.Kind]
	}
	if errors.Is(err, config.ErrNone) || errors.Is(err, settings.ErrNone) {
		return exitNotFound
	}
	mistake, usage := errors.AsType[*usageError](err)
	if usage && mistake.cmd.Annotations[endsAsRun] != "" {
		return enroll.Failed.ExitCode() // 2 would say that the present certificate is still good
	}
	_, input := errors.AsType[*inputError](err)
	_, problems := errors.AsType[config.Problems](err)
	if usage || input || problems || ca.KindOf(err) == ca.Invalid {
		return exitUsage
	}
	return exitFailed
}

// accountStatusOf gives the exit status for what went wrong with an account at a CA.
func accountStatusOf(err error) (status int, ok bool) {
	_, unknown := errors.AsType[*enroll.UnknownError](err)
	failed, at := errors.AsType[*enroll.AccountError](err)
	switch {
	case unknown || errors.Is(err, vault.ErrNone):
		return exitNotFound, true
	case errors.Is(err, errNotSure):
		return exitRefused, true
	case !at:
		return 0, false
	}
	switch failed.Class {
	case enroll.ClassUnavailable, enroll.ClassLimited:
		return exitLater, true
	case enroll.ClassLocal, enroll.ClassStopped:
		return exitFailed, true
	}
	return exitRefused, true
}

// report tells an error to the person and gives the exit status.
func (p *program) report(err error) int {
	if err == nil {
		return exitDone
	}
	text := err.Error()
	if told, ok := errors.AsType[*ca.Error](err); ok {
		text = told.Detail
	}
	if problems, ok := errors.AsType[config.Problems](err); ok && len(problems) > 1 {
		text = fmt.Sprintf("the configuration has %d mistakes:\n%s", len(problems), text)
	}
	status := statusOf(err)
	if status == exitDone {
		status = exitFailed
	}
	text = strings.TrimRight(text, "\n")
	run, ran := errors.AsType[*enrolError](err)
	switch {
	case p.json && ran && run.result == enroll.NotDue: // that is no failure
	case p.json:
		p.line("error", failed(err, text, status))
	case text != "": // "" = all was said
		fmt.Fprintf(p.err, "chancery: %s\n", text)
	}
	return status
}

// warn tells what is odd and goes on.
func (p *program) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if p.json {
		p.line("warning", said{text})
		return
	}
	fmt.Fprintf(p.err, "chancery: warning: %s\n", text)
}

// note tells what is good to know, remark the same without saying who says it.
func (p *program) note(format string, args ...any) {
	if p.json {
		p.remark(format, args...)
		return
	}
	p.remark("chancery: "+format, args...)
}

func (p *program) remark(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if p.json {
		p.line("note", said{text})
		return
	}
	fmt.Fprintln(p.err, text)
}
