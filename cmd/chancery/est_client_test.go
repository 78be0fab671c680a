package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"chancery/est"
	"chancery/internal/conform"
	"chancery/internal/durable"
	"chancery/internal/enroll/device"
)

// What a server says is shown without anything that a terminal would act upon.
func TestESTErrorsArePlain(t *testing.T) {
	for _, err := range []error{
		&est.StatusError{Operation: est.SimpleEnroll, Status: 403, Text: "no\x1b[2J\u202eevil"},
		&est.LoginError{Realm: "x\x1b[2J", Reason: "y"},
		&est.PendingError{Text: "wait\r\x1b[2J"},
		errors.Join(&est.AnswerError{Reason: "a\tb"}, errors.New("second")),
	} {
		if got := (&estError{err}).Error(); strings.ContainsAny(got, "\x1b\r\t\u202e") {
			t.Errorf("%q", got)
		}
	}
	var out strings.Builder
	p := &program{streams: streams{err: &out}}
	p.observeDevice(device.Event{Kind: device.Waiting, Message: "wait\x1b[2J\nfor it"})
	if got := out.String(); strings.Contains(got, "\x1b") || strings.Count(got, "\n") != 1 {
		t.Errorf("%q", got)
	}
}

func TestESTStatuses(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{&est.StatusError{Status: 403}, exitRefused}, {&est.StatusError{Status: 404}, exitNotFound}, {&est.StatusError{Status: 501}, exitNotFound},
		{&est.StatusError{Status: 503}, exitLater}, {&est.StatusError{Status: 429}, exitLater}, {&est.PendingError{After: time.Second}, exitLater},
		{&est.FullError{Pending: true}, exitLater}, {&est.FullError{HTTP: 403}, exitRefused}, {&est.LoginError{}, exitRefused}, {&est.ServerError{}, exitRefused},
		{&est.FingerprintError{}, exitRefused}, {&est.RedirectError{}, exitRefused}, {device.ErrNobody, exitRefused}, {errNo, exitRefused}, {device.ErrNone, exitNotFound},
		{device.ErrNameless, exitUsage}, {&durable.BusyError{}, exitLater}, {&est.ConnectionError{Err: io.EOF}, exitFailed},
		{&est.ConnectionError{Err: &net.OpError{Op: "dial", Err: io.EOF}}, exitLater},
	} {
		if got := statusOf(&estError{test.err}); got != test.want {
			t.Errorf("%T %v: %d, want %d", test.err, test.err, got, test.want)
		}
	}
	for op, want := range map[string]int{"dial": exitLater, "read": exitFailed} {
		if got := statusOf(&conform.ESTError{Reason: "it cannot be measured", Err: &net.OpError{Op: op, Err: io.EOF}}); got != want {
			t.Errorf("measuring, %s: %d", op, got)
		}
	}
	if got := statusOf(&deviceError{2, io.EOF}); got != 2 {
		t.Errorf("the agent's: %d", got)
	}
}

// Only a whole yes is one.
func TestAPersonsYes(t *testing.T) {
	from, to := &url.URL{Scheme: "https", Host: "a.example"}, &url.URL{Scheme: "https", Host: "b.example\x1b"}
	for answer, want := range map[string]bool{"yes\n": true, " YES \n": true, "y\n": false, "no\n": false, "\n": false, "": false, "yes": true} {
		var out strings.Builder
		err := (&sitting{bufio.NewReader(strings.NewReader(answer)), &out}).Follow(t.Context(), from, to)
		if (err == nil) != want || strings.Contains(out.String(), "\x1b") {
			t.Errorf("%q: %v, %q", answer, err, out.String())
		}
	}
}

func TestNamesByTheirForm(t *testing.T) {
	var s device.Settings
	for _, name := range []string{"a.example", "192.0.2.1", "2001:db8::1", "x@a.example", "urn:dev:7", "https://a.example/x"} {
		sorted(name, &s)
	}
	if len(s.DNS) != 1 || len(s.IP) != 2 || len(s.Email) != 1 || len(s.URI) != 2 {
		t.Errorf("%+v", s)
	}
}
