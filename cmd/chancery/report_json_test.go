package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"chancery/internal/admin"
	"chancery/internal/config"
	"chancery/internal/enroll"
	"chancery/internal/enroll/device"

	"github.com/spf13/cobra"
)

// Each error is one line of JSON with the status that the process ends with.
func TestErrorsAsJSON(t *testing.T) {
	cmd := &cobra.Command{Use: "chancery"}
	for name, c := range map[string]struct {
		err  error
		want failure
	}{
		"plain": {errors.New("it broke"), failure{Kind: "failed", Status: 1, Message: "it broke"}},
		"lines": {errors.New("it <broke>\nin two\n"), failure{Kind: "failed", Status: 1, Message: "it <broke>\nin two"}},
		"typed": {&usageError{cmd, "what?"}, failure{Kind: "invalid", Status: 2, Message: "what?", Next: "chancery --help"}},
		"input": {badInput("x is empty"), failure{Kind: "invalid", Status: 2, Message: "x is empty"}},
		"idle":  {&admin.ErrNotRunning{Directory: "d"}, failure{Kind: "not-running", Status: 4, Message: (&admin.ErrNotRunning{Directory: "d"}).Error(), Next: "chancery serve --data d"}},
		"told":  {&admin.Error{Kind: admin.NotFound, Detail: "no such"}, failure{Kind: "not-found", Status: 3, Message: "no such"}},
		"later": {&admin.Error{Kind: admin.Unavailable, Detail: "busy"}, failure{Kind: "unavailable", Status: 6, Message: "busy"}},
		"run":   {&enrolError{enroll.StillValid, errors.New("no CA")}, failure{Kind: "still-valid", Status: 2, Message: "no CA"}},
		"all":   {&enrolError{enroll.Failed, nil}, failure{Kind: "failed", Status: 3, Message: "the answer on standard output says what is wrong"}},
		"typo":  {&enrolError{enroll.Failed, badInput("--mode")}, failure{Kind: "invalid", Status: 3, Message: "--mode"}},
		"agent": {&deviceError{3, fmt.Errorf("d: %w", device.ErrNone)}, failure{Kind: "failed", Status: 3, Message: "d: no device is enrolled here yet",
			Next: strings.TrimSpace((&estError{device.ErrNone}).next())}},
		"agent waits": {waitsStill(&device.Pending{Asked: time.Unix(0, 0), Wait: time.Hour}, nil),
			failure{Kind: "unavailable", Status: 6, Message: "there is no certificate yet: the request waits for a decision, and the server wants to be asked again at 1970-01-01 01:00:00 UTC, not before"}},
		"conform": {errNotConforming, failure{Kind: "failed", Status: 1, Message: "the answer on standard output says what is wrong"}},
		"config": {config.Problems{{Source: "a.toml", Line: 3, Column: 1, Key: "data", Text: "no"}},
			failure{Kind: "invalid", Status: 2, Message: "a.toml:3:1: data: no", Problems: []mistake{{"a.toml", 3, 1, "data", "no"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			p := &program{streams: streams{err: &out}, json: true}
			status := p.report(c.err)
			var got struct{ Error failure }
			if err := json.Unmarshal(out.Bytes(), &got); err != nil || strings.Count(out.String(), "\n") != 1 {
				t.Fatalf("%q: %v", out.String(), err)
			}
			if fmt.Sprintf("%+v", got.Error) != fmt.Sprintf("%+v", c.want) || status != c.want.Status {
				t.Errorf("status %d\n%+v\n%+v wanted", status, got.Error, c.want)
			}
			if plain := (&program{streams: streams{err: new(bytes.Buffer)}}).report(c.err); plain != status {
				t.Errorf("status %d, and %d without --json", status, plain)
			}
		})
	}
}

// What is no failure has no error, and what is odd is JSON as well.
func TestRemarksAsJSON(t *testing.T) {
	var out bytes.Buffer
	p := &program{streams: streams{err: &out}, json: true}
	if status := p.report(&enrolError{result: enroll.NotDue}); status != 1 || out.Len() > 0 {
		t.Errorf("not due: %d, %q", status, out.String())
	}
	p.warn("%s", "a\nb")
	p.note("c")
	if got := out.String(); got != `{"warning":{"message":"a\nb"}}`+"\n"+`{"note":{"message":"c"}}`+"\n" {
		t.Error(got)
	}
}

// A command line that was not read to its end may have asked for JSON.
func TestUnreadCommandLine(t *testing.T) {
	for line, want := range map[string]bool{
		"srve --json": true, "cert list --nope --json": true, "--json=true cert lst": true, "cert lst": false, "cert lst -- --json": false,
	} {
		var out bytes.Buffer
		if status := run(strings.Fields(line), streams{in: strings.NewReader(""), out: new(bytes.Buffer), err: &out}); status != exitUsage {
			t.Errorf("%s: status %d", line, status)
		}
		if strings.HasPrefix(out.String(), `{"error":{"kind":"invalid"`) != want {
			t.Errorf("%s: %s", line, out.String())
		}
	}
}
