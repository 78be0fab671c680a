package keys

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	temporary = ".tmp-"
	// temporaryAge is how old a temporary file is before it counts as left
	// over from a crash: another process may be about to use a younger one.
	temporaryAge = time.Hour
	// fileLimit is the most octets a file of ours may have.
	fileLimit = 256 << 10
)

// openDir makes the directory if needed, for its owner only, and refuses one
// that others may write to: they could put their own keys there.
func openDir(dir string) error {
	if dir == "" {
		return errors.New("no key directory was given")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("the key directory cannot be made: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("the key directory cannot be read: %w", err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("the key directory %s: %w (its mode is %04o); run chmod 700 %s", dir, ErrPermissions, info.Mode().Perm(), dir)
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
		if !strings.HasPrefix(e.Name(), temporary) {
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

// writeTemporary writes and syncs data to a new file in dir that only the owner
// can read, from its first octet on, and gives its path.
func writeTemporary(dir string, data []byte) (path string, err error) {
	path = filepath.Join(dir, temporary+rand.Text())
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		os.Remove(path)
		return "", err
	}
	return path, nil
}

// writeNew writes a file durably, or not at all. An error that is
// [fs.ErrExist] says that there is one: it is never overwritten, not even by
// two processes at once, since a link, other than a rename, does not replace.
func writeNew(path string, data []byte) error {
	dir := filepath.Dir(path)
	from, err := writeTemporary(dir, data)
	if err != nil {
		return err
	}
	err = os.Link(from, path)
	os.Remove(from) // if this fails, the next start sweeps it
	if err != nil {
		return err
	}
	return syncDir(dir)
}

// replace writes a file durably in the place of another. A crash leaves either.
func replace(path string, data []byte) error {
	dir := filepath.Dir(path)
	from, err := writeTemporary(dir, data)
	if err != nil {
		return err
	}
	if err := os.Rename(from, path); err != nil {
		os.Remove(from)
		return err
	}
	return syncDir(dir)
}

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
		return syncDir(filepath.Dir(path))
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

// syncDir makes a new name durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
