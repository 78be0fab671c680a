package daemon

import (
	"net"
	"net/http"
	"sync"
)

// unused are a server's connections that have carried no request yet. Clients
// keep such in reserve, and [http.Server.Shutdown] would wait five seconds for
// each to be used.
type unused struct {
	mu     sync.Mutex // owns both
	conns  map[net.Conn]struct{}
	ending bool
}

// dropUnused has the server close its unused connections when it shuts down.
// Call it before the server serves.
func dropUnused(s *http.Server) {
	u := &unused{conns: map[net.Conn]struct{}{}}
	s.ConnState = u.note
	s.RegisterOnShutdown(u.close)
}

func (u *unused) note(c net.Conn, state http.ConnState) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(u.conns, c)
	case u.ending:
		c.Close()
	default:
		u.conns[c] = struct{}{}
	}
}

func (u *unused) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ending = true
	for c := range u.conns {
		c.Close()
	}
}
