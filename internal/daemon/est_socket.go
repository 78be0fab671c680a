package daemon

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// listenUnix opens the socket of the TLS terminator. Who can open it is whoever it
// says: it is for this user and its group. A socket that nobody serves any more is
// replaced; anything else at its place is not.
func listenUnix(path string) (net.Listener, error) {
	const key = "listen.est_terminator"
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("%s: %s is there already and is no socket; choose another path", key, path)
		}
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			return nil, fmt.Errorf("%s: another process serves %s; stop it, or choose another path", key, path)
		} else if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		l.Close()
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return l, nil
}
