package challenge_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"

	"chancery/internal/challenge"
)

// RFC 8737 §3 and §4: one protocol is offered, one name, and after the handshake
// the validator sends nothing and hangs up.
func TestTLSALPN01Silence(t *testing.T) {
	r := newRig(t)
	l, err := net.Listen("tcp", netip.AddrPortFrom(front, 0).String())
	must(t, err)
	t.Cleanup(func() { l.Close() })
	cert := certificate(t, false, sans(entry(2, "x.example")), proof(keyAuth))
	type seen struct {
		hello tls.ClientHelloInfo
		data  []byte
		err   error
	}
	done := make(chan seen, 1)
	go func() {
		var s seen
		defer func() { done <- s }()
		c, err := l.Accept()
		if err != nil {
			s.err = err
			return
		}
		defer c.Close()
		server := tls.Server(c, &tls.Config{NextProtos: []string{"acme-tls/1"}, GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			s.hello = *h
			return &cert, nil
		}})
		if s.err = server.Handshake(); s.err == nil {
			s.data, _ = io.ReadAll(server) // ends, since the validator hangs up
		}
	}()
	r.conf.TLSPort = l.Addr().(*net.TCPAddr).AddrPort().Port()
	got, err := r.validate(challenge.TLSALPN01, "x.example")
	wantResult(t, got, err, front)
	s := <-done
	if s.err != nil || len(s.data) != 0 {
		t.Errorf("after the handshake %q was sent, %v", s.data, s.err)
	}
	if s.hello.ServerName != "x.example" || !slices.Equal(s.hello.SupportedProtos, []string{"acme-tls/1"}) {
		t.Errorf("offered for %q: %q", s.hello.ServerName, s.hello.SupportedProtos)
	}
}
