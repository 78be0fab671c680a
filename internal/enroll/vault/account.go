package vault

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"

	"chancery/internal/durable"
	"chancery/internal/enroll/install"
)

const (
	accountKey = "account.key"
	nextKey    = "account.key.next"
	// successorKey is of an account that is being made to take the place of the present one.
	successorKey = "account.key.successor"
)

func lowerHost(u *url.URL) string {
	copied := *u
	copied.Scheme, copied.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	if copied.Scheme == "https" {
		copied.Host = strings.TrimSuffix(copied.Host, ":443")
	}
	return copied.String()
}

// readKey reads a private key; one that is not there is ErrNone.
func readKey(path string) (crypto.Signer, error) {
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNone, path)
	}
	if err != nil {
		return nil, err
	}
	key, err := install.ParseKey(data)
	clear(data)
	if err != nil {
		return nil, &FileError{Path: path, Reason: "this private key cannot be read: restore it from a backup, or move it away to begin anew", Err: err}
	}
	return key, nil
}

// createKey gives the key at path, or makes one there before anybody uses it.
func createKey(path, keyType string) (crypto.Signer, error) {
	key, err := readKey(path)
	if !errors.Is(err, ErrNone) {
		return key, err
	}
	if key, err = install.NewKey(keyType); err != nil {
		return nil, err
	}
	return key, writeKey(path, key)
}

func writeKey(path string, key crypto.Signer) error {
	data, err := install.EncodeKey(key)
	if err != nil {
		return err
	}
	defer clear(data)
	return durable.Create(private(path, data))
}

// AccountKey gives the key of the account at a CA, ErrNone if there is none.
func (v *Vault) AccountKey(directory string) (crypto.Signer, error) {
	dir, err := v.caDir(directory)
	if err != nil {
		return nil, err
	}
	return readKey(filepath.Join(dir, accountKey))
}

// CreateAccountKey makes a key for an account at a CA, durable before it is
// returned, so that after a crash behind newAccount the account is found again by
// its key (RFC 8555 §7.3.1). If there is a key already it is returned.
func (v *Vault) CreateAccountKey(ctx context.Context, directory, keyType string) (key crypto.Signer, err error) {
	dir, err := v.caDir(directory)
	if err != nil {
		return nil, err
	}
	err = inDir(ctx, dir, func() (err error) {
		key, err = createKey(filepath.Join(dir, accountKey), keyType)
		return err
	})
	return key, err
}

// ImportAccountKey puts the key of an account that another client made into the
// vault; fs.ErrExist if there is one.
func (v *Vault) ImportAccountKey(ctx context.Context, directory string, key crypto.Signer) error {
	dir, err := v.caDir(directory)
	if err != nil {
		return err
	}
	return inDir(ctx, dir, func() error { return writeKey(filepath.Join(dir, accountKey), key) })
}

// AccountKeys gives the account's key, and the one that a key change is about to
// bring in, nil if none is under way. After a crash the server knows one of the
// two: ask with next first, then promote or drop it.
func (v *Vault) AccountKeys(directory string) (current, next crypto.Signer, err error) {
	dir, err := v.caDir(directory)
	if err != nil {
		return nil, nil, err
	}
	if current, err = readKey(filepath.Join(dir, accountKey)); err != nil {
		return nil, nil, err
	}
	next, err = readKey(filepath.Join(dir, nextKey))
	if errors.Is(err, ErrNone) {
		return current, nil, nil
	}
	return current, next, err
}

// NextAccountKey is the first half of a key change (RFC 8555 §7.3.5): it makes the
// new key, durable before the server hears of it, or gives the one that is left
// from a change that did not end.
func (v *Vault) NextAccountKey(ctx context.Context, directory, keyType string) (key crypto.Signer, err error) {
	dir, err := v.caDir(directory)
	if err != nil {
		return nil, err
	}
	err = inDir(ctx, dir, func() (err error) {
		if _, err := readKey(filepath.Join(dir, accountKey)); err != nil {
			return err
		}
		key, err = createKey(filepath.Join(dir, nextKey), keyType)
		return err
	})
	return key, err
}

// PromoteAccountKey is the second half: the server knows the new key now, which
// replaces the old one. ErrNone if no change is under way.
func (v *Vault) PromoteAccountKey(ctx context.Context, directory string) error {
	dir, err := v.caDir(directory)
	if err != nil {
		return err
	}
	return inDir(ctx, dir, func() error {
		next := filepath.Join(dir, nextKey)
		if _, err := readKey(next); err != nil {
			return err
		}
		return durable.Rename(next, filepath.Join(dir, accountKey))
	})
}

// DropNextAccountKey ends a key change that the server refused for certain.
func (v *Vault) DropNextAccountKey(ctx context.Context, directory string) error {
	dir, err := v.caDir(directory)
	if err != nil {
		return err
	}
	return inDir(ctx, dir, func() error { return durable.Remove(filepath.Join(dir, nextKey)) })
}

// DropAccount forgets the account at a CA and its key, which nobody can bring
// back: for an account that was deactivated. What else is known of the CA stays.
func (v *Vault) DropAccount(ctx context.Context, directory string) error {
	if err := v.UpdateCA(ctx, directory, func(ca *CA) error { ca.Account = nil; return nil }); err != nil {
		return err
	}
	dir, err := v.caDir(directory)
	if err != nil {
		return err
	}
	return inDir(ctx, dir, func() error {
		return errors.Join(durable.Remove(filepath.Join(dir, successorKey)), durable.Remove(filepath.Join(dir, nextKey)),
			durable.Remove(filepath.Join(dir, accountKey)))
	})
}

// SuccessorKey gives the key of an account that is to take the place of the present one,
// or makes it, durable before the server hears of it: an external account binding is made
// with an account and never after (RFC 8555 §7.3.4). The present account stays what it is.
// found tells that there was one, from an earlier attempt of which the server may know.
func (v *Vault) SuccessorKey(ctx context.Context, directory, keyType string) (key crypto.Signer, found bool, err error) {
	dir, err := v.caDir(directory)
	if err != nil {
		return nil, false, err
	}
	err = inDir(ctx, dir, func() (err error) {
		path := filepath.Join(dir, successorKey)
		if key, err = readKey(path); !errors.Is(err, ErrNone) {
			found = err == nil
			return err
		}
		key, err = createKey(path, keyType)
		return err
	})
	return key, found, err
}

// SucceedAccount puts the present account aside and the successor's key in the place of
// its key; the successor's account is not recorded yet. The old key stays in a file
// beside, for who has to come back to it. Whenever this is cut off, the account of the key
// that is in the place can be found by that key. ErrNone if there is no successor.
func (v *Vault) SucceedAccount(ctx context.Context, directory string) error {
	ca, err := v.CA(directory)
	if err != nil {
		return err
	}
	dir, err := v.caDir(directory)
	if err != nil {
		return err
	}
	place, successor := filepath.Join(dir, accountKey), filepath.Join(dir, successorKey)
	err = inDir(ctx, dir, func() error {
		if _, err := readKey(successor); err != nil || ca.Account == nil {
			return err
		}
		old, err := readFile(place)
		if err != nil {
			return err
		}
		defer clear(old)
		err = durable.Create(private(place+".retired-"+fingerprint(ca.Account.URL), old))
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	// The record first: a key without a recorded account is looked for at the server, but a
	// recorded account is taken for that of the key.
	if err := v.UpdateCA(ctx, directory, func(ca *CA) error { ca.Account = nil; return nil }); err != nil {
		return err
	}
	return inDir(ctx, dir, func() error {
		// A key change that did not end is the old account's, and must not come over the new one.
		if err := durable.Remove(filepath.Join(dir, nextKey)); err != nil {
			return err
		}
		return durable.Rename(successor, place)
	})
}
