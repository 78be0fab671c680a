package keys

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"chancery/internal/owned"
)

// Secret is something that must not be printed: a passphrase or a password. It
// prints as "[secret]" however it is formatted; [Secret.Reveal] gives it. The
// zero Secret is empty.
type Secret struct {
	// A function, which fmt cannot look behind: it does look behind pointers,
	// and calls no String method of a Secret in an unexported field.
	hidden func() *hidden
}

type hidden struct {
	value  []byte
	random bool // 256 random bits, which need no stretching
}

const redacted = "[secret]"

// NewSecret takes a copy of what somebody typed.
func NewSecret(value []byte) Secret {
	return hide(append([]byte(nil), value...))
}

// hide makes a secret of value itself.
func hide(value []byte) Secret {
	h := &hidden{value: value}
	return Secret{func() *hidden { return h }}
}

// Empty says whether there is no secret.
func (s Secret) Empty() bool { return s.hidden == nil || len(s.hidden().value) == 0 }

// Reveal gives the secret. Do not keep, print or log it.
func (s Secret) Reveal() string {
	if s.hidden == nil {
		return ""
	}
	return string(s.hidden().value)
}

// Take gives the secret itself, and no copy: whoever takes it overwrites it after use. The
// secret, with all its copies, is empty afterwards.
func (s Secret) Take() []byte {
	if s.hidden == nil {
		return nil
	}
	value := s.hidden().value
	s.hidden().value = nil
	return value
}

// Wipe overwrites the secret, in all its copies; it is empty afterwards. Strings
// that Reveal gave before stay in memory until they are collected.
func (s Secret) Wipe() {
	if s.hidden != nil {
		clear(s.hidden().value)
		s.hidden().value = nil
	}
}

// String does not tell.
func (Secret) String() string { return redacted }

// GoString does not tell.
func (Secret) GoString() string { return redacted }

// LogValue does not tell.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText does not tell JSON, TOML and their like.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// secretLimit is the most octets a secret may have.
const secretLimit = 64 << 10

// shareable are the permission bits that no secret named by a configuration may have:
// its group may read it, as a service may share it with this program, others may not.
// Whether the group may write is [owned.Opened]'s to say.
const shareable = 0o007

// ReadSecret reads a secret from where a configuration says it is:
//
//	file:PATH         a file of this user's or root's that others cannot read; its group may
//	credential:NAME   a systemd credential, in $CREDENTIALS_DIRECTORY
//
// One line break at the end is not part of it. Other forms are refused, the
// environment in particular: every process of the user can read it, and crash
// reports carry it along. Errors are [ErrSecret], [ErrNoFile],
// [ErrNoCredentials] and [ErrPermissions].
func ReadSecret(spec string) (Secret, error) {
	form, what, _ := strings.Cut(spec, ":")
	switch {
	case form == "file" && what != "":
		return readSecretFile(what, shareable)
	case form == "credential" && what != "":
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return Secret{}, fmt.Errorf("%w: %w; add LoadCredential=%s:/some/path to the unit, or use file:PATH", ErrSecret, ErrNoCredentials, what)
		}
		if what != filepath.Base(what) || what == "." || what == ".." {
			return Secret{}, fmt.Errorf("%w: %q is not the name of a credential", ErrSecret, what)
		}
		return readSecretFile(filepath.Join(dir, what), shareable)
	}
	// The text is not repeated: somebody may have put the secret itself there.
	return Secret{}, fmt.Errorf("%w: say where it is as file:PATH or credential:NAME; secrets are not read from the configuration or the environment", ErrSecret)
}

// readSecretFile reads a file on which none of the forbidden permission bits
// may be set.
func readSecretFile(path string, forbidden fs.FileMode) (Secret, error) {
	// A pipe that nobody writes to would keep an ordinary open waiting for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return Secret{}, fmt.Errorf("%w: %w", ErrSecret, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Secret{}, fmt.Errorf("%w: %w", ErrSecret, err)
	}
	if !info.Mode().IsRegular() {
		return Secret{}, fmt.Errorf("%w: %s %w, but %s; write the secret into a file of mode 0600", ErrSecret, path, ErrNoFile, kindOf(info.Mode()))
	}
	if info.Mode().Perm()&forbidden != 0 {
		return Secret{}, fmt.Errorf("%s: %w (its mode is %04o); run chmod 600 %s, and replace the secret if somebody may have seen it",
			path, ErrPermissions, info.Mode().Perm(), path)
	}
	if err := owned.Opened(f); err != nil {
		return Secret{}, fmt.Errorf("%w: %w", ErrPermissions, err)
	}
	value, err := io.ReadAll(io.LimitReader(f, secretLimit+1))
	if err != nil {
		return Secret{}, fmt.Errorf("%w: %w", ErrSecret, err)
	}
	if n := len(value); n > 0 && value[n-1] == '\n' {
		value = value[:n-1]
	}
	if n := len(value); n > 0 && value[n-1] == '\r' {
		value = value[:n-1]
	}
	if len(value) == 0 || len(value) > secretLimit {
		clear(value)
		return Secret{}, fmt.Errorf("%w: %s is empty or larger than %d octets", ErrSecret, path, secretLimit)
	}
	return hide(value), nil
}

// kindOf says what is no regular file.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	}
	return "a device or the like"
}

// missing says whether a file is not there.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
