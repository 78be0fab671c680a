package solve

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
)

// A port belongs to the process, and so does the table of those that are open: two
// orders at once, of whatever sets, share one listener.
var ports = struct {
	sync.Mutex
	open map[string]*port
}{open: map[string]*port{}}

// server answers on a listener until it is closed; close returns when nobody is served
// any more and the port is free.
type server interface {
	serve(net.Listener)
	close()
}

// port is one listener with its users.
type port struct {
	key    string // kind and address
	users  int    // guarded by ports
	server server
	listen net.Listener
}

// acquire gives the port of a kind at an address, opened if need be with the server that
// fresh makes. Every acquire needs its release.
func acquire(kind, address string, fresh func() server) (*port, error) {
	key := kind + " " + address
	ports.Lock()
	defer ports.Unlock()
	p := ports.open[key]
	if p == nil {
		l, err := net.Listen("tcp", address) // an empty host means IPv4 and IPv6
		if err != nil {
			return nil, &PortError{Address: address, Err: err}
		}
		p = &port{key: key, server: fresh(), listen: l}
		ports.open[key] = p
		go p.server.serve(l)
	}
	p.users++
	return p, nil
}

// release closes the port after its last user.
func (p *port) release() {
	ports.Lock()
	defer ports.Unlock()
	if p.users--; p.users == 0 {
		delete(ports.open, p.key)
		_ = p.listen.Close() // also if serve has not begun yet
		p.server.close()
	}
}

// Error says why the port cannot be had, and what to do.
func (e *PortError) Error() string {
	_, port, _ := net.SplitHostPort(e.Address)
	advice := "check the address"
	switch {
	case errors.Is(e.Err, syscall.EADDRINUSE):
		advice = "another program listens there: let it serve the challenge (for http-01 a webroot, or a proxy rule for /.well-known/acme-challenge/ to another address that is configured here), stop it for the time, or use dns-01"
	case errors.Is(e.Err, os.ErrPermission):
		advice = "ports below 1024 are for root: run `setcap cap_net_bind_service=+ep` on this program, give its systemd unit AmbientCapabilities=CAP_NET_BIND_SERVICE, use a webroot, or forward the port from a proxy to another address that is configured here"
	case errors.Is(e.Err, syscall.EADDRNOTAVAIL):
		advice = "this machine has no such address"
	}
	text := e.Err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	return fmt.Sprintf("cannot listen on %s (port %s): %s: %s", e.Address, port, text, advice)
}
