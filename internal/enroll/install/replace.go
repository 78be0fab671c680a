package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
func sweep(files []durable.File) error {
	for _, f := range files {
		if err := durable.Sweep(filepath.Dir(f.Path), filepath.Base(f.Path)); err != nil {
			return err
		}
	}
	return nil
}

// lockDirs locks all directories of the files, in one order for everybody.
func lockDirs(ctx context.Context, files []durable.File) (unlock func(), err error) {
	var held []func()
	unlock = func() {
		for _, release := range held {
			release()
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, dir := range directories(files) {
		release, err := durable.LockDir(ctx, dir)
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
	durable.File
	staged, backup string // "" = none
	done           bool
}

// replace puts all files in place, or none.
func replace(files []durable.File) (err error) {
	changes := make([]*change, len(files))
	for i, f := range files {
		changes[i] = &change{File: f}
	}
	defer func() {
		for _, c := range changes {
			err = errors.Join(err, c.finish(err != nil))
		}
		for _, dir := range directories(files) {
			err = errors.Join(err, durable.SyncDir(dir))
		}
	}()
	for _, c := range changes {
		if c.staged, err = durable.Stage(c.File); err != nil {
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
		if err := os.Rename(c.staged, c.Path); err != nil {
			return durable.Explain(err, c.Path)
		}
		c.staged, c.done = "", true
	}
	return nil
}

func directories(files []durable.File) []string {
	var dirs []string
	for _, f := range files {
		dirs = append(dirs, filepath.Dir(f.Path))
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// keep gives the present file a second name, under which it outlives the rename.
func (c *change) keep() error {
	backup := c.staged + "-old"
	durable.Step("link", c.Path)
	err := os.Link(c.Path, backup)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil:
		c.backup = backup
		return nil
	}
	// Some file systems have no second names, and for a file of another user Linux
	// refuses one: a copy does as well, though with our modes.
	old, failed := os.ReadFile(c.Path)
	if failed != nil {
		return durable.Explain(err, c.Path)
	}
	defer clear(old)
	copied := c.File
	copied.Data = old
	c.backup, err = durable.Stage(copied)
	return err
}

// finish takes away what is in the way, after putting the old file back if the
// whole failed.
func (c *change) finish(failed bool) error {
	var err error
	if failed && c.done {
		durable.Step("undo", c.Path)
		if c.backup != "" {
			err = os.Rename(c.backup, c.Path)
		} else {
			err = os.Remove(c.Path)
		}
		if err != nil {
			err = fmt.Errorf("the old file could not be put back: %w", durable.Explain(err, c.Path))
		} else {
			c.backup = ""
		}
	}
	for _, left := range []string{c.staged, c.backup} {
		if left != "" && err == nil {
			if gone := os.Remove(left); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
				err = durable.Explain(gone, left)
			}
		}
	}
	return err
}
