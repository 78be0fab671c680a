package owned

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// programs makes a directory of this user's in one as /tmp is, with a program in it.
func programs(t *testing.T) func(name string) string {
	t.Helper()
	top, err := filepath.EvalSymlinks(t.TempDir())
	check(t, err)
	check(t, os.Chmod(top, 0o777|fs.ModeSticky))
	at := func(name string) string { return filepath.Join(top, name) }
	check(t, os.MkdirAll(at("own/bin"), 0o755))
	check(t, os.WriteFile(at("own/bin/program"), []byte("#!/bin/sh\n"), 0o755))
	return at
}

func TestPrograms(t *testing.T) {
	at := programs(t)
	check(t, os.Symlink("own/bin", at("link")))
	check(t, os.Symlink(at("link/program"), at("alternative")))
	check(t, os.MkdirAll(at("own/deep/bin"), 0o755))
	check(t, os.WriteFile(at("own/deep/program"), nil, 0o755))
	check(t, os.Symlink("own/deep/bin", at("into")))
	for name, want := range map[string]string{
		"own/bin/program": "own/bin/program", "link/program": "own/bin/program", "alternative": "own/bin/program",
		"into/../program": "own/deep/program",
	} {
		if got, err := Program(at(".") + "/" + name); err != nil || got != at(want) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	t.Chdir(at("own"))
	if got, err := Program("./bin/program"); err != nil || got != at("own/bin/program") {
		t.Errorf("%s, %v", got, err)
	}
	for _, name := range []string{"none", "own/none", "none/program"} {
		if got, err := Program(at(name)); !errors.Is(err, fs.ErrNotExist) || got != "" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	no := func(name, path, says string) {
		t.Helper()
		got, err := Program(at(name))
		refused(t, err, at(path), says)
		if got != "" {
			t.Errorf("%s is to be run", got)
		}
	}
	// In /tmp itself others can put a library, or what else it looks for, beside it.
	check(t, os.WriteFile(at("program"), nil, 0o755))
	no("program", ".", "others may change it")
	check(t, os.Chmod(at("own/bin/program"), 0o777))
	no("alternative", "own/bin/program", "chmod go-w "+at("own/bin/program"))
	check(t, os.Chmod(at("own/bin/program"), 0o755))
	check(t, os.Chmod(at("own/bin"), 0o777))
	no("own/bin/program", "own/bin", "others may exchange what is in this directory (its mode is 0777): install it where only root")
	check(t, os.Chmod(at("own/bin"), 0o755))
	check(t, os.Chmod(at("own"), 0o777))
	no("alternative", "own", "others may exchange what is in this directory (its mode is 0777): install it")
	check(t, os.Symlink("round", at("round")))
	no("round", "round", "more than ten symbolic links")
}

// What a system has is run, wherever it keeps it.
func TestProgramsOfTheSystem(t *testing.T) {
	for _, name := range []string{"sh", "env", "awk", "go"} {
		found, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		want, err := filepath.EvalSymlinks(found)
		check(t, err)
		if got, err := Program(found); err != nil || got != want {
			t.Errorf("%s: %s, %v", found, got, err)
		}
	}
	if got, err := Program("/bin/sh"); err != nil || got == "" {
		t.Errorf("%q, %v", got, err)
	}
}

// Whoever owns a directory or a link on the way chooses what is run.
func TestProgramsOfAnother(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give files to another user")
	}
	at := programs(t)
	check(t, os.Mkdir(at("his"), 0o755))
	check(t, os.Symlink(at("own/bin/program"), at("his/link")))
	check(t, os.Symlink("own/bin/program", at("link")))
	check(t, os.Symlink("his/link", at("over")))
	check(t, os.WriteFile(at("his/program"), nil, 0o755))
	check(t, os.WriteFile(at("own/bin/his"), nil, 0o755))
	for _, name := range []string{"his", "link", "own/bin/his"} {
		check(t, os.Lchown(at(name), 54321, 54321))
	}
	for name, path := range map[string]string{
		"his/link": "his", "over": "his", "his/program": "his", "link": "link", "own/bin/his": "own/bin/his", "own/bin/../../link": "link",
	} {
		_, err := Program(at(".") + "/" + name)
		refused(t, err, at(path), "user 54321")
		if r, ok := errors.AsType[*Refusal](err); ok && (!strings.HasSuffix(r.Reason, ": install it where only root may write, and name that place") || strings.Contains(r.Reason, "chown")) {
			t.Errorf("%s: advice: %s", name, r.Reason)
		}
	}
}
