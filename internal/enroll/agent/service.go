package agent

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"chancery/internal/plain"
)

// Service tells the service manager how the agent does, as sd_notify(3) describes: a
// datagram of lines to a socket that the environment names. Without one every method does
// nothing.
type Service struct {
	conn     *net.UnixConn
	interval time.Duration
}

// OpenService reads what the service manager wants from the environment: NOTIFY_SOCKET,
// and WATCHDOG_USEC if it is meant for the process pid.
func OpenService(getenv func(string) string, pid int) (*Service, error) {
	s := &Service{}
	path := getenv("NOTIFY_SOCKET")
	if path == "" {
		return s, nil
	}
	if path[0] != '/' && path[0] != '@' {
		return nil, errors.New("NOTIFY_SOCKET names no unix socket")
	}
	var err error
	// A leading @ stands for the abstract name space, for net as for sd_notify.
	if s.conn, err = net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"}); err != nil {
		return nil, err
	}
	meant := getenv("WATCHDOG_PID")
	if usec, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64); err == nil && usec > 0 && (meant == "" || meant == strconv.Itoa(pid)) {
		s.interval = time.Duration(usec) * time.Microsecond
	}
	return s, nil
}

// Tick is how often Alive has to be called at least: half of the watchdog's time; 0 = there
// is none.
func (s *Service) Tick() time.Duration { return s.interval / 2 }

// Ready says that the agent keeps its certificates.
func (s *Service) Ready(status string) { s.send("READY=1", "STATUS="+line(status)) }

// Reloading says that the configuration is read again; now is the monotonic clock's
// microseconds, which Type=notify-reload wants. Ready ends it.
func (s *Service) Reloading() { s.send("STATUS=reading the configuration again") }

// Stopping says that the agent was told to end.
func (s *Service) Stopping() { s.send("STOPPING=1") }

// Alive feeds the watchdog.
func (s *Service) Alive() {
	if s.interval > 0 {
		s.send("WATCHDOG=1")
	}
}

// Close lets go of the socket.
func (s *Service) Close() error {
	if s.conn == nil {
		return nil
	}
	return s.conn.Close()
}

// send is best effort: a manager that went away is no reason to stop.
func (s *Service) send(lines ...string) {
	if s.conn != nil {
		_, _ = s.conn.Write([]byte(strings.Join(lines, "\n") + "\n"))
	}
}

func line(text string) string { return plain.Folded(text) }
