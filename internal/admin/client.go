package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
)

// Client calls the operations of a running server. It is safe for concurrent use.
type Client struct {
	// Foreign, if not nil, is told of each connection to a server that neither root nor
	// this user runs, before anything is said to it; an error ends the call. It is set
	// before the first Call.
	Foreign func(*ForeignError) error

	directory string
	http      *http.Client
}

// answerLimit is more than any list that an operation gives at once.
const answerLimit = 64 << 20

// Dial makes a client of the server whose socket is at path (SocketPath of its
// data directory). Nothing is connected before the first Call.
func Dial(path string) *Client {
	// The directory that "serve --data" takes is the one that SocketPath took.
	directory := filepath.Dir(path)
	if filepath.Join(filepath.Dir(directory), socketName) == filepath.Clean(path) {
		directory = filepath.Dir(directory)
	}
	c := &Client{directory: directory}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		if len(path) > longestPath {
			return nil, fmt.Errorf("the admin socket's path has %d bytes, and systems allow %d: no server can listen there (%s)", len(path), longestPath, path)
		}
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", path)
		if err != nil {
			return nil, err
		}
		if err := c.meet(conn); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return conn, nil
	}
	c.http = &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConns: 1}}
	return c
}

// meet tells whose server it is, if it is a stranger's.
func (c *Client) meet(conn net.Conn) error {
	unix, ok := conn.(*net.UnixConn)
	if c.Foreign == nil || !ok {
		return nil
	}
	uid, err := peer(unix)
	if err != nil {
		return fmt.Errorf("nobody can tell whose server this is: %w", err)
	}
	if uid == 0 || uid == os.Geteuid() {
		return nil
	}
	return c.Foreign(&ForeignError{Directory: c.directory, UID: uid, Owner: nameOf(uid)})
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Call does an operation on the running server. Errors: *ErrNotRunning, the
// server's *Error, or what broke on the way.
func Call[In, Out any](ctx context.Context, c *Client, name string, in In) (Out, error) {
	var out Out
	body, err := json.Marshal(in)
	if err != nil {
		return out, fmt.Errorf("input of %s: %w", name, err)
	}
	err = c.exchange(ctx, request{http.MethodPost, prefix + "/" + name, body}, &out)
	return out, err
}

type request struct {
	method, path string
	body         []byte
}

func (c *Client) exchange(ctx context.Context, what request, into any) error {
	// The host is never looked up: dial knows only the socket.
	r, err := http.NewRequestWithContext(ctx, what.method, "http://chancery"+what.path, bytes.NewReader(what.body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(r)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return &ErrNotRunning{Directory: c.directory, Err: err}
	case errors.Is(err, fs.ErrPermission):
		return &Error{Kind: Denied, Detail: fmt.Sprintf("the chancery on %s belongs to another user: call as that user or as root", c.directory)}
	case err != nil:
		// What Foreign said, without the address that means nothing.
		_, foreign := errors.AsType[*ForeignError](err)
		if outer, ok := errors.AsType[*url.Error](err); ok && foreign {
			return outer.Err
		}
		return c.broken(ctx, err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(response.Body, answerLimit))
	if err != nil {
		return c.broken(ctx, err)
	}
	if response.StatusCode != http.StatusOK {
		told := &Error{}
		if err := json.Unmarshal(answer, told); err != nil || told.Kind == "" {
			return fmt.Errorf("the server on %s answered %s to %s: is it a chancery of this version?", c.directory, response.Status, what.path)
		}
		return told
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("the server's answer to %s does not fit; is it of another version? %w", what.path, err)
	}
	return nil
}

// broken tells a wish to stop from a connection that stopped by itself, which
// leaves open whether the operation was done.
func (c *Client) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("the chancery on %s broke off before it answered; the operation may be done or not: %w", c.directory, err)
}
