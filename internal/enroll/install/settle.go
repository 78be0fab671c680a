package install

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"chancery/internal/durable"
)

// settle gives the path of the file to replace: it follows symbolic links that
// root or this user made, makes the directory if it is missing, and refuses
// places where others could interfere.
func settle(path string) (string, error) {
	asked := path
	for range 10 {
		path = filepath.Clean(path)
		dir := filepath.Dir(path)
		if err := makeDirs(dir); err != nil {
			return "", err
		}
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			return "", durable.Explain(err, dir)
		}
		path = filepath.Join(real, filepath.Base(path))
		if err := checkDir(real); err != nil {
			return "", err
		}
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return path, nil
		case err != nil:
			return "", durable.Explain(err, path)
		case info.Mode().IsRegular():
			return path, nil
		case info.Mode().Type() != fs.ModeSymlink:
			return "", &TargetError{Path: path, Reason: "is no file but " + kind(info) + ": name a file"}
		case !trusted(info):
			return "", &TargetError{Path: path, Reason: "is a symbolic link that another user made, who could aim it anywhere: remove it, or name the file itself"}
		}
		target, err := os.Readlink(path)
		if err != nil {
			return "", durable.Explain(err, path)
		}
		if path = target; !filepath.IsAbs(target) {
			path = filepath.Join(real, target)
		}
	}
	return "", &TargetError{Path: asked, Reason: "leads through more than ten symbolic links: name the file itself"}
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

// checkDir refuses a directory in which everybody may replace files. One with
// the sticky bit, as /tmp, lets them add files alone.
func checkDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return durable.Explain(err, dir)
	}
	if !info.IsDir() {
		return &TargetError{Path: dir, Reason: "is a file where a directory should be"}
	}
	if info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return &TargetError{Path: dir, Reason: "everybody may replace files in this directory, a private key too: run chmod o-w " + dir}
	}
	return nil
}

// makeDirs makes a directory and those above it, durably, mode 0755 whatever the
// umask adds.
func makeDirs(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return durable.Explain(err, dir)
	}
	if info, err := os.Lstat(dir); err == nil && info.Mode().Type() == fs.ModeSymlink {
		return &TargetError{Path: dir, Reason: "is a symbolic link to a directory that is not there: make it, or remove the link"}
	}
	if err := makeDirs(filepath.Dir(dir)); err != nil {
		return err
	}
	durable.Step("mkdir", dir)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return durable.Explain(err, dir)
	}
	return durable.SyncDir(filepath.Dir(dir))
}
