package conform

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidData       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidSignedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
)

// unarmoured gives the octets of a base64 body (RFC 8951 §3), and what is odd about it.
func unarmoured(body []byte) ([]byte, error) {
	text := strings.NewReplacer("\r", "", "\n", "", " ", "", "\t", "").Replace(string(body))
	if text == "" {
		return nil, fmt.Errorf("it is empty")
	}
	der, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("it is not base64: %w", err)
	}
	return der, nil
}

// bag is a certs-only message as it was read.
type bag struct {
	certs []*x509.Certificate
	odd   []string // where it is not what RFC 5272 §4.1 and RFC 5652 §5.1 have
}

// readBag reads a certs-only SignedData (RFC 5272 §4.1, RFC 5652 §5.1): strict DER.
// What is readable but not as it should be is told in odd.
func readBag(der []byte) (*bag, error) {
	var info, content, signed, digests, encap, signers cryptobyte.String
	var kind, inner asn1.ObjectIdentifier
	var version int
	in := cryptobyte.String(der)
	broken := func(what string) (*bag, error) { return nil, fmt.Errorf("its %s is not DER as RFC 5652 has it", what) }
	explicit := tags.Tag(0).ContextSpecific().Constructed()
	if !in.ReadASN1(&info, tags.SEQUENCE) || !info.ReadASN1ObjectIdentifier(&kind) {
		return broken("ContentInfo")
	}
	if !kind.Equal(oidSignedData) {
		return nil, fmt.Errorf("it holds %s, no SignedData", kind)
	}
	if !info.ReadASN1(&content, explicit) || !content.ReadASN1(&signed, tags.SEQUENCE) ||
		!signed.ReadASN1Integer(&version) || !signed.ReadASN1(&digests, tags.SET) ||
		!signed.ReadASN1(&encap, tags.SEQUENCE) || !encap.ReadASN1ObjectIdentifier(&inner) {
		return broken("SignedData")
	}
	b := &bag{}
	b.note(!in.Empty() || !info.Empty() || !content.Empty(), "there is something after its end")
	b.note(version != 1, "its version is %d, not 1", version)
	b.note(!digests.Empty(), "it names digest algorithms")
	b.note(!inner.Equal(oidData), "its content type is %s, not id-data", inner)
	b.note(!encap.Empty(), "there is an eContent")
	var certs, crls cryptobyte.String
	var has bool
	if !signed.ReadOptionalASN1(&certs, &has, explicit) {
		return broken("list of certificates")
	}
	b.note(!has, "it has no certificates")
	if !signed.ReadOptionalASN1(&crls, nil, tags.Tag(1).ContextSpecific().Constructed()) || !signed.ReadASN1(&signers, tags.SET) {
		return broken("list of signers")
	}
	b.note(!signers.Empty() || !signed.Empty(), "it has signers")
	return b, b.read(certs)
}

func (b *bag) note(odd bool, format string, args ...any) {
	if odd {
		b.odd = append(b.odd, fmt.Sprintf(format, args...))
	}
}

// bagMost bounds the certificates of a bag.
const bagMost = 200

func (b *bag) read(certs cryptobyte.String) error {
	for !certs.Empty() {
		var one cryptobyte.String
		if !certs.ReadASN1Element(&one, tags.SEQUENCE) {
			return fmt.Errorf("one of its certificates is not DER, or no certificate")
		}
		cert, err := x509.ParseCertificate(one)
		if err != nil {
			return fmt.Errorf("certificate %d of it cannot be read: %w", len(b.certs)+1, err)
		}
		if b.certs = append(b.certs, cert); len(b.certs) > bagMost {
			return fmt.Errorf("it has more than %d certificates", bagMost)
		}
	}
	return nil
}

// selfSigned tells whether a certificate is signed by its own key.
func selfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(c) == nil
}
