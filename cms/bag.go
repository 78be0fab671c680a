package cms

import (
	"crypto/x509"

	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// Marshal gives the DER of the certs-only message (RFC 8551 §3.8): version 1, no digest
// algorithms, id-data without content, no signers. The certificates stand in DER's order of a SET
// OF, whatever the Bag's is. The error, BadValue, is that of one which is not one DER SEQUENCE.
func (b Bag) Marshal() ([]byte, error) {
	return Sign(SignedContent{Type: OIDData, Certificates: b.Certificates, CRLs: b.CRLs})
}

// ParseBag reads certificates and CRLs from any SignedData, DER or BER: signers, content
// that is there though empty, and versions are passed over, as servers vary. An empty
// bag is no error.
func ParseBag(in []byte) (Bag, error) {
	r, _, err := open(in, OIDSignedData)
	if err != nil {
		return Bag{}, err
	}
	s, err := r.signedData(false)
	if err != nil {
		return Bag{}, err
	}
	return Bag{Certificates: s.Certificates, CRLs: s.CRLs}, nil
}

// addIssuerAndSerial writes IssuerAndSerialNumber (RFC 5652 §10.2.4).
func addIssuerAndSerial(b *writer, c *x509.Certificate) {
	add(b, tags.SEQUENCE, func(b *writer) {
		b.AddBytes(c.RawIssuer)
		b.AddASN1BigInt(c.SerialNumber)
	})
}
