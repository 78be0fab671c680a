package estserver

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
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

// wanted reads the subject that is asked for; nil: none. What no certificate here can
// have is refused and not left out: the holder would have another name than it asked for,
// and could not renew it with that request. The error is of the core.
func (n requestNames) wanted() (ca.Subject, error) {
	if n.subject == nil {
		return ca.Subject{}, nil
	}
	subject, err := ca.SubjectOf(n.subject)
	if err != nil {
		return subject, err
	}
	var list pkix.RDNSequence
	if _, err := asn1.Unmarshal(n.subject, &list); err != nil {
		return subject, ca.Errorf(ca.BadCSR, "the subject is no distinguished name in DER")
	}
	var beyond []string
	for _, rdn := range list {
		for _, attribute := range rdn {
			oid := attribute.Type.String()
			if _, text := attribute.Value.(string); text && slices.Contains(certifiedAttributes, oid) {
				continue
			}
			if word := strangeAttributes[oid]; word != "" {
				oid = word
			}
			beyond = append(beyond, oid)
		}
	}
	if len(beyond) > 0 {
		return subject, ca.Errorf(ca.Denied, "the subject has what no certificate here can have: %s; leave it out (a mailbox can be an alternative name)", clipList(beyond))
	}
	return subject, nil
}

// certifiedAttributes are the types of attributes that [ca.SubjectOf] keeps.
var certifiedAttributes = []string{
	"2.5.4.3", "2.5.4.5", "2.5.4.6", "2.5.4.7", "2.5.4.8", "2.5.4.10", "2.5.4.11",
	"2.5.4.15", "1.3.6.1.4.1.311.60.2.1.3", // which no client may ask for: see authorise
}

// strangeAttributes names what people put into subjects that is not certified.
var strangeAttributes = map[string]string{
	"1.2.840.113549.1.9.1": "emailAddress", "1.2.840.113549.1.9.2": "unstructuredName", "1.2.840.113549.1.9.8": "unstructuredAddress",
	"0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID", "2.5.4.4": "surname", "2.5.4.9": "street",
	"2.5.4.12": "title", "2.5.4.13": "description", "2.5.4.17": "postalCode", "2.5.4.41": "name", "2.5.4.42": "givenName",
	"2.5.4.43": "initials", "2.5.4.44": "generationQualifier", "2.5.4.45": "x500UniqueIdentifier", "2.5.4.46": "dnQualifier",
	"2.5.4.65": "pseudonym", "2.5.4.97": "organizationIdentifier",
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

// bare gives the name that the common name is where there are no alternative names at all:
// an address, or a host name of more than one label; nil: it is none.
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
		if id, err = ca.DNS(subject.CommonName); err != nil || !strings.Contains(id.Value(), ".") {
			return nil
		}
	}
	return []ca.Identifier{id}
}

// meant takes a common name that is a host name or an address for the alternative name
// where a request has none at all: libest and many routers ask so, and the core certifies
// no such common name without the name, as nothing else proves it (RFC 9525).
func (s *Server) meant(c *call, n requestNames, ask *Ask) {
	if bare := n.bare(); bare != nil && s.profile(c).Takes(bare[0].Type()) {
		ask.Names, ask.Detail["names_from"] = bare, "common name"
	}
}
