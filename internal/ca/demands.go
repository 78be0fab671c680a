package ca

import (
	"crypto/x509"
	"encoding/asn1"
	"slices"
)

// Demands is what a profile wants of a request, for a room that tells clients
// beforehand (RFC 7030 §4.5.2).
type Demands struct {
	Keys           []string      // kinds of keys taken: "ecdsa-p256", "rsa" (2048 to 4096 bits), …
	KeyUsage       x509.KeyUsage // that certificates say, whatever the key
	KeyUsageRSA    x509.KeyUsage // further bits for RSA keys
	ExtKeyUsage    []asn1.ObjectIdentifier
	Identifiers    []IdentifierType // taken; empty: no names at all
	MinNames       int
	SubjectTake    []string // attributes that a request may name, in a profile's words
	SubjectRequire []string // attributes that it must name
	Evidence       []string // methods, one of which must prove each name
}

// Demands gives what the profile wants; the caller may change it.
func (p *Profile) Demands() Demands {
	d := Demands{
		Keys: slices.Clone(p.Keys), KeyUsage: p.keyUsage, KeyUsageRSA: p.keyUsageRSA, MinNames: p.MinNames,
		SubjectTake: slices.Clone(p.Subject.Take), SubjectRequire: slices.Clone(p.Subject.Require), Evidence: slices.Clone(p.Evidence),
	}
	for _, oid := range p.extKeyUsage {
		d.ExtKeyUsage = append(d.ExtKeyUsage, slices.Clone(oid))
	}
	for _, word := range p.Identifiers {
		d.Identifiers = append(d.Identifiers, IdentifierType(word))
	}
	return d
}

// Usage gives the KeyUsage for a key of the kind.
func (d Demands) Usage(kind string) x509.KeyUsage {
	if kind == "rsa" {
		return d.KeyUsage | d.KeyUsageRSA
	}
	return d.KeyUsage
}
