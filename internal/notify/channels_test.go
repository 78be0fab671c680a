package notify

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestWebhook(t *testing.T) {
	var got *http.Request
	var body []byte
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
	}))
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	key := []byte("a shared secret")
	now := time.Unix(1_790_000_123, 0)
	c, err := Webhook{URL: server.URL + "/hooks/1", Roots: roots, Token: secret,
		Secret: func() ([]byte, error) { return key, nil }, Now: func() time.Time { return now }}.Channel()
	if err != nil {
		t.Fatal(err)
	}
	m := message("one")
	if err := c.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	var back Message
	if err := json.Unmarshal(body, &back); err != nil || back.ID != m.ID || back.Severity != Warning || back.Data["issuer"] != "ca.example" || !back.Time.Equal(m.Time) {
		t.Errorf("the body is %s, error %v", body, err)
	}
	if got.Method != http.MethodPost || got.Header.Get("Content-Type") != "application/json" || got.Header.Get("Authorization") != "Bearer secret" ||
		got.Header.Get("Chancery-Signature") != Signature(key, now, body) || !strings.HasPrefix(Signature(key, now, body), "t=1790000123,v1=") {
		t.Errorf("the request is %v %v", got.Method, got.Header)
	}
}

// The signature's form is what receivers compute: this value is from openssl's dgst.
func TestSignature(t *testing.T) {
	const want = "t=1,v1=1ba6b8171186efc613e8bcc0cbdab2748f24984d7c5a84faa2637afa0e40d224"
	got := Signature([]byte("key"), time.Unix(1, 0), []byte("{}"))
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, other := range []string{Signature([]byte("kez"), time.Unix(1, 0), []byte("{}")), Signature([]byte("key"), time.Unix(2, 0), []byte("{}")),
		Signature([]byte("key"), time.Unix(1, 0), []byte("[]"))} {
		if strings.TrimPrefix(other, "t=2") == strings.TrimPrefix(got, "t=1") || other == got {
			t.Errorf("%s does not depend on all it should", got)
		}
	}
}

func TestWebhookFailures(t *testing.T) {
	followed := false
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ill":
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/wrong":
			w.WriteHeader(http.StatusForbidden)
		case "/away":
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		case "/elsewhere":
			followed = true
		case "/slow":
			io.Copy(io.Discard, r.Body) // else the server does not notice that the client left
			<-r.Context().Done()
			panic(http.ErrAbortHandler) // else it would answer a client that is just closing
		}
	}))
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	for _, test := range []struct {
		path    string
		lasting bool
		after   time.Duration
	}{{"/ill", false, 2 * time.Minute}, {"/wrong", true, 0}, {"/away", true, 0}, {"/slow", false, 0}} {
		limit := 10 * time.Second
		if test.path == "/slow" {
			limit = 50 * time.Millisecond
		}
		c, err := Webhook{URL: server.URL + test.path + "?token=geheim", Roots: roots, Timeout: limit}.Channel()
		if err != nil {
			t.Fatal(err)
		}
		err = c.Send(t.Context(), message("one"))
		f, ok := errors.AsType[*Failure](err)
		if !ok || f.Lasting != test.lasting || f.After != test.after || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v, %+v", test.path, err, f)
		}
	}
	if followed {
		t.Error("the message went where it was redirected to")
	}
	for _, bad := range []string{"", "http://example.org/x", "ftp://example.org", "example.org", "https://"} {
		if _, err := (Webhook{URL: bad}).Channel(); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestCommand(t *testing.T) {
	t.Setenv("CHANCERY_TEST_SECRET", "hunter2")
	dir := t.TempDir()
	c, err := Command{Command: []string{"/bin/sh", "-c", `cat > "$OUT/in"; env > "$OUT/env"; printf '%s' "$1" > "$OUT/arg"`, "sh", "$(touch pwned); `id`"},
		Environment: []string{"OUT=" + dir}}.Channel()
	if err != nil {
		t.Fatal(err)
	}
	m := message("one")
	m.Subject = "$(touch " + dir + "/pwned)"
	if err := c.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	var back Message
	in, err := os.ReadFile(filepath.Join(dir, "in"))
	if err != nil || json.Unmarshal(in, &back) != nil || back.Subject != m.Subject {
		t.Errorf("its input was %s, error %v", in, err)
	}
	env, err := os.ReadFile(filepath.Join(dir, "env"))
	if err != nil || strings.Contains(string(env), "hunter2") || !strings.Contains(string(env), "CHANCERY_SEVERITY=warning\n") {
		t.Errorf("its environment was %s, error %v", env, err)
	}
	if arg, _ := os.ReadFile(filepath.Join(dir, "arg")); string(arg) != "$(touch pwned); `id`" {
		t.Errorf("its argument was %q", arg)
	}
	if _, err := os.Stat(filepath.Join(dir, "pwned")); err == nil {
		t.Error("a subject was executed")
	}
}

func TestCommandFailures(t *testing.T) {
	for _, test := range []struct {
		name, text string
		command    []string
		limit      time.Duration
	}{
		{"exit code", `exit status 3; it said: no \x1b[2Jidea`, []string{"/bin/sh", "-c", `printf 'no \033[2Jidea\n' >&2; exit 3`}, 0},
		{"not there", "no such file", []string{"/nonexistent/program"}, 0},
		{"hangs with a child", "did not end within", []string{"/bin/sh", "-c", "sleep 60 & sleep 60"}, 100 * time.Millisecond},
		{"endless output", "did not end within", []string{"/bin/sh", "-c", "yes"}, 100 * time.Millisecond},
	} {
		c, err := Command{Command: test.command, Timeout: test.limit}.Channel()
		if err != nil {
			t.Fatal(err)
		}
		err = c.Send(t.Context(), message("one"))
		if err == nil || !strings.Contains(err.Error(), test.text) || strings.Contains(err.Error(), "\x1b") || len(err.Error()) > 1000 {
			t.Errorf("%s: %q", test.name, err)
		}
	}
	if _, err := (Command{}).Channel(); err == nil {
		t.Error("a command without a program was taken")
	}
}

// rfc5424 is the grammar of a record, for severity warning of the daemons' facility.
var rfc5424 = regexp.MustCompile(`^<28>1 2026-09-21T\d\d:\d\d:\d\d\.000000Z \S+ chancery \d+ - - (.*)$`)

func TestSyslog(t *testing.T) {
	certified := httptest.NewTLSServer(nil)
	defer certified.Close()
	roots := x509.NewCertPool()
	roots.AddCert(certified.Certificate())
	for _, scheme := range []string{"udp", "tcp", "tls", "unixgram", "unix"} {
		t.Run(scheme, func(t *testing.T) {
			server, record := syslogServer(t, scheme, certified.TLS.Certificates)
			c, err := Syslog{Server: server, Roots: roots}.Channel()
			if err != nil {
				t.Fatal(err)
			}
			m := message("one")
			m.Text = "Zeile\r\n<0>1 gefälscht\x1b[2J\n"
			if err := c.Send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			got := <-record
			parts := rfc5424.FindStringSubmatch(got)
			if parts == nil || strings.ContainsAny(got, "\r\n\x1b") {
				t.Fatalf("got %q", got)
			}
			if want := "\uFEFFca.example failed 2 times in a row: Zeile <0>1 gefälscht\\x1b[2J {\"id\":\"one\",\"data\":{\"issuer\":\"ca.example\"}}"; parts[1] != want {
				t.Errorf("got %q, want %q", parts[1], want)
			}
		})
	}
}

// syslogServer takes one record.
func syslogServer(t *testing.T, scheme string, certificates []tls.Certificate) (string, <-chan string) {
	t.Helper()
	record := make(chan string, 1)
	packets := func(c net.PacketConn, err error) net.PacketConn {
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		go func() {
			buffer := make([]byte, 65536)
			n, _, _ := c.ReadFrom(buffer)
			record <- string(buffer[:n])
		}()
		return c
	}
	stream := func(l net.Listener, err error) net.Listener {
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			c, err := l.Accept()
			if err != nil {
				record <- err.Error()
				return
			}
			defer c.Close()
			in := bufio.NewReader(c)
			length, _ := in.ReadString(' ')
			n, _ := strconv.Atoi(strings.TrimSpace(length))
			text := make([]byte, n)
			io.ReadFull(in, text)
			rest, _ := io.ReadAll(in)
			record <- string(text) + string(rest)
		}()
		return l
	}
	path := filepath.Join(t.TempDir(), "log")
	switch scheme {
	case "udp":
		return "udp://" + packets(net.ListenPacket("udp", "127.0.0.1:0")).LocalAddr().String(), record
	case "unixgram":
		packets(net.ListenPacket("unixgram", path))
		return "unix://" + path, record
	case "unix":
		stream(net.Listen("unix", path))
		return "unix://" + path, record
	case "tls":
		return "tls://" + stream(tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certificates})).Addr().String(), record
	}
	return "tcp://" + stream(net.Listen("tcp", "127.0.0.1:0")).Addr().String(), record
}

func TestSyslogRefusals(t *testing.T) {
	for _, bad := range []string{"example.org", "http://example.org", "udp://", "unix://host/path", "udp://user@host", "tcp://host/path", "unix://"} {
		if _, err := (Syslog{Server: bad}).Channel(); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	c, err := Syslog{Server: "unix:///nonexistent/log"}.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Send(t.Context(), message("one")); err == nil {
		t.Error("sent to nobody")
	}
	long := message("one")
	long.Text = strings.Repeat("ä", 5000)
	server, record := syslogServer(t, "udp", nil)
	if c, err = (Syslog{Server: server}).Channel(); err != nil {
		t.Fatal(err)
	}
	if err := c.Send(t.Context(), long); err != nil {
		t.Fatal(err)
	}
	if got := <-record; len(got) > maxDatagram || len(got) < maxDatagram-4 || strings.ToValidUTF8(got, "?") != got {
		t.Errorf("a long record has %d octets and ends in %q", len(got), got[max(0, len(got)-8):])
	}
}

func TestPrefixed(t *testing.T) {
	var b bytes.Buffer
	m := message("one")
	m.Subject = "a\nb\x1b[2J"
	if err := Prefixed(&b).Send(context.Background(), m); err != nil || !strings.HasPrefix(b.String(), `<4>a b\x1b[2J: It was down. {"id":"one"`) || strings.Count(b.String(), "\n") != 1 {
		t.Errorf("written %q, error %v", b.String(), err)
	}
}

func TestSeverity(t *testing.T) {
	for _, s := range []Severity{Info, Warning, Error} {
		text, err := s.MarshalText()
		var back Severity
		if err != nil || back.UnmarshalText(text) != nil || back != s {
			t.Errorf("%v becomes %v, error %v", s, back, err)
		}
	}
	if new(Severity).UnmarshalText([]byte("loud")) == nil || Severity(9).String() == "" {
		t.Error("unknown severities are taken")
	}
}
