package solve

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"chancery/acme"
)

// Error says that an answer could not be put in its place or taken away again. It is
// never the server's fault, so another server would fare no better: the cause, below, is
// the user's network, DNS or disk.
type Error struct {
	Identifier acme.Identifier
	Type       acme.ChallengeType
	Step       string // "present" or "clean up"
	Err        error
}

// Error says what failed, for which name, and why.
func (e *Error) Error() string {
	return fmt.Sprintf("%s of %s for %s: %v", e.Step, e.Type, quote(e.Identifier.Value), e.Err)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// ValueError is the refusal of something that the server sent: it breaks the
// specification and could do harm. It is the server's fault.
type ValueError struct {
	What   string // "token", "key authorisation", "identifier", "issuer domain name", …
	Value  string // shortened
	Reason string
}

// Error says what was sent and why it is refused.
func (e *ValueError) Error() string {
	return fmt.Sprintf("the server's %s %s is refused: %s", e.What, quote(e.Value), e.Reason)
}

// PortError says that a port cannot be listened on, and what to do.
type PortError struct {
	Address string
	Err     error
}

// Unwrap gives the operating system's error.
func (e *PortError) Unwrap() error { return e.Err }

// NoMethodError says that one name cannot be proven: nothing that is configured for it
// is permitted.
type NoMethodError struct {
	Identifier acme.Identifier
	Configured []acme.ChallengeType // for this name
	Permitted  []string             // by its CAA record; nil: all
}

// Error says what is configured and what would be permitted.
func (e *NoMethodError) Error() string {
	if len(e.Configured) == 0 && strings.HasPrefix(e.Identifier.Value, "*.") {
		return fmt.Sprintf("no way to prove %s is configured: wildcards are proven by dns-01 or dns-persist-01 alone; set up one of those (docs/solving.md)", quote(e.Identifier.Value))
	}
	if len(e.Configured) == 0 {
		return fmt.Sprintf("no way to prove %s is configured: set up http-01, tls-alpn-01, dns-01 or dns-persist-01 for it", quote(e.Identifier.Value))
	}
	return fmt.Sprintf("%s can be proven by %s here, but its CAA record permits only %s: set one of those up or change the record",
		quote(e.Identifier.Value), join(e.Configured), strings.Join(e.Permitted, ", "))
}

// MissingRecordError says which record dns-persist-01 needs and that it is not there.
type MissingRecordError struct {
	Name  string   // where it belongs, with the final dot
	Value string   // the TXT record's text to set
	Seen  []string // what is there instead and why it does not serve, for people
}

// Zone gives the record as a line of a zone file. A TXT record's strings hold up to 255
// octets each.
func (e *MissingRecordError) Zone() string {
	var parts []string
	for rest := e.Value; rest != ""; {
		n := min(len(rest), 255)
		parts = append(parts, `"`+rest[:n]+`"`)
		rest = rest[n:]
	}
	return fmt.Sprintf("%s 3600 IN TXT %s", e.Name, strings.Join(parts, " "))
}

// Error gives the record to set.
func (e *MissingRecordError) Error() string {
	text := "dns-persist-01 needs a record that is not there; set it once and try again:\n  " + e.Zone()
	for _, s := range e.Seen {
		text += "\n  (" + s + ")"
	}
	return text
}

// PropagationError says that a record was published but is not to be seen everywhere.
type PropagationError struct {
	Name, Value string
	Waited      time.Duration
	Lacking     []string // the servers, each with what it answered
}

// Error lists the servers that lack the record.
func (e *PropagationError) Error() string {
	return fmt.Sprintf("after %s the TXT record %q at %s is not to be seen at %s: is the zone transferred to all its servers? Wait longer or change what is checked",
		e.Waited.Round(time.Second), e.Value, e.Name, strings.Join(e.Lacking, "; "))
}

// UpdateError is a DNS server's refusal of an update (RFC 2136 §2.2, RFC 8945 §5.2).
type UpdateError struct {
	Server, Zone string
	Code         string // "REFUSED", "NOTAUTH", "BADSIG", …
	Hint         string // what to do
}

// Error says who refused what.
func (e *UpdateError) Error() string {
	return fmt.Sprintf("%s answered the update of zone %s with %s: %s", e.Server, e.Zone, e.Code, e.Hint)
}

// HookError says that the user's program failed.
type HookError struct {
	Program, Action string
	Output          string // the end of what it wrote, printable
	Err             error  // *exec.ExitError, or why it could not be started
}

// Error says which program failed and what it wrote last.
func (e *HookError) Error() string {
	text := fmt.Sprintf("%s %s: %v", e.Program, e.Action, e.Err)
	if e.Output != "" {
		text += ": " + e.Output
	}
	return text
}

// Unwrap gives the cause.
func (e *HookError) Unwrap() error { return e.Err }

// BusyError says that another order of this process is proving the same name by
// tls-alpn-01, which can show one answer at a time.
type BusyError struct{ Name string }

// Error names the name.
func (e *BusyError) Error() string {
	return fmt.Sprintf("another order is proving %s by tls-alpn-01 right now: try again when it is done", quote(e.Name))
}

// wrap makes an *Error of what a solver says, unless it blames the server.
func wrap(step string, p presentation, err error) error {
	var refused *ValueError
	if err == nil || errors.As(err, &refused) {
		return err
	}
	return &Error{Identifier: p.Identifier, Type: p.Challenge.Type, Step: step, Err: err}
}

func join(types []acme.ChallengeType) string {
	var words []string
	for _, t := range types {
		words = append(words, string(t))
	}
	return strings.Join(words, ", ")
}
