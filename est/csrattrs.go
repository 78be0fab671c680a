package est

import (
	"encoding/asn1"
	"slices"

	"chancery/cms"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// AttrOrOID is one wish of a server (RFC 8951 §4): a bare object identifier, or an
// attribute with values.
type AttrOrOID struct {
	Type asn1.ObjectIdentifier
	// Values are DER; nil for a bare identifier. An attribute may have none: a key of
	// any size (RFC 9908 §3.2).
	Values [][]byte
}

// CSRAttrs is what a server wishes requests to be like (RFC 8951 §4, RFC 9908), in its
// order. [Demand.CSRAttrs] makes one and [Want] reads it.
type CSRAttrs []AttrOrOID

// wishesMax bounds the list.
const wishesMax = 256

// Has tells whether the identifier stands in the list, bare or with values.
func (c CSRAttrs) Has(kind asn1.ObjectIdentifier) bool {
	return slices.ContainsFunc(c, func(w AttrOrOID) bool { return w.Type.Equal(kind) })
}

// Attribute gives the first attribute of a type; a bare identifier is none.
func (c CSRAttrs) Attribute(kind asn1.ObjectIdentifier) (cms.Attribute, bool) {
	i := slices.IndexFunc(c, func(w AttrOrOID) bool { return w.Values != nil && w.Type.Equal(kind) })
	if i < 0 {
		return cms.Attribute{}, false
	}
	return cms.Attribute{Type: c[i].Type, Values: c[i].Values}, true
}

// Marshal encodes the list, DER. An empty one asks for nothing (RFC 8951 §4).
func (c CSRAttrs) Marshal() ([]byte, error) {
	return encode(func(b *cryptobyte.Builder) {
		b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, w := range c {
				if w.Values == nil {
					b.AddASN1ObjectIdentifier(w.Type)
				} else {
					addAttribute(b, cms.Attribute{Type: w.Type, Values: w.Values})
				}
			}
		})
	})
}

// ParseCSRAttrs reads a list. Form alone is looked at, so that RFC 7030's own examples,
// which RFC 9908 calls incorrect, are read; what identifiers mean and whether they fit
// together is for [Want]. Identifiers with arcs that do not fit are left out, as nobody
// here can know them (RFC 8951 §4: they MUST be ignored). No bytes are an empty list.
func ParseCSRAttrs(der []byte) (CSRAttrs, error) {
	if len(der) > RequestMax {
		return nil, fault(TooLarge, "the CSR attributes have more than %d bytes", RequestMax)
	}
	if len(der) == 0 {
		return nil, nil
	}
	in, ok := whole(der, tag.SEQUENCE)
	if !ok {
		return nil, malformed("the CSR attributes are not a sequence (RFC 8951 section 4)")
	}
	var all CSRAttrs
	for n := 0; !in.Empty(); n++ {
		if n == wishesMax {
			return nil, fault(TooLarge, "there are more than %d CSR attributes", wishesMax)
		}
		wish, known, err := readWish(&in)
		if err != nil {
			return nil, err
		}
		if known {
			all = append(all, wish)
		}
	}
	return all, nil
}

// readWish reads an AttrOrOID; it is unknown when its identifier cannot be held.
func readWish(in *cryptobyte.String) (wish AttrOrOID, known bool, err error) {
	var whole cryptobyte.String
	var kind tag.Tag
	if !in.ReadAnyASN1Element(&whole, &kind) || kind != tag.OBJECT_IDENTIFIER && kind != tag.SEQUENCE {
		return wish, false, malformed("the CSR attributes hold something that is neither an object identifier nor an attribute")
	}
	if kind == tag.OBJECT_IDENTIFIER {
		return wish, whole.ReadASN1ObjectIdentifier(&wish.Type), nil
	}
	inner := whole
	var body, name cryptobyte.String
	if inner.ReadASN1(&body, tag.SEQUENCE) && body.ReadASN1(&name, tag.OBJECT_IDENTIFIER) && !validOID(name) {
		return wish, false, nil
	}
	a, err := readAttribute(&whole)
	return AttrOrOID{Type: a.Type, Values: append([][]byte{}, a.Values...)}, err == nil, err
}

// validOID tells whether an identifier's content can be held.
func validOID(content cryptobyte.String) bool {
	in := cryptobyte.String(primitive(tag.OBJECT_IDENTIFIER, string(content)))
	var kind asn1.ObjectIdentifier
	return in.ReadASN1ObjectIdentifier(&kind)
}
