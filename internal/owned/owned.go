// Package owned tells whether somebody else could change what this process is about to
// rely on: a directory with keys and state, a file with settings or a secret. Root and
// the process's own user may; nobody else. The way to a directory is judged as sshd's
// StrictModes does, and so is the way to a program or library.
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

	wrong string // what is wrong alone
}

func refuse(path, wrong, advice string) error {
	return &Refusal{path, wrong + ": " + advice, wrong}
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
		return refuse(dir, fmt.Sprintf("this directory belongs to %s, who may have prepared what is in it", Name(f.uid)),
			fmt.Sprintf("run this as that user, choose another directory with --data, or look at all that is in it, remove what is not yours, and run chown -hR %d %s", s.uid, dir))
	}
	if s.shared(f) {
		return refuse(dir, fmt.Sprintf("others may change it (its mode is %04o)", f.mode.Perm()), "they could put their own files there; look at what is in it, then run chmod 700 "+dir)
	}
	return nil
}

// passed judges a directory on the way. One with the sticky bit, as /tmp, may let
// everybody add, as what is ours stays in place; one of root's group may let that group.
func (s self) passed(dir string, f facts) error {
	if s.apart(f) {
		return refuse(dir, fmt.Sprintf("this directory belongs to %s, who could exchange what is in it", Name(f.uid)), "run this as that user, or keep the data elsewhere")
	}
	mode := f.mode
	if f.gid == 0 || f.gid == s.gid {
		mode &^= 0o020
	}
	if mode&fs.ModeSticky == 0 && mode.Perm()&0o022 != 0 {
		return refuse(dir, fmt.Sprintf("others may exchange what is in this directory (its mode is %04o)", f.mode.Perm()), "run chmod go-w "+dir+", or keep the data elsewhere")
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
		return refuse(name, fmt.Sprintf("%s %s, and not to who uses it", what, Name(f.uid)), fmt.Sprintf("remove it, or look at what is in it and run chown -h %d %s", s.uid, name))
	}
	if f.mode.Type() != fs.ModeSymlink && s.shared(f) {
		return refuse(name, fmt.Sprintf("others may change it (its mode is %04o)", f.mode.Perm()), "look at what is in it, then run chmod go-w "+name)
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
	end, info, err := s.way(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return refuse(end, "is a file where a directory should be", "move it away, or choose another place")
	}
	return s.final(end, factsOf(info))
}

// way goes where an absolute path leads, as the system does, and judges each directory and
// link on the way, but not what is at its end.
func (s self) way(to string) (here string, info fs.FileInfo, err error) {
	here, links := "/", 0
	if info, err = os.Lstat(here); err != nil {
		return "", nil, err
	}
	for rest := strings.Split(to, "/"); len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			here = path.Dir(here)
			if info, err = os.Lstat(here); err != nil {
				return "", nil, err
			}
			continue
		}
		if err := s.passed(here, factsOf(info)); err != nil {
			return "", nil, err
		}
		full := path.Join(here, name)
		if info, err = os.Lstat(full); err != nil {
			return "", nil, err
		}
		if info.Mode().Type() != fs.ModeSymlink {
			here = full
			continue
		}
		if err := s.entry(full, factsOf(info)); err != nil {
			return "", nil, err
		}
		if links++; links > mostLinks {
			return "", nil, refuse(to, "leads through more than ten symbolic links", "name the directory itself")
		}
		target, err := os.Readlink(full)
		if err != nil {
			return "", nil, err
		}
		if path.IsAbs(target) {
			here = "/"
		}
		if info, err = os.Lstat(here); err != nil {
			return "", nil, err
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return here, info, nil
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
// was opened. A pipe to which nobody writes is not waited for: nothing could interrupt
// that. Errors are *[Refusal] and the file system's.
func Open(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
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
		return refuse(name, fmt.Sprintf("this file belongs to %s, who may change it at any time", Name(f.uid)),
			fmt.Sprintf("run this as that user, or look at what is in it and run chown %d %s", s.uid, name))
	}
	if f.mode.IsRegular() && s.shared(f) {
		return refuse(name, fmt.Sprintf("others may change this file (its mode is %04o)", f.mode.Perm()), "look at what is in it, then run chmod go-w "+name)
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
