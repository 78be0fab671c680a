package dnstest

import (
	"time"

	"github.com/miekg/dns"
)

// handler answers what comes over one transport.
func (s *Server) handler(network string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m, wait := s.answer(q, network)
		if m == nil {
			return
		}
		if wait > 0 {
			timer := time.NewTimer(wait)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-s.closed:
				return
			}
		}
		_ = w.WriteMsg(m) // an asker who has gone away is no concern of ours
	}
}

// answer makes the reply to a question, and says how long to hold it back. No
// reply at all is nil.
func (s *Server) answer(q *dns.Msg, network string) (*dns.Msg, time.Duration) {
	m := new(dns.Msg).SetReply(q)
	if len(q.Question) != 1 || q.Opcode != dns.OpcodeQuery {
		return m.SetRcode(q, dns.RcodeFormatError), 0
	}
	question := q.Question[0]
	name := canonical(question.Name)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.record(Query{Name: name, Type: dns.Type(question.Qtype).String(), Net: network, Raw: question.Name, At: time.Now()})
	if s.dropped[name] {
		return nil, 0
	}
	m.Authoritative, m.RecursionAvailable, m.AuthenticatedData = true, true, s.authentic
	size := dns.MinMsgSize
	if e := q.IsEdns0(); e != nil {
		m.SetEdns0(dns.DefaultMsgSize, false)
		size = int(e.UDPSize())
	}
	switch {
	case s.failures[name] != 0:
		m.Rcode = s.failures[name]
	case network == "udp" && s.truncated[name]:
		m.Truncated = true
	default:
		m.Answer, m.Rcode = s.zone.lookup(question)
	}
	if network == "udp" && !m.Truncated {
		m.Truncate(size)
	}
	return m, s.delays[name]
}

// record keeps a query in the log, whose length is bounded. The caller holds mu.
func (s *Server) record(q Query) {
	if len(s.queries) >= maxLog {
		s.queries = append([]Query(nil), s.queries[maxLog/2:]...)
	}
	s.queries = append(s.queries, q)
}
