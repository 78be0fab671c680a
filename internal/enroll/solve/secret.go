package solve

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// maxSecret bounds a file with a secret.
const maxSecret = 64 << 10

// Secret is a value that is never shown: printing, logging or encoding it gives the word
// "hidden".
type Secret []byte

const hidden = "hidden"

// String hides the value.
func (Secret) String() string { return hidden }

// GoString hides the value.
func (Secret) GoString() string { return hidden }

// LogValue hides the value.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the value, from JSON and TOML too.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Format hides the value from all verbs of fmt, %x and %d among them.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// ReadSecret reads what a reference refers to: "file:PATH", or "credential:NAME" for a
// systemd credential (LoadCredential=). Whitespace around it is dropped. Files that
// others than owner and group may read are refused. Errors name the file, never what is
// in it.
func ReadSecret(reference string) (Secret, error) {
	kind, name, ok := strings.Cut(reference, ":")
	path := name
	switch {
	case ok && kind == "file" && name != "":
	case ok && kind == "credential" && name != "" && filepath.IsLocal(name):
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return nil, fmt.Errorf("credential %q: this program was not started with systemd credentials (LoadCredential=)", name)
		}
		path = filepath.Join(dir, name)
	default:
		// Perhaps the secret itself was put there: it is not repeated.
		return nil, fmt.Errorf("a secret must be given by reference, as file:PATH or credential:NAME")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("%s may be read by everybody (mode %04o): run chmod o= on it", path, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxSecret {
		return nil, fmt.Errorf("%s is larger than %d octets: is it the right file?", path, maxSecret)
	}
	secret := Secret(strings.TrimSpace(string(text)))
	if len(secret) == 0 {
		return nil, fmt.Errorf("%s is empty", path)
	}
	return secret, nil
}
