package est

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"time"
)

// line is one TLS connection, on which HTTP/1.1 is spoken by hand: a request that is
// bound to a connection has to travel on that very one, which [http.Transport] does not
// promise.
type line struct {
	conn   *tls.Conn
	limit  *io.LimitedReader
	in     *bufio.Reader
	origin string
	server Server
	used   bool // an exchange was completed on it
	over   bool // it must not be used again
	shown  bool // a client certificate was sent
	// candidates are those of which one may have been shown.
	candidates []ClientIdentity
}

// lingers is how long the words of an error without a length are waited for.
const lingers = 2 * time.Second

// reply is a whole answer.
type reply struct {
	status int
	header http.Header
	media  string
	body   []byte
}

// connect opens a connection to the host of u and authorises the server.
func (c *Client) connect(ctx context.Context, u *url.URL, r *route) (*line, error) {
	way := itinerary{configured: c.base.Hostname(), current: u.Hostname(), host: u.Host, unnamed: r.unnamed}
	l := &line{origin: origin(u)}
	show := present(r.candidates)
	settings := c.settings(way, func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		shown, err := show(info)
		l.shown = err == nil && len(shown.Certificate) > 0
		return shown, err
	}, &l.server)
	if err := c.dial(ctx, u, l, settings); err != nil {
		return nil, err
	}
	return l, nil
}

// dial makes the TLS connection of a line.
func (c *Client) dial(ctx context.Context, u *url.URL, l *line, settings *tls.Config) error {
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), "443")
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	raw, err := c.config.Dial(ctx, "tcp", address)
	if err != nil {
		return &ConnectionError{Host: u.Host, Err: err}
	}
	l.conn = tls.Client(raw, settings)
	if err := l.conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		if refused, ok := errors.AsType[*ServerError](err); ok {
			return refused
		}
		return &ConnectionError{Host: u.Host, Err: explainTLS(err)}
	}
	l.limit = &io.LimitedReader{R: l.conn}
	l.in = bufio.NewReader(l.limit)
	return nil
}

// explainTLS adds to an alert what it most likely means.
func explainTLS(err error) error {
	if alert, ok := errors.AsType[*net.OpError](err); ok && alert.Op == "remote error" {
		return fmt.Errorf("the server refused the TLS connection, perhaps because of the client certificate: %w", err)
	}
	return err
}

func (l *line) close() { _ = l.conn.Close() }

// state is the connection's, for its binding.
func (l *line) state() *tls.ConnectionState {
	s := l.conn.ConnectionState()
	return &s
}

// exchange sends a request and reads the whole answer. lost tells that the connection
// ended before anything of an answer came, so that it was likely closed for being idle.
func (l *line) exchange(ctx context.Context, timeout time.Duration, q *http.Request) (answer *reply, lost bool, err error) {
	deadline := time.Now().Add(timeout)
	if sooner, ok := ctx.Deadline(); ok && sooner.Before(deadline) {
		deadline = sooner
	}
	_ = l.conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = l.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	l.limit.N = headMax
	// A server may answer, as with 401, and close before it read the body; its answer is
	// still there to be read.
	sent := q.Write(l.conn)
	if _, err := l.in.Peek(1); err != nil {
		l.over = true
		if ctx.Err() != nil {
			return nil, false, ctx.Err()
		}
		if sent != nil {
			err = sent
		}
		if errors.Is(err, io.EOF) {
			err = errors.New("the server closed the connection without an answer")
		}
		return nil, l.used, err
	}
	answer, err = l.read(q)
	if err != nil || sent != nil {
		l.over = true
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	l.used = true
	return answer, false, err
}

// unread says why the head of an answer could not be read.
func (l *line) unread(err error) error {
	var form textproto.ProtocolError
	_, network := errors.AsType[net.Error](err)
	switch {
	case errors.As(err, &form):
		return fmt.Errorf("the server's answer has a header that HTTP does not allow: %w", err)
	case l.limit.N <= 0:
		return fmt.Errorf("the head of the server's answer has more than %d KiB: %w", headMax>>10, err)
	case network || errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the server's answer broke off in its head: %w", err)
	}
	return fmt.Errorf("the server's answer is not HTTP: %w", err)
}

// read reads one answer; interim ones (1xx) are passed over.
func (l *line) read(q *http.Request) (*reply, error) {
	for range 10 {
		response, err := http.ReadResponse(l.in, q)
		if err != nil {
			return nil, l.unread(err)
		}
		if response.StatusCode >= 100 && response.StatusCode < 200 && response.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		l.limit.N = 2*bodyMax + headMax // chunks have heads, too; what counts is below
		media, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
		answer := &reply{status: response.StatusCode, header: response.Header, media: strings.ToLower(strings.TrimSpace(media))}
		if response.ContentLength < 0 && len(response.TransferEncoding) == 0 && response.StatusCode != http.StatusOK {
			// No length: the body ends with the connection, and libest's server does not
			// end that after a 202. What counts was said in the head; of the words, what
			// comes soon.
			l.over = true
			_ = l.conn.SetReadDeadline(time.Now().Add(lingers))
			answer.body, _ = io.ReadAll(io.LimitReader(response.Body, headMax))
			return answer, nil
		}
		body, err := io.ReadAll(io.LimitReader(response.Body, bodyMax+1))
		_ = response.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("the server's answer broke off: %w", err)
		}
		if len(body) > bodyMax {
			return nil, fmt.Errorf("the server's answer has more than %d KiB", bodyMax>>10)
		}
		if response.Close || response.ProtoMajor != 1 || response.ProtoMinor == 0 || l.in.Buffered() > 0 {
			l.over = true
		}
		if coding := response.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
			return nil, fmt.Errorf("the server compressed its answer (%.40q), which nobody asked it to", coding)
		}
		answer.body = body
		return answer, nil
	}
	return nil, errors.New("the server sends interim answers without end")
}

// request makes an HTTP request with a body of known length (libest's server refuses
// chunks), and header fields in the letters that the strictest servers compare.
func request(ctx context.Context, m message, u *url.URL, agent string) *http.Request {
	q := &http.Request{
		Method: m.method, URL: u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"User-Agent": {agent}, "Accept": {"*/*"}},
	}
	if m.body != nil {
		q.ContentLength = int64(len(m.body))
		q.Body = io.NopCloser(bytes.NewReader(m.body))
		q.Header["Content-Type"] = []string{m.media}
		q.Header["Content-Transfer-Encoding"] = []string{"base64"} // RFC 7030 §4.2.1; ignored by RFC 8951
	}
	if m.authorization != "" {
		q.Header["Authorization"] = []string{m.authorization}
	}
	return q.WithContext(ctx)
}
