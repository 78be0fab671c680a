package est

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"

	"chancery/cms"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// Bounds on what a request or a list of wishes may hold; none of the field comes near.
const (
	attributesMax = 64
	valuesMax     = 64
	extensionsMax = 64
)

// oid writes an object identifier's tree.
func oid(arcs ...int) asn1.ObjectIdentifier { return arcs }

// readAttributes reads the content of a SET or SEQUENCE OF Attribute.
func readAttributes(in cryptobyte.String) ([]cms.Attribute, error) {
	var all []cms.Attribute
	for !in.Empty() {
		a, err := readAttribute(&in)
		if err != nil {
			return nil, err
		}
		if len(all) == attributesMax {
			return nil, fault(TooLarge, "there are more than %d attributes", attributesMax)
		}
		if slices.ContainsFunc(all, func(b cms.Attribute) bool { return b.Type.Equal(a.Type) }) {
			return nil, malformed("the attribute %s is there twice", a.Type)
		}
		if len(a.Values) == 0 {
			return nil, malformed("the attribute %s has no value", a.Type)
		}
		all = append(all, a)
	}
	return all, nil
}

// readAttribute reads one Attribute; its set of values may be empty.
func readAttribute(in *cryptobyte.String) (cms.Attribute, error) {
	var a cms.Attribute
	var body, values cryptobyte.String
	if !in.ReadASN1(&body, tag.SEQUENCE) || !body.ReadASN1ObjectIdentifier(&a.Type) || !body.ReadASN1(&values, tag.SET) || !body.Empty() {
		return a, malformed("an attribute is not encoded as a type with a set of values")
	}
	for !values.Empty() {
		value, ok := element(&values)
		if !ok {
			return a, malformed("a value of the attribute %s is not DER", a.Type)
		}
		if len(a.Values) == valuesMax {
			return a, fault(TooLarge, "the attribute %s has more than %d values", a.Type, valuesMax)
		}
		a.Values = append(a.Values, value)
	}
	return a, nil
}

// element takes one value of any type, whole.
func element(in *cryptobyte.String) ([]byte, bool) {
	var value cryptobyte.String
	var kind tag.Tag
	if !in.ReadAnyASN1Element(&value, &kind) {
		return nil, false
	}
	return bytes.Clone(value), true
}

// whole takes the content of the one element of a type that the bytes consist of.
func whole(der []byte, kind tag.Tag) (cryptobyte.String, bool) {
	in, content := cryptobyte.String(der), cryptobyte.String(nil)
	ok := in.ReadASN1(&content, kind) && in.Empty()
	return content, ok
}

// addAttribute writes one Attribute, its values in DER's order of a SET OF.
func addAttribute(b *cryptobyte.Builder, a cms.Attribute) {
	b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(a.Type)
		b.AddASN1(tag.SET, func(b *cryptobyte.Builder) { addSorted(b, a.Values) })
	})
}

// addSorted writes the elements of a SET OF as DER wants them (X.690 §11.6).
func addSorted(b *cryptobyte.Builder, values [][]byte) {
	values = slices.Clone(values)
	slices.SortFunc(values, bytes.Compare)
	for _, v := range values {
		b.AddBytes(v)
	}
}

// encode gives what a function writes; a fault is the caller's input.
func encode(write func(*cryptobyte.Builder)) ([]byte, error) {
	var b cryptobyte.Builder
	write(&b)
	der, err := b.Bytes()
	if err != nil {
		return nil, because(Malformed, "what was given cannot be encoded", err)
	}
	return der, nil
}

// readExtensions reads an Extensions (RFC 5280 §4.1). None is there twice.
func readExtensions(der []byte) ([]pkix.Extension, error) {
	templates, err := readExtensionTemplates(der)
	if err != nil {
		return nil, err
	}
	var all []pkix.Extension
	for _, t := range templates {
		if t.Value == nil {
			return nil, malformed("the extension %s has no value", t.ID)
		}
		all = append(all, pkix.Extension{Id: t.ID, Critical: t.Critical, Value: t.Value})
	}
	return all, nil
}

// addExtensions writes an Extensions.
func addExtensions(b *cryptobyte.Builder, all []pkix.Extension) {
	b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, e := range all {
			addExtension(b, ExtensionTemplate{ID: e.Id, Critical: e.Critical, Value: append([]byte{}, e.Value...)})
		}
	})
}

// checkName tells whether bytes are a Name (RFC 5280 §4.1.2.4) in form.
func checkName(der []byte) error {
	rdns, err := readName(der)
	if err != nil {
		return err
	}
	for _, rdn := range rdns {
		for _, a := range rdn {
			if a.Value == nil {
				return malformed("the name's attribute %s has no value", a.Type)
			}
		}
	}
	return nil
}

// checkGeneralNames tells whether bytes are a GeneralNames (RFC 5280 §4.2.1.6) in form.
func checkGeneralNames(der []byte) error {
	names, ok := whole(der, tag.SEQUENCE)
	if !ok || names.Empty() {
		return malformed("the subject alternative name is not a list of names")
	}
	for !names.Empty() {
		var name cryptobyte.String
		var kind tag.Tag
		if !names.ReadAnyASN1(&name, &kind) || kind&0xc0 != 0x80 {
			return malformed("the subject alternative name holds something that is no name")
		}
	}
	return nil
}
