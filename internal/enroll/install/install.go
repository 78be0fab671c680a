// Package install puts a key and its certificates where the programs that use
// them look, tells what is installed there already, and runs the commands that
// make those programs take notice.
//
// Files are complete or the old ones; owner, group and mode are right before
// the first octet; when one of several files cannot be put in place, the others
// are put back. Programs that read certificate and key from two files can still
// catch the moment between two renames: let them read the one combined file, or
// the directory "current" that the vault swaps as a whole.
//
// Symbolic links are followed, in the directories of a path and at its end, if root or
// this user made them; a link of anybody else is refused. So is a directory on the way
// in which others may interfere; settle.go has the rules. A target that is a link stays
// one: what it points to is replaced.
//
// What comes from a CA reaches commands only as environment variables without
// control characters; no text of it ever becomes part of a command or a path.
//
// The room must not know where keys and certificates come from: no ACME, no
// vault, no configuration file.
package install

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
)

// Target says where a certificate goes and in what form. Each path is absolute,
// "" = not wanted.
type Target struct {
	Cert      string `json:"cert,omitempty"`      // the certificate alone, PEM
	Key       string `json:"key,omitempty"`       // the private key, PKCS#8 PEM
	Chain     string `json:"chain,omitempty"`     // the intermediates, PEM
	FullChain string `json:"fullChain,omitempty"` // certificate, then intermediates
	Combined  string `json:"combined,omitempty"`  // certificate, intermediates, key: as HAProxy reads it
	PKCS12    string `json:"pkcs12,omitempty"`    // all, for Java and Windows
	// PKCS12Password is "file:PATH" or "credential:NAME".
	PKCS12Password string `json:"pkcs12Password,omitempty"`
	// PKCS12Legacy encodes with 3DES and SHA-1, which Windows before Server 2019
	// and Java before 8u301 need.
	PKCS12Legacy bool   `json:"pkcs12Legacy,omitempty"`
	Owner        string `json:"owner,omitempty"`   // user of all files, name or number; "" = who runs this
	Group        string `json:"group,omitempty"`   // group of all files
	Mode         Mode   `json:"mode,omitempty"`    // of files without the key; 0 = 0644
	KeyMode      Mode   `json:"keyMode,omitempty"` // of files with the key; 0 = 0600
}

// Mode is a file's permissions, written "0640". 0 = not set.
type Mode fs.FileMode

// MarshalText writes "0640", or nothing for 0.
func (m Mode) MarshalText() ([]byte, error) {
	if m == 0 {
		return nil, nil
	}
	return fmt.Appendf(nil, "%04o", uint32(m)), nil
}

// UnmarshalText reads three or four octal digits.
func (m *Mode) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*m = 0
		return nil
	}
	n, err := strconv.ParseUint(string(text), 8, 32)
	if err != nil || n == 0 || n > 0o777 || len(text) > 4 {
		return fmt.Errorf("%.20q is no file mode: write octal digits in quotes, as \"0640\"", text)
	}
	*m = Mode(n)
	return nil
}

// String is "0640".
func (m Mode) String() string { return fmt.Sprintf("%04o", uint32(m)) }

// Bundle is what is installed.
type Bundle struct {
	Key   crypto.Signer
	Chain []*x509.Certificate // the certificate itself first, then who certifies it
}

// Check tells whether the key is the certificate's, and that there is one.
func (b Bundle) Check() error {
	if b.Key == nil || len(b.Chain) == 0 {
		return errors.New("there is no key or no certificate to install")
	}
	type comparable interface{ Equal(crypto.PublicKey) bool }
	public, ok := b.Key.Public().(comparable)
	if !ok || !public.Equal(b.Chain[0].PublicKey) {
		return errors.New("the private key is not the one of the certificate")
	}
	return nil
}

// TargetError says what is wrong with a target before anything was changed.
type TargetError struct {
	Path   string // "" = not a matter of one path
	Reason string // what is wrong and what to do
	Err    error  // what the system says; may be nil
}

// Error shows path and reason.
func (e *TargetError) Error() string {
	text := e.Reason
	if e.Path != "" {
		text = e.Path + ": " + text
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives the system's error.
func (e *TargetError) Unwrap() error { return e.Err }

// place is one wanted file.
type place struct {
	field  string // "cert", as the configuration calls it
	path   string
	secret bool // holds the private key
}

// places lists the wanted files, those with the key first: where a program
// looks for both, it then never finds a new certificate without any key.
func (t Target) places() []place {
	all := []place{
		{"key", t.Key, true}, {"combined", t.Combined, true}, {"pkcs12", t.PKCS12, true},
		{"chain", t.Chain, false}, {"cert", t.Cert, false}, {"fullchain", t.FullChain, false},
	}
	wanted := all[:0]
	for _, p := range all {
		if p.path != "" {
			wanted = append(wanted, p)
		}
	}
	return wanted
}

// Empty tells whether nothing is to be installed.
func (t Target) Empty() bool { return len(t.places()) == 0 }

// Paths lists the wanted files.
func (t Target) Paths() []string {
	var paths []string
	for _, p := range t.places() {
		paths = append(paths, p.path)
	}
	return paths
}

// Validate judges the target by itself, without looking at the file system. The
// error is a *TargetError.
func (t Target) Validate() error {
	seen := map[string]string{}
	for _, p := range t.places() {
		switch clean := filepath.Clean(p.path); {
		case !filepath.IsAbs(p.path):
			return &TargetError{Path: p.path, Reason: "must be an absolute path: a renewal runs in another directory"}
		case strings.ContainsAny(p.path, "\x00\n\r"):
			return &TargetError{Path: strconv.Quote(p.path), Reason: "holds a line break or NUL"}
		case strings.HasSuffix(p.path, "/"):
			return &TargetError{Path: p.path, Reason: "is a directory: add the name of the file"}
		case seen[clean] != "":
			return &TargetError{Path: p.path, Reason: "is named for " + seen[clean] + " and for " + p.field + ": choose two paths, or \"combined\" for one file with both"}
		default:
			seen[clean] = p.field
		}
	}
	if t.PKCS12 != "" && t.PKCS12Password == "" {
		return &TargetError{Path: t.PKCS12, Reason: "a PKCS#12 file needs a password: write it into a file and name that as \"file:PATH\""}
	}
	if t.PKCS12Password != "" && !strings.HasPrefix(t.PKCS12Password, "file:") && !strings.HasPrefix(t.PKCS12Password, "credential:") {
		// The text is not repeated: it may be the password.
		return &TargetError{Reason: "the PKCS#12 password is given by reference: write it into a file and name that as \"file:PATH\", or \"credential:NAME\""}
	}
	if t.KeyMode&0o007 != 0 {
		return &TargetError{Reason: fmt.Sprintf("key mode %s lets everybody read or change the private key: use 0600, or 0640 with a group", t.KeyMode)}
	}
	if (t.Mode|t.KeyMode)&0o022 != 0 {
		return &TargetError{Reason: "a mode must not let others than the owner write: use 0644 and 0600"}
	}
	return nil
}
