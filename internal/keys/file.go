package keys

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"chancery/internal/durable"
	"chancery/internal/owned"
)

const (
	// temporaryAge is how old a temporary file is before it counts as left
	// over from a crash: another process may be about to use a younger one.
	temporaryAge = time.Hour
	// fileLimit is the most octets a file of ours may have.
	fileLimit = 256 << 10
)

// openDir makes the directory if needed, for its owner only, and refuses one
// that others may write to, or that holds what is another's: keys of their own.
func openDir(dir string) error {
	if dir == "" {
		return errors.New("no key directory was given")
	}
	err := owned.MakeDir(dir)
	if err == nil {
		err = owned.Entries(dir)
	}
	if refusal, ok := errors.AsType[*owned.Refusal](err); ok {
		return fmt.Errorf("the key directory: %w: %w", ErrPermissions, refusal)
	}
	if err != nil {
		return fmt.Errorf("the key directory cannot be made or read: %w", err)
	}
	return nil
}

// sweep removes temporary files that a crash left.
func sweep(dir string, now time.Time) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("the key directory cannot be read: %w", err)
	}
	for _, e := range entries {
		if !durable.Temporary(e.Name()) {
			continue
		}
		info, err := e.Info()
		if missing(err) {
			continue
		}
		if err != nil {
			return err
		}
		if now.Sub(info.ModTime()) < temporaryAge {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !missing(err) {
			return err
		}
	}
	return nil
}

// private is a file that only its owner can read, from its first octet on.
func private(path string, data []byte) durable.File {
	return durable.File{Path: path, Data: data, Mode: 0o600, Owner: durable.Nobody}
}

// writeNew writes a file durably, or not at all. An error that is
// [fs.ErrExist] says that there is one: it is never overwritten, not even by
// two processes at once.
func writeNew(path string, data []byte) error { return durable.Create(private(path, data)) }

// replace writes a file durably in the place of another. A crash leaves either.
func replace(path string, data []byte) error { return durable.Write(private(path, data)) }

// retire moves a file to the first free of path.retired, path.retired.2 …
func retire(path string) error {
	for i := 1; ; i++ {
		to := path + ".retired"
		if i > 1 {
			to = fmt.Sprintf("%s.retired.%d", path, i)
		}
		err := os.Link(path, to)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.Remove(path); err != nil {
			return err
		}
		return durable.SyncDir(filepath.Dir(path))
	}
}

// read gives a file's octets.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, fileLimit+1))
	if err == nil && len(data) > fileLimit {
		return nil, fmt.Errorf("%w: %s is larger than anything that is kept here", ErrDamaged, path)
	}
	return data, err
}
