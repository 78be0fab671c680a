package ca

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
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
	Key        crypto.PublicKey
	Names      []Identifier // from the subject alternative name, each once
	Subject    Subject
	RawSubject []byte        // the Name as it was sent, DER; see [SameName]
	KeyUsage   x509.KeyUsage // as asked for; 0: not
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
	csr := &CSR{Key: in.PublicKey, RawSubject: in.RawSubject}
	if csr.Names, err = requestedNames(in); err != nil {
		return nil, err
	}
	if csr.Subject, err = subjectOf(in.Subject); err != nil {
		return nil, err
	}
	csr.KeyUsage, err = requestedUsage(in)
	return csr, err
}

// SubjectOf reads a DER Name as [ParseCSR] reads a CSR's: attributes that no profile
// can take are passed over. Errors are of kind [BadCSR].
func SubjectOf(rawName []byte) (Subject, error) {
	var list pkix.RDNSequence
	if len(rawName) > maxCSR {
		return Subject{}, Errorf(BadCSR, "a name of %d octets is too long", len(rawName))
	}
	if rest, err := asn1.Unmarshal(rawName, &list); err != nil || len(rest) > 0 {
		return Subject{}, Errorf(BadCSR, "the subject is no distinguished name in DER").because(err)
	}
	var name pkix.Name
	name.FillFromRDNSequence(&list)
	return subjectOf(name)
}

func subjectOf(name pkix.Name) (Subject, error) {
	var s Subject
	fields := map[string]*string{
		"2.5.4.3": &s.CommonName, "2.5.4.5": &s.SerialNumber, "2.5.4.6": &s.Country, "2.5.4.7": &s.Locality,
		"2.5.4.8": &s.Province, "2.5.4.10": &s.Organization, "2.5.4.11": &s.OrganizationalUnit,
		oidBusinessCategory.String(): &s.BusinessCategory, oidJurisdictionCountry.String(): &s.JurisdictionCountry,
	}
	for _, attribute := range name.Names {
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
	value, err := onlyExtension(in, oidSubjectAltName)
	if value == nil || err != nil {
		return nil, err
	}
	return NamesOf(value)
}

// onlyExtension gives the value of an extension that is asked for; nil when it is not.
func onlyExtension(in *x509.CertificateRequest, oid asn1.ObjectIdentifier) ([]byte, error) {
	var value []byte
	for _, ext := range in.Extensions {
		switch {
		case !ext.Id.Equal(oid):
		case value != nil:
			return nil, Errorf(BadCSR, "the CSR has the extension %s twice", oid)
		default:
			value = append([]byte{}, ext.Value...)
		}
	}
	return value, nil
}

// NamesOf reads the value of a subject alternative name extension (GeneralNames, RFC
// 5280 §4.2.1.6), each name once. Names that are not certified here are errors of kind
// [BadCSR] or [BadName]: a name passed over would be a certificate without it.
func NamesOf(rawSAN []byte) ([]Identifier, error) {
	var names []Identifier
	whole := cryptobyte.String(rawSAN)
	var list cryptobyte.String
	if len(rawSAN) > maxCSR || !whole.ReadASN1(&list, casn1.SEQUENCE) || !whole.Empty() {
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
	return names, nil
}

// CertificateNames reads a certificate's subject alternative names, each once; there
// are none without the extension. Makers put into their devices' certificates what is
// not certified here (directory names, IEEE's and Microsoft's otherNames, host names
// with underscores): such names are left out, and the others are given beside an error
// of kind [BadName], which whoever compares sets of names must not pass over. With any
// other error, of kind [Invalid], nothing could be read.
func CertificateNames(cert *x509.Certificate) ([]Identifier, error) {
	var names []Identifier
	skipped := 0
	for _, ext := range cert.Extensions {
		if !ext.Id.Equal(oidSubjectAltName) {
			continue
		}
		value := cryptobyte.String(ext.Value)
		var list cryptobyte.String
		if !value.ReadASN1(&list, casn1.SEQUENCE) || !value.Empty() {
			return nil, Errorf(Invalid, "the certificate's subject alternative names cannot be read")
		}
		for !list.Empty() {
			var one cryptobyte.String
			var tag casn1.Tag
			if !list.ReadAnyASN1Element(&one, &tag) {
				return nil, Errorf(Invalid, "the certificate's subject alternative names cannot be read")
			}
			switch name, err := readGeneralName(&one); {
			case err != nil:
				skipped++
			case !slices.Contains(names, name):
				names = append(names, name)
			}
		}
	}
	if skipped > 0 {
		return names, Errorf(BadName, "the certificate has %d name(s) of a kind or form that is not certified here", skipped)
	}
	return names, nil
}

// requestedUsage gives the KeyUsage that is asked for (RFC 5280 §4.2.1.3).
func requestedUsage(in *x509.CertificateRequest) (x509.KeyUsage, error) {
	value, err := onlyExtension(in, oidKeyUsage)
	if value == nil || err != nil {
		return 0, err
	}
	var bits asn1.BitString
	if rest, err := asn1.Unmarshal(value, &bits); err != nil || len(rest) > 0 {
		return 0, Errorf(BadCSR, "the CSR's key usage cannot be read").because(err)
	}
	var usage x509.KeyUsage
	for i := range 9 {
		usage |= x509.KeyUsage(bits.At(i) << i)
	}
	return usage, nil
}
