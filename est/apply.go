package est

import (
	"bytes"
	"crypto"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"strings"

	"chancery/cms"

	"golang.org/x/crypto/cryptobyte"
)

// CheckKey tells whether a public key is of the kind that is wanted; [Unmet] if not.
func (w Wanted) CheckKey(key crypto.PublicKey) error {
	if w.Key == "" {
		return nil
	}
	spec, err := ParseKeySpec(w.Key)
	if err == nil && !spec.Fits(key) {
		return fault(Unmet, "the server certifies only keys of the kind %s: make one", w.Key)
	}
	return err
}

// Apply fills a request in as the server wants it. What the request says already stays
// as long as it does not contradict; what is wanted and neither said by the server nor
// by the request is [Unmet], and so is everything in w.Unmet. The key, the hash and the
// challenges are the caller's. For a re-enrolment, whose names are those of the old
// certificate (RFC 7030 §4.2.2), set w.Subject to nil first.
func (w Wanted) Apply(r *Request) error {
	if len(w.Unmet) > 0 {
		return fault(Unmet, "the server demands something that cannot be met here (%s)", joinOIDs(w.Unmet))
	}
	subject, err := w.subject(r)
	if err != nil {
		return err
	}
	attributes, err := w.attributes(r.Attributes)
	if err != nil {
		return err
	}
	next := *r
	next.Subject, next.Attributes, next.Extensions, next.PSS = subject, attributes, slices.Clone(r.Extensions), r.PSS || w.PSS
	for _, e := range w.Extensions {
		if err := next.want(e); err != nil {
			return err
		}
	}
	if err := w.described(next); err != nil {
		return err
	}
	*r = next
	return nil
}

func joinOIDs(kinds []asn1.ObjectIdentifier) string {
	var all []string
	for _, k := range kinds {
		all = append(all, k.String())
	}
	return strings.Join(all, ", ")
}

// subject fills the template of the name in from the request's own name, in the
// template's order. An attribute of the request that the template has no place for, or
// another value for, cannot be had.
func (w Wanted) subject(r *Request) ([]byte, error) {
	der, err := r.subject()
	if err != nil || w.Subject == nil {
		return der, err
	}
	own, err := readName(der)
	if err != nil {
		return nil, err
	}
	left := slices.Concat(own...)
	var filled [][]NameAttribute
	for _, rdn := range w.Subject {
		var next []NameAttribute
		for _, a := range rdn {
			i := slices.IndexFunc(left, func(b NameAttribute) bool {
				return b.Type.Equal(a.Type) && (a.Value == nil || sameText(a.Value, b.Value))
			})
			if i < 0 && a.Value == nil {
				return nil, fault(Unmet, "the server wants the subject to have the attribute %s: say which value", a.Type)
			}
			if i >= 0 {
				if a.Value == nil {
					a.Value = left[i].Value
				}
				left = slices.Delete(left, i, i+1)
			}
			next = append(next, a)
		}
		filled = append(filled, next)
	}
	if len(left) > 0 {
		return nil, fault(Unmet, "the server wants a subject without the attribute %s, or with another value of it", left[0].Type)
	}
	return encode(func(b *cryptobyte.Builder) { addName(b, filled) })
}

// sameText compares two values of a name's attribute, whatever string types they have.
func sameText(a, b []byte) bool {
	x, ok := readText(a)
	y, too := readText(b)
	return bytes.Equal(a, b) || ok && too && strings.EqualFold(x, y)
}

// attributes adds those that the server gave values for.
func (w Wanted) attributes(own []cms.Attribute) ([]cms.Attribute, error) {
	all := slices.Clone(own)
	for _, a := range w.Attributes {
		i := slices.IndexFunc(all, func(b cms.Attribute) bool { return b.Type.Equal(a.Type) })
		switch {
		case i < 0:
			all = append(all, a)
		case !slices.EqualFunc(all[i].Values, a.Values, bytes.Equal):
			return nil, fault(Unmet, "the server wants another value of the attribute %s", a.Type)
		}
	}
	return all, nil
}

// want makes the request ask for an extension.
func (r *Request) want(e ExtensionTemplate) error {
	if e.ID.Equal(oidSAN) {
		return r.wantNames(e)
	}
	i := slices.IndexFunc(r.Extensions, func(f pkix.Extension) bool { return f.Id.Equal(e.ID) })
	switch {
	case i < 0 && e.Value == nil && e.ID.Equal(oidSubjectDirectoryAttributes):
		return r.directMAC(e.Critical)
	case i < 0 && e.Value == nil:
		return fault(Unmet, "the server wants the extension %s: say which value", e.ID)
	case i < 0:
		r.Extensions = append(r.Extensions, pkix.Extension{Id: e.ID, Critical: e.Critical, Value: e.Value})
	case e.Value != nil && !bytes.Equal(e.Value, r.Extensions[i].Value):
		return fault(Unmet, "the server wants another value of the extension %s", e.ID)
	default:
		r.Extensions[i].Critical = e.Critical
	}
	return nil
}

// directMAC says the attribute macAddress in the extension, too, in which a template can
// ask for it (RFC 9908 §5.2).
func (r *Request) directMAC(critical bool) error {
	i := slices.IndexFunc(r.Attributes, func(a cms.Attribute) bool { return a.Type.Equal(OIDMACAddress) })
	if i < 0 {
		return fault(Unmet, "the server wants to be told %s, in the extension subjectDirectoryAttributes: say it", describe(OIDMACAddress))
	}
	e, err := SubjectDirectoryAttributes(r.Attributes[i])
	if err != nil {
		return err
	}
	e.Critical = critical
	r.Extensions = append(r.Extensions, e)
	return nil
}

// wantNames makes the request ask for the names that the server gave, its blanks filled
// in with the request's own names of their kind (RFC 9908 §3.4).
func (r *Request) wantNames(e ExtensionTemplate) error {
	der, err := r.SAN()
	if err != nil {
		return err
	}
	if e.Value == nil {
		if der == nil {
			return fault(Unmet, "the server wants a subject alternative name: say which names")
		}
		return nil
	}
	wanted, err := readGeneralNames(e.Value)
	if err != nil {
		return err
	}
	var left []generalName
	if der != nil {
		if left, err = readGeneralNames(der); err != nil {
			return err
		}
	}
	all, err := fill(wanted, left)
	if err != nil {
		return err
	}
	r.RawSAN, err = encodeGeneralNames(all)
	r.DNSNames, r.EmailAddresses, r.IPAddresses, r.URIs, r.CriticalSAN = nil, nil, nil, nil, r.CriticalSAN || e.Critical
	return err
}

// fill gives the names that are wanted, each blank one replaced by one of the request's
// own of its kind. All of those have to find a place.
func fill(wanted, own []generalName) ([]generalName, error) {
	all := slices.Clone(wanted)
	left := slices.DeleteFunc(slices.Clone(own), func(n generalName) bool { return slices.Contains(wanted, n) })
	for i, n := range all {
		if !n.blank() {
			continue
		}
		mine := slices.IndexFunc(left, func(own generalName) bool { return own.kind == n.kind })
		if mine < 0 {
			return nil, fault(Unmet, "the server wants a further name of the kind [%d] (RFC 5280 section 4.2.1.6): say which", n.kind&0x1f)
		}
		all[i] = left[mine]
		left = slices.Delete(left, mine, mine+1)
	}
	if len(left) > 0 {
		return nil, fault(Unmet, "the server wants other names than those that were asked for")
	}
	return all, nil
}

// described tells whether the request holds what the client was asked to tell.
func (w Wanted) described(r Request) error {
	rdns, err := readName(r.Subject)
	if err != nil {
		return err
	}
	names := slices.Concat(rdns...)
	told := slices.Concat(r.Attributes, directoryAttributes(r.Extensions))
	for _, kind := range w.Describe {
		held := slices.ContainsFunc(told, func(a cms.Attribute) bool { return a.Type.Equal(kind) }) ||
			inSubject(kind) && slices.ContainsFunc(names, func(a NameAttribute) bool { return a.Type.Equal(kind) })
		if !held {
			return fault(Unmet, "the server wants to be told %s: say it", describe(kind))
		}
	}
	return nil
}

func describe(kind asn1.ObjectIdentifier) string {
	switch {
	case kind.Equal(OIDMACAddress):
		return "the MAC address"
	case kind.Equal(OIDUnstructuredName):
		return "the unstructured name"
	}
	return "the subject's attribute " + kind.String()
}
