package install

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"chancery/internal/durable"
)

const alice = 12345 // a user who is neither root nor who runs this

// What another user can aim or exchange on the way to a file is refused, and nothing is
// written where it leads.
func TestStrangersOnTheWay(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir()
	at := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
	for _, name := range []string{"rootonly", "alice", "alice/own", "shared", "shared/sub", "open", "open/sub", "group", "sticky", "sticky/alice"} {
		check(t, os.Mkdir(at(name), 0o755))
	}
	link := func(target, name string, uid int) {
		check(t, os.Symlink(target, at(name)))
		check(t, os.Lchown(at(name), uid, uid))
	}
	link(at("rootonly"), "shared/hers", alice)
	link("shared/hers", "twice", 0)
	link(at("rootonly"), "fine", 0)
	link("../rootonly", "shared/up", 0)
	link(at("alice/own"), "intoalice", 0)
	link(at("rootonly"), "alice/tls", alice)
	for name, mode := range map[string]os.FileMode{"open": 0o777, "group": 0o775, "sticky": 0o777 | os.ModeSticky, "rootonly": 0o700} {
		check(t, os.Chmod(at(name), mode))
	}
	check(t, os.Chown(at("group"), 0, alice))
	for _, name := range []string{"alice", "alice/own", "sticky/alice"} {
		check(t, os.Chown(at(name), alice, alice))
	}
	b := bundle(t, 1)
	for _, test := range []struct {
		path, owner, group string
		want               string // "" = installed
		lands              string
	}{
		{path: at("alice/tls/authorized_keys"), want: "belongs to user 12345"},
		{path: at("alice/tls/authorized_keys"), owner: "12345", want: "another user made"},
		{path: at("shared/hers/authorized_keys"), want: "another user made"},
		{path: at("twice/authorized_keys"), want: "another user made"},
		{path: at("intoalice/key.pem"), want: "belongs to user 12345"},
		{path: at("sticky/alice/new/key.pem"), want: "belongs to user 12345"},
		{path: at("open/sub/key.pem"), want: "chmod o-w " + at("open")},
		{path: at("group/key.pem"), want: "chmod g-w " + at("group")},
		{path: at("group/key.pem"), group: "12345", lands: "group/key.pem"},
		{path: at("alice/own/key.pem"), owner: "12345", lands: "alice/own/key.pem"},
		{path: at("sticky/key.pem"), lands: "sticky/key.pem"},
		{path: at("fine/1.pem"), lands: "rootonly/1.pem"},
		{path: at("shared/up/2.pem"), lands: "rootonly/2.pem"},
		{path: at("shared/new/er/3.pem"), lands: "shared/new/er/3.pem"},
	} {
		err := (Target{Key: test.path, Owner: test.owner, Group: test.group}).Install(t.Context(), b)
		switch {
		case test.want != "" && (!isTargetError(err) || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s for %q: %v", test.path, test.owner, err)
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.path, err)
		case test.want == "":
			if _, err := os.Lstat(at(test.lands)); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := os.Lstat(at("rootonly/authorized_keys")); err == nil {
		t.Error("a stranger's link was followed")
	}
	if _, err := os.Lstat(at("sticky/alice/new")); err == nil {
		t.Error("a directory was made where nothing may be installed")
	}
}

// A directory that is exchanged for a link after it was judged takes nothing elsewhere.
func TestExchangedOnTheWay(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"place", "elsewhere"} {
		check(t, os.Mkdir(at(name), 0o755))
	}
	durable.Trace = func(step string) {
		if step == "create key.pem" {
			check(t, os.Rename(at("place"), at("moved")))
			check(t, os.Symlink(at("elsewhere"), at("place")))
		}
	}
	defer func() { durable.Trace = nil }()
	check(t, (Target{Key: at("place/key.pem")}).Install(t.Context(), bundle(t, 1)))
	if _, err := os.Lstat(at("moved/key.pem")); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(at("elsewhere")); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}

// What is there and is no file, or has no end, is told and not waited for.
func TestExistingIsNoFile(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	check(t, syscall.Mkfifo(pipe, 0o600))
	for _, path := range []string{pipe, "/dev/zero", filepath.Dir(pipe)} {
		for _, target := range []Target{{Cert: path}, {PKCS12: path, PKCS12Password: "file:/dev/null"}} {
			if _, err := Existing(target); !isTargetError(err) {
				t.Errorf("%+v: %v", target, err)
			}
			if _, err := target.Holds(bundle(t, 1)); err == nil && target.Cert != "" {
				t.Errorf("%+v may hold something", target)
			}
		}
	}
}

// Who may pass a directory and not look into it can install below it.
func TestPassage(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may look everywhere")
	}
	dir := t.TempDir()
	check(t, os.MkdirAll(filepath.Join(dir, "passage/place"), 0o755))
	check(t, syscall.Chmod(filepath.Join(dir, "passage"), 0o311))
	defer os.Chmod(filepath.Join(dir, "passage"), 0o755)
	check(t, (Target{Key: filepath.Join(dir, "passage/place/key.pem")}).Install(t.Context(), bundle(t, 1)))
}
