package notify

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"
)

// post is an SMTP server (RFC 5321) of this process: it speaks TLS with a certificate
// for example.com and 127.0.0.1, and can be told to misbehave.
type post struct {
	address string
	roots   *x509.CertPool
	tls     *tls.Config

	implicit, plain, silent bool
	refuse                  map[string]string // command -> reply instead of the usual one

	mu      sync.Mutex
	letters []string
	heard   []string // commands, "TLS " before those under TLS
	login   string
}

func startPost(t *testing.T, change func(*post)) *post {
	t.Helper()
	certified := httptest.NewTLSServer(nil) // for its certificate
	t.Cleanup(certified.Close)
	p := &post{roots: x509.NewCertPool(), tls: &tls.Config{Certificates: certified.TLS.Certificates}, refuse: map[string]string{}}
	p.roots.AddCert(certified.Certificate())
	if change != nil {
		change(p)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.address = l.Addr().String()
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { defer c.Close(); p.serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return p
}

func (p *post) serve(c net.Conn) {
	c.SetDeadline(time.Now().Add(20 * time.Second))
	secure := ""
	if p.implicit {
		c, secure = tls.Server(c, p.tls), "TLS "
	}
	if p.silent {
		io.Copy(io.Discard, c)
		return
	}
	in := bufio.NewReader(c)
	say := func(line string) { io.WriteString(c, line+"\r\n") }
	say("220 example.com ESMTP")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb := strings.ToUpper(strings.SplitN(line, " ", 2)[0])
		p.mu.Lock()
		p.heard = append(p.heard, secure+verb)
		p.mu.Unlock()
		if reply := p.refuse[verb]; reply != "" {
			say(reply)
			continue
		}
		switch verb {
		case "EHLO":
			lines := []string{"example.com", "8BITMIME"}
			if secure == "" && !p.plain {
				lines = append(lines, "STARTTLS")
			}
			lines = append(lines, "AUTH PLAIN")
			say("250-" + strings.Join(lines[:len(lines)-1], "\r\n250-") + "\r\n250 " + lines[len(lines)-1])
		case "STARTTLS":
			say("220 go ahead")
			c, secure = tls.Server(c, p.tls), "TLS "
			in = bufio.NewReader(c)
		case "AUTH":
			given, _ := base64.StdEncoding.DecodeString(line[len("AUTH PLAIN "):])
			p.mu.Lock()
			p.login = string(given)
			p.mu.Unlock()
			if string(given) != "\x00alice\x00secret" {
				say("535 5.7.8 wrong \x1b[2Jpassword")
				continue
			}
			say("235 fine")
		case "DATA":
			say("354 go")
			var letter strings.Builder
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				letter.WriteString(strings.TrimPrefix(line, "."))
			}
			if reply := p.refuse["."]; reply != "" {
				say(reply)
				continue
			}
			p.mu.Lock()
			p.letters = append(p.letters, letter.String())
			p.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func (p *post) config() SMTP {
	return SMTP{Server: p.address, From: "Chancery <ca@example.com>", Roots: p.roots, Timeout: 10 * time.Second}
}

func secret() (string, error) { return "secret", nil }

func TestMail(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*post)
		config func(*SMTP)
		want   string // commands
	}{
		{"starttls by default", nil, nil, "EHLO STARTTLS TLS EHLO TLS MAIL TLS RCPT TLS DATA TLS QUIT"},
		{"login", nil, func(s *SMTP) { s.User, s.Password = "alice", secret }, "EHLO STARTTLS TLS EHLO TLS AUTH TLS MAIL TLS RCPT TLS DATA TLS QUIT"},
		{"implicit", func(p *post) { p.implicit = true }, func(s *SMTP) { s.TLS, s.User, s.Password = ImplicitTLS, "alice", secret },
			"TLS EHLO TLS AUTH TLS MAIL TLS RCPT TLS DATA TLS QUIT"},
		{"plain on loopback", func(p *post) { p.plain = true }, func(s *SMTP) { s.TLS = NoTLS }, "EHLO MAIL RCPT DATA QUIT"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := startPost(t, test.change)
			s := p.config()
			if test.config != nil {
				test.config(&s)
			}
			channels, err := s.Channels("Bob <bob@example.org>")
			if err != nil {
				t.Fatal(err)
			}
			m := message("incident 1")
			m.Subject = "Für ca.example gibt es seit Stunden keine Zertifikate mehr, und das ist eine lange Betreffzeile mit Umlauten äöü"
			m.Text = "Erste Zeile äöü\n.\n.zwei\n" + strings.Repeat("long ", 300) + "\n"
			if err := channels[0].Send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(p.heard, " "); got != test.want {
				t.Errorf("the server heard %s, want %s", got, test.want)
			}
			checkLetter(t, p.letters[0], m)
		})
	}
}

func checkLetter(t *testing.T, raw string, m Message) {
	t.Helper()
	for line := range strings.SplitSeq(strings.TrimSuffix(raw, "\r\n"), "\r\n") {
		if len(line) > 78 || strings.ContainsFunc(line, func(r rune) bool { return r >= 0x7f }) {
			t.Errorf("line %q: longer than 78 octets or not ASCII", line)
		}
	}
	parsed, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatalf("%v in\n%s", err, raw)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
	if err != nil || subject != m.Subject {
		t.Errorf("subject %q, error %v", subject, err)
	}
	date, err := parsed.Header.Date()
	if err != nil || !date.Equal(m.Time) {
		t.Errorf("date %v, error %v", date, err)
	}
	for name, want := range map[string]string{"Auto-Submitted": "auto-generated", "From": `"Chancery" <ca@example.com>`, "To": "<bob@example.org>",
		"Message-Id": "<" + hash(m.ID) + "@example.com>", "Mime-Version": "1.0", "Content-Type": "text/plain; charset=utf-8"} {
		if got := parsed.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	body, err := io.ReadAll(quotedprintable.NewReader(parsed.Body))
	text := strings.ReplaceAll(string(body), "\r\n", "\n")
	if err != nil || !strings.HasPrefix(text, "Erste Zeile äöü\n.\n.zwei\nlong long") || !strings.Contains(text, "\n-- \nSent by chancery on ") {
		t.Errorf("body %q, error %v", text, err)
	}
}

func TestMailRefusals(t *testing.T) {
	for _, test := range []struct {
		name    string
		change  func(*post)
		config  func(*SMTP)
		lasting bool
		text    string
	}{
		{"no STARTTLS offered", func(p *post) { p.plain = true }, nil, false, "offers no STARTTLS"},
		{"unknown authority", nil, func(s *SMTP) { s.Roots = x509.NewCertPool() }, false, "unknown authority"},
		{"password without TLS", nil, func(s *SMTP) { s.TLS, s.User, s.Password = NoTLS, "alice", secret }, true, "without TLS"},
		{"wrong password", nil, func(s *SMTP) {
			s.User, s.Password = "alice", func() (string, error) { return "hunter2", nil }
		}, true, "logging in"},
		{"no password to be had", nil, func(s *SMTP) {
			s.User, s.Password = "alice", func() (string, error) { return "", errors.New("file is gone") }
		}, false, "file is gone"},
		{"recipient refused", func(p *post) { p.refuse["RCPT"] = "550 5.1.1 nobody here" }, nil, true, "550"},
		{"greylisted", func(p *post) { p.refuse["RCPT"] = "451 4.7.1 later" }, nil, false, "451"},
		{"refused after the data", func(p *post) { p.refuse["."] = "554 5.7.1 spam" }, nil, true, "554"},
		{"hostile reply", func(p *post) { p.refuse["MAIL"] = "550 \x1b]0;pwned\x07" }, nil, true, `\x1b]0;pwned`},
		{"sender is none", nil, func(s *SMTP) { s.From = "nobody" }, true, "sender"},
		{"two recipients in one", nil, nil, true, "no mail address"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := startPost(t, test.change)
			s := p.config()
			if test.config != nil {
				test.config(&s)
			}
			to := "bob@example.org"
			if test.name == "two recipients in one" {
				to = "bob@example.org>\r\nRCPT TO:<eve@example.org"
			}
			err := s.Send(t.Context(), Mail{To: to, Subject: "x", Text: "y"})
			f, ok := errors.AsType[*Failure](err)
			if !ok || f.Lasting != test.lasting || !strings.Contains(err.Error(), test.text) {
				t.Errorf("got %v (%+v), want lasting %t and %q", err, f, test.lasting, test.text)
			}
			if err != nil && (strings.ContainsAny(err.Error(), "\x1b\x07\r\n") || strings.Contains(err.Error(), "hunter2")) {
				t.Errorf("the error shows too much: %q", err)
			}
			if len(p.letters) != 0 || strings.Contains(p.login, "secret") {
				t.Errorf("the server got %q and the login %q", p.letters, p.login)
			}
		})
	}
}

func TestNoHeaderIsInjected(t *testing.T) {
	p := startPost(t, nil)
	err := p.config().Send(t.Context(), Mail{To: "bob@example.org", Subject: "a\r\nBcc: eve@example.org\r\n\r\nbody", ID: "x>\r\nBcc: eve@example.org", Text: "t"})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := mail.ReadMessage(strings.NewReader(p.letters[0]))
	if err != nil || parsed.Header.Get("Bcc") != "" || parsed.Header.Get("Subject") != "a Bcc: eve@example.org body" {
		t.Errorf("header %v, error %v", parsed.Header, err)
	}
}

func TestPlainMailStaysHere(t *testing.T) {
	a, b := net.Pipe() // whose address is no loopback address
	defer a.Close()
	defer b.Close()
	if _, err := (SMTP{TLS: NoTLS}).greet(a, &tls.Config{ServerName: "mail.example.org"}); err == nil || !strings.Contains(err.Error(), "this machine only") {
		t.Errorf("got %v", err)
	}
}

func TestSilentMailServer(t *testing.T) {
	p := startPost(t, func(p *post) { p.silent = true })
	s := p.config()
	s.Timeout = 50 * time.Millisecond
	if err := s.Send(t.Context(), Mail{To: "bob@example.org"}); !strings.Contains(err.Error(), "deadline") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.config().Send(ctx, Mail{To: "bob@example.org"}); err == nil {
		t.Error("sent after the context's end")
	}
}
