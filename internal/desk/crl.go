package desk

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"chancery/internal/ca"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// The extensions of CRLs and their entries that matter here (RFC 5280 §5.2, §5.3).
var (
	oidCRLNumber         = asn1.ObjectIdentifier{2, 5, 29, 20}
	oidReasonCode        = asn1.ObjectIdentifier{2, 5, 29, 21}
	oidInvalidityDate    = asn1.ObjectIdentifier{2, 5, 29, 24}
	oidDeltaCRL          = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidCertificateIssuer = asn1.ObjectIdentifier{2, 5, 29, 29}
	oidAuthorityKeyID    = asn1.ObjectIdentifier{2, 5, 29, 35}
)

// removeFromCRL takes an entry back; it is no revocation (RFC 5280 §5.3.1).
const removeFromCRL = 8

// oldCRLs collects what an authority revoked elsewhere.
type oldCRLs struct {
	certs   []*x509.Certificate // the authority's own, all of one key
	now     time.Time
	entries []ca.RevokedEntry
	seen    map[ca.Serial]bool
	holds   int
	notes   []string // for the administrator
}

// revokedBefore reads the CRLs and serials that were given with an authority.
func revokedBefore(in AuthorityGiven, chain []*x509.Certificate, now time.Time) (*oldCRLs, error) {
	o := &oldCRLs{now: now, seen: map[ca.Serial]bool{}}
	for _, cert := range chain {
		if slices.Equal(cert.RawSubjectPublicKeyInfo, chain[0].RawSubjectPublicKeyInfo) {
			o.certs = append(o.certs, cert)
		}
	}
	n := 0
	for _, text := range in.CRLs {
		for _, der := range crlsIn(text) {
			n++
			if err := o.read(n, der); err != nil {
				return nil, err
			}
		}
	}
	for _, text := range in.Revoked {
		serial, err := ca.ParseSerial(text)
		if err != nil {
			return nil, err
		}
		o.add(ca.RevokedEntry{Serial: serial, At: now})
	}
	if o.holds > 0 {
		o.notes = append(o.notes, fmt.Sprintf("%d certificate(s) were on hold (certificateHold); they stay revoked for good, as a hold cannot be ended here", o.holds))
	}
	return o, nil
}

// crlsIn gives the CRLs of a file: several in PEM, or one in DER.
func crlsIn(text []byte) [][]byte {
	block, rest := pem.Decode(text)
	if block == nil {
		return [][]byte{text}
	}
	var all [][]byte
	for ; block != nil; block, rest = pem.Decode(rest) {
		all = append(all, block.Bytes)
	}
	return all
}

func (o *oldCRLs) add(e ca.RevokedEntry) {
	if !o.seen[e.Serial] {
		o.seen[e.Serial] = true
		o.entries = append(o.entries, e)
	}
}

// read takes the n-th CRL over, if every word of it is understood.
func (o *oldCRLs) read(n int, der []byte) error {
	crl, err := x509.ParseRevocationList(der)
	if err != nil {
		return ca.Errorf(ca.Invalid, "CRL %d cannot be read as PEM or DER", n)
	}
	if err := o.signed(n, crl); err != nil {
		return err
	}
	if err := understood(n, crl.Extensions); err != nil {
		return err
	}
	if !crl.NextUpdate.IsZero() && crl.NextUpdate.Before(o.now) {
		o.notes = append(o.notes, fmt.Sprintf("CRL %d is out of date: a newer one was due at %s, and what was revoked since is not known here; "+
			"get the newest before you import, or name those serials", n, crl.NextUpdate.UTC().Format(time.RFC3339)))
	}
	for _, e := range crl.RevokedCertificateEntries {
		if err := o.entry(n, e); err != nil {
			return err
		}
	}
	return nil
}

// signed checks that a CRL is the authority's own: somebody else's would put
// strangers' serials on ours.
func (o *oldCRLs) signed(n int, crl *x509.RevocationList) error {
	foreign := ca.Errorf(ca.Invalid, "CRL %d is not signed by %s, whose revocations are wanted", n, o.certs[0].Subject)
	for _, cert := range o.certs {
		err := crl.CheckSignatureFrom(cert)
		if _, weak := errors.AsType[x509.InsecureAlgorithmError](err); weak {
			return ca.Errorf(ca.Invalid, "CRL %d is signed with %s, which anyone could imitate; have its authority sign it again with SHA-256", n, crl.SignatureAlgorithm)
		}
		// The text, as the same name may be encoded in two ways.
		if err == nil && crl.Issuer.String() == cert.Subject.String() {
			return nil
		}
	}
	return foreign
}

// understood refuses CRLs that do not mean what a plain list of serials would
// (RFC 5280 §5.2.4, §5.2.5; what is critical and unknown forbids any use, §5.2).
func understood(n int, extensions []pkix.Extension) error {
	for _, ext := range extensions {
		switch {
		case ext.Id.Equal(oidDeltaCRL):
			return ca.Errorf(ca.Invalid, "CRL %d is a delta CRL, which has changes only; give the complete CRL", n)
		case ext.Id.Equal(oidDistributionPoint):
			indirect, ok := isIndirect(ext.Value)
			if !ok {
				return ca.Errorf(ca.Invalid, "the issuingDistributionPoint of CRL %d cannot be read", n)
			}
			if indirect {
				return ca.Errorf(ca.Invalid, "CRL %d is an indirect CRL, with serials of several authorities; give one of this authority alone", n)
			}
		case ext.Critical && !ext.Id.Equal(oidAuthorityKeyID) && !ext.Id.Equal(oidCRLNumber):
			return ca.Errorf(ca.Invalid, "CRL %d has the critical extension %s, whose meaning is not known here", n, ext.Id)
		}
	}
	return nil
}

// isIndirect reads indirectCRL [4] of an IssuingDistributionPoint.
func isIndirect(der []byte) (indirect, ok bool) {
	value := cryptobyte.String(der)
	if !value.ReadASN1(&value, casn1.SEQUENCE) {
		return false, false
	}
	for !value.Empty() {
		var field cryptobyte.String
		var tag casn1.Tag
		if !value.ReadAnyASN1(&field, &tag) {
			return false, false
		}
		if tag == casn1.Tag(4).ContextSpecific() {
			indirect = !slices.Equal(field, []byte{0})
		}
	}
	return indirect, true
}

func (o *oldCRLs) entry(n int, e x509.RevocationListEntry) error {
	serial := ca.SerialOf(e.SerialNumber)
	for _, ext := range e.Extensions {
		switch {
		case ext.Id.Equal(oidCertificateIssuer):
			return ca.Errorf(ca.Invalid, "CRL %d is an indirect CRL: the entry %s names another authority; give one of this authority alone", n, serial)
		case ext.Critical && !ext.Id.Equal(oidReasonCode) && !ext.Id.Equal(oidInvalidityDate):
			return ca.Errorf(ca.Invalid, "the entry %s of CRL %d has the critical extension %s, whose meaning is not known here", serial, n, ext.Id)
		}
	}
	if e.SerialNumber.Sign() < 0 || len(serial) > 40 {
		return ca.Errorf(ca.Invalid, "CRL %d has the serial number %s, which is negative or longer than 20 octets", n, e.SerialNumber)
	}
	switch e.ReasonCode {
	case removeFromCRL:
		return nil
	case int(ca.CertificateHold):
		o.holds++
	}
	o.add(ca.RevokedEntry{Serial: serial, At: e.RevocationTime, Reason: ca.Reason(e.ReasonCode)})
	return nil
}
