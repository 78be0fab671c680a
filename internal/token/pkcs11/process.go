package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"chancery/internal/owned"
	"chancery/internal/token/fault"
	"chancery/internal/token/wire"
)

// Program is the helper's name.
const Program = "chancery-pkcs11"

// patience is how long a token may take for one thing: making a long RSA key on a smart
// card is the slowest.
const patience = 3 * time.Minute

// withheld are variables that are nobody's business but this process's.
var withheld = []string{"CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID"}

// process is a helper at work.
type process struct {
	socket net.Conn
	own    *os.Process
	ended  chan struct{} // closed when it answers no more

	writing sync.Mutex
	mutex   sync.Mutex
	last    uint64
	waiting map[uint64]chan *wire.Answer // nil when it has ended
}

// find says where the helper is: where it was said to be, beside this program, or in PATH.
func find(helper string) (string, error) {
	if helper != "" {
		return helper, nil
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), Program)
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
			return beside, nil
		}
	}
	path, err := exec.LookPath(Program)
	if err != nil {
		return "", &fault.Error{Kind: fault.Absent, Reason: "keys in PKCS#11 tokens need the program " + Program + ", which is neither beside chancery nor in PATH: install it there (CGO_ENABLED=1 go build ./cmd/" + Program + ")"}
	}
	return path, nil
}

// environment is this process's, as libraries read where they are configured from it.
func environment() []string {
	var all []string
	for _, one := range os.Environ() {
		name, _, _ := strings.Cut(one, "=")
		hidden := false
		for _, w := range withheld {
			hidden = hidden || name == w
		}
		if !hidden {
			all = append(all, one)
		}
	}
	return all
}

// way gives where a path leads, without links. Somebody else than root and this user who
// could exchange what is there, on the whole way, would get a PIN: that is an error, which
// says in then what is to be done.
func way(path, then string) (string, error) {
	real, err := owned.Program(path)
	if refusal, is := errors.AsType[*owned.Refusal](err); is {
		return "", &fault.Error{Kind: fault.Absent, Reason: path + " is not used, as PINs are shown to it and others could exchange it: " + refusal.Error() + then}
	}
	return real, err
}

// library is the way to a token's library.
func library(path string) (string, error) {
	real, err := way(path, "; module-path of the key's name says where it is")
	if err != nil && !fault.Is(err, fault.Absent) {
		err = &fault.Error{Kind: fault.Absent, Reason: "the token's library cannot be used; see module-path of the key's name", Err: err}
	}
	return real, err
}

// start starts a helper. It ends when the socket is closed, and so with this process.
func start(helper string) (*process, error) {
	path, err := find(helper)
	if err != nil {
		return nil, err
	}
	real, err := way(path, "; it is looked for beside chancery, then in PATH")
	if err != nil && !fault.Is(err, fault.Absent) {
		err = cannotRun(path, err)
	}
	if err != nil {
		return nil, err
	}
	syscall.ForkLock.RLock() // no other program is to be born with it
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(ends[0])
		syscall.CloseOnExec(ends[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("no socket for the PKCS#11 helper: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(ends[0]), "helper"), os.NewFile(uintptr(ends[1]), "helper")
	defer theirs.Close()
	defer ours.Close() // the connection has a descriptor of its own
	socket, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(real)
	cmd.Args[0] = path
	cmd.Env, cmd.Dir, cmd.ExtraFiles = environment(), "/", []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for this process, which ends it
	if err := cmd.Start(); err != nil {
		socket.Close()
		return nil, cannotRun(path, err)
	}
	p := &process{socket: socket, own: cmd.Process, ended: make(chan struct{}), waiting: map[uint64]chan *wire.Answer{}}
	go p.listen()
	go func() { // it is reaped, and whatever it was killed by, asked no more
		_ = cmd.Wait()
		p.socket.Close()
	}()
	return p, nil
}

func cannotRun(path string, err error) error {
	return &fault.Error{Kind: fault.Absent, Reason: path + " cannot be run", Err: err}
}

// listen hands answers to whoever waits for them.
func (p *process) listen() {
	for {
		answer, err := wire.ReadAnswer(p.socket)
		p.mutex.Lock()
		if err != nil {
			p.waiting = nil
			p.mutex.Unlock()
			p.socket.Close()
			close(p.ended)
			return
		}
		to := p.waiting[answer.ID]
		delete(p.waiting, answer.ID)
		p.mutex.Unlock()
		if to != nil {
			to <- answer
		}
	}
}

// errEnded says that the helper has ended.
var errEnded = errors.New("the PKCS#11 helper has ended by itself")

// call asks for one thing. A fault of the token's is a *wire.Fault in the answer.
func (p *process) call(ctx context.Context, r *wire.Request) (*wire.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	mine := make(chan *wire.Answer, 1)
	p.mutex.Lock()
	if p.waiting == nil {
		p.mutex.Unlock()
		return nil, errEnded
	}
	p.last++
	r.ID = p.last
	p.waiting[r.ID] = mine
	p.mutex.Unlock()
	p.writing.Lock()
	err := wire.WriteRequest(p.socket, r)
	p.writing.Unlock()
	if errors.Is(err, wire.ErrMessage) {
		p.forget(r.ID)
		return nil, err
	}
	if err != nil {
		return nil, errEnded
	}
	select {
	case answer := <-mine:
		return answer, nil
	case <-p.ended:
		select {
		case answer := <-mine: // with its last breath
			return answer, nil
		default:
			return nil, errEnded
		}
	case <-ctx.Done():
		p.forget(r.ID)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			p.close() // it hangs, and would for the next one
			return nil, fmt.Errorf("the token did not answer for %v: %w", patience, errEnded)
		}
		return nil, ctx.Err()
	}
}

func (p *process) forget(id uint64) {
	p.mutex.Lock()
	delete(p.waiting, id)
	p.mutex.Unlock()
}

// close ends the helper, whatever it or its library is at.
func (p *process) close() {
	p.socket.Close()
	_ = p.own.Kill() // it may have ended already
}
