package est

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// The texts of these errors may hold words of the server's: who shows them on a
// terminal makes them fit for it first.

// StatusError is an answer that is no success.
type StatusError struct {
	Operation  Operation
	Status     int           // as 403
	Text       string        // what the server says, made out of text, JSON or XML; ""
	RetryAfter time.Duration // 0: it says nothing
	Media      string        // the content type, lower case
	Body       []byte        // of application/pkcs7-mime, as it came: a CMC response; else nil
}

// Error gives the server's words.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("the server answered %s with %d %s", e.Operation, e.Status, http.StatusText(e.Status))
	if e.Missing() {
		text = fmt.Sprintf("the server does not offer %s (it answered %d)", e.Operation, e.Status)
	}
	if e.Text != "" {
		text += ": " + e.Text
	}
	return text
}

// Missing tells whether the server does not offer the operation (RFC 7030 §4.3.2).
func (e *StatusError) Missing() bool {
	return e.Status == http.StatusNotFound || e.Status == http.StatusNotImplemented
}

// LoginError says that the server wants HTTP authentication that it did not get.
type LoginError struct {
	Operation Operation
	Realm     string // as the server calls what the password is for
	Text      string // what the server says beside
	Reason    string // why no password, or no other, was sent
}

// Error says what to do.
func (e *LoginError) Error() string {
	text := "the server asks for a user and password"
	if e.Realm != "" {
		text += fmt.Sprintf(" (%q)", e.Realm)
	}
	text += ": " + e.Reason
	if e.Text != "" {
		text += "; it says: " + e.Text
	}
	return text
}

// PendingError says that the request waits for a decision (202, RFC 7030 §4.2.3).
type PendingError struct {
	Operation Operation
	After     time.Duration // wait at least so long before it is repeated
	Text      string        // what the server says; ""
	Linked    bool          // the request was bound to its connection

	media string
	body  []byte
}

// Error says how long to wait.
func (e *PendingError) Error() string {
	text := fmt.Sprintf("the request waits for a decision; the server wants to be asked again in %v", e.After)
	if e.Text != "" {
		text += ": " + e.Text
	}
	return text
}

// Wait waits as long as the server says, or until ctx is done.
func Wait(ctx context.Context, p *PendingError) error {
	timer := time.NewTimer(p.After)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// RedirectError says that a redirect was not followed.
type RedirectError struct {
	From, To string // URLs; To may be ""
	Reason   string
	Err      error // the refusal of [ClientConfig.Consent]; nil
}

// Error says what to do.
func (e *RedirectError) Error() string {
	text := "the server at " + e.From + " redirects"
	if e.To != "" {
		text += " to " + e.To
	}
	text += ": " + e.Reason
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives the refusal.
func (e *RedirectError) Unwrap() error { return e.Err }

// ConnectionError says that the server could not be reached, or stopped answering. The
// request may have arrived.
type ConnectionError struct {
	Host string
	Err  error
}

// Error names the host.
func (e *ConnectionError) Error() string { return e.Host + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *ConnectionError) Unwrap() error { return e.Err }

// AnswerError says that an answer is not what the operation gives.
type AnswerError struct {
	Operation Operation
	Reason    string
	Err       error // may be nil
}

// Error says what is wrong with it.
func (e *AnswerError) Error() string {
	text := fmt.Sprintf("the server's answer to %s: %s", e.Operation, e.Reason)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives the cause.
func (e *AnswerError) Unwrap() error { return e.Err }

// The least and longest wait that is read out of a Retry-After, and the one that is
// taken when there is none, or none that can be read.
const (
	retryLeast   = time.Second
	retryMost    = 30 * 24 * time.Hour
	retryDefault = time.Minute
)

// waitOf reads Retry-After. More than retryMost counts as that: a clock that is wrong
// must not end the asking for good.
func waitOf(h http.Header, now time.Time) time.Duration {
	after, ok := RetryAfter(h.Get("Retry-After"), now)
	if !ok {
		return retryDefault
	}
	return min(max(after, retryLeast), retryMost)
}

// wordsMax is the longest text of a server that is kept, in octets: a few lines of a
// terminal, and enough to say what is wrong.
const wordsMax = 500

// words makes a sentence of an error's body: plain text as it is, the strings of JSON,
// and the text of XML and HTML (RFC 8951 §5 has servers say text/plain; some do not).
func words(media string, body []byte) string {
	body = bytes.TrimSpace(body)
	var text string
	switch {
	case len(body) == 0:
	case strings.Contains(media, "json") || body[0] == '{' || body[0] == '[' && json.Valid(body):
		text = jsonWords(body)
	case strings.Contains(media, "xml") || strings.Contains(media, "html") || body[0] == '<':
		text = xmlWords(body)
	case strings.Contains(media, "pkcs7") || strings.Contains(media, "octet-stream"):
	default:
		text = string(body)
	}
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	if len(text) > wordsMax {
		text = strings.ToValidUTF8(text[:wordsMax], "") + "…"
	}
	return text
}

// jsonWords gives the strings of a JSON text in their order, each after its key.
func jsonWords(body []byte) string {
	var parts []string
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	type level struct {
		object, value bool // value: the next string of the object is one
		key           string
	}
	stack := []level{{}}
	for len(stack) <= 20 {
		token, err := decoder.Token()
		if err != nil {
			if len(parts) == 0 && !errors.Is(err, io.EOF) {
				return string(body)
			}
			break
		}
		top := &stack[len(stack)-1]
		switch t := token.(type) {
		case json.Delim:
			if t == '{' || t == '[' {
				top.value = false
				stack = append(stack, level{object: t == '{', key: top.key})
			} else if len(stack) > 1 {
				stack = stack[:len(stack)-1]
			}
			continue
		case string:
			if top.object && !top.value {
				top.key, top.value = t, true
				continue
			}
			if t != "" {
				parts = append(parts, strings.TrimPrefix(top.key+": "+t, ": "))
			}
		case json.Number:
			parts = append(parts, strings.TrimPrefix(top.key+": "+t.String(), ": "))
		}
		top.value = false
	}
	return strings.Join(parts, "; ")
}

// xmlWords gives the character data of XML or HTML.
func xmlWords(body []byte) string {
	var parts []string
	decoder := xml.NewDecoder(bytes.NewReader(body))
	decoder.Strict, decoder.AutoClose, decoder.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	decoder.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	skip := 0
	for {
		token, err := decoder.Token()
		if err != nil {
			break
		}
		switch t := token.(type) {
		case xml.StartElement:
			if hidden(t.Name.Local) {
				skip++
			}
		case xml.EndElement:
			if hidden(t.Name.Local) && skip > 0 {
				skip--
			}
		case xml.CharData:
			if text := strings.TrimSpace(string(t)); text != "" && skip == 0 {
				parts = append(parts, text)
			}
		}
	}
	return strings.Join(parts, "; ")
}

func hidden(name string) bool {
	return strings.EqualFold(name, "style") || strings.EqualFold(name, "script")
}

// origin is the web origin of a URL (RFC 6454 §4): scheme, host and port.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" && u.Scheme == "https" {
		port = "443"
	}
	return strings.ToLower(u.Scheme) + "://" + strings.ToLower(u.Hostname()) + ":" + port
}
