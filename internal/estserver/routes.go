package estserver

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"

	"chancery/est"
)

// How an operation asks who the client is.
type asking int

const (
	nobody   asking = iota // not at all, and a wrong certificate or password does not hurt
	whoever                // what is verified is told, and nothing need be
	somebody               // one of the label's ways must be met
)

// operation is one of EST's: what a request for it must be, and who answers it.
type operation struct {
	method string   // GET (HEAD is answered alike) or POST
	media  []string // types that a POST may have; any parameters
	most   int      // octets of the decoded body
	asks   asking
	// attributes tells that the body is a PKCS #10 request whose attributes may
	// authenticate (RFC 7894 §3.1); it is read before who asks is judged.
	attributes bool
	do         func(*Server, *call) error
}

// maxRequest bounds a request in octets, as the core does (RFC 7030 §6).
const maxRequest = 32 << 10

// operations are all that the room can do; a label says which it offers. An operation
// of another file is entered here.
var operations = map[est.Operation]operation{
	est.CACerts:        {method: http.MethodGet, asks: nobody, do: (*Server).caCerts},
	est.SimpleEnroll:   {method: http.MethodPost, media: []string{est.PKCS10}, most: maxRequest, asks: somebody, attributes: true, do: (*Server).simpleEnroll},
	est.SimpleReenroll: {method: http.MethodPost, media: []string{est.PKCS10}, most: maxRequest, asks: somebody, attributes: true, do: (*Server).simpleReenroll},
	est.FullCMC:        {method: http.MethodPost, media: []string{est.PKCS7Mime}, most: maxFull, asks: whoever, do: (*Server).fullCMC},
	est.CSRAttributes:  {method: http.MethodGet, asks: whoever, do: (*Server).csrAttrs},
	est.ServerKeyGen:   {method: http.MethodPost, media: []string{est.PKCS10}, most: maxRequest, asks: somebody, attributes: true, do: (*Server).serverKeyGen},
}

// Handler gives the whole server, to be mounted at [est.WellKnown] and a slash on
// HTTPS listeners that request client certificates and verify none.
func (s *Server) Handler() http.Handler { return s.handler(false) }

// Terminated gives the server for the socket of a TLS terminator (RFC 7030 §3.3.3):
// the user is the one that the header field [SRPUser] names, and nothing binds a
// request to the client's connection. Nobody else may reach that socket.
func (s *Server) Terminated() http.Handler { return s.handler(true) }

func (s *Server) handler(terminated bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{w: w, r: r, terminated: terminated, address: addressOf(r, terminated), now: s.Clock(), log: s.Logger}
		defer s.recovered(c)
		if err := s.serve(c); err != nil {
			// Clients such as Bouncy Castle write their body before they read, and take a
			// connection that closes meanwhile for a failure of the network.
			drain(r.Body)
			s.refuse(c, err)
		}
	})
}

// serve answers one request. What it returns is refused, if nothing was sent yet.
func (s *Server) serve(c *call) error {
	if c.r.TLS == nil && !c.terminated {
		return refuse(http.StatusForbidden, "EST is served over TLS only (RFC 7030 section 3.3): use https")
	}
	op, err := s.route(c)
	if err != nil {
		return err
	}
	// What is wrong with a body is said after who asks is known: curl, told to use
	// Digest, sends an empty one to be asked for a password.
	var unreadable error
	if op.method == http.MethodPost {
		c.body, unreadable = readBody(c, op)
	}
	if errors.Is(unreadable, errBroken) {
		return unreadable
	}
	if op.attributes && unreadable == nil {
		c.request, unreadable = est.ParseRequest(c.body)
	}
	if op.asks != nobody {
		if err := s.authenticate(c, op); err != nil {
			return err
		}
	}
	if unreadable != nil {
		return unreadable
	}
	return op.do(s, c)
}

// route finds the label and the operation (RFC 7030 §3.2.2), in an order that tells
// most about what is wrong.
func (s *Server) route(c *call) (operation, error) {
	name, op, err := est.ParsePath(c.r.URL.EscapedPath())
	if err != nil {
		return operation{}, &refusal{Status: http.StatusNotFound, Err: err,
			Text: fmt.Sprintf("there is nothing here: %v", err)}
	}
	label, ok := s.labels[name]
	if !ok {
		return operation{}, refuse(http.StatusNotFound, "there is no label %q here; ask the administrators for the right URL", name)
	}
	c.label, c.op = label, op
	c.log = c.log.With(slog.String("label", label.Name), slog.String("operation", string(op)), slog.String("address", c.address))
	known, ok := operations[op]
	if !ok || !label.offers(op) {
		r := refuse(http.StatusNotImplemented, "the operation %s is not offered under this URL", op) // RFC 7030 §4.3.2: 404 or 501
		if op == est.CSRAttributes {
			// §4.5.2: 204 or 404 where there are none; clients ask before each request.
			r.Status, r.Usual = http.StatusNotFound, true
		}
		return operation{}, r
	}
	if c.r.Method != known.method && (c.r.Method != http.MethodHead || known.method != http.MethodGet) {
		allow := known.method
		if allow == http.MethodGet {
			allow += ", " + http.MethodHead
		}
		c.w.Header().Set("Allow", allow)
		return operation{}, refuse(http.StatusMethodNotAllowed, "%s takes the method %s only", op, known.method)
	}
	return known, nil
}

// maxDrained bounds what is read of a body that nobody wants.
const maxDrained = 1 << 20

// drain reads the rest of a body, or much of it, so that the client hears the answer.
func drain(body io.Reader) {
	// A broken connection is found out when the answer is written.
	_, _ = io.Copy(io.Discard, io.LimitReader(body, maxDrained))
}

// readBody reads a POST: base64 whatever the request says of its encoding (RFC 8951
// §3), with line breaks or without.
func readBody(c *call, op operation) ([]byte, error) {
	if err := checkMedia(c.r, op); err != nil {
		return nil, err
	}
	// Base64 with CR LF in lines of 64 takes 1.38 times the octets; PEM armour is short.
	most := int64(op.most)*3/2 + 1024
	body, err := io.ReadAll(io.LimitReader(c.r.Body, most+1))
	if err != nil {
		return nil, unread(err)
	}
	if int64(len(body)) > most {
		return nil, refuse(http.StatusRequestEntityTooLarge, "the body is too long: %d octets of base64 are the limit", most)
	}
	der, err := est.Decode(body, op.most)
	if err != nil {
		return nil, err
	}
	if len(der) == 0 {
		return nil, refuse(http.StatusBadRequest, "the body is empty; %s takes %s in base64", c.op, strings.Join(op.media, " or "))
	}
	return der, nil
}

// errBroken is the cause of every refusal of a body that did not come whole: nothing more
// can be heard from that connection.
var errBroken = errors.New("the body did not come whole")

// unread says why a body could not be read to its end.
func unread(err error) *refusal {
	r := &refusal{Status: http.StatusBadRequest, Text: "the body could not be read", Err: fmt.Errorf("%w: %w", errBroken, err)}
	var slow net.Error
	switch {
	case errors.As(err, &slow) && slow.Timeout():
		// RFC 9110 §15.5.9: as when Content-Length says more than there is.
		r.Status, r.Text = http.StatusRequestTimeout, "the body did not come in time: its Content-Length says more octets than were sent, or the connection is too slow"
	case errors.Is(err, io.ErrUnexpectedEOF):
		r.Text = "the body is shorter than its Content-Length says"
	}
	return r
}

func checkMedia(r *http.Request, op operation) error {
	media, err := est.ParseMedia(r.Header.Get("Content-Type"))
	if err == nil {
		for _, known := range op.media {
			if media.Type == known {
				return nil
			}
		}
	}
	return &refusal{Status: http.StatusUnsupportedMediaType, Err: err,
		Text: fmt.Sprintf("the Content-Type %.80q is not taken here; send %s", r.Header.Get("Content-Type"), strings.Join(op.media, " or "))}
}

// addressOf gives the client's address without its port: the peer's, or the one that a
// terminator has added to what it passes on.
func addressOf(r *http.Request, terminated bool) string {
	if lines := r.Header.Values("X-Forwarded-For"); terminated && len(lines) > 0 {
		list := strings.Split(lines[len(lines)-1], ",")
		if addr, err := netip.ParseAddr(strings.TrimSpace(list[len(list)-1])); err == nil {
			return addr.String()
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// recovered turns a panic into an answer: one request's mistake must not take the
// others with it.
func (s *Server) recovered(c *call) {
	switch p := recover(); p {
	case nil:
	case http.ErrAbortHandler:
		panic(p)
	default:
		s.refuse(c, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
	}
}
