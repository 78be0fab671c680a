package solve

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"chancery/acme"

	"golang.org/x/net/netutil"
)

// handshakeTime is what one connection may take.
const handshakeTime = 10 * time.Second

// TLSALPN meets tls-alpn-01 (RFC 8737) by a listener of its own, which is open only while
// an answer stands and shared by all that name the same address. One name can show one
// answer at a time: a second order for it gets a *BusyError.
type TLSALPN struct {
	// Address is host:port; "" means ":443", on IPv4 and IPv6. Another port than 443 is
	// for use behind a proxy that passes the connections of acme-tls/1 through.
	Address string
}

// Types gives tls-alpn-01 for names, except wildcards, and addresses (RFC 8738 §4).
func (s *TLSALPN) Types(identifier acme.Identifier) []acme.ChallengeType {
	if !served(identifier) {
		return nil
	}
	return []acme.ChallengeType{acme.ChallengeTLSALPN01}
}

func (s *TLSALPN) address() string {
	if s.Address == "" {
		return ":443"
	}
	return s.Address
}

// Present serves the certificate with the answer. The error is a *ValueError,
// a *PortError or a *BusyError.
func (s *TLSALPN) Present(ctx context.Context, identifier acme.Identifier, challenge acme.Challenge, keyAuth string) error {
	if err := Check(identifier, challenge, keyAuth); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	name, err := acme.TLSALPNServerName(identifier)
	if err != nil {
		return err
	}
	cert, err := acme.TLSALPNCertificate(identifier, keyAuth)
	if err != nil {
		return err
	}
	p, err := acquire("tls-alpn-01", s.address(), newShowcase)
	if err != nil {
		return err
	}
	if !p.server.(*showcase).add(name, proof{keyAuth, cert}) {
		p.release()
		return &BusyError{identifier.Value}
	}
	return nil
}

// CleanUp ends serving the certificate, if it is served.
func (s *TLSALPN) CleanUp(_ context.Context, identifier acme.Identifier, _ acme.Challenge, keyAuth string) error {
	name, err := acme.TLSALPNServerName(identifier)
	if err != nil {
		return err
	}
	ports.Lock()
	p := ports.open["tls-alpn-01 "+s.address()]
	ports.Unlock()
	if p != nil && p.server.(*showcase).remove(name, keyAuth) {
		p.release()
	}
	return nil
}

type proof struct {
	keyAuth string
	cert    tls.Certificate
}

// showcase is the TLS server with the certificates.
type showcase struct {
	done   sync.WaitGroup
	mu     sync.Mutex
	proofs map[string]proof      // by SNI; guarded by mu
	open   map[net.Conn]struct{} // guarded by mu
	closed bool                  // guarded by mu
}

func newShowcase() server {
	return &showcase{proofs: map[string]proof{}, open: map[net.Conn]struct{}{}}
}

func (s *showcase) add(name string, p proof) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.proofs[name]; taken {
		return false
	}
	s.proofs[name] = p
	return true
}

// remove reports whether there was one to remove.
func (s *showcase) remove(name, keyAuth string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proofs[name].keyAuth != keyAuth {
		return false
	}
	delete(s.proofs, name)
	return true
}

var errNotACME = errors.New("only acme-tls/1 is served here")

// config picks the certificate. RFC 8737 §3: the client offers acme-tls/1 alone and the
// name as SNI; §4: TLS 1.2 or higher.
func (s *showcase) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{acme.TLSALPNProtocol}, SessionTicketsDisabled: true,
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if len(h.SupportedProtos) != 1 || h.SupportedProtos[0] != acme.TLSALPNProtocol {
				return nil, errNotACME
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			p, ok := s.proofs[strings.ToLower(h.ServerName)]
			if !ok {
				return nil, errNotACME
			}
			return &p.cert, nil
		}}
}

func (s *showcase) serve(l net.Listener) {
	config := s.config()
	limited := netutil.LimitListener(l, maxConnections)
	for {
		conn, err := limited.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // too many open files, or the peer has gone
			continue
		}
		if !s.enter(conn) {
			conn.Close()
			return
		}
		go s.greet(conn, config)
	}
}

func (s *showcase) enter(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.open[conn] = struct{}{}
	s.done.Add(1)
	return true
}

// greet shakes hands and hangs up: no data is exchanged (RFC 8737 §3).
func (s *showcase) greet(conn net.Conn, config *tls.Config) {
	defer s.done.Done()
	_ = conn.SetDeadline(time.Now().Add(handshakeTime))
	server := tls.Server(conn, config)
	_ = server.Handshake()
	_ = server.Close()
	s.mu.Lock()
	delete(s.open, conn)
	s.mu.Unlock()
}

func (s *showcase) close() {
	s.mu.Lock()
	s.closed = true
	for c := range s.open {
		c.Close()
	}
	s.mu.Unlock()
	s.done.Wait()
}
