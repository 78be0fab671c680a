package estserver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"chancery/est"
	"chancery/internal/ca"
)

// authorities are the certificates of our own authorities, as parsed once for a
// picture of the hierarchy, and what came of verifying others under them.
type authorities struct {
	of    *ca.Issuers
	certs []*x509.Certificate

	mu    sync.Mutex
	known map[[sha256.Size]byte]ours // by certificate; see remember
}

// ours is what is known of a certificate that one of the authorities signed.
type ours struct {
	record *ca.Record // nil: not known yet
	holder string     // see [Server.holderOf]
}

// maxRemembered bounds the certificates that are remembered.
const maxRemembered = 4096

// remember keeps that one of the authorities signed a certificate and, once they are
// known, the record of it, which is to the octet the one that the ledger has, and who its
// holder is: none of that can change under this picture. Whether it was revoked is asked
// each time.
func (a *authorities) remember(cert *x509.Certificate, o ours) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.known) >= maxRemembered {
		clear(a.known)
	}
	a.known[sha256.Sum256(cert.Raw)] = o
}

// remembered tells whether one of the authorities signed a certificate as far as is
// remembered, and what else is known of it.
func (a *authorities) remembered(cert *x509.Certificate) (o ours, signed bool) {
	key := sha256.Sum256(cert.Raw)
	a.mu.Lock()
	defer a.mu.Unlock()
	o, signed = a.known[key]
	return o, signed
}

// issuedHere tells whether one of our authorities, active or retired, signed the
// certificate. That its name stands in it says nothing.
func (s *Server) issuedHere(cert *x509.Certificate) bool {
	now := s.picture()
	if _, signed := now.remembered(cert); signed {
		return true
	}
	for _, authority := range now.certs {
		if bytes.Equal(authority.RawSubject, cert.RawIssuer) && cert.CheckSignatureFrom(authority) == nil {
			now.remember(cert, ours{})
			return true
		}
	}
	return false
}

// authoritiesNow gives the certificates of our own authorities.
func (s *Server) authoritiesNow() []*x509.Certificate { return s.picture().certs }

func (s *Server) picture() *authorities {
	issuers := s.Authority.Issuers()
	if known := s.explicit.Load(); known != nil && known.of == issuers {
		return known
	}
	next := &authorities{of: issuers, known: map[[sha256.Size]byte]ours{}}
	for _, i := range issuers.List() {
		if len(i.Certs) == 0 {
			continue
		}
		if cert, err := x509.ParseCertificate(i.Certs[0]); err == nil {
			next.certs = append(next.certs, cert)
		}
	}
	s.explicit.Store(next)
	return next
}

// record gives what the ledger says, now, of a certificate that one of ours signed, and
// its holder; [ca.NotFound]: it does not know just that one.
func (s *Server) record(ctx context.Context, cert *x509.Certificate) (ca.Record, string, error) {
	now := s.picture()
	known, signed := now.remembered(cert)
	if known.record != nil {
		record := *known.record
		var err error
		record.RevokedAt, record.Reason, err = s.Certificates.Standing(ctx, record.Serial)
		return record, known.holder, err
	}
	record, err := s.Ledger.BySerial(ctx, ca.SerialOf(cert.SerialNumber))
	switch {
	case err != nil:
		return ca.Record{}, "", err
	case !record.Settled() || !bytes.Equal(record.DER, cert.Raw):
		return ca.Record{}, "", ca.Errorf(ca.NotFound, "the ledger has another certificate with this serial number")
	}
	holder := s.holderOf(record.Issuer, cert)
	if signed { // under this picture; the hierarchy may have changed just now
		kept := record
		now.remember(cert, ours{record: &kept, holder: holder})
	}
	return record, holder, nil
}

// holder judges a certificate that we signed by what the ledger says of it (RFC 5280
// §6.1.3: validity and revocation) and by its profile: a web server's opens nothing
// that is a device's.
func (s *Server) holder(c *call, cert *x509.Certificate) (Identity, error) {
	record, holder, err := s.record(c.r.Context(), cert)
	if err != nil && ca.KindOf(err) != ca.NotFound {
		return Identity{}, err
	}
	no := func(format string, args ...any) (Identity, error) {
		return Identity{}, refuse(http.StatusForbidden, format, args...)
	}
	who := Identity{Certificate: cert, Record: &record, Holder: holder}
	switch {
	case err != nil:
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

// holderOf names who has a certificate of ours, so that it is the same before and after
// renewals, whatever the key, and different for everybody else: a SHA-256, hex, over the
// line of the issuer, the subject (RFC 5280 §7.1) and the alternative names as a set.
func (s *Server) holderOf(issuer string, cert *x509.Certificate) string {
	line := issuer
	if i := s.Authority.Issuers().ByID(issuer); i != nil {
		line = i.Name // a rollover keeps it
	}
	parts := []string{"est holder", line, string(ca.NameKey(cert.RawSubject))}
	names, err := ca.CertificateNames(cert)
	if err != nil { // of a profile that certifies more than is read here: octet by octet
		parts = append(parts, "as it stands", string(sanOf(cert)))
	}
	for _, n := range names {
		parts = append(parts, n.String())
	}
	slices.Sort(parts[3:])
	h := sha256.New()
	for _, part := range parts {
		_ = binary.Write(h, binary.BigEndian, uint32(len(part))) // a hash takes everything
		_, _ = io.WriteString(h, part)
	}
	return hex.EncodeToString(h.Sum(nil))
}
