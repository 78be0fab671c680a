package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"chancery/internal/durable"
)

// The way to a file is walked from the root directory, one part after the other, each in
// the open directory before it. What is opened is judged and then used, so nobody can
// exchange it in between. The rules are those of sshd's StrictModes, with two
// exceptions: a directory with the sticky bit, as /tmp, may let everybody add files, and
// the user and the group that the files are to belong to may own directories, as they
// get the files anyway. Links must be root's or ours, whoever gets the files.

const mostLinks = 10

// guests are whom a directory on the way may belong to, and who may write to it.
type guests struct{ users, groups []int }

func welcome(owner durable.Owner) guests {
	g := guests{users: []int{0, os.Geteuid()}, groups: []int{0, os.Getegid()}}
	if owner.UID >= 0 {
		g.users = append(g.users, owner.UID)
	}
	if owner.GID >= 0 {
		g.groups = append(g.groups, owner.GID)
	}
	return g
}

// judge refuses a directory in which others could interfere.
func (g guests) judge(dir string, info fs.FileInfo) error {
	status, ok := info.Sys().(*syscall.Stat_t)
	mode := info.Mode()
	switch {
	case !ok || !slices.Contains(g.users, int(status.Uid)):
		who := "another user"
		if ok {
			who = fmt.Sprintf("user %d", status.Uid)
		}
		return &TargetError{Path: dir, Reason: "this directory belongs to " + who + ", who could exchange what is in it: run the client as that user, name that user as the files' owner, or install elsewhere and let a hook copy"}
	case mode&fs.ModeSticky != 0:
		return nil
	case mode.Perm()&0o002 != 0:
		return &TargetError{Path: dir, Reason: "everybody may replace files in this directory, a private key too: run chmod o-w " + dir}
	case mode.Perm()&0o020 != 0 && !slices.Contains(g.groups, int(status.Gid)):
		return &TargetError{Path: dir, Reason: fmt.Sprintf("group %d may replace files in this directory, a private key too: run chmod g-w %s, or name that group as the files'", status.Gid, dir)}
	}
	return nil
}

// step is a directory on the way.
type step struct {
	path string   // without links
	root *os.Root // nil: this user may pass, but not look
}

func (s step) lstat(name string) (fs.FileInfo, error) {
	if s.root == nil {
		return os.Lstat(path.Join(s.path, name))
	}
	return s.root.Lstat(name)
}

func (s step) readlink(name string) (string, error) {
	if s.root == nil {
		return os.Readlink(path.Join(s.path, name))
	}
	return s.root.Readlink(name)
}

func (s step) open(name string) (*os.Root, error) {
	if s.root == nil {
		return os.OpenRoot(path.Join(s.path, name))
	}
	return s.root.OpenRoot(name)
}

// walker finds the places of one target's files. Each directory is opened once.
type walker struct {
	guests guests
	opened map[string]*os.Root // by path without links
}

func newWalker(owner durable.Owner) *walker {
	return &walker{guests: welcome(owner), opened: map[string]*os.Root{}}
}

func (w *walker) close() {
	for _, root := range w.opened {
		root.Close()
	}
}

// route is one way in progress.
type route struct {
	*walker
	asked string
	steps []step   // from the root directory on
	rest  []string // the parts still to come
	links int
	// Parts of a link to a directory are still to come while rest is at least that long.
	inLink int
	link   string
}

// settle gives the open directory of the file to replace, and its path without links.
// Missing directories are made.
func (w *walker) settle(asked string) (*os.Root, string, error) {
	r := &route{walker: w, asked: asked, rest: strings.Split(path.Clean(asked), "/")}
	if err := r.restart(); err != nil {
		return nil, "", err
	}
	for len(r.rest) > 0 {
		name := r.rest[0]
		r.rest = r.rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			r.steps = r.steps[:max(1, len(r.steps)-1)]
			continue
		}
		here := r.here()
		info, err := here.lstat(name)
		full := path.Join(here.path, name)
		found := err == nil
		switch {
		case !found && !errors.Is(err, fs.ErrNotExist):
			return nil, "", durable.Explain(err, full)
		case found && info.Mode().Type() == fs.ModeSymlink:
			err = r.follow(name, info)
		case len(r.rest) > 0:
			err = r.enter(name, found)
		case !found || info.Mode().IsRegular():
			if here.root == nil {
				return nil, "", durable.Explain(fs.ErrPermission, full)
			}
			return here.root, full, nil
		default:
			return nil, "", &TargetError{Path: full, Reason: "is no file but " + kind(info) + ": name a file"}
		}
		if err != nil {
			return nil, "", err
		}
	}
	return nil, "", &TargetError{Path: asked, Reason: "is no file but a directory: name a file"}
}

func (r *route) here() step { return r.steps[len(r.steps)-1] }

// restart begins at the root directory.
func (r *route) restart() error {
	r.steps = nil
	root := r.opened["/"]
	if root == nil {
		var err error
		if root, err = os.OpenRoot("/"); err != nil {
			return durable.Explain(err, "/")
		}
		r.opened["/"] = root
	}
	info, err := root.Stat(".")
	if err != nil {
		return durable.Explain(err, "/")
	}
	r.steps = []step{{"/", root}}
	return r.guests.judge("/", info)
}

// follow goes where a symbolic link of root's or ours points.
func (r *route) follow(name string, info fs.FileInfo) error {
	here := r.here()
	full := path.Join(here.path, name)
	if !trusted(info) {
		return &TargetError{Path: full, Reason: "is a symbolic link that another user made, who could aim it anywhere: remove it, or name the file itself"}
	}
	if r.links++; r.links > mostLinks {
		return &TargetError{Path: r.asked, Reason: "leads through more than ten symbolic links: name the file itself"}
	}
	target, err := here.readlink(name)
	if err != nil {
		return durable.Explain(err, full)
	}
	if len(r.rest) > 0 && (r.link == "" || len(r.rest) <= r.inLink) {
		r.inLink, r.link = len(r.rest), full
	}
	r.rest = append(strings.Split(target, "/"), r.rest...)
	if path.IsAbs(target) {
		return r.restart()
	}
	return nil
}

// enter goes into a directory, which it makes, durably and with mode 0755 whatever the
// umask adds, if it is not there.
func (r *route) enter(name string, there bool) error {
	here := r.here()
	full := path.Join(here.path, name)
	if !there {
		if r.link != "" && len(r.rest) >= r.inLink {
			return &TargetError{Path: r.link, Reason: "is a symbolic link to a directory that is not there: make it, or remove the link"}
		}
		if here.root == nil {
			return durable.Explain(fs.ErrPermission, full)
		}
		durable.Step("mkdir", full)
		if err := here.root.Mkdir(name, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return durable.Explain(err, full)
		}
		if err := durable.SyncRoot(here.root); err != nil {
			return err
		}
	}
	if root := r.opened[full]; root != nil {
		r.steps = append(r.steps, step{full, root})
		return nil
	}
	next, info, err := here.into(name)
	if err != nil {
		return err
	}
	if next.root != nil {
		r.opened[full] = next.root
	}
	r.steps = append(r.steps, next)
	return r.guests.judge(full, info)
}

// into opens the directory of that name, and no other that somebody puts in its place.
func (s step) into(name string) (next step, info fs.FileInfo, err error) {
	next.path = path.Join(s.path, name)
	for range 2 { // what mounts itself when it is looked at is another one thereafter
		if info, err = s.lstat(name); err != nil {
			return next, nil, durable.Explain(err, next.path)
		}
		if !info.IsDir() {
			return next, nil, &TargetError{Path: next.path, Reason: "is a file where a directory should be"}
		}
		root, err := s.open(name)
		if errors.Is(err, fs.ErrPermission) {
			return next, info, nil
		}
		if err != nil {
			return next, nil, durable.Explain(err, next.path)
		}
		opened, err := root.Stat(".")
		if err == nil && os.SameFile(info, opened) {
			next.root = root
			return next, opened, nil
		}
		root.Close()
	}
	return next, nil, &TargetError{Path: next.path, Reason: "was exchanged while it was looked at: see who does that, and try again"}
}

func kind(info fs.FileInfo) string {
	if info.IsDir() {
		return "a directory"
	}
	return "a device, pipe or socket"
}

// trusted: root or this user owns it.
func trusted(info fs.FileInfo) bool {
	status, ok := info.Sys().(*syscall.Stat_t)
	return ok && (status.Uid == 0 || int(status.Uid) == os.Geteuid())
}
