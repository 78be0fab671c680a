package durable

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// These work in a directory that is open already, whatever its path leads to by now.
// Of File.Path only the last part counts to them; the whole is for messages.

// StageIn is [Stage] in an open directory; the name that it gives is within root.
func StageIn(root *os.Root, f File) (temporary string, err error) {
	temporary = "." + filepath.Base(f.Path) + infix + rand.Text()
	Step("create", f.Path)
	out, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", Explain(err, f.Path)
	}
	if err = errors.Join(fill(out, f), out.Close()); err != nil {
		return "", errors.Join(Explain(err, f.Path), root.Remove(temporary))
	}
	return temporary, nil
}

// LockRoot is [LockDir] for an open directory.
func LockRoot(ctx context.Context, root *os.Root) (unlock func(), err error) {
	d, err := root.Open(".")
	if err != nil {
		return nil, Explain(err, root.Name())
	}
	if err := acquire(ctx, d); err != nil {
		d.Close()
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return nil, &BusyError{What: root.Name(), Err: err}
		}
		return nil, Explain(err, root.Name())
	}
	return release(d), nil
}

// SyncRoot is [SyncDir] for an open directory.
func SyncRoot(root *os.Root) error {
	Step("sync", root.Name())
	d, err := root.Open(".")
	if err != nil {
		return Explain(err, root.Name())
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) { // as in SyncDir
		err = nil
	}
	if err = errors.Join(err, d.Close()); err != nil {
		return Explain(err, root.Name())
	}
	return nil
}

// SweepRoot is [Sweep] in an open directory, for the file called base.
func SweepRoot(root *os.Root, base string) error {
	d, err := root.Open(".")
	if err != nil {
		return Explain(err, root.Name())
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return Explain(err, root.Name())
	}
	for _, name := range names {
		if strings.HasPrefix(name, "."+base+infix) {
			if err := root.RemoveAll(name); err != nil {
				return Explain(err, root.Name())
			}
		}
	}
	return nil
}
