// Package durable changes files so that a crash at any moment leaves the old
// content or the new, never a mixture, and keeps two processes apart by locks
// that the kernel drops when a process ends, however it ends.
//
// A change is: a temporary file in the same directory, with its owner and mode
// before it has any content; the content; fsync; a rename; fsync of the directory.
//
// The room knows no other room, nor what the files are for.
package durable

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Trace, if not nil, is called before each step that changes the file system,
// with what is about to happen. It is for tests that end the process there; it
// is set before any other goroutine runs.
var Trace func(step string)

// Step announces a change of the file system to [Trace].
func Step(what, path string) {
	if Trace != nil {
		Trace(what + " " + filepath.Base(path))
	}
}

// infix marks the temporary files of this package: ".NAME.chancery-RANDOM".
const infix = ".chancery-"

// Owner says whom a new file belongs to. -1 leaves what the system gives it.
type Owner struct{ UID, GID int }

// Nobody leaves user and group as the system gives them.
var Nobody = Owner{-1, -1}

// File is a new content for a path.
type File struct {
	Path  string
	Data  []byte
	Mode  fs.FileMode // permission bits
	Owner Owner
}

// Stage writes the content into a temporary file beside Path, syncs it and gives
// its name. Nobody who may not read the result can read it at any time.
func Stage(f File) (temporary string, err error) {
	temporary = filepath.Join(filepath.Dir(f.Path), "."+filepath.Base(f.Path)+infix+rand.Text())
	Step("create", f.Path)
	out, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return "", Explain(err, f.Path)
	}
	err = fill(out, f)
	err = errors.Join(err, out.Close())
	if err != nil {
		return "", errors.Join(Explain(err, f.Path), os.Remove(temporary))
	}
	return temporary, nil
}

func fill(out *os.File, f File) error {
	if f.Owner != Nobody {
		if err := out.Chown(f.Owner.UID, f.Owner.GID); err != nil {
			return err
		}
	}
	// Not by the mode at creation, from which the umask takes bits away.
	if err := out.Chmod(f.Mode.Perm()); err != nil {
		return err
	}
	Step("write", f.Path)
	if _, err := out.Write(f.Data); err != nil {
		return err
	}
	return out.Sync()
}

// Write replaces the file at Path, or makes it.
func Write(f File) error {
	temporary, err := Stage(f)
	if err != nil {
		return err
	}
	Step("rename", f.Path)
	if err := os.Rename(temporary, f.Path); err != nil {
		return errors.Join(Explain(err, f.Path), os.Remove(temporary))
	}
	return SyncDir(filepath.Dir(f.Path))
}

// Create makes the file at Path, and refuses with fs.ErrExist when there is one.
func Create(f File) error {
	temporary, err := Stage(f)
	if err != nil {
		return err
	}
	Step("link", f.Path)
	err = os.Link(temporary, f.Path)
	if left := os.Remove(temporary); err == nil {
		err = left
	}
	if err != nil {
		return Explain(err, f.Path)
	}
	return SyncDir(filepath.Dir(f.Path))
}

// Rename moves within one directory, durably.
func Rename(from, to string) error {
	Step("rename", to)
	if err := os.Rename(from, to); err != nil {
		return Explain(err, to)
	}
	return SyncDir(filepath.Dir(to))
}

// Remove deletes a file, durably; one that is not there is no error.
func Remove(path string) error {
	Step("remove", path)
	if err := os.Remove(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return Explain(err, path)
	}
	return SyncDir(filepath.Dir(path))
}

// Symlink makes path a symbolic link to target; readers see the old link or the
// new one.
func Symlink(target, path string) error {
	temporary := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+infix+rand.Text())
	Step("symlink", path)
	if err := os.Symlink(target, temporary); err != nil {
		return Explain(err, path)
	}
	Step("swap", path)
	if err := os.Rename(temporary, path); err != nil {
		return errors.Join(Explain(err, path), os.Remove(temporary))
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes what was renamed, made or removed in a directory durable.
func SyncDir(dir string) error {
	Step("sync", dir)
	d, err := os.Open(dir)
	if err != nil {
		return Explain(err, dir)
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) { // some file systems cannot sync directories, and need not
		err = nil
	}
	if err = errors.Join(err, d.Close()); err != nil {
		return Explain(err, dir)
	}
	return nil
}

// Sweep removes temporary files that a crash left in dir, of the file called
// base, or of all if base is "". Only the holder of a lock on them may call it.
func Sweep(dir, base string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return Explain(err, dir)
	}
	for _, e := range entries {
		if !Temporary(e.Name()) || base != "" && !strings.HasPrefix(e.Name(), "."+base+infix) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return Explain(err, dir)
		}
	}
	return nil
}

// Temporary tells whether a file name is one that this package makes and renames.
func Temporary(name string) bool {
	return strings.HasPrefix(name, ".") && strings.Contains(name, infix)
}

// Explain adds to what the file system says about path what can be done about it.
func Explain(err error, path string) error {
	dir := filepath.Dir(path)
	var advice string
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		advice = "there is no space left: free some on the file system of " + dir + " and run it again, nothing was changed"
	case errors.Is(err, syscall.EROFS):
		advice = dir + " is on a read-only file system: choose another place, or add it to ReadWritePaths= of the service"
	case errors.Is(err, fs.ErrPermission):
		advice = "this user may not do that: run as root, or give user " + fmt.Sprint(os.Geteuid()) + " write access to " + dir
	case errors.Is(err, syscall.ENOTDIR):
		advice = "a part of that path is a file, not a directory"
	case errors.Is(err, syscall.ENAMETOOLONG):
		advice = "choose a shorter name"
	default:
		return fmt.Errorf("%s: %w", path, err)
	}
	return fmt.Errorf("%s: %w (%s)", path, err, advice)
}
