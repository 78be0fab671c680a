package estserver

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"chancery/internal/ca"
)

var oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// renewed finds the certificate that a re-enrolment renews (RFC 7030 §2.3, §3.3.2,
// §4.2.2): the one that the client presents, if it is of the label's profile and has
// the names; else one of the ledger with just these names that belongs to the same
// identity, for keys that cannot do TLS and for certificates that are lost; else the
// presented one of another profile that the label takes.
func (s *Server) renewed(c *call, n requestNames) (*ca.Record, error) {
	presented := c.who.Record != nil && !c.who.RA && n.same(c.who.Certificate)
	if presented && c.who.Record.Profile == c.label.Profile {
		return c.who.Record, nil
	}
	found, err := s.found(c, n)
	if err != nil || found != nil {
		return found, err
	}
	if presented {
		return c.who.Record, nil
	}
	if c.who.Record != nil && !c.who.RA {
		return nil, refuse(http.StatusForbidden, "the request has not the names of your certificate (subject %s), and no other that you may renew has them: re-enrolment keeps subject and alternative names (RFC 7030 section 4.2.2)", rdnText(c.who.Certificate.RawSubject))
	}
	return nil, refuse(http.StatusForbidden, "there is no valid certificate with this subject and these alternative names that you may renew; enrol with simpleenroll")
}

// found looks for the certificate in the ledger; nil: there is none.
func (s *Server) found(c *call, n requestNames) (*ca.Record, error) {
	q := Renewal{Subject: rdnText(n.subject), Profiles: []string{c.label.Profile}, After: c.now.Add(-c.label.ExpiredGrace)}
	if n.san != nil {
		var err error
		if q.Names, err = ca.NamesOf(n.san); err != nil {
			return nil, err
		}
	}
	candidates, err := s.Certificates.Renewable(c.r.Context(), q)
	if err != nil {
		return nil, err
	}
	for i := range candidates {
		r := &candidates[i]
		cert, err := x509.ParseCertificate(r.DER)
		if err != nil {
			return nil, fmt.Errorf("reading the certificate %s from the ledger: %w", r.Serial, err)
		}
		if n.same(cert) && c.mayRenew(r, cert) {
			return r, nil
		}
	}
	return nil, nil
}

// mayRenew tells whether a certificate of the ledger belongs to who asks: it was had
// by the same user or with the same certificate, or the one presented is another of
// ours with the same subject (RFC 7030 §3.3.2). A third party's certificate with that
// subject is none. Registration authorities ask for others; what they may is up to
// RANames. A user needs the names to be his by policy, and that revokes nobody's
// certificate.
func (c *call) mayRenew(r *ca.Record, cert *x509.Certificate) bool {
	if c.who.RA || c.had(r) {
		return true
	}
	if c.who.Record != nil && len(cert.Subject.Names) > 0 && ca.SameName(cert.RawSubject, c.who.Certificate.RawSubject) {
		return true
	}
	if c.who.Credential == nil || c.label.RevokeOld || c.label.Manual {
		return false
	}
	h := holdingOf(cert)
	_, err := c.authorise(&Ask{Names: h.names, Subject: h.subject}, nil)
	return err == nil
}

// had tells whether a certificate was had by the same user, or with the same
// certificate, as ask now.
func (c *call) had(r *ca.Record) bool {
	if r.By.Room != Room {
		return false
	}
	certificate, user := splitIdentity(r.By.ID)
	mine, me := splitIdentity(c.who.String())
	return user != "" && user == me || certificate != "" && certificate == mine && user == me
}

// needsNoWord tells whether what waits for a person elsewhere under a label with Manual
// is a renewal of one's own certificate, for which the word was given: the one that is
// presented, or that this identity had, of the label's profile, with the same subject and
// names, and proven without a person. Registration authorities have none of their own
// here, and keys that we make are new to everybody.
func (s *Server) needsNoWord(c *call, ask *Ask, evidence []ca.Evidence) bool {
	if c.label.ManualRenewals || c.who.RA || ask.Key == nil {
		return false
	}
	old := ask.Renews
	if old == nil {
		old = c.who.Record // simpleenroll, with one's present certificate
	}
	if old == nil || old.Profile != c.label.Profile {
		return false
	}
	if presented := c.who.Record != nil && c.who.Record.Serial == old.Serial; !presented && !c.had(old) {
		return false
	}
	h, err := holdingRenewed(old)
	if err != nil || h.subject != ask.Subject || !sameIdentifiers(h.names, ask.Names) {
		return false
	}
	return !slices.ContainsFunc(ask.Names, func(n ca.Identifier) bool {
		return !slices.ContainsFunc(evidence, func(e ca.Evidence) bool {
			return e.Identifier == n && slices.Contains(s.profile(c).Evidence, e.Method)
		})
	})
}

// sameIdentifiers compares names as sets.
func sameIdentifiers(a, b []ca.Identifier) bool {
	within := func(a, b []ca.Identifier) bool {
		return !slices.ContainsFunc(a, func(n ca.Identifier) bool { return !slices.Contains(b, n) })
	}
	return within(a, b) && within(b, a)
}

// splitIdentity takes the text of [Identity.String] apart.
func splitIdentity(text string) (certificate, user string) {
	if strings.HasPrefix(text, "certificate:") || strings.HasPrefix(text, "maker:") {
		certificate, user, _ = strings.Cut(text, "+")
		return certificate, user
	}
	return "", text
}

// rdnText writes a Name as the ledger's records have it.
func rdnText(der []byte) string {
	var list pkix.RDNSequence
	if rest, err := asn1.Unmarshal(der, &list); err != nil || len(rest) > 0 {
		return ""
	}
	var name pkix.Name
	name.FillFromRDNSequence(&list)
	return name.String()
}
