package estserver

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"maps"
	"slices"

	"chancery/est"
	"chancery/internal/ca"
)

// subjectOIDs are the attributes of a subject by their words in profiles.
var subjectOIDs = map[string]asn1.ObjectIdentifier{
	"common_name": {2, 5, 4, 3}, "serial_number": {2, 5, 4, 5}, "country": {2, 5, 4, 6}, "locality": {2, 5, 4, 7},
	"province": {2, 5, 4, 8}, "organization": {2, 5, 4, 10}, "organizational_unit": {2, 5, 4, 11},
	"business_category": {2, 5, 4, 15}, "jurisdiction_country": {1, 3, 6, 1, 4, 1, 311, 60, 2, 1, 3},
}

// subjectOrder is how a subject is written, from the large to the small; what is not in
// it comes last.
var subjectOrder = []string{"country", "province", "locality", "organization", "organizational_unit", "common_name", "serial_number"}

// nameDemands adds what is demanded of subject and names (RFC 9908 §3.4): that they are
// there, where the profile needs them, and with which values, where who asks may have
// none but its own.
func (s *Server) nameDemands(c *call, p ca.Demands, d *est.Demand) error {
	own := c.who.Certificate
	if c.who.RA || !onlyOwn(c) {
		own = nil
	}
	if own != nil && c.who.Record != nil && c.who.Record.Profile == c.label.Profile {
		return sameNames(own, d)
	}
	values := map[string][]byte{}
	if own != nil {
		values = valuesOf(own)
	}
	words := slices.Clone(p.SubjectRequire)
	slices.SortFunc(words, func(a, b string) int { return place(a) - place(b) })
	for _, word := range slices.Compact(words) {
		oid := subjectOIDs[word]
		d.Subject = append(d.Subject, []est.NameAttribute{{Type: oid, Value: values[oid.String()]}})
	}
	if p.MinNames == 0 {
		return nil
	}
	san := est.ExtensionTemplate{ID: oidSAN, Value: blankNames(p)}
	if own != nil {
		value, err := takenNames(own, p)
		if err != nil {
			return err
		}
		if value != nil {
			san.Value = value
		}
	}
	d.Extensions = append(d.Extensions, san)
	return nil
}

func place(word string) int {
	if i := slices.Index(subjectOrder, word); i >= 0 {
		return i
	}
	return len(subjectOrder)
}

// onlyOwn tells whether who asks may have nothing but what its certificate has.
func onlyOwn(c *call) bool {
	for _, text := range c.label.Names {
		if text != ownNames {
			return false
		}
	}
	return c.who.Credential == nil && (len(c.label.Names) > 0 || !c.label.Manual) && !c.label.ChangeSubject
}

// sameNames demands the subject and the names of a certificate of ours: what renews it
// MUST have the same (RFC 7030 §4.2.2).
func sameNames(own *x509.Certificate, d *est.Demand) error {
	var rdns []asn1.RawValue
	if rest, err := asn1.Unmarshal(own.RawSubject, &rdns); err != nil || len(rest) > 0 {
		return fmt.Errorf("the subject of certificate %x cannot be read: %w", own.SerialNumber, err)
	}
	for _, rdn := range rdns {
		attributes, err := readRDN(rdn.Bytes)
		if err != nil {
			return fmt.Errorf("the subject of certificate %x cannot be read: %w", own.SerialNumber, err)
		}
		d.Subject = append(d.Subject, attributes)
	}
	for _, e := range own.Extensions {
		if e.Id.Equal(oidSAN) {
			d.Extensions = append(d.Extensions, est.ExtensionTemplate{ID: oidSAN, Critical: e.Critical, Value: e.Value})
		}
	}
	return nil
}

// readRDN reads the content of a SET OF AttributeTypeAndValue.
func readRDN(content []byte) ([]est.NameAttribute, error) {
	var all []est.NameAttribute
	for len(content) > 0 {
		var one struct {
			Type  asn1.ObjectIdentifier
			Value asn1.RawValue
		}
		rest, err := asn1.Unmarshal(content, &one)
		if err != nil {
			return nil, err
		}
		all = append(all, est.NameAttribute{Type: one.Type, Value: one.Value.FullBytes})
		content = rest
	}
	return all, nil
}

// valuesOf gives the attributes of a certificate's subject that profiles know, each
// that is there once.
func valuesOf(cert *x509.Certificate) map[string][]byte {
	values := map[string][]byte{}
	var rdns []asn1.RawValue
	if _, err := asn1.Unmarshal(cert.RawSubject, &rdns); err != nil {
		return values // crypto/x509 read it before
	}
	seen := map[string]int{}
	for _, rdn := range rdns {
		attributes, err := readRDN(rdn.Bytes)
		if err != nil {
			return map[string][]byte{}
		}
		for _, a := range attributes {
			seen[a.Type.String()]++
			values[a.Type.String()] = a.Value
		}
	}
	maps.DeleteFunc(values, func(oid string, _ []byte) bool { return seen[oid] > 1 })
	return values
}

// takenNames gives a certificate's names that the profile takes, as a subject
// alternative name; nil when there are none.
func takenNames(cert *x509.Certificate, p ca.Demands) ([]byte, error) {
	var value []byte
	for _, e := range cert.Extensions {
		if e.Id.Equal(oidSAN) {
			value = e.Value
		}
	}
	if value == nil {
		return nil, nil
	}
	var list []asn1.RawValue
	if rest, err := asn1.Unmarshal(value, &list); err != nil || len(rest) > 0 {
		return nil, nil // a third party's, and the client's to fill in
	}
	var taken bytes.Buffer
	for _, name := range list {
		one, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagSequence, IsCompound: true, Bytes: name.FullBytes})
		if err != nil {
			return nil, err
		}
		ids, err := ca.NamesOf(one)
		if err == nil && len(ids) == 1 && slices.Contains(p.Identifiers, ids[0].Type()) {
			taken.Write(name.FullBytes)
		}
	}
	if taken.Len() == 0 {
		return nil, nil
	}
	return asn1.Marshal(asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagSequence, IsCompound: true, Bytes: taken.Bytes()})
}

// blankNames is the subject alternative name that the client fills in: an empty address
// where nothing else is taken (RFC 9908 §3.4), otherwise no value at all.
func blankNames(p ca.Demands) []byte {
	if slices.Equal(p.Identifiers, []ca.IdentifierType{ca.TypeIP}) {
		return []byte{0x30, 2, 0x87, 0}
	}
	return nil
}
