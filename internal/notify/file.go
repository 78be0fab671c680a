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

	"chancery/internal/durable"
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
	err = durable.Write(durable.File{Path: path, Data: text, Mode: 0o600, Owner: durable.Nobody})
	if err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	return nil
}

func remove(path string) error {
	if err := durable.Remove(path); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	return nil
}

// lock waits until no other process and no other goroutine holds the file's lock.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	if unlock, err = durable.Lock(ctx, path, "the outbox "+filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("notify: %w", err)
	}
	return unlock, nil
}
