package conform

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The bounds on what is read of a server, in octets.
const (
	headMost = 32 << 10
	bodyMost = 1 << 20
)

// field is a header field, spelt as it is sent.
type field struct{ name, value string }

// request is what is sent: written as it stands, without anything that is not said.
type request struct {
	method, target string
	fields         []field
	body           []byte
	chunked        bool
	pause          time.Duration // between the header and the body
	patience       time.Duration // after it
	expect         bool          // Expect: 100-continue, and the body only after 100 or a second
	nameless       bool          // no Host
	anonymous      bool          // no User-Agent
	secret         bool          // it holds a password: only for a server that is verified
}

// reply is an answer as it came.
type reply struct {
	status  int
	line    string
	fields  []field
	head    int // octets of status line and fields
	length  int // Content-Length; -1: none
	chunked bool
	body    []byte
	interim []int // 1xx before it
	records []int // of TLS, that it came in
	closes  bool  // the connection ends after it

	bodiless bool // it answers HEAD
	early    bool // it came before the body was sent
}

// get gives a field's first value, its name in any case.
func (r *reply) get(name string) string {
	for _, f := range r.fields {
		if strings.EqualFold(f.name, name) {
			return f.value
		}
	}
	return ""
}

// spelled gives a field's name as the server writes it; "" when it is not there.
func (r *reply) spelled(name string) string {
	for _, f := range r.fields {
		if strings.EqualFold(f.name, name) {
			return f.name
		}
	}
	return ""
}

// values gives every value of a field.
func (r *reply) values(name string) (all []string) {
	for _, f := range r.fields {
		if strings.EqualFold(f.name, name) {
			all = append(all, f.value)
		}
	}
	return all
}

// String says what came, for a sentence.
func (r *reply) String() string {
	text := strconv.Itoa(r.status)
	if kind := r.get("Content-Type"); kind != "" {
		text += " " + brief(kind)
	}
	if r.refused() && len(r.body) > 0 {
		text += fmt.Sprintf(" %q", brief(string(r.body[:min(len(r.body), 160)])))
	}
	return text
}

func (r *reply) refused() bool { return r.status >= 400 && r.status < 600 }
func (r *reply) client() bool  { return r.status >= 400 && r.status < 500 }
func (r *reply) missing() bool { return r.status == 404 || r.status == 501 }
func (r *reply) granted() bool { return r.status >= 200 && r.status < 300 }

// head writes the request's header.
func (r *request) head(host string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", r.method, r.target)
	if !r.nameless {
		fmt.Fprintf(&b, "Host: %s\r\n", host)
	}
	if !r.anonymous {
		b.WriteString("User-Agent: conform-est\r\n")
	}
	for _, f := range r.fields {
		fmt.Fprintf(&b, "%s: %s\r\n", f.name, f.value)
	}
	switch {
	case r.chunked:
		b.WriteString("Transfer-Encoding: chunked\r\n")
	case r.method == "POST":
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(r.body))
	}
	if r.expect {
		b.WriteString("Expect: 100-continue\r\n")
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}

// framed gives the body as it goes over the wire.
func (r *request) framed() []byte {
	if !r.chunked {
		return r.body
	}
	var b strings.Builder
	for part := range slices.Chunk(r.body, 200) {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(part), part)
	}
	b.WriteString("0\r\n\r\n")
	return []byte(b.String())
}

// exchange sends a request and reads its answer.
func (w *wire) exchange(host string, r *request) (*reply, error) {
	if r.secret && w.doubt != nil {
		return nil, fmt.Errorf("%w: %w", errStranger, w.doubt)
	}
	w.tap.records = nil
	head, body := r.head(host), r.framed()
	var sending error
	switch {
	case r.expect:
		return w.expecting(r, head, body)
	case r.pause > 0:
		return w.slowly(r, head, body)
	default:
		_, sending = w.tls.Write(append(head, body...))
	}
	got, err := w.read(r.method)
	if err != nil {
		w.closed = true
		return nil, errors.Join(err, sending)
	}
	if sending != nil {
		w.closed = true
	}
	return got, nil
}

// slowly sends the body some time after the header, and notices an answer in between.
func (w *wire) slowly(r *request, head, body []byte) (*reply, error) {
	if _, err := w.tls.Write(head); err != nil {
		return nil, err
	}
	if err := w.tap.SetReadDeadline(time.Now().Add(r.pause)); err != nil {
		return nil, err
	}
	_, waiting := w.in.Peek(1)
	if err := w.tap.SetReadDeadline(time.Now().Add(r.patience)); err != nil {
		return nil, err
	}
	_, sending := w.tls.Write(body)
	got, err := w.read(r.method)
	if err != nil {
		return nil, errors.Join(err, sending)
	}
	got.early, w.closed = waiting == nil, w.closed || sending != nil
	return got, nil
}

// expecting waits for 100 before it sends the body (RFC 9110 §10.1.1).
func (w *wire) expecting(r *request, head, body []byte) (*reply, error) {
	if _, err := w.tls.Write(head); err != nil {
		return nil, err
	}
	first, err := w.one(r.method)
	if err != nil {
		w.closed = true
		return nil, err
	}
	if first.status != 100 {
		w.closed = true // whether the body is still wanted is not known
		return first, nil
	}
	if _, err := w.tls.Write(body); err != nil {
		return nil, err
	}
	got, err := w.read(r.method)
	if err == nil {
		got.interim = append([]int{100}, got.interim...)
	}
	return got, err
}

// read reads the final answer.
func (w *wire) read(method string) (*reply, error) {
	var interim []int
	for range 5 {
		r, err := w.one(method)
		if err != nil {
			return nil, err
		}
		if r.status >= 200 {
			r.interim, r.records = interim, w.tap.records
			w.closed = w.closed || r.closes
			return r, nil
		}
		interim = append(interim, r.status)
	}
	return nil, errors.New("more than five interim answers")
}

// one reads one answer, interim or final (RFC 9112 §4 to §7).
func (w *wire) one(method string) (*reply, error) {
	r := &reply{length: -1, bodiless: method == "HEAD"}
	text, err := w.text(r)
	if err != nil {
		return nil, fmt.Errorf("no answer came: %w", err)
	}
	r.line = text
	parts := strings.SplitN(text, " ", 3)
	if len(parts) < 2 || !strings.HasPrefix(parts[0], "HTTP/1.") {
		return nil, fmt.Errorf("%q is no HTTP status line", brief(text))
	}
	if r.status, err = strconv.Atoi(parts[1]); err != nil || len(parts[1]) != 3 {
		return nil, fmt.Errorf("%q is no HTTP status line", brief(text))
	}
	r.closes = parts[0] == "HTTP/1.0"
	for {
		if text, err = w.text(r); err != nil {
			return nil, fmt.Errorf("the answer's header ends early: %w", err)
		}
		if text == "" {
			break
		}
		name, value, ok := strings.Cut(text, ":")
		if !ok || name != strings.TrimSpace(name) {
			return nil, fmt.Errorf("%q is no header field", brief(text))
		}
		r.fields = append(r.fields, field{name, strings.TrimSpace(value)})
	}
	return r, w.body(r)
}

// text reads a line of the header.
func (w *wire) text(r *reply) (string, error) {
	var all []byte
	for {
		part, err := w.in.ReadSlice('\n')
		all = append(all, part...)
		if r.head+len(all) > headMost {
			return "", fmt.Errorf("the header is longer than %d octets", headMost)
		}
		if err == nil {
			r.head += len(all)
			return strings.TrimRight(string(all), "\r\n"), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return "", err
		}
	}
}

// body reads what follows the header (RFC 9112 §6.3).
func (w *wire) body(r *reply) (err error) {
	r.closes = r.closes || strings.EqualFold(r.get("Connection"), "close")
	if text := r.get("Content-Length"); text != "" {
		if r.length, err = strconv.Atoi(text); err != nil || r.length < 0 {
			return fmt.Errorf("Content-Length: %q is no length", brief(text))
		}
	}
	r.chunked = strings.Contains(strings.ToLower(r.get("Transfer-Encoding")), "chunked")
	switch {
	case r.status < 200 || r.status == 204 || r.status == 304 || r.bodiless:
		return nil
	case r.chunked:
		return w.chunks(r)
	case r.length > bodyMost:
		return fmt.Errorf("the body has %d octets; more than %d are not read", r.length, bodyMost)
	case r.length >= 0:
		r.body = make([]byte, r.length)
		_, err = io.ReadFull(w.in, r.body)
	default:
		r.closes = true
		r.body, err = io.ReadAll(io.LimitReader(w.in, bodyMost))
	}
	if err != nil {
		return fmt.Errorf("the body ends early: %w", err)
	}
	return nil
}

// chunks reads a chunked body (RFC 9112 §7.1).
func (w *wire) chunks(r *reply) error {
	for {
		text, err := w.text(&reply{})
		if err != nil {
			return fmt.Errorf("the chunked body ends early: %w", err)
		}
		size, err := strconv.ParseUint(strings.TrimSpace(strings.SplitN(text, ";", 2)[0]), 16, 31)
		if err != nil || len(r.body)+int(size) > bodyMost {
			return fmt.Errorf("%q is no size of a chunk, or too much", brief(text))
		}
		part := make([]byte, size)
		if _, err := io.ReadFull(w.in, part); err != nil {
			return fmt.Errorf("the chunked body ends early: %w", err)
		}
		r.body = append(r.body, part...)
		for { // the end of the chunk, or trailers and an empty line
			text, err := w.text(&reply{})
			if err != nil {
				return fmt.Errorf("the chunked body ends early: %w", err)
			}
			if text == "" {
				break
			}
		}
		if size == 0 {
			return nil
		}
	}
}
