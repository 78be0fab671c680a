package srpfront

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"
)

// Config says what stands where. Zero durations and numbers have the defaults named.
type Config struct {
	Listen  net.Listener
	Backend string // the terminator: "127.0.0.1:8443" or "unix:/path"
	// WithoutSRP passes connections on that name no SRP user; otherwise they are closed.
	WithoutSRP bool
	// ProxyProtocol tells the terminator the client's address by the line that
	// Apache's RemoteIPProxyProtocol and others read (PROXY protocol, version 1).
	ProxyProtocol bool
	// State is a file in which failures are kept, for other processes with the same one
	// and over a restart; "" is nowhere.
	State string

	FirstDelay  time.Duration // after one failure; doubled by each more. 1 s
	LongestWait time.Duration // at most between two handshakes of one name. 1 min
	Forget      time.Duration // a name that did not come for so long begins anew. 1 h
	Names       int           // names that are remembered. 10000
	Connections int           // at once, more are closed. 512
	HelloTime   time.Duration // in which a ClientHello has to come. 10 s
	IdleTime    time.Duration // after which a connection on which nothing passes is closed. 2 min

	Clock  func() time.Time                                   // nil: time.Now
	Sleep  func(ctx context.Context, how time.Duration) error // nil: really; an error ends the connection
	Logger *slog.Logger                                       // nil: silence
}

// Front is the front at work.
type Front struct {
	config   Config
	patience *patience
	network  string
	address  string
	room     chan struct{} // one for each connection
}

// New gives a front that does nothing before [Front.Serve].
func New(c Config) (*Front, error) {
	c = c.withDefaults()
	if c.Listen == nil || c.Backend == "" {
		return nil, errors.New("the SRP front needs a listener and a terminator to pass connections on to")
	}
	f := &Front{
		config: c, network: "tcp", address: c.Backend, room: make(chan struct{}, c.Connections),
		patience: &patience{first: c.FirstDelay, longest: c.LongestWait, forget: c.Forget, most: c.Names, logger: c.Logger, names: map[string]*record{}},
	}
	if path, ok := strings.CutPrefix(c.Backend, "unix:"); ok {
		f.network, f.address = "unix", path
	} else if _, _, err := net.SplitHostPort(c.Backend); err != nil {
		return nil, fmt.Errorf("the SRP terminator %q is neither HOST:PORT nor unix:/PATH", c.Backend)
	}
	if c.State != "" {
		var err error
		if f.patience.book, err = openBook(c.State, c.Forget); err != nil {
			return nil, fmt.Errorf("the SRP front's state: %w", err)
		}
	}
	return f, nil
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.FirstDelay, time.Second}, {&c.LongestWait, time.Minute}, {&c.Forget, time.Hour}, {&c.HelloTime, 10 * time.Second}, {&c.IdleTime, 2 * time.Minute},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if c.Names <= 0 {
		c.Names = 10_000
	}
	if c.Connections <= 0 {
		c.Connections = 512
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Sleep == nil {
		c.Sleep = sleep
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func sleep(ctx context.Context, how time.Duration) error {
	timer := time.NewTimer(how)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Arrived is called when the terminator handed over a request of the user: the
// handshake was a good one, and the name waits no longer.
func (f *Front) Arrived(identity string) { f.patience.arrived(identity, f.config.Clock()) }

// Serve accepts connections until the context ends, closes them all then, and gives
// nil; an error means that the listener failed.
func (f *Front) Serve(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = f.config.Listen.Close() })()
	for {
		client, err := f.config.Listen.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			var passing net.Error
			if errors.As(err, &passing) && passing.Timeout() {
				continue
			}
			return fmt.Errorf("the SRP front's listener: %w", err)
		}
		select {
		case f.room <- struct{}{}:
		default:
			_ = client.Close()
			continue
		}
		all.Go(func() {
			defer func() { <-f.room }()
			f.pass(ctx, client)
		})
	}
}

// pass takes one connection from its first octet to its last.
func (f *Front) pass(ctx context.Context, client net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = client.Close() })()
	defer client.Close()
	_ = client.SetDeadline(time.Now().Add(f.config.HelloTime))
	hello, user, err := readHello(client)
	if err != nil || (user == "" && !f.config.WithoutSRP) {
		if user == "" && err == nil {
			err = errors.New("it names no SRP user")
		}
		f.config.Logger.DebugContext(ctx, "a connection to the SRP front was closed", "address", client.RemoteAddr().String(), "error", err)
		return
	}
	if user != "" && !f.admit(ctx, client, user) {
		return
	}
	dialer := net.Dialer{Timeout: f.config.HelloTime}
	terminator, err := dialer.DialContext(ctx, f.network, f.address)
	if err != nil {
		f.config.Logger.ErrorContext(ctx, "the SRP terminator does not answer", "terminator", f.config.Backend, "error", err)
		return
	}
	defer terminator.Close()
	defer context.AfterFunc(ctx, func() { _ = terminator.Close() })()
	if f.config.ProxyProtocol {
		hello = append([]byte(proxyLine(client)), hello...)
	}
	_ = terminator.SetDeadline(time.Now().Add(f.config.IdleTime))
	if _, err := terminator.Write(hello); err != nil {
		return
	}
	f.both(client, terminator)
}

// admit holds a handshake back until it is the name's turn.
func (f *Front) admit(ctx context.Context, client net.Conn, user string) bool {
	wait, ok := f.patience.turn(user, f.config.Clock())
	if !ok {
		f.config.Logger.WarnContext(ctx, "too many SRP handshakes of one user at once; one was closed", "user", user, "address", client.RemoteAddr().String())
		return false
	}
	defer f.patience.done(user)
	if wait <= 0 {
		return true
	}
	f.config.Logger.WarnContext(ctx, "an SRP handshake is held back, as no request arrived after those before it: wrong passwords?",
		"user", user, "address", client.RemoteAddr().String(), "wait", wait)
	return f.config.Sleep(ctx, wait) == nil
}

// both copies octets both ways until one side closes or nothing passes for a while.
func (f *Front) both(client, terminator net.Conn) {
	var wait sync.WaitGroup
	alive := func() {
		until := time.Now().Add(f.config.IdleTime)
		_, _ = client.SetDeadline(until), terminator.SetDeadline(until)
	}
	wait.Go(func() { copyOn(terminator, client, alive) })
	wait.Go(func() { copyOn(client, terminator, alive) })
	wait.Wait()
}

// copyOn copies until the source ends, and passes the end on.
func copyOn(to, from net.Conn, alive func()) {
	buffer := make([]byte, 16<<10)
	for {
		alive()
		n, err := from.Read(buffer)
		if n > 0 {
			if _, broken := to.Write(buffer[:n]); broken != nil {
				_ = from.Close()
				return
			}
		}
		switch half, ok := to.(interface{ CloseWrite() error }); {
		case err == nil:
			continue
		case errors.Is(err, io.EOF) && ok:
			_ = half.CloseWrite()
		default:
			_ = to.Close()
		}
		return
	}
}

// proxyLine is the PROXY protocol's line about a connection.
func proxyLine(client net.Conn) string {
	from, ok := client.RemoteAddr().(*net.TCPAddr)
	to, fine := client.LocalAddr().(*net.TCPAddr)
	if !ok || !fine {
		return "PROXY UNKNOWN\r\n"
	}
	source, target := from.AddrPort().Addr().Unmap(), to.AddrPort().Addr().Unmap()
	family := "TCP6"
	if source.Is4() && target.Is4() {
		family = "TCP4"
	}
	return fmt.Sprintf("PROXY %s %s %s %d %d\r\n", family, source.WithZone(""), target.WithZone(""), from.Port, to.Port)
}
