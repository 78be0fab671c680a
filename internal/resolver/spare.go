package resolver

import (
	"net"
	"sync"
	"time"
)

// spare keeps one connection for the next question, for idleTime at most. A nil
// *spare keeps none. It is safe for concurrent use.
type spare struct {
	mu    sync.Mutex
	conn  net.Conn
	timer *time.Timer
}

// take gives the connection away, nil if there is none.
func (p *spare) take() net.Conn {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.conn
	if c != nil {
		p.timer.Stop()
		p.conn = nil
	}
	return c
}

// put keeps a connection, or closes it if there is one already.
func (p *spare) put(c net.Conn) {
	if p == nil {
		_ = c.Close()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		_ = c.Close()
		return
	}
	p.conn = c
	p.timer = time.AfterFunc(idleTime, func() { p.drop(c) })
}

// drop closes the connection if it is still the one that is kept.
func (p *spare) drop(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == c {
		p.conn = nil
		_ = c.Close()
	}
}
