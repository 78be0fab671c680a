package notify

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Log is the channel "log": messages become records of a program's own log.
func Log(l *slog.Logger) Channel { return logged{l} }

type logged struct{ logger *slog.Logger }

func (logged) Name() string { return "log" }

func (l logged) Send(ctx context.Context, m Message) error {
	level := map[Severity]slog.Level{Warning: slog.LevelWarn, Error: slog.LevelError}[m.Severity]
	l.logger.Log(ctx, level, oneLine(m.Subject), "message", m.ID, "text", strings.Join(lines(m.Text), "\n"), "data", m.Data)
	return nil
}

// Prefixed is the channel "stderr": one line per message with the priority before it,
// "<4>", as the journal reads a service's output (sd-daemon(3)).
func Prefixed(w io.Writer) Channel { return &prefixed{w: w} }

type prefixed struct {
	mu sync.Mutex
	w  io.Writer
}

func (*prefixed) Name() string { return "stderr" }

func (p *prefixed) Send(_ context.Context, m Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := fmt.Fprintf(p.w, "<%d>%s\n", priority(m.Severity), line(m))
	return err
}

// JournalSocket is where systemd's journal takes records.
const JournalSocket = "/run/systemd/journal/socket"

// Journal is the channel "journal": records in the journal's own protocol, with the
// message's ID and data in fields of their own (journalctl CHANCERY_ID=…). socket is
// JournalSocket if empty.
func Journal(socket string) Channel {
	if socket == "" {
		socket = JournalSocket
	}
	return journal(socket)
}

type journal string

func (journal) Name() string { return "journal" }

// maxRecord keeps a record in one datagram; a larger one would have to travel as a file.
const maxRecord = 48 << 10

func (j journal) Send(ctx context.Context, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, syslogTime)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unixgram", string(j))
	if err != nil {
		return &Failure{Err: fmt.Errorf("notify: the journal: %w", err)}
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(syslogTime))
	data, err := json.Marshal(m.Data)
	if err != nil || len(data) > maxRecord {
		data = []byte("{}")
	}
	var b bytes.Buffer
	text := oneLine(m.Subject) + "\n" + strings.Join(lines(m.Text), "\n")
	field(&b, "MESSAGE", cutOctets(strings.TrimSpace(text), maxRecord))
	field(&b, "PRIORITY", strconv.Itoa(priority(m.Severity)))
	field(&b, "SYSLOG_IDENTIFIER", "chancery")
	field(&b, "CHANCERY_ID", m.ID)
	field(&b, "CHANCERY_DATA", string(data))
	if _, err := conn.Write(b.Bytes()); err != nil {
		return &Failure{Err: fmt.Errorf("notify: the journal: %w", err)}
	}
	return nil
}

// field writes one with its length, which is the form that takes any value.
func field(b *bytes.Buffer, name, value string) {
	b.WriteString(name)
	b.WriteByte('\n')
	binary.Write(b, binary.LittleEndian, uint64(len(value)))
	b.WriteString(value)
	b.WriteByte('\n')
}
