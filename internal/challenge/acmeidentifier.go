package challenge

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// acmeIdentifier is id-pe-acmeIdentifier (RFC 8737 §6.1).
const acmeIdentifier = "1.3.6.1.5.5.7.1.31"

// The choices of GeneralName that a challenge certificate may hold (RFC 5280
// §4.2.1.6).
var (
	tagDNSName   = asn1.Tag(2).ContextSpecific()
	tagIPAddress = asn1.Tag(7).ContextSpecific()
)

// extension gives the value of the last extension with an OID, whether it is
// critical, and how many there are.
func extension(cert *x509.Certificate, oid string) (value []byte, critical bool, n int) {
	for _, e := range cert.Extensions {
		if e.Id.String() == oid {
			value, critical = e.Value, e.Critical
			n++
		}
	}
	return value, critical, n
}

// parseAuthorization reads the value of an acmeIdentifier extension: the DER of
// Authorization ::= OCTET STRING (SIZE (32)) and not a byte more (RFC 8737 §3).
func parseAuthorization(der []byte) (digest [sha256.Size]byte, err error) {
	in := cryptobyte.String(der)
	var octets cryptobyte.String
	if !in.ReadASN1(&octets, asn1.OCTET_STRING) {
		return digest, errors.New("it is not the DER of an OCTET STRING")
	}
	if !in.Empty() {
		return digest, errors.New("there are bytes after the OCTET STRING")
	}
	if len(octets) != sha256.Size {
		return digest, fmt.Errorf("the OCTET STRING has %d bytes and not 32", len(octets))
	}
	copy(digest[:], octets)
	return digest, nil
}

// soleName checks that a subjectAltName holds exactly one name, the target (RFC
// 8737 §3, RFC 8738 §6). It reads the DER itself, since the standard library
// passes over the kinds of name that it does not know.
func soleName(der []byte, target Target) error {
	in := cryptobyte.String(der)
	var names, name cryptobyte.String
	var tag asn1.Tag
	if !in.ReadASN1(&names, asn1.SEQUENCE) || !in.Empty() || !names.ReadAnyASN1(&name, &tag) {
		return errors.New("it is empty or malformed")
	}
	if !names.Empty() {
		return errors.New("it has more than one entry")
	}
	if target.Type == "ip" {
		want, err := netip.ParseAddr(target.Value)
		if err != nil {
			return err
		}
		got, ok := netip.AddrFromSlice(name)
		if tag != tagIPAddress || !ok {
			return errors.New("its entry is not an iPAddress")
		}
		if got != want {
			return fmt.Errorf("its entry is the address %s", got)
		}
		return nil
	}
	if tag != tagDNSName {
		return errors.New("its entry is not a dNSName")
	}
	if !strings.EqualFold(string(name), target.Value) || !ascii(name) {
		return fmt.Errorf("its entry is the name %s", excerpt(name))
	}
	return nil
}

// ascii keeps EqualFold from taking the Kelvin sign for a k.
func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
