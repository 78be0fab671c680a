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

// aModule is root's, in a directory of root's.
const aModule = "/etc/passwd"

// The helper is started, and told to load the library, by paths without links: what is run
// is what was judged.
func TestPathsWithoutLinks(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	seen, link, library := filepath.Join(dir, "seen"), filepath.Join(dir, "link"), filepath.Join(dir, "library.so")
	real := program(t, `echo "$0" >`+seen+`; dd bs=65536 count=1 <&3 >>`+seen+` 2>/dev/null`)
	for name, target := range map[string]string{link: real, library: aModule} {
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(t.Context(), Address{Module: library}, Options{Helper: link, PINs: none{}}); !fault.Is(err, fault.Gone) {
		t.Errorf("%v", err)
	}
	text, err := os.ReadFile(seen)
	if err != nil || !strings.HasPrefix(string(text), real+"\n") || !strings.Contains(string(text), `"module":"`+aModule+`"`) {
		t.Errorf("%q, %v", text, err)
	}
}

// Who owns a directory or a link on the way to the library, or to the helper, gets no PIN.
func TestWaysOfOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give files to another user")
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	seen, his, link := filepath.Join(dir, "seen"), filepath.Join(dir, "his"), filepath.Join(dir, "link")
	real := program(t, "touch "+seen)
	for _, err := range []error{
		os.Mkdir(his, 0o755), os.Symlink(real, filepath.Join(his, "helper")), os.Symlink(aModule, filepath.Join(his, "library.so")),
		os.Symlink(aModule, link), os.Chown(his, 12345, 12345), os.Lchown(link, 12345, 12345),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct{ helper, module, says string }{
		"library":         {real, filepath.Join(his, "library.so"), "module-path"},
		"link to library": {real, link, "module-path"},
		"helper":          {filepath.Join(his, "helper"), aModule, "PATH"},
	} {
		_, err := Open(t.Context(), Address{Module: test.module}, Options{Helper: test.helper, PINs: none{}})
		if !fault.Is(err, fault.Absent) || !strings.Contains(err.Error(), "user 12345") || !strings.Contains(err.Error(), "install it where only root may write") ||
			!strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "chown") || strings.Contains(err.Error(), "--data") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(seen); err == nil {
		t.Error("a helper was started")
	}
}

// Whatever a helper does, it is an error, and nobody waits for it.
func TestHelpersThatFail(t *testing.T) {
	for name, text := range map[string]string{
		"ends at once": "exit 1", "says nothing": "read line <&3", "says something else": "printf 'hello, world' >&3; read line <&3",
		"says too much": `printf '\377\377\377\377' >&3; read line <&3`, "is no program": "no such command at all",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		_, err := Open(ctx, Address{Module: aModule}, Options{Helper: program(t, text), PINs: none{}})
		cancel()
		if !fault.Is(err, fault.Gone) || ctx.Err() == context.DeadlineExceeded {
			t.Errorf("%s: %v", name, err)
		}
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(over, Address{Module: aModule}, Options{Helper: program(t, "exec sleep 1000"), PINs: none{}}); err == nil {
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
