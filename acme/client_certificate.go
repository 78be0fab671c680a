package acme

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// Chain is a downloaded certificate with those that certify it, leaf first.
type Chain struct {
	// PEM is what the server sent.
	PEM []byte
	// Certificates are the same, parsed; there is at least one.
	Certificates []*x509.Certificate
	// Alternates are URLs of other chains for the same leaf (RFC 8555 §7.4.2).
	Alternates []string
}

// Certificate downloads a chain (RFC 8555 §7.4.2).
func (c *Client) Certificate(ctx context.Context, url string) (*Chain, error) {
	r, err := c.post(ctx, call{url: url, accept: PEMMediaType})
	if err != nil {
		return nil, err
	}
	chain, err := ParseChain(r.body)
	if err != nil {
		return nil, err
	}
	chain.Alternates = r.links("alternate")
	return chain, nil
}

// ParseChain reads application/pem-certificate-chain strictly: certificates and
// nothing else (RFC 8555 §11.4: a client MUST reject a file with more).
func ParseChain(text []byte) (*Chain, error) {
	chain := &Chain{PEM: text}
	for rest := bytes.TrimSpace(text); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		if !bytes.HasPrefix(rest, []byte("-----BEGIN CERTIFICATE-----")) {
			return nil, errors.New("acme: the certificate chain has something else than certificates in PEM")
		}
		block, after := pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" || len(block.Headers) != 0 {
			return nil, errors.New("acme: the certificate chain is damaged: bad PEM")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("acme: certificate %d of the chain: %w", len(chain.Certificates)+1, err)
		}
		chain.Certificates = append(chain.Certificates, cert)
		rest = after
	}
	if len(chain.Certificates) == 0 {
		return nil, errors.New("acme: the certificate chain is empty")
	}
	return chain, nil
}

// Revoke revokes a certificate, given in DER (RFC 8555 §7.6). The reason is one of
// RFC 5280 §5.3.1 or nil. The account signs, or signer if it is not nil: then it must be
// the certificate's own key.
func (c *Client) Revoke(ctx context.Context, certificate []byte, reason *int, signer crypto.Signer) error {
	d, err := c.dir(ctx)
	if err != nil {
		return err
	}
	if d.RevokeCert == "" {
		return fmt.Errorf("%w: revokeCert", ErrNotOffered)
	}
	_, err = c.post(ctx, call{url: d.RevokeCert, payload: Revocation{Certificate: certificate, Reason: reason}, signer: signer})
	return err
}

// RenewalInfo asks when to renew (RFC 9773 §4); it needs no account. The error is
// ErrNotOffered if the server does not say.
func (c *Client) RenewalInfo(ctx context.Context, cert *x509.Certificate) (*RenewalInfo, error) {
	d, err := c.dir(ctx)
	if err != nil {
		return nil, err
	}
	if d.RenewalInfo == "" {
		return nil, fmt.Errorf("%w: renewalInfo", ErrNotOffered)
	}
	id, err := CertID(cert)
	if err != nil {
		return nil, err
	}
	r, err := c.get(ctx, strings.TrimSuffix(d.RenewalInfo, "/")+"/"+id)
	if err != nil {
		return nil, err
	}
	var info RenewalInfo
	if err := r.decode(&info); err != nil {
		return nil, err
	}
	info.RetryAfter = r.retryAfter()
	return &info, nil
}
