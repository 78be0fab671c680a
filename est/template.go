package est

import (
	"slices"

	"chancery/cms"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// Template is a request that is filled in as far as the server knows it (RFC 9908 §3.4:
// CertificationRequestInfoTemplate).
type Template struct {
	Subject    [][]NameAttribute   // nil: nothing is demanded of the subject
	Key        *KeySpec            // nil: nothing is demanded of the key
	Extensions []ExtensionTemplate // those that the request shall have
	Attributes []cms.Attribute     // others that it shall have
}

// Attribute encodes the template. Its extensions go into an extension request where all
// values are complete, and only otherwise into a template of one (RFC 9908 §3.4).
func (t Template) Attribute() (cms.Attribute, error) {
	all, err := t.attributes()
	if err != nil {
		return cms.Attribute{}, err
	}
	value, err := encode(func(b *cryptobyte.Builder) {
		b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(0)
			if t.Subject != nil {
				addName(b, t.Subject)
			}
			if t.Key != nil {
				t.Key.addTo(b)
			}
			b.AddASN1(tag.Tag(1).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) { addSorted(b, all) })
		})
	})
	return attribute(OIDCertificationRequestInfoTemplate, value), err
}

// attributes encodes the template's attributes, each one DER.
func (t Template) attributes() ([][]byte, error) {
	list := slices.Clone(t.Attributes)
	if len(t.Extensions) > 0 {
		value, err := encode(func(b *cryptobyte.Builder) {
			b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
				for _, e := range t.Extensions {
					addExtension(b, e)
				}
			})
		})
		if err != nil {
			return nil, err
		}
		kind := OIDExtensionRequest
		if slices.ContainsFunc(t.Extensions, ExtensionTemplate.partial) {
			kind = OIDExtensionRequestTemplate
		}
		list = append(list, attribute(kind, value))
	}
	var all [][]byte
	for _, a := range list {
		der, err := encode(func(b *cryptobyte.Builder) { addAttribute(b, a) })
		if err != nil {
			return nil, err
		}
		all = append(all, der)
	}
	return all, nil
}

// partial tells whether the client has something to fill in.
func (e ExtensionTemplate) partial() bool {
	if e.Value == nil || !e.ID.Equal(oidSAN) {
		return e.Value == nil
	}
	names, err := readGeneralNames(e.Value)
	return err == nil && slices.ContainsFunc(names, generalName.blank)
}

// TemplateOf gives the template in a list, and false when there is none. One that
// breaks RFC 9908 §3.4 is [Malformed]: two of them, several values, both kinds of
// extension requests, another version than 1.
func TemplateOf(c CSRAttrs) (*Template, bool, error) {
	var found []AttrOrOID
	for _, w := range c {
		if w.Type.Equal(OIDCertificationRequestInfoTemplate) {
			found = append(found, w)
		}
	}
	if len(found) == 0 {
		return nil, false, nil
	}
	if len(found) > 1 || len(found[0].Values) != 1 {
		return nil, false, malformed("the CSR attributes hold another number of templates than one (RFC 9908 section 3.4)")
	}
	t, err := ParseTemplate(found[0].Values[0])
	return t, err == nil, err
}

// ParseTemplate reads a CertificationRequestInfoTemplate, DER.
func ParseTemplate(der []byte) (*Template, error) {
	in, ok := whole(der, tag.SEQUENCE)
	var version int
	if !ok || !in.ReadASN1Integer(&version) || version != 0 {
		return nil, malformed("the template is not of version 1 (RFC 9908 section 3.4)")
	}
	var t Template
	var err error
	if in.PeekASN1Tag(tag.SEQUENCE) {
		var name cryptobyte.String
		if !in.ReadASN1Element(&name, tag.SEQUENCE) {
			return nil, malformed("the template's subject cannot be read")
		}
		if t.Subject, err = readName(name); err != nil {
			return nil, err
		}
	}
	var key, attributes cryptobyte.String
	var keyed bool
	if !in.ReadOptionalASN1(&key, &keyed, tag.Tag(0).ContextSpecific().Constructed()) ||
		!in.ReadASN1(&attributes, tag.Tag(1).ContextSpecific().Constructed()) || !in.Empty() {
		return nil, malformed("the template cannot be read (RFC 9908 section 3.4)")
	}
	if keyed {
		if t.Key, err = readKeySpec(key); err != nil {
			return nil, err
		}
	}
	all, err := readAttributes(attributes)
	if err != nil {
		return nil, err
	}
	if err := t.takeAttributes(all); err != nil {
		return nil, err
	}
	return &t, nil
}

// takeAttributes sorts the extensions out.
func (t *Template) takeAttributes(all []cms.Attribute) error {
	extended := false
	for _, a := range all {
		complete := a.Type.Equal(OIDExtensionRequest)
		if !complete && !a.Type.Equal(OIDExtensionRequestTemplate) {
			t.Attributes = append(t.Attributes, a)
			continue
		}
		if extended || len(a.Values) != 1 {
			return malformed("the template asks for extensions more than once (RFC 9908 section 3.4)")
		}
		extended = true
		var err error
		value := a.Values[0]
		if !complete {
			value = listOfTemplates(value)
		}
		if t.Extensions, err = readExtensionTemplates(value); err != nil {
			return err
		}
		if complete && slices.ContainsFunc(t.Extensions, func(e ExtensionTemplate) bool { return e.Value == nil }) {
			return malformed("the template's extension request has an extension without a value (RFC 5280 section 4.1)")
		}
	}
	return nil
}

// generalName is one name of a GeneralNames, by tag and content.
type generalName struct {
	kind  tag.Tag
	value string
}

// blank tells whether the client has to fill the name in (RFC 9908 §3.4): an empty
// iPAddress or the empty directoryName, and likewise any other without content.
func (n generalName) blank() bool {
	return n.value == "" || n.kind == directoryName && n.value == "\x30\x00"
}

const directoryName = tag.Tag(4 | 0x80 | 0x20)

func readGeneralNames(der []byte) ([]generalName, error) {
	if err := checkGeneralNames(der); err != nil {
		return nil, err
	}
	in, _ := whole(der, tag.SEQUENCE)
	var all []generalName
	for !in.Empty() {
		var content cryptobyte.String
		var kind tag.Tag
		if !in.ReadAnyASN1(&content, &kind) {
			return nil, malformed("the subject alternative name cannot be read")
		}
		all = append(all, generalName{kind, string(content)})
	}
	return all, nil
}

func encodeGeneralNames(all []generalName) ([]byte, error) {
	return encode(func(b *cryptobyte.Builder) {
		b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, n := range all {
				b.AddASN1(n.kind, func(b *cryptobyte.Builder) { b.AddBytes([]byte(n.value)) })
			}
		})
	})
}
