package admin

import (
	"errors"
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
