package est

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/url"
	"slices"
)

// errand is what an operation has done.
type errand struct {
	op     Operation
	method string
	media  string
	// build gives the body for a connection, which it may be bound to. It is called
	// anew for each connection; nil: there is no body.
	build func(cs *tls.ConnectionState) ([]byte, error)
	// candidates are the certificates that may be shown.
	candidates []ClientIdentity
	// secret: the answer is a key.
	secret bool
	// discloses: the body holds a secret of its sender's, or what guesses at one can be
	// tried on.
	discloses bool
	// direct: a 202 is given back at once, as the operation knows what it says.
	direct bool
	// bare: nothing verified the server, so nothing but this is sent (RFC 7030 §4.1.1).
	bare bool
}

// message is one request.
type message struct {
	method, media string
	body          []byte
	authorization string
}

// route is the way of one errand, over redirects.
type route struct {
	url        *url.URL
	hops       int
	unnamed    bool // see itinerary
	candidates []ClientIdentity
}

// outcome is a success and where it came from.
type outcome struct {
	*reply
	server Server
	shown  bool // a client certificate was shown
}

// do runs an errand to its end: authentication, redirects and, if somebody waits for it,
// 202. What it gives has status 200 or 204.
func (c *Client) do(ctx context.Context, e errand) (*outcome, error) {
	for {
		o, err := c.once(ctx, e)
		if err != nil {
			return nil, err
		}
		switch {
		case o.status == http.StatusOK, o.status == http.StatusNoContent:
			return o, nil
		case o.status != http.StatusAccepted:
			return nil, c.refused(e.op, o.reply)
		}
		p := &PendingError{Operation: e.op, After: waitOf(o.header, c.config.Now()), Text: words(o.media, o.body), media: o.media, body: o.body}
		if c.config.Pending == nil || e.direct {
			return nil, p
		}
		if err := c.config.Pending(ctx, p); err != nil {
			return nil, err
		}
	}
}

// refused makes an error of an answer.
func (c *Client) refused(op Operation, r *reply) error {
	failed := &StatusError{Operation: op, Status: r.status, Media: r.media, Text: words(r.media, r.body)}
	if r.header.Get("Retry-After") != "" {
		failed.RetryAfter = waitOf(r.header, c.config.Now())
	}
	if r.media == "application/pkcs7-mime" {
		failed.Body = r.body
	}
	return failed
}

// once runs an errand over its redirects up to an answer.
func (c *Client) once(ctx context.Context, e errand) (*outcome, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	r := &route{url: c.URL(e.op), candidates: e.candidates}
	for {
		answer, l, err := c.deliver(ctx, &e, r)
		if err != nil {
			return nil, err
		}
		if !redirects(answer.status) {
			return &outcome{reply: answer, server: l.server, shown: l.shown}, nil
		}
		r.unnamed = r.unnamed || !l.server.named
		if err := c.follow(ctx, &e, r, answer.header.Get("Location")); err != nil {
			return nil, err
		}
	}
}

func redirects(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// follow goes where a redirect leads (RFC 7030 §3.2.1). Method and body stay whatever the
// status: the new address does the same operation. A request with a secret in it stays
// at the origin that a person named, whatever the answer of [ClientConfig.Consent] is.
func (c *Client) follow(ctx context.Context, e *errand, r *route, location string) error {
	refuse := func(to, reason string, err error) error {
		return &RedirectError{From: r.url.String(), To: to, Reason: reason, Err: err}
	}
	if location == "" {
		return refuse("", "and does not say where to", nil)
	}
	to, err := r.url.Parse(location)
	if err != nil {
		return refuse("", "and what it says is no address", nil)
	}
	shown := to.Redacted()
	switch {
	case to.Scheme != "https":
		return refuse(shown, "EST is spoken over https alone", nil)
	case to.User != nil:
		return refuse(shown, "the address holds a user name, which no server may choose", nil)
	case to.Hostname() == "":
		return refuse(shown, "the address has no host", nil)
	}
	if r.hops++; r.hops > hopsMax {
		return refuse(shown, "there were too many redirects in a row", nil)
	}
	to.Fragment, to.RawFragment = "", ""
	if e.discloses && origin(to) != origin(c.base) {
		return refuse(shown, "that is another server than the one that was named, and a request with a secret in it never follows a redirect to one: name that server yourself if the secret is meant for it", nil)
	}
	if origin(to) != origin(r.url) && e.method != http.MethodGet {
		if c.config.Consent == nil {
			return refuse(shown, "that is another server, and requests follow there only when a person agrees (RFC 7030 section 3.2.1): name that server yourself if it is the right one", nil)
		}
		if err := c.config.Consent(ctx, r.url, to); err != nil {
			return refuse(shown, "that is another server, to which the request was not sent", err)
		}
	}
	r.url = to
	return nil
}

// deliver has one request answered, with HTTP authentication when it is asked for. The
// body is made for the connection that it travels on, also when that had to be made
// anew between a 401 and the repeat (RFC 7030 §3.5).
func (c *Client) deliver(ctx context.Context, e *errand, r *route) (*reply, *line, error) {
	m := message{method: e.method, media: e.media}
	var made *line // the one that m.body is for
	var asked *challenge
	lost := 0
	for {
		l, err := c.lineTo(ctx, r)
		if err != nil {
			return nil, nil, err
		}
		if err := c.permitted(e, l); err != nil {
			return nil, nil, err
		}
		if e.build != nil && made != l {
			if m.body, err = e.build(l.state()); err != nil {
				return nil, nil, err
			}
			made = l
		}
		if asked != nil {
			if m.authorization, err = c.config.Login.answer(asked, e.method, r.url.RequestURI()); err != nil {
				return nil, nil, err
			}
		}
		answer, idle, err := l.exchange(ctx, c.config.Timeout, request(ctx, m, r.url, c.config.UserAgent))
		if l.over || err != nil {
			c.hangUp()
		}
		if idle && lost == 0 { // it was closed before this request reached it
			lost++
			continue
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil, nil, ctx.Err()
			}
			return nil, nil, &ConnectionError{Host: r.url.Host, Err: explainTLS(err)}
		}
		if answer.status != http.StatusUnauthorized {
			return answer, l, nil
		}
		if asked, err = c.challenged(denial{answer, e, r.url, l, asked}); err != nil {
			return nil, nil, err
		}
	}
}

// permitted keeps secrets from servers that only Implicit anchors verify (RFC 7030 §6).
func (c *Client) permitted(e *errand, l *line) error {
	if l.server.Verified == ByExplicit || c.config.SecretsOverImplicit {
		return nil
	}
	what := ""
	switch {
	case e.secret:
		what = "is not let make a private key"
	case e.discloses:
		what = "gets no request with a secret in it"
	default:
		return nil
	}
	return &ServerError{Host: l.server.Host, Why: OnlyImplicit, Reason: "only implicit trust anchors verify this server, and it " + what + " (RFC 7030 section 6): fetch the CA's own anchors first, or allow it expressly"}
}

// lineTo gives the open connection if it leads there and shows what it should, else a
// new one.
func (c *Client) lineTo(ctx context.Context, r *route) (*line, error) {
	same := func(a, b ClientIdentity) bool { return a.Certificate == b.Certificate }
	if l := c.line; l != nil && l.origin == origin(r.url) && !l.over && slices.EqualFunc(l.candidates, r.candidates, same) {
		return l, nil
	}
	c.hangUp()
	l, err := c.connect(ctx, r.url, r)
	if err != nil {
		return nil, err
	}
	l.candidates = r.candidates
	c.line = l
	return l, nil
}
