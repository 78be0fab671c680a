package estserver

import (
	"bytes"
	"crypto/x509"
	"net/http"
	"slices"
	"time"

	"chancery/est"
	"chancery/internal/ca"
)

// authorities are the certificates of our own authorities, as parsed once for a
// picture of the hierarchy.
type authorities struct {
	of    *ca.Issuers
	certs []*x509.Certificate
}

// issuedHere tells whether one of our authorities, active or retired, signed the
// certificate. That its name stands in it says nothing.
func (s *Server) issuedHere(cert *x509.Certificate) bool {
	for _, authority := range s.authoritiesNow() {
		if bytes.Equal(authority.RawSubject, cert.RawIssuer) && cert.CheckSignatureFrom(authority) == nil {
			return true
		}
	}
	return false
}

func (s *Server) authoritiesNow() []*x509.Certificate {
	issuers := s.Authority.Issuers()
	if known := s.explicit.Load(); known != nil && known.of == issuers {
		return known.certs
	}
	next := &authorities{of: issuers}
	for _, i := range issuers.List() {
		if len(i.Certs) == 0 {
			continue
		}
		if cert, err := x509.ParseCertificate(i.Certs[0]); err == nil {
			next.certs = append(next.certs, cert)
		}
	}
	s.explicit.Store(next)
	return next.certs
}

// holder judges a certificate that we signed by what the ledger says of it (RFC 5280
// §6.1.3: validity and revocation) and by its profile: a web server's opens nothing
// that is a device's.
func (s *Server) holder(c *call, cert *x509.Certificate) (Identity, error) {
	record, err := s.Ledger.BySerial(c.r.Context(), ca.SerialOf(cert.SerialNumber))
	if err != nil && ca.KindOf(err) != ca.NotFound {
		return Identity{}, err
	}
	no := func(format string, args ...any) (Identity, error) {
		return Identity{}, refuse(http.StatusForbidden, format, args...)
	}
	who := Identity{Certificate: cert, Record: &record}
	switch {
	case err != nil || !record.Settled() || !bytes.Equal(record.DER, cert.Raw):
		return no("your certificate bears this authority's signature, but its ledger does not know it; enrol anew")
	case !record.RevokedAt.IsZero():
		return no("your certificate was revoked on %s (%s); enrol anew in another way, or ask the administrators", day(record.RevokedAt), record.Reason)
	case c.now.Before(cert.NotBefore):
		return no("your certificate is not valid before %s", cert.NotBefore.UTC().Format(time.RFC3339))
	case c.now.After(cert.NotAfter):
		if !c.label.graces(c.op, cert, c.now) {
			return no("your certificate expired on %s; enrol anew in another way, or ask the administrators", day(cert.NotAfter))
		}
		who.Expired = true
	}
	if slices.Contains(c.label.RAs, record.Profile) && isCMCRA(cert) && !who.Expired {
		who.RA = true
		return who, nil
	}
	switch {
	case slices.Contains(c.label.RAs, record.Profile):
		return no("your certificate has the profile %s of registration authorities, but not the extended key usage id-kp-cmcRA (RFC 7030 section 3.7), or is expired", record.Profile)
	case !slices.Contains(c.label.holders(), record.Profile):
		return no("your certificate has the profile %s, whose holders cannot authenticate here", record.Profile)
	}
	return who, nil
}

// graces tells whether an expired certificate may still be renewed with.
func (l *Label) graces(op est.Operation, cert *x509.Certificate, now time.Time) bool {
	return op == est.SimpleReenroll && !now.After(cert.NotAfter.Add(l.ExpiredGrace))
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
