package estserver

import (
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"chancery/internal/ca"
	"chancery/internal/nonce"
)

// digestLife is how long a nonce is good for Digest; after it the client is given
// another, and told that its password was right (RFC 7616 §3.3, stale).
const digestLife = 10 * time.Minute

// digestResponse is what a client answers a challenge with (RFC 7616 §3.4).
type digestResponse struct {
	user, realm, nonce, uri, response, algorithm, cnonce, nc, qop string
}

// digest verifies a Digest response. Only once it is known to be right is the nonce
// spent with its count, so that nobody spends other people's (RFC 7616 §3.4.6: a count
// seen before is a replay).
func (s *Server) digest(c *call, fields string) (*Credential, error) {
	d, ok := parseDigest(fields)
	hash := digestHashes[d.algorithm]
	switch {
	case !ok:
		return nil, refuse(http.StatusBadRequest, "the Authorization field cannot be read as Digest (RFC 7616)")
	case d.qop != "auth":
		return nil, refuse(http.StatusBadRequest, `Digest is taken with qop=auth only, as the challenge says`)
	case hash == nil || d.algorithm == algorithmMD5 && s.Digest != DigestMD5 || d.realm != s.Realm:
		return nil, &refusal{Status: http.StatusUnauthorized, Challenge: true, Text: "a Digest of another algorithm or realm than was offered"}
	case d.uri != c.r.RequestURI && d.uri != c.r.URL.RequestURI():
		return nil, refuse(http.StatusBadRequest, "the Digest is for another URI than the request (RFC 7616 section 3.4.6)")
	}
	if err := s.attempts.blocked(d.user, c); err != nil {
		return nil, err
	}
	found, err := s.responder(c, d, hash)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, s.failed(c, d.user, "the user name or password is wrong")
	}
	minted, err := s.Nonces.Check(d.nonce)
	if err != nil || c.now.Sub(minted.Expires().Add(-nonce.Lifetime)) > digestLife {
		return nil, &refusal{Status: http.StatusUnauthorized, Challenge: true, Stale: true, Text: "the Digest's nonce is too old", Err: err}
	}
	return found, s.spend(c, minted, d.nc)
}

// spend makes a nonce and its count good for nothing more, on every replica.
func (s *Server) spend(c *call, n nonce.Nonce, nc string) error {
	count, err := hex.DecodeString(nc)
	if err != nil || len(count) != 4 || binary.BigEndian.Uint32(count) == 0 {
		return refuse(http.StatusBadRequest, "the Digest's nc is not eight hex digits of a count (RFC 7616 section 3.4)")
	}
	err = s.Credentials.SpendNonce(c.r.Context(), append(n.ID(), count...), n.Expires())
	if ca.KindOf(err) == ca.Replayed {
		return &refusal{Status: http.StatusUnauthorized, Challenge: true, Stale: true, Text: "the Digest's nonce count was used before", Err: err}
	}
	return err
}

// responder finds the credential of the user whose password made the response; nil:
// there is none. Every user costs one hash at least.
func (s *Server) responder(c *call, d digestResponse, hash func(string) string) (*Credential, error) {
	if !plainUser(d.user) {
		return nil, nil
	}
	list, err := s.Credentials.Credentials(c.r.Context(), tried(d.user, c.now))
	if err != nil {
		return nil, err
	}
	a2 := hash(c.r.Method + ":" + d.uri)
	var found *Credential
	unbound := false
	for i := range list {
		k := &list[i]
		means := ByPassword
		if k.OneTime {
			means = ByOneTime
		}
		ha1 := k.HA1[d.algorithm]
		want := hash(strings.Join([]string{ha1, d.nonce, d.nc, d.cnonce, d.qop, a2}, ":"))
		right := subtle.ConstantTimeCompare([]byte(want), []byte(strings.ToLower(d.response))) == 1
		if right && ha1 != "" && k.Realm == s.Realm && c.label.takes(means) && k.counts(c) {
			found = k
		}
		unbound = unbound || c.label.takes(means) && k.counts(c) && (ha1 == "" || k.Realm != s.Realm)
	}
	if found == nil && unbound {
		// The client learns no more than that it is wrong.
		c.log.Info("a password of this user cannot be checked by Digest: it was made while Digest was off, or for another realm; make it anew", "user", d.user, "algorithm", d.algorithm)
	}
	return found, nil
}

// parseDigest reads the fields of an Authorization after "Digest": tokens and quoted
// strings, whichever a client has for which, as qop="auth" in quotes (RFC 7030 A.3).
func parseDigest(fields string) (digestResponse, bool) {
	d := digestResponse{algorithm: algorithmMD5} // RFC 7616 §3.3: if it is not there
	known := map[string]*string{
		"username": &d.user, "realm": &d.realm, "nonce": &d.nonce, "uri": &d.uri, "response": &d.response,
		"algorithm": &d.algorithm, "cnonce": &d.cnonce, "nc": &d.nc, "qop": &d.qop,
	}
	seen := map[string]bool{}
	for rest := strings.TrimLeft(fields, " \t,"); rest != ""; rest = strings.TrimLeft(rest, " \t,") {
		word, value, ok := strings.Cut(rest, "=")
		word = strings.ToLower(strings.Trim(word, " \t"))
		if !ok || word == "" || seen[word] {
			return d, false
		}
		seen[word] = true
		text, after, ok := digestValue(strings.TrimLeft(value, " \t"))
		if !ok {
			return d, false
		}
		if field := known[word]; field != nil {
			*field = text
		}
		rest = after
	}
	d.algorithm = strings.ToUpper(d.algorithm)
	return d, seen["username"] && d.nonce != "" && d.uri != "" && d.response != ""
}

// digestValue takes a token or a quoted string off the front.
func digestValue(in string) (value, rest string, ok bool) {
	if !strings.HasPrefix(in, `"`) {
		end := strings.IndexAny(in, ", \t")
		if end < 0 {
			end = len(in)
		}
		return in[:end], in[end:], true
	}
	var b strings.Builder
	for i := 1; i < len(in); i++ {
		switch {
		case in[i] == '"':
			return b.String(), in[i+1:], true
		case in[i] == '\\' && i+1 < len(in):
			i++
			b.WriteByte(in[i])
		default:
			b.WriteByte(in[i])
		}
	}
	return "", "", false
}
