package estserver

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"time"

	"chancery/est"
	"chancery/internal/ca"
)

// call is one request on its way through an operation.
type call struct {
	w          http.ResponseWriter
	r          *http.Request
	label      *Label
	op         est.Operation
	who        Identity    // the zero value where the operation asks for none
	body       []byte      // decoded; nil for GET
	request    *est.Parsed // the body read as PKCS #10 where the operation says so, its signature unread
	terminated bool        // it came by the terminator's socket: no channel binding passes that
	address    string      // of the client, without port
	now        time.Time
	log        *slog.Logger // knows label, operation and identity
	answered   bool         // the status line is out
}

// tls gives the client's connection; nil behind a terminator.
func (c *call) tls() *tls.ConnectionState {
	if c.terminated {
		return nil
	}
	return c.r.TLS
}

// answer is what an operation sends.
type answer struct {
	status     int    // 0: 200
	mediaType  string // exactly as sent
	body       []byte
	encode     bool // body is DER: it goes as base64, with its Content-Transfer-Encoding
	retryAfter time.Duration
}

// profile gives the profile of the call's label.
func (s *Server) profile(c *call) *ca.Profile { return s.Authority.Profiles[c.label.Profile] }
