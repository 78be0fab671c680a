package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// longestPath is what fits into a unix socket's address on every system: 104
// bytes with the final zero on BSD and macOS, 108 on Linux.
const longestPath = 103

// socketName is the socket inside a data directory.
const socketName = "admin/socket"

// SocketPath is where the server of a data directory listens.
func SocketPath(data string) string { return filepath.Join(data, socketName) }

// Listen makes the socket at path, its directory with mode 0700 and itself 0600.
// A socket that a dead process left is replaced; a living server's is ErrInUse.
// Connections of other users than the process's own and root are closed as they
// are accepted. Close removes the socket.
func Listen(path string) (net.Listener, error) {
	if len(path) > longestPath {
		return nil, fmt.Errorf("the admin socket's path has %d bytes, and systems allow %d: choose a data directory with a shorter name, or give it relative to the working directory (%s)", len(path), longestPath, path)
	}
	directory := filepath.Dir(path)
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	// It may have been there: what counts is what it is now. The directory is
	// what keeps others out, as not every system looks at a socket's mode.
	if err := os.Chmod(directory, 0o700); err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	unlock, err := lockDirectory(directory)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := clear(path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("admin socket: %w", err), l.Close())
	}
	return &guarded{UnixListener: l}, nil
}

// lockDirectory keeps two processes from clearing away one another's fresh
// socket. The lock is held only while a socket is made.
func lockDirectory(directory string) (unlock func(), err error) {
	d, err := os.Open(directory)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("admin socket: locking %s: %w", directory, err), d.Close())
	}
	return func() { _ = d.Close() }, nil // closing unlocks
}

// clear removes a dead process's socket and nothing else.
func clear(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("admin socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is in the way of the admin socket and is none: move it away", path)
	}
	conn, err := net.DialTimeout("unix", path, 5*time.Second)
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("%w: it answers on %s", ErrInUse, path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("the admin socket %s neither answers nor is abandoned: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("a dead server's admin socket: %w", err)
	}
	return nil
}

// guarded accepts only callers who may.
type guarded struct{ *net.UnixListener }

// known is a connection with its caller.
type known struct {
	net.Conn
	caller Caller
}

// Accept waits for the next caller who may call, and closes the others.
func (g *guarded) Accept() (net.Conn, error) {
	for {
		conn, err := g.AcceptUnix()
		if err != nil {
			return nil, err
		}
		uid, err := peer(conn)
		if err == nil && (uid == 0 || uid == os.Getuid()) {
			return &known{Conn: conn, caller: Caller{Name: nameOf(uid), Role: Administrator}}, nil
		}
		_ = conn.Close()
	}
}

// nameOf gives the number of a user, and the name where the system knows it.
func nameOf(uid int) string {
	text := "uid:" + strconv.Itoa(uid)
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		text += " (" + u.Username + ")"
	}
	return text
}

// callerFromSocket is an http.Server's ConnContext.
func callerFromSocket(ctx context.Context, conn net.Conn) context.Context {
	if k, ok := conn.(*known); ok {
		return WithCaller(ctx, k.caller)
	}
	return ctx
}
