// Package notify tells people and their machines what happened: by mail, webhook,
// command, syslog, and lines that the journal reads. One incident is one message with
// one ID, which each channel delivers once; the outbox keeps what could not be
// delivered, over restarts.
//
// The room knows messages and how to send them. It must not know what they are about:
// of ours it imports only what writes files and makes texts safe to show.
package notify

import (
	"context"
	"fmt"
	"time"
)

// Severity says how much a message wants to be read.
type Severity int

// The severities.
const (
	Info Severity = iota
	Warning
	Error
)

var severities = [...]string{Info: "info", Warning: "warning", Error: "error"}

// String gives "info", "warning" or "error".
func (s Severity) String() string {
	if s < 0 || int(s) >= len(severities) {
		return fmt.Sprintf("severity %d", int(s))
	}
	return severities[s]
}

// MarshalText writes the severity's word.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the severity's word.
func (s *Severity) UnmarshalText(text []byte) error {
	for i, word := range severities {
		if word == string(text) {
			*s = Severity(i)
			return nil
		}
	}
	return fmt.Errorf("notify: %q is no severity: info, warning or error", text)
}

// Message is one thing to tell. It must hold no secret: it goes to mail servers, logs
// and other people's programs.
type Message struct {
	// ID is stable: one per incident and turn ("it fails", "it is well again"). Two
	// messages with one ID are one message.
	ID       string    `json:"id"`
	Time     time.Time `json:"time"`
	Severity Severity  `json:"severity"`
	Subject  string    `json:"subject"` // one line
	Text     string    `json:"text"`    // for reading, in lines
	// Data is the same for machines; it must be what JSON can hold.
	Data map[string]any `json:"data,omitempty"`
}

// Channel is a way to deliver messages.
type Channel interface {
	// Name tells the channel from others, over restarts: what was delivered is noted
	// under it.
	Name() string
	// Send delivers, and returns nil only if the other side took the message. The
	// error is a *Failure if the channel knows more about it.
	Send(ctx context.Context, m Message) error
}

// Failure is an error of a channel that says what may help.
type Failure struct {
	// Lasting: the other side said that this message will not do, so trying again soon
	// is of no use; somebody has to change something.
	Lasting bool
	// After is when the other side wants to be asked again; 0 if it did not say.
	After time.Duration
	Err   error
}

// Error is the cause's.
func (e *Failure) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *Failure) Unwrap() error { return e.Err }
