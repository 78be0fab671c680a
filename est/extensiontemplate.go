package est

import (
	"bytes"
	"encoding/asn1"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// ExtensionTemplate is an extension whose value the client may have to fill in
// (RFC 9908 §3.4).
type ExtensionTemplate struct {
	ID       asn1.ObjectIdentifier
	Critical bool
	Value    []byte // nil: the client fills it in
}

// readExtensionTemplates reads an ExtensionReqTemplate, of which Extensions is the case
// where every value is there.
func readExtensionTemplates(der []byte) ([]ExtensionTemplate, error) {
	in, ok := whole(der, tag.SEQUENCE)
	if !ok {
		return nil, malformed("the extensions are not a sequence (RFC 5280 section 4.1)")
	}
	var all []ExtensionTemplate
	for !in.Empty() {
		e, err := readExtensionTemplate(&in)
		if err != nil {
			return nil, err
		}
		if len(all) == extensionsMax {
			return nil, fault(TooLarge, "there are more than %d extensions", extensionsMax)
		}
		if slices.ContainsFunc(all, func(f ExtensionTemplate) bool { return f.ID.Equal(e.ID) }) {
			return nil, malformed("the extension %s is there twice", e.ID)
		}
		all = append(all, e)
	}
	return all, nil
}

// listOfTemplates gives the value of an extensionReqTemplate as a list: the text of RFC
// 9908 §3.4 has it as one ExtensionTemplate, its ASN.1 module and its example as several.
func listOfTemplates(der []byte) []byte {
	in, ok := whole(der, tag.SEQUENCE)
	if !ok || !in.PeekASN1Tag(tag.OBJECT_IDENTIFIER) {
		return der
	}
	list, err := encode(func(b *cryptobyte.Builder) {
		b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(der) })
	})
	if err != nil {
		return der
	}
	return list
}

func readExtensionTemplate(in *cryptobyte.String) (ExtensionTemplate, error) {
	var e ExtensionTemplate
	var body cryptobyte.String
	if !in.ReadASN1(&body, tag.SEQUENCE) || !body.ReadASN1ObjectIdentifier(&e.ID) {
		return e, malformed("an extension cannot be read (RFC 5280 section 4.1)")
	}
	if body.PeekASN1Tag(tag.BOOLEAN) && !body.ReadASN1Boolean(&e.Critical) {
		return e, malformed("the extension %s is neither critical nor not", e.ID)
	}
	if body.PeekASN1Tag(tag.OCTET_STRING) {
		var value cryptobyte.String
		if !body.ReadASN1(&value, tag.OCTET_STRING) {
			return e, malformed("the extension %s cannot be read", e.ID)
		}
		e.Value = append([]byte{}, value...)
	}
	if !body.Empty() {
		return e, malformed("the extension %s has something after its value", e.ID)
	}
	return e, nil
}

// addExtension writes an extension, or a template of one.
func addExtension(b *cryptobyte.Builder, e ExtensionTemplate) {
	b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(e.ID)
		if e.Critical {
			b.AddASN1Boolean(true)
		}
		if e.Value != nil {
			b.AddASN1OctetString(e.Value)
		}
	})
}

// NameAttribute is an attribute of a name; its value may be left to the client.
type NameAttribute struct {
	Type  asn1.ObjectIdentifier
	Value []byte // DER; nil: the client fills it in
}

// readName reads a Name whose values may be missing (RFC 9908 §3.4: NameTemplate).
func readName(der []byte) ([][]NameAttribute, error) {
	in, ok := whole(der, tag.SEQUENCE)
	if !ok {
		return nil, malformed("a name is not a sequence (RFC 5280 section 4.1.2.4)")
	}
	rdns := [][]NameAttribute{}
	for !in.Empty() {
		var set cryptobyte.String
		if !in.ReadASN1(&set, tag.SET) || set.Empty() {
			return nil, malformed("a name does not consist of sets (RFC 5280 section 4.1.2.4)")
		}
		var rdn []NameAttribute
		for !set.Empty() {
			var body cryptobyte.String
			var a NameAttribute
			if !set.ReadASN1(&body, tag.SEQUENCE) || !body.ReadASN1ObjectIdentifier(&a.Type) {
				return nil, malformed("a name's attribute cannot be read")
			}
			if !body.Empty() {
				a.Value, ok = element(&body)
			}
			if !ok || !body.Empty() {
				return nil, malformed("the name's attribute %s cannot be read", a.Type)
			}
			rdn = append(rdn, a)
		}
		rdns = append(rdns, rdn)
	}
	return rdns, nil
}

// addName writes a Name or a template of one.
func addName(b *cryptobyte.Builder, rdns [][]NameAttribute) {
	b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, rdn := range rdns {
			var encoded [][]byte
			for _, a := range rdn {
				var one cryptobyte.Builder
				one.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(a.Type)
					b.AddBytes(a.Value)
				})
				der, err := one.Bytes()
				if err != nil {
					b.SetError(err)
					return
				}
				encoded = append(encoded, bytes.Clone(der))
			}
			b.AddASN1(tag.SET, func(b *cryptobyte.Builder) { addSorted(b, encoded) })
		}
	})
}
