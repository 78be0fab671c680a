package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Syslog sends messages by RFC 5424.
type Syslog struct {
	// Server is "udp://HOST:PORT" (RFC 5426), "tcp://HOST:PORT" (RFC 6587 §3.4.1),
	// "tls://HOST:PORT" (RFC 5425) or "unix:///PATH"; "" means unix:///dev/log.
	Server string
	// Roots judge a tls server's certificate; nil means the system's.
	Roots *x509.CertPool
	// Facility is 0 to 23 (RFC 5424 §6.2.1); 0, which is the kernel's, means 3: daemons.
	Facility int
	// Label is the channel's name; "syslog" if empty.
	Label string
}

const (
	syslogTime  = 10 * time.Second
	maxDatagram = 2048     // RFC 5424 §6.1: receivers SHOULD accept that much
	maxLogged   = 16 << 10 // over a stream
)

// Channel makes the channel.
func (s Syslog) Channel() (Channel, error) {
	if s.Server == "" {
		s.Server = "unix:///dev/log"
	}
	u, err := url.Parse(s.Server)
	if err != nil {
		return nil, fmt.Errorf("notify: the syslog server %q is no URL", s.Server)
	}
	address := u.Host
	ports := map[string]string{"udp": "514", "tcp": "601", "tls": "6514"} // RFC 5426, 3195's registration, 5425
	port, known := ports[u.Scheme]
	switch {
	case u.Scheme == "unix" && u.Host == "" && u.Path != "":
		address = u.Path
	case !known || u.Hostname() == "" || u.Path != "" || u.User != nil:
		return nil, fmt.Errorf("notify: the syslog server %q is neither udp://HOST:PORT, tcp://, tls:// nor unix:///PATH", s.Server)
	case u.Port() == "":
		address = net.JoinHostPort(u.Hostname(), port)
	}
	if s.Facility < 0 || s.Facility > 23 {
		return nil, fmt.Errorf("notify: there is no syslog facility %d", s.Facility)
	}
	if s.Facility == 0 {
		s.Facility = 3
	}
	if s.Label == "" {
		s.Label = "syslog"
	}
	return &syslog{Syslog: s, scheme: u.Scheme, host: u.Hostname(), address: address}, nil
}

type syslog struct {
	Syslog
	scheme, host, address string
}

func (s *syslog) Name() string { return s.Label }

// Send is done when the datagram was sent or the stream took all of it: the protocol has
// no answer.
func (s *syslog) Send(ctx context.Context, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, syslogTime)
	defer cancel()
	conn, stream, err := s.connect(ctx)
	if err != nil {
		return &Failure{Err: fmt.Errorf("notify: syslog %s: %w", s.Server, err)}
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	record := s.record(m)
	if stream {
		record = cutOctets(record, maxLogged)
		record = strconv.Itoa(len(record)) + " " + record
	} else {
		record = cutOctets(record, maxDatagram)
	}
	_, err = conn.Write([]byte(record))
	if err = errors.Join(err, conn.Close()); err != nil {
		return &Failure{Err: fmt.Errorf("notify: syslog %s: %w", s.Server, err)}
	}
	return nil
}

func (s *syslog) connect(ctx context.Context) (conn net.Conn, stream bool, err error) {
	d := new(net.Dialer)
	switch s.scheme {
	case "unix":
		if conn, err = d.DialContext(ctx, "unixgram", s.address); err == nil {
			return conn, false, nil
		}
		conn, err = d.DialContext(ctx, "unix", s.address)
		return conn, true, err
	case "udp":
		conn, err = d.DialContext(ctx, "udp", s.address)
		return conn, false, err
	case "tls":
		secure := tls.Dialer{NetDialer: d, Config: &tls.Config{ServerName: s.host, RootCAs: s.Roots, MinVersion: tls.VersionTLS12}}
		conn, err = secure.DialContext(ctx, "tcp", s.address)
		return conn, true, err
	}
	conn, err = d.DialContext(ctx, "tcp", s.address)
	return conn, true, err
}

// priority is syslog's number of a severity (RFC 5424 §6.2.1).
func priority(s Severity) int {
	switch s {
	case Error:
		return 3
	case Warning:
		return 4
	}
	return 5 // notice: what is worth a message is more than informational
}

// record writes RFC 5424 §6: a header, no structured data, and the message on one line.
func (s *syslog) record(m Message) string {
	host, err := os.Hostname()
	if err != nil || host == "" || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		host = "-"
	}
	text := line(m)
	if strings.ContainsFunc(text, func(r rune) bool { return r >= 0x80 }) {
		text = "\uFEFF" + text // §6.4: UTF-8 MUST begin so; plain ASCII need not
	}
	return fmt.Sprintf("<%d>1 %s %s chancery %d - - %s", s.Facility*8+priority(m.Severity),
		m.Time.UTC().Format("2006-01-02T15:04:05.000000Z"), cutOctets(host, 255), os.Getpid(), text)
}

// line is a message on one line, with its data as JSON at the end.
func line(m Message) string {
	text := oneLine(m.Subject)
	if m.Text != "" {
		text += ": " + oneLine(m.Text)
	}
	data, err := json.Marshal(struct {
		ID   string         `json:"id"`
		Data map[string]any `json:"data,omitempty"`
	}{m.ID, m.Data})
	if err == nil {
		text += " " + oneLine(string(data))
	}
	return text
}
