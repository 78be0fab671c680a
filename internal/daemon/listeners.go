package daemon

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"chancery/internal/admin"
	"chancery/internal/config"
)

// listeners are all of this process's; status may be the plain-HTTP half of
// the public port; metrics, est, terminator and srp may be nil.
type listeners struct {
	public, status, metrics, admin net.Listener
	est, terminator, srp           net.Listener
	split                          *splitter
}

// listen opens every listener of the configuration, or none.
func listen(c *config.Config) (l listeners, err error) {
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	tcp, err := listenTCP("listen.public", c.Listen.Public)
	if err != nil {
		return l, err
	}
	world := newCrowd(c.ListensOnLoopback())
	tcp = crowded{tcp, world}
	if c.Listen.Status == "" {
		l.split = split(tcp, usualPatience)
		l.public, l.status = l.split.secure, l.split.plain
	} else {
		l.public = tcp
		if l.status, err = listenTCP("listen.status", c.Listen.Status); err != nil {
			return l, err
		}
		l.status = crowded{l.status, world}
	}
	if c.Listen.Metrics != "" {
		if l.metrics, err = listenTCP("listen.metrics", c.Listen.Metrics); err != nil {
			return l, err
		}
	}
	if c.Listen.EST != "" {
		if l.est, err = listenTCP("listen.est", c.Listen.EST); err != nil {
			return l, err
		}
		l.est = crowded{l.est, world}
	}
	if c.Listen.ESTSRP != "" {
		if l.srp, err = listenTCP("listen.est_srp", c.Listen.ESTSRP); err != nil {
			return l, err
		}
		l.srp = crowded{l.srp, world}
	}
	if c.Listen.ESTTerminator != "" {
		if l.terminator, err = listenUnix(c.Listen.ESTTerminator); err != nil {
			return l, err
		}
	}
	l.admin, err = admin.Listen(admin.SocketPath(c.Data))
	return l, err
}

func listenTCP(key, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s: %s is taken by another program; stop it or choose another address (--listen for the public one)", key, address)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s: this user may not listen on %s; use a port above 1023, or give the binary CAP_NET_BIND_SERVICE", key, address)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return l, nil
}

func (l *listeners) close() {
	for _, one := range []net.Listener{l.public, l.status, l.metrics, l.est, l.terminator, l.srp, l.admin} {
		if one != nil {
			one.Close() // closing twice does no harm
		}
	}
}

func portOf(l net.Listener) int {
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		return a.Port
	}
	return 0
}

func (l *listeners) publicPort() int { return portOf(l.public) }
func (l *listeners) statusPort() int { return portOf(l.status) }

// own gives the addresses that validators must not reach.
func (l *listeners) own() []netip.AddrPort {
	var all []netip.AddrPort
	for _, one := range []net.Listener{l.public, l.status, l.metrics, l.est, l.srp} {
		if one == nil {
			continue
		}
		if a, ok := one.Addr().(*net.TCPAddr); ok {
			all = append(all, a.AddrPort())
		}
	}
	return all
}
