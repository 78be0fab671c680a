package est

import (
	"bytes"

	"chancery/cms"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// NameChange is the ChangeSubjectName attribute (RFC 6402 §2.8): the names that the new
// certificate shall have while the request itself keeps those of the old one.
type NameChange struct {
	Subject []byte // Name, DER; nil: absent, the subject becomes empty
	SAN     []byte // GeneralNames, DER; nil: absent, the extension is removed
}

// Attribute encodes the change. One that has neither field is [Malformed].
func (c NameChange) Attribute() (cms.Attribute, error) {
	if c.Subject == nil && c.SAN == nil {
		return cms.Attribute{}, malformed("a change of name needs a subject or a subject alternative name (RFC 6402 section 2.8)")
	}
	if c.Subject != nil {
		if err := checkName(c.Subject); err != nil {
			return cms.Attribute{}, err
		}
	}
	if c.SAN != nil {
		if err := checkGeneralNames(c.SAN); err != nil {
			return cms.Attribute{}, err
		}
	}
	value, err := encode(func(b *cryptobyte.Builder) {
		b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(c.Subject)
			b.AddBytes(c.SAN)
		})
	})
	return attribute(OIDChangeSubjectName, value), err
}

// ParseNameChange reads a ChangeSubjectName, as CRMF's controls hold it, too.
func ParseNameChange(der []byte) (*NameChange, error) {
	in, ok := whole(der, tag.SEQUENCE)
	if !ok || in.Empty() {
		return nil, malformed("the change of name is empty (RFC 6402 section 2.8)")
	}
	var c NameChange
	for !in.Empty() {
		var field cryptobyte.String
		if !in.ReadASN1Element(&field, tag.SEQUENCE) {
			return nil, malformed("the change of name cannot be read (RFC 6402 section 2.8)")
		}
		// Both fields are a SEQUENCE without a tag of its own. What is in them tells
		// them apart: a Name consists of SETs, or of nothing, which no GeneralNames may.
		isName := len(field) == 2 || checkName(field) == nil
		switch {
		case isName && c.Subject == nil && c.SAN == nil:
			c.Subject = bytes.Clone(field)
		case !isName && c.SAN == nil && checkGeneralNames(field) == nil:
			c.SAN = bytes.Clone(field)
		default:
			return nil, malformed("the change of name cannot be read (RFC 6402 section 2.8)")
		}
	}
	return &c, nil
}

// ChangeSubjectName gives the change of name that a request asks for, nil when it asks
// for none.
func (p *Parsed) ChangeSubjectName() (*NameChange, error) {
	value, ok, err := p.single(OIDChangeSubjectName)
	if err != nil || !ok {
		return nil, err
	}
	return ParseNameChange(value)
}
