package solve_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"chancery/acme"
	"chancery/internal/enroll/solve"
	"chancery/internal/owned"
)

// A DNS program that others could exchange is not run.
func TestExecOfOthers(t *testing.T) {
	program, log := hook(t, "")
	must(t, os.Chmod(program, 0o777))
	e, token := &solve.Exec{Program: program}, acme.NewToken()
	err := e.Publish(t.Context(), solve.Answer{Identifier: acme.Identifier{Type: acme.IdentifierDNS, Value: "a.example"},
		Token: token, KeyAuth: token + "." + strings.Repeat("a", 43), Name: "_acme-challenge.a.example.", Value: "abc"})
	if refusal, ok := errors.AsType[*owned.Refusal](err); !ok || refusal.Path != program {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(log); err == nil {
		t.Error("it was run")
	}
}
