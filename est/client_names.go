package est

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"net"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// changeOf gives the change of name that a request holds, nil when there is none.
func changeOf(r Request) (*NameChange, error) {
	for _, a := range r.Attributes {
		if a.Type.Equal(OIDChangeSubjectName) && len(a.Values) == 1 {
			return ParseNameChange(a.Values[0])
		}
	}
	return nil, nil
}

// missing compares a certificate with what was asked for: whether the subject differs,
// in words, and which names are not in it. Servers may add to both.
func (r Request) missing(change *NameChange, got *x509.Certificate) (subject string, names []string) {
	san, err := r.SAN()
	asked := r.Subject
	if asked == nil {
		asked, _ = asn1.Marshal(r.SubjectName.ToRDNSequence())
	}
	if change != nil {
		asked, san = change.Subject, change.SAN
	}
	if err != nil {
		return "", nil // Sign refused it before
	}
	var has []string
	for _, extension := range got.Extensions {
		if extension.Id.Equal(oidSAN) {
			has = alternativeNames(extension.Value)
		}
	}
	for _, name := range alternativeNames(san) {
		if !slices.Contains(has, name) {
			names = append(names, name)
		}
	}
	want, have := common(asked), got.Subject.CommonName
	if want != "" && want != have && !slices.Contains(has, "dns:"+strings.ToLower(want)) {
		subject = fmt.Sprintf("its common name is %q, not %q", have, want)
	}
	return subject, names
}

// common gives the common name of a Name, DER.
func common(der []byte) string {
	var sequence pkix.RDNSequence
	if rest, err := asn1.Unmarshal(der, &sequence); err != nil || len(rest) > 0 {
		return ""
	}
	var name pkix.Name
	name.FillFromRDNSequence(&sequence)
	return name.CommonName
}

// alternativeNames lists a GeneralNames as comparable text.
func alternativeNames(der []byte) []string {
	in := cryptobyte.String(der)
	var all cryptobyte.String
	if !in.ReadASN1(&all, tag.SEQUENCE) {
		return nil
	}
	var list []string
	for !all.Empty() {
		var value cryptobyte.String
		var kind tag.Tag
		if !all.ReadAnyASN1(&value, &kind) {
			return list
		}
		switch kind {
		case tag.Tag(1).ContextSpecific():
			list = append(list, "email:"+string(value))
		case tag.Tag(2).ContextSpecific():
			list = append(list, "dns:"+strings.ToLower(string(value)))
		case tag.Tag(6).ContextSpecific():
			list = append(list, "uri:"+string(value))
		case tag.Tag(7).ContextSpecific():
			list = append(list, "ip:"+net.IP(value).String())
		default:
			list = append(list, fmt.Sprintf("a name of kind %d (%x)", kind&0x1f, []byte(value)))
		}
	}
	return list
}
