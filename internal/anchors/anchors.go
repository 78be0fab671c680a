package anchors

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// Revocation says how it is found out whether a certificate was revoked.
type Revocation string

// The ways. "" is None.
const (
	None Revocation = "none" // not at all: the maker publishes nothing
	CRL  Revocation = "crl"
	OCSP Revocation = "ocsp"
	Any  Revocation = "any" // OCSP, and where that gives no answer, CRLs
)

// Config says what a set is.
type Config struct {
	Name          string              // in errors and logs
	Roots         []*x509.Certificate // at least one
	Intermediates []*x509.Certificate // known beforehand, as some devices send none
	Revocation    Revocation
	// Soft lets a certificate pass whose revocation cannot be found out now. Without
	// it that is a refusal of kind [Unchecked].
	Soft bool
	// CRLs are where CRLs are had: "file:/path", "http://…", "https://…". Empty: from
	// where each certificate says (RFC 5280 §4.2.1.13).
	CRLs []string
	// OCSP is the URL of a responder; "": the one that each certificate names
	// (RFC 5280 §4.2.2.1).
	OCSP string
	// Loopback lets URLs that certificates name lead to loopback and link-local
	// addresses. It is for tests and single machines; URLs above always may.
	Loopback bool
	Logger   *slog.Logger // nil: silence
}

// Set is what stands above one maker's certificates. It is safe for concurrent use.
type Set struct {
	config        Config
	roots         *x509.CertPool
	intermediates []*x509.Certificate
	lists         *lists
	responders    *responders
}

// New gives a set. An error says what in the configuration cannot be used; CRLs in
// files are read, those at URLs are not fetched before they are needed.
func New(c Config) (*Set, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if len(c.Roots) == 0 {
		return nil, fmt.Errorf("the anchors %q have no root certificate", c.Name)
	}
	if !slices.Contains([]Revocation{"", None, CRL, OCSP, Any}, c.Revocation) {
		return nil, fmt.Errorf("the anchors %q: revocation is none, crl, ocsp or any, not %q", c.Name, string(c.Revocation))
	}
	s := &Set{config: c, roots: x509.NewCertPool(), intermediates: slices.Clone(c.Intermediates)}
	for _, root := range c.Roots {
		s.roots.AddCert(lasting(root))
		if time.Now().After(root.NotAfter) {
			c.Logger.Warn("a maker's root has ended; it counts until it is taken out of the configuration", "anchors", c.Name, "root", root.Subject.String())
		}
	}
	var err error
	if s.lists, err = newLists(c); err != nil {
		return nil, err
	}
	s.responders, err = newResponders(c)
	return s, err
}

// lasting gives a copy of a root that is good at any time. What an administrator trusts
// is a name and a key, which have no end (RFC 5280 §6.1.1 (d)), and devices that were
// made for life outlive the roots of their makers.
func lasting(root *x509.Certificate) *x509.Certificate {
	anchor := *root
	anchor.NotBefore, anchor.NotAfter = time.Time{}, time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	return &anchor
}

// Name gives the set's name.
func (s *Set) Name() string { return s.config.Name }

// maxShown bounds the certificates that a client may send beside its own.
const maxShown = 10

// mostRSA bounds their keys, in bits, as TLS does: what a signature by a longer one takes
// to verify is work that a stranger chose for us.
const mostRSA = 8192

// Verify tells whether the first certificate of chain is good at a time: signed under a
// root of the set over what else is in chain and the set's intermediates (RFC 5280 §6),
// and not revoked. Makers' certificates for life are taken as they are: without an end
// (99991231235959Z), without extended key usage and with none of ours, without
// subject alternative name, or with a critical one that has nothing but otherNames.
// Name constraints count. The error is an [*Error], or the context's.
func (s *Set) Verify(ctx context.Context, chain []*x509.Certificate, now time.Time) error {
	if len(chain) == 0 {
		return s.refuse(Unknown, errors.New("there is no certificate"))
	}
	if len(chain) > maxShown {
		return s.refuse(Unknown, fmt.Errorf("%d certificates were sent; %d are the limit", len(chain), maxShown))
	}
	for _, cert := range chain {
		if key, ok := cert.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > mostRSA {
			return s.refuse(Unknown, fmt.Errorf("the RSA key of %q has %d bits; %d are the limit", cert.Subject, key.N.BitLen(), mostRSA))
		}
	}
	leaf := understood(chain[0])
	pool := x509.NewCertPool()
	for _, cert := range append(slices.Clone(s.intermediates), chain[1:]...) {
		pool.AddCert(cert)
	}
	paths, err := leaf.Verify(s.options(pool, now))
	if err != nil {
		return s.judge(leaf, pool, err)
	}
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return s.refuse(Unfit, errors.New("its keyUsage does not allow digital signatures (RFC 5280 §4.2.1.3)"))
	}
	return s.unrevoked(ctx, paths, now)
}

func (s *Set) options(intermediates *x509.CertPool, now time.Time) x509.VerifyOptions {
	return x509.VerifyOptions{
		Roots: s.roots, Intermediates: intermediates, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
}

// judge says of a certificate that did not verify whether it is out of its time or not
// fit, or none of this set's: the standard library looks at these first, whoever signed.
func (s *Set) judge(leaf *x509.Certificate, pool *x509.CertPool, err error) error {
	var invalid x509.CertificateInvalidError
	var unhandled x509.UnhandledCriticalExtension
	kind := Unfit
	switch {
	case errors.As(err, &unhandled):
	case !errors.As(err, &invalid):
		return s.refuse(Unknown, err)
	case invalid.Reason == x509.Expired:
		kind = Expired
	default:
		return s.refuse(Unfit, err)
	}
	plain := *leaf
	plain.UnhandledCriticalExtensions = nil
	for _, at := range []time.Time{leaf.NotAfter, leaf.NotBefore} {
		if _, again := plain.Verify(s.options(pool, at)); again == nil {
			return s.refuse(kind, err)
		}
	}
	return s.refuse(Unknown, err)
}

func (s *Set) refuse(kind Kind, err error) *Error {
	return &Error{Kind: kind, Set: s.config.Name, Detail: err.Error(), Err: err}
}

var oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// understood gives a copy of a device's certificate whose critical subject alternative
// name counts as read: the standard library reads no otherName, and who authorises the
// device does (RFC 4108 §5, IEEE 802.1AR §8.10.4).
func understood(cert *x509.Certificate) *x509.Certificate {
	known := *cert
	known.UnhandledCriticalExtensions = slices.DeleteFunc(slices.Clone(cert.UnhandledCriticalExtensions), oidSubjectAltName.Equal)
	return &known
}
