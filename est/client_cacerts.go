package est

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// CABag is what /cacerts gives, as it came: the authority's root, what leads to it, and
// what leads from a root to its successor (RFC 7030 §4.1.3).
type CABag struct {
	Certificates []*x509.Certificate
	Server       Server // whose answer it is; [Trust.Learn] goes by what verified it
}

// CACerts fetches the CA certificates (RFC 7030 §4.1.2). The server is authenticated and
// authorised; see [Client.Bootstrap] for when it cannot be.
func (c *Client) CACerts(ctx context.Context) (*CABag, error) {
	o, err := c.do(ctx, errand{op: CACerts, method: http.MethodGet, candidates: c.candidates(nil)})
	if err != nil {
		return nil, err
	}
	return c.cabag(o)
}

func (c *Client) cabag(o *outcome) (*CABag, error) {
	if o.status == http.StatusNoContent {
		return nil, &AnswerError{Operation: CACerts, Reason: "is empty, and has to hold the CA's certificate (RFC 7030 section 4.1.3)"}
	}
	all, err := certificates(CACerts, o.reply)
	if err != nil {
		return nil, err
	}
	return &CABag{Certificates: all, Server: o.server}, nil
}

// Learned is what CA certificates changed.
type Learned struct {
	Trust Trust
	Added []*x509.Certificate // anchors that are new
	// Unproven are self-signed certificates that nothing known vouches for: a root that
	// was exchanged without the certificates of RFC 4210 §4.4 has to be confirmed by a
	// person again (RFC 7030 §4.1.3).
	Unproven []*x509.Certificate
}

// Learn makes of an authenticated answer what is trusted from now on (RFC 7030 §4.1.3).
// New roots join the explicit anchors if a known one vouches for them by OldWithNew or
// NewWithOld; without any explicit anchor the bag's newest root becomes the first, since
// the implicit anchors vouched for who sent it, and those are off afterwards.
func (t Trust) Learn(b *CABag, now time.Time) (*Learned, error) {
	have := t.Explicit
	first := len(t.Explicit) == 0
	switch {
	case first && b.Server.Verified != ByImplicit:
		return nil, fault(Untrusted, "nothing verified the server that these CA certificates are from: a person has to confirm them by their fingerprint (RFC 7030 section 4.1.1)")
	case first:
		root := newestRoot(b.Certificates, now)
		if root == nil {
			return nil, &AnswerError{Operation: CACerts, Reason: "holds no self-signed certificate that is valid now, so there is no root to trust"}
		}
		have = []*x509.Certificate{root}
	}
	grown, err := Rollover(have, b.Certificates, now)
	if err != nil {
		return nil, &AnswerError{Operation: CACerts, Reason: "its certificates cannot be used", Err: err}
	}
	l := &Learned{Trust: t}
	l.Trust.Explicit, l.Trust.Intermediates = slices.Clone(have), grown.Intermediates
	for _, root := range grown.Roots { // none is taken away, also of those that have ended: a clock may be wrong
		if !contains(l.Trust.Explicit, root) {
			l.Trust.Explicit = append(l.Trust.Explicit, root)
		}
	}
	l.Trust.ImplicitOff = true // RFC 7030 §4.1.3
	for _, root := range l.Trust.Explicit {
		if !contains(t.Explicit, root) {
			l.Added = append(l.Added, root)
		}
	}
	for _, one := range grown.Unproven {
		if isRoot(one) && validAt(one, now) {
			l.Unproven = append(l.Unproven, one)
		}
	}
	return l, nil
}

func contains(list []*x509.Certificate, one *x509.Certificate) bool {
	return slices.ContainsFunc(list, one.Equal)
}

// roots gives the self-signed authorities of a bag that are valid, the one that lasts
// longest first: that is the current one (RFC 7030 §4.1.3).
func roots(all []*x509.Certificate, now time.Time) []*x509.Certificate {
	var found []*x509.Certificate
	for _, one := range all {
		if isRoot(one) && validAt(one, now) && !contains(found, one) {
			found = append(found, one)
		}
	}
	slices.SortStableFunc(found, func(a, b *x509.Certificate) int {
		return cmp.Or(b.NotAfter.Compare(a.NotAfter), b.NotBefore.Compare(a.NotBefore))
	})
	return found
}

func newestRoot(all []*x509.Certificate, now time.Time) *x509.Certificate {
	if found := roots(all, now); len(found) > 0 {
		return found[0]
	}
	return nil
}

// Offer is CA certificates from a server that nothing has verified (RFC 7030 §4.1.1).
// They can be looked at, and used only after [Offer.Accept].
type Offer struct {
	Server Server
	bag    []*x509.Certificate
	now    func() time.Time
}

// Bootstrap fetches /cacerts over a provisional connection: whoever answers is not
// verified, so nothing else is sent on it, no password and no client certificate, no
// redirect is followed, and it is closed. Only a fingerprint that a person confirms, or
// configured, makes the answer trustworthy (RFC 7030 §4.1.1).
func (c *Client) Bootstrap(ctx context.Context) (*Offer, error) {
	o, err := c.provisional(ctx, errand{op: CACerts, method: http.MethodGet, bare: true})
	if err != nil {
		return nil, err
	}
	got, err := c.cabag(o)
	if err != nil {
		return nil, err
	}
	offer := &Offer{Server: o.server, bag: got.Certificates, now: c.config.Now}
	if len(offer.Roots()) == 0 {
		return nil, &AnswerError{Operation: CACerts, Reason: "holds no self-signed certificate that is valid now, so there is none that a fingerprint could confirm: is the clock of this machine right?"}
	}
	return offer, nil
}

// provisional runs one exchange with a server that is not verified.
func (c *Client) provisional(ctx context.Context, e errand) (*outcome, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	u := c.URL(e.op)
	l := &line{origin: origin(u), server: Server{Host: u.Host, Verified: ByNothing}}
	settings := &tls.Config{
		MinVersion: tls.VersionTLS12, MaxVersion: c.config.MaxTLS, ServerName: u.Hostname(), NextProtos: []string{"http/1.1"},
		InsecureSkipVerify: true, SessionTicketsDisabled: true, // a person verifies, later
	}
	if err := c.dial(ctx, u, l, settings); err != nil {
		return nil, err
	}
	defer l.close()
	state := l.state()
	l.server.Certificate, l.server.Version = state.PeerCertificates[0], state.Version
	m := message{method: e.method, media: e.media}
	if e.build != nil {
		var err error
		if m.body, err = e.build(state); err != nil {
			return nil, err
		}
	}
	answer, _, err := l.exchange(ctx, c.config.Timeout, request(ctx, m, u, c.config.UserAgent))
	switch {
	case err != nil:
		return nil, &ConnectionError{Host: u.Host, Err: explainTLS(err)}
	case answer.status == http.StatusUnauthorized:
		_, err := c.challenged(denial{answer, &e, u, l, nil})
		return nil, err
	case redirects(answer.status):
		return nil, &RedirectError{From: u.String(), To: answer.header.Get("Location"), Reason: "nothing has verified the server, so nobody follows it (RFC 7030 section 4.1.1): name the server that it means, if that is yours"}
	case answer.status != http.StatusOK:
		return nil, c.refused(e.op, answer)
	}
	return &outcome{reply: answer, server: l.server}, nil
}

// Roots are the self-signed certificates that can be confirmed, the current one first.
func (o *Offer) Roots() []*x509.Certificate { return roots(o.bag, o.now()) }

// FingerprintError says that no root of an offer has the fingerprint.
type FingerprintError struct {
	Wanted  string
	Offered []string // those of the roots, by the same hash
}

// Error shows both.
func (e *FingerprintError) Error() string {
	return fmt.Sprintf("the fingerprint does not fit, so nothing was trusted: the server offered %s and not %s; this may be another CA, a new root, or somebody in between", strings.Join(e.Offered, ", "), e.Wanted)
}

// Accept makes the root with the fingerprint ("sha256:…" or "sha512:…", over the whole
// DER) an explicit anchor. All other certificates of the offer must chain to it (RFC
// 7030 §4.1.3): an offer with a stranger in it is refused as a whole.
func (o *Offer) Accept(fingerprint string) (Trust, error) {
	hash, wanted, err := ParseFingerprint(fingerprint)
	if err != nil {
		return Trust{}, err
	}
	failed := &FingerprintError{Wanted: hash + ":" + wanted}
	var root *x509.Certificate
	for _, one := range o.Roots() {
		has := Fingerprint(one.Raw, hash)
		if has == failed.Wanted {
			root = one
		}
		failed.Offered = append(failed.Offered, has)
	}
	if root == nil {
		return Trust{}, failed
	}
	grown, err := Rollover([]*x509.Certificate{root}, o.bag, o.now())
	if err != nil {
		return Trust{}, &AnswerError{Operation: CACerts, Reason: "its certificates cannot be used", Err: err}
	}
	for _, one := range grown.Unproven {
		if !o.now().After(one.NotAfter) { // one that has ended chains to nothing, and harms nobody
			return Trust{}, &AnswerError{Operation: CACerts, Reason: fmt.Sprintf("the certificate of %q does not chain to the root that was confirmed (RFC 7030 section 4.1.3), so nothing was trusted", one.Subject)}
		}
	}
	return Trust{Explicit: grown.Roots, Intermediates: grown.Intermediates, ImplicitOff: true}, nil
}

// ParseFingerprint reads a fingerprint as people write it: "sha256:" or "sha512:" in
// front, or "SHA256 Fingerprint=" as OpenSSL does, or nothing, when the length tells;
// colons and spaces between the digits do not count. It gives the hash's name and the
// digits in lower case.
func ParseFingerprint(text string) (hash, digits string, err error) {
	bare := strings.ToLower(strings.Join(strings.Fields(text), ""))
	bare = strings.ReplaceAll(bare, "-", "")
	for _, name := range []string{"sha256", "sha512"} {
		if rest, ok := strings.CutPrefix(bare, name); ok {
			hash, bare = name, strings.TrimPrefix(strings.TrimPrefix(rest, "fingerprint"), "=")
		}
	}
	bare = strings.ReplaceAll(bare, ":", "")
	byLength := map[int]string{2 * sha256.Size: "sha256", 2 * sha512.Size: "sha512"}[len(bare)]
	if _, err := hex.DecodeString(bare); err != nil || byLength == "" || hash != "" && hash != byLength {
		return "", "", malformed("%q is no fingerprint: write sha256: and 64 hexadecimal digits, or sha512: and 128", text)
	}
	return byLength, bare, nil
}
