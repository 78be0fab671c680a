package lint

import (
	"crypto/rsa"
	"encoding/asn1"
	"fmt"
	"time"

	"github.com/zmap/zcrypto/x509"
	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/ocsp"
)

// ownSource is the source of the rules in this file.
const ownSource = "chancery"

// ownRules are the rules that zlint does not have, or only among those for the
// public web. They hold for every certificate that a private CA may issue.
func ownRules() []*rule {
	certificate := func(name string, f func(*x509.Certificate) outcome) *rule {
		return &rule{name: name, source: ownSource, certificate: f}
	}
	list := func(name string, f func(*x509.RevocationList) outcome) *rule {
		return &rule{name: name, source: ownSource, crl: f}
	}
	return []*rule{
		certificate("chancery_serial_entropy", serialEntropy),
		certificate("chancery_names_something", namesSomething),
		certificate("chancery_san_criticality", sanCriticality),
		certificate("chancery_authority_key_id", authorityKeyID),
		certificate("chancery_validity_encoding", validityEncoding),
		certificate("chancery_validity_order", validityOrder),
		certificate("chancery_signature_hash", signatureHash),
		certificate("chancery_rsa_key_size", rsaKeySize),
		list("chancery_crl_number", crlNumber),
		list("chancery_crl_authority_key_id", crlAuthorityKeyID),
		list("chancery_crl_next_update", crlNextUpdate),
		list("chancery_crl_signature_hash", crlSignatureHash),
		{name: "chancery_ocsp_signature_hash", source: ownSource, ocsp: ocspSignatureHash},
		{name: "chancery_ocsp_update_order", source: ownSource, ocsp: ocspUpdateOrder},
	}
}

var (
	extensionSAN       = asn1.ObjectIdentifier{2, 5, 29, 17}
	extensionAKI       = asn1.ObjectIdentifier{2, 5, 29, 35}
	extensionCRLNumber = asn1.ObjectIdentifier{2, 5, 29, 20}
)

// fail makes an outcome of severity [Error].
func fail(format string, args ...any) outcome {
	return outcome{Error, fmt.Sprintf(format, args...)}
}

// RFC 5280 §4.1.2.2: positive and at most 20 octets. That it is 16 random
// octets of fixed length is our own: 128 bits less the fixed ones cannot be
// guessed, and a shorter one means that a counter slipped in.
func serialEntropy(c *x509.Certificate) outcome {
	switch n := (c.SerialNumber.BitLen() + 7) / 8; {
	case c.SerialNumber.Sign() <= 0:
		return fail("the serial number is not positive")
	case n > 20 || n == 20 && c.SerialNumber.Bit(159) == 1:
		// With its highest bit set the number needs one octet more in DER.
		return fail("the serial number takes more than 20 octets")
	case n != 16:
		return fail("the serial number has %d octets, 16 random ones are expected", n)
	}
	return outcome{}
}

// RFC 5280 §4.1.2.6: an empty subject needs a subjectAltName.
func namesSomething(c *x509.Certificate) outcome {
	if _, found := extension(c, extensionSAN); !found && emptySequence(c.RawSubject) {
		return fail("the certificate names nothing: its subject is empty and it has no subjectAltName")
	}
	return outcome{}
}

// RFC 5280 §4.2.1.6: critical if the subject is empty, and SHOULD NOT be
// otherwise.
func sanCriticality(c *x509.Certificate) outcome {
	critical, found := extension(c, extensionSAN)
	switch empty := emptySequence(c.RawSubject); {
	case !found || critical == empty:
		return outcome{}
	case empty:
		return fail("the subject is empty, so subjectAltName must be critical")
	}
	return outcome{Warn, "subjectAltName is critical although there is a subject"}
}

// RFC 5280 §4.2.1.1: only a self-signed certificate may go without. Self-issued
// stands for self-signed here, as the signature may be a throw-away key's.
func authorityKeyID(c *x509.Certificate) outcome {
	if _, found := extension(c, extensionAKI); !found && string(c.RawIssuer) != string(c.RawSubject) {
		return fail("the certificate has no authorityKeyIdentifier, and it is not self-signed")
	}
	return outcome{}
}

// RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050, both in
// Zulu with seconds and without fractions. Looked at in the DER, since a parsed
// time no longer shows how it was written.
func validityEncoding(c *x509.Certificate) outcome {
	tbs := cryptobyte.String(c.RawTBSCertificate)
	var body, validity cryptobyte.String
	if !tbs.ReadASN1(&body, der.SEQUENCE) ||
		!body.SkipOptionalASN1(der.Tag(0).Constructed().ContextSpecific()) ||
		!body.SkipASN1(der.INTEGER) || !body.SkipASN1(der.SEQUENCE) || !body.SkipASN1(der.SEQUENCE) ||
		!body.ReadASN1(&validity, der.SEQUENCE) {
		return outcome{Fatal, "the validity cannot be found in the certificate"}
	}
	for _, which := range []string{"notBefore", "notAfter"} {
		var text cryptobyte.String
		var tag der.Tag
		if !validity.ReadAnyASN1(&text, &tag) {
			return outcome{Fatal, which + " cannot be read"}
		}
		layout := "060102150405Z"
		if tag == der.GeneralizedTime {
			layout = "20060102150405Z"
		}
		at, err := time.Parse(layout, string(text))
		if err != nil || at.Format(layout) != string(text) {
			return fail("%s is not written as %s: whole seconds in Zulu are required", which, layout)
		}
		if tag == der.GeneralizedTime && at.Year() < 2050 {
			return fail("%s lies before 2050 and must be a UTCTime", which)
		}
	}
	return outcome{}
}

// RFC 5280 §4.1.2.5: the period runs from notBefore through notAfter.
func validityOrder(c *x509.Certificate) outcome {
	if c.NotAfter.Before(c.NotBefore) {
		return fail("notAfter (%s) lies before notBefore (%s)", c.NotAfter.Format(time.RFC3339), c.NotBefore.Format(time.RFC3339))
	}
	return outcome{}
}

// weakHash names the broken hash function that a signature algorithm uses, if
// it does. Both x509 packages and ocsp print the names alike.
func weakHash(algorithm fmt.Stringer) outcome {
	switch algorithm.String() {
	case "MD2-RSA", "MD5-RSA", "SHA1-RSA", "DSA-SHA1", "ECDSA-SHA1":
		return fail("the signature algorithm %s rests on a broken hash function; use SHA-256 or better", algorithm)
	}
	return outcome{}
}

func signatureHash(c *x509.Certificate) outcome { return weakHash(c.SignatureAlgorithm) }

func rsaKeySize(c *x509.Certificate) outcome {
	if key, ok := c.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < 2048 {
		return fail("the RSA key has %d bits; at least 2048 are required", key.N.BitLen())
	}
	return outcome{}
}

// RFC 5280 §5.2.3: conforming issuers include the number, non-critical and at
// most 20 octets.
func crlNumber(l *x509.RevocationList) outcome {
	for _, e := range l.Extensions {
		if !extensionCRLNumber.Equal(asn1.ObjectIdentifier(e.Id)) {
			continue
		}
		switch {
		case e.Critical:
			return fail("cRLNumber must not be critical")
		case l.Number == nil || l.Number.Sign() < 0 || l.Number.BitLen() > 159:
			return fail("cRLNumber must be a non-negative number of at most 20 octets")
		}
		return outcome{}
	}
	return fail("the CRL has no cRLNumber")
}

// RFC 5280 §5.2.1: conforming issuers use the key identifier method.
func crlAuthorityKeyID(l *x509.RevocationList) outcome {
	if len(l.AuthorityKeyId) == 0 {
		return fail("the CRL has no authorityKeyIdentifier")
	}
	return outcome{}
}

// RFC 5280 §5.1.2.5: nextUpdate is required in this profile; it may not lie
// before thisUpdate.
func crlNextUpdate(l *x509.RevocationList) outcome {
	switch {
	case l.NextUpdate.IsZero():
		return fail("the CRL has no nextUpdate")
	case !l.NextUpdate.After(l.ThisUpdate):
		return fail("nextUpdate does not lie after thisUpdate")
	}
	return outcome{}
}

func crlSignatureHash(l *x509.RevocationList) outcome { return weakHash(l.SignatureAlgorithm) }

func ocspSignatureHash(o *ocsp.Response) outcome { return weakHash(o.SignatureAlgorithm) }

// RFC 6960 §2.4: nextUpdate, where there is one, lies after thisUpdate.
func ocspUpdateOrder(o *ocsp.Response) outcome {
	if !o.NextUpdate.IsZero() && !o.NextUpdate.After(o.ThisUpdate) {
		return fail("nextUpdate does not lie after thisUpdate")
	}
	return outcome{}
}

// extension says whether the certificate has an extension and whether that is
// critical.
func extension(c *x509.Certificate, id asn1.ObjectIdentifier) (critical, found bool) {
	for _, e := range c.Extensions {
		if id.Equal(asn1.ObjectIdentifier(e.Id)) {
			return e.Critical, true
		}
	}
	return false, false
}

// emptySequence says whether a DER name has no parts.
func emptySequence(name []byte) bool { return string(name) == "\x30\x00" }
