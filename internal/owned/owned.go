// Package owned tells whether somebody else could change what this process is about to
// rely on: a directory with keys and state, a file with settings or a secret. Root and
// the process's own user may; nobody else. The way to a directory is judged as sshd's
// StrictModes does.
//
// It judges and reads; it changes nothing but what MakeDir makes. The room knows no
// other room, nor what the files are for.
package owned

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Refusal says that others could change, or read, what is at Path.
type Refusal struct {
	Path   string
	Reason string // what is wrong and what to do
}

// Error names the path and says what to do.
func (r *Refusal) Error() string { return r.Path + ": " + r.Reason }

// Name is the user's name and number, or the number alone.
func Name(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return fmt.Sprintf("%s (user %d)", u.Username, uid)
	}
	return fmt.Sprintf("user %d", uid)
}

// self is for whom it is judged.
type self struct{ uid, gid int }

func us() self { return self{os.Geteuid(), os.Getegid()} }

// facts are what is judged of a file or directory.
type facts struct {
	uid, gid int // -1 = not known
	mode     fs.FileMode
}

func factsOf(info fs.FileInfo) facts {
	f := facts{-1, -1, info.Mode()}
	if status, ok := info.Sys().(*syscall.Stat_t); ok {
		f.uid, f.gid = int(status.Uid), int(status.Gid)
	}
	return f
}

// apart tells whether somebody else than root and us owns it.
func (s self) apart(f facts) bool { return f.uid != 0 && f.uid != s.uid }

// shared tells whether the mode lets others write. A group with the number of this user,
// as most systems make one for each, is this user's alone; root's is not, as it is where
// operators are put.
func (s self) shared(f facts) bool {
	mode := f.mode.Perm()
	if s.uid != 0 && s.uid == s.gid && f.gid == s.gid {
		mode &^= 0o020
	}
	return mode&0o022 != 0
}

// final judges the directory that is asked for.
func (s self) final(dir string, f facts) error {
	if s.apart(f) {
		return &Refusal{dir, fmt.Sprintf("this directory belongs to %s, who may have prepared what is in it: run this as that user, choose another directory with --data, or look at all that is in it, remove what is not yours, and run chown -hR %d %s", Name(f.uid), s.uid, dir)}
	}
	if s.shared(f) {
		return &Refusal{dir, fmt.Sprintf("others may change it (its mode is %04o): they could put their own files there; look at what is in it, then run chmod 700 %s", f.mode.Perm(), dir)}
	}
	return nil
}

// passed judges a directory on the way. One with the sticky bit, as /tmp, may let
// everybody add, as what is ours stays in place; one of root's group may let that group.
func (s self) passed(dir string, f facts) error {
	if s.apart(f) {
		return &Refusal{dir, fmt.Sprintf("this directory belongs to %s, who could exchange what is in it: run this as that user, or keep the data elsewhere", Name(f.uid))}
	}
	mode := f.mode
	if f.gid == 0 || f.gid == s.gid {
		mode &^= 0o020
	}
	if mode&fs.ModeSticky == 0 && mode.Perm()&0o022 != 0 {
		return &Refusal{dir, fmt.Sprintf("others may exchange what is in this directory (its mode is %04o): run chmod go-w %s, or keep the data elsewhere", f.mode.Perm(), dir)}
	}
	return nil
}

// entry judges what a directory of ours holds, itself and not what a link leads to.
func (s self) entry(name string, f facts) error {
	if s.apart(f) {
		what := "belongs to"
		if f.mode.Type() == fs.ModeSymlink {
			what = "is a symbolic link of"
		}
		return &Refusal{name, fmt.Sprintf("%s %s, and not to who uses it: remove it, or look at what is in it and run chown -h %d %s", what, Name(f.uid), s.uid, name)}
	}
	if f.mode.Type() != fs.ModeSymlink && s.shared(f) {
		return &Refusal{name, fmt.Sprintf("others may change it (its mode is %04o): look at what is in it, then run chmod go-w %s", f.mode.Perm(), name)}
	}
	return nil
}

const mostLinks = 10

// Dir judges a directory and every part of the way to it, links included. Errors are
// *[Refusal] and the file system's, [fs.ErrNotExist] if it is not there.
func Dir(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	return us().walk(dir)
}

func (s self) walk(dir string) error {
	here, links := "/", 0
	info, err := os.Lstat(here)
	if err != nil {
		return err
	}
	for rest := strings.Split(dir, "/"); len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			here = path.Dir(here)
			if info, err = os.Lstat(here); err != nil {
				return err
			}
			continue
		}
		if err := s.passed(here, factsOf(info)); err != nil {
			return err
		}
		full := path.Join(here, name)
		if info, err = os.Lstat(full); err != nil {
			return err
		}
		if info.Mode().Type() != fs.ModeSymlink {
			here = full
			continue
		}
		if err := s.entry(full, factsOf(info)); err != nil {
			return err
		}
		if links++; links > mostLinks {
			return &Refusal{dir, "leads through more than ten symbolic links: name the directory itself"}
		}
		target, err := os.Readlink(full)
		if err != nil {
			return err
		}
		if path.IsAbs(target) {
			here = "/"
		}
		if info, err = os.Lstat(here); err != nil {
			return err
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	if !info.IsDir() {
		return &Refusal{here, "is a file where a directory should be: move it away, or choose another place"}
	}
	return s.final(here, factsOf(info))
}

// MakeDir makes the directory, for its owner alone, if it is not there, and judges it as
// [Dir]. Nothing is made at the end of a way that others could change.
func MakeDir(dir string) error {
	err := Dir(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return Dir(dir)
}

// Entry judges one thing in a directory that was judged: whose it is, and whether others
// may write it. Of a link only the owner counts. What is not there is no error.
func Entry(name string) error {
	info, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return us().entry(name, factsOf(info))
}

// Entries judges all that a directory holds, as [Entry].
func Entries(dir string) error {
	all, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range all {
		if err := Entry(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// Open opens a file of which the contents decide what this process does, and judges what
// was opened. Errors are *[Refusal] and the file system's.
func Open(name string) (*os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	if err := Opened(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Opened judges a file that is open as [Open] does.
func Opened(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return us().content(f.Name(), factsOf(info))
}

// Program judges a program that is about to be run, given by its path, as [Open] does a
// file; where links lead, and not the links. Of what is not there there is nothing to
// judge: running it says so.
func Program(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	return us().content(path, factsOf(info))
}

// Descriptor judges a regular file that is open as [Open] does, at the price of one
// system call.
func Descriptor(name string, fd int) error {
	var status syscall.Stat_t
	if err := syscall.Fstat(fd, &status); err != nil {
		return err
	}
	return us().content(name, facts{int(status.Uid), int(status.Gid), fs.FileMode(status.Mode & 0o777)})
}

func (s self) content(name string, f facts) error {
	if s.apart(f) {
		return &Refusal{name, fmt.Sprintf("this file belongs to %s, who may change it at any time: run this as that user, or look at what is in it and run chown %d %s", Name(f.uid), s.uid, name)}
	}
	if f.mode.IsRegular() && s.shared(f) {
		return &Refusal{name, fmt.Sprintf("others may change this file (its mode is %04o): look at what is in it, then run chmod go-w %s", f.mode.Perm(), name)}
	}
	return nil
}

// ReadFile is os.ReadFile for a file that [Open] accepts.
func ReadFile(name string) ([]byte, error) {
	f, err := Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}
