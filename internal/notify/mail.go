package notify

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/netip"
	"net/smtp"
	"net/textproto"
	"os"
	"strings"
	"time"
)

// Channels makes a channel for each address. One of its own each: what one recipient's
// server refuses is tried again for that one alone. Their names are "mail:ADDRESS".
func (s SMTP) Channels(to ...string) ([]Channel, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	var all []Channel
	for _, address := range to {
		parsed, err := mail.ParseAddress(address)
		if err != nil {
			return nil, fmt.Errorf("notify: %q is no mail address: %w", address, err)
		}
		all = append(all, mailbox{s, parsed.Address})
	}
	return all, nil
}

type mailbox struct {
	server SMTP
	to     string
}

func (b mailbox) Name() string { return "mail:" + b.to }

func (b mailbox) Send(ctx context.Context, m Message) error {
	host, err := os.Hostname()
	if err != nil {
		host = "an unknown host"
	}
	text := strings.TrimRight(m.Text, "\n") + "\n\n-- \nSent by chancery on " + host + ". You get one message for each incident and one when it is over.\n"
	return b.server.Send(ctx, Mail{To: b.to, Subject: m.Subject, Text: text, ID: m.ID, Time: m.Time})
}

// Check says what is wrong with the configuration, before there is anything to send.
func (s SMTP) Check() error {
	if _, _, err := net.SplitHostPort(s.Server); err != nil {
		return fmt.Errorf("notify: the mail server %q is not HOST:PORT, such as mail.example.org:587", s.Server)
	}
	switch s.TLS {
	case "", StartTLS, ImplicitTLS:
	case NoTLS:
		if s.User != "" {
			return errors.New("notify: a password is not sent to a mail server without TLS; use starttls or tls")
		}
	default:
		return fmt.Errorf("notify: mail can be protected by starttls, tls or none, not by %q", s.TLS)
	}
	if s.User != "" && s.Password == nil {
		return errors.New("notify: the mail server's user has no password")
	}
	if _, err := mail.ParseAddress(s.From); err != nil {
		return fmt.Errorf("notify: the sender %q is no mail address: %w", s.From, err)
	}
	return nil
}

// Send hands one mail to the server: it returns nil once the server has taken it. The
// error is a *Failure; it is lasting if the server said so (5xx).
func (s SMTP) Send(ctx context.Context, m Mail) error {
	if err := s.Check(); err != nil {
		return &Failure{Lasting: true, Err: err}
	}
	from, err := mail.ParseAddress(s.From)
	if err != nil {
		return &Failure{Lasting: true, Err: err}
	}
	to, err := mail.ParseAddress(m.To)
	if err != nil {
		return &Failure{Lasting: true, Err: fmt.Errorf("notify: %q is no mail address: %w", m.To, err)}
	}
	limit := s.Timeout
	if limit <= 0 {
		limit = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := s.converse(ctx, *from, *to, compose(from, to, m)); err != nil {
		reply, said := errors.AsType[*textproto.Error](err)
		return &Failure{Lasting: said && reply.Code >= 500,
			Err: fmt.Errorf("notify: the mail server %s: %s", s.Server, clip(oneLine(err.Error()), 2*maxSubject))}
	}
	return nil
}

// letter is a mail as it goes over the wire.
type letter []byte

func (s SMTP) converse(ctx context.Context, from, to mail.Address, text letter) error {
	c, hangUp, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer hangUp()
	if s.User != "" {
		password, err := s.Password()
		if err != nil {
			return fmt.Errorf("its password: %w", err)
		}
		host, _, _ := net.SplitHostPort(s.Server)
		if err := c.Auth(smtp.PlainAuth("", s.User, password, host)); err != nil {
			return fmt.Errorf("logging in: %w", err)
		}
	}
	if err := c.Mail(from.Address); err != nil {
		return fmt.Errorf("sender %s: %w", from.Address, err)
	}
	if err := c.Rcpt(to.Address); err != nil {
		return fmt.Errorf("recipient %s: %w", to.Address, err)
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := w.Close(); err != nil { // the server's answer to the mail
		return err
	}
	c.Quit() // the mail is taken, whatever comes of this
	return nil
}

// connect greets the server and has TLS as configured. hangUp must be called.
func (s SMTP) connect(ctx context.Context) (*smtp.Client, func(), error) {
	host, _, _ := net.SplitHostPort(s.Server)
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.Server)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	hangUp := func() { stop(); conn.Close() }
	conf := &tls.Config{ServerName: host, RootCAs: s.Roots, MinVersion: tls.VersionTLS12}
	c, err := s.greet(conn, conf)
	if err != nil {
		hangUp()
		if ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", err, ctx.Err())
		}
		return nil, nil, err
	}
	return c, hangUp, nil
}

func (s SMTP) greet(conn net.Conn, conf *tls.Config) (*smtp.Client, error) {
	switch s.TLS {
	case NoTLS:
		peer, err := netip.ParseAddrPort(conn.RemoteAddr().String())
		if err != nil || !peer.Addr().Unmap().IsLoopback() {
			return nil, fmt.Errorf("it is at %s, and mail goes without TLS to this machine only; use starttls or tls", conn.RemoteAddr())
		}
	case ImplicitTLS:
		conn = tls.Client(conn, conf)
	}
	c, err := smtp.NewClient(conn, conf.ServerName)
	if err != nil {
		return nil, err
	}
	hello := s.Hello
	if hello == "" {
		hello, _ = os.Hostname()
	}
	if hello = strings.Map(hostOctet, hello); hello == "" {
		hello = "localhost"
	}
	if err := c.Hello(hello); err != nil {
		return nil, err
	}
	if s.TLS == "" || s.TLS == StartTLS {
		if ok, _ := c.Extension("STARTTLS"); !ok {
			return nil, errors.New("it offers no STARTTLS, so nothing was sent; is that the right port?")
		}
		if err := c.StartTLS(conf); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func hostOctet(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' {
		return r
	}
	return -1
}

// compose writes the mail: RFC 5322, RFC 2047 subject, quoted-printable UTF-8, and the
// mark of RFC 3834 §5 that keeps other machines from answering. No value can begin a new
// line: each is one line before it is folded.
func compose(from, to *mail.Address, m Mail) letter {
	if m.Time.IsZero() {
		m.Time = time.Now()
	}
	name := hash(m.ID)
	if m.ID == "" {
		name = rand.Text()
	}
	_, domain, _ := strings.Cut(from.Address[strings.LastIndexByte(from.Address, '@'):], "@")
	var b bytes.Buffer
	for _, field := range [][2]string{
		{"Date", m.Time.Format("Mon, 02 Jan 2006 15:04:05 -0700")},
		{"From", from.String()},
		{"To", to.String()},
		{"Message-ID", "<" + name + "@" + domain + ">"},
		{"Subject", mime.QEncoding.Encode("utf-8", clip(oneLine(m.Subject), maxSubject))},
		{"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		b.WriteString(fold(field[0] + ": " + field[1]))
	}
	b.WriteString("\r\n")
	body := quotedprintable.NewWriter(&b)
	for _, line := range lines(m.Text) {
		if line == "--" {
			line = "-- " // the mark before a signature ends in a space
		}
		body.Write([]byte(line + "\r\n"))
	}
	body.Close()
	return b.Bytes()
}

// fold breaks a header field before spaces so that its lines have at most 76 octets where
// it has spaces (RFC 5322 §2.1.1, §2.2.3).
func fold(field string) string {
	var b strings.Builder
	length := 0
	for i, word := range strings.Split(field, " ") {
		switch {
		case i > 0 && length+1+len(word) > 76: // RFC 2047 §2: lines with encoded words
			b.WriteString("\r\n ")
			length = 1
		case i > 0:
			b.WriteByte(' ')
			length++
		}
		b.WriteString(word)
		length += len(word)
	}
	return b.String() + "\r\n"
}
