package anchors

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// list is a CRL, read once. Its entries are by serial number.
type list struct {
	*x509.RevocationList
	entries map[string]state
	scope   scope

	mu     sync.Mutex
	signed map[[sha256.Size]byte]error // by the issuer's certificate: whether the signature is its own
}

// scope is what the issuing distribution point says of the certificates that a CRL
// speaks of (RFC 5280 §5.2.5).
type scope struct {
	names                      []string // fullName's URIs; nil: not limited to a distribution point
	named                      bool
	usersOnly, authoritiesOnly bool
	someReasons                bool
}

var (
	oidIssuingDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidReasonCode               = asn1.ObjectIdentifier{2, 5, 29, 21}
	oidInvalidityDate           = asn1.ObjectIdentifier{2, 5, 29, 24}
)

// skew is how far a clock may be ahead of ours.
const skew = 5 * time.Minute

// readLists reads a CRL in DER, or any number of them in PEM.
func readLists(text []byte) ([]*list, error) {
	ders := [][]byte{text}
	if bytes.Contains(text, []byte("-----BEGIN")) {
		ders = nil
		for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
			if block.Type == "X509 CRL" {
				ders = append(ders, block.Bytes)
			}
		}
	}
	if len(ders) == 0 {
		return nil, errors.New("there is no CRL in it")
	}
	var all []*list
	for _, der := range ders {
		l, err := readList(der)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

// readList refuses a CRL that means something else to who does not understand all of
// it: delta CRLs, indirect ones, and unknown critical extensions (RFC 5280 §5.2, §5.3).
func readList(der []byte) (*list, error) {
	parsed, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("the CRL cannot be read: %w", err)
	}
	l := &list{RevocationList: parsed, entries: make(map[string]state, len(parsed.RevokedCertificateEntries)), signed: map[[sha256.Size]byte]error{}}
	for _, ext := range parsed.Extensions {
		switch {
		case ext.Id.Equal(oidIssuingDistributionPoint):
			if l.scope, err = readScope(ext.Value); err != nil {
				return nil, err
			}
		case ext.Critical:
			return nil, fmt.Errorf("the CRL has the critical extension %s, which is not understood here (delta CRLs are not)", ext.Id)
		}
	}
	for i := range parsed.RevokedCertificateEntries {
		entry := &parsed.RevokedCertificateEntries[i]
		for _, ext := range entry.Extensions {
			if ext.Critical && !ext.Id.Equal(oidReasonCode) && !ext.Id.Equal(oidInvalidityDate) {
				return nil, fmt.Errorf("an entry of the CRL has the critical extension %s: indirect CRLs are not taken", ext.Id)
			}
		}
		l.entries[string(entry.SerialNumber.Bytes())] = state{true, entry.RevocationTime, entry.ReasonCode}
	}
	parsed.RevokedCertificateEntries = nil // the map is enough; of large CRLs it is most
	parsed.Raw, parsed.Extensions = nil, nil
	return l, nil
}

// readScope reads an IssuingDistributionPoint.
func readScope(der []byte) (scope, error) {
	bad := errors.New("the CRL's issuing distribution point cannot be read")
	input := cryptobyte.String(der)
	var fields cryptobyte.String
	if !input.ReadASN1(&fields, casn1.SEQUENCE) || !input.Empty() {
		return scope{}, bad
	}
	var s scope
	for !fields.Empty() {
		var value cryptobyte.String
		var tag casn1.Tag
		if !fields.ReadAnyASN1(&value, &tag) {
			return scope{}, bad
		}
		on := len(value) == 1 && value[0] != 0 // a BOOLEAN
		switch tag {
		case casn1.Tag(0).ContextSpecific().Constructed():
			var err error
			if s.names, err = readPointName(value); err != nil {
				return scope{}, err
			}
			s.named = true
		case casn1.Tag(1).ContextSpecific():
			s.usersOnly = on
		case casn1.Tag(2).ContextSpecific():
			s.authoritiesOnly = on
		case casn1.Tag(3).ContextSpecific():
			s.someReasons = true
		case casn1.Tag(4).ContextSpecific():
			if on {
				return scope{}, errors.New("indirect CRLs are not taken")
			}
		case casn1.Tag(5).ContextSpecific():
			if on {
				return scope{}, errors.New("the CRL is of attribute certificates")
			}
		default:
			return scope{}, bad
		}
	}
	return s, nil
}

// readPointName gives the URIs of a DistributionPointName's fullName; a name relative
// to the issuer gives none, and so fits no certificate.
func readPointName(point cryptobyte.String) ([]string, error) {
	var full cryptobyte.String
	var found bool
	if !point.ReadOptionalASN1(&full, &found, casn1.Tag(0).ContextSpecific().Constructed()) {
		return nil, errors.New("the CRL's distribution point cannot be read")
	}
	var names []string
	for found && !full.Empty() {
		var value cryptobyte.String
		var tag casn1.Tag
		if !full.ReadAnyASN1(&value, &tag) {
			return nil, errors.New("the CRL's distribution point cannot be read")
		}
		if tag == casn1.Tag(6).ContextSpecific() {
			names = append(names, string(value))
		}
	}
	return names, nil
}

// speaks tells whether the CRL can say something of a certificate now: it is its
// issuer's (RFC 5280 §6.3.3 (b), (f), (g)), of the certificate's scope, and not out of
// date.
func (l *list) speaks(of link, now time.Time) error {
	switch {
	case !bytes.Equal(l.RawIssuer, of.cert.RawIssuer):
		return errors.New("the CRL is of another issuer")
	case len(l.AuthorityKeyId) > 0 && len(of.issuer.SubjectKeyId) > 0 && !bytes.Equal(l.AuthorityKeyId, of.issuer.SubjectKeyId):
		return errors.New("the CRL is of another key of the issuer")
	case l.ThisUpdate.After(now.Add(skew)):
		return fmt.Errorf("the CRL begins at %s", l.ThisUpdate.UTC().Format(time.RFC3339))
	case l.NextUpdate.IsZero() || !now.Before(l.NextUpdate):
		return fmt.Errorf("the CRL is out of date since %s", l.NextUpdate.UTC().Format(time.RFC3339))
	case l.scope.usersOnly && of.cert.IsCA, l.scope.authoritiesOnly && !of.cert.IsCA:
		return errors.New("the CRL is not of this kind of certificate")
	case l.scope.named && !slices.ContainsFunc(l.scope.names, func(n string) bool { return slices.Contains(of.cert.CRLDistributionPoints, n) }):
		return errors.New("the CRL is of another distribution point than the certificate's")
	}
	return l.signedBy(of.issuer)
}

// signedBy checks the signature, once for each issuer's certificate.
func (l *list) signedBy(issuer *x509.Certificate) error {
	key := sha256.Sum256(issuer.Raw)
	l.mu.Lock()
	defer l.mu.Unlock()
	err, known := l.signed[key]
	if !known {
		if err = l.CheckSignatureFrom(issuer); err != nil {
			err = fmt.Errorf("the CRL's signature is not its issuer's: %w", err)
		}
		if len(l.signed) < maxSigners {
			l.signed[key] = err
		}
	}
	return err
}

// maxSigners bounds what a CRL remembers: certificates that have its issuer's name.
const maxSigners = 16
