// Package loader is the process that loads a PKCS#11 token's library for another one: it
// reads requests from a socket that it was born with, has the token do them, and ends with
// whoever started it. What the token's maker wrote runs here, and nothing else of the other
// process can be reached by it but what is asked of the token.
//
// The room must not know names of keys, files or configuration. It writes nothing, keeps no
// PIN after the token has seen it, and takes no arguments.
package loader

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"chancery/internal/token/wire"
)

// Socket is the descriptor that the helper is born with.
const Socket = 3

// together is how many requests are worked on at a time.
const together = 16

// token does what is asked for. Its methods may be called together, but for open, which is
// called once and first.
type token interface {
	open(*wire.Open) (*wire.Token, error)
	login(*wire.Login) error
	key(*wire.Request) (*wire.Key, error) // Find, Make
	use(*wire.Request) ([]byte, error)    // Sign, Decrypt, Derive
	remove(*wire.Remove) error
}

// fault is an error whose sort the other side wants to know.
type fault wire.Fault

// Error is the text.
func (f *fault) Error() string { return f.Text }

func faulty(code wire.Code, format string, args ...any) error {
	return &fault{Code: code, Text: fmt.Sprintf(format, args...)}
}

// Main is the whole program; it gives the exit status of one that was not started as the
// helper, and otherwise does not come back.
func Main() int {
	// A PIN passes through: no dump of the memory is left behind.
	_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
	file := os.NewFile(Socket, "socket")
	connection, err := net.FileConn(file)
	if err != nil || len(os.Args) > 1 {
		fmt.Fprintln(os.Stderr, "chancery-pkcs11 is started by chancery, where a key is named pkcs11:…, and does nothing by itself. It takes no arguments.")
		return 2
	}
	file.Close()
	status := 0
	if err := serve(connection, newToken()); err != nil {
		status = 1
	}
	// At once: os.Exit runs what is registered for the end, with the race detector the
	// library's destructors, too, and these wait for a constructor that hangs.
	syscall.Exit(status)
	return status
}

// serve answers requests until the other side ends, whatever the token is at then: nothing
// here waits for that, and whoever called ends the process.
func serve(connection io.ReadWriter, t token) error {
	var writing sync.Mutex
	slots := make(chan struct{}, together)
	opened := make(chan struct{}) // closed when Open was worked on
	run := func(request *wire.Request) {
		answer := do(t, request)
		writing.Lock()
		defer writing.Unlock()
		// Whoever does not listen has ended, which the next read tells.
		_ = wire.WriteAnswer(connection, answer)
	}
	for first := true; ; first = false {
		request, err := wire.ReadRequest(connection)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if (request.Open != nil) != first {
			return wire.ErrMessage
		}
		go func() {
			if first {
				defer close(opened)
				run(request)
				return
			}
			<-opened
			slots <- struct{}{}
			defer func() { <-slots }()
			run(request)
		}()
	}
}

// do answers one request.
func do(t token, r *wire.Request) *wire.Answer {
	a := &wire.Answer{ID: r.ID}
	var err error
	switch {
	case r.Open != nil:
		a.Token, err = t.open(r.Open)
	case r.Login != nil:
		err = t.login(r.Login)
		clear(r.Login.PIN)
	case r.Find != nil, r.Make != nil:
		a.Key, err = t.key(r)
	case r.Remove != nil:
		err = t.remove(r.Remove)
	default:
		a.Octets, err = t.use(r)
	}
	if err != nil {
		f := &wire.Fault{Code: wire.Refused, Text: err.Error()}
		if known, ok := errors.AsType[*fault](err); ok {
			f = (*wire.Fault)(known)
		}
		return &wire.Answer{ID: r.ID, Fault: f}
	}
	return a
}
