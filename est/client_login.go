package est

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// Password does not print.
type Password string

// String hides it.
func (Password) String() string { return "[password]" }

// GoString hides it.
func (Password) GoString() string { return "[password]" }

// MarshalText hides it from JSON and its like.
func (p Password) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Login is what HTTP authentication is answered with (RFC 7030 §3.2.3). It is sent only
// to the configured origin, only after the server was authorised (RFC 7030 §3.6), and
// only when the server asks.
type Login struct {
	User     string // may be "": some servers go by the password alone
	Password Password
}

func (l *Login) check() error {
	switch {
	case l == nil:
		return nil
	case l.Password == "":
		return errors.New("the login has no password")
	case strings.ContainsFunc(l.User+string(l.Password), unicode.IsControl):
		return errors.New("the user name or the password holds a control character, which HTTP authentication cannot carry (RFC 7617 section 2): is there a line break at its end?")
	}
	return nil
}

// challenge is one way that a server lets a client authenticate (RFC 9110 §11.3), and
// how often it was answered.
type challenge struct {
	scheme     string // lower case
	parameters map[string]string
	count      int
	cnonce     string // of the client, for the latest answer
}

// digests are the algorithms of Digest, best first (RFC 7616 §3.3; MD5 for old servers).
var digests = []struct {
	name  string
	fresh func() hash.Hash
}{
	{"SHA-512-256", sha512.New512_256}, {"SHA-256", sha256.New}, {"MD5", md5.New},
}

// algorithm gives the rank and the hash of a Digest challenge, and whether it is of the
// -sess kind. Without the parameter it is MD5.
func (c *challenge) algorithm() (rank int, fresh func() hash.Hash, session bool) {
	name := strings.ToUpper(c.parameters["algorithm"])
	if name == "" {
		name = "MD5"
	}
	name, session = strings.CutSuffix(name, "-SESS")
	for i, d := range digests {
		if d.name == name {
			return i, d.fresh, session
		}
	}
	return len(digests), nil, session
}

// usable tells whether this client can answer it. Of qop only auth is had: EST's bodies
// are protected by TLS.
func (c *challenge) usable() bool {
	switch c.scheme {
	case "basic":
		return true
	case "digest":
		_, fresh, _ := c.algorithm()
		qop, given := c.parameters["qop"]
		return fresh != nil && c.parameters["nonce"] != "" && (!given || c.auth(qop))
	}
	return false
}

// auth tells whether a list of qops has auth.
func (c *challenge) auth(list string) bool {
	return slices.ContainsFunc(strings.Split(list, ","), func(q string) bool { return strings.EqualFold(strings.TrimSpace(q), "auth") })
}

// strongest picks of the challenges the one to answer; nil if none can be.
func strongest(list []*challenge) *challenge {
	rank := func(c *challenge) int {
		if c.scheme == "basic" {
			return len(digests) + 1
		}
		n, _, _ := c.algorithm()
		return n
	}
	var best *challenge
	for _, c := range list {
		if c.usable() && (best == nil || rank(c) < rank(best)) {
			best = c
		}
	}
	return best
}

// denial is a 401 and what led to it.
type denial struct {
	*reply
	errand *errand
	url    *url.URL
	line   *line
	before *challenge // that was answered already; nil
}

// challenged decides about a 401: what to answer, or why nothing is.
func (c *Client) challenged(d denial) (*challenge, error) {
	list := parseChallenges(d.header.Values("WWW-Authenticate"))
	best, before := strongest(list), d.before
	failed := &LoginError{Operation: d.errand.op, Text: words(d.media, d.body)}
	if failed.Text == "" { // some clients cannot take a 401 with a body, so servers may say it here
		failed.Text = words("text/plain", []byte(d.header.Get("Est-Reason")))
	}
	for _, one := range list {
		failed.Realm = one.parameters["realm"]
		if failed.Realm != "" {
			break
		}
	}
	login := c.config.Login
	switch {
	case d.errand.bare:
		failed.Reason = "nothing has verified the server yet, so it gets none (RFC 7030 section 4.1.1)"
	case login == nil && d.line.shown:
		failed.Reason = "it was shown a client certificate and wants a password, or another certificate, too"
	case login == nil:
		failed.Reason = "give it one, or a client certificate that it accepts"
	case origin(d.url) != origin(c.base):
		failed.Reason = "it is another server than the one that was named, and passwords never follow a redirect to one"
	case d.line.server.Verified != ByExplicit && !c.config.SecretsOverImplicit:
		failed.Reason = "only implicit trust anchors verify this server, and it gets no password (RFC 7030 section 6): fetch the CA's own anchors first, or allow it expressly"
	case len(list) == 0:
		failed.Reason = "but it does not say how (there is no WWW-Authenticate)"
	case best == nil:
		failed.Reason = fmt.Sprintf("in ways that this client does not know (%s); it knows Basic, and Digest with SHA-256 or MD5 and qop=auth", schemeNames(list))
	case before != nil && (before.count >= loginTries || !strings.EqualFold(best.parameters["stale"], "true")):
		failed.Reason = "the ones that were given are not accepted: look at them, and ask the CA's people whether they may enrol"
	default:
		if before != nil {
			best.count = before.count
		}
		return best, nil
	}
	return nil, failed
}

func schemeNames(list []*challenge) string {
	var names []string
	for _, c := range list {
		name := c.scheme
		if a := c.parameters["algorithm"]; a != "" {
			name += " " + a
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// answer makes the Authorization field. Every call counts: a nonce is never used twice
// with one count.
func (l *Login) answer(c *challenge, method, uri string) (string, error) {
	c.count++
	if c.scheme == "basic" { // RFC 7617 §2
		if strings.Contains(l.User, ":") {
			return "", errors.New("a user name with a colon cannot be used with HTTP Basic authentication, which is all that the server offers")
		}
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(l.User+":"+string(l.Password))), nil
	}
	c.cnonce = rand.Text()
	return l.digest(c, method, uri), nil
}

// digest is RFC 7616 §3.4.
func (l *Login) digest(c *challenge, method, uri string) string {
	cnonce := c.cnonce
	_, fresh, session := c.algorithm()
	h := func(parts ...string) string {
		sum := fresh()
		sum.Write([]byte(strings.Join(parts, ":")))
		return hex.EncodeToString(sum.Sum(nil))
	}
	realm, nonce := c.parameters["realm"], c.parameters["nonce"]
	a1 := h(l.User, realm, string(l.Password))
	if session {
		a1 = h(a1, nonce, cnonce)
	}
	fields := []string{"username=" + quoted(l.User)}
	switch hashed := strings.EqualFold(c.parameters["userhash"], "true"); {
	case hashed:
		fields = []string{"username=" + quoted(h(l.User, realm)), "userhash=true"}
	case strings.ContainsFunc(l.User, func(r rune) bool { return r > unicode.MaxASCII }):
		fields = []string{"username*=UTF-8''" + url.PathEscape(l.User)}
	}
	fields = append(fields, "realm="+quoted(realm), "nonce="+quoted(nonce), "uri="+quoted(uri))
	a2 := h(method, uri)
	if _, given := c.parameters["qop"]; given {
		nc := fmt.Sprintf("%08x", c.count)
		fields = append(fields, "response="+quoted(h(a1, nonce, nc, cnonce, "auth", a2)), "qop=auth", "nc="+nc, "cnonce="+quoted(cnonce))
	} else {
		fields = append(fields, "response="+quoted(h(a1, nonce, a2))) // RFC 2069
		if session {
			fields = append(fields, "cnonce="+quoted(cnonce))
		}
	}
	if a, given := c.parameters["algorithm"]; given { // as the server wrote it
		fields = append(fields, "algorithm="+a)
	}
	if o, given := c.parameters["opaque"]; given {
		fields = append(fields, "opaque="+quoted(o))
	}
	return "Digest " + strings.Join(fields, ", ")
}

func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// parseChallenges reads WWW-Authenticate fields, of which each may hold several
// challenges (RFC 9110 §11.6.1). What cannot be read ends its field.
func parseChallenges(fields []string) []*challenge {
	var list []*challenge
	for _, text := range fields {
		var c *challenge
		for len(list) < 20 {
			text = strings.TrimLeft(text, " \t,")
			name, rest := token(text)
			if name == "" {
				break
			}
			after := strings.TrimLeft(rest, " \t")
			if strings.HasPrefix(after, "=") && c != nil && !strings.HasPrefix(after, "==") {
				value, left, ok := parameter(strings.TrimLeft(after[1:], " \t"))
				if !ok {
					break
				}
				if key := strings.ToLower(name); c.parameters[key] == "" && !unprintable(value) {
					c.parameters[key] = value
				}
				text = left
				continue
			}
			// A scheme; what follows it may be a token68, which no scheme of ours has.
			c = &challenge{scheme: strings.ToLower(name), parameters: map[string]string{}}
			list = append(list, c)
			text = rest
			if blob, left := token68(strings.TrimLeft(rest, " \t")); blob {
				text = left
			}
		}
	}
	return list
}

// unprintable values would make a header of ours that says something else.
func unprintable(value string) bool { return strings.ContainsFunc(value, unicode.IsControl) }

// token reads one (RFC 9110 §5.6.2).
func token(text string) (name, rest string) {
	end := strings.IndexFunc(text, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
	if end < 0 {
		end = len(text)
	}
	return text[:end], text[end:]
}

// token68 passes over base64 after a scheme: up to a comma or the end, without any
// parameter.
func token68(text string) (found bool, rest string) {
	end := strings.IndexByte(text, ',')
	if end < 0 {
		end = len(text)
	}
	blob := strings.TrimRight(text[:end], " \t")
	body := strings.TrimRight(blob, "=")
	if blob == "" || strings.ContainsAny(body, `= "`) || body == blob && strings.HasPrefix(strings.TrimLeft(text[end:], ", \t"), "=") {
		return false, text
	}
	return true, text[end:]
}

// parameter reads a token or a quoted string.
func parameter(text string) (value, rest string, ok bool) {
	if !strings.HasPrefix(text, `"`) {
		value, rest = token(text)
		return value, rest, true
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '"':
			return b.String(), text[i+1:], true
		case '\\':
			if i++; i == len(text) {
				return "", "", false
			}
		}
		b.WriteByte(text[i])
	}
	return "", "", false
}
