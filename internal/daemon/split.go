package daemon

import (
	"bufio"
	"net"
	"sync"
	"time"
)

// splitter lets one port serve TLS and plain HTTP: a TLS client begins with a
// record of type handshake, octet 22 (RFC 8446 §5.1), and no HTTP request does.
type splitter struct {
	tcp           net.Listener
	secure, plain *half
	slots         chan struct{} // connections that have not sent their first octet
	closing       sync.Once
	done          chan struct{}
}

// half is the listener of one kind of connection.
type half struct {
	*splitter
	ready chan net.Conn
}

// firstOctet is how long a connection may take to send one.
const firstOctet = 10 * time.Second

func split(tcp net.Listener) *splitter {
	s := &splitter{tcp: tcp, slots: make(chan struct{}, 4096), done: make(chan struct{})}
	s.secure = &half{s, make(chan net.Conn)}
	s.plain = &half{s, make(chan net.Conn)}
	go s.accept()
	return s
}

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
		select {
		case s.slots <- struct{}{}:
			go s.sort(conn)
		case <-s.done:
			conn.Close()
			return
		}
	}
}

// sort waits for the first octet and hands the connection to its half.
func (s *splitter) sort(conn net.Conn) {
	defer func() { <-s.slots }()
	peeked := &peekedConn{Conn: conn, reader: bufio.NewReaderSize(conn, 16)}
	conn.SetReadDeadline(time.Now().Add(firstOctet))
	first, err := peeked.reader.Peek(1)
	if err != nil {
		conn.Close()
		return
	}
	conn.SetReadDeadline(time.Time{})
	to := s.plain
	if first[0] == 22 {
		to = s.secure
	}
	select {
	case to.ready <- peeked:
	case <-s.done:
		conn.Close()
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
