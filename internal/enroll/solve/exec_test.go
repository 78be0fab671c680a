package solve_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/enroll/solve"
	"chancery/internal/peertest"
	"chancery/testca"
)

// hook writes a program of the user's: it notes its arguments, each ended by a NUL, and
// its MARK, then does what else it is told to.
func hook(t testing.TB, then string) (program, log string) {
	t.Helper()
	dir := t.TempDir()
	log = filepath.Join(dir, "log")
	program = filepath.Join(dir, "hook.sh")
	script := fmt.Sprintf("#!/bin/sh\nprintf '%%s\\0' \"$@\" \"MARK=$MARK\" >> %s\nprintf '\\n' >> %s\n%s\n", log, log, then)
	must(t, os.WriteFile(program, []byte(script), 0o700))
	return program, log
}

// calls reads what the program noted.
func calls(t testing.TB, log string) (list [][]string) {
	t.Helper()
	text, err := os.ReadFile(log)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	must(t, err)
	for line := range strings.Lines(string(text)) {
		list = append(list, strings.Split(strings.TrimSuffix(line, "\x00\n"), "\x00"))
	}
	return list
}

// The whole way: the CA's DNS shows what the program was given, as a user's script does
// with its service.
func TestExecIssues(t *testing.T) {
	ca := testca.Start(t)
	for _, raw := range []bool{false, true} {
		program, log := hook(t, "")
		publisher := &relay{Exec: &solve.Exec{Program: program, Raw: raw}, after: func() {
			// What stands is what was presented and not yet cleaned up.
			stand := map[string][]string{}
			for _, c := range calls(t, log) {
				at, value := c[1], c[2]
				if raw {
					at, value = acme.DNS01Name(c[2])+".", acme.DNS01Value(c[4])
				}
				if c[0] == "present" {
					stand[at] = append(stand[at], value)
				} else {
					stand[at] = slices.DeleteFunc(stand[at], func(v string) bool { return v == value })
				}
			}
			for at, values := range stand {
				ca.SetDNS(t, strings.TrimSuffix(at, "."), "TXT", values...)
			}
		}}
		d := &solve.DNS01{Publisher: publisher, Resolver: ask(t, ca.DNS()), Zone: "shop.example", Propagation: solve.Propagation{Where: solve.Resolvers, Interval: time.Millisecond}}
		job := solve.Job{Identifiers: []acme.Identifier{name("shop.example"), name("*.shop.example")}}
		must(t, obtain(t.Context(), register(t, ca), solve.NewSet(nil, solve.Choice{Solver: d}), job))
		got := calls(t, log)
		if len(got) != 4 || got[0][0] != "present" || got[1][0] != "present" || got[2][0] != "cleanup" || got[3][0] != "cleanup" {
			t.Errorf("raw %t: called with %q", raw, got)
		}
	}
}

// relay lets a test's DNS follow what the program was told.
type relay struct {
	*solve.Exec
	after func()
}

func (r *relay) Publish(ctx context.Context, a solve.Answer) error {
	defer r.after()
	return r.Exec.Publish(ctx, a)
}

func (r *relay) Withdraw(ctx context.Context, a solve.Answer) error {
	defer r.after()
	return r.Exec.Withdraw(ctx, a)
}

// The arguments are those that lego documents for its exec provider.
func TestExecArguments(t *testing.T) {
	t.Setenv("MARK", "inherited")
	value := acme.DNS01Value(keyAuth)
	answer := solve.Answer{Name: "_acme-challenge.my.example.org.", Value: value, Identifier: name("*.my.example.org"), Token: token, KeyAuth: keyAuth}
	for _, test := range []struct {
		raw    bool
		env    []string
		before []string
		want   []string
	}{
		{false, nil, nil, []string{"_acme-challenge.my.example.org.", value, "MARK=inherited"}},
		{false, []string{"MARK=own"}, []string{"--zone", "a b"}, []string{"_acme-challenge.my.example.org.", value, "MARK=own"}},
		{true, nil, nil, []string{"--", "my.example.org", token, keyAuth, "MARK=inherited"}},
	} {
		program, log := hook(t, "")
		e := &solve.Exec{Program: program, Raw: test.raw, Env: test.env, Arguments: test.before}
		must(t, e.Publish(t.Context(), answer))
		must(t, e.Withdraw(t.Context(), answer))
		want := [][]string{slices.Concat(test.before, []string{"present"}, test.want), slices.Concat(test.before, []string{"cleanup"}, test.want)}
		got, _ := json.Marshal(calls(t, log))
		if expected, _ := json.Marshal(want); string(got) != string(expected) {
			t.Errorf("called with %s, want %s", got, expected)
		}
	}
}

// TestExecIsLegos lets lego itself call a program, and ours do the same.
func TestExecIsLegos(t *testing.T) {
	lego := peertest.Need(t, "lego")
	for _, mode := range []string{"", "RAW"} {
		ca := testca.Start(t)
		dir := t.TempDir()
		fifo := filepath.Join(dir, "fifo")
		must(t, exec.Command("mkfifo", fifo).Run())
		program, log := hook(t, fmt.Sprintf(`if [ "$1" = present ]; then echo > %s; read x < %s; fi`, fifo, fifo))
		root := write(t, dir, "root.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Root.Raw})))
		cmd := exec.CommandContext(t.Context(), lego, "--server", ca.Directory, "--path", dir, "--email", "a@example.org", "--accept-tos",
			"--domains", "*.shop.example", "--dns", "exec", "--dns.resolvers", ca.DNS(), "--dns.disable-cp", "run")
		cmd.Env = append(os.Environ(), "EXEC_PATH="+program, "EXEC_MODE="+mode, "MARK=x", "LEGO_CA_CERTIFICATES="+root)
		var output strings.Builder
		cmd.Stdout, cmd.Stderr = &output, &output
		must(t, cmd.Start())
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		called := make(chan error, 1)
		go func() { _, err := os.ReadFile(fifo); called <- err }()
		select {
		case err := <-called:
			must(t, err)
		case err := <-ended:
			t.Fatalf("lego called nothing: %v: %s", err, output.String())
		}
		theirs := calls(t, log)[0]
		answer := solve.Answer{Identifier: name("*.shop.example")}
		if mode == "RAW" {
			answer.Token, answer.KeyAuth = theirs[3], theirs[4]
			answer.Value = acme.DNS01Value(answer.KeyAuth)
			answer.Name = "_acme-challenge.shop.example."
		} else {
			// lego tells no token; the value is all that is shown of it.
			answer.Token, answer.KeyAuth = token, keyAuth
			answer.Name, answer.Value = theirs[1], theirs[2]
		}
		ca.SetDNS(t, "_acme-challenge.shop.example", "TXT", answer.Value)
		must(t, os.WriteFile(fifo, []byte("go on\n"), 0o600))
		if err := <-ended; err != nil {
			t.Fatalf("lego: %v: %s", err, output.String())
		}
		oursProgram, oursLog := hook(t, "")
		e := &solve.Exec{Program: oursProgram, Raw: mode == "RAW", Env: []string{"MARK=x", "PATH=" + os.Getenv("PATH")}}
		must(t, e.Publish(t.Context(), answer))
		must(t, e.Withdraw(t.Context(), answer))
		if ours, theirs := calls(t, oursLog), calls(t, log); !reflect.DeepEqual(ours, theirs) {
			t.Errorf("mode %q: we call with %q, lego with %q", mode, ours, theirs)
		}
	}
}

// Nothing of a hostile server's gets as far as the program.
func TestExecHostile(t *testing.T) {
	program, log := hook(t, "")
	e := &solve.Exec{Program: program}
	good := solve.Answer{Name: "_acme-challenge.a.example.", Value: acme.DNS01Value(keyAuth), Identifier: name("a.example"), Token: token, KeyAuth: keyAuth}
	for label, change := range map[string]func(*solve.Answer){
		"token":      func(a *solve.Answer) { a.Token = "$(reboot)"; a.KeyAuth = a.Token + "." + thumbprint },
		"keyauth":    func(a *solve.Answer) { a.KeyAuth += "\nx" },
		"value":      func(a *solve.Answer) { a.Value = "`id`" },
		"name":       func(a *solve.Answer) { a.Name = "-rf.example." },
		"option":     func(a *solve.Answer) { a.Identifier = name("--help") },
		"shell name": func(a *solve.Answer) { a.Identifier = name("a;b.example") },
	} {
		a := good
		change(&a)
		var refused *solve.ValueError
		if err := e.Publish(t.Context(), a); !errors.As(err, &refused) {
			t.Errorf("%s: %v", label, err)
		}
	}
	if got := calls(t, log); got != nil {
		t.Errorf("called with %q", got)
	}
}

func TestExecFails(t *testing.T) {
	answer := solve.Answer{Name: "_acme-challenge.a.example.", Value: acme.DNS01Value(keyAuth), Identifier: name("a.example"), Token: token, KeyAuth: keyAuth}
	program, _ := hook(t, `printf 'no such \033[31mzone\n' >&2; head -c 100000 /dev/zero | tr '\0' x; echo the end; exit 3`)
	var failed *solve.HookError
	var exit *exec.ExitError
	err := (&solve.Exec{Program: program}).Publish(t.Context(), answer)
	if !errors.As(err, &failed) || !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.HasSuffix(failed.Output, "the end") || len(err.Error()) > 4096 || strings.Contains(err.Error(), "\033") {
		t.Errorf("%v", err)
	}
	if err := (&solve.Exec{Program: filepath.Join(t.TempDir(), "none")}).Publish(t.Context(), answer); !errors.As(err, &failed) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such program: %v", err)
	}

	// One that hangs ends with its children, when the caller gives up or its time is up.
	dir := t.TempDir()
	started, held := filepath.Join(dir, "started"), filepath.Join(dir, "held")
	must(t, exec.Command("mkfifo", started, held).Run())
	program, _ = hook(t, fmt.Sprintf("exec 3> %s\necho > %s\nsleep 1000 & sleep 1000", held, started))
	ctx, cancel := context.WithCancel(t.Context())
	done, gone := make(chan error), make(chan error)
	go func() { _, err := os.ReadFile(held); gone <- err }()
	go func() { done <- (&solve.Exec{Program: program}).Publish(ctx, answer) }()
	_, err = os.ReadFile(started)
	must(t, err)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	must(t, <-gone) // nobody holds the other end any more
	program, _ = hook(t, "sleep 1000")
	if err := (&solve.Exec{Program: program, Timeout: 50 * time.Millisecond}).Publish(t.Context(), answer); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("too slow: %v", err)
	}
}
