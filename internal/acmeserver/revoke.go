package acmeserver

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"chancery/acme"
	"chancery/internal/ca"
)

// The reasons that a subscriber may give (RFC 5280 §5.3.1). The others say
// something about the authority, or are the administrators' to say.
var subscribersReasons = []ca.Reason{
	ca.Unspecified, ca.KeyCompromise, ca.AffiliationChanged, ca.Superseded, ca.CessationOfOperation,
}

// revoke revokes a certificate (RFC 8555 §7.6).
func (s *Server) revoke(ctx context.Context, c *call) (*answer, error) {
	var in acme.Revocation
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(in.Certificate)
	if err != nil {
		return nil, acme.Malformed("\"certificate\" is not one certificate in DER")
	}
	record, err := s.issuedHere(ctx, cert)
	if err != nil {
		return nil, err
	}
	by, right, err := s.mayRevoke(ctx, c, cert, record)
	if err != nil {
		return nil, err
	}
	reason, err := revocationReason(in.Reason, right)
	if err != nil {
		return nil, err
	}
	_, err = s.Authority.Revoke(ctx, ca.Revocation{Serial: record.Serial, Reason: reason, By: by, Once: c.once})
	if err != nil {
		return nil, err
	}
	return &answer{}, nil
}

// issuedHere finds the certificate's record. What is not ours byte for byte is
// somebody else's, whatever its serial.
func (s *Server) issuedHere(ctx context.Context, cert *x509.Certificate) (*ca.Record, error) {
	absent := ca.Errorf(ca.NotFound, "this certificate was not issued here; ask the authority that is named in it")
	if cert.SerialNumber.Sign() <= 0 || cert.SerialNumber.BitLen() > 160 {
		return nil, absent
	}
	record, err := s.Ledger.BySerial(ctx, ca.SerialOf(cert.SerialNumber))
	if err != nil && ca.KindOf(err) != ca.NotFound {
		return nil, err
	}
	if err != nil || !bytes.Equal(record.DER, cert.Raw) {
		return nil, absent
	}
	return &record, nil
}

// right says on what ground somebody may revoke a certificate.
type right int

const (
	byOrder right = iota // the account ordered it
	byKeyHolder
	byNames // the account holds authorisations for all its names
)

// mayRevoke checks the three ways of RFC 8555 §7.6.
func (s *Server) mayRevoke(ctx context.Context, c *call, cert *x509.Certificate, r *ca.Record) (ca.Principal, right, error) {
	if cert.IsCA {
		return ca.Principal{}, 0, acme.Unauthorized("an authority's certificate is revoked by its administrators")
	}
	if c.account == nil {
		key, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
		if !ok || !key.Equal(c.key.Public()) {
			return ca.Principal{}, 0, acme.Unauthorized("the request is signed with another key than the certificate's; sign it with that key, or with the account that ordered the certificate")
		}
		return ca.Principal{Room: Room, ID: "key:" + c.key.Thumbprint()}, byKeyHolder, nil
	}
	if r.By == c.principal() {
		return r.By, byOrder, nil
	}
	holds, err := s.holdsAll(ctx, c, r)
	if err != nil {
		return ca.Principal{}, 0, err
	}
	if !holds {
		return ca.Principal{}, 0, acme.Unauthorized("this account did not order the certificate and does not hold valid authorizations for all of its names")
	}
	return c.principal(), byNames, nil
}

// holdsAll tells whether the account holds a valid authorisation for each name.
// A certificate with none, or with one that ACME does not prove, is nobody's but
// its orderer's: "all of nothing" would be everybody's.
func (s *Server) holdsAll(ctx context.Context, c *call, r *ca.Record) (bool, error) {
	if len(r.Names) == 0 || slices.ContainsFunc(r.Names, func(n ca.Identifier) bool { return n.Type() != ca.TypeDNS && n.Type() != ca.TypeIP }) {
		return false, nil
	}
	valid, err := s.Orders.ValidAuthorizations(ctx, c.account.ID, r.Names, s.Clock())
	return len(valid) == len(r.Names), err
}

// revocationReason checks the code. Whoever only holds the names now cannot know
// of the key, and blocking somebody's key is no business of his.
func revocationReason(asked *int, why right) (ca.Reason, error) {
	if asked == nil {
		return ca.Unspecified, nil
	}
	allowed := subscribersReasons
	if why == byNames {
		allowed = slices.DeleteFunc(slices.Clone(allowed), func(r ca.Reason) bool { return r == ca.KeyCompromise })
	}
	if reason := ca.Reason(*asked); slices.Contains(allowed, reason) {
		return reason, nil
	}
	var words []string
	for _, r := range allowed {
		words = append(words, fmt.Sprintf("%d (%s)", int(r), r))
	}
	return 0, acme.NewProblem(acme.TypeBadRevocationReason, "the reason %d cannot be given here; use one of %s", *asked, strings.Join(words, ", "))
}
