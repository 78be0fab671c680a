package status

import (
	"crypto"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"

	"chancery/internal/ca"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

const (
	maxRequest = 8 << 10 // octets of DER
	// maxAsked is how many certificates one request may be about: each costs a
	// look into the ledger. With a nonce no answer is remembered, so fewer.
	maxAsked          = 16
	maxAskedWithNonce = 4
	maxNonce          = 128 // octets; RFC 9654 §2.1
)

// request is what an OCSPRequest asks (RFC 6960 §4.1.1).
type request struct {
	certs []ca.CertID
	nonce []byte // nil: none
}

// malformedError says why bytes are no OCSP request: malformedRequest.
type malformedError string

// Error gives the reason.
func (e malformedError) Error() string { return "malformed OCSP request: " + string(e) }

var (
	oidNonce  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
	oidSHA1   = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	oidSHA256 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
)

func explicit(n uint8) casn1.Tag { return casn1.Tag(n).ContextSpecific().Constructed() }

// parseRequest reads a DER OCSPRequest. Requestor names and signatures are
// passed over: everybody is answered alike (RFC 5019 §2.1.2). Every error is a
// [malformedError].
func parseRequest(der []byte) (request, error) {
	var r request
	if len(der) > maxRequest {
		return r, malformedError(fmt.Sprintf("%d octets; %d are the limit", len(der), maxRequest))
	}
	input := cryptobyte.String(der)
	var outer, tbs, list cryptobyte.String
	if !input.ReadASN1(&outer, casn1.SEQUENCE) || !input.Empty() ||
		!outer.ReadASN1(&tbs, casn1.SEQUENCE) || !outer.SkipOptionalASN1(explicit(0)) || !outer.Empty() {
		return r, malformedError("not an OCSPRequest in DER")
	}
	var version cryptobyte.String
	var versioned bool
	if !tbs.ReadOptionalASN1(&version, &versioned, explicit(0)) || !tbs.SkipOptionalASN1(explicit(1)) ||
		!tbs.ReadASN1(&list, casn1.SEQUENCE) {
		return r, malformedError("no list of certificates")
	}
	if number := 0; versioned && (!version.ReadASN1Integer(&number) || !version.Empty() || number != 0) {
		return r, malformedError("a version other than v1")
	}
	for !list.Empty() {
		id, err := readSingleRequest(&list)
		if err != nil {
			return r, err
		}
		r.certs = append(r.certs, id)
	}
	if len(r.certs) == 0 || len(r.certs) > maxAsked {
		return r, malformedError(fmt.Sprintf("%d certificates asked about; 1 to %d are answered", len(r.certs), maxAsked))
	}
	var err error
	r.nonce, err = readExtensions(&tbs, explicit(2))
	switch {
	case err != nil:
	case !tbs.Empty():
		err = malformedError("something follows the extensions")
	case len(r.nonce) > 0 && len(r.certs) > maxAskedWithNonce:
		err = malformedError(fmt.Sprintf("%d certificates asked about with a nonce; up to %d are answered", len(r.certs), maxAskedWithNonce))
	}
	return r, err
}

// readSingleRequest reads a Request: a CertID and extensions.
func readSingleRequest(list *cryptobyte.String) (ca.CertID, error) {
	var one, id, algorithm cryptobyte.String
	if !list.ReadASN1(&one, casn1.SEQUENCE) || !one.ReadASN1(&id, casn1.SEQUENCE) || !id.ReadASN1(&algorithm, casn1.SEQUENCE) {
		return ca.CertID{}, malformedError("a certificate is not named by a CertID")
	}
	var c ca.CertID
	if err := readHash(&algorithm, &c); err != nil {
		return c, err
	}
	serial := new(big.Int)
	if !id.ReadASN1Bytes(&c.NameHash, casn1.OCTET_STRING) || !id.ReadASN1Bytes(&c.KeyHash, casn1.OCTET_STRING) ||
		!id.ReadASN1Integer(serial) || !id.Empty() {
		return c, malformedError("a CertID is incomplete")
	}
	if serial.Sign() < 0 || serial.BitLen() > 160 { // RFC 5280 §4.1.2.2
		return c, malformedError("a serial number is negative or longer than 20 octets")
	}
	c.Serial = ca.SerialOf(serial)
	_, err := readExtensions(&one, explicit(0))
	if err == nil && !one.Empty() {
		err = malformedError("something follows a CertID")
	}
	return c, err
}

// readHash reads the AlgorithmIdentifier of a CertID. One that is not known
// leaves c.Hash 0: no issuer of ours is named by it.
func readHash(algorithm *cryptobyte.String, c *ca.CertID) error {
	var oid asn1.ObjectIdentifier
	if !algorithm.ReadASN1ObjectIdentifier(&oid) {
		return malformedError("a hash algorithm has no OID")
	}
	switch {
	case oid.Equal(oidSHA1):
		c.Hash = crypto.SHA1
	case oid.Equal(oidSHA256):
		c.Hash = crypto.SHA256
	default:
		return nil
	}
	c.Bare = algorithm.Empty() // RFC 5754 §2: with or without NULL, both are to be taken
	var null cryptobyte.String
	if !c.Bare && (!algorithm.ReadASN1(&null, casn1.NULL) || !null.Empty() || !algorithm.Empty()) {
		return malformedError("a hash algorithm has parameters")
	}
	return nil
}

// readExtensions reads an optional list of extensions and gives the nonce in
// it. Others are passed over unless they are critical (RFC 6960 §4.4).
func readExtensions(s *cryptobyte.String, tag casn1.Tag) (nonce []byte, err error) {
	var wrapped, list cryptobyte.String
	var present bool
	if !s.ReadOptionalASN1(&wrapped, &present, tag) {
		return nil, malformedError("extensions cannot be read")
	}
	if !present {
		return nil, nil
	}
	if !wrapped.ReadASN1(&list, casn1.SEQUENCE) || !wrapped.Empty() || list.Empty() {
		return nil, malformedError("extensions cannot be read")
	}
	for !list.Empty() {
		var extension, value cryptobyte.String
		var oid asn1.ObjectIdentifier
		critical := false
		if !list.ReadASN1(&extension, casn1.SEQUENCE) || !extension.ReadASN1ObjectIdentifier(&oid) ||
			(extension.PeekASN1Tag(casn1.BOOLEAN) && !extension.ReadASN1Boolean(&critical)) ||
			!extension.ReadASN1(&value, casn1.OCTET_STRING) || !extension.Empty() {
			return nil, malformedError("an extension cannot be read")
		}
		switch {
		case oid.Equal(oidNonce) && nonce != nil:
			return nil, malformedError("there are two nonces")
		case oid.Equal(oidNonce):
			if nonce, err = readNonce(value); err != nil {
				return nil, err
			}
		case critical:
			return nil, malformedError(fmt.Sprintf("the critical extension %s is not known", oid))
		}
	}
	return nonce, nil
}

// readNonce reads a Nonce, an OCTET STRING of 1 to 128 octets (RFC 9654 §2.1).
func readNonce(value cryptobyte.String) ([]byte, error) {
	var nonce []byte
	if !value.ReadASN1Bytes(&nonce, casn1.OCTET_STRING) || !value.Empty() || len(nonce) == 0 || len(nonce) > maxNonce {
		return nil, malformedError(fmt.Sprintf("a nonce is an OCTET STRING of 1 to %d octets", maxNonce))
	}
	return nonce, nil
}

// decodePath gives the DER of a GET request (RFC 6960 appendix A.1) from the
// path after "/ocsp/", from which HTTP's own escapes are gone already. Some
// clients put one slash too many in front, or leave "+" for a proxy to read as
// a space; DER of a request begins with "M" in base64, so both are plain.
func decodePath(path string) ([]byte, error) {
	path = strings.ReplaceAll(strings.TrimLeft(path, "/"), " ", "+")
	if path == "" || len(path) > base64.StdEncoding.EncodedLen(maxRequest) {
		return nil, malformedError("the path has no request in it, or one that is too long")
	}
	if strings.ContainsAny(path, "\r\n") { // the decoder would pass over them
		return nil, malformedError("there are line breaks in the base64")
	}
	der, err := base64.StdEncoding.Strict().DecodeString(path)
	if err != nil {
		return nil, malformedError("the path is not base64")
	}
	return der, nil
}
