package daemon

import (
	"bufio"
	"container/list"
	"net"
	"sync"
	"time"
)

// splitter lets one port serve TLS and plain HTTP: a TLS client begins with a
// record of type handshake, octet 22 (RFC 8446 §5.1), and no HTTP request does.
type splitter struct {
	patience
	tcp           net.Listener
	secure, plain *half
	closing       sync.Once
	done          chan struct{}

	mu     sync.Mutex
	silent list.List // of net.Conn that have not sent their first octet, the oldest in front; guarded by mu
}

// patience says how many connections may be silent, and how long.
type patience struct {
	most int
	long time.Duration
}

// usualPatience is short, as both TLS clients and HTTP clients speak first.
var usualPatience = patience{most: 4096, long: 3 * time.Second}

// half is the listener of one kind of connection.
type half struct {
	*splitter
	ready chan net.Conn
}

func split(tcp net.Listener, p patience) *splitter {
	s := &splitter{patience: p, tcp: tcp, done: make(chan struct{})}
	s.secure = &half{s, make(chan net.Conn)}
	s.plain = &half{s, make(chan net.Conn)}
	go s.accept()
	return s
}

// accept takes every connection at once: one that waited here would hold up all
// that come after it.
func (s *splitter) accept() {
	for {
		conn, err := s.tcp.Accept()
		if err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				continue
			}
			select {
			case <-s.done:
				return
			case <-time.After(50 * time.Millisecond): // out of descriptors, most likely
				continue
			}
		}
		place := s.wait(conn)
		go func() {
			if s.sort(conn, place) != nil {
				conn.Close()
			}
		}()
	}
}

// wait notes a connection as silent. When there are too many it is the oldest
// that has to go: an honest client has said something long before it is.
func (s *splitter) wait(conn net.Conn) *list.Element {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.silent.Len() >= s.most {
		oldest := s.silent.Front()
		s.silent.Remove(oldest)
		oldest.Value.(net.Conn).Close()
	}
	return s.silent.PushBack(conn)
}

// sort waits for the first octet and hands the connection to its half. On an
// error nobody has it.
func (s *splitter) sort(conn net.Conn, place *list.Element) error {
	peeked := &peekedConn{Conn: conn, reader: bufio.NewReaderSize(conn, 16)}
	conn.SetReadDeadline(time.Now().Add(s.long))
	first, err := peeked.reader.Peek(1)
	s.mu.Lock()
	s.silent.Remove(place) // no harm if it had to go
	s.mu.Unlock()
	if err != nil {
		return err
	}
	conn.SetReadDeadline(time.Time{})
	to := s.plain
	if first[0] == 22 {
		to = s.secure
	}
	select {
	case to.ready <- peeked:
		return nil
	case <-s.done:
		return net.ErrClosed
	}
}

// Accept implements [net.Listener].
func (h *half) Accept() (net.Conn, error) {
	select {
	case conn := <-h.ready:
		return conn, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close closes both halves: the port is one.
func (s *splitter) Close() (err error) {
	s.closing.Do(func() {
		close(s.done)
		err = s.tcp.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		for e := s.silent.Front(); e != nil; e = e.Next() {
			e.Value.(net.Conn).Close()
		}
	})
	return err
}

// Addr implements [net.Listener].
func (s *splitter) Addr() net.Addr { return s.tcp.Addr() }

// peekedConn gives back what was read ahead.
type peekedConn struct {
	net.Conn
	reader *bufio.Reader
}

// Read implements [net.Conn].
func (c *peekedConn) Read(p []byte) (int, error) {
	if c.reader.Buffered() > 0 {
		return c.reader.Read(p)
	}
	return c.Conn.Read(p)
}
