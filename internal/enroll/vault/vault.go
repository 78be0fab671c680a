// Package vault is the client's state: accounts and their keys, credentials for
// external account bindings, what is known of CAs, certificates, and orders
// under way. Plain files below one directory, for its owner alone:
//
//	cas/ID/ca.json            what is known of an ACME directory; ID is a hash of its URL
//	cas/ID/directory.json     the directory itself, as last fetched; it may go at any time
//	cas/ID/account.key        the account's key, PKCS#8 PEM
//	cas/ID/account.key.next   the key that a key change is about to bring in
//	eab/ID.json               an external account binding, with its MAC key
//	certificates/NAME/record.json
//	certificates/NAME/pending.key          of the order under way
//	certificates/NAME/GENERATION/…         privkey.pem cert.pem chain.pem fullchain.pem
//	certificates/NAME/current -> GENERATION
//
// Every file is replaced as a whole, so a crash leaves the old one or the new;
// what takes two files is ordered so that the second can be made good from the
// first. The link "current" is swapped, so that who reads through it once opened
// never pairs a key with another's certificate. Locks keep two processes apart.
//
// A file that is damaged, or that a newer version wrote, is an error which names
// it, and is never reset: members that this version does not know are refused,
// since writing the file back would lose them. directory.json alone is as good as
// not there then. What could not be read again is not written, and what CAs say
// and grows is kept within bounds.
//
// The room must not know how certificates are obtained: no network, no ACME
// protocol, no configuration file; of package acme it keeps the form of an external
// account binding. Nothing of a CA's becomes part of a path.
package vault

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"chancery/internal/durable"
	"chancery/internal/owned"
)

// Vault is the state below one directory. Its methods may be used by several
// goroutines and processes at once.
type Vault struct{ dir string }

// ErrNone says that what was asked for is not in the vault.
var ErrNone = errors.New("not in the vault")

// BusyError says that another process or task holds a lock.
type BusyError = durable.BusyError

// FileError says that a file of the vault cannot be used.
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

// Unwrap gives what the reader said.
func (e *FileError) Unwrap() error { return e.Err }

// Open opens the vault at dir, which is made if it is not there.
func Open(dir string) (*Vault, error) {
	if dir == "" {
		return nil, errors.New("no data directory was given: set \"data\" in the configuration")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	v := &Vault{dir: dir}
	if err := v.own(); err != nil {
		return nil, err
	}
	return v, nil
}

// own makes the directories and refuses them if somebody else could have put anything
// there, or could do so: records hold commands.
func (v *Vault) own() error {
	shelves := []string{v.path("cas"), v.path("eab"), v.path("certificates")}
	for _, d := range append([]string{v.dir}, shelves...) {
		if err := owned.MakeDir(d); err != nil {
			return foreign(err, d)
		}
	}
	for _, d := range append([]string{v.dir}, shelves...) {
		if err := owned.Entries(d); err != nil {
			return foreign(err, d)
		}
	}
	return nil
}

// foreign words a refusal as the vault's.
func foreign(err error, dir string) error {
	if refusal, ok := errors.AsType[*owned.Refusal](err); ok {
		return &FileError{Path: refusal.Path, Reason: refusal.Reason}
	}
	return fmt.Errorf("the data directory cannot be used: %w", durable.Explain(err, dir))
}

// Dir is the vault's directory, absolute.
func (v *Vault) Dir() string { return v.dir }

func (v *Vault) path(parts ...string) string {
	return filepath.Join(append([]string{v.dir}, parts...)...)
}

// fingerprint makes a file name of a text that may come from anywhere.
func fingerprint(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

// fileLimit is more than any file of the vault needs.
const fileLimit = 4 << 20

// format is the version of every JSON file. It goes up with each new member: an
// older version then refuses the file instead of losing the member. Older ones are
// read as they are:
//
//	2: since and told of a record's tries; kept orders
const format = 2

// read decodes a JSON file. One that is not there is fs.ErrNotExist.
func read(path string, into any) error {
	data, err := readFile(path)
	if err != nil {
		return err
	}
	return decode(path, data, into)
}

// readFile reads a small file with as few system calls as can be: an agent reads
// ten thousand.
func readFile(path string) ([]byte, error) {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		if errors.Is(err, syscall.ELOOP) {
			return nil, &FileError{Path: path, Reason: "this is a symbolic link, and the vault makes none for files: see where it leads, and put the file itself here"}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		return nil, durable.Explain(err, path)
	}
	defer syscall.Close(fd)
	if err := owned.Descriptor(path, fd); err != nil {
		return nil, foreign(err, path)
	}
	data := make([]byte, 0, 4<<10)
	for {
		n, err := syscall.Read(fd, data[len(data):cap(data)])
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return nil, &FileError{Path: path, Reason: "this is no file of the vault, or the disk is failing: look at it, and move it away", Err: err}
		}
		data = data[:len(data)+n]
		if len(data) > fileLimit {
			return nil, &FileError{Path: path, Reason: "this is no file of the vault: it is too large; move it away"}
		}
		if len(data) < cap(data) { // of a file, that is the end
			return data, nil
		}
		data = slices.Grow(data, len(data))
	}
}

// decode reads what encode wrote.
func decode(path string, data []byte, into any) error {
	damaged := func(err error) error {
		return &FileError{Path: path, Reason: "this file is damaged: restore it from a backup, or move it away to begin anew with what it held", Err: err}
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	file := struct {
		Format int `json:"format"`
		Body   any `json:"body"`
	}{Body: into}
	err := decoder.Decode(&file)
	if file.Format > format || err != nil && newer(data) {
		return &FileError{Path: path, Reason: fmt.Sprintf("a newer version of chancery wrote this file, and this one reads up to format %d: use the newer version", format)}
	}
	switch {
	case err != nil:
		return damaged(err)
	case file.Format < 1:
		return damaged(fmt.Errorf("format %d", file.Format))
	case file.Body == nil:
		return damaged(errors.New("there is no body"))
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return damaged(errors.New("something follows the end"))
	}
	return nil
}

// newer tells whether a file that cannot be read is at least one of ours, with a
// higher format.
func newer(data []byte) bool {
	var header struct {
		Format int `json:"format"`
	}
	return json.Unmarshal(data, &header) == nil && header.Format > format
}

// encode escapes no more than JSON asks for: nobody puts it into a web page.
func encode(from any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	err := encoder.Encode(struct {
		Format int `json:"format"`
		Body   any `json:"body"`
	}{format, from})
	return b.Bytes(), err
}

// write replaces a JSON file, readable to its owner alone.
func write(path string, from any) error {
	data, err := encode(from)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return replace(path, data)
}

// replace is for what encode made. It refuses what could not be read again.
func replace(path string, data []byte) error {
	if len(data) > fileLimit {
		return &FileError{Path: path, Reason: fmt.Sprintf("it would get %d octets, and may have %d: it stays as it was", len(data), fileLimit)}
	}
	return durable.Write(private(path, data))
}

// private is a file that only its owner reads.
func private(path string, data []byte) durable.File {
	return durable.File{Path: path, Data: data, Mode: 0o600, Owner: durable.Nobody}
}

// makeDir makes a directory below one that is there.
func makeDir(dir string) error {
	durable.Step("mkdir", dir)
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return durable.Explain(err, dir)
	}
	return durable.SyncDir(filepath.Dir(dir))
}

// inDir runs change while nobody else changes the directory, which is made if
// it is not there. What crashes left is swept first.
func inDir(ctx context.Context, dir string, change func() error) error {
	unlock, err := openDir(ctx, dir, func() (func(), error) { return durable.LockDir(ctx, dir) })
	if err != nil {
		return err
	}
	defer unlock()
	if err := durable.Sweep(dir, ""); err != nil {
		return err
	}
	return change()
}

// openDir makes a directory if it is not there, and locks something of it; again, if it
// was removed in between.
func openDir(ctx context.Context, dir string, lock func() (func(), error)) (unlock func(), err error) {
	for {
		if err := makeDir(dir); err != nil {
			return nil, err
		}
		unlock, err = lock()
		if !errors.Is(err, fs.ErrNotExist) || ctx.Err() != nil {
			return unlock, err
		}
	}
}
