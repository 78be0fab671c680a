//go:build !linux

package admin

import (
	"net"
	"os"
)

// peer takes whoever reached the socket for the own user: without SO_PEERCRED
// the directory's mode 0700 is what keeps the others out.
func peer(*net.UnixConn) (uid int, err error) { return os.Getuid(), nil }
