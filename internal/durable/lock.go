package durable

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// BusyError says that somebody else holds a lock.
type BusyError struct {
	What string // what is locked, for a person
	PID  int    // of the process that holds it; 0 = not known
	Err  error  // why waiting ended; nil if nobody waited
}

// Error names the process.
func (e *BusyError) Error() string {
	who := "another process"
	if e.PID == os.Getpid() {
		who = "another task of this process"
	} else if e.PID > 0 {
		who = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("%s: %s is at work on it: wait until it has ended, or end it, and try again", e.What, who)
}

// Unwrap gives the reason why waiting ended.
func (e *BusyError) Unwrap() error { return e.Err }

// Lock takes the lock that is the file at path, made with mode 0600 if it is not
// there. It waits until ctx is done, then the error is a *BusyError. A ctx that
// is already done asks once. what is for the error.
func Lock(ctx context.Context, path, what string) (unlock func(), err error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, Explain(err, path)
		}
		if err := acquire(ctx, f); err != nil {
			busy := &BusyError{What: what, PID: holder(f), Err: err}
			f.Close()
			if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
				return nil, busy
			}
			return nil, Explain(err, path)
		}
		if !same(f, path) { // removed while we waited: others lock another file now
			f.Close()
			continue
		}
		if err := sign(f); err != nil {
			f.Close()
			return nil, Explain(err, path)
		}
		return release(f), nil
	}
}

// LockDir takes the lock on a directory itself, for short changes in it. It waits
// until ctx is done.
func LockDir(ctx context.Context, dir string) (unlock func(), err error) {
	for {
		d, err := os.Open(dir)
		if err != nil {
			return nil, Explain(err, dir)
		}
		if err := acquire(ctx, d); err != nil {
			d.Close()
			if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
				return nil, &BusyError{What: dir, Err: err}
			}
			return nil, Explain(err, dir)
		}
		if same(d, dir) {
			return release(d), nil
		}
		d.Close()
	}
}

// acquire asks again and again, as a system call that waits could not be called off.
func acquire(ctx context.Context, f *os.File) error {
	pause := time.Millisecond
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		pause = min(2*pause, 100*time.Millisecond)
	}
}

// same tells whether path still names the open file.
func same(f *os.File, path string) bool {
	ours, err := f.Stat()
	if err != nil {
		return false
	}
	theirs, err := os.Stat(path)
	return err == nil && os.SameFile(ours, theirs)
}

// sign writes who holds the lock.
func sign(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// holder reads who holds the lock; 0 while it is just being written.
func holder(f *os.File) int {
	text, _ := io.ReadAll(io.NewSectionReader(f, 0, 32))
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

// release unlocks before it closes: a child that is being forked holds the same
// descriptor for a moment, and would hold the lock on.
func release(f *os.File) func() {
	return func() {
		_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
		_ = f.Close()
	}
}
