package estserver

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"

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
// no others.
func (s *Server) nameDemands(c *call, p ca.Demands, d *est.Demand) error {
	own := c.who.Certificate
	if c.who.RA || !onlyOwn(c) {
		own = nil
	}
	if own != nil && c.who.Record != nil && c.who.Record.Profile == c.label.Profile {
		return sameNames(own, d)
	}
	may := c.policyOf(nil)
	if c.who.RA || c.anythingApproved() {
		may = policy{} // it asks for others, or for whatever the approver lets pass
	}
	words := slices.Clone(p.SubjectRequire)
	slices.SortFunc(words, func(a, b string) int { return place(a) - place(b) })
	for _, word := range slices.Compact(words) {
		value, err := attributeValue(word, may.only(shortWords[word]))
		if err != nil {
			return err
		}
		d.Subject = append(d.Subject, []est.NameAttribute{{Type: subjectOIDs[word], Value: value}})
	}
	if p.MinNames == 0 {
		return nil
	}
	value, err := namesValue(own, p, may)
	if err != nil {
		return err
	}
	if value == nil {
		value = blankNames(p)
	}
	d.Extensions = append(d.Extensions, est.ExtensionTemplate{ID: oidSubjectAltName, Value: value})
	return nil
}

// shortWords are the attributes as [attributeOf] has them; the others no policy names.
var shortWords = map[string]string{"common_name": "CN", "serial_number": "SN", "organization": "O", "organizational_unit": "OU", "country": "C", "locality": "L", "province": "ST"}

// only gives the one value that an attribute may have; "" when there are several, or
// any, or none.
func (p policy) only(word string) string {
	var found []string
	if word == "" {
		return ""
	}
	for _, g := range p.grounds {
		for _, t := range g.patterns {
			value := ""
			switch {
			case t.own && g.own != nil:
				value = *attributeOf[word](&g.own.subject)
			case t.own || t.attribute != word && t.attribute != "":
				continue
			case t.attribute == word:
				value, _ = t.fill(p.fields)
			case word == "CN" || t.all:
				return "" // patterns of names fit a common name, too
			default:
				continue
			}
			if strings.Contains(value, "*") {
				return ""
			}
			if value != "" && !slices.Contains(found, value) {
				found = append(found, value)
			}
		}
	}
	if len(found) != 1 {
		return ""
	}
	return found[0]
}

// onlyName gives the one name that may be asked for.
func (p policy) onlyName() (ca.Identifier, bool) {
	var found []ca.Identifier
	for _, g := range p.grounds {
		for _, t := range g.patterns {
			if t.attribute != "" || t.own && (g.own == nil || len(g.own.names) == 0) {
				continue
			}
			text, ok := t.fill(p.fields)
			if t.own || t.all || t.network.IsValid() || strings.ContainsAny(text, "*") {
				return ca.Identifier{}, false
			}
			n, err := ca.ParseIdentifier(string(t.means), text)
			if !ok || err != nil {
				continue // it lets nothing pass
			}
			if !slices.Contains(found, n) {
				found = append(found, n)
			}
		}
	}
	if len(found) != 1 {
		return ca.Identifier{}, false
	}
	return found[0], true
}

// attributeValue encodes a value of a subject; nil: it is not known.
func attributeValue(word, value string) ([]byte, error) {
	switch {
	case value == "":
		return nil, nil
	case word == "country" || word == "serial_number": // RFC 5280 appendix A.1
		return asn1.MarshalWithParams(value, "printable")
	}
	return asn1.MarshalWithParams(value, "utf8")
}

// namesValue gives the subject alternative name that who asks is to have; nil: it is
// not known.
func namesValue(own *x509.Certificate, p ca.Demands, may policy) ([]byte, error) {
	if own != nil {
		return takenNames(own, p)
	}
	n, ok := may.onlyName()
	if !ok || !slices.Contains(p.Identifiers, n.Type()) {
		return nil, nil
	}
	one := asn1.RawValue{Class: asn1.ClassContextSpecific, Bytes: []byte(n.Value())} // RFC 5280 §4.2.1.6
	switch n.Type() {
	case ca.TypeDNS:
		one.Tag = 2
	case ca.TypeEmail:
		one.Tag = 1
	case ca.TypeIP:
		addr, _ := n.Addr()
		one.Tag, one.Bytes = 7, addr.AsSlice()
	default:
		return nil, nil
	}
	return asn1.Marshal([]asn1.RawValue{one})
}

func place(word string) int {
	if i := slices.Index(subjectOrder, word); i >= 0 {
		return i
	}
	return len(subjectOrder)
}

// onlyOwn tells whether who asks may have nothing but what its certificate has.
func onlyOwn(c *call) bool {
	for _, text := range c.patterns() {
		if text != ownNames {
			return false
		}
	}
	return c.who.Credential == nil && !c.anythingApproved() && !c.label.ChangeSubject
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
		if e.Id.Equal(oidSubjectAltName) {
			d.Extensions = append(d.Extensions, est.ExtensionTemplate{ID: oidSubjectAltName, Critical: e.Critical, Value: e.Value})
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

// takenNames gives a certificate's names that the profile takes, as a subject
// alternative name; nil when there are none.
func takenNames(cert *x509.Certificate, p ca.Demands) ([]byte, error) {
	var value []byte
	for _, e := range cert.Extensions {
		if e.Id.Equal(oidSubjectAltName) {
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
