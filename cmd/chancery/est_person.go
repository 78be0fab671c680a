package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"chancery/est"
	"chancery/internal/enroll/device"
	"chancery/internal/plain"

	"golang.org/x/term"
)

// person is whoever sits at the terminal; nil if nobody does.
func (p *program) person() device.Person {
	file, ok := p.in.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil
	}
	return &sitting{in: bufio.NewReader(io.LimitReader(file, 64<<10)), out: p.err}
}

// sitting is a person at a terminal.
type sitting struct {
	in  *bufio.Reader
	out io.Writer
}

// errNo is a person's no.
var errNo = errors.New("you did not agree, so nothing was trusted and nothing was sent")

// Trust shows the roots and asks for one (RFC 7030 §4.1.1).
func (s *sitting) Trust(_ context.Context, offer *est.Offer) (string, error) {
	roots := offer.Roots()
	fmt.Fprintf(s.out, "The server %s offers this CA, and nothing proves yet that it is the right one:\n", plain.Line(offer.Server.Host, 200))
	for i, root := range roots {
		fmt.Fprintf(s.out, "\n  %d  %s\n     until   %s\n     SHA-256 %s\n", i+1, plain.Line(root.Subject.String(), 500), moment(root.NotAfter),
			colons(strings.TrimPrefix(est.Fingerprint(root.Raw, "sha256"), "sha256:")))
	}
	fmt.Fprint(s.out, "\nCompare the fingerprint with what the CA's people told you by a way that nobody can\nforge: all of it, not the beginning. ")
	if len(roots) == 1 {
		if err := s.yes("Is it the same"); err != nil {
			return "", err
		}
		return est.Fingerprint(roots[0].Raw, "sha256"), nil
	}
	fmt.Fprintf(s.out, "Which one is the same (1-%d, anything else is none)? ", len(roots))
	line, err := s.in.ReadString('\n')
	if err != nil && line == "" {
		return "", errNo
	}
	var n int
	if _, err := fmt.Sscan(line, &n); err != nil || n < 1 || n > len(roots) {
		return "", errNo
	}
	return est.Fingerprint(roots[n-1].Raw, "sha256"), nil
}

// Follow asks whether a request may go elsewhere (RFC 7030 §3.2.1).
func (s *sitting) Follow(_ context.Context, from, to *url.URL) error {
	fmt.Fprintf(s.out, "The server %s sends this request to another one:\n  %s\n", plain.Line(from.Host, 200), plain.Line(to.String(), 500))
	return s.yes("Shall it go there")
}

func (s *sitting) yes(question string) error {
	fmt.Fprintf(s.out, "%s (yes/no)? ", question)
	line, err := s.in.ReadString('\n')
	if err != nil && line == "" || strings.ToLower(strings.TrimSpace(line)) != "yes" {
		return errNo
	}
	return nil
}

// askPassword reads one from the terminal, unseen.
func (p *program) askPassword(prompt string) (est.Password, error) {
	file, ok := p.in.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return "", badInput("there is no terminal to ask for the password: put it into a file that only you can read, and give --password-file FILE")
	}
	fmt.Fprint(p.err, prompt)
	text, err := term.ReadPassword(int(file.Fd()))
	fmt.Fprintln(p.err)
	if err != nil || len(text) == 0 {
		return "", badInput("no password was given")
	}
	return est.Password(text), nil
}

// deviceLabels are the words in front of what happens to a device.
var deviceLabels = map[device.Kind]string{
	device.Bootstrapped: "trusted", device.Anchored: "new root", device.Unproven: "unproven", device.Asking: "asking", device.Waiting: "waiting",
	device.Issued: "issued", device.Installed: "installed", device.Ran: "hook", device.Warned: "warning", device.Failed: "failed", device.Planned: "next",
}

// observeDevice shows what happens: to people beside the answer, to programs as one JSON
// object a line.
func (p *program) observeDevice(e device.Event) {
	if p.json {
		e.Message = plain.Line(e.Message, 4000)
		(&progress{out: p.out}).line(e)
		return
	}
	fmt.Fprintf(p.err, "  %-10s %s\n", deviceLabels[e.Kind], plain.Folded(e.Message))
}
