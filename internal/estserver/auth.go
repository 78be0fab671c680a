package estserver

import (
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"chancery/est"
)

// authenticate finds out who asks, and whether that meets one of the label's ways (RFC
// 7030 §3.2.3, §3.3.2). The certificate was not verified by TLS: it is judged here, now
// that the label is known, so that one which is unknown, expired or revoked gets words
// and not an alert.
func (s *Server) authenticate(c *call, op operation) error {
	p, err := s.prove(c)
	if err != nil {
		return err
	}
	c.who = p.who
	c.log = c.log.With(c.known()...)
	if op.asks == whoever {
		return nil
	}
	switch {
	case p.wrongPassword != nil:
		// Whoever sends a password is to send the right one, also with a certificate: the
		// identity is both together (RFC 7030 §3.7).
		return p.wrongPassword
	case !slices.ContainsFunc(c.label.Accept, c.who.meets):
		return s.unmet(c, p)
	case p.wrongCertificate != nil:
		c.log.Info("a client's certificate does not count; it authenticated otherwise", "reason", p.wrongCertificate.Text)
	}
	return nil
}

// known gives who the client is for the log. A Full PKI Request has an identity of its own,
// which comes later; that of its connection opens nothing.
func (c *call) known() (about []any) {
	prefix := ""
	if c.op == est.FullCMC {
		prefix = "tls_"
	}
	if who := c.who.String(); who != "" || prefix == "" {
		about = append(about, slog.String(prefix+"identity", who))
	}
	if c.who.Record != nil {
		about = append(about, slog.String(prefix+"certificate", string(c.who.Record.Serial)))
	}
	return about
}

// proof is what came of looking at all that a client showed.
type proof struct {
	who              Identity
	wrongCertificate *refusal // why the certificate does not count; nil: it does, or there is none
	wrongPassword    *refusal
}

// prove looks at everything that the label takes. An error means that it could not be
// looked at.
func (s *Server) prove(c *call) (proof, error) {
	var p proof
	var err error
	if c.label.takes(ByCertificate) || c.label.takes(ByMaker) {
		if p.who, err = s.certificate(c); err != nil {
			if p.wrongCertificate, err = asRefusal(err); err != nil {
				return p, err
			}
			p.who = Identity{}
		}
	}
	if err = s.user(c, &p.who); err == nil {
		err = s.secrets(c, &p.who)
	}
	if err != nil {
		p.wrongPassword, err = asRefusal(err)
	}
	return p, err
}

// asRefusal tells a client's fault, or what [Server.made] cannot tell now, from ours.
func asRefusal(err error) (*refusal, error) {
	if r, ok := err.(*refusal); ok && (r.Status < http.StatusInternalServerError || r.later()) { //nolint:errorlint // made here and never wrapped
		return r, nil
	}
	return nil, err
}

// later tells whether the same request may do better in a while.
func (r *refusal) later() bool { return r.Status == http.StatusServiceUnavailable }

// unmet says what is missing. Where a password alone would help, it is asked for.
func (s *Server) unmet(c *call, p proof) error {
	shown := p.who.means()
	askable := func(m Means) bool { return m == ByPassword || m == ByOneTime }
	helps := func(w Way) bool {
		for _, m := range w {
			if !slices.Contains(shown, m) && !askable(m) {
				return false
			}
		}
		return true
	}
	fault := ""
	if p.wrongCertificate != nil {
		fault = "; " + p.wrongCertificate.Text
	}
	if p.wrongCertificate != nil && p.wrongCertificate.later() {
		return p.wrongCertificate
	}
	if p.who.Credential == nil && slices.ContainsFunc(c.label.Accept, helps) {
		return &refusal{Status: http.StatusUnauthorized, Challenge: true, Usual: fault == "" && c.r.Header.Get("Authorization") == "", Text: "a password is needed" + fault}
	}
	if p.wrongCertificate != nil {
		return p.wrongCertificate
	}
	var ways []string
	for _, w := range c.label.Accept {
		ways = append(ways, w.String())
	}
	return refuse(http.StatusForbidden, "what you authenticated with is not enough here; one of these is needed: %s", strings.Join(ways, ", "))
}

// oidCMCRA is id-kp-cmcRA (RFC 6402 §2.10).
const oidCMCRA = "1.3.6.1.5.5.7.3.28"

func isCMCRA(cert *x509.Certificate) bool {
	for _, usage := range cert.UnknownExtKeyUsage {
		if usage.String() == oidCMCRA {
			return true
		}
	}
	return false
}

// certificate judges the TLS client's certificate; no certificate is nobody.
func (s *Server) certificate(c *call) (Identity, error) {
	cs := c.tls()
	if cs == nil || len(cs.PeerCertificates) == 0 {
		return Identity{}, nil
	}
	return s.judge(c, cs.PeerCertificates)
}

// judge judges a certificate of whose key the client has proven possession: as ours if we issued it, under the
// Explicit TA database, else as one of the label's makers', under their Implicit ones.
// The two are never mixed (RFC 7030 §3.3.2): what ours are refused for, no maker can
// make good, and a third party's certificate is nothing but that, whatever it says of
// itself. A *refusal says why it does not count.
func (s *Server) judge(c *call, chain []*x509.Certificate) (Identity, error) {
	if s.issuedHere(chain[0]) {
		return s.holder(c, chain[0])
	}
	if !c.label.takes(ByMaker) {
		return Identity{}, refuse(http.StatusForbidden, "your certificate was not issued by this authority, and no other's are taken here")
	}
	return s.made(c, chain)
}

// uncheckedPause is when to come back if a certificate's revocation could not be learnt:
// fetches that failed are tried again about as often.
const uncheckedPause = time.Minute

// verdict is what internal/anchors says of a certificate that it refuses.
type verdict interface {
	Foreign() bool // another set may be asked
	Passing() bool // it may well be accepted later: its revocation cannot be found out now
}

// made judges a third party's certificate. A maker above whose roots it stands and who
// refuses it has the last word: another's anchors cannot make that good.
func (s *Server) made(c *call, chain []*x509.Certificate) (Identity, error) {
	var why []string
	for _, name := range c.label.Makers {
		err := s.Makers[name].Verify(c.r.Context(), chain, c.now)
		if err == nil {
			return Identity{Certificate: chain[0], Maker: name}, nil
		}
		if gone := c.r.Context().Err(); gone != nil {
			return Identity{}, gone
		}
		var known verdict
		if last := errors.As(err, &known) && !known.Foreign(); last && known.Passing() {
			return Identity{}, &refusal{Status: http.StatusServiceUnavailable, RetryAfter: uncheckedPause, Err: err, Text: "your certificate cannot be judged now: " + err.Error()}
		} else if last {
			why = []string{err.Error()}
			break
		}
		why = append(why, err.Error())
	}
	return Identity{}, refuse(http.StatusForbidden, "your certificate does not count here: %s", strings.Join(why, "; "))
}
