package estserver

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"chancery/est"
)

// certsOnly is the Content-Type of an answer with certificates, as the strictest
// clients compare it: octet by octet (RFC 7030 §4.2.3).
const certsOnly = "application/pkcs7-mime; smime-type=certs-only"

// plainText is that of words.
const plainText = "text/plain; charset=utf-8"

// send writes an answer. Some clients read the header fields in one read and the body
// in the next, so the former are flushed and the latter goes out in one piece with an
// explicit length, never chunked. An error means that not all of it could be written.
func (c *call) send(a answer) error {
	h := c.w.Header()
	if a.encode {
		a.body = est.Encode(a.body, c.wrap())
		// RFC 8951 §3 has everybody ignore it, but clients in the field need it.
		h.Set("Content-Transfer-Encoding", "base64")
	}
	if a.retryAfter > 0 {
		// Seconds: not every client reads a date (RFC 9110 §10.2.3 allows both).
		h.Set("Retry-After", strconv.FormatInt(int64((a.retryAfter+time.Second-1)/time.Second), 10))
	}
	if a.mediaType != "" {
		h.Set("Content-Type", a.mediaType)
	}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if a.status != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	c.answered = true
	c.w.WriteHeader(a.status)
	if c.r.Method == http.MethodHead || len(a.body) == 0 {
		return nil
	}
	if err := http.NewResponseController(c.w).Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("writing the answer's header fields: %w", err)
	}
	if n, err := c.w.Write(a.body); err != nil {
		return fmt.Errorf("writing the answer, of which %d of %d octets went out: %w", n, len(a.body), err)
	}
	return nil
}

// wrap says how the client wants base64. strongSwan before 5.9.11 takes no line breaks
// and sends no User-Agent; libest takes nothing else and sends one.
func (c *call) wrap() est.Wrap {
	switch {
	case c.label != nil && c.label.Wrap == WrapLines:
		return est.Wrapped
	case c.label != nil && c.label.Wrap == WrapBare, c.r.UserAgent() == "":
		return est.Bare
	}
	return est.Wrapped
}

// Reason is the header field in which a 401 says why: plain ASCII of [maxReasonField]
// characters at most. Its body has to be empty.
const Reason = "Est-Reason"

// maxReasonField keeps the whole header of a 401 below 1 KB, with two challenges.
const maxReasonField = 160

// fieldText gives a text as a field of the header can have it: printable ASCII, and short.
func fieldText(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, text)
	if len(text) > maxReasonField {
		text = text[:maxReasonField-3] + "..."
	}
	return text
}

// logged gives a refusal's fields in the log. The cause is there if it says more.
func (r *refusal) logged() []any {
	fields := []any{"status", r.Status, "reason", r.Text}
	if r.Err != nil && !strings.HasSuffix(r.Err.Error(), r.Text) {
		fields = append(fields, "error", r.Err)
	}
	return fields
}

// refuse sends an error: plain text that a person understands (RFC 8951 §5), and with
// 401 the challenges, the words in a field of the header and nothing else, as some clients
// close a 401 unread and fail if there is a body.
func (s *Server) refuse(c *call, err error) {
	r := s.refusalOf(c.r.Context(), err)
	level := c.log.Info
	if r.Usual {
		level = c.log.Debug
	} else if r.Status >= http.StatusInternalServerError && r.Status != http.StatusNotImplemented {
		level = c.log.Warn // ours to mend; what is not offered is the client's mistake
	}
	level("an EST request was refused", r.logged()...)
	if c.answered {
		return
	}
	a := answer{status: r.Status, retryAfter: r.RetryAfter}
	if r.Challenge {
		s.challenge(c.w.Header(), r.Stale)
		c.w.Header().Set(Reason, fieldText(r.Text))
	} else {
		a.mediaType, a.body = plainText, []byte(r.Text+"\n")
	}
	if err := c.send(a); err != nil {
		c.log.Debug("the refusal could not be sent", "error", err)
	}
}
