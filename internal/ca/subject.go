package ca

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// attributes gives each attribute's word in profiles and its value.
func (s Subject) attributes() map[string]string {
	return map[string]string{
		"common_name":          s.CommonName,
		"serial_number":        s.SerialNumber,
		"organization":         s.Organization,
		"organizational_unit":  s.OrganizationalUnit,
		"country":              s.Country,
		"locality":             s.Locality,
		"province":             s.Province,
		"business_category":    s.BusinessCategory,
		"jurisdiction_country": s.JurisdictionCountry,
	}
}

// Picked gives of what is known of somebody the attributes that the profile takes.
// It is for findings, of which a profile may want some alone; what somebody asks for
// goes into a request as it is.
func (p *Profile) Picked(s Subject) Subject {
	taken := append(slices.Clone(p.Subject.Take), p.Subject.Require...)
	for word, value := range map[string]*string{
		"common_name": &s.CommonName, "serial_number": &s.SerialNumber, "organization": &s.Organization,
		"organizational_unit": &s.OrganizationalUnit, "country": &s.Country, "locality": &s.Locality, "province": &s.Province,
		"business_category": &s.BusinessCategory, "jurisdiction_country": &s.JurisdictionCountry,
	} {
		if !slices.Contains(taken, word) {
			*value = ""
		}
	}
	return s
}

// upper bounds of RFC 5280 appendix A.1, in characters
var attributeBounds = map[string]int{
	"common_name": 64, "serial_number": 64, "organization": 64,
	"organizational_unit": 64, "country": 2, "locality": 128, "province": 128,
	"business_category": 128, "jurisdiction_country": 2,
}

// admit checks the asked subject against the profile's rules.
func (r subjectRules) admit(s Subject) error {
	for word, value := range s.attributes() {
		switch {
		case value == "" && slices.Contains(r.Require, word):
			return Errorf(Invalid, "this profile needs the subject attribute %s", word)
		case value == "":
			continue
		case !slices.Contains(r.Take, word) && !slices.Contains(r.Require, word):
			return Errorf(Denied, "this profile does not take the subject attribute %s", word)
		case r.Only[word] != nil && !slices.Contains(r.Only[word], value):
			return Errorf(Denied, "this profile takes no such %s as %q; it takes %s", word, clip(value), strings.Join(r.Only[word], ", "))
		case strings.ContainsFunc(value, unicode.IsControl):
			return Errorf(Invalid, "the subject attribute %s has a control character", word)
		case word == "common_name" && strings.TrimSpace(value) != value:
			return Errorf(Invalid, "the common name %q begins or ends with a space", clip(value))
		case !utf8.ValidString(value) || utf8.RuneCountInString(value) > attributeBounds[word]:
			return Errorf(Invalid, "the subject attribute %s is longer than %d characters or not UTF-8", word, attributeBounds[word])
		}
	}
	return nil
}

// named refuses a common name that speaks of a host and was not proven: some
// relying parties still read host names there, and no name constraint binds it.
func (r subjectRules) named(s Subject, names []Identifier) error {
	if s.CommonName == "" {
		return nil
	}
	host, speaksOfHost := hostMeant(s.CommonName)
	if (speaksOfHost || r.CommonName == "first-name") && !slices.Contains(names, host) {
		return Errorf(BadName, "the common name %q is not among the names of the certificate; add it to them, or leave it out of the subject", clip(s.CommonName))
	}
	return nil
}

// hostMeant gives the host or address that somebody may read in a text, and whether the
// text speaks of one at all; the zero identifier where it is none that can be certified.
// Programs compare names with dots at the end, in other letters or in Unicode, and with
// stars or escapes in them: "bank.example." is "bank.example". An underscore is in no
// host name (RFC 952), and some devices are called so. A single word
// speaks of no host, but for "localhost".
func hostMeant(text string) (Identifier, bool) {
	bare := strings.Trim(strings.Trim(strings.TrimFunc(text, func(r rune) bool {
		return r == '.' || unicode.IsSpace(r) || unicode.IsControl(r)
	}), "[]"), ".")
	if addr, err := netip.ParseAddr(bare); err == nil {
		host, _ := IP(addr.Unmap().WithZone("").String())
		return host, true
	}
	if ascii, err := readNames.ToASCII(bare); err == nil {
		bare = ascii
	}
	if host, err := DNS(bare); err == nil {
		return host, strings.Contains(host.Value(), ".") || host.Value() == "localhost"
	}
	last := bare[strings.LastIndexByte(bare, '.')+1:]
	strange := strings.ContainsFunc(bare, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsDigit(r) && !strings.ContainsRune(".-*%", r)
	})
	return Identifier{}, len(last) < len(bare) && !strange && !numeric(last)
}

// readNames reads host names as browsers do (UTS #46), and refuses as little as it can.
var readNames = idna.New(idna.MapForLookup(), idna.StrictDomainName(false))

// name gives the certificate's subject: what was asked, with the common name
// that the profile wants. A name that does not fit in 64 characters stays in
// the subject alternative names only.
func (r subjectRules) name(s Subject, names []Identifier) pkix.Name {
	cn := s.CommonName
	if r.CommonName == "first-name" && cn == "" {
		for _, n := range names {
			if len(n.Value()) <= attributeBounds["common_name"] {
				cn = n.Value()
				break
			}
		}
	}
	if r.CommonName == "none" {
		cn = ""
	}
	name := pkix.Name{
		CommonName: cn, SerialNumber: s.SerialNumber,
		Organization: some(s.Organization), OrganizationalUnit: some(s.OrganizationalUnit),
		Country: some(s.Country), Locality: some(s.Locality), Province: some(s.Province),
	}
	for _, more := range []struct {
		oid   asn1.ObjectIdentifier
		value string
	}{{oidBusinessCategory, s.BusinessCategory}, {oidJurisdictionCountry, s.JurisdictionCountry}} {
		if more.value != "" {
			name.ExtraNames = append(name.ExtraNames, pkix.AttributeTypeAndValue{Type: more.oid, Value: more.value})
		}
	}
	return name
}

// crypto/x509 has no field for these.
var (
	oidBusinessCategory    = asn1.ObjectIdentifier{2, 5, 4, 15}
	oidJurisdictionCountry = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 60, 2, 1, 3}
)

func some(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}
