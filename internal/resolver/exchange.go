package resolver

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// udpSize is the largest UDP answer asked for and taken: what passes practically
// every path in one piece (the value that DNS Flag Day 2020 settled on).
const udpSize = 1232

// maxRecords bounds the answer section. A TCP message of 64 KiB could hold some
// thousand records; no name that can be validated has so many. CAA records are
// bounded by the message alone: a set counts as a whole or not at all.
const maxRecords = 512

// ask puts one question to the servers in turn until one gives a final answer:
// NOERROR or NXDOMAIN. The error is that of the last server.
//
// Once a server has found the name's signatures wrong, the answer of one that may
// never have looked at them is no better than the forger's: only an authentic one
// overturns the verdict, or another of the same server.
func (r *Resolver) ask(ctx context.Context, q question) (*dns.Msg, *server, *Error) {
	var last, bogus *Error
	for round := range r.attempts {
		// A server that chokes on mixed case gets it once only.
		q.mixed = r.mixCase && round == 0
		for _, s := range r.servers {
			m, err := r.askServer(ctx, s, q)
			if err == nil {
				if bogus == nil || bogus.Server == s.text || s.trusted && m.AuthenticatedData {
					return m, s, nil
				}
				continue
			}
			err.Name, err.Type, err.Server = q.name, typeText(q.qtype), s.text
			last = err
			if err.Kind == Bogus {
				bogus = err
			}
			if ctx.Err() != nil {
				last.Kind, last.Err = Timeout, ctx.Err()
				return nil, nil, last
			}
		}
	}
	if bogus != nil {
		last = bogus
	}
	return nil, nil, last
}

// question is a canonical name and a record type, and how to ask.
type question struct {
	name      string
	qtype     uint16
	mixed     bool // in random case, where that helps: over UDP
	bare      bool // without EDNS
	unchecked bool // what the server has, although it may be bogus (CD, RFC 4035 §3.2.2)
}

// plain is the question as it is.
func (q question) plain() question {
	q.mixed = false
	return q
}

// askServer asks one server, without EDNS if it does not understand that (RFC
// 6891 §6.2.2).
func (r *Resolver) askServer(ctx context.Context, s *server, q question) (*dns.Msg, *Error) {
	m, err := r.askOver(ctx, s, q)
	if err == nil && m.Rcode == dns.RcodeFormatError {
		q.bare = true
		m, err = r.askOver(ctx, s, q)
	}
	switch {
	case err != nil:
		return nil, err
	case m.Truncated:
		return nil, &Error{Kind: Malformed, Reason: "the answer is truncated even over TCP"}
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return nil, r.failure(ctx, s, q, m)
	case q.qtype != dns.TypeCAA && len(m.Answer) > maxRecords:
		return nil, &Error{Kind: Malformed, Reason: "the answer has more records than any honest one"}
	case (m.Rcode == dns.RcodeNameError || !answers(m, q)) && !knowing(m):
		return nil, &Error{Kind: Refused, Reason: "it neither answers for the name nor asks others for it"}
	}
	return m, nil
}

// failure tells of a message with an error's code. SERVFAIL from a validator mostly
// means that something is bogus, and few say so: for CAA it is asked once more,
// without checking. If that gives an answer, the checking was what failed. Whether
// the server's word counts otherwise does not matter: this one only forbids.
func (r *Resolver) failure(ctx context.Context, s *server, q question, m *dns.Msg) *Error {
	e := rcodeError(m)
	if m.Rcode != dns.RcodeServerFailure || e.Kind == Bogus || q.qtype != dns.TypeCAA || q.bare {
		return e
	}
	q.unchecked = true
	again, err := r.askOver(ctx, s, q.plain())
	if err == nil && (again.Rcode == dns.RcodeSuccess || again.Rcode == dns.RcodeNameError) && knowing(again) {
		e.Kind = Bogus
	}
	return e
}

// answers tells whether a message says anything of the name asked for.
func answers(m *dns.Msg, q question) bool {
	return slices.ContainsFunc(m.Answer, func(rr dns.RR) bool {
		h := rr.Header()
		return (h.Rrtype == q.qtype || h.Rrtype == dns.TypeCNAME) && bare(h.Name) == q.name
	})
}

// knowing tells whether a message without records may mean that there are none: its
// sender answers for the zone, or shows the record of its authority (RFC 2308 §2.2), or has asked
// those who do and does not merely point to them. A lame server, or one that serves
// only zones of its own, sends much the same and knows nothing.
func knowing(m *dns.Msg) bool {
	referral := false
	for _, rr := range m.Ns {
		switch rr.Header().Rrtype {
		case dns.TypeSOA:
			return true
		case dns.TypeNS:
			referral = true
		}
	}
	return m.Authoritative || m.RecursionAvailable && !referral
}

// askOver asks by UDP, and by TCP after a truncated answer or one that does not
// keep the question's case: either somebody forges answers, which TCP ends, or
// the server is one of the few that change the case. If such a server has no TCP,
// it is asked in plain case: it must not keep names from being found.
func (r *Resolver) askOver(ctx context.Context, s *server, q question) (*dns.Msg, *Error) {
	ask := func(network string, q question) (*dns.Msg, *Error) {
		ctx, cancel := context.WithTimeout(ctx, r.timeout)
		defer cancel()
		if network == "https" {
			return s.post(ctx, query(q))
		}
		return s.exchange(ctx, network, query(q))
	}
	switch {
	case s.via == overTLS:
		return ask("tls", q.plain())
	case s.via == overWeb:
		return ask("https", q.plain())
	case r.net == "tcp":
		return ask("tcp", q.plain())
	}
	m, err := ask("udp", q)
	if err != nil && errors.Is(err.Err, errCase) {
		if m, err := ask("tcp", q.plain()); err == nil {
			return m, nil
		}
		m, err = ask("udp", q.plain())
	}
	if err == nil && m.Truncated {
		return ask("tcp", q.plain())
	}
	return m, err
}

// query builds a message with a random id.
func query(q question) *dns.Msg {
	m := new(dns.Msg)
	name := q.name + "."
	if q.mixed {
		name = mixCase(name)
	}
	m.SetQuestion(name, q.qtype)
	// AD in a question asks for the AD bit in the answer (RFC 6840 §5.7). DO asks for
	// it as well, and brings signatures that make answers long: only where it matters
	// are servers served that know no other way.
	m.AuthenticatedData = true
	m.CheckingDisabled = q.unchecked
	if !q.bare {
		m.SetEdns0(udpSize, q.qtype == dns.TypeCAA)
	}
	return m
}

// exchange sends one message over a fresh socket, hence from a fresh port, and
// waits for the answer to it. Over TLS the last connection serves again, if it is
// still there. It ends when the context does.
func (s *server) exchange(ctx context.Context, network string, q *dns.Msg) (*dns.Msg, *Error) {
	if c := s.spare.take(); c != nil {
		// The server may have closed it meanwhile (RFC 7766 §6.2.4): that is no failure.
		if m, err := s.exchangeOver(ctx, c, q); err == nil || err.Kind != Unreachable {
			return m, err
		}
	}
	c, err := s.dial(ctx, network)
	if err != nil {
		return nil, netError(err)
	}
	return s.exchangeOver(ctx, c, q)
}

// exchangeOver sends one message over a socket, waits for the answer to it, and then
// closes the socket or keeps it.
func (s *server) exchangeOver(ctx context.Context, c net.Conn, q *dns.Msg) (*dns.Msg, *Error) {
	// An ended context wakes a blocked read at once; the deadline is the
	// context's own, so one mechanism serves both.
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	conn := &dns.Conn{Conn: c, UDPSize: udpSize}
	var m *dns.Msg
	var problem *Error
	if err := conn.WriteMsg(q); err != nil {
		problem = netError(err)
	} else {
		_, datagrams := c.(net.PacketConn)
		m, problem = receive(conn, q, datagrams)
	}
	if unharmed := stop(); unharmed && problem == nil {
		s.spare.put(c)
	} else {
		_ = c.Close()
	}
	return m, problem
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
	if problem := certificateProblem(err); problem != "" {
		return &Error{Kind: Unreachable, Reason: problem, Err: err}
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
