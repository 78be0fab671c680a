package daemon

import (
	"net"
	"net/netip"
	"sync"
	"syscall"

	"chancery/internal/limit"
)

const (
	// mostConnections are open at once on the listeners for the world, if the
	// process may have enough descriptors.
	mostConnections = 16384
	// mostOfOne come from one client address (an IPv6 /64 is one). It is
	// generous: a whole site may be behind one address.
	mostOfOne = 512
)

// crowd counts the connections that are open on the listeners for the world,
// all together and by client address, and lets only so many in. Without it one
// client could take every descriptor that the process has.
type crowd struct {
	most, each int
	// hosts says that loopback counts as many clients: a reverse proxy, or a test.
	hosts bool

	mu  sync.Mutex // owns what follows
	all int
	of  map[string]int
}

// newCrowd gives the crowd of a process. hosts: see [crowd].
func newCrowd(hosts bool) *crowd {
	most := mostConnections
	var files syscall.Rlimit
	// The rest is for databases, validations and the other listeners.
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) == nil && files.Cur/4*3 < uint64(most) {
		most = max(int(files.Cur/4*3), 1)
	}
	return &crowd{most: most, each: mostOfOne, hosts: hosts, of: map[string]int{}}
}

// enter lets a client in if there is room; then leave must be called once.
func (c *crowd) enter(client string) (leave func(), ok bool) {
	key := limit.AddressKey(client)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= c.most || c.of[key] >= c.each && !(c.hosts && isLoopback(client)) {
		return nil, false
	}
	c.all++
	c.of[key]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.all--
		if c.of[key]--; c.of[key] == 0 {
			delete(c.of, key)
		}
	}, true
}

func isLoopback(client string) bool {
	at, err := netip.ParseAddrPort(client)
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// crowded is a listener that closes at once the connections for which the crowd
// has no room.
type crowded struct {
	net.Listener
	crowd *crowd
}

// Accept implements [net.Listener].
func (l crowded) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if leave, ok := l.crowd.enter(conn.RemoteAddr().String()); ok {
			return &member{Conn: conn, leave: sync.OnceFunc(leave)}, nil
		}
		conn.Close()
	}
}

// member is a connection that is counted until it is closed.
type member struct {
	net.Conn
	leave func()
}

// Close implements [net.Conn].
func (m *member) Close() error {
	defer m.leave()
	return m.Conn.Close()
}
