package conform

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"
)

// line is how a connection is made. Its zero value is what most requests use.
type line struct {
	min, max uint16 // of TLS; 0: 1.2 and 1.3
	shown    *tls.Certificate
	cache    tls.ClientSessionCache
	protocol []string // ALPN; nil: the extension is not sent
	nobodys  bool     // what is shown is made up, and anybody may see it
}

// wire is one TLS connection on which every octet is the suite's own.
type wire struct {
	tls    *tls.Conn
	tap    *tap
	in     *bufio.Reader
	asked  bool  // the server requested a client certificate
	doubt  error // why the server is not the one that the anchors know; nil: it is
	closed bool
}

// tap counts the records of a connection as they come in.
type tap struct {
	net.Conn
	header  []byte
	left    int
	records []int // lengths of application data, in octets
}

// Read passes on and looks at the record headers (RFC 8446 §5.1).
func (t *tap) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	for rest := p[:n]; len(rest) > 0; {
		if t.left > 0 {
			step := min(t.left, len(rest))
			t.left, rest = t.left-step, rest[step:]
			continue
		}
		need := min(5-len(t.header), len(rest))
		t.header, rest = append(t.header, rest[:need]...), rest[need:]
		if len(t.header) == 5 {
			t.left = int(t.header[3])<<8 | int(t.header[4])
			if t.header[0] == 23 {
				t.records = append(t.records, t.left)
			}
			t.header = t.header[:0]
		}
	}
	return n, err
}

var errStranger = errors.New("nothing secret is shown to a server that the anchors do not verify")

// connect makes a connection of this kind. Whether the anchors know the server is
// looked at always and stops the handshake only where a client certificate is shown.
func (s *session) connect(ctx context.Context, l line) (*wire, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	plain, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	w := &wire{tap: &tap{Conn: plain}}
	config := &tls.Config{
		ServerName: s.host, MinVersion: tls.VersionTLS12, MaxVersion: l.max, ClientSessionCache: l.cache, NextProtos: l.protocol,
		Renegotiation:      tls.RenegotiateNever,
		InsecureSkipVerify: true, // VerifyConnection does it, and keeps what it finds
		VerifyConnection: func(cs tls.ConnectionState) error {
			w.doubt = s.verify(cs.PeerCertificates)
			if w.doubt != nil && l.shown != nil && !l.nobodys {
				return fmt.Errorf("%w: %w", errStranger, w.doubt)
			}
			return nil
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			w.asked = true
			if l.shown != nil {
				return l.shown, nil
			}
			return &tls.Certificate{}, nil
		},
	}
	if l.min != 0 {
		config.MinVersion = l.min
	}
	w.tls = tls.Client(w.tap, config)
	if err := w.tls.HandshakeContext(ctx); err != nil {
		plain.Close()
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	w.in = bufio.NewReaderSize(w.tls, 4<<10)
	return w, nil
}

// dial makes a TCP connection, and counts it.
func (s *session) dial(ctx context.Context) (net.Conn, error) {
	s.connections++
	conn, err := s.Dial(ctx, "tcp", s.address)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(s.Timeout))
}

// verify judges the server's certificates by the explicit anchors and the host's name
// (RFC 7030 §3.3.1, §3.6.1), with what the server itself sent in between.
func (s *session) verify(chain []*x509.Certificate) error {
	if len(s.roots) == 0 {
		return errors.New("there are no trust anchors to judge it by")
	}
	if len(chain) == 0 {
		return errors.New("it sent no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: pool(s.roots), Intermediates: between, DNSName: s.host, CurrentTime: time.Now(),
	})
	return err
}

func pool(certs []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}

// Close ends the connection.
func (w *wire) Close() {
	w.closed = true
	_ = w.tls.Close() // the peer may be gone
}
