package ca

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// maxCSR bounds a CSR in octets: a hundred names and an RSA-4096 key fit well.
const (
	maxCSR      = 32 << 10
	maxCSRNames = 500
)

// CSR is what survives of a PKCS #10 request (RFC 2986): a key whose
// possession its signature proves, and what it asks for. Nothing of it reaches
// a certificate unless a profile takes it.
type CSR struct {
	Key     crypto.PublicKey
	Names   []Identifier // from the subject alternative name, each once
	Subject Subject
}

// ParseCSR reads a DER certification request and checks its signature. Errors
// are of kind [BadCSR], [BadKey] or [BadName].
func ParseCSR(der []byte) (*CSR, error) {
	if len(der) > maxCSR {
		return nil, Errorf(BadCSR, "the CSR has %d octets; %d are the limit", len(der), maxCSR)
	}
	in, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, Errorf(BadCSR, "the CSR cannot be read as PKCS #10 in DER; PEM must be decoded first").because(err)
	}
	// The key comes first: checking a signature of a monstrous key is work that
	// only its sender wants done.
	if _, err := keyKind(in.PublicKey); err != nil {
		return nil, err
	}
	if err := in.CheckSignature(); err != nil {
		return nil, Errorf(BadCSR, "the CSR's signature does not fit its key, so it proves nothing; make it again").because(err)
	}
	csr := &CSR{Key: in.PublicKey}
	if csr.Names, err = requestedNames(in); err != nil {
		return nil, err
	}
	if csr.Subject, err = requestedSubject(in); err != nil {
		return nil, err
	}
	return csr, nil
}

func requestedSubject(in *x509.CertificateRequest) (Subject, error) {
	var s Subject
	fields := map[string]*string{
		"2.5.4.3": &s.CommonName, "2.5.4.5": &s.SerialNumber, "2.5.4.6": &s.Country, "2.5.4.7": &s.Locality,
		"2.5.4.8": &s.Province, "2.5.4.10": &s.Organization, "2.5.4.11": &s.OrganizationalUnit,
		oidBusinessCategory.String(): &s.BusinessCategory, oidJurisdictionCountry.String(): &s.JurisdictionCountry,
	}
	for _, attribute := range in.Subject.Names {
		field, known := fields[attribute.Type.String()]
		value, text := attribute.Value.(string)
		if !known || !text {
			continue // an attribute that no profile can take says nothing
		}
		if *field != "" {
			return s, Errorf(BadCSR, "the CSR's subject has the attribute %s twice", attribute.Type)
		}
		*field = value
	}
	return s, nil
}

var oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// requestedNames reads the subject alternative names strictly: crypto/x509
// passes over kinds that it does not know, and a name passed over is a
// certificate without the name that was asked for.
func requestedNames(in *x509.CertificateRequest) ([]Identifier, error) {
	var names []Identifier
	seen := false
	for _, ext := range in.Extensions {
		if !ext.Id.Equal(oidSubjectAltName) {
			continue
		}
		if seen {
			return nil, Errorf(BadCSR, "the CSR has two subject alternative name extensions")
		}
		seen = true
		list := cryptobyte.String(ext.Value)
		if !list.ReadASN1(&list, casn1.SEQUENCE) {
			return nil, Errorf(BadCSR, "the CSR's subject alternative names cannot be read")
		}
		for !list.Empty() {
			name, err := readGeneralName(&list)
			if err != nil {
				return nil, err
			}
			if slices.Contains(names, name) {
				continue
			}
			if names = append(names, name); len(names) > maxCSRNames {
				return nil, Errorf(BadCSR, "the CSR has more than %d names", maxCSRNames)
			}
		}
	}
	return names, nil
}
