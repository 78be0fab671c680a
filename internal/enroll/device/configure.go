package device

import (
	"errors"
	"fmt"
	"time"

	"chancery/est"
	"chancery/internal/durable"
)

// ElsewhereError says that the directory belongs to another server.
type ElsewhereError struct {
	Server, Wanted string // as they were named, with their labels
	// Enrolled: there is a certificate; otherwise only a request or anchors, which can be
	// forgotten.
	Enrolled bool
	Anchors  bool // trust anchors are what is there
}

// Error says how to go on.
func (e *ElsewhereError) Error() string {
	switch {
	case e.Enrolled:
		return fmt.Sprintf("this directory is enrolled at %s: use another directory for %s", e.Server, e.Wanted)
	case e.Anchors:
		return fmt.Sprintf("this directory trusts the CA of %s, which says nothing of %s: use another directory, or give --anew to forget what is trusted and confirm the new server's CA", e.Server, e.Wanted)
	}
	return fmt.Sprintf("a request to %s is under way in this directory: use another directory for %s, or give --anew to forget it", e.Server, e.Wanted)
}

// Configure makes, or changes, what is wanted. It does not touch a certificate, and
// leaves neither a certificate, a request nor anchors to another server than they are
// of: that is an *[ElsewhereError]. Call it under Lock.
func (d *Device) Configure(change func(*Settings) error) (*State, error) {
	return d.configure(change, false)
}

// ConfigureAnew is [Device.Configure] for a person who said that what is trusted, and the
// request under way, may be forgotten when the server changes. A certificate may not.
func (d *Device) ConfigureAnew(change func(*Settings) error) (*State, error) {
	return d.configure(change, true)
}

func (d *Device) configure(change func(*Settings) error, anew bool) (*State, error) {
	s, err := d.State()
	if errors.Is(err, ErrNone) {
		s, err = &State{}, nil
	}
	if err != nil {
		return nil, err
	}
	before := s.Settings
	s.before = &before
	if err := change(&s.Settings); err != nil {
		return nil, err
	}
	if err := s.Settings.Check(); err != nil {
		return nil, err
	}
	moved, err := d.moved(s, before)
	if err != nil {
		return nil, err
	}
	if moved != nil {
		if moved.Enrolled || !anew {
			return nil, moved
		}
		if err := d.forget(s); err != nil {
			return nil, err
		}
		if err := d.save(s); err != nil {
			return nil, err
		}
		return s, durable.Remove(d.path(pendingKey))
	}
	return s, d.save(s)
}

// Withdraw puts the settings back as they were before [Device.Configure] gave s, after what
// they were for failed: a word that was wrong is not to count the next time. They stay
// where a request under way was made by them, and the server's address does where anchors
// are its. Call it under Lock.
func (d *Device) Withdraw(s *State, failed error) error {
	_, another := errors.AsType[*UnderWayError](failed)
	if s.before == nil || s.Pending != nil && !another {
		return nil
	}
	wanted := s.Settings
	s.Settings = *s.before
	explicit, err := optional(d.path(explicitFile))
	switch {
	case err != nil:
		return err
	case len(explicit) > 0 && s.Settings.Server != wanted.Server:
		s.Settings = Settings{Server: wanted.Server}
	case s.Settings.Server == "":
		return durable.Remove(d.path(stateFile))
	}
	return d.save(s)
}

// moved tells whether the settings lead elsewhere than what the directory holds is for;
// nil if they do not. The labels of one server share its CA's anchors, not its requests.
func (d *Device) moved(s *State, before Settings) (*ElsewhereError, error) {
	if before.Server == "" {
		return nil, nil
	}
	base, label, err := est.ServerURL(before.Server, before.Label)
	if err != nil {
		return nil, &FileError{Path: d.path(stateFile), Reason: "this file is damaged: it names no server", Err: err}
	}
	now, nowLabel, err := est.ServerURL(s.Settings.Server, s.Settings.Label)
	if err != nil {
		return nil, err
	}
	explicit, err := optional(d.path(explicitFile))
	if err != nil {
		return nil, err
	}
	away := origin(base.Hostname(), base.Port()) != origin(now.Hostname(), now.Port())
	e := &ElsewhereError{
		Server: named(before), Wanted: named(s.Settings), Enrolled: s.Current != nil,
		Anchors: len(explicit) > 0 || s.ImplicitOff || s.Sequence != "",
	}
	if away && (e.Enrolled || e.Anchors || s.Pending != nil) || label != nowLabel && (e.Enrolled || s.Pending != nil) {
		return e, nil
	}
	return nil, nil
}

func named(s Settings) string {
	if s.Label == "" {
		return s.Server
	}
	return s.Server + ", label " + s.Label
}

func origin(host, port string) string {
	if port == "" {
		port = "443"
	}
	return host + ":" + port
}

// forget takes away what another server's CA is trusted for, and the request to it, whose
// key goes after the state is saved. A crash in between leaves the old server named, and
// its CA to be confirmed again.
func (d *Device) forget(s *State) error {
	for _, name := range []string{explicitFile, intermediatesFile} {
		if err := durable.Remove(d.path(name)); err != nil {
			return err
		}
	}
	s.ImplicitOff, s.Sequence, s.Refresh = false, "", time.Time{}
	s.Pending, s.Tries = nil, Tries{}
	return nil
}
