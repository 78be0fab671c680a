package owned

import (
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

// refused wants a refusal of that path that says so.
func refused(t *testing.T, err error, path, says string) {
	t.Helper()
	r, ok := errors.AsType[*Refusal](err)
	if !ok || r.Path != path || !strings.Contains(r.Reason, says) {
		t.Errorf("%v, want %s refused as %q", err, path, says)
	}
}

func TestJudgement(t *testing.T) {
	root, alice, staff := self{0, 0}, self{1000, 1000}, self{1000, 50}
	const dir, sticky, link = fs.ModeDir, fs.ModeDir | fs.ModeSticky, fs.ModeSymlink
	for _, test := range []struct {
		name                           string
		who                            self
		what                           facts
		final, passed, entry, contents bool
	}{
		{"one's own", alice, facts{1000, 1000, dir | 0o755}, true, true, true, true},
		{"root's", alice, facts{0, 0, dir | 0o755}, true, true, true, true},
		{"another's", alice, facts{1001, 1001, dir | 0o700}, false, false, false, false},
		{"a user's, for root", root, facts{1000, 1000, dir | 0o700}, false, false, false, false},
		{"everybody's", alice, facts{1000, 1000, dir | 0o777}, false, false, false, true},
		{"temporary", alice, facts{0, 0, sticky | 0o777}, false, true, false, true},
		{"a user's own group", alice, facts{1000, 1000, dir | 0o770}, true, true, true, true},
		{"a mount's group, which is the user's own", alice, facts{0, 1000, dir | fs.ModeSetgid | 0o775}, true, true, true, true},
		{"a group of several", staff, facts{1000, 50, dir | 0o770}, false, true, false, true},
		{"a foreign group", alice, facts{1000, 50, dir | 0o770}, false, false, false, true},
		{"root's group", root, facts{0, 0, dir | 0o775}, false, true, false, true},
		{"a file of one's own", alice, facts{1000, 50, 0o644}, true, true, true, true},
		{"a file for a group", staff, facts{1000, 50, 0o664}, false, true, false, false},
		{"a file for the own group", alice, facts{1000, 1000, 0o664}, true, true, true, true},
		{"a file for everybody", root, facts{0, 0, 0o666}, false, false, false, false},
		{"a link of one's own", alice, facts{1000, 1000, link | 0o777}, false, false, true, true},
		{"a link of another's", root, facts{1000, 1000, link | 0o777}, false, false, false, false},
		{"a pipe of one's own", root, facts{0, 0, fs.ModeNamedPipe | 0o666}, false, false, false, true},
	} {
		for what, got := range map[string][2]bool{
			"final":    {test.who.final("/x", test.what) == nil, test.final},
			"passed":   {test.who.passed("/x", test.what) == nil, test.passed},
			"entry":    {test.who.entry("/x", test.what) == nil, test.entry},
			"contents": {test.who.content("/x", test.what) == nil, test.contents},
		} {
			if got[0] != got[1] {
				t.Errorf("%s as %s: %t, want %t", test.name, what, got[0], got[1])
			}
		}
	}
}

func TestDir(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	check(t, err)
	at := func(name string) string { return filepath.Join(top, name) }
	check(t, MakeDir(at("a/b/c")))
	if info, err := os.Stat(at("a/b")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	check(t, os.Symlink("a/b", at("link")))
	check(t, os.Symlink(top+"/link/.././b", at("far")))
	check(t, os.Symlink("round", at("round")))
	check(t, os.WriteFile(at("file"), nil, 0o600))
	check(t, Dir(at("far/c")))
	refused(t, Dir(at("round")), at("round"), "more than ten symbolic links")
	refused(t, Dir(at("file")), at("file"), "is a file")
	if err := Dir(at("none/here")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	check(t, os.Chmod(at("a/b"), 0o777))
	refused(t, Dir(at("link")), at("a/b"), "chmod 700 "+at("a/b"))
	refused(t, Dir(at("far/c")), at("a/b"), "chmod go-w "+at("a/b"))
	refused(t, MakeDir(at("link/new/d")), at("a/b"), "chmod go-w")
	if _, err := os.Lstat(at("a/b/new")); err == nil {
		t.Error("made in a directory that everybody may change")
	}
	check(t, os.Chmod(at("a/b"), 0o777|fs.ModeSticky))
	check(t, Dir(at("a/b/c")))
	// To somebody else all this is another's, the first directory that is not root's already.
	other := self{os.Geteuid() + 7, os.Getegid() + 7}
	if os.Geteuid() == 0 {
		check(t, other.walk(at("a/b/c")))
	} else {
		r, ok := errors.AsType[*Refusal](other.walk(at("a/b/c")))
		if !ok || !strings.Contains(r.Reason, Name(os.Geteuid())) {
			t.Errorf("%v", r)
		}
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	check(t, os.WriteFile(name, []byte("text"), 0o644))
	if text, err := ReadFile(name); err != nil || string(text) != "text" {
		t.Errorf("%q, %v", text, err)
	}
	check(t, Entries(dir))
	check(t, Entry(filepath.Join(dir, "none")))
	check(t, os.Chmod(name, 0o666))
	_, err := ReadFile(name)
	refused(t, err, name, "chmod go-w "+name)
	refused(t, Entries(dir), name, "chmod go-w "+name)
	if _, err := ReadFile(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// What belongs to another user, whom root alone can make it belong to.
func TestOfAnother(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give files to another user")
	}
	top, err := filepath.EvalSymlinks(t.TempDir())
	check(t, err)
	at := func(name string) string { return filepath.Join(top, name) }
	check(t, os.MkdirAll(at("his/data"), 0o700))
	check(t, os.MkdirAll(at("ours/data"), 0o700))
	check(t, os.Symlink("ours", at("link")))
	check(t, os.WriteFile(at("file"), []byte("text"), 0o600))
	check(t, Dir(at("link/data")))
	const uid = 54321
	for _, name := range []string{"his", "link", "file"} {
		check(t, os.Lchown(at(name), uid, uid))
	}
	refused(t, Dir(at("his")), at("his"), "belongs to user 54321")
	refused(t, Dir(at("his/data")), at("his"), "belongs to user 54321")
	refused(t, MakeDir(at("his/new")), at("his"), "belongs to user 54321")
	refused(t, Dir(at("link/data")), at("link"), "is a symbolic link of user 54321")
	refused(t, Entry(at("link")), at("link"), "is a symbolic link of user 54321")
	_, err = Open(at("file"))
	refused(t, err, at("file"), "belongs to user 54321")
}

// TestOpenWaitsForNoPipe: a named pipe in the place of a file, to which nobody writes, is
// empty.
func TestOpenWaitsForNoPipe(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := ReadFile(name); err == nil && len(text) > 0 {
		t.Errorf("read %q", text)
	}
}
