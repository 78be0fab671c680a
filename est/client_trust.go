package est

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Trust is what verifies a server: two databases of trust anchors that are never mixed,
// as one makes a server more than the other (RFC 7030 §3.3.1, §3.6). Empty ones are
// disabled; with both disabled only [Client.Bootstrap] is possible.
type Trust struct {
	// Explicit are the anchors of this EST CA: configured, or had from /cacerts.
	Explicit []*x509.Certificate
	// Intermediates help to build chains to Explicit anchors; they verify nothing.
	Intermediates []*x509.Certificate
	// Implicit are third parties' anchors, as the system's for the web.
	Implicit *x509.CertPool
	// ImplicitOff disables Implicit, which after /cacerts is a SHOULD (RFC 7030 §4.1.3).
	// The pool then only serves to say why a server is refused.
	ImplicitOff bool
}

// Database says which anchors verified a server.
type Database string

// The databases, and none: what a bootstrap reads is verified by nothing.
const (
	ByExplicit Database = "explicit"
	ByImplicit Database = "implicit"
	ByNothing  Database = "none"
)

// Server is the server that an answer came from.
type Server struct {
	Host        string // and port
	Certificate *x509.Certificate
	Verified    Database
	RA          bool   // authorised by id-kp-cmcRA (RFC 7030 §3.6.1), not by its name alone
	Version     uint16 // of TLS

	named bool // the certificate is for the very host that was connected to
}

// Refusal is why a server is not believed.
type Refusal string

// The refusals.
const (
	NoAnchors    Refusal = "no anchors"    // nothing is configured to verify it by
	Unverified   Refusal = "unverified"    // its chain leads to none of the anchors
	OnlyImplicit Refusal = "only implicit" // only anchors that are off by now verify it
	OtherName    Refusal = "other name"    // verified, but not authorised (RFC 7030 §3.6)
)

// ServerError says that a server is not authenticated or not authorised; nothing was
// sent to it and no answer of it was read.
type ServerError struct {
	Host   string
	Why    Refusal
	Reason string
	Err    error // what verification found; may be nil
}

// Error says what to do.
func (e *ServerError) Error() string {
	text := e.Host + ": " + e.Reason
	if e.Err != nil {
		text += " (" + e.Err.Error() + ")"
	}
	return text
}

// Unwrap gives what verification found.
func (e *ServerError) Unwrap() error { return e.Err }

// oidCMCRA is id-kp-cmcRA (RFC 6402 §2.10).
var oidCMCRA = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 28}

// itinerary is which URIs led to a server: the configured one, and the latest that a
// redirect named.
type itinerary struct {
	configured string // host names, without ports
	current    string
	host       string // current with its port, for messages
	// unnamed: an earlier server's certificate was not for its URI, but authorised
	// otherwise (RFC 7030 §3.6.1); that is enough under Explicit anchors only.
	unnamed bool
}

// authorise judges a server by its certificates (RFC 7030 §3.3.1 and §3.6).
func (t Trust) authorise(way itinerary, chain []*x509.Certificate, now time.Time) (Server, error) {
	s := Server{Host: way.host}
	if len(chain) == 0 {
		return s, &ServerError{Host: way.host, Why: Unverified, Reason: "the server showed no certificate"}
	}
	s.Certificate = chain[0]
	if len(t.Explicit) == 0 && !t.implicit() {
		return s, &ServerError{Host: way.host, Why: NoAnchors, Reason: "there is no trust anchor to verify the server by: bootstrap with the fingerprint of its root (RFC 7030 section 4.1.1), or name a file of anchors"}
	}
	paths, failed := t.explicit(chain, now)
	if failed == nil {
		s.Verified = ByExplicit
		return t.underExplicit(s, way, paths)
	}
	if t.implicit() {
		if err := verifyImplicit(t.Implicit, chain, now); err != nil {
			return s, &ServerError{Host: way.host, Why: Unverified, Reason: "the server's certificate does not lead to any trust anchor, explicit or implicit", Err: err}
		}
		s.Verified = ByImplicit
		return t.underImplicit(s, way)
	}
	if t.Implicit != nil && verifyImplicit(t.Implicit, chain, now) == nil {
		return s, &ServerError{Host: way.host, Why: OnlyImplicit, Err: failed, Reason: "the server still shows a certificate that only implicit trust anchors verify, and those are off since the CA's own anchors are known (RFC 7030 section 4.1.3). This client cannot send the Trusted CA Indication that would ask for another one: have the server show a certificate of its EST CA to everybody, or turn the implicit anchors on again"}
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](failed); ok && invalid.Reason == x509.Expired {
		return s, &ServerError{Host: way.host, Why: Unverified, Err: failed, Reason: "a certificate that the server shows has ended or is not valid yet: look at this machine's clock first"}
	}
	return s, &ServerError{Host: way.host, Why: Unverified, Err: failed, Reason: "the server's certificate does not lead to the explicit trust anchors: if its CA has a new root that was never fetched, bootstrap again; else this is not your server"}
}

func (t Trust) implicit() bool { return t.Implicit != nil && !t.ImplicitOff }

// explicit gives the chains to Explicit anchors.
func (t Trust) explicit(chain []*x509.Certificate, now time.Time) ([][]*x509.Certificate, error) {
	if len(t.Explicit) == 0 {
		return nil, errors.New("there are no explicit trust anchors")
	}
	options := t.options(now)
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	return chain[0].Verify(options)
}

// options verify by Explicit anchors, for TLS servers.
func (t Trust) options(now time.Time) x509.VerifyOptions {
	o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now}
	for _, c := range t.Explicit {
		o.Roots.AddCert(c)
	}
	for _, c := range t.Intermediates {
		o.Intermediates.AddCert(c)
	}
	return o
}

func verifyImplicit(pool *x509.CertPool, chain []*x509.Certificate, now time.Time) error {
	options := x509.VerifyOptions{Roots: pool, Intermediates: x509.NewCertPool(), CurrentTime: now}
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(options)
	return err
}

// underExplicit is RFC 7030 §3.6.1: the configured URI or the latest redirect's matches,
// or the certificate is an RA's.
func (t Trust) underExplicit(s Server, way itinerary, paths [][]*x509.Certificate) (Server, error) {
	err := s.Certificate.VerifyHostname(way.current) // names in SAN alone: Go has no CN rule (RFC 6125 §6.4)
	if s.named = err == nil; s.named || s.Certificate.VerifyHostname(way.configured) == nil {
		return s, nil
	}
	if slices.ContainsFunc(paths, leadsToRA) {
		s.RA = true
		return s, nil
	}
	return s, &ServerError{Host: way.host, Why: OtherName, Err: err, Reason: fmt.Sprintf("the server's certificate is neither for the name %s nor one of a registration authority (id-kp-cmcRA), so it is not authorised (RFC 7030 section 3.6.1): use the name that it is for", way.current)}
}

// underImplicit is RFC 7030 §3.6.2: each URI on the way matches the certificate of the
// server that it led to, and id-kp-cmcRA counts for nothing.
func (t Trust) underImplicit(s Server, way itinerary) (Server, error) {
	if err := s.Certificate.VerifyHostname(way.current); err != nil {
		return s, &ServerError{Host: way.host, Why: OtherName, Err: err, Reason: fmt.Sprintf("the server's certificate is not for the name %s, so it is not authorised (RFC 7030 section 3.6.2): use the name that it is for", way.current)}
	}
	if way.unnamed {
		return s, &ServerError{Host: way.host, Why: OtherName, Reason: "only implicit trust anchors verify this server, and the one that redirected here was not authorised by its name (RFC 7030 section 3.6.2): ask for this server by its own address"}
	}
	s.named = true
	return s, nil
}

// leadsToRA tells whether the chain's leaf has id-kp-cmcRA, and no authority above it
// was kept from certifying that.
func leadsToRA(path []*x509.Certificate) bool {
	for i, c := range path {
		if i > 0 && len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 {
			continue // it may certify anything
		}
		named := slices.ContainsFunc(c.UnknownExtKeyUsage, oidCMCRA.Equal)
		if !named && (i == 0 || !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)) {
			return false
		}
	}
	return true
}

// settings are the TLS client's. Verification is all ours, as Go's cannot tell which
// anchors verified; it is done in the handshake, so that a wrong server gets nothing.
func (c *Client) settings(way itinerary, shown func(*tls.CertificateRequestInfo) (*tls.Certificate, error), seen *Server) *tls.Config {
	trust := c.trust
	return &tls.Config{
		MinVersion: tls.VersionTLS12, MaxVersion: c.config.MaxTLS, // RFC 8996
		ServerName:             way.current,
		NextProtos:             []string{"http/1.1"},
		InsecureSkipVerify:     true, // by VerifyConnection instead
		SessionTicketsDisabled: true, // each connection verifies anew, and has a binding of its own
		Time:                   c.config.Now,
		GetClientCertificate:   shown,
		VerifyConnection: func(cs tls.ConnectionState) error {
			s, err := trust.authorise(way, cs.PeerCertificates, c.config.Now())
			s.Version = cs.Version
			*seen = s
			return err
		},
	}
}

// present gives the certificate to show: of the candidates the first that can do TLS
// with this server. A server's list of acceptable CAs is not obeyed: EST servers judge
// certificates of their own CA and of third parties that they need not list.
func present(candidates []ClientIdentity) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked := *info
		asked.AcceptableCAs = nil
		for _, id := range candidates {
			shown := &tls.Certificate{Certificate: [][]byte{id.Certificate.Raw}, PrivateKey: id.Key, Leaf: id.Certificate}
			for _, above := range id.Chain {
				shown.Certificate = append(shown.Certificate, above.Raw)
			}
			if asked.SupportsCertificate(shown) == nil {
				return shown, nil
			}
		}
		return &tls.Certificate{}, nil // none: the server may want a password
	}
}

// forTLS tells whether a certificate's key may sign a handshake as a client.
func forTLS(c *x509.Certificate) bool {
	if c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return false
	}
	if len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 {
		return true
	}
	return slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}
