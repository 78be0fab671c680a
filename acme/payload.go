package acme

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"time"
)

// TLSALPNProtocol is the protocol that a tls-alpn-01 client offers, alone (RFC 8737 §3).
const TLSALPNProtocol = "acme-tls/1"

// IDPEAcmeIdentifier is id-pe-acmeIdentifier (RFC 8737 §3).
var IDPEAcmeIdentifier = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}

// tokenOctets is 160 bits; RFC 8555 §8.3 and §8.4: tokens MUST have at least 128.
const tokenOctets = 20

// NewToken makes a challenge's token: random, in base64url characters only.
func NewToken() string {
	b := make([]byte, tokenOctets)
	rand.Read(b) // never fails
	return encode64(b)
}

// ValidToken says whether a token has only base64url characters, as RFC 8555 §8.3
// requires. Clients put the token into paths and must not trust it before.
func ValidToken(token string) bool {
	if token == "" {
		return false
	}
	for _, c := range token {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// KeyAuthorization is token || '.' || thumbprint of the account's key (RFC 8555 §8.1).
func KeyAuthorization(token string, key *Key) string { return token + "." + key.Thumbprint() }

// HTTP01Path is where the key authorisation is fetched, on port 80 (RFC 8555 §8.3).
func HTTP01Path(token string) string { return "/.well-known/acme-challenge/" + token }

// DNS01Name is the name of the TXT record for a domain, without a dot at its end
// (RFC 8555 §8.4). A leading "*." does not count.
func DNS01Name(domain string) string {
	return "_acme-challenge." + strings.TrimSuffix(strings.TrimPrefix(domain, "*."), ".")
}

// DNS01Value is the TXT record's text: the base64url SHA-256 of the key authorisation
// (RFC 8555 §8.4).
func DNS01Value(keyAuth string) string {
	sum := sha256.Sum256([]byte(keyAuth))
	return encode64(sum[:])
}

// TLSALPNValue is what the certificate's acmeIdentifier extension holds, as an OCTET
// STRING: the SHA-256 of the key authorisation (RFC 8737 §3).
func TLSALPNValue(keyAuth string) [32]byte { return sha256.Sum256([]byte(keyAuth)) }

// TLSALPNServerName is the SNI of the validation: the domain itself, and for an address
// its name under in-addr.arpa or ip6.arpa without a dot at the end (RFC 8738 §6), since
// SNI carries no addresses. The error says that the identifier is neither.
func TLSALPNServerName(identifier Identifier) (string, error) {
	switch identifier.Type {
	case IdentifierDNS:
		return strings.ToLower(identifier.Value), nil
	case IdentifierIP:
		ip, err := netip.ParseAddr(identifier.Value)
		if err != nil || ip.Zone() != "" {
			return "", fmt.Errorf("acme: %q is not an IP address", identifier.Value)
		}
		return reverseName(ip.Unmap()), nil
	}
	return "", fmt.Errorf("acme: tls-alpn-01 proves no identifier of type %q", identifier.Type)
}

// reverseName is the name of an address in the reverse tree (RFC 1034 §5.2.1, RFC 3596 §2.5).
func reverseName(ip netip.Addr) string {
	var b strings.Builder
	octets := ip.AsSlice()
	for i := len(octets) - 1; i >= 0; i-- {
		if ip.Is4() {
			fmt.Fprintf(&b, "%d.", octets[i])
		} else {
			fmt.Fprintf(&b, "%x.%x.", octets[i]&0xf, octets[i]>>4)
		}
	}
	if ip.Is4() {
		return b.String() + "in-addr.arpa"
	}
	return b.String() + "ip6.arpa"
}

// TLSALPNCertificate makes the certificate that answers a tls-alpn-01 validation: self-
// signed, with the identifier as its only subjectAltName (a dNSName: RFC 8737 §3, or an
// iPAddress: RFC 8738 §6) and a critical acmeIdentifier extension. Serve it for
// TLSALPNServerName and TLSALPNProtocol only. It is good for a week around now.
func TLSALPNCertificate(identifier Identifier, keyAuth string) (tls.Certificate, error) {
	name, err := TLSALPNServerName(identifier)
	if err != nil {
		return tls.Certificate{}, err
	}
	digest := TLSALPNValue(keyAuth)
	value, err := asn1.Marshal(digest[:])
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:    new(big.Int).SetBytes(append([]byte{1}, digest[:15]...)),
		Subject:         pkix.Name{CommonName: "ACME challenge"},
		NotBefore:       now.Add(-24 * time.Hour),
		NotAfter:        now.Add(6 * 24 * time.Hour),
		KeyUsage:        x509.KeyUsageDigitalSignature,
		ExtKeyUsage:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		ExtraExtensions: []pkix.Extension{{Id: IDPEAcmeIdentifier, Critical: true, Value: value}},
	}
	if identifier.Type == IdentifierIP {
		template.IPAddresses = []net.IP{net.ParseIP(identifier.Value)}
	} else {
		template.DNSNames = []string{name}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("acme: making the certificate for %q: %w", identifier.Value, err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
