package solve_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chancery/acme"
	"chancery/internal/enroll/solve"
	"chancery/internal/owned"
)

// A DNS program that others could exchange, itself or in its directory, is not run.
func TestExecOfOthers(t *testing.T) {
	for _, of := range []func(string) string{strings.Clone, filepath.Dir} {
		program, log := hook(t, "")
		must(t, os.Chmod(of(program), 0o777))
		e, token := &solve.Exec{Program: program}, acme.NewToken()
		err := e.Publish(t.Context(), solve.Answer{Identifier: acme.Identifier{Type: acme.IdentifierDNS, Value: "a.example"},
			Token: token, KeyAuth: token + "." + strings.Repeat("a", 43), Name: "_acme-challenge.a.example.", Value: "abc"})
		if refusal, ok := errors.AsType[*owned.Refusal](err); !ok || refusal.Path != of(program) {
			t.Errorf("%v", err)
		}
		if _, err := os.Stat(log); err == nil {
			t.Error("it was run")
		}
	}
}
