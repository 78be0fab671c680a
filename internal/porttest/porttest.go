// Package porttest gives ports of loopback for programs that are told where to
// listen, and ports on which nobody does, to tests and to the demonstration. It
// imports nothing of ours and no testing package.
//
// A port that the system chose, that was given back and is to be bound again later
// can be somebody else's by then: the system gives it to the next who asks, another
// package's tests as well. These ports lie outside the range from which the system
// chooses, and each is locked against all who ask here, in whatever process, until its test
// ends.
package porttest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
)

// T is what is needed of a test.
type T interface {
	Helper()
	Fatal(args ...any)
	Cleanup(func())
}

// Free gives a port that is free on loopback for TCP and UDP, over IPv4 and IPv6,
// and that no other test gets before this one ends.
func Free(t T) int {
	t.Helper()
	port, release, err := Take()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return port
}

// Address gives 127.0.0.1 with a port as from [Free]: while the test starts no
// listener there, nobody answers.
func Address(t T) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(Free(t)))
}

// Take is [Free] for those who have no test at hand. The port is theirs until
// release is called or the process ends.
func Take() (port int, release func(), err error) {
	first, count := outside(systemRange())
	for i, start := 0, rand.IntN(count); i < count; i++ {
		port := first + (start+i)%count
		release, taken := lock(port)
		if !taken {
			continue
		}
		if free(port) {
			return port, release, nil
		}
		release()
	}
	return 0, nil, fmt.Errorf("porttest: no port from %d to %d is free", first, first+count-1)
}

// systemRange is from where the system takes ports for those who ask for none,
// Linux's default where it does not say.
func systemRange() (low, high int) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err == nil {
		if _, err = fmt.Sscan(string(text), &low, &high); err == nil {
			return low, high
		}
	}
	return 32768, 65535
}

// outside gives the ports that the system does not choose: below its range from
// 10000 on, else above it. Where it leaves neither, the lock has to do.
func outside(low, high int) (first, count int) {
	const from, enough, last = 10000, 1000, 65535
	switch {
	case low-from >= enough:
		return from, min(low, 32768) - from
	case last-high >= enough:
		return high + 1, last - high
	}
	return from, last - from + 1
}

var (
	mu   sync.Mutex
	held = map[int]bool{} // this process's
)

// lock keeps a port from other callers. On Linux the lock is a name in the abstract
// socket space, which ends with the process and belongs to the network namespace,
// as ports do; elsewhere it holds within this process only.
func lock(port int) (release func(), taken bool) {
	mu.Lock()
	defer mu.Unlock()
	if held[port] {
		return nil, false
	}
	var name net.Listener
	if runtime.GOOS == "linux" {
		var err error
		if name, err = net.Listen("unix", fmt.Sprintf("@chancery-test-port-%d", port)); err != nil {
			return nil, false
		}
	}
	held[port] = true
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if !held[port] {
			return
		}
		delete(held, port)
		if name != nil {
			_ = name.Close()
		}
	}, true
}

// free reports whether nobody has the port. An address that this machine does not
// have is no hindrance.
func free(port int) bool {
	for _, host := range []string{"127.0.0.1", "::1"} {
		address := net.JoinHostPort(host, strconv.Itoa(port))
		l, err := net.Listen("tcp", address)
		if err == nil {
			_ = l.Close()
		} else if !absent(err) {
			return false
		}
		p, err := net.ListenPacket("udp", address)
		if err == nil {
			_ = p.Close()
		} else if !absent(err) {
			return false
		}
	}
	return true
}

// absent reports whether an address is not this machine's.
func absent(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)
}
