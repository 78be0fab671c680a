package install

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"chancery/internal/owned"
)

// A program that others could exchange is not run, and not tried again.
func TestHookOfOthers(t *testing.T) {
	dir := t.TempDir()
	program, witness, link := filepath.Join(dir, "hook"), filepath.Join(dir, "witness"), filepath.Join(dir, "link")
	check(t, os.WriteFile(program, []byte("#!/bin/sh\necho ran >> "+witness+"\n"), 0o700))
	check(t, os.Symlink(program, link))
	hooks := []Hook{{Command: []string{program}}, {Command: []string{link, "x"}}, {Shell: program + " x"}, {Shell: "  " + link}}
	spoil := map[string]func() error{"mode": func() error { return os.Chmod(program, 0o777) }}
	if os.Getuid() == 0 {
		spoil["owner"] = func() error { return errors.Join(os.Chmod(program, 0o700), os.Chown(program, 12345, 0)) }
	}
	for _, h := range hooks {
		if _, err := h.Run(t.Context(), facts); err != nil {
			t.Errorf("%+v: %v", h, err)
		}
	}
	check(t, os.Remove(witness))
	for what, spoil := range spoil {
		check(t, spoil())
		for _, h := range hooks {
			start := time.Now()
			results, err := Hooks{Deploy: []Hook{h}}.Run(t.Context(), facts)
			refusal, ok := errors.AsType[*owned.Refusal](err)
			failed, known := errors.AsType[*HookError](err)
			if !ok || refusal.Path == "" || !known || failed.Result.Exit != -1 || len(results) != 1 || results[0].Attempts != 1 {
				t.Errorf("%s, %+v: %+v, %v after %s", what, h, results, err, time.Since(start))
			}
		}
	}
	if _, err := os.Stat(witness); err == nil {
		t.Error("it was run")
	}
}

// Nor one in a directory, or behind a link, of others; a script knows by which name it was
// called.
func TestHookInDirectoryOfOthers(t *testing.T) {
	dir := t.TempDir()
	program, witness, link := filepath.Join(dir, "hook"), filepath.Join(dir, "witness"), filepath.Join(dir, "by-this-name")
	check(t, os.WriteFile(program, []byte("#!/bin/sh\nbasename \"$0\" >> "+witness+"\n"), 0o700))
	check(t, os.Symlink(program, link))
	if _, err := (Hook{Command: []string{link}}).Run(t.Context(), facts); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(witness); err != nil || string(text) != "by-this-name\n" {
		t.Errorf("%q, %v", text, err)
	}
	check(t, os.Remove(witness))
	hooks := []Hook{{Command: []string{program}}, {Command: []string{link}}, {Shell: program + " x"}, {Shell: link}}
	spoil := map[string]func() error{"mode": func() error { return os.Chmod(dir, 0o777) }}
	if os.Getuid() == 0 {
		spoil["owner"] = func() error { return errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, 12345, 0)) }
	}
	for what, spoil := range spoil {
		check(t, spoil())
		for _, h := range hooks {
			_, err := h.Run(t.Context(), facts)
			if refusal, ok := errors.AsType[*owned.Refusal](err); !ok || refusal.Path != dir {
				t.Errorf("%s, %+v: %v", what, h, err)
			}
		}
	}
	if _, err := os.Stat(witness); err == nil {
		t.Error("it was run")
	}
	check(t, errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, os.Getuid(), -1)))
	for _, name := range []string{filepath.Join(dir, "none"), "no-such-program-anywhere"} {
		if _, err := (Hook{Command: []string{name}}).Run(t.Context(), facts); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, exec.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
