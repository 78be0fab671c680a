package enroll

import (
	"fmt"
	"strings"
	"time"

	"chancery/caa"
	"chancery/internal/enroll/vault"
)

// Result says how a run ended.
type Result string

// The results, with their exit codes (D17).
const (
	Issued     Result = "issued"      // 0
	NotDue     Result = "not-due"     // 1
	Undeployed Result = "undeployed"  // 2: there is one, obtained now or before, and it is not yet in use
	StillValid Result = "still-valid" // 2: failed, and the present certificate is still good
	Failed     Result = "failed"      // 3: there is none, or it has expired
)

// ExitCode is what a command ends with.
func (r Result) ExitCode() int {
	switch r {
	case Issued:
		return 0
	case NotDue:
		return 1
	case StillValid, Undeployed:
		return 2
	}
	return 3
}

// Outcome is what a run came to.
type Outcome struct {
	Result      Result        `json:"result"`
	Certificate string        `json:"certificate"`         // its label in the vault
	Issued      *vault.Issued `json:"issued,omitempty"`    // what there is now
	Previous    *vault.Issued `json:"previous,omitempty"`  // what was there before
	Attempts    []Attempt     `json:"attempts,omitempty"`  // every offer that was tried or passed over
	Terms       string        `json:"terms,omitempty"`     // of the CA that served: the URL to show (D12)
	Path        string        `json:"path,omitempty"`      // the directory with the present files
	Installed   []string      `json:"installed,omitempty"` // the files that were put in place
	Unused      string        `json:"unused,omitempty"`    // why the certificate is not in use, with Undeployed
	NotBefore   time.Time     `json:"notBefore,omitzero"`  // when a further try is sensible, after a failure
	Warnings    []string      `json:"warnings,omitempty"`  // what went wrong without harm, such as a hook
}

// Err is an *UndeployedError if the certificate is there and not in use, else nil.
func (o Outcome) Err() error {
	if o.Result != Undeployed {
		return nil
	}
	return &UndeployedError{Certificate: o.Certificate, Path: o.Path, Cause: o.Unused}
}

// Attempt is one offer of the plan and what became of it.
type Attempt struct {
	Issuer    string   `json:"issuer,omitempty"`
	Default   string   `json:"default,omitempty"`
	Kind      caa.Kind `json:"kind,omitempty"`
	Directory string   `json:"directory,omitempty"`
	Class     Class    `json:"class"`
	Tries     int      `json:"tries"`
	Error     string   `json:"error,omitempty"`
	// Advice is what a person can do about it.
	Advice     string    `json:"advice,omitempty"`
	RetryAfter time.Time `json:"retryAfter,omitzero"` // the CA is not asked before
}

// Name is what people call the CA of an attempt.
func (a Attempt) Name() string { return caName(a.Issuer, a.Default) }

// RunError says that no offer of the plan led to a certificate: what happened at each CA,
// and what to do.
type RunError struct {
	Names    []string
	Attempts []Attempt
}

// brief is a text of a stranger's for a list of them.
func brief(text string) string {
	const most = 500
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + " …"
	}
	return text
}

// Error has one line per CA, in bounds; the attempts hold all.
func (e *RunError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "no CA issued a certificate for %s:", strings.Join(e.Names, ", "))
	for _, a := range e.Attempts {
		fmt.Fprintf(&b, "\n  %s", a.Name())
		if a.Kind != caa.AnyKind {
			fmt.Fprintf(&b, " (%s)", a.Kind)
		}
		fmt.Fprintf(&b, ": %s", brief(a.Error))
		if a.Advice != "" {
			fmt.Fprintf(&b, "\n    %s", brief(a.Advice))
		}
	}
	return b.String()
}
