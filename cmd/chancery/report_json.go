package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"chancery/internal/admin"
	"chancery/internal/config"
	"chancery/internal/enroll"
)

// With --json what a command says beside its answer is JSON too, one object a line on
// standard error, each with one member that says what it is: "error" ends a command that
// failed, and there is one; "warning" and "note" may come before.

// failure is what programs are told of an error.
type failure struct {
	// Kind is the word for programs to branch on; it is one of kinds, or the result of a
	// run of the client (still-valid, undeployed, failed).
	Kind string `json:"kind"`
	// Status is what the process ends with.
	Status   int       `json:"status"`
	Message  string    `json:"message"`
	Next     string    `json:"next,omitempty"` // what to do, where that is known apart from the message
	Problems []mistake `json:"problems,omitempty"`
}

// kinds are the words for the exit statuses that the root command's help lists.
var kinds = map[int]string{
	exitFailed: "failed", exitUsage: "invalid", exitNotFound: "not-found",
	exitNotRunning: "not-running", exitRefused: "refused", exitLater: "unavailable",
}

// asksJSON tells whether a command line wants JSON that could not be read to its end.
func asksJSON(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return slices.Contains(args, "--json") || slices.Contains(args, "--json=true")
}

// failed is an error with its exit status, as programs are told it. An empty text means
// that the answer on standard output said everything.
func failed(err error, text string, status int) failure {
	f := failure{Kind: kindOf(err, status), Status: status, Message: text, Next: nextOf(err)}
	if problems, ok := errors.AsType[config.Problems](err); ok {
		for _, one := range problems {
			f.Problems = append(f.Problems, mistake(one))
		}
	}
	if usage, ok := errors.AsType[*usageError](err); ok {
		f.Message = usage.text
	}
	f.Message = strings.TrimSuffix(f.Message, "\n"+f.Next)
	if f.Message == "" {
		f.Message = "the answer on standard output says what is wrong"
	}
	return f
}

// kindOf gives an error its word.
func kindOf(err error, status int) string {
	_, usage := errors.AsType[*usageError](err)
	_, input := errors.AsType[*inputError](err)
	_, problems := errors.AsType[config.Problems](err)
	if usage || input || problems {
		return kinds[exitUsage]
	}
	if run, ok := errors.AsType[*enrolError](err); ok {
		return string(run.result)
	}
	if ended, ok := errors.AsType[*deviceError](err); ok {
		if ended.status == enroll.StillValid.ExitCode() {
			return string(enroll.StillValid)
		}
		if ended.status == exitLater {
			return kinds[exitLater]
		}
		return string(enroll.Failed)
	}
	return kinds[status]
}

// nextOf is what a person can do about an error, where its type knows it.
func nextOf(err error) string {
	if usage, ok := errors.AsType[*usageError](err); ok {
		return usage.cmd.CommandPath() + " --help"
	}
	if idle, ok := errors.AsType[*admin.ErrNotRunning](err); ok {
		return "chancery serve --data " + idle.Directory
	}
	if ended, ok := errors.AsType[*deviceError](err); ok {
		err = &estError{ended.err}
	}
	if refused, ok := errors.AsType[*estError](err); ok {
		return strings.TrimPrefix(refused.next(), "\n")
	}
	return ""
}

// line writes {what: value} to standard error, in one piece.
func (p *program) line(what string, value any) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if e.Encode(map[string]any{what: value}) == nil {
		_, _ = p.err.Write(text.Bytes())
	}
}

// said is a warning or a note.
type said struct {
	Message string `json:"message"`
}
