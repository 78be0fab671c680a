package device

import (
	"context"
	"crypto/x509"
	"slices"
	"time"

	"chancery/est"
)

// chain gives the new certificate and what leads from it to a root, without that. An
// answer holds the certificate alone (RFC 7030 §4.2.3): when its issuer is newer than
// what is known, the CA's certificates are fetched anew. If they cannot be, the
// certificate is good all the same, and the next refresh comes in its time.
func (d *Device) chain(ctx context.Context, s *State, trust est.Trust, got *est.Issued) []*x509.Certificate {
	chain, whole := chainOf(got, trust, d.options.Now())
	if whole || len(trust.Explicit) == 0 {
		return chain
	}
	_, err := d.Refresh(ctx, s)
	if err == nil {
		trust, err = d.Trust(s)
	}
	if err != nil {
		d.tell(Warned, "the authority that issued the certificate is new, and the CA's certificates could not be fetched: %v", err)
		return chain
	}
	chain, _ = chainOf(got, trust, d.options.Now())
	return chain
}

// chainOf gives the shortest chain, and whether it leads to a root.
func chainOf(got *est.Issued, trust est.Trust, now time.Time) (chain []*x509.Certificate, whole bool) {
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	for _, c := range trust.Explicit {
		options.Roots.AddCert(c)
	}
	for _, c := range slices.Concat(trust.Intermediates, got.Others) {
		options.Intermediates.AddCert(c)
	}
	if now.Before(got.Certificate.NotBefore) {
		options.CurrentTime = got.Certificate.NotBefore
	}
	paths, err := got.Certificate.Verify(options)
	if err != nil {
		return []*x509.Certificate{got.Certificate}, false
	}
	shortest := paths[0]
	for _, p := range paths {
		if len(p) < len(shortest) {
			shortest = p
		}
	}
	return shortest[:max(len(shortest)-1, 1)], true
}
