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

// renewed finds the certificate that a re-enrolment renews (RFC 7030 §2.3, §3.3.2,
// §4.2.2): the one that the client presents, if it is of the label's profile and has
// the names; else one of the ledger with just these names that who asks holds or may
// have, for keys that cannot do TLS and for certificates that are lost; else the
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

// found looks for the certificate in the ledger: one that who asks holds, else any that
// it may renew; nil: there is none.
func (s *Server) found(c *call, n requestNames) (*ca.Record, error) {
	sets := [][]ca.Identifier{nil}
	if n.san != nil {
		asked, err := ca.NamesOf(n.san)
		if err != nil {
			return nil, err
		}
		sets = [][]ca.Identifier{asked}
	} else if bare := n.bare(); bare != nil {
		sets = [][]ca.Identifier{bare, nil}
	}
	var found *ca.Record
	for _, set := range sets {
		candidates, err := s.Certificates.Renewable(c.r.Context(), Renewal{
			Subject: rdnText(n.subject), Names: set, Profiles: []string{c.label.Profile}, After: c.now.Add(-c.label.ExpiredGrace),
		})
		if err != nil {
			return nil, err
		}
		for i := range candidates {
			r := &candidates[i]
			cert, err := x509.ParseCertificate(r.DER)
			if err != nil {
				return nil, fmt.Errorf("reading the certificate %s from the ledger: %w", r.Serial, err)
			}
			switch {
			case !n.same(cert):
			case s.holds(c, r, cert):
				return r, nil
			case found == nil && c.mayRenew(r, cert):
				found = r
			}
		}
	}
	return found, nil
}

// holds tells whether a certificate of the ledger is who asks' own, so that its names are
// proven by it: it shows that one, or another of ours with the same subject and the same
// alternative names (RFC 7030 §3.3.2), or the very maker's certificate by which it was
// got. One of the same subject alone may be anybody's, as all devices of an owner may have
// his name, and a password may be a whole fleet's. Registration authorities hold nothing
// here.
func (s *Server) holds(c *call, r *ca.Record, cert *x509.Certificate) bool {
	switch {
	case c.who.RA:
		return false
	case c.who.Record != nil:
		return r.Serial == c.who.Record.Serial || s.holderOf(r.Issuer, cert) == c.who.Holder
	}
	return c.who.Maker != "" && r.By == c.who.principal()
}

// mayRenew tells whether who asks may renew a certificate that it does not hold, lost with
// its key for example: that lets it have no more than it may enrol, and revokes nothing.
// Where an approver decides about names, it is to be known for it: it was got by the same
// user, or with the same certificate, or has the subject of the one that is shown.
// Registration authorities ask for others; what they may is up to RANames.
func (c *call) mayRenew(r *ca.Record, cert *x509.Certificate) bool {
	switch {
	case c.who.RA:
		return true
	case c.who.Expired:
		return false
	case c.anythingApproved():
		return c.had(r) || c.who.Record != nil && len(cert.Subject.Names) > 0 && ca.SameName(cert.RawSubject, c.who.Certificate.RawSubject)
	}
	return len(c.policyOf(nil).beyond(r.Names, holdingOf(cert).subject)) == 0
}

// had tells whether a certificate was had by the same user, or with the same
// certificate, as ask now.
func (c *call) had(r *ca.Record) bool {
	if r.By.Room != Room {
		return false
	}
	certificate, user := splitIdentity(r.By.ID)
	mine, me := splitIdentity(c.who.String())
	return user != "" && user == me || certificate != "" && certificate == mine
}

// needsNoWord tells whether what waits for a person elsewhere under a label with Manual
// is a renewal of one's own certificate, for which the word was given: of the one that is
// presented, of the label's profile, with the same subject and names, and proven without a
// person. A password is not enough, as several may have it. Registration authorities have
// none of their own here, and keys that we make are new to everybody.
func (s *Server) needsNoWord(c *call, ask *Ask, evidence []ca.Evidence) bool {
	old := c.who.Record
	if c.label.ManualRenewals || c.who.RA || ask.Key == nil || old == nil || old.Profile != c.label.Profile {
		return false
	}
	if ask.Renews != nil && ask.Renews.Serial != old.Serial { // nil: simpleenroll, with one's present certificate
		return false
	}
	h := holdingOf(c.who.Certificate)
	if h.subject != ask.Subject || !sameIdentifiers(h.names, ask.Names) {
		return false
	}
	return !slices.ContainsFunc(ask.Names, func(n ca.Identifier) bool {
		return !slices.ContainsFunc(evidence, func(e ca.Evidence) bool {
			return e.Identifier == n && slices.Contains(s.profile(c).Evidence, e.Method)
		})
	})
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
