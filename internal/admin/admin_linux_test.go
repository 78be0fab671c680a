package admin

import (
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// Even with the doors open, another user's connection is closed unheard.
func TestOtherUsersAreClosedOut(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	data, err := os.MkdirTemp("", "admin")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(data); err != nil {
			t.Error(err)
		}
	})
	path := SocketPath(data)
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	for where, mode := range map[string]os.FileMode{data: 0o755, filepath.Dir(path): 0o755, path: 0o666} {
		if err := os.Chmod(where, mode); err != nil {
			t.Fatal(err)
		}
	}
	h := NewServer(operations()...).HTTP()
	go func() { _ = h.Serve(l) }()
	defer func() { _ = h.Close() }()
	for uid, heard := range map[int]bool{0: true, 65534: false} {
		got, err := askAs(uid, path)
		if err != nil || (got > 0) != heard {
			t.Errorf("uid %d got %d bytes, %v", uid, got, err)
		}
	}
}

// askAs lists the operations as another user and counts the bytes answered.
func askAs(uid int, path string) (int, error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result)
	go func() {
		n, err := onThread(uid, path)
		done <- result{n, err}
	}()
	r := <-done
	return r.n, r.err
}

// onThread changes the user of this one thread, which ends with its goroutine as
// it stays locked to it.
func onThread(uid int, path string) (int, error) {
	runtime.LockOSThread()
	same := ^uintptr(0)
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, same, uintptr(uid), same); errno != 0 {
		return 0, errno
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = syscall.Close(fd) }()
	if err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		return 0, err
	}
	// The other end may be closed by now; then reading says so.
	request := "GET /v1/ops HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	if err := syscall.Sendmsg(fd, []byte(request), nil, nil, syscall.MSG_NOSIGNAL); err != nil && !errors.Is(err, syscall.EPIPE) {
		return 0, err
	}
	n, err := syscall.Read(fd, make([]byte, 1024))
	if errors.Is(err, syscall.ECONNRESET) {
		return 0, nil
	}
	return max(n, 0), err
}

// Who calls another user's server is told so before a word is said to it.
func TestServerOfAnother(t *testing.T) {
	data, err := os.MkdirTemp("", "admin")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(data) })
	path := SocketPath(data)
	if err := errors.Join(os.Chmod(data, 0o755), os.Mkdir(filepath.Dir(path), 0o700)); err != nil {
		t.Fatal(err)
	}
	uids := map[int]bool{os.Geteuid(): false}
	if os.Geteuid() == 0 {
		uids[54321] = true
	}
	for uid, foreign := range uids {
		heard := 0
		stop := serveAs(t, uid, path, &heard)
		c := Dial(path)
		if _, err := c.List(t.Context()); err != nil || heard != 1 {
			t.Errorf("uid %d: %v, heard %d", uid, err, heard)
		}
		c.Close()
		c = Dial(path)
		c.Foreign = func(e *ForeignError) error { return e }
		_, err := c.List(t.Context())
		e, ok := errors.AsType[*ForeignError](err)
		if ok != foreign || ok && (e.UID != uid || e.Directory != data || heard != 1) || !ok && err != nil {
			t.Errorf("uid %d: %v, heard %d", uid, err, heard)
		}
		c.Foreign = func(*ForeignError) error { return nil }
		if _, err := c.List(t.Context()); err != nil {
			t.Errorf("uid %d: %v", uid, err)
		}
		c.Close()
		stop()
	}
}

// serveAs answers an empty list at path, on a socket that the user listens on.
func serveAs(t *testing.T, uid int, path string, heard *int) (stop func()) {
	t.Helper()
	if err := os.Chown(filepath.Dir(path), uid, -1); err != nil {
		t.Fatal(err)
	}
	type result struct {
		l   net.Listener
		err error
	}
	done := make(chan result)
	go func() {
		if uid != os.Geteuid() {
			runtime.LockOSThread() // the thread ends with its goroutine
			same := ^uintptr(0)
			if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, same, uintptr(uid), same); errno != 0 {
				done <- result{nil, errno}
				return
			}
		}
		l, err := net.Listen("unix", path)
		done <- result{l, err}
	}()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	h := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		*heard++
		_, _ = w.Write([]byte("[]"))
	})}
	go func() { _ = h.Serve(r.l) }()
	return func() { _ = h.Close() }
}
