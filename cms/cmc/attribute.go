package cmc

import (
	"encoding/asn1"
	"slices"

	tags "golang.org/x/crypto/cryptobyte/asn1"

	"chancery/cms"
)

// ChangeSubjectName asks, within a certification request, for other names than those
// that it has (RFC 6402 §2.8). At least one field is set; the other empties its name.
type ChangeSubjectName struct {
	Subject    []byte // DER of a Name; nil: absent
	SubjectAlt []byte // DER of GeneralNames, tag SEQUENCE; nil: absent
}

// OID is id-cmc-changeSubjectName.
func (ChangeSubjectName) OID() asn1.ObjectIdentifier { return OIDChangeSubjectName }

func (v ChangeSubjectName) write(b builder) {
	if v.Subject == nil && v.SubjectAlt == nil {
		b.refuse("changeSubjectName: %w", errNothing)
		return
	}
	b.sequence(func(b builder) {
		if v.Subject != nil {
			b.name(v.Subject, "subject")
		}
		if v.SubjectAlt != nil {
			b.tagged(v.SubjectAlt, tags.SEQUENCE, "subject's other names")
		}
	})
}

// readChangeSubjectName tells the two lists apart, which have the same tag, by what is in
// them: relative names are SETs, general names are tagged for their context.
func readChangeSubjectName(r *reader) Value {
	var v ChangeSubjectName
	r.sub(tags.SEQUENCE, "names", func(r *reader) {
		first := r.tagged(tags.SEQUENCE, "names")
		inner := (&reader{in: first, fault: r.fault}).body()
		switch {
		case r.more():
			v.Subject, v.SubjectAlt = first, r.tagged(tags.SEQUENCE, "names")
		case len(inner) > 0 && inner[0] != byte(tags.SET):
			v.SubjectAlt = first
		default:
			v.Subject = first
		}
	})
	return v
}

func (r *reader) body() (inner []byte) {
	if r.failed() {
		return nil
	}
	r.sub(tags.SEQUENCE, "names", func(r *reader) { inner, r.in = r.in, nil })
	return inner
}

// UnsignedData is what an RA is to take out of a message: a value of the unsigned
// attribute id-aa-cmc-unsignedData (RFC 5272 §3.2.3).
type UnsignedData struct {
	Path  Path // to the control that it belongs to
	Type  asn1.ObjectIdentifier
	Value []byte // DER
}

// UnsignedDataOf reads the attribute among a signer's unsigned ones or an
// AuthenticatedData's unauthenticated ones. There may be one with several values.
func UnsignedDataOf(attributes []cms.Attribute) ([]UnsignedData, error) {
	var list []UnsignedData
	for _, a := range attributes {
		if !a.Type.Equal(OIDUnsignedData) {
			continue
		}
		if list != nil || len(a.Values) == 0 || len(a.Values) > MaxValues {
			return nil, refuse(BadRequest, Current, "more than one attribute of unsigned data, or one without or with too many values")
		}
		for _, der := range a.Values {
			var d UnsignedData
			err := read(der, tags.SEQUENCE, func(r *reader) {
				d.Path = r.path("path")
				d.Type = r.oid("identifier")
				d.Value = r.element("content")
			})
			if err != nil {
				return nil, at(Current, err)
			}
			list = append(list, d)
		}
	}
	return list, nil
}

// UnsignedDataAttribute is the attribute with these values, in the order of DER.
func UnsignedDataAttribute(list ...UnsignedData) (cms.Attribute, error) {
	a := cms.Attribute{Type: OIDUnsignedData}
	for _, d := range list {
		der, err := build(func(b builder) {
			b.sequence(func(b builder) {
				b.path(d.Path, "unsigned data")
				b.AddASN1ObjectIdentifier(d.Type)
				b.element(d.Value, "unsigned data")
			})
		})
		if err != nil {
			return cms.Attribute{}, err
		}
		a.Values = append(a.Values, der)
	}
	slices.SortFunc(a.Values, slices.Compare)
	return a, nil
}

// Promote is what an RA does with unsigned data that it moves to its own wrapper: the
// body part that now holds the message comes first in each path (RFC 5272 §3.2.3).
func Promote(list []UnsignedData, part BodyPartID) []UnsignedData {
	out := make([]UnsignedData, len(list))
	for i, d := range list {
		out[i] = UnsignedData{append(Path{part}, d.Path...), d.Type, d.Value}
	}
	return out
}
