package durable

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestFiles(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	file := func(text string) File {
		return File{Path: path, Data: []byte(text), Mode: 0o644, Owner: Nobody}
	}
	check(t, Create(file("one")))
	if err := Create(file("two")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("created over a file: %v", err)
	}
	check(t, Write(file("three")))
	text, err := os.ReadFile(path)
	if info, _ := os.Stat(path); err != nil || string(text) != "three" || info.Mode() != 0o644 {
		t.Errorf("%q, %v, %v", text, info.Mode(), err)
	}
	check(t, Symlink("file", filepath.Join(dir, "link")))
	check(t, Symlink("other", filepath.Join(dir, "link")))
	if target, err := os.Readlink(filepath.Join(dir, "link")); err != nil || target != "other" {
		t.Errorf("%q, %v", target, err)
	}
	check(t, Rename(path, filepath.Join(dir, "moved")))
	check(t, Remove(filepath.Join(dir, "moved")))
	check(t, Remove(filepath.Join(dir, "moved")))
	if left := names(t, dir); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
	// What is staged is nobody else's file, and is swept by name.
	staged, err := Stage(file("four"))
	check(t, err)
	other, err := Stage(File{Path: filepath.Join(dir, "other"), Mode: 0o600, Owner: Nobody})
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, ".file"), nil, 0o600))
	check(t, Sweep(dir, "file"))
	if _, err := os.Stat(staged); err == nil {
		t.Error("not swept")
	}
	check(t, Sweep(dir, ""))
	if _, err := os.Stat(other); err == nil {
		t.Error("not swept")
	}
	if left := names(t, dir); len(left) != 2 {
		t.Errorf("swept too much, or too little: %v", left)
	}
}

// A write that fails leaves the old file and nothing else.
func TestFailedWriteLeavesTheOld(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	check(t, Write(File{Path: path, Data: []byte("old"), Mode: 0o600, Owner: Nobody}))
	if os.Geteuid() == 0 {
		// Root may do anything, but nobody writes where there is no directory.
		if err := Write(File{Path: filepath.Join(path, "below"), Mode: 0o600, Owner: Nobody}); !errors.Is(err, syscall.ENOTDIR) || !strings.Contains(err.Error(), "is a file, not a directory") {
			t.Errorf("%v", err)
		}
	} else {
		check(t, os.Chmod(dir, 0o500))
		err := Write(File{Path: path, Data: []byte("new"), Mode: 0o600, Owner: Nobody})
		check(t, os.Chmod(dir, 0o700))
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "write access to "+dir) {
			t.Errorf("%v", err)
		}
	}
	// The rename fails: a directory is in the way.
	check(t, os.MkdirAll(filepath.Join(dir, "taken", "x"), 0o700))
	if err := Write(File{Path: filepath.Join(dir, "taken"), Mode: 0o600, Owner: Nobody}); err == nil {
		t.Error("a directory is replaced")
	}
	if left := names(t, dir); len(left) != 2 {
		t.Errorf("left: %v", left)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "old" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestLocks(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "lock")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	unlock, err := Lock(over, path, "the thing") // done already, yet free
	check(t, err)
	_, err = Lock(over, path, "the thing")
	if busy, ok := errors.AsType[*BusyError](err); !ok || busy.PID != os.Getpid() || busy.What != "the thing" || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	unlock()
	unlock, err = Lock(over, path, "the thing")
	check(t, err)
	unlock()
	release, err := LockDir(t.Context(), dir)
	check(t, err)
	if _, err := LockDir(over, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	release()
	if _, err := LockDir(over, filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// Who waits for a lock whose file is removed and made anew locks the new one.
func TestLockOfARemovedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := Lock(t.Context(), path, "x")
	check(t, err)
	check(t, os.Remove(path))
	second, err := Lock(t.Context(), path, "x")
	check(t, err)
	got := make(chan error, 1)
	go func() {
		third, err := Lock(t.Context(), path, "x")
		if err == nil {
			third()
		}
		got <- err
	}()
	first() // frees a file that has no name any more
	select {
	case err := <-got:
		t.Errorf("two hold the lock (%v)", err)
	default:
	}
	second()
	check(t, <-got)
}
