package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"chancery/internal/owned"
)

// show answers: value as JSON where it was asked for, else what people writes,
// in aligned columns (tabs between cells).
func (p *program) show(value any, people func(w io.Writer)) error {
	if p.json {
		return p.showJSON(value)
	}
	return p.table(p.out, people)
}

func (p *program) showJSON(value any) error {
	e := json.NewEncoder(p.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(value)
}

func (p *program) table(to io.Writer, people func(w io.Writer)) error {
	w := tabwriter.NewWriter(to, 0, 8, 2, ' ', 0)
	people(w)
	return w.Flush()
}

// pairs writes "label  value" lines, leaving out empty values.
func pairs(w io.Writer, labelled ...[2]string) {
	for _, pair := range labelled {
		if pair[1] == "" {
			continue
		}
		for n, line := range strings.Split(pair[1], "\n") {
			if n > 0 {
				pair[0] = ""
			}
			fmt.Fprintf(w, "%s\t%s\n", pair[0], line)
		}
	}
}

// day and moment write times in UTC, as certificates have them.
func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateOnly)
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// colons writes a hex fingerprint as OpenSSL and browsers do.
func colons(hex string) string {
	var b strings.Builder
	for i, r := range strings.ToUpper(hex) {
		if i > 0 && i%2 == 0 {
			b.WriteByte(':')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// bare takes the type off a dns name or address, which tell it by their form.
func bare(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = strings.TrimPrefix(strings.TrimPrefix(n, "dns:"), "ip:")
	}
	return out
}

// inputLimit is more than any certificate, request or CRL that is sent on.
const inputLimit = 700 << 10

// readInput reads a small file, or standard input for "-".
func (p *program) readInput(name string) ([]byte, error) { return p.readUpTo(name, inputLimit) }

// openGiven opens what somebody named to be read. A pipe to which nobody writes is empty,
// and is not waited for: nothing could interrupt that.
func openGiven(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
}

// readUpTo is readInput with a limit in octets.
func (p *program) readUpTo(name string, limit int) ([]byte, error) {
	if name == "-" {
		return readAll(name, p.in, limit)
	}
	file, err := openGiven(name)
	if err != nil {
		return nil, badInput("%v", err)
	}
	defer func() { _ = file.Close() }()
	return readAll(name, file, limit)
}

// errPiped says why nobody can tell who wrote what standard input gives.
var errPiped = errors.New("standard input does not tell whose it is")

// readJudged is readInput, and says why others than this user and root may have written what
// it read.
func (p *program) readJudged(name string) (text []byte, whose, err error) {
	if name == "-" {
		text, err = p.readInput(name)
		return text, errPiped, err
	}
	file, err := openGiven(name)
	if err != nil {
		return nil, nil, badInput("%v", err)
	}
	defer func() { _ = file.Close() }()
	text, err = readAll(name, file, inputLimit)
	return text, owned.Opened(file), err
}

func readAll(name string, from io.Reader, limit int) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(from, int64(limit)+1))
	switch {
	case err != nil:
		return nil, badInput("reading %s: %v", name, err)
	case len(text) > limit:
		return nil, badInput("%s is larger than %d KiB: is it the right file?", name, limit>>10)
	case len(text) == 0:
		return nil, badInput("%s is empty", name)
	}
	return text, nil
}

// readPresent gives what a file has that is to be written; a pipe there is not waited for.
func readPresent(name string) ([]byte, error) {
	file, err := openGiven(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, err
	}
	return io.ReadAll(file)
}

// mayWrite refuses, before anything is done, a file that cannot be written or
// that holds a private key.
func mayWrite(name string) error {
	if name == "" {
		return nil
	}
	if old, err := readPresent(name); err == nil && bytes.Contains(old, []byte("PRIVATE KEY")) {
		return badInput("%s holds a private key and is not overwritten; choose another --out", name)
	}
	file, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return badInput("%s cannot be written: the directory %s does not exist or is not yours", name, filepath.Dir(name))
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}

// writeOutput writes a file that others may read, all of it or nothing.
func writeOutput(name string, text []byte) error {
	file, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err == nil {
		err = file.Chmod(0o644)
	}
	if closing := file.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(file.Name(), name)
	}
	if err != nil {
		_ = os.Remove(file.Name())
		return fmt.Errorf("%s was not written: %w", name, err)
	}
	return nil
}
