package pkcs11

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"chancery/internal/token/fault"
	"chancery/internal/token/pin"
	"chancery/internal/token/wire"
)

type none struct{}

func (none) PIN(context.Context, pin.Question) ([]byte, error) { return []byte("4711"), nil }
func (none) Wrong(pin.Question, []byte)                        {}

// program writes a helper of the test's own.
func program(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), Program)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// Whatever a helper does, it is an error, and nobody waits for it.
func TestHelpersThatFail(t *testing.T) {
	for name, text := range map[string]string{
		"ends at once": "exit 1", "says nothing": "read line <&3", "says something else": "printf 'hello, world' >&3; read line <&3",
		"says too much": `printf '\377\377\377\377' >&3; read line <&3`, "is no program": "no such command at all",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		_, err := Open(ctx, Address{Module: "/m.so"}, Options{Helper: program(t, text), PINs: none{}})
		cancel()
		if !fault.Is(err, fault.Gone) || ctx.Err() == context.DeadlineExceeded {
			t.Errorf("%s: %v", name, err)
		}
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(over, Address{Module: "/m.so"}, Options{Helper: program(t, "exec sleep 1000"), PINs: none{}}); err == nil {
		t.Error("nobody answered, and it is open")
	}
}

// The helper is told nothing but by its socket, and is ended whatever it is at.
func TestWhatTheHelperGets(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "/run/credentials/x")
	t.Setenv("NOTIFY_SOCKET", "/run/notify")
	t.Setenv("SOFTHSM2_CONF", "/etc/x")
	all := environment()
	if slices.ContainsFunc(all, func(one string) bool {
		return strings.HasPrefix(one, "CREDENTIALS_DIRECTORY=") || strings.HasPrefix(one, "NOTIFY_SOCKET=")
	}) {
		t.Errorf("%q", all)
	}
	if !slices.Contains(all, "SOFTHSM2_CONF=/etc/x") {
		t.Error("the library does not find its configuration")
	}
	seen := filepath.Join(t.TempDir(), "seen")
	p, err := start(program(t, `echo "$# $(pwd)" >`+seen+`.new; mv `+seen+`.new `+seen+`; exec sleep 1000`))
	if err != nil {
		t.Fatal(err)
	}
	await := func(path string) string {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if text, err := os.ReadFile(path); err == nil && len(text) > 0 {
				return string(text)
			}
			if time.Now().After(end) {
				t.Fatalf("%s does not come", path)
			}
		}
	}
	if got := await(seen); got != "0 /\n" {
		t.Errorf("arguments and directory: %s", got)
	}
	p.close()
	for end := time.Now().Add(30 * time.Second); syscall.Kill(p.own.Pid, 0) == nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the helper outlives its socket")
		}
	}
	if _, err := p.call(t.Context(), &wire.Request{Find: &wire.Find{}}); err == nil {
		t.Error("somebody answers")
	}
}
