package vault

import (
	"context"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

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

// CAs gives all CAs with a record. It stops at the first that cannot be read.
func (v *Vault) CAs() ([]CA, error) {
	entries, err := os.ReadDir(v.path("cas"))
	if err != nil {
		return nil, durable.Explain(err, v.path("cas"))
	}
	var all []CA
	for _, e := range entries {
		if !e.IsDir() || durable.Temporary(e.Name()) {
			continue
		}
		ca, err := readCA(v.path("cas", e.Name()))
		switch {
		case errors.Is(err, fs.ErrNotExist): // only a key so far: a crash before the first record
			continue
		case err != nil:
			return nil, err
		}
		all = append(all, ca)
	}
	return all, nil
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
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	return durable.Lock(ctx, filepath.Join(dir, "lock"), "the account at "+directory)
}
