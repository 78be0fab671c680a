package acmeserver

import (
	"bytes"
	"context"
	"math/big"
	"slices"
	"time"

	"chancery/acme"
	"chancery/internal/ca"
)

const (
	// renewalPoll is when clients shall ask again (RFC 9773 §4.3).
	renewalPoll = 6 * time.Hour
	// maxWindow bounds the window of long-lived certificates.
	maxWindow = 7 * 24 * time.Hour
)

// renewalInfo tells anybody when to renew a certificate (RFC 9773 §4.2).
func (s *Server) renewalInfo(ctx context.Context, certID string) (*answer, error) {
	record, err := s.byCertID(ctx, certID)
	if err != nil {
		return nil, err
	}
	return &answer{body: acme.RenewalInfo{SuggestedWindow: renewalWindow(record)}, retryAfter: renewalPoll}, nil
}

// renewalWindow begins when two thirds of the certificate's life are over and
// lasts a tenth of it, at most a week; clients draw a moment in it, so their load
// spreads. Of a revoked certificate it lies before the revocation: renew now.
func renewalWindow(r *ca.Record) acme.Window {
	start := r.NotBefore.Add(r.NotAfter.Sub(r.NotBefore) / 3 * 2)
	end := start.Add(min(r.NotAfter.Sub(r.NotBefore)/10, maxWindow))
	if !r.RevokedAt.IsZero() {
		end = r.RevokedAt.Add(-time.Minute)
		start = end.Add(-time.Hour)
	}
	return acme.Window{Start: start.UTC().Truncate(time.Second), End: end.UTC().Truncate(time.Second)}
}

// byCertID finds a certificate by RFC 9773 §4.1's identifier: the serial alone
// does not do, the key identifier must be its issuer's.
func (s *Server) byCertID(ctx context.Context, certID string) (*ca.Record, error) {
	keyID, serial, err := acme.ParseCertID(certID)
	if err != nil {
		return nil, err
	}
	record, err := s.Ledger.BySerial(ctx, ca.SerialOf(new(big.Int).SetBytes(serial)))
	if err != nil && ca.KindOf(err) != ca.NotFound {
		return nil, err
	}
	if err == nil && record.Settled() {
		if issuer := s.Authority.Issuers().ByID(record.Issuer); issuer != nil && bytes.Equal(issuer.Certificate().SubjectKeyId, keyID) {
			return &record, nil
		}
	}
	return nil, ca.Errorf(ca.NotFound, "no certificate with this identifier was issued here")
}

// mayReplace checks the "replaces" of a new order (RFC 9773 §5). Two orders made
// at the very same time may both pass: the certificate replaced is told by both.
func (s *Server) mayReplace(ctx context.Context, c *call, certID string, names []ca.Identifier) error {
	record, err := s.byCertID(ctx, certID)
	if ca.KindOf(err) == ca.NotFound {
		return acme.Malformed("\"replaces\" names a certificate that was not issued here; leave it out")
	}
	if err != nil {
		return err
	}
	if record.By != c.principal() {
		return acme.Unauthorized("\"replaces\" names a certificate that another account ordered; leave it out")
	}
	if !slices.ContainsFunc(names, func(n ca.Identifier) bool { return slices.Contains(record.Names, n) }) {
		return acme.Malformed("\"replaces\" names a certificate that shares no name with this order; leave it out")
	}
	orders, err := s.Background.Replacing(ctx, certID)
	if err != nil {
		return err
	}
	for _, o := range orders {
		state, err := s.stateOf(ctx, o)
		if err != nil && ca.KindOf(err) != ca.NotFound {
			return err
		}
		if err != nil {
			continue // its authorisations were deleted after it had ended
		}
		if status, _ := state.status(s.Clock()); status != acme.OrderInvalid {
			return acme.NewProblem(acme.TypeAlreadyReplaced, "the certificate is replaced by the order %s already; leave \"replaces\" out, or use that order", s.orderURL(o.ID))
		}
	}
	return nil
}
