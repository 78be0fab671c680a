package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"chancery/internal/durable"
)

// patience is how long to wait for another installation, which takes less.
var patience = 10 * time.Second

func isBusy(err error) bool {
	_, busy := errors.AsType[*durable.BusyError](err)
	return busy
}

// sweep clears away what crashes left of the files.
func sweep(files []placed) error {
	for _, f := range files {
		if err := durable.SweepRoot(f.dir, f.base()); err != nil {
			return err
		}
	}
	return nil
}

// lockDirs locks all directories of the files, in one order for everybody.
func lockDirs(ctx context.Context, files []placed) (unlock func(), err error) {
	var held []func()
	unlock = func() {
		for _, release := range held {
			release()
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, dir := range directories(files) {
		release, err := durable.LockRoot(ctx, dir)
		if err != nil {
			unlock()
			return nil, err
		}
		held = append(held, release)
	}
	return unlock, nil
}

// change is one file on its way.
type change struct {
	placed
	staged, backup string // names in the directory; "" = none
	done           bool
}

// replace puts all files in place, or none.
func replace(files []placed) (err error) {
	changes := make([]*change, len(files))
	for i, f := range files {
		changes[i] = &change{placed: f}
	}
	defer func() {
		for _, c := range changes {
			err = errors.Join(err, c.finish(err != nil))
		}
		for _, dir := range directories(files) {
			err = errors.Join(err, durable.SyncRoot(dir))
		}
	}()
	for _, c := range changes {
		if c.staged, err = durable.StageIn(c.dir, c.File); err != nil {
			return err
		}
	}
	for _, c := range changes {
		if err = c.keep(); err != nil {
			return err
		}
	}
	for _, c := range changes {
		durable.Step("rename", c.Path)
		if err := c.dir.Rename(c.staged, c.base()); err != nil {
			return durable.Explain(err, c.Path)
		}
		c.staged, c.done = "", true
	}
	return nil
}

// directories gives each directory once, in the order of their paths.
func directories(files []placed) []*os.Root {
	byPath := map[string]*os.Root{}
	for _, f := range files {
		byPath[filepath.Dir(f.Path)] = f.dir
	}
	var dirs []*os.Root
	for _, path := range slices.Sorted(maps.Keys(byPath)) {
		dirs = append(dirs, byPath[path])
	}
	return dirs
}

// keep gives the present file a second name, under which it outlives the rename.
func (c *change) keep() error {
	backup := c.staged + "-old"
	durable.Step("link", c.Path)
	err := c.dir.Link(c.base(), backup)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil:
		c.backup = backup
		return nil
	}
	// Some file systems have no second names, and for a file of another user Linux
	// refuses one: a copy does as well, though with our modes.
	old, failed := c.dir.ReadFile(c.base())
	if failed != nil {
		return durable.Explain(err, c.Path)
	}
	defer clear(old)
	copied := c.File
	copied.Data = old
	c.backup, err = durable.StageIn(c.dir, copied)
	return err
}

// finish takes away what is in the way, after putting the old file back if the
// whole failed.
func (c *change) finish(failed bool) error {
	var err error
	if failed && c.done {
		durable.Step("undo", c.Path)
		if c.backup != "" {
			err = c.dir.Rename(c.backup, c.base())
		} else {
			err = c.dir.Remove(c.base())
		}
		if err != nil {
			err = fmt.Errorf("the old file could not be put back: %w", durable.Explain(err, c.Path))
		} else {
			c.backup = ""
		}
	}
	for _, left := range []string{c.staged, c.backup} {
		if left != "" && err == nil {
			if gone := c.dir.Remove(left); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
				err = durable.Explain(gone, left)
			}
		}
	}
	return err
}
