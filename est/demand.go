package est

import (
	"crypto"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"

	"chancery/cms"
)

// Demand is what a server wants of requests; [Demand.CSRAttrs] says it in both ways
// that clients read, the list of RFC 8951 §4 and the template of RFC 9908 §3.4.
type Demand struct {
	Key        string                  // for [ParseKeySpec]; "": any, or several, which no list can say
	Hash       crypto.Hash             // of the request's signature; needs a Key; 0: any
	Ask        []asn1.ObjectIdentifier // attributes that the client fills in, such as [OIDChallengePassword] and [OIDMACAddress]
	Subject    [][]NameAttribute       // of the template; types without a value are in the list, too
	Extensions []ExtensionTemplate     // those that are complete are in the list, too
	Attributes []cms.Attribute         // with values that the request shall hold
	Template   bool                    // write the template
}

// CSRAttrs encodes the demand, in an order that does not change: what to fill in, key,
// signature, subject, extensions, other attributes, template. It is empty when nothing
// is demanded. Key and curve go as an attribute, the hash as the identifier of a
// signature (RFC 8951 §4), extensions in one extension request (RFC 9908 §3.2).
func (d Demand) CSRAttrs() (CSRAttrs, error) {
	var list CSRAttrs
	for _, kind := range d.Ask {
		list = append(list, AttrOrOID{Type: kind})
	}
	spec, err := d.key(&list)
	if err != nil {
		return nil, err
	}
	for _, rdn := range d.Subject {
		for _, a := range rdn {
			if a.Value == nil && !list.Has(a.Type) {
				list = append(list, AttrOrOID{Type: a.Type})
			}
		}
	}
	if err := d.extensions(&list); err != nil {
		return nil, err
	}
	for _, a := range d.Attributes {
		list = append(list, AttrOrOID{Type: a.Type, Values: a.Values})
	}
	if !d.Template || spec == nil && d.Subject == nil && len(d.Extensions)+len(d.Attributes) == 0 {
		return list, nil
	}
	a, err := Template{Subject: d.Subject, Key: spec, Extensions: d.Extensions, Attributes: d.Attributes}.Attribute()
	return append(list, AttrOrOID{Type: a.Type, Values: a.Values}), err
}

// key adds the key and the signature.
func (d Demand) key(list *CSRAttrs) (*KeySpec, error) {
	if d.Key == "" {
		if d.Hash != 0 {
			return nil, malformed("a hash is demanded of signatures by a key that is not named")
		}
		return nil, nil
	}
	spec, err := ParseKeySpec(d.Key)
	if err != nil {
		return nil, err
	}
	*list = append(*list, spec.wish())
	if d.Hash == 0 {
		return &spec, nil
	}
	for _, w := range signatureWishes {
		if w.any.Algorithm.Equal(spec.Algorithm) && w.hash == d.Hash {
			*list = append(*list, AttrOrOID{Type: w.kind})
			return &spec, nil
		}
	}
	return nil, fault(Unsupported, "no signature of a key %s has the hash %v", d.Key, d.Hash)
}

// extensions adds those of which everything is known.
func (d Demand) extensions(list *CSRAttrs) error {
	var complete []pkix.Extension
	for _, e := range d.Extensions {
		if !e.partial() {
			complete = append(complete, pkix.Extension{Id: e.ID, Critical: e.Critical, Value: e.Value})
		}
	}
	if len(complete) == 0 {
		return nil
	}
	a, err := ExtensionRequest(complete)
	*list = append(*list, AttrOrOID{Type: a.Type, Values: slices.Clone(a.Values)})
	return err
}

// signatureWishes are the identifiers by which a list asks for a hash.
var signatureWishes = []struct {
	kind asn1.ObjectIdentifier
	any  KeySpec
	hash crypto.Hash
}{
	{OIDECDSAWithSHA256, anyEC, crypto.SHA256},
	{OIDECDSAWithSHA384, anyEC, crypto.SHA384},
	{OIDECDSAWithSHA512, anyEC, crypto.SHA512},
	{OIDSHA256WithRSA, anyRSA, crypto.SHA256},
	{OIDSHA384WithRSA, anyRSA, crypto.SHA384},
	{OIDSHA512WithRSA, anyRSA, crypto.SHA512},
}
