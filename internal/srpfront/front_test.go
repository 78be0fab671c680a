package srpfront

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// terminator takes what the front passes on, and gives back the last octets of it in
// capitals.
type terminator struct {
	net.Listener
	mu   sync.Mutex
	seen [][]byte
}

func newTerminator(t *testing.T, network, address string) *terminator {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	b := &terminator{Listener: listener}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go b.serve(conn)
		}
	}()
	return b
}

// serve answers lines after the hello.
func (b *terminator) serve(conn net.Conn) {
	defer conn.Close()
	all, err := io.ReadAll(conn)
	if err != nil {
		return
	}
	b.mu.Lock()
	b.seen = append(b.seen, all)
	b.mu.Unlock()
	_, line, _ := strings.Cut(string(all), "say ")
	_, _ = fmt.Fprint(conn, strings.ToUpper(line))
}

// clock is a time that passes when somebody sleeps.
type clock struct {
	mu    sync.Mutex
	now   time.Time
	slept []time.Duration
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Sleep(_ context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slept = append(c.slept, d)
	c.now = c.now.Add(d)
	return nil
}

func (c *clock) taken() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.slept
	c.slept = nil
	return all
}

func start(t *testing.T, c Config) *Front {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.Listen = listener
	f, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return f
}

// talk sends a hello and a word, and gives what comes back.
func talk(t *testing.T, f *Front, octets []byte) string {
	t.Helper()
	conn, err := net.Dial("tcp", f.config.Listen.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = conn.Write(append(octets, "say hello"...))
	_ = conn.(*net.TCPConn).CloseWrite()
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

func TestPassing(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = filepath.Join(t.TempDir(), "s")
			}
			b := newTerminator(t, network, address)
			backend := b.Addr().String()
			if network == "unix" {
				backend = "unix:" + address
			}
			f := start(t, Config{Backend: backend})
			octets := hello(srp("jdoe"))
			if got := talk(t, f, slices.Clone(octets)); got != "HELLO" {
				t.Fatalf("got %q", got)
			}
			if !slices.Equal(b.seen[0], append(octets, "say hello"...)) {
				t.Error("the octets were changed on the way")
			}
		})
	}
}

func TestWithoutSRP(t *testing.T) {
	b := newTerminator(t, "tcp", "127.0.0.1:0")
	if got := talk(t, start(t, Config{Backend: b.Addr().String()}), hello()); got != "" {
		t.Errorf("passed on: %q", got)
	}
	open := start(t, Config{Backend: b.Addr().String(), WithoutSRP: true})
	if got := talk(t, open, hello()); got != "HELLO" {
		t.Errorf("not passed on: %q", got)
	}
	if got := talk(t, open, []byte("GET / HTTP/1.0\r\n\r\n")); got != "" {
		t.Errorf("HTTP in plain was passed on: %q", got)
	}
}

// Each handshake after which no request arrived doubles what the next one waits; a
// request forgives.
func TestBackOff(t *testing.T) {
	b := newTerminator(t, "tcp", "127.0.0.1:0")
	c := &clock{now: time.Now()}
	f := start(t, Config{Backend: b.Addr().String(), Clock: c.Now, Sleep: c.Sleep, LongestWait: 10 * time.Second})
	for range 7 {
		if got := talk(t, f, hello(srp("jdoe"))); got != "HELLO" {
			t.Fatalf("got %q", got)
		}
	}
	const s = time.Second
	if got, want := c.taken(), []time.Duration{s, 2 * s, 4 * s, 8 * s, 10 * s, 10 * s}; !slices.Equal(got, want) {
		t.Errorf("waited %v; want %v", got, want)
	}
	talk(t, f, hello(srp("other")))
	if got := c.taken(); len(got) != 0 {
		t.Errorf("somebody else waited %v", got)
	}
	f.Arrived("jdoe")
	f.Arrived("nobody")
	talk(t, f, hello(srp("jdoe")))
	if got := c.taken(); len(got) != 0 {
		t.Errorf("waited %v after a good log-in", got)
	}
	talk(t, f, hello(srp("jdoe")))
	if got := c.taken(); !slices.Equal(got, []time.Duration{s}) {
		t.Errorf("waited %v; want to begin anew", got)
	}
	_ = c.Sleep(context.Background(), 2*time.Hour)
	c.taken()
	talk(t, f, hello(srp("jdoe")))
	if got := c.taken(); len(got) != 0 {
		t.Errorf("waited %v after a long time", got)
	}
}

// Guesses at once gain nothing: they wait for one another, and more than a few are closed.
func TestManyAtOnce(t *testing.T) {
	p := &patience{first: time.Second, longest: time.Minute, forget: time.Hour, most: 10, names: map[string]*record{}}
	now := time.Now()
	var waits []time.Duration
	for range maxWaiting {
		d, ok := p.turn("jdoe", now)
		if !ok {
			t.Fatal("refused too early")
		}
		waits = append(waits, d)
	}
	const s = time.Second
	if want := []time.Duration{0, s, 3 * s, 7 * s}; !slices.Equal(waits, want) {
		t.Errorf("waits are %v; want %v", waits, want)
	}
	if _, ok := p.turn("jdoe", now); ok {
		t.Error("as many as one likes may wait")
	}
	p.done("jdoe")
	if _, ok := p.turn("jdoe", now); !ok {
		t.Error("nobody may wait any more")
	}
	p.arrived("jdoe", now)
	if r := p.names["jdoe"]; r == nil || r.failures != 0 || r.waiting != maxWaiting {
		t.Errorf("those who wait are forgotten: %+v", r)
	}
}

// A flood of invented names neither grows without bound nor washes away what is known
// of the one that is being guessed at.
func TestManyNames(t *testing.T) {
	p := &patience{first: time.Second, longest: time.Minute, forget: time.Hour, most: sample, names: map[string]*record{}}
	now := time.Now()
	for range 10 {
		p.turn("jdoe", now)
		p.done("jdoe")
	}
	for n := range 10 * sample {
		name := fmt.Sprint(n)
		p.turn(name, now)
		p.done(name)
	}
	if len(p.names) > sample {
		t.Errorf("%d names are remembered", len(p.names))
	}
	if d, _ := p.turn("jdoe", now); d < time.Minute {
		t.Errorf("jdoe waits %s only", d)
	}
	later := now.Add(2 * time.Hour)
	p.turn("late", later)
	if r := p.names["jdoe"]; len(p.names) > sample || (r != nil && r.waiting == 0) {
		t.Errorf("what is long ago is kept: %d", len(p.names))
	}
}

func TestLimits(t *testing.T) {
	b := newTerminator(t, "tcp", "127.0.0.1:0")
	f := start(t, Config{Backend: b.Addr().String(), Connections: 1, HelloTime: 20 * time.Millisecond, IdleTime: 20 * time.Millisecond})
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", f.config.Listen.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	ends := func(conn net.Conn) {
		if _, err := io.ReadAll(conn); errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
	silent := dial()
	ends(silent) // no hello in time
	idle := dial()
	_, _ = idle.Write(hello(srp("jdoe")))
	ends(idle) // and then nothing
}

func TestOneTooMany(t *testing.T) {
	b := newTerminator(t, "tcp", "127.0.0.1:0")
	f := start(t, Config{Backend: b.Addr().String(), Connections: 1})
	first, err := net.Dial("tcp", f.config.Listen.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	// The first is in when one more is closed at once.
	for {
		second, err := net.Dial("tcp", f.config.Listen.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, err = second.Read(make([]byte, 1))
		_ = second.Close()
		if err != nil {
			break
		}
	}
	_, _ = first.Write(append(hello(srp("jdoe")), "say it"...))
	_ = first.(*net.TCPConn).CloseWrite()
	if got, _ := io.ReadAll(first); string(got) != "IT" {
		t.Errorf("got %q", got)
	}
}

func TestProxyProtocol(t *testing.T) {
	b := newTerminator(t, "tcp", "127.0.0.1:0")
	f := start(t, Config{Backend: b.Addr().String(), ProxyProtocol: true})
	talk(t, f, hello(srp("jdoe")))
	line, err := bufio.NewReader(strings.NewReader(string(b.seen[0]))).ReadString('\n')
	port := f.config.Listen.Addr().(*net.TCPAddr).Port
	if err != nil || !strings.HasPrefix(line, "PROXY TCP4 127.0.0.1 127.0.0.1 ") || !strings.HasSuffix(line, fmt.Sprintf(" %d\r\n", port)) {
		t.Errorf("got %q, %v", line, err)
	}
}

func TestServeEnds(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := New(Config{Listen: listener, Backend: "127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	if err := f.Serve(context.Background()); err == nil {
		t.Error("a listener that failed is no end")
	}
	for _, c := range []Config{{}, {Listen: listener}, {Listen: listener, Backend: "nowhere"}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v is no configuration", c)
		}
	}
}

// Who waits is let go when the front ends.
func TestEndWhileWaiting(t *testing.T) {
	b := newTerminator(t, "tcp", "127.0.0.1:0")
	waiting := make(chan struct{}, 1)
	f := start(t, Config{Backend: b.Addr().String(), Sleep: func(ctx context.Context, _ time.Duration) error {
		waiting <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}})
	talk(t, f, hello(srp("jdoe")))
	conn, err := net.Dial("tcp", f.config.Listen.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_, _ = conn.Write(hello(srp("jdoe")))
	<-waiting
}
