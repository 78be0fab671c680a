package resolver

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// udpSize is the largest UDP answer asked for and taken: what passes practically
// every path in one piece (the value that DNS Flag Day 2020 settled on).
const udpSize = 1232

// maxRecords bounds the answer section. A TCP message of 64 KiB could hold some
// thousand records; no name that can be validated has so many.
const maxRecords = 512

// ask puts one question to the servers in turn until one gives a final answer:
// NOERROR or NXDOMAIN. The error is that of the last server.
func (r *Resolver) ask(ctx context.Context, name string, qtype uint16) (*dns.Msg, string, *Error) {
	var last *Error
	for round := range r.attempts {
		for _, server := range r.servers {
			// A server that chokes on mixed case gets it once only.
			m, err := r.askServer(ctx, server, question{name: name, qtype: qtype, mixed: r.mixCase && round == 0})
			if err == nil {
				return m, server, nil
			}
			err.Name, err.Type, err.Server = name, typeText(qtype), server
			last = err
			if ctx.Err() != nil {
				last.Kind, last.Err = Timeout, ctx.Err()
				return nil, server, last
			}
		}
	}
	return nil, "", last
}

// question is a canonical name and a record type.
type question struct {
	name  string
	qtype uint16
	mixed bool // ask in random case, where that helps: over UDP
}

// plain is the question as it is.
func (q question) plain() question {
	q.mixed = false
	return q
}

// askServer asks one server, without EDNS if it does not understand that (RFC
// 6891 §6.2.2).
func (r *Resolver) askServer(ctx context.Context, server string, q question) (*dns.Msg, *Error) {
	m, err := r.askOver(ctx, server, q, true)
	if err == nil && m.Rcode == dns.RcodeFormatError {
		m, err = r.askOver(ctx, server, q, false)
	}
	switch {
	case err != nil:
		return nil, err
	case m.Truncated:
		return nil, &Error{Kind: Malformed, Reason: "the answer is truncated even over TCP"}
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return nil, rcodeError(m.Rcode)
	case len(m.Answer) > maxRecords:
		return nil, &Error{Kind: Malformed, Reason: "the answer has more records than any honest one"}
	}
	return m, nil
}

// askOver asks by UDP, and by TCP after a truncated answer or one that does not
// keep the question's case: either somebody forges answers, which TCP ends, or
// the server is one of the few that change the case. If such a server has no TCP,
// it is asked in plain case: it must not keep names from being found.
func (r *Resolver) askOver(ctx context.Context, server string, q question, edns bool) (*dns.Msg, *Error) {
	if r.net == "tcp" {
		return r.exchange(ctx, "tcp", server, query(q.plain(), edns))
	}
	m, err := r.exchange(ctx, "udp", server, query(q, edns))
	if err != nil && errors.Is(err.Err, errCase) {
		if m, err := r.exchange(ctx, "tcp", server, query(q.plain(), edns)); err == nil {
			return m, nil
		}
		m, err = r.exchange(ctx, "udp", server, query(q.plain(), edns))
	}
	if err == nil && m.Truncated {
		return r.exchange(ctx, "tcp", server, query(q.plain(), edns))
	}
	return m, err
}

// query builds a message with a random id.
func query(q question, edns bool) *dns.Msg {
	m := new(dns.Msg)
	name := q.name + "."
	if q.mixed {
		name = mixCase(name)
	}
	m.SetQuestion(name, q.qtype)
	// AD in a question asks for the AD bit in the answer (RFC 6840 §5.7).
	m.AuthenticatedData = true
	if edns {
		m.SetEdns0(udpSize, false)
	}
	return m
}

// exchange sends one message over a fresh socket, hence from a fresh port, and
// waits for the answer to it. It ends when the context does.
func (r *Resolver) exchange(ctx context.Context, network, server string, q *dns.Msg) (*dns.Msg, *Error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, network, server)
	if err != nil {
		return nil, netError(err)
	}
	defer c.Close()
	// An ended context wakes a blocked read at once; the deadline is the
	// context's own, so one mechanism serves both.
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn := &dns.Conn{Conn: c, UDPSize: udpSize}
	if err := conn.WriteMsg(q); err != nil {
		return nil, netError(err)
	}
	return receive(conn, q, network == "udp")
}

// receive reads until a message answers the question. Over UDP a message that
// does not is passed over, since anyone can send one: giving up would let a
// forger deny the true answer.
func receive(conn *dns.Conn, q *dns.Msg, datagrams bool) (*dns.Msg, *Error) {
	var complaint string
	for {
		m, err := conn.ReadMsg()
		var below net.Error
		switch {
		case err == nil:
			if complaint = mismatch(q, m); complaint == "" {
				return m, nil
			}
			if datagrams && caseChanged(q, m) {
				return nil, &Error{Kind: Malformed, Reason: errCase.Error(), Err: errCase}
			}
		case errors.As(err, &below) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed):
			if complaint != "" {
				return nil, &Error{Kind: Malformed, Reason: complaint}
			}
			return nil, netError(err)
		default:
			complaint = "it is not a DNS message"
		}
		if !datagrams {
			return nil, &Error{Kind: Malformed, Reason: complaint}
		}
	}
}

// mismatch says in what a message fails to answer the question, "" if it does.
// The name is compared with its case: a server copies the question (RFC 1035
// §4.1), and with MixCase the case is part of the secret.
func mismatch(q, m *dns.Msg) string {
	switch {
	case m.Id != q.Id:
		return "its id is not the question's"
	case !m.Response || m.Opcode != dns.OpcodeQuery:
		return "it is not a response to a query"
	case m.Rcode == dns.RcodeFormatError && len(m.Question) == 0:
		return "" // who cannot read the question need not repeat it
	case len(m.Question) != 1 || m.Question[0] != q.Question[0]:
		return "it answers another question"
	}
	return ""
}

// errCase: everything is right but the case of the question's name.
var errCase = errors.New("it does not keep the case of the question")

// caseChanged tells whether that is all in which a message fails to answer.
func caseChanged(q, m *dns.Msg) bool {
	if len(m.Question) != 1 || !strings.EqualFold(m.Question[0].Name, q.Question[0].Name) || m.Question[0].Name == q.Question[0].Name {
		return false
	}
	same := *m
	same.Question = []dns.Question{{Name: q.Question[0].Name, Qtype: m.Question[0].Qtype, Qclass: m.Question[0].Qclass}}
	return mismatch(q, &same) == ""
}

// netError sorts an error of the network.
func netError(err error) *Error {
	var n net.Error
	timeout := errors.As(err, &n) && n.Timeout()
	if timeout || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, os.ErrDeadlineExceeded) {
		return &Error{Kind: Timeout, Err: err}
	}
	return &Error{Kind: Unreachable, Reason: err.Error(), Err: err}
}

// mixCase gives a name in random case. The generator is the runtime's, seeded
// and stretched by ChaCha8, which is unpredictable enough for what adds to id
// and port.
func mixCase(name string) string {
	b := []byte(name)
	for i, c := range b {
		if c >= 'a' && c <= 'z' && rand.Uint32()&1 == 0 {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}
