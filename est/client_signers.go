package est

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
)

// Under one anchor stand a CA's servers and all its devices alike, so that a chain says
// little about who may sign for the CA. Who may:
//
//   - an answer by CMC: an authority; whose certificate says so (id-kp-cmcCA, id-kp-cmcRA,
//     RFC 6402 §2.10); and, since servers of others sign so, one whose certificate names no
//     purpose at all. TLS vouches for the answer besides, as it does alone for a Simple PKI
//     Response.
//   - publishTrustAnchors: the first two, and the server itself with what it shows in TLS
//     when no purpose is named there. This decides whom to trust in future.
//   - a key that the server made: who may sign answers, with any purpose but those of TLS
//     alone, and the server itself with what it shows in TLS.
//
// Never one whose key is this client's own: anybody may enrol, and send that back.

// purposes says what the extended key usages of a certificate make of its holder.
type purposes struct {
	named bool // there are some
	cmc   bool // of a CMC server
	tls   bool // of TLS, and nothing else
}

func purposesOf(c *x509.Certificate) purposes {
	p := purposes{named: len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) > 0}
	p.cmc = slices.ContainsFunc(c.UnknownExtKeyUsage, oidCMCCA.Equal) || slices.ContainsFunc(c.UnknownExtKeyUsage, oidCMCRA.Equal)
	forTLS := func(u x509.ExtKeyUsage) bool {
		return u == x509.ExtKeyUsageClientAuth || u == x509.ExtKeyUsageServerAuth
	}
	p.tls = p.named && len(c.UnknownExtKeyUsage) == 0 && !slices.ContainsFunc(c.ExtKeyUsage, func(u x509.ExtKeyUsage) bool { return !forTLS(u) })
	return p
}

// shows tells whether a certificate is of the key that a server showed under Explicit
// anchors.
func (s Server) shows(c *x509.Certificate) bool {
	return s.Verified == ByExplicit && s.Certificate != nil && sameKey(c.PublicKey, s.Certificate.PublicKey)
}

// answersCMC judges who signed an answer by CMC; see above.
func answersCMC(c *x509.Certificate) error {
	switch p := purposesOf(c); {
	case c.IsCA, p.cmc:
		return nil
	case p.named:
		return fmt.Errorf("the certificate of %q is not for CMC (it has neither id-kp-cmcCA nor id-kp-cmcRA)", c.Subject)
	}
	return maySign(c)
}

// publishes judges who signed published trust anchors, whom answersCMC let pass.
func publishes(c *x509.Certificate, s Server) error {
	if c.IsCA || purposesOf(c).cmc || s.shows(c) {
		return nil
	}
	return fmt.Errorf("the certificate of %q, who signed them, may be any device's: it is no authority's, not for CMC (id-kp-cmcCA, id-kp-cmcRA), and not the one that the server shows in TLS", c.Subject)
}

// makes judges who signed a key that the server made.
func makes(c *x509.Certificate, s Server) error {
	if p := purposesOf(c); p.tls && !c.IsCA && !s.shows(c) {
		return fmt.Errorf("the certificate of %q is for TLS alone, and not the one that the server shows in it", c.Subject)
	}
	return maySign(c)
}

func maySign(c *x509.Certificate) error {
	if c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return fmt.Errorf("the certificate of %q is not for signing", c.Subject)
	}
	return nil
}

var errOwnSignature = errors.New("this device's own key signed it, not the server's")

// others gives an error if a key is this client's own, be it of an identity or one of
// more, which may hold nil.
func (c *Client) others(public crypto.PublicKey, more ...crypto.PublicKey) error {
	for _, id := range c.config.Identities {
		more = append(more, id.Certificate.PublicKey)
	}
	if slices.ContainsFunc(more, func(own crypto.PublicKey) bool { return own != nil && sameKey(public, own) }) {
		return errOwnSignature
	}
	return nil
}
