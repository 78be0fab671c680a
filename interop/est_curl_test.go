package interop_test

import (
	"context"
	"errors"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// curlSaid is what came of a run of curl.
type curlSaid struct {
	exit    int
	status  int // of the last answer
	version string
	head    string // of all answers, one after the other
	body    string // of the last
	said    string
}

// field gives a header field's values, of the last answer, as they are spelt.
func (c curlSaid) field(name string) []string {
	answers := strings.Split(strings.TrimSpace(strings.ReplaceAll(c.head, "\r\n", "\n")), "\n\n")
	var all []string
	for line := range strings.Lines(answers[len(answers)-1]) {
		if word, value, ok := strings.Cut(line, ":"); ok && word == name {
			all = append(all, strings.TrimSpace(value))
		}
	}
	return all
}

// get runs curl for a page of the server. HTTP/1.1, unless the arguments say otherwise,
// so that header fields are seen as old clients see them.
func (l *estLab) get(path string, args ...string) curlSaid {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	defer cancel()
	const mark = "\n--end--"
	args = append([]string{"-sS", "--http1.1", "--cacert", l.root, "-D", "head", "-w", mark + "%{http_code} %{http_version}"}, args...)
	cmd := exec.CommandContext(ctx, l.curl, append(args, l.url(path))...)
	cmd.Dir, cmd.Env = l.dir, l.environment()
	var said strings.Builder
	cmd.Stderr = &said
	l.write("head", "")
	out, err := cmd.Output()
	c := curlSaid{said: said.String(), exit: cmd.ProcessState.ExitCode()}
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() < 0) {
		l.t.Fatalf("curl %q: %v", args, err)
	}
	var end string
	c.body, end, _ = strings.Cut(string(out), mark)
	code, version, _ := strings.Cut(end, " ")
	c.status, _ = strconv.Atoi(code)
	c.version, c.head = version, l.text("head")
	return c
}

// post sends the request of NAME.b64.
func (l *estLab) post(path, name string, args ...string) curlSaid {
	l.t.Helper()
	return l.get(path, append([]string{"-H", "Content-Type: application/pkcs10", "--data-binary", "@" + name + ".b64"}, args...)...)
}

// is fails the test unless curl got an answer with the status.
func (c curlSaid) is(t *testing.T, status int) curlSaid {
	t.Helper()
	if c.exit != 0 || c.status != status {
		t.Fatalf("want HTTP %d, curl ended with %d (%s), HTTP %d:\n%s\n%s", status, c.exit, c.said, c.status, c.head, c.body)
	}
	return c
}

// says fails the test unless the answer is text with these words, that fits a line or two.
func (c curlSaid) says(t *testing.T, status int, words ...string) {
	t.Helper()
	c.is(t, status)
	if kind := c.field("Content-Type"); len(kind) != 1 || !strings.HasPrefix(kind[0], "text/plain") {
		t.Errorf("the error's Content-Type is %q", kind)
	}
	for _, word := range words {
		if !strings.Contains(c.body, word) {
			t.Errorf("HTTP %d does not say %q: %s", status, word, c.body)
		}
	}
}

// certs checks an answer of certificates, to the octet what the strictest clients want.
func (c curlSaid) certs(t *testing.T) curlSaid {
	t.Helper()
	c.is(t, http.StatusOK)
	for name, want := range map[string]string{
		"Content-Type": "application/pkcs7-mime; smime-type=certs-only", "Content-Transfer-Encoding": "base64",
		"Content-Length": strconv.Itoa(len(c.body)),
	} {
		if got := c.field(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, want %q in\n%s", name, got, want, c.head)
		}
	}
	return c
}
