package estserver

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"slices"
	"strings"

	"chancery/est"
	"chancery/internal/ca"
)

var oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// requestNames is what a request says of its subject, DER: a Name and GeneralNames.
type requestNames struct{ subject, san []byte }

func names(p *est.Parsed) requestNames { return requestNames{subject: p.RawSubject, san: p.SAN()} }

// sanOf gives a certificate's alternative names, DER; nil: it has none.
func sanOf(cert *x509.Certificate) []byte {
	for _, e := range cert.Extensions {
		if e.Id.Equal(oidSubjectAltName) {
			return e.Value
		}
	}
	return nil
}

// same tells whether a certificate has the same names: the subject by RFC 5280 §7.1, the
// alternative names as a set. Where one of both has none at all, its common name is taken
// for them as [Server.meant] does.
func (n requestNames) same(cert *x509.Certificate) bool {
	return ca.SameName(n.subject, cert.RawSubject) && n.sameSAN(cert)
}

func (n requestNames) sameSAN(cert *x509.Certificate) bool {
	san := sanOf(cert)
	if bytes.Equal(n.san, san) {
		return true
	}
	var asked, has []ca.Identifier
	var err error
	if n.san == nil {
		asked = n.bare()
	} else if asked, err = ca.NamesOf(n.san); err != nil {
		return false
	}
	if san == nil {
		has = requestNames{subject: cert.RawSubject}.bare()
	} else if has, err = ca.CertificateNames(cert); err != nil {
		return false // names that cannot be compared, and are not the same octets
	}
	return len(asked) > 0 && sameIdentifiers(asked, has)
}

// sameIdentifiers compares names as sets.
func sameIdentifiers(a, b []ca.Identifier) bool {
	within := func(a, b []ca.Identifier) bool {
		return !slices.ContainsFunc(a, func(n ca.Identifier) bool { return !slices.Contains(b, n) })
	}
	return within(a, b) && within(b, a)
}

// bare gives the name that the common name is where there are no alternative names: an
// address or a host name of more than one label, no wildcard; nil: it is none.
func (n requestNames) bare() []ca.Identifier {
	if n.san != nil || n.subject == nil {
		return nil
	}
	subject, err := ca.SubjectOf(n.subject)
	if err != nil {
		return nil
	}
	id, err := ca.IP(subject.CommonName)
	if err != nil {
		if id, err = ca.DNS(subject.CommonName); err != nil || id.IsWildcard() || !strings.Contains(id.Value(), ".") {
			return nil
		}
	}
	return []ca.Identifier{id}
}

// meant takes a common name that is a host name or an address for an alternative name
// where a request has none at all: libest and many routers ask so, and nobody looks for
// names of hosts in subjects any more (RFC 9525). That is so where the profile needs a
// name, and otherwise where who asks may have it: a common name that is allowed says
// nothing of the name.
func (s *Server) meant(c *call, n requestNames, ask *Ask) error {
	profile, bare := s.profile(c), n.bare()
	if bare == nil || !profile.Takes(bare[0].Type()) {
		return nil
	}
	if profile.MinNames == 0 && !c.label.anythingApproved() {
		held, err := s.held(c, ask.Renews)
		if err != nil {
			return err
		}
		if methods, _ := c.policyOf(held).lets(bare[0]); len(methods) == 0 {
			return nil
		}
	}
	ask.Names, ask.Detail["names_from"] = bare, "common name"
	return nil
}
