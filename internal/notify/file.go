package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// DamagedError says that a file of the outbox cannot be read. It is left as it is: look
// at it, and remove it if the message does not matter.
type DamagedError struct {
	Path string
	Err  error
}

// Error names the file.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("notify: the message in %s cannot be read; look at it, and remove it if it does not matter: %v", e.Path, e.Err)
}

// Unwrap gives the cause.
func (e *DamagedError) Unwrap() error { return e.Err }

// hash makes a file name of an ID, which may hold anything.
func hash(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:16])
}

func (o *Outbox) waiting(id string) string { return filepath.Join(o.dir, "waiting", hash(id)+".json") }
func (o *Outbox) told(id string) string    { return filepath.Join(o.dir, "told", hash(id)+".json") }

func readEntry(path string) (entry, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return entry{}, err
	}
	var e entry
	if err == nil {
		err = json.Unmarshal(text, &e)
	}
	if err == nil && filepath.Base(path) != hash(e.Message.ID)+".json" {
		err = errors.New("it holds the message of another file")
	}
	if err != nil {
		return entry{}, &DamagedError{path, err}
	}
	return e, nil
}

// writeEntry puts a file in place so that after a power cut there is the old one or the
// new one, whole.
func writeEntry(path string, e entry) error {
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	defer os.Remove(f.Name()) // in vain once it is moved
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	return nil
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("notify: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}

// lock waits until no other process and no other goroutine holds the file's lock. The
// kernel drops it when its process ends, however it ends.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("notify: %w", err)
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { syscall.Flock(int(f.Fd()), syscall.LOCK_UN); f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("notify: locking %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("notify: another process is busy with the outbox (%s): %w", path, ctx.Err())
		case <-time.After(wait):
		}
	}
}
