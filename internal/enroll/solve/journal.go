package solve

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"chancery/acme"
)

// Journal is a directory with one file for each answer that stands, so that what a crash
// leaves can be taken away at the next start. A file is locked by the process that wrote
// it, and the lock ends with the process: several processes may share a journal.
// A nil *Journal remembers nothing.
type Journal struct{ Dir string }

// entry is one file of the journal, open and locked. A nil *entry is none.
type entry struct {
	file *os.File
	path string
}

// maxEntry bounds what is read of one file.
const maxEntry = 64 << 10

// write makes an entry before the answer is put anywhere.
func (j *Journal) write(p presentation) (*entry, error) {
	if j == nil || p.Challenge.Type == acme.ChallengeDNSPersist01 { // which leaves nothing to take away
		return nil, nil
	}
	e, err := j.create(p)
	if err != nil {
		return nil, fmt.Errorf("the journal of challenges: %w", err)
	}
	return e, nil
}

func (j *Journal) create(p presentation) (*entry, error) {
	// Only what taking away needs: the rest is the server's, and of any size.
	p.Challenge = acme.Challenge{Type: p.Challenge.Type, Token: p.Challenge.Token}
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(j.Dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(j.Dir, ".new-*")
	if err != nil {
		return nil, err
	}
	e := &entry{f, f.Name()}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err == nil {
		// Only whole and locked files have the name that Sweep reads.
		path := filepath.Join(j.Dir, strings.TrimPrefix(filepath.Base(e.path), ".new-")+".json")
		if err = os.Rename(e.path, path); err == nil {
			e.path = path
		}
	}
	if err != nil {
		return nil, errors.Join(err, e.remove())
	}
	return e, nil
}

// remove ends an entry whose answer is gone.
func (e *entry) remove() error {
	if e == nil {
		return nil
	}
	defer e.file.Close()
	if err := os.Remove(e.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the journal of challenges: %w", err)
	}
	return nil
}

// abandon leaves an entry for a later Sweep.
func (e *entry) abandon() {
	if e != nil {
		e.file.Close()
	}
}
