package daemon

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

func listenHere(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// dialFrom connects from one of loopback's many addresses.
func dialFrom(t *testing.T, from string, l net.Listener) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn
}

// isClosed waits for the other side to close.
func isClosed(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection from %s is open still: %v", conn.LocalAddr(), err)
	}
}

// TestSilenceDoesNotCloseThePort fills the port with connections that say
// nothing, for which it has all the time in the world.
func TestSilenceDoesNotCloseThePort(t *testing.T) {
	l := listenHere(t)
	s := split(l, patience{most: 3, long: time.Hour})
	defer s.Close()
	var silent []net.Conn
	for range 5 {
		silent = append(silent, dialFrom(t, "127.0.0.1", l))
	}
	isClosed(t, silent[0])
	isClosed(t, silent[1])
	for octet, half := range map[byte]*half{'G': s.plain, 22: s.secure} {
		spoke := dialFrom(t, "127.0.0.1", l)
		if _, err := spoke.Write([]byte{octet}); err != nil {
			t.Fatal(err)
		}
		got, err := half.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer got.Close()
		if got.RemoteAddr().String() != spoke.LocalAddr().String() {
			t.Errorf("%d: got the connection from %s, not from %s", octet, got.RemoteAddr(), spoke.LocalAddr())
		}
		first := []byte{0}
		if _, err := io.ReadFull(got, first); err != nil || first[0] != octet {
			t.Errorf("the first octet is %d, %v", first[0], err)
		}
	}
}

// TestSilenceEnds: who says nothing is sent away, and everybody at the close.
func TestSilenceEnds(t *testing.T) {
	l := listenHere(t)
	s := split(l, patience{most: 3, long: time.Millisecond})
	isClosed(t, dialFrom(t, "127.0.0.1", l))
	s.Close()

	l = listenHere(t)
	s = split(l, patience{most: 3, long: time.Hour})
	first, second := dialFrom(t, "127.0.0.1", l), dialFrom(t, "127.0.0.1", l)
	second.Write([]byte{22}) // accepted in order, so the first is too
	if _, err := s.secure.Accept(); err != nil {
		t.Fatal(err)
	}
	s.Close()
	isClosed(t, first)
}

// TestCrowdOfOneAddress: two listeners count together, and each address apart.
func TestCrowdOfOneAddress(t *testing.T) {
	c := &crowd{most: 5, each: 2, of: map[string]int{}}
	one, two := crowded{listenHere(t), c}, crowded{listenHere(t), c}
	accept := func(l net.Listener, from string) (server, client net.Conn) {
		t.Helper()
		client = dialFrom(t, from, l)
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return server, client
	}
	inside, _ := accept(one, "127.0.0.2")
	accept(two, "127.0.0.2")
	third := dialFrom(t, "127.0.0.2", one)
	accept(one, "127.0.0.3") // the same Accept turned the third away
	isClosed(t, third)
	inside.Close()
	inside.Close() // counts once
	accept(one, "127.0.0.2")
	fourth := dialFrom(t, "127.0.0.2", two)
	accept(two, "127.0.0.3")
	isClosed(t, fourth)
	accept(one, "127.0.0.4")
	full := dialFrom(t, "127.0.0.5", one) // five are here
	go one.Accept()
	isClosed(t, full)
}

func TestCrowdAddresses(t *testing.T) {
	for _, test := range []struct {
		name, first, second string
		hosts, both         bool
	}{
		{"an address with two ports", "192.0.2.1:1", "192.0.2.1:2", false, false},
		{"two addresses", "192.0.2.1:1", "192.0.2.2:1", false, true},
		{"one /64", "[2001:db8::1]:1", "[2001:db8::2]:1", false, false},
		{"two /64", "[2001:db8::1]:1", "[2001:db8:0:1::1]:1", false, true},
		{"IPv4 in IPv6", "192.0.2.1:1", "[::ffff:192.0.2.1]:1", false, false},
		{"loopback beside the world", "127.0.0.1:1", "127.0.0.1:2", false, false},
		{"loopback alone", "127.0.0.1:1", "127.0.0.1:2", true, true},
		{"IPv6 loopback alone", "[::1]:1", "[::1]:2", true, true},
		{"a stranger on loopback", "192.0.2.1:1", "192.0.2.1:2", true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := &crowd{most: 10, each: 1, hosts: test.hosts, of: map[string]int{}}
			leave, ok := c.enter(test.first)
			if !ok {
				t.Fatal("the first was refused")
			}
			again, ok := c.enter(test.second)
			if ok != test.both {
				t.Errorf("the second entered: %t", ok)
			}
			if ok {
				again()
			}
			leave()
			if c.all != 0 || len(c.of) != 0 {
				t.Errorf("the crowd has left, and %d are counted, by %v", c.all, c.of)
			}
		})
	}
}

// TestCrowdHasRoom: the defaults are for real sites.
func TestCrowdHasRoom(t *testing.T) {
	c := newCrowd(false)
	if c.most < 2*c.each {
		t.Skip("the process may open few files only")
	}
	for n := range mostOfOne {
		if _, ok := c.enter(fmt.Sprintf("192.0.2.1:%d", n+1)); !ok {
			t.Fatalf("the %dth of one address was refused", n+1)
		}
	}
	if _, ok := c.enter("192.0.2.1:9999"); ok {
		t.Error("one address may have more than its part")
	}
	if _, ok := c.enter("192.0.2.2:1"); !ok {
		t.Error("another address was refused")
	}
}
