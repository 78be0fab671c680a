package est

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"unicode/utf16"
	"unicode/utf8"

	"chancery/cms"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// The attributes of requests.
var (
	OIDUnstructuredName                 = oid(1, 2, 840, 113549, 1, 9, 2)         // RFC 2985 §5.4.3
	OIDChallengePassword                = oid(1, 2, 840, 113549, 1, 9, 7)         // RFC 2985 §5.4.1, RFC 7030 §3.5
	OIDExtensionRequest                 = oid(1, 2, 840, 113549, 1, 9, 14)        // RFC 2985 §5.4.2
	OIDSMIMECapabilities                = cms.OIDSMIMECapabilities                // RFC 8551 §2.5.2, RFC 7030 §4.4.1
	OIDDecryptKeyIdentifier             = oid(1, 2, 840, 113549, 1, 9, 16, 2, 37) // RFC 7030 §4.4.1.1, RFC 4108 §2.2.5
	OIDAsymmetricDecryptKeyIdentifier   = oid(1, 2, 840, 113549, 1, 9, 16, 2, 54) // RFC 7030 §4.4.1.2
	OIDOTPChallenge                     = oid(1, 2, 840, 113549, 1, 9, 16, 2, 56) // RFC 7894 §3.1
	OIDRevocationChallenge              = oid(1, 2, 840, 113549, 1, 9, 16, 2, 57) // RFC 7894 §3.2
	OIDIdentityLinking                  = oid(1, 2, 840, 113549, 1, 9, 16, 2, 58) // RFC 7894 §3.3
	OIDChangeSubjectName                = oid(1, 3, 6, 1, 5, 5, 7, 7, 36)         // RFC 6402 §2.8
	OIDMACAddress                       = oid(1, 3, 6, 1, 1, 1, 1, 22)            // RFC 2307 §3
	OIDCertificationRequestInfoTemplate = oid(1, 2, 840, 113549, 1, 9, 16, 2, 61) // RFC 9908 §3.4
	OIDExtensionRequestTemplate         = oid(1, 2, 840, 113549, 1, 9, 16, 2, 62) // RFC 9908 §3.4
)

// Extensions that this package writes or reads.
var (
	oidSAN         = oid(2, 5, 29, 17)
	oidKeyUsage    = oid(2, 5, 29, 15)
	oidExtKeyUsage = oid(2, 5, 29, 37)

	oidSubjectDirectoryAttributes = oid(2, 5, 29, 9)
)

// textMax is the most characters of a challenge (RFC 2985, RFC 7894 §3).
const textMax = 255

// ChallengePassword gives the attribute of RFC 2985 §5.4.1, in which RFC 7030 §3.5
// carries the channel binding and others an enrolment secret: a PrintableString where
// that can hold it, otherwise a UTF8String. [Request.Sign] refuses an empty one and more
// than 255 characters.
func ChallengePassword(text string) cms.Attribute { return textAttribute(OIDChallengePassword, text) }

// IdentityLinking gives estIdentityLinking (RFC 7894 §3.3): the channel binding.
func IdentityLinking(text string) cms.Attribute { return textAttribute(OIDIdentityLinking, text) }

// OTPChallenge gives otpChallenge (RFC 7894 §3.1): a one-time password.
func OTPChallenge(text string) cms.Attribute { return textAttribute(OIDOTPChallenge, text) }

// RevocationChallenge gives revocationChallenge (RFC 7894 §3.2): a secret with which
// the certificate may be revoked.
func RevocationChallenge(text string) cms.Attribute {
	return textAttribute(OIDRevocationChallenge, text)
}

// UnstructuredName gives the attribute of RFC 2985 §5.4.3, by which some devices say
// what they are called. It is an IA5String where that can hold it.
func UnstructuredName(text string) cms.Attribute {
	kind := tag.IA5String
	if !ascii(text) {
		kind = tag.UTF8String
	}
	return attribute(OIDUnstructuredName, primitive(kind, text))
}

// MACAddress gives macAddress (RFC 2307 §3), an IA5String such as "00:00:92:90:ee:c2".
func MACAddress(text string) cms.Attribute {
	return attribute(OIDMACAddress, primitive(tag.IA5String, text))
}

// DecryptKeyIdentifier names the symmetric key with which the key that the server makes
// is to be encrypted (RFC 7030 §4.4.1.1).
func DecryptKeyIdentifier(id []byte) cms.Attribute {
	return attribute(OIDDecryptKeyIdentifier, primitive(tag.OCTET_STRING, string(id)))
}

// AsymmetricDecryptKeyIdentifier names the certificate or key to which the key that the
// server makes is to be encrypted (RFC 7030 §4.4.1.2).
func AsymmetricDecryptKeyIdentifier(id []byte) cms.Attribute {
	return attribute(OIDAsymmetricDecryptKeyIdentifier, primitive(tag.OCTET_STRING, string(id)))
}

// SMIMECapabilities carries a list of algorithms as package cms encodes it (RFC 7030
// §4.4.1, RFC 8551 §2.5.2).
func SMIMECapabilities(der []byte) cms.Attribute { return attribute(OIDSMIMECapabilities, der) }

func attribute(kind asn1.ObjectIdentifier, value []byte) cms.Attribute {
	return cms.Attribute{Type: kind, Values: [][]byte{value}}
}

// textAttribute gives an attribute whose value is a DirectoryString.
func textAttribute(kind asn1.ObjectIdentifier, text string) cms.Attribute {
	form := tag.PrintableString
	if !printable(text) {
		form = tag.UTF8String
	}
	return attribute(kind, primitive(form, text))
}

// primitive encodes one primitive value.
func primitive(kind tag.Tag, content string) []byte {
	var b cryptobyte.Builder
	b.AddASN1(kind, func(b *cryptobyte.Builder) { b.AddBytes([]byte(content)) })
	return b.BytesOrPanic()
}

// printable tells whether PrintableString can hold a text (X.680 §41.4).
func printable(text string) bool {
	for i := range len(text) {
		c := text[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && bytes.IndexByte([]byte(" '()+,-./:=?"), c) < 0 {
			return false
		}
	}
	return true
}

func ascii(text string) bool {
	for i := range len(text) {
		if text[i] >= 0x80 {
			return false
		}
	}
	return true
}

// readText reads a string value: the choices of DirectoryString and IA5String. What
// claims to be a PrintableString may hold any visible ASCII, as clients write '*', '@'
// and '_' into it.
func readText(der []byte) (string, bool) {
	in := cryptobyte.String(der)
	var content cryptobyte.String
	var kind tag.Tag
	if !in.ReadAnyASN1(&content, &kind) || !in.Empty() {
		return "", false
	}
	text := string(content)
	ok := false
	switch kind {
	case tag.PrintableString, tag.IA5String:
		ok = ascii(text)
	case tag.UTF8String:
		ok = utf8.ValidString(text)
	case tag.T61String:
		// Nobody means T.61 by it; in the field it is Latin-1.
		runes := make([]rune, len(text))
		for i := range len(text) {
			runes[i] = rune(text[i])
		}
		text, ok = string(runes), true
	case bmpString:
		units := make([]uint16, len(text)/2)
		for i := range units {
			units[i] = uint16(text[2*i])<<8 | uint16(text[2*i+1])
		}
		ok = len(text)%2 == 0
		text = string(utf16.Decode(units))
	}
	return text, ok && utf8.RuneCountInString(text) <= textMax && text != ""
}

const bmpString = tag.Tag(30)

// text gives the value of an attribute that is a string.
func (p *Parsed) text(kind asn1.ObjectIdentifier, name string) (string, bool, error) {
	value, ok, err := p.single(kind)
	if err != nil || !ok {
		return "", false, err
	}
	text, ok := readText(value)
	if !ok {
		return "", false, malformed("the request's %s is not a text of 1 to %d characters", name, textMax)
	}
	return text, true, nil
}

// ChallengePassword gives the attribute's text, and false when it is absent. Like its
// neighbours it fails, [Malformed], when it is there but has no single text of 1 to 255
// characters.
func (p *Parsed) ChallengePassword() (string, bool, error) {
	return p.text(OIDChallengePassword, "challengePassword")
}

// IdentityLinking gives estIdentityLinking.
func (p *Parsed) IdentityLinking() (string, bool, error) {
	return p.text(OIDIdentityLinking, "estIdentityLinking")
}

// OTPChallenge gives otpChallenge.
func (p *Parsed) OTPChallenge() (string, bool, error) {
	return p.text(OIDOTPChallenge, "otpChallenge")
}

// RevocationChallenge gives revocationChallenge.
func (p *Parsed) RevocationChallenge() (string, bool, error) {
	return p.text(OIDRevocationChallenge, "revocationChallenge")
}

// UnstructuredName gives unstructuredName, the first if there are several.
func (p *Parsed) UnstructuredName() (string, bool, error) {
	return first(p.Attributes, OIDUnstructuredName, "unstructuredName")
}

// MACAddress gives macAddress, the first if there are several. It may be an attribute of
// the request (RFC 7030 §4.5.2) or of the subject (RFC 9908 §5.2).
func (p *Parsed) MACAddress() (string, bool, error) {
	held := p.Attributes
	if _, ok := p.Attribute(OIDMACAddress); !ok {
		held = directoryAttributes(p.Extensions)
	}
	return first(held, OIDMACAddress, "macAddress")
}

// SubjectDirectoryAttributes gives the extension of RFC 5280 §4.2.1.8, in which RFC 9908
// §5.2 has the client tell its MAC address.
func SubjectDirectoryAttributes(attributes ...cms.Attribute) (pkix.Extension, error) {
	value, err := encode(func(b *cryptobyte.Builder) {
		b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, a := range attributes {
				addAttribute(b, a)
			}
		})
	})
	return pkix.Extension{Id: oidSubjectDirectoryAttributes, Value: value}, err
}

// directoryAttributes gives what the extension holds, nothing where it cannot be read.
func directoryAttributes(extensions []pkix.Extension) []cms.Attribute {
	for _, e := range extensions {
		if in, ok := whole(e.Value, tag.SEQUENCE); ok && e.Id.Equal(oidSubjectDirectoryAttributes) {
			if all, err := readAttributes(in); err == nil {
				return all
			}
		}
	}
	return nil
}

// first gives the first value of an attribute that is a text.
func first(held []cms.Attribute, kind asn1.ObjectIdentifier, name string) (string, bool, error) {
	i := slices.IndexFunc(held, func(a cms.Attribute) bool { return a.Type.Equal(kind) })
	if i < 0 {
		return "", false, nil
	}
	text, ok := readText(held[i].Values[0])
	if !ok {
		return "", false, malformed("the request's %s is not a text of 1 to %d characters", name, textMax)
	}
	return text, true, nil
}

// DecryptKeyIdentifier gives the name of a symmetric key (RFC 7030 §4.4.1.1).
func (p *Parsed) DecryptKeyIdentifier() ([]byte, bool, error) {
	return p.octets(OIDDecryptKeyIdentifier, "decryptKeyIdentifier")
}

// AsymmetricDecryptKeyIdentifier gives the name of a public key (RFC 7030 §4.4.1.2).
func (p *Parsed) AsymmetricDecryptKeyIdentifier() ([]byte, bool, error) {
	return p.octets(OIDAsymmetricDecryptKeyIdentifier, "asymmetricDecryptKeyIdentifier")
}

func (p *Parsed) octets(kind asn1.ObjectIdentifier, name string) ([]byte, bool, error) {
	value, ok, err := p.single(kind)
	if err != nil || !ok {
		return nil, false, err
	}
	content, ok := whole(value, tag.OCTET_STRING)
	if !ok || content.Empty() {
		return nil, false, malformed("the request's %s is not an octet string", name)
	}
	return bytes.Clone(content), true, nil
}

// SMIMECapabilities gives the list of algorithms, DER for package cms to read.
func (p *Parsed) SMIMECapabilities() ([]byte, bool, error) { return p.single(OIDSMIMECapabilities) }
