package resolver

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"time"

	"github.com/miekg/dns"
)

// messageType is the media type of a DNS message (RFC 8484 §6).
const messageType = "application/dns-message"

// idleTime is how long a connection over TLS or HTTPS stays open for the next
// question: those of one climb come within it (RFC 7858 §3.4).
const idleTime = 10 * time.Second

// secure prepares the TLS of a server that is reached over it. The certificate is
// always checked: encryption to whoever answers (RFC 7858 §4.1) would make the AD
// bit anybody's.
func (s *server) secure(roots *x509.CertPool) {
	if s.via == plain {
		return
	}
	s.tls = &tls.Config{RootCAs: roots, ServerName: s.host, MinVersion: tls.VersionTLS12}
	if s.via == overTLS {
		s.spare = &spare{}
		s.tls.NextProtos = []string{"dot"} // the ALPN registry's word for RFC 7858
		return
	}
	s.web = &http.Client{
		Transport: &http.Transport{
			// Never a proxy: it could not read the question, but its operator would learn who
			// is asked, and a configured server is to be asked itself.
			Proxy:                  nil,
			DialContext:            func(ctx context.Context, _, address string) (net.Conn, error) { return s.connect(ctx, address) },
			TLSClientConfig:        s.tls,
			ForceAttemptHTTP2:      true, // RFC 8484 §5.2
			MaxIdleConnsPerHost:    2,
			IdleConnTimeout:        idleTime,
			MaxResponseHeaderBytes: 16 << 10,
		},
		// Whom it sends us to was never named as a resolver.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// connect opens the TCP connection below HTTPS: to the address of the
// configuration, else to where the system finds the host.
func (s *server) connect(ctx context.Context, address string) (net.Conn, error) {
	if s.address.IsValid() {
		address = s.address.String()
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

// dial opens a new connection.
func (s *server) dial(ctx context.Context, network string) (net.Conn, error) {
	if network == "tls" {
		d := tls.Dialer{Config: s.tls}
		return d.DialContext(ctx, "tcp", s.address.String())
	}
	var d net.Dialer
	return d.DialContext(ctx, network, s.address.String())
}

// post asks by HTTPS (RFC 8484 §4.1). The message has the id 0, which makes it the
// same for all who ask the same; HTTP keeps questions and answers together.
func (s *server) post(ctx context.Context, q *dns.Msg) (*dns.Msg, *Error) {
	q.Id = 0
	body, err := q.Pack()
	if err != nil {
		return nil, &Error{Kind: Malformed, Reason: err.Error()}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return nil, netError(err)
	}
	request.Header.Set("Content-Type", messageType)
	request.Header.Set("Accept", messageType)
	request.Header.Set("User-Agent", "") // says nothing of who asks (RFC 8484 §8.2)
	response, err := s.web.Do(request)
	if err != nil {
		return nil, netError(err)
	}
	defer response.Body.Close()
	return readWeb(response, q)
}

// readWeb takes the DNS message from an HTTP response.
func readWeb(response *http.Response, q *dns.Msg) (*dns.Msg, *Error) {
	// RFC 8484 §4.2.1: any answer of the DNS, NXDOMAIN and SERVFAIL too, comes with 200.
	if response.StatusCode != http.StatusOK {
		return nil, &Error{Kind: Unreachable, Reason: fmt.Sprintf("it answers with the HTTP status %d %s", response.StatusCode, http.StatusText(response.StatusCode))}
	}
	if kind, _, err := mime.ParseMediaType(response.Header.Get("Content-Type")); err != nil || kind != messageType {
		return nil, &Error{Kind: Malformed, Reason: "what came over HTTPS is no " + messageType}
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, dns.MaxMsgSize+1))
	if err != nil {
		return nil, netError(err)
	}
	return readMessage(body, q)
}

// readMessage takes the answer to a question from the bytes of one message.
func readMessage(body []byte, q *dns.Msg) (*dns.Msg, *Error) {
	m := new(dns.Msg)
	if len(body) > dns.MaxMsgSize {
		return nil, &Error{Kind: Malformed, Reason: "it is longer than a DNS message can be"}
	}
	if err := m.Unpack(body); err != nil {
		return nil, &Error{Kind: Malformed, Reason: "it is not a DNS message"}
	}
	if complaint := mismatch(q, m); complaint != "" {
		return nil, &Error{Kind: Malformed, Reason: complaint}
	}
	return m, nil
}

// certificateProblem gives words for a server that could not show who it is, "" if
// that is not what is wrong.
func certificateProblem(err error) string {
	var bad *tls.CertificateVerificationError
	if !errors.As(err, &bad) {
		return ""
	}
	return "it cannot show that it is the server that is meant: " + bad.Err.Error()
}
