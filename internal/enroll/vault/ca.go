package vault

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"chancery/internal/durable"
)

// canonical makes one text of the ways to write a directory's URL that differ
// only in what RFC 3986 §6.2.2 calls equal: the case of scheme and host, and a
// default port.
func canonical(directory string) (string, error) {
	u, err := url.Parse(directory)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return "", errors.New("the directory of a CA must be a URL, as https://ca.example/acme/directory")
	}
	return lowerHost(u), nil
}

func (v *Vault) caDir(directory string) (string, error) {
	name, err := canonical(directory)
	if err != nil {
		return "", err
	}
	return v.path("cas", fingerprint(name)), nil
}

// CA gives what is known of the CA with this directory URL; of one never heard
// of, a record with the URL alone. The error is a *FileError for a damaged file.
func (v *Vault) CA(directory string) (CA, error) {
	dir, err := v.caDir(directory)
	if err != nil {
		return CA{}, err
	}
	ca, err := readCA(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return CA{Directory: directory}, nil
	}
	return ca, err
}

func readCA(dir string) (ca CA, err error) {
	path := filepath.Join(dir, "ca.json")
	if err := read(path, &ca); err != nil {
		return CA{}, err
	}
	name, err := canonical(ca.Directory)
	if err != nil || fingerprint(name) != filepath.Base(dir) {
		return CA{}, &FileError{Path: path, Reason: "this file belongs to another CA than its directory's name says: restore it from a backup, or move the directory away"}
	}
	return ca, nil
}

// CAs gives all CAs whose record can be read. The error joins a *FileError for each
// that cannot; the others are there all the same.
func (v *Vault) CAs() ([]CA, error) {
	entries, err := os.ReadDir(v.path("cas"))
	if err != nil {
		return nil, durable.Explain(err, v.path("cas"))
	}
	var all []CA
	var damaged []error
	for _, e := range entries {
		if !e.IsDir() || durable.Temporary(e.Name()) {
			continue
		}
		ca, err := readCA(v.path("cas", e.Name()))
		switch {
		case errors.Is(err, fs.ErrNotExist): // only a key so far: a crash before the first record
			continue
		case err != nil:
			damaged = append(damaged, err)
			continue
		}
		all = append(all, ca)
	}
	return all, errors.Join(damaged...)
}

// UpdateCA reads the record of a CA, lets change alter it, and writes it back;
// no other process does the same meanwhile. If change fails nothing is written.
func (v *Vault) UpdateCA(ctx context.Context, directory string, change func(*CA) error) error {
	dir, err := v.caDir(directory)
	if err != nil {
		return err
	}
	return inDir(ctx, dir, func() error {
		ca, err := readCA(dir)
		if errors.Is(err, fs.ErrNotExist) {
			ca, err = CA{Directory: directory}, nil
		}
		if err != nil {
			return err
		}
		kept := ca.Directory
		if err := change(&ca); err != nil {
			return err
		}
		ca.Directory = kept
		ca.shorten()
		return write(filepath.Join(dir, "ca.json"), ca)
	})
}

// LockCA keeps other processes from doing what takes long at a CA and must not be
// done twice: registering an account, changing its key. It waits until ctx is
// done; the error is then a *BusyError. UpdateCA works meanwhile.
func (v *Vault) LockCA(ctx context.Context, directory string) (unlock func(), err error) {
	dir, err := v.caDir(directory)
	if err != nil {
		return nil, err
	}
	return openDir(ctx, dir, func() (func(), error) {
		return durable.Lock(ctx, filepath.Join(dir, "lock"), "the account at "+directory)
	})
}

// What is kept of a CA's words.
const (
	mostContacts = 16
	mostTerms    = 32 // the newest
	mostIssuers  = 64
	longestText  = 2048
)

// shorten keeps what grows by what CAs say, and by how owners call them, in bounds.
func (c *CA) shorten() {
	c.Terms = c.Terms[max(0, len(c.Terms)-mostTerms):]
	for i := range c.Terms {
		c.Terms[i].URL = clip(c.Terms[i].URL)
	}
	c.Issuers = c.Issuers[max(0, len(c.Issuers)-mostIssuers):]
	c.Circuit.Cause = clip(c.Circuit.Cause)
	if c.Incident != nil {
		c.Incident.Cause = clip(c.Incident.Cause)
	}
	if c.Account != nil {
		a := *c.Account
		a.Contacts = slices.Clone(a.Contacts[:min(len(a.Contacts), mostContacts)])
		a.Contacts = slices.DeleteFunc(a.Contacts, func(contact string) bool { return len(contact) > longestText })
		a.Status = clip(a.Status)
		c.Account = &a
	}
}

func clip(text string) string {
	if len(text) <= longestText {
		return text
	}
	return strings.ToValidUTF8(text[:longestText], "")
}

// directoryLimit is more than any directory needs that the client accepts.
const directoryLimit = 256 << 10

// DirectoryText gives a CA's directory as KeepDirectory left it, nil if there is none,
// or what is there cannot be used: it can be fetched again.
func (v *Vault) DirectoryText(directory string) json.RawMessage {
	dir, err := v.caDir(directory)
	if err != nil {
		return nil
	}
	var text json.RawMessage
	if read(filepath.Join(dir, directoryFile), &text) != nil {
		return nil
	}
	return text
}

// KeepDirectory keeps a directory in the engine's form; nil forgets it, and one that is
// too large is not kept.
func (v *Vault) KeepDirectory(ctx context.Context, directory string, text json.RawMessage) error {
	dir, err := v.caDir(directory)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, directoryFile)
	return inDir(ctx, dir, func() error {
		if len(text) == 0 || len(text) > directoryLimit {
			return durable.Remove(path)
		}
		return write(path, text)
	})
}

const directoryFile = "directory.json"
