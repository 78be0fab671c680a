package install

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Stage is the moment at which a hook runs.
type Stage string

// The moments: before anything is asked of a CA, after a new certificate is in
// place, after every attempt however it ended, and after a failed one.
const (
	Pre     Stage = "pre"
	Deploy  Stage = "deploy"
	Post    Stage = "post"
	Failure Stage = "failure"
)

// Hook is a command that the local user wrote. Exactly one of Command and Shell is set.
type Hook struct {
	Command []string `json:"command,omitempty"` // program and arguments, run without a shell
	Shell   string   `json:"shell,omitempty"`   // one line for /bin/sh -c
	Timeout Duration `json:"timeout,omitempty"` // 0 = one minute
	// Attempts is how often a deploy hook is run until it succeeds; 0 = 3.
	Attempts int `json:"attempts,omitempty"`
}

// Duration is written as text, "90s", in JSON.
type Duration time.Duration

// MarshalJSON writes text.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads text.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	length, err := time.ParseDuration(text)
	if err == nil && length < 0 {
		err = errors.New("a duration must not be negative")
	}
	*d = Duration(length)
	return err
}

// Hooks are all commands of a certificate. Those of one stage run in order.
type Hooks struct {
	Pre     []Hook `json:"pre,omitempty"`
	Deploy  []Hook `json:"deploy,omitempty"`
	Post    []Hook `json:"post,omitempty"`
	Failure []Hook `json:"failure,omitempty"`
}

// At gives the hooks of a stage.
func (h Hooks) At(s Stage) []Hook {
	return map[Stage][]Hook{Pre: h.Pre, Deploy: h.Deploy, Post: h.Post, Failure: h.Failure}[s]
}

// Facts is what hooks are told, as environment variables; see [Facts.Environment].
type Facts struct {
	Stage                       Stage
	Name                        string   // of the certificate in the vault
	Names                       []string // that the certificate is for
	Issuer, Directory, Kind     string   // who issued it, or was asked last
	OldIssuer                   string   // who issued the one before
	Serial                      string
	NotBefore, NotAfter         time.Time
	Lineage                     string // directory with privkey.pem, cert.pem, chain.pem, fullchain.pem
	Cert, Key, Chain, FullChain string // paths
	Combined, PKCS12            string // paths
	Failure                     string // why it failed, for failure and post
}

// Result is what a hook did.
type Result struct {
	Output    string // of both streams, at most 16 KiB: its beginning and end
	Exit      int    // -1 = killed, or never started
	Attempts  int
	Took      time.Duration
	Truncated bool
}

// HookError says that a hook failed.
type HookError struct {
	Stage    Stage
	Hook     Hook
	Result   Result
	TimedOut bool
	Err      error
}

// Error shows the command's program and the end of its output.
func (e *HookError) Error() string {
	what := fmt.Sprintf("exit status %d", e.Result.Exit)
	switch {
	case e.TimedOut:
		what = fmt.Sprintf("did not end within %v and was killed", e.Hook.limit())
	case e.Result.Exit < 0 && e.Err != nil:
		what = e.Err.Error()
	}
	text := fmt.Sprintf("%s hook %s: %s", e.Stage, e.Hook.name(), what)
	if e.Result.Attempts > 1 {
		text += fmt.Sprintf(" (tried %d times)", e.Result.Attempts)
	}
	if out := tail(e.Result.Output, 500); out != "" {
		text += ": " + out
	}
	return text
}

// Unwrap gives the system's error.
func (e *HookError) Unwrap() error { return e.Err }
