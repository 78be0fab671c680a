package porttest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const other = "PORTTEST_OTHER"

// TestMain is also the other process of TestProcesses: it says which ports it took
// and holds them until its standard input ends.
func TestMain(m *testing.M) {
	if count, err := strconv.Atoi(os.Getenv(other)); err == nil {
		for range count {
			port, _, err := Take()
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			fmt.Println(port)
		}
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Whoever asks at once gets ports that differ, and on which listening works.
func TestFree(t *testing.T) {
	low, high := systemRange()
	var (
		mu   sync.Mutex
		seen = map[int]bool{}
		wait sync.WaitGroup
	)
	for range 50 {
		wait.Go(func() {
			port, release, err := Take()
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(release)
			mu.Lock()
			defer mu.Unlock()
			if seen[port] {
				t.Errorf("port %d was given twice", port)
			}
			seen[port] = true
		})
	}
	wait.Wait()
	for port := range seen {
		if first, count := outside(low, high); port < first || port >= first+count {
			t.Errorf("port %d is not of %d to %d", port, first, first+count-1)
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Error(err)
			continue
		}
		l.Close()
	}
}

// What another process holds is not given, and is given back when it ends.
func TestProcesses(t *testing.T) {
	if _, err := os.Stat("/proc/net/unix"); err != nil {
		t.Skip("the lock between processes is Linux's")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const count = 20
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", other, count))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var ports []int
	for range count {
		var port int
		if _, err := fmt.Fscan(out, &port); err != nil {
			t.Fatal(err)
		}
		ports = append(ports, port)
	}
	for _, port := range ports {
		if release, taken := lock(port); taken {
			release()
			t.Errorf("port %d of the other process could be locked", port)
		}
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	release, taken := lock(ports[0])
	if !taken {
		t.Fatalf("port %d is locked still", ports[0])
	}
	release()
	release() // once more changes nothing
}

func TestUsedPortsAreLeftOut(t *testing.T) {
	for _, network := range []string{"tcp", "udp"} {
		for _, host := range []string{"127.0.0.1", "::1"} {
			port := Free(t)
			address := net.JoinHostPort(host, strconv.Itoa(port))
			if network == "tcp" {
				l, err := net.Listen(network, address)
				if err != nil {
					if host == "::1" && absent(err) {
						continue
					}
					t.Fatal(err)
				}
				defer l.Close()
			} else {
				p, err := net.ListenPacket(network, address)
				if err != nil {
					if host == "::1" && absent(err) {
						continue
					}
					t.Fatal(err)
				}
				defer p.Close()
			}
			if free(port) {
				t.Errorf("%s port %s is in use and passes for free", network, address)
			}
		}
	}
	if address := Address(t); !strings.HasPrefix(address, "127.0.0.1:") {
		t.Errorf("address %s", address)
	}
}

func TestOutside(t *testing.T) {
	for _, c := range []struct{ low, high, first, count int }{
		{32768, 60999, 10000, 22768},
		{49152, 65535, 10000, 22768},
		{11000, 60000, 10000, 1000},
		{1024, 60999, 61000, 4536},
		{1024, 65535, 10000, 55536},
	} {
		if first, count := outside(c.low, c.high); first != c.first || count != c.count {
			t.Errorf("%d to %d: got %d, %d; want %d, %d", c.low, c.high, first, count, c.first, c.count)
		}
	}
}
