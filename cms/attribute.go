package cms

import (
	"bytes"
	"encoding/asn1"
	"time"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// Find gives the first attribute of the type, or nil.
func Find(list []Attribute, oid asn1.ObjectIdentifier) *Attribute {
	for i := range list {
		if list[i].Type.Equal(oid) {
			return &list[i]
		}
	}
	return nil
}

// One gives the value of an attribute that must be in the list once at most and have one
// value. It gives nil if there is none; else the error is Malformed.
func One(list []Attribute, oid asn1.ObjectIdentifier) ([]byte, error) {
	var value []byte
	for _, a := range list {
		if !a.Type.Equal(oid) {
			continue
		}
		if value != nil || len(a.Values) != 1 {
			return nil, fault(Malformed, "the attribute %v has not one value", oid)
		}
		value = a.Values[0]
	}
	return value, nil
}

// SigningTime makes the attribute of RFC 5652 §11.3: UTCTime through 2049.
func SigningTime(at time.Time) Attribute {
	at = at.UTC().Truncate(time.Second)
	var b writer
	if at.Year() >= 1950 && at.Year() < 2050 {
		b.AddASN1UTCTime(at)
	} else {
		b.AddASN1GeneralizedTime(at)
	}
	value, err := b.Bytes()
	if err != nil { // the year has not four digits: none such is read, either
		return Attribute{Type: OIDSigningTime}
	}
	return Attribute{Type: OIDSigningTime, Values: [][]byte{value}}
}

// Time reads the signing-time among signed attributes; false: there is none.
func Time(list []Attribute) (time.Time, bool, error) {
	value, err := One(list, OIDSigningTime)
	if value == nil {
		return time.Time{}, false, err
	}
	var at time.Time
	s := cryptobyte.String(value)
	if s.PeekASN1Tag(tags.UTCTime) && s.ReadASN1UTCTime(&at) && s.Empty() {
		return at, true, nil
	}
	s = value
	if s.ReadASN1GeneralizedTime(&at) && s.Empty() {
		return at, true, nil
	}
	return time.Time{}, false, fault(Malformed, "signing-time is no time")
}

// ParseAttributes reads a SET OF Attribute. tagged is the whole element, whose own tag is
// not looked at; values must be DER.
func ParseAttributes(tagged []byte) ([]Attribute, error) {
	s := cryptobyte.String(tagged)
	var inner cryptobyte.String
	var tag tags.Tag
	if !s.ReadAnyASN1(&inner, &tag) || !s.Empty() {
		return nil, fault(Malformed, "the attributes are no SET")
	}
	r := readerOf(inner)
	list := r.attributes()
	return list, *r.err
}

// attributes reads the elements of a SET OF Attribute.
func (r *reader) attributes() []Attribute {
	list := []Attribute{}
	r.each(mostItems, "attributes", func(r *reader) {
		seq := r.in(tags.SEQUENCE, "Attribute")
		a := Attribute{Type: seq.oid("the attribute's type")}
		values := seq.in(tags.SET, "the attribute's values")
		values.each(mostItems, "values of an attribute", func(r *reader) {
			a.Values = append(a.Values, r.any("the attribute's value"))
		})
		seq.end("Attribute")
		list = append(list, a)
	})
	return list
}

// Marshal gives the DER of Attribute. The error, BadValue, is that of a type that is no
// object identifier or of a value that is not one element.
func (a Attribute) Marshal() ([]byte, error) {
	for _, v := range a.Values {
		s := cryptobyte.String(v)
		var e cryptobyte.String
		var tag tags.Tag
		if !s.ReadAnyASN1(&e, &tag) || !s.Empty() {
			return nil, fault(BadValue, "a value of the attribute %v is not one DER element", a.Type)
		}
	}
	return build(func(b *writer) {
		add(b, tags.SEQUENCE, func(b *writer) {
			b.AddASN1ObjectIdentifier(a.Type)
			addSet(b, tags.SET, a.Values)
		})
	})
}

// MarshalAttributes gives the DER of a SET OF Attribute, under the universal tag SET.
func MarshalAttributes(list []Attribute) ([]byte, error) {
	elements := make([][]byte, len(list))
	for i, a := range list {
		der, err := a.Marshal()
		if err != nil {
			return nil, err
		}
		elements[i] = der
	}
	return build(func(b *writer) { addSet(b, tags.SET, elements) })
}

// retagged gives the same element under another tag of one octet.
func retagged(der []byte, tag tags.Tag) []byte {
	out := bytes.Clone(der)
	out[0] = byte(tag)
	return out
}

// oidValue and octetValue are attribute values.
func oidValue(oid asn1.ObjectIdentifier) ([]byte, error) {
	return build(func(b *writer) { b.AddASN1ObjectIdentifier(oid) })
}

func octetValue(octets []byte) ([]byte, error) {
	return build(func(b *writer) { b.AddASN1OctetString(octets) })
}
