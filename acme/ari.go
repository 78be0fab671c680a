package acme

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// The longest parts of a CertID that are read. RFC 5280 §4.1.2.2 allows serials of 20
// octets; one more is the leading zero that some CAs add to that.
const (
	maxSerialOctets = 21
	maxKeyIDOctets  = 64
)

// CertID is the unique identifier of a certificate (RFC 9773 §4.1): the base64url of
// the keyIdentifier in its authority key identifier, a dot, and the base64url of its
// serial number's DER content octets. The error says that the certificate has no
// key identifier or no positive serial.
func CertID(cert *x509.Certificate) (string, error) {
	switch {
	case len(cert.AuthorityKeyId) == 0:
		return "", errors.New("acme: the certificate has no authority key identifier, so it has no ARI identifier (RFC 9773 §4.1)")
	case cert.SerialNumber == nil || cert.SerialNumber.Sign() <= 0:
		return "", errors.New("acme: the certificate's serial number is not positive")
	}
	serial, err := serialOctets(cert.SerialNumber)
	if err != nil {
		return "", err
	}
	return FormatCertID(cert.AuthorityKeyId, serial), nil
}

// serialOctets are the content octets of the serial as a DER INTEGER, with the zero in
// front that keeps a set high bit from meaning a negative number.
func serialOctets(serial *big.Int) ([]byte, error) {
	der, err := asn1.Marshal(serial)
	if err != nil {
		return nil, err
	}
	var raw asn1.RawValue
	if _, err := asn1.Unmarshal(der, &raw); err != nil {
		return nil, err
	}
	return raw.Bytes, nil
}

// FormatCertID is the inverse of ParseCertID.
func FormatCertID(authorityKeyID, serial []byte) string {
	return encode64(authorityKeyID) + "." + encode64(serial)
}

// ParseCertID takes a CertID apart: the issuer's key identifier and the serial's DER
// content octets, with their leading zero if there is one. RFC 9773 §4.1: padding MUST
// be stripped, and the serial is DER, so every certificate has one CertID only and
// FormatCertID gives back the same text. The error is a malformed *Problem.
func ParseCertID(s string) (authorityKeyID, serial []byte, err error) {
	if len(s) > 2*(maxSerialOctets+maxKeyIDOctets) {
		return nil, nil, Malformed("the certificate identifier is too long")
	}
	left, right, ok := strings.Cut(s, ".")
	if !ok {
		return nil, nil, Malformed("the certificate identifier has no dot (RFC 9773 §4.1)")
	}
	if authorityKeyID, err = certIDPart(left, maxKeyIDOctets); err != nil {
		return nil, nil, Malformed("the key identifier in the certificate identifier %v", err)
	}
	if serial, err = certIDPart(right, maxSerialOctets); err != nil {
		return nil, nil, Malformed("the serial in the certificate identifier %v", err)
	}
	switch {
	case serial[0]&0x80 != 0, len(serial) == 1 && serial[0] == 0:
		return nil, nil, Malformed("the serial in the certificate identifier is not positive; is the leading zero octet missing?")
	case len(serial) > 1 && serial[0] == 0 && serial[1]&0x80 == 0:
		return nil, nil, Malformed("the serial in the certificate identifier has a zero octet too many for DER")
	}
	return authorityKeyID, serial, nil
}

func certIDPart(s string, limit int) ([]byte, error) {
	b, err := decode64([]byte(s))
	switch {
	case err != nil:
		return nil, err
	case len(b) == 0:
		return nil, errors.New("is empty")
	case len(b) > limit:
		return nil, fmt.Errorf("has more than %d octets", limit)
	}
	return b, nil
}

// RenewAt picks a moment in the suggested window; draw is uniform in [0, 1), so that
// the certificates of many clients spread over it (RFC 9773 §4.2). A moment that has
// passed means: renew now. A window that ends before it starts gives an error, and the
// client is to go on as if there were none (§4.3.2).
func (r *RenewalInfo) RenewAt(draw float64) (time.Time, error) {
	w := r.SuggestedWindow
	if !w.End.After(w.Start) {
		return time.Time{}, fmt.Errorf("acme: the suggested window ends (%s) before it starts (%s)",
			w.End.Format(time.RFC3339), w.Start.Format(time.RFC3339))
	}
	return w.Start.Add(time.Duration(draw * float64(w.End.Sub(w.Start)))), nil
}
