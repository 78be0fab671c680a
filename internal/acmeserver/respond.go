package acmeserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"chancery/acme"
)

// prepare sets what every answer to the request has, also one that refuses it.
func (s *Server) prepare(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	// RFC 8555 §6.1: a server may want to be used by scripts of web pages, and then
	// has to let them see the header fields. Requests carry no ambient authority.
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Replay-Nonce, Location, Link, Retry-After")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Method == http.MethodPost || r.URL.Path == noncePath {
		// RFC 8555 §6.5: every successful POST MUST have one, errors SHOULD; §7.2: what
		// newNonce answers MUST NOT be cached.
		h.Set("Replay-Nonce", s.Nonces.Mint())
		h.Set("Cache-Control", "no-store")
	}
	if e := s.entranceOf(r.URL.Path); r.URL.Path != wellKnownPath && s.Base+r.URL.Path != e.url {
		// RFC 8555 §7.1: "index" on everything but the directory.
		s.addLink(w, link{e.url, "index"})
	}
}

func (s *Server) addLink(w http.ResponseWriter, l link) {
	w.Header().Add("Link", fmt.Sprintf("<%s>;rel=%q", l.url, l.rel))
}

// respond sends what a handler gave.
func (s *Server) respond(w http.ResponseWriter, r *http.Request, a *answer) {
	body, mediaType := a.raw, a.mediaType
	if a.body != nil {
		var err error
		if body, err = encode(a.body); err != nil {
			s.refuse(w, r, fmt.Errorf("encoding an answer of type %T: %w", a.body, err))
			return
		}
		mediaType = "application/json"
	}
	if a.location != "" {
		w.Header().Set("Location", a.location)
	}
	if a.maxAge > 0 {
		w.Header().Set("Cache-Control", fmt.Sprintf("max-age=%d", a.maxAge/time.Second))
	}
	for _, l := range a.links {
		s.addLink(w, l)
	}
	s.send(w, sending{status: a.status, mediaType: mediaType, body: body, retryAfter: a.retryAfter})
}

// refuse sends an error as a problem document (RFC 8555 §6.7).
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := s.problemOf(r.Context(), err)
	var more *refusal
	if errors.As(err, &more) {
		if more.location != "" {
			w.Header().Set("Location", more.location)
		}
		for _, l := range more.links {
			s.addLink(w, l)
		}
	}
	body, err := encode(p)
	if err != nil { // a struct of strings always encodes
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Language", "en")
	s.send(w, sending{status: p.Status, mediaType: acme.ProblemMediaType, body: body, retryAfter: p.RetryAfter})
}

// sending is an answer as HTTP has it.
type sending struct {
	status     int // 0: 200
	mediaType  string
	body       []byte
	retryAfter time.Duration
}

func (s *Server) send(w http.ResponseWriter, a sending) {
	if a.retryAfter > 0 {
		seconds := (a.retryAfter + time.Second - 1) / time.Second
		w.Header().Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	}
	if len(a.body) > 0 {
		w.Header().Set("Content-Type", a.mediaType)
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	w.WriteHeader(a.status)
	// An error here is the client's broken connection, and nobody is left to tell.
	_, _ = w.Write(a.body)
}

// encode gives JSON whose text is as it was, also where it has "&" or "<".
func encode(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(value)
	return b.Bytes(), err
}
