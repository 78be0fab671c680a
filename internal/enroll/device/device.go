// Package device is the state of a device that is enrolled at an EST server, and what
// keeps it enrolled (RFC 7030): plain files below one directory, for its owner alone:
//
//	device.json       which server, what was asked for, what is under way
//	explicit.pem      the Explicit TA database: roots of the EST CA (RFC 7030 §3.1)
//	intermediates.pem what leads from them to certificates; verifies nothing by itself
//	pending.key       the key of the request under way, PKCS#8 PEM
//	GENERATION/…      privkey.pem cert.pem chain.pem fullchain.pem
//	refused.json      which PINs were wrong, if any was
//	current -> GENERATION
//
// A key in a PKCS#11 token or a TPM has in the place of its file what names it there
// ([token.Ref.File]). The names of those that are made in tokens are in device.json before
// the keys are, so that a crash leaves none that nobody knows of.
//
// Every file is replaced as a whole. A key is durable before the request that names it is
// sent; a certificate and its key become current together, by one write of device.json,
// after which the link is made good. So a crash at any moment leaves a request that can
// be finished, or a certificate that is in use. What is damaged, or was written by a newer
// version, is an error that names the file, and is never reset. Passwords are not kept:
// while a request is pending, where they are is.
//
// Time is the wall clock's, as certificates go by it; nothing is thrown away because of
// it, so a clock that jumps costs no more than an early or a late attempt.
//
// The room must not know the command line, nor ask anybody by itself: people are an
// interface ([Person]).
package device

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"chancery/est"
	"chancery/internal/durable"
	"chancery/internal/enroll/install"
	"chancery/internal/owned"
	"chancery/internal/token"
)

// Device is the state below one directory. One process works on it at a time: see
// [Device.Lock].
type Device struct {
	dir     string
	options Options
	tokens  *token.Tokens
	typed   bool                     // somebody was asked for a PIN
	opened  map[string]crypto.Signer // keys in tokens and TPMs, by what names them; as long as the lock is held
}

// Options are what a process brings along.
type Options struct {
	// Person answers questions; nil: nobody is there, and what needs a yes is refused.
	Person Person
	// PIN asks somebody for a PIN, and says whose; nil: nobody is there.
	PIN func(ctx context.Context, of string) ([]byte, error)
	// Helper is the path of the PKCS#11 helper; "": beside this program, or in PATH.
	Helper string
	// Observe is told what happens; nil: nobody is.
	Observe func(Event)
	// Dial makes connections; nil: the system does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Now is the clock; nil: [time.Now].
	Now func() time.Time
	// Wait: a pending request is waited for here; otherwise it is an
	// *[est.PendingError] and can be taken up again.
	Wait bool
	// UserAgent names this program to servers.
	UserAgent string
}

// Person is somebody who can be asked.
type Person interface {
	// Trust asks whether one of the roots is the right one, by its fingerprint, and
	// gives that; an error refuses (RFC 7030 §4.1.1).
	Trust(ctx context.Context, offer *est.Offer) (fingerprint string, err error)
	// Follow asks whether a request may go to another server (RFC 7030 §3.2.1); an
	// error refuses.
	Follow(ctx context.Context, from, to *url.URL) error
}

// Event is something that happened, in words for a person. The words of a server in it
// are not made fit for a terminal.
type Event struct {
	Kind    Kind      `json:"event"`
	Time    time.Time `json:"time"`
	Message string    `json:"message"`
}

// Kind is the sort of an event.
type Kind string

// The kinds of events.
const (
	Bootstrapped Kind = "bootstrapped" // the CA's root was confirmed
	Anchored     Kind = "anchors"      // the trust anchors changed
	Unproven     Kind = "unproven"     // a root came that nothing vouches for
	Asking       Kind = "asking"       // a request is sent
	Waiting      Kind = "waiting"      // it is pending
	Issued       Kind = "issued"       // a certificate is current
	Installed    Kind = "installed"    // it is in its places
	Ran          Kind = "hook"         // a command was run
	Warned       Kind = "warning"
	Failed       Kind = "failed"  // an attempt of the agent's came to nothing
	Planned      Kind = "planned" // when the agent looks next
)

// ErrNone says that the directory holds no device yet.
var ErrNone = errors.New("no device is enrolled here yet")

// FileError says that a file of the state cannot be used.
type FileError struct {
	Path   string
	Reason string // what is wrong and what to do
	Err    error  // may be nil
}

// Error names the file and says what to do.
func (e *FileError) Error() string {
	text := e.Path + ": " + e.Reason
	if e.Err != nil {
		text += " (" + e.Err.Error() + ")"
	}
	return text
}

// Unwrap gives the cause.
func (e *FileError) Unwrap() error { return e.Err }

// Open opens the state at dir, which is made if it is not there. A directory that others
// can change is refused: it holds keys, commands and what is trusted.
func Open(dir string, o Options) (*Device, error) {
	if dir == "" {
		return nil, errors.New("no directory was given for the device's keys and certificates")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Observe == nil {
		o.Observe = func(Event) {}
	}
	err = owned.MakeDir(dir)
	if err == nil {
		err = owned.Entries(dir)
	}
	if refusal, ok := errors.AsType[*owned.Refusal](err); ok {
		return nil, &FileError{Path: refusal.Path, Reason: strings.ReplaceAll(refusal.Reason, "with --data", "with --dir")}
	}
	if err != nil {
		return nil, durable.Explain(err, dir)
	}
	d := &Device{dir: dir, options: o, opened: map[string]crypto.Signer{}}
	tokens := token.Options{Read: readPIN, Refused: filepath.Join(dir, refusedFile), Helper: o.Helper}
	if o.PIN != nil {
		tokens.Ask = func(ctx context.Context, of string) ([]byte, error) {
			d.typed = true
			return o.PIN(ctx, of)
		}
	}
	d.tokens = token.New(tokens)
	return d, nil
}

// Dir is the directory, absolute.
func (d *Device) Dir() string { return d.dir }

func (d *Device) path(name ...string) string {
	return filepath.Join(append([]string{d.dir}, name...)...)
}

func (d *Device) tell(kind Kind, format string, args ...any) {
	d.options.Observe(Event{Kind: kind, Time: d.options.Now().UTC(), Message: fmt.Sprintf(format, args...)})
}

// Lock keeps other processes away until unlock is called. It waits until ctx is done; the
// error is then a *[durable.BusyError]. What a crash left half done is made good. Tokens
// are logged out of when it is unlocked.
func (d *Device) Lock(ctx context.Context) (unlock func(), err error) {
	free, err := durable.Lock(ctx, d.path("lock"), "the device at "+d.dir)
	if err != nil {
		return nil, err
	}
	if err := d.repair(); err != nil {
		free()
		return nil, err
	}
	return func() {
		d.release()
		free()
	}, nil
}

// release logs out of tokens.
func (d *Device) release() {
	clear(d.opened)
	// A helper that does not end by itself is none of this one's troubles.
	_ = d.tokens.Close()
}

// repair makes the link agree with the state, which is written first, and takes away
// what was never finished.
func (d *Device) repair() error {
	if err := durable.Sweep(d.dir, ""); err != nil {
		return err
	}
	s, err := d.State()
	if errors.Is(err, ErrNone) {
		return nil
	}
	if err != nil || s.Current == nil {
		return err
	}
	link := d.path(currentLink)
	if target, err := os.Readlink(link); err == nil && target == s.Current.Generation {
		return nil
	}
	if info, err := os.Lstat(link); err == nil && info.Mode().Type() != fs.ModeSymlink {
		return &FileError{Path: link, Reason: "should be a symbolic link to a generation: move it away, and it is made again"}
	}
	return durable.Symlink(s.Current.Generation, link)
}

const (
	stateFile   = "device.json"
	currentLink = "current"
	pendingKey  = "pending.key"
	refusedFile = "refused.json"
	fileLimit   = 4 << 20
	// format is the version of device.json. It goes up with each new member.
	format = 4 // 1 knew no shared secrets of CMC, 2 no keys in tokens, 3 not which of them had been certified
)

// State reads the state; [ErrNone] if there is none.
func (d *Device) State() (*State, error) {
	path := d.path(stateFile)
	text, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", d.dir, ErrNone)
	}
	if err != nil {
		return nil, err
	}
	s := &State{}
	file := struct {
		Format int    `json:"format"`
		Body   *State `json:"body"`
	}{Body: s}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	err = decoder.Decode(&file)
	var header struct {
		Format int `json:"format"`
	}
	if json.Unmarshal(text, &header) == nil && header.Format > format {
		return nil, &FileError{Path: path, Reason: fmt.Sprintf("a newer version of chancery wrote this file, and this one reads up to format %d: use the newer version", format)}
	}
	if err != nil || file.Format < 1 || file.Body == nil {
		return nil, &FileError{Path: path, Reason: "this file is damaged: restore it from a backup, or move the directory away and enrol anew", Err: err}
	}
	if s.Current != nil && install.GenerationNumber(s.Current.Generation) == 0 {
		return nil, &FileError{Path: path, Reason: "this file is damaged: it names no generation; restore it from a backup"}
	}
	if file.Format < 4 {
		s.Spent = slices.Clone(s.Made)
	}
	return s, nil
}

// save replaces the state. Call it under Lock.
func (d *Device) save(s *State) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	err := encoder.Encode(struct {
		Format int    `json:"format"`
		Body   *State `json:"body"`
	}{format, s})
	if err != nil {
		return err
	}
	return durable.Write(private(d.path(stateFile), b.Bytes()))
}

func private(path string, data []byte) durable.File {
	return durable.File{Path: path, Data: data, Mode: 0o600, Owner: durable.Nobody}
}

func public(path string, data []byte) durable.File {
	return durable.File{Path: path, Data: data, Mode: 0o644, Owner: durable.Nobody}
}

// readFile reads a file that nobody else can change.
func readFile(path string) ([]byte, error) {
	f, err := owned.Open(path)
	if refusal, ok := errors.AsType[*owned.Refusal](err); ok {
		return nil, &FileError{Path: refusal.Path, Reason: refusal.Reason}
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, fileLimit+1))
	if err == nil && len(data) > fileLimit {
		err = &FileError{Path: path, Reason: "this is no file of a device: it is too large; move it away"}
	}
	return data, err
}

// Bundle gives the key and chain of the current certificate; [ErrNone] if there is none.
func (d *Device) Bundle() (install.Bundle, error) {
	s, err := d.State()
	if err != nil {
		return install.Bundle{}, err
	}
	return d.bundle(context.Background(), s)
}
