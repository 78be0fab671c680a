package enroll

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"chancery/acme"
	"chancery/caa"
)

// WrongError says that what a CA sent is not what was asked for, or not to be trusted
// (D10): it is never installed.
type WrongError struct {
	What   string // "key", "names", "kind", "validity", "chain", "challenge"
	Reason string
	Err    error // may be nil
}

// Error says what is wrong.
func (e *WrongError) Error() string { return "what the CA sent is refused: " + e.Reason }

// Unwrap gives the cause.
func (e *WrongError) Unwrap() error { return e.Err }

func (e *WrongError) advice() string {
	switch e.What {
	case "chain":
		return "if you trust this CA, give its root under roots for it in the configuration; nothing was installed"
	case "kind":
		return "ask the CA why, or set the profile for this kind under that CA in the configuration; nothing was installed"
	case "validity":
		return "look at this machine's clock first; nothing was installed"
	}
	return "report this to the CA; nothing was installed"
}

// The certificate policies by which public CAs mark what they vetted (CA/Browser Forum
// Baseline Requirements §7.1.6.1; ETSI EN 319 411-2 §5.3).
var policies = map[caa.Kind][]string{
	caa.DomainValidated:       {"2.23.140.1.2.1"},
	caa.OrganizationValidated: {"2.23.140.1.2.2"},
	caa.ExtendedValidation:    {"2.23.140.1.1"},
	caa.QualifiedWeb:          {"0.4.0.194112.1.4", "0.4.0.194112.1.5", "0.4.0.194112.1.6"},
}

// individual is vetted more than a domain, though not an organisation.
const individual = "2.23.140.1.2.3"

// kindOf gives the kind that a certificate's policies claim, the highest of several;
// AnyKind if they claim none. What a CA marks by policies of its own is configured.
func kindOf(c *x509.Certificate, more map[caa.Kind][]string) caa.Kind {
	has := func(oids []string) bool {
		return slices.ContainsFunc(c.Policies, func(p x509.OID) bool { return slices.Contains(oids, p.String()) })
	}
	for _, k := range []caa.Kind{caa.QualifiedWeb, caa.ExtendedValidation, caa.OrganizationValidated, caa.DomainValidated} {
		if has(policies[k]) || has(more[k]) {
			return k
		}
	}
	if has([]string{individual}) {
		return caa.DomainValidated
	}
	return caa.AnyKind
}

// checking is what a certificate must be.
type checking struct {
	key      crypto.PublicKey
	subjects []caa.Subject
	kind     caa.Kind
	policies map[caa.Kind][]string
	roots    *x509.CertPool
	now      time.Time
}

// ahead is how far a CA's clock may be before ours.
const ahead = time.Hour

// leaf checks everything but the chain.
func (c checking) leaf(cert *x509.Certificate) error {
	public, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	switch {
	case !ok || !public.Equal(c.key):
		return &WrongError{What: "key", Reason: "the certificate is for another key"}
	case cert.IsCA:
		return &WrongError{What: "names", Reason: "the certificate is an authority's"}
	}
	if err := c.names(cert); err != nil {
		return err
	}
	switch {
	case !cert.NotAfter.After(cert.NotBefore):
		return &WrongError{What: "validity", Reason: "the certificate ends before it begins"}
	case !cert.NotAfter.After(c.now):
		return &WrongError{What: "validity", Reason: "the certificate ended on " + cert.NotAfter.Format(time.RFC3339) + " by this machine's clock"}
	case cert.NotBefore.After(c.now.Add(ahead)):
		return &WrongError{What: "validity", Reason: "the certificate begins on " + cert.NotBefore.Format(time.RFC3339) + " only, by this machine's clock"}
	}
	// Any certificate vouches for the control of its names, so all will do for ca-dv.
	if got := kindOf(cert, c.policies); got.Below(c.kind) && c.kind != caa.DomainValidated {
		return &WrongError{What: "kind", Reason: fmt.Sprintf("a certificate of kind %s was asked for, and its policies do not say that it is one", c.kind)}
	}
	return nil
}

// names compares the names with those that were asked for: all, and no others.
func (c checking) names(cert *x509.Certificate) error {
	wrong := func(reason string) error { return &WrongError{What: "names", Reason: reason} }
	var wanted, got []string
	for _, s := range c.subjects {
		wanted = append(wanted, canonicalName(s.Name))
	}
	for _, name := range cert.DNSNames {
		got = append(got, canonicalName(name))
	}
	for _, ip := range cert.IPAddresses {
		got = append(got, canonicalName(ip.String()))
	}
	if len(cert.EmailAddresses)+len(cert.URIs) > 0 {
		return wrong("the certificate holds mail addresses or URIs, which nobody asked for")
	}
	for _, name := range wanted {
		if !slices.Contains(got, name) {
			return wrong("the certificate lacks the name " + name)
		}
	}
	for _, name := range got {
		if !slices.Contains(wanted, name) {
			return wrong(fmt.Sprintf("the certificate holds the name %s, which nobody asked for", clean(errors.New(name))))
		}
	}
	if cn := cert.Subject.CommonName; cn != "" && kindOf(cert, c.policies).Below(caa.OrganizationValidated) && !slices.Contains(wanted, canonicalName(cn)) {
		return wrong(fmt.Sprintf("the certificate's common name %s is none of the names", clean(errors.New(cn))))
	}
	return nil
}

func canonicalName(name string) string {
	if ip := net.ParseIP(name); ip != nil {
		return ip.String()
	}
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// chain checks that it leads to an anchor and is good for a server.
func (c checking) chain(certs []*x509.Certificate) error {
	between := x509.NewCertPool()
	for _, cert := range certs[1:] {
		between.AddCert(cert)
	}
	now := c.now
	if now.Before(certs[0].NotBefore) {
		now = certs[0].NotBefore // within what leaf allows
	}
	_, err := certs[0].Verify(x509.VerifyOptions{Roots: c.roots, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		where := "the system's trust store"
		if c.roots != nil {
			where = "the roots that are configured"
		}
		return &WrongError{What: "chain", Reason: fmt.Sprintf("the certificate does not lead to %s: %s", where, clean(err)), Err: err}
	}
	return nil
}

// alternates is how many other chains are looked at when the first does not verify.
const alternates = 5

// download fetches the certificate and checks it (RFC 8555 §7.4.2; D10).
func (t *turn) download(ctx context.Context, order *acme.Order, c checking) (*acme.Chain, error) {
	r := t.run
	c.now, c.roots = r.engine.config.Now(), r.engine.config.Settings.Roots
	if t.conf != nil {
		c.policies = t.conf.Policies
		if t.conf.Roots != nil {
			c.roots = t.conf.Roots
		}
	}
	first, err := t.client.Certificate(ctx, order.Certificate)
	if err != nil {
		return nil, err
	}
	if err := c.leaf(first.Certificates[0]); err != nil {
		return nil, err
	}
	bad := c.chain(first.Certificates)
	if bad == nil {
		return first, nil
	}
	for _, url := range first.Alternates[:min(len(first.Alternates), alternates)] {
		other, err := t.client.Certificate(ctx, url)
		if err == nil && other.Certificates[0].Equal(first.Certificates[0]) && c.chain(other.Certificates) == nil {
			return other, nil
		}
	}
	return nil, bad
}
