package interop_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// ears hear what the client tells people, on all four channels.
type ears struct {
	mu                     sync.Mutex
	mails, hooks, syslogs  []string
	smtp, hook, log, heard string // addresses, and the file of the command
}

func (e *ears) add(list *[]string, text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	*list = append(*list, text)
}

// count says how many of each channel's messages hold the words.
func (e *ears) count(t *testing.T, words string) [4]int {
	t.Helper()
	text, err := os.ReadFile(e.heard)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var n [4]int
	for i, list := range [][]string{e.mails, e.hooks, e.syslogs, strings.Split(string(text), "\n")} {
		for _, one := range list {
			if strings.Contains(one, words) {
				n[i]++
			}
		}
	}
	return n
}

func (l *lab) ears() *ears {
	l.t.Helper()
	e := &ears{heard: filepath.Join(l.dir, "heard")}
	mail := listen(l.t, "127.0.0.1:0")
	l.t.Cleanup(func() { mail.Close() })
	e.smtp = fmt.Sprintf("localhost:%d", mail.Addr().(*net.TCPAddr).Port)
	pair := l.web.server(l.t, "localhost")
	go func() {
		for {
			c, err := mail.Accept()
			if err != nil {
				return
			}
			go e.takeMail(c, &tls.Config{Certificates: []tls.Certificate{pair}})
		}
	}()
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var m struct{ Subject string }
		_ = json.Unmarshal(body, &m)
		e.add(&e.hooks, m.Subject)
	}))
	web.TLS = &tls.Config{Certificates: []tls.Certificate{l.web.server(l.t, "localhost")}}
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	web.StartTLS()
	l.t.Cleanup(web.Close)
	e.hook = fmt.Sprintf("https://localhost:%d/", web.Listener.Addr().(*net.TCPAddr).Port)
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { udp.Close() })
	e.log = "udp://" + udp.LocalAddr().String()
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, _, err := udp.ReadFrom(buffer)
			if err != nil {
				return
			}
			e.add(&e.syslogs, string(buffer[:n]))
		}
	}()
	return e
}

// takeMail is a mail server: it takes mail after STARTTLS only (RFC 3207).
func (e *ears) takeMail(c net.Conn, config *tls.Config) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	r := bufio.NewReader(c)
	say := func(text string) { fmt.Fprintf(c, "%s\r\n", text) }
	say("220 mail.test ESMTP")
	secure := false
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			say("250-mail.test")
			say("250 STARTTLS")
		case "STARTTLS":
			say("220 go on")
			inside := tls.Server(c, config)
			if inside.Handshake() != nil {
				return
			}
			c, r, secure = inside, bufio.NewReader(inside), true
		case "MAIL", "RCPT", "NOOP", "RSET":
			if !secure {
				say("530 5.7.0 STARTTLS first")
				continue
			}
			say("250 fine")
		case "DATA":
			say("354 go on")
			var text strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				text.WriteString(line)
			}
			// A folded subject is one line.
			e.add(&e.mails, strings.ReplaceAll(text.String(), "\r\n ", " "))
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("500 what?")
		}
	}
}

// The real binary, one process after the other: an incident is told once by mail, webhook,
// command and syslog, also when two processes meet it at once; the circuit is open in the
// next process; and the recovery is told once.
func TestClientTellsPeopleOnce(t *testing.T) {
	l := newLab(t)
	l.serveWebroot()
	directory := l.pebble(pebbleSetup{})
	best, second := l.front(directory), l.front(directory)
	e := l.ears()
	file := l.settingsFile("client", fmt.Sprintf(`[breaker]
failures = 2
pause = "1h"
[notify.mail]
server = %q
from = "chancery@shop.test"
to = ["admin@shop.test"]
[notify.webhook]
url = %q
[notify.exec]
command = ["/bin/sh", "-c", "cat >> %s"]
[notify.syslog]
enabled = true
server = %q
`, e.smtp, e.hook, e.heard, e.log))
	both := []string{best.issuer + "; priority=1", second.issuer + "; priority=2"}
	for _, n := range []string{"a.test", "b.test"} {
		l.caa(n, both...)
		l.ends(t, 0, "get", "--config", file, n)
	}
	if n := len(best.sent("csr")); n != 2 {
		t.Fatalf("the best CA issued %d certificates", n)
	}
	best.down()
	var wait sync.WaitGroup
	for _, n := range []string{"a.test", "b.test"} {
		wait.Go(func() {
			if r := l.exec(t, "renew", "--config", file, "--force", n); r.code != 0 || !strings.Contains(r.out, "Ready: a certificate from "+second.issuer) {
				t.Errorf("%s: %s", n, r)
			}
		})
	}
	wait.Wait()
	failing, again := best.issuer+" failed 2 times in a row", best.issuer+" serves again"
	e.expect(t, failing, 1)
	best.seen.Store(0)
	r := l.ends(t, 0, "renew", "--config", file, "--force")
	if n := best.seen.Load(); n != 0 || !strings.Contains(r.out, "was down and is set back") {
		t.Errorf("another process asked a CA with an open circuit %d times: %s", n, r)
	}
	best.well()
	l.caa("a.test", best.issuer) // nobody else to ask, so it is asked although set back
	r = l.ends(t, 0, "renew", "--config", file, "--force", "a.test")
	if !strings.Contains(r.out, "Ready: a certificate from "+best.issuer) {
		t.Error(r)
	}
	l.ends(t, 0, "renew", "--config", file, "--force", "b.test")
	e.expect(t, failing, 1)
	e.expect(t, again, 1)
	// The end of an unattended run without a certificate, once too.
	best.down()
	second.down()
	for range 3 {
		l.ends(t, 2, "renew", "--config", file, "--force", "--unattended", "b.test")
	}
	e.expect(t, "No new certificate for b.test", 1)
}

// expect waits for datagrams that may still be on their way, and for nothing else: the
// processes have ended.
func (e *ears) expect(t *testing.T, words string, want int) {
	t.Helper()
	all := [4]int{want, want, want, want}
	for deadline := time.Now().Add(5 * time.Second); e.count(t, words)[2] < want && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if n := e.count(t, words); n != all {
		t.Errorf("%q was told by mail, webhook, syslog and command %v times, want %d each", words, n, want)
	}
}
