package ca

import (
	"crypto/x509"
	"encoding/asn1"
	"net"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// permits checks names against the name constraints of the issuer and of all
// above it (RFC 5280 §4.2.1.10 and §6.1.4), so that nobody gets a certificate
// that no relying party accepts. One of the issuer's chains has to permit every
// name.
func (s *Issuers) permits(issuer *Issuer, names []Identifier) error {
	refusal := forbidden([]*x509.Certificate{issuer.cert}, names)
	for n, chain := range s.chains[issuer.ID] {
		err := forbidden(append([]*x509.Certificate{chain.Root}, chain.Certificates...), names)
		if err == nil {
			return nil
		}
		if n == 0 {
			refusal = err
		}
	}
	if refusal == nil { // a typed nil is not nil
		return nil
	}
	return refusal
}

// forbidden gives the names that the path does not permit; nil when there are none.
func forbidden(path []*x509.Certificate, names []Identifier) *Error {
	var sub []SubError
	var by *x509.Certificate
	for _, n := range names {
		for _, cert := range path {
			if !permitted(cert, n) {
				sub = append(sub, SubError{BadName, n, "outside of the name constraints of " + cert.Subject.String()})
				by = cert
				break
			}
		}
	}
	if by == nil {
		return nil
	}
	refused := Errorf(BadName, "the name constraints of %s forbid it", by.Subject)
	if len(by.PermittedDNSDomains) > 0 {
		refused = Errorf(BadName, "this authority may certify names in %s only", strings.Join(by.PermittedDNSDomains, ", "))
	}
	refused.Sub = sub
	return refused
}

// permitted checks a name against one certificate's constraints. A constraint
// of one kind says nothing about names of another.
func permitted(cert *x509.Certificate, n Identifier) bool {
	switch n.Type() {
	case TypeDNS:
		return permittedDNS(cert, n)
	case TypeEmail:
		return len(cert.PermittedEmailAddresses) == 0 || anyOf(cert.PermittedEmailAddresses, func(c string) bool { return inMailboxes(n.Value(), c) })
	case TypeIP:
		addr, _ := n.Addr()
		in := func(r *net.IPNet) bool { return r.Contains(net.IP(addr.AsSlice())) }
		return (len(cert.PermittedIPRanges) == 0 || anyOf(cert.PermittedIPRanges, in)) && !anyOf(cert.ExcludedIPRanges, in)
	}
	return true
}

func permittedDNS(cert *x509.Certificate, n Identifier) bool {
	name := n.Value()
	if len(cert.PermittedDNSDomains) > 0 && !anyOf(cert.PermittedDNSDomains, func(d string) bool { return inDomain(name, d) }) {
		return false
	}
	return !anyOf(cert.ExcludedDNSDomains, func(d string) bool {
		d = strings.TrimPrefix(lowerASCII(d), ".")
		// A wildcard stands for names below its base, some of which may be excluded.
		return inDomain(name, d) || (n.IsWildcard() && strings.HasSuffix(d, "."+n.Base().Value()))
	})
}

// inDomain tells whether a DNS name is the domain or below it. Constraints
// that begin with a dot, which RFC 5280 does not know, mean what is below only,
// to those who take them.
func inDomain(name, domain string) bool {
	domain = lowerASCII(domain)
	if domain == "" {
		return true
	}
	if below, dotted := strings.CutPrefix(domain, "."); dotted {
		return strings.HasSuffix(name, "."+below)
	}
	return name == domain || strings.HasSuffix(name, "."+domain)
}

// inMailboxes checks an address against a constraint: one address, all of one
// host, or, with a dot in front, those of all hosts below a domain.
func inMailboxes(address, constraint string) bool {
	at := strings.LastIndexByte(address, '@')
	local, host := address[:at], address[at+1:]
	if i := strings.LastIndexByte(constraint, '@'); i >= 0 {
		return local == constraint[:i] && host == lowerASCII(constraint[i+1:])
	}
	constraint = lowerASCII(constraint)
	return constraint == "" || host == constraint || (constraint[0] == '.' && strings.HasSuffix(host, constraint))
}

func anyOf[T any](list []T, holds func(T) bool) bool {
	for _, v := range list {
		if holds(v) {
			return true
		}
	}
	return false
}

var oidNameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}

// checkConstraints refuses certificates of authorities with name constraints
// that permitted does not evaluate: we would issue what relying parties refuse.
// crypto/x509 passes over some of them, so the extension is read here.
func checkConstraints(cert *x509.Certificate) error {
	for _, ext := range cert.Extensions {
		if !ext.Id.Equal(oidNameConstraints) {
			continue
		}
		value := cryptobyte.String(ext.Value)
		bad := Errorf(Invalid, "the name constraints of %q cannot be read", cert.Subject)
		if !value.ReadASN1(&value, casn1.SEQUENCE) {
			return bad
		}
		for side, word := range []string{"permitted", "excluded"} {
			var trees cryptobyte.String
			var present bool
			if !value.ReadOptionalASN1(&trees, &present, contextTag(side).Constructed()) {
				return bad
			}
			for !trees.Empty() {
				var tree, base cryptobyte.String
				var tag casn1.Tag
				if !trees.ReadASN1(&tree, casn1.SEQUENCE) || !tree.ReadAnyASN1(&base, &tag) {
					return bad
				}
				if kind := unevaluated(tag, side == 1); kind != "" || !tree.Empty() {
					return Errorf(Invalid, "%q has name constraints that are not evaluated here (%s %s), so certificates could be issued that nobody accepts; "+
						"have the authority certified with constraints for DNS names, addresses and permitted e-mail only", cert.Subject, word, kind)
				}
			}
		}
		if !value.Empty() {
			return bad
		}
	}
	return nil
}

// unevaluated names the kind of a constraint that is not evaluated; "" for the
// others.
func unevaluated(tag casn1.Tag, excluded bool) string {
	switch tag {
	case contextTag(tagDNS), contextTag(tagIP):
		return ""
	case contextTag(tagEmail):
		if excluded {
			return "rfc822Name"
		}
		return ""
	case contextTag(tagURI):
		return "uniformResourceIdentifier"
	case contextTag(4).Constructed():
		return "directoryName"
	}
	return "a rarer kind of name"
}
