package acmeserver

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"strconv"

	"chancery/acme"
	"chancery/internal/ca"
)

// chainMediaType is RFC 8555 §9.1's.
const chainMediaType = "application/pem-certificate-chain"

// certificate gives a certificate and its chain (RFC 8555 §7.4.2).
func (s *Server) certificate(ctx context.Context, c *call) (*answer, error) {
	return s.chain(ctx, c, 0)
}

// alternate gives the certificate with another chain (RFC 8555 §7.4.2).
func (s *Server) alternate(ctx context.Context, c *call) (*answer, error) {
	n, err := strconv.Atoi(c.path("n"))
	if err != nil || n < 1 || strconv.Itoa(n) != c.path("n") {
		return nil, ca.Errorf(ca.NotFound, "the certificate has no such chain")
	}
	return s.chain(ctx, c, n)
}

func (s *Server) chain(ctx context.Context, c *call, n int) (*answer, error) {
	if err := c.readOnly(); err != nil {
		return nil, err
	}
	record, err := s.ownCertificate(ctx, c)
	if err != nil {
		return nil, err
	}
	ways := s.ways(record)
	if n >= len(ways) {
		return nil, ca.Errorf(ca.NotFound, "the certificate has no such chain")
	}
	out := &answer{raw: encodeChain(record.DER, ways[n]), mediaType: chainMediaType}
	for other := range ways {
		if other != n {
			out.links = append(out.links, link{s.certificateURL(record.Serial, other), "alternate"})
		}
	}
	return out, nil
}

// ownCertificate finds a certificate that the caller ordered.
func (s *Server) ownCertificate(ctx context.Context, c *call) (*ca.Record, error) {
	serial, err := ca.ParseSerial(c.path("serial"))
	if err != nil || string(serial) != c.path("serial") {
		return nil, ca.Errorf(ca.NotFound, "there is no such certificate")
	}
	record, err := s.Ledger.BySerial(ctx, serial)
	switch {
	case err != nil:
		return nil, err
	case record.By != c.principal():
		return nil, acme.Unauthorized("this certificate was ordered by another account")
	case !record.Settled():
		return nil, ca.Errorf(ca.NotFound, "the certificate is not finished yet; look at its order")
	}
	return &record, nil
}

// ways gives the chains above a certificate, never none: when every root has
// ended the issuer's own certificate is still told.
func (s *Server) ways(r *ca.Record) [][]*x509.Certificate {
	issuers := s.Authority.Issuers()
	var ways [][]*x509.Certificate
	for _, chain := range issuers.Chains(r.Issuer, s.Clock()) {
		ways = append(ways, chain.Certificates)
	}
	if len(ways) > 0 {
		return ways
	}
	if issuer := issuers.ByID(r.Issuer); issuer != nil {
		return [][]*x509.Certificate{{issuer.Certificate()}}
	}
	return [][]*x509.Certificate{nil}
}

func encodeChain(leaf []byte, above []*x509.Certificate) []byte {
	var b bytes.Buffer
	// Writing to a buffer does not fail, and there are no headers to be wrong.
	_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: leaf})
	for _, cert := range above {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	}
	return b.Bytes()
}
