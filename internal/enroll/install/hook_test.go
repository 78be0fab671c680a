package install

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var facts = Facts{
	Stage: Deploy, Name: "www", Names: []string{"www.corp.example", "*.corp.example"}, Issuer: "ca.example", OldIssuer: "old.example",
	Directory: "https://ca.example/acme\nX=1 $(touch /tmp/never) `id`", Kind: "ca-ev", Serial: "1f",
	NotAfter: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC), Lineage: "/var/lib/c/www/current", Key: "/k", FullChain: "/f",
}

func TestHookEnvironment(t *testing.T) {
	t.Setenv("SECRET_TOKEN", "hunter2")
	result, err := Hook{Command: []string{"env"}}.Run(t.Context(), facts)
	check(t, err)
	got := map[string]string{}
	for line := range strings.Lines(result.Output) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		got[name] = value
	}
	for _, inherited := range []string{"PATH", "HOME", "LANG", "LOGNAME", "PWD"} {
		delete(got, inherited)
	}
	want := map[string]string{
		"CHANCERY_STAGE": "deploy", "CHANCERY_CERTIFICATE": "www", "CHANCERY_NAMES": "www.corp.example *.corp.example", "CHANCERY_NAME": "www.corp.example",
		"CHANCERY_ISSUER": "ca.example", "CHANCERY_OLD_ISSUER": "old.example", "CHANCERY_KIND": "ca-ev", "CHANCERY_SERIAL": "1f",
		"CHANCERY_DIRECTORY": "https://ca.example/acme?X=1 $(touch /tmp/never) `id`", "CHANCERY_NOT_AFTER": "2027-01-02T03:04:05Z",
		"CHANCERY_LINEAGE": "/var/lib/c/www/current", "CHANCERY_KEY": "/k", "CHANCERY_FULLCHAIN": "/f",
		"RENEWED_LINEAGE": "/var/lib/c/www/current", "RENEWED_DOMAINS": "www.corp.example *.corp.example",
		"LEGO_CERT_DOMAIN": "www.corp.example", "LEGO_CERT_PATH": "/f", "LEGO_CERT_KEY_PATH": "/k",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// What a CA says is a value, never a command, in a shell too.
func TestHookInterpolatesNothing(t *testing.T) {
	witness := filepath.Join(t.TempDir(), "witness")
	told := Facts{Stage: Failure, Issuer: "$(touch " + witness + ")", Failure: "'; touch " + witness + "; '"}
	result, err := Hook{Shell: `echo "$CHANCERY_ISSUER" "$CHANCERY_ERROR"`}.Run(t.Context(), told)
	check(t, err)
	if _, err := os.Stat(witness); err == nil {
		t.Error("the CA's text was run")
	}
	if want := told.Issuer + " " + told.Failure + "\n"; result.Output != want {
		t.Errorf("got %q, want %q", result.Output, want)
	}
}

func TestHookFails(t *testing.T) {
	result, err := Hook{Shell: "echo said; echo \033[2Jthis >&2; exit 7"}.Run(t.Context(), facts)
	failed, ok := errors.AsType[*HookError](err)
	if !ok || failed.Result.Exit != 7 || result.Exit != 7 || failed.TimedOut || !strings.Contains(err.Error(), "deploy hook echo: exit status 7: said [2Jthis") {
		t.Errorf("%v, %+v", err, result)
	}
	_, err = Hook{Command: []string{"/no/such/program"}}.Run(t.Context(), facts)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("%v", err)
	}
	// Killed with its children, one of which holds the pipe.
	result, err = Hook{Shell: "sleep 1000 & sleep 1000", Timeout: Duration(50 * time.Millisecond)}.Run(t.Context(), facts)
	if failed, ok := errors.AsType[*HookError](err); !ok || !failed.TimedOut || result.Exit != -1 || !strings.Contains(err.Error(), "50ms") {
		t.Errorf("%v", err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Hook{Command: []string{"true"}}).Run(over, facts); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	for _, bad := range []Hook{{}, {Shell: " "}, {Shell: "a", Command: []string{"b"}}, {Command: []string{""}}, {Shell: "a\x00"}, {Shell: "a", Attempts: -1}} {
		if _, err := bad.Run(t.Context(), facts); err == nil || bad.Validate() == nil {
			t.Errorf("%+v is run", bad)
		}
	}
}

func TestHookOutputIsBounded(t *testing.T) {
	result, err := Hook{Shell: "echo begin; yes | head -c 1000000; echo end"}.Run(t.Context(), facts)
	check(t, err)
	if !result.Truncated || len(result.Output) > 20<<10 || !strings.HasPrefix(result.Output, "begin\n") || !strings.HasSuffix(result.Output, "end\n") || !strings.Contains(result.Output, "octets left out") {
		t.Errorf("%d octets, cut: %t", len(result.Output), result.Truncated)
	}
}

// A deploy hook that fails is tried again; others are not.
func TestHooksRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "count")
	flaky := Hook{Shell: "echo x >> " + path + "; test $(wc -l < " + path + ") -ge 2", Attempts: 2}
	results, err := Hooks{Deploy: []Hook{flaky, {Command: []string{"true"}}}}.Run(t.Context(), facts)
	if err != nil || len(results) != 2 || results[0].Attempts != 2 {
		t.Errorf("%+v, %v", results, err)
	}
	bad := Hook{Shell: "exit 1", Attempts: 1}
	good := Hook{Command: []string{"true"}}
	for _, test := range []struct {
		stage Stage
		hooks Hooks
		runs  int
	}{
		{Pre, Hooks{Pre: []Hook{bad, good}}, 1}, {Deploy, Hooks{Deploy: []Hook{bad, good}}, 1},
		{Post, Hooks{Post: []Hook{bad, good}}, 2}, {Failure, Hooks{Failure: []Hook{bad, good}}, 2}, {Post, Hooks{}, 0},
	} {
		results, err := test.hooks.Run(t.Context(), Facts{Stage: test.stage})
		if len(results) != test.runs || (err == nil) != (test.runs == 0) {
			t.Errorf("%s: %d ran, %v", test.stage, len(results), err)
		}
	}
}

func TestHookJSON(t *testing.T) {
	want := Hooks{Deploy: []Hook{{Command: []string{"a", "b"}, Timeout: Duration(90 * time.Second)}}, Failure: []Hook{{Shell: "x", Attempts: 2}}}
	text, err := json.Marshal(want)
	check(t, err)
	if !strings.Contains(string(text), `"1m30s"`) {
		t.Errorf("%s", text)
	}
	var got Hooks
	if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{`{"timeout":5}`, `{"timeout":"-1s"}`, `{"timeout":"x"}`} {
		var h Hook
		if json.Unmarshal([]byte(bad), &h) == nil {
			t.Errorf("%s is read", bad)
		}
	}
}
