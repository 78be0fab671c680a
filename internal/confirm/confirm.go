// Package confirm is the room with the one page on which a customer says whether
// an ACME account is his: the link in his mail leads there. Looking changes
// nothing; to decide, the customer signs in with his passphrase in the same
// request.
//
// The room knows the page and its dangers: strangers' links, other sites' forms,
// phishing. It must not know ACME, SQL, or how the link came to the customer;
// who may decide what is the registry's to say.
package confirm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"chancery/internal/ca"
	"chancery/internal/limit"
	"chancery/internal/registry"
)

// Path is where the page is; the id of a question and its token follow, with a
// slash between them. Path alone says what this is about.
const Path = registry.BindingPath

// Question is what a customer is asked: whether the account is his.
type Question struct {
	registry.Binding
	Customer string // his name
	CanSign  bool   // he has a passphrase
}

// Questions finds what is asked, and takes the answer.
type Questions interface {
	// Question finds by id and token; kind NotFound, in the same words and time
	// whatever of them is wrong.
	Question(ctx context.Context, id, token string) (Question, error)
	// Answer signs the customer in with his passphrase and decides in his name. Kind
	// Denied for a wrong passphrase, Limited after too many, Conflict when the
	// question was decided or has timed out, or what is to be ended was ended.
	Answer(ctx context.Context, q Question, a Answer) (registry.Binding, error)
}

// Answer is what the customer said.
type Answer struct {
	Passphrase string
	Confirm    bool // or refuse
	End        bool // what was confirmed; then Confirm says nothing
}

// String leaves the passphrase out.
func (a Answer) String() string { return fmt.Sprintf("confirm=%t end=%t", a.Confirm, a.End) }

// GoString is String, for %#v.
func (a Answer) GoString() string { return a.String() }

// LogValue is String for a log.
func (a Answer) LogValue() slog.Value { return slog.StringValue(a.String()) }

// Config is what the page works with; all of it is needed but Tries.
type Config struct {
	Base      string // the server's URL, without a slash at the end
	Questions Questions
	Clock     func() time.Time
	Logger    *slog.Logger
	// Tries says whether there may be one more answer, by the client's address and by
	// the question; nil: always.
	Tries func(key string, now time.Time) (retryAfter time.Duration, ok bool)
}

// Page serves the page. It is safe for concurrent use.
type Page struct{ Config }

// New gives the page.
func New(c Config) (*Page, error) {
	if c.Base == "" || c.Questions == nil || c.Clock == nil || c.Logger == nil {
		return nil, errors.New("the confirmation page's configuration lacks its base, questions, clock or logger")
	}
	return &Page{c}, nil
}

const (
	maxBody       = 4 << 10
	maxPassphrase = 1 << 10
	maxPart       = 128 // of the path: an id or a token
)

// ServeHTTP answers GET and HEAD with the question, and POST by deciding it.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protect(w.Header())
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		p.show(w, r)
	case http.MethodPost:
		p.decide(w, r)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		p.send(w, view{status: http.StatusMethodNotAllowed, Say: "This page is looked at with a browser."})
	}
}

// protect: the address of the page is a secret, and what it shows is nobody
// else's: no cache keeps it, no site frames it, nothing runs on it, and no link
// gives it away.
func protect(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", policy)
}

// parts gives id and token of a path; false if it is none that a letter has.
func parts(path string) (id, token string, ok bool) {
	rest, ok := strings.CutPrefix(path, Path)
	id, token, two := strings.Cut(rest, "/")
	return id, token, ok && two && word(id) && word(token)
}

// word tells whether text can be an id or a token: base64url at most.
func word(text string) bool {
	return text != "" && len(text) <= maxPart &&
		strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

// find gives the question that a request is about; if there is none, it has
// answered.
func (p *Page) find(w http.ResponseWriter, r *http.Request) (Question, bool) {
	id, token, ok := parts(r.URL.Path)
	if !ok {
		p.nothing(w)
		return Question{}, false
	}
	q, err := p.Questions.Question(r.Context(), id, token)
	if err != nil {
		p.fail(w, r, err)
		return Question{}, false
	}
	return q, true
}

func (p *Page) nothing(w http.ResponseWriter) {
	p.send(w, view{status: http.StatusNotFound, Say: "This address leads to no question. It may be old, or a part of it was lost on the way: copy the whole line from the mail."})
}

// show never changes anything: programs that check mail follow its links.
func (p *Page) show(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == Path {
		p.send(w, view{About: true})
		return
	}
	if q, ok := p.find(w, r); ok {
		p.send(w, p.view(q))
	}
}

func (p *Page) decide(w http.ResponseWriter, r *http.Request) {
	if !p.ownForm(r) {
		p.send(w, view{status: http.StatusForbidden, Say: "This was not sent by this page. Open the link of the mail again and decide there; if another page sent you here, somebody may want to deceive you."})
		return
	}
	form, err := readForm(w, r)
	if err != nil {
		p.send(w, view{status: http.StatusBadRequest, Say: "What your browser sent cannot be read. Open the link of the mail again."})
		return
	}
	q, ok := p.find(w, r)
	if !ok {
		return
	}
	v := p.view(q)
	v.status = http.StatusForbidden
	switch {
	case !v.Open && !v.Bound, form.act != "" && v.Bound != (form.act == "end"):
		v.status = http.StatusConflict
	case form.act == "":
		v.status, v.Wrong = http.StatusBadRequest, "Press one of the buttons."
	case form.passphrase == "":
		v.Wrong = "Give your passphrase: only with it your answer counts."
	default:
		p.answer(w, r, answering{q, Answer{Passphrase: form.passphrase, Confirm: form.act == "confirm", End: form.act == "end"}})
		return
	}
	p.send(w, v)
}

type answering struct {
	question Question
	answer   Answer
}

// answer has the customer's word taken.
func (p *Page) answer(w http.ResponseWriter, r *http.Request, a answering) {
	q := a.question
	if after, ok := p.mayTry(r, q.ID); !ok {
		p.limited(w, after)
		return
	}
	b, err := p.Questions.Answer(r.Context(), q, a.answer)
	switch ca.KindOf(err) {
	case ca.Denied:
		// As often as Tries and the registry let anybody guess, and no more.
		p.Logger.WarnContext(r.Context(), "a wrong passphrase was given on the confirmation page", "customer", q.Binding.Customer, "binding", q.ID, "remote", r.RemoteAddr)
		v := p.view(q)
		v.status, v.Wrong = http.StatusForbidden, "That is not the passphrase. Nothing was decided."
		p.send(w, v)
		return
	case ca.Conflict: // somebody decided meanwhile, or the time is up
		if id, token, ok := parts(r.URL.Path); ok {
			if now, err := p.Questions.Question(r.Context(), id, token); err == nil {
				v := p.view(now)
				v.status = http.StatusConflict
				p.send(w, v)
				return
			}
		}
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.Logger.InfoContext(r.Context(), "a customer decided about an account", "binding", b.ID, "account", b.Account, "state", b.State)
	q.Binding = b
	v := p.view(q)
	v.Just = true
	p.send(w, v)
}

// mayTry bounds the guessing of passphrases, from one place and for one question.
func (p *Page) mayTry(r *http.Request, question string) (time.Duration, bool) {
	if p.Tries == nil {
		return 0, true
	}
	for _, key := range []string{"address " + limit.AddressKey(r.RemoteAddr), "question " + question} {
		if after, ok := p.Tries(key, p.Clock()); !ok {
			return after, false
		}
	}
	return 0, true
}

func (p *Page) limited(w http.ResponseWriter, after time.Duration) {
	w.Header().Set("Retry-After", strconv.FormatInt(int64(after/time.Second)+1, 10))
	p.send(w, view{status: http.StatusTooManyRequests, Say: "Too many answers were given. Come back in " + after.Round(time.Second).String() + "; nothing was decided."})
}

// ownForm tells whether this page's own form was sent. Browsers say where a
// request comes from (Fetch Metadata); of older ones the Origin is enough. As the
// page has no referrer, an honest Origin may be "null", which says nothing. What
// says nothing at all is no browser, and then there is no customer to be misled.
func (p *Page) ownForm(r *http.Request) bool {
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	switch {
	case site != "":
		return site == "same-origin" && (origin == "" || origin == "null" || origin == p.Base)
	case origin != "":
		return origin == p.Base
	}
	return true
}

// form is what the page's form has.
type form struct{ passphrase, act string }

// readForm reads the form and nothing else, bounded.
func readForm(w http.ResponseWriter, r *http.Request) (form, error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/x-www-form-urlencoded" {
		return form{}, errors.New("no form")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return form{}, err
	}
	return parseForm(string(body))
}

func parseForm(body string) (form, error) {
	values, err := url.ParseQuery(body)
	if err != nil {
		return form{}, err
	}
	for name, list := range values {
		if name != "passphrase" && name != "act" || len(list) > 1 {
			return form{}, errors.New("fields of another form")
		}
	}
	f := form{passphrase: values.Get("passphrase"), act: values.Get("act")}
	if f.act != "" && f.act != "confirm" && f.act != "refuse" && f.act != "end" || len(f.passphrase) > maxPassphrase || !utf8.ValidString(f.passphrase) {
		return form{}, errors.New("values of another form")
	}
	return f, nil
}

// fail answers errors; what has no kind stays inside.
func (p *Page) fail(w http.ResponseWriter, r *http.Request, err error) {
	var e *ca.Error
	kind := ca.KindOf(err)
	switch {
	case kind == ca.NotFound:
		p.nothing(w)
	case kind == ca.Limited && errors.As(err, &e):
		p.limited(w, e.RetryAfter)
	default:
		if r.Context().Err() == nil {
			p.Logger.ErrorContext(r.Context(), "the confirmation page failed", "error", err)
		}
		p.send(w, view{status: http.StatusServiceUnavailable, Say: "This cannot be done now; nothing was decided. Try again in a moment."})
	}
}

func (p *Page) send(w http.ResponseWriter, v view) {
	v.Base = p.Base
	var out bytes.Buffer
	if err := page.Execute(&out, v); err != nil {
		p.Logger.Error("the confirmation page cannot be written", "error", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(out.Len()))
	if v.status != 0 {
		w.WriteHeader(v.status)
	}
	// An error here is the browser's broken connection.
	_, _ = w.Write(out.Bytes())
}
