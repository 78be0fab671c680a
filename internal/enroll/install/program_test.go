package install

import (
	"errors"
	"os"
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
