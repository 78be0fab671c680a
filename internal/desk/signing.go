package desk

import (
	"context"
	"encoding/pem"
	"slices"
	"strings"
	"time"

	"chancery/internal/admin"
	"chancery/internal/ca"
)

// approvalLife is how long an approval speaks for a name: it is used at once.
const approvalLife = time.Minute

// usualProfile is what a CSR is certified under unless told otherwise.
const usualProfile = "tls-server"

// Signing is the input of cert.sign.
type Signing struct {
	CSR     []byte   `json:"csr"`               // PKCS #10 in PEM or DER
	Profile string   `json:"profile,omitempty"` // "": tls-server
	Names   []string `json:"names,omitempty"`   // instead of the CSR's
	Subject *Subject `json:"subject,omitempty"` // instead of the CSR's; an empty one is none

	NotAfter time.Time `json:"not_after,omitzero"`
	Days     int       `json:"days,omitempty"` // from now, instead of not_after; 0: the profile's life

	// Request makes repetition safe: the same word gets the same certificate. ""
	// makes a new one each time.
	Request string `json:"request,omitempty"`
}

// Subject is what of a distinguished name can be asked for.
type Subject struct {
	CommonName          string `json:"common_name,omitempty"`
	SerialNumber        string `json:"serial_number,omitempty"`
	Organization        string `json:"organization,omitempty"`
	OrganizationalUnit  string `json:"organizational_unit,omitempty"`
	Country             string `json:"country,omitempty"`
	Locality            string `json:"locality,omitempty"`
	Province            string `json:"province,omitempty"`
	BusinessCategory    string `json:"business_category,omitempty"`
	JurisdictionCountry string `json:"jurisdiction_country,omitempty"` // where it is registered
}

func (d *Desk) sign(ctx context.Context, caller admin.Caller, in Signing) (Whole, error) {
	req, err := d.requested(caller, in)
	if err != nil {
		return Whole{}, err
	}
	record, err := d.Authority.Issue(ctx, req)
	if err != nil {
		return Whole{}, err
	}
	return d.whole(&record)
}

// requested makes of an administrator's wish what the core can be asked.
func (d *Desk) requested(caller admin.Caller, in Signing) (ca.Request, error) {
	profile, err := d.profile(in.Profile)
	if err != nil {
		return ca.Request{}, err
	}
	csr, err := parseCSR(in.CSR)
	if err != nil {
		return ca.Request{}, err
	}
	now := d.Clock()
	req := ca.Request{By: by(caller), Key: csr.Key, Profile: profile.Name, NotAfter: in.NotAfter}
	if req.ID, err = requestID(in.Request); err != nil {
		return ca.Request{}, err
	}
	if req.Names, err = namesFor(in, csr, profile); err != nil {
		return ca.Request{}, err
	}
	if req.Subject, err = subjectFor(in, csr, profile); err != nil {
		return ca.Request{}, err
	}
	switch {
	case in.Days != 0 && !in.NotAfter.IsZero():
		return ca.Request{}, ca.Errorf(ca.Invalid, "days and not_after both say when the certificate ends: give one")
	case in.Days < 0 || in.Days > 36500:
		return ca.Request{}, ca.Errorf(ca.Invalid, "a certificate cannot live %d days", in.Days)
	case in.Days > 0:
		req.NotAfter = now.AddDate(0, 0, in.Days)
	}
	for _, name := range req.Names {
		req.Evidence = append(req.Evidence, ca.Evidence{Identifier: name, Method: "approval", At: now,
			Expires: now.Add(approvalLife), Detail: "approved by " + caller.Name + " on the admin socket"})
	}
	return req, nil
}

// requestID keeps administrators' words apart from every other room's.
func requestID(word string) (string, error) {
	if len(word) > 100 || strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", ca.Errorf(ca.Invalid, "the request's word is at most 100 printable ASCII characters without spaces")
	}
	if word == "" {
		return "admin:" + ca.NewID(), nil
	}
	return "admin:named:" + word, nil
}

func parseCSR(text []byte) (*ca.CSR, error) {
	der := text
	if block, _ := pem.Decode(text); block != nil {
		if block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" {
			return nil, ca.Errorf(ca.BadCSR, "this is a %s, not a CERTIFICATE REQUEST; make a CSR: openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout KEY -out CSR", clip(block.Type))
		}
		der = block.Bytes
	} else if len(text) == 0 || text[0] != 0x30 {
		return nil, ca.Errorf(ca.BadCSR, "this is no certificate request: neither PEM (-----BEGIN CERTIFICATE REQUEST-----) nor DER")
	}
	return ca.ParseCSR(der)
}

// namesFor gives the names to certify: those told, else the CSR's, else its
// common name where that is a name of a kind that the profile takes, as many
// appliances know no subject alternative names.
func namesFor(in Signing, csr *ca.CSR, p *ca.Profile) ([]ca.Identifier, error) {
	if len(in.Names) == 0 && len(csr.Names) == 0 && csr.Subject.CommonName != "" {
		if name, err := ParseName(csr.Subject.CommonName); err == nil && p.Takes(name.Type()) {
			return []ca.Identifier{name}, nil
		}
	}
	if len(in.Names) == 0 {
		return csr.Names, nil
	}
	var names []ca.Identifier
	for _, text := range in.Names {
		name, err := ParseName(text)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// subjectFor gives the subject to certify. What a CSR asks for beyond the
// profile is refused with the way out, as the administrator did not write it.
func subjectFor(in Signing, csr *ca.CSR, p *ca.Profile) (ca.Subject, error) {
	if in.Subject != nil {
		return ca.Subject(*in.Subject), nil
	}
	s := csr.Subject
	var beyond []string
	for _, a := range []struct{ word, value string }{
		{"common_name", s.CommonName}, {"serial_number", s.SerialNumber}, {"organization", s.Organization},
		{"organizational_unit", s.OrganizationalUnit}, {"country", s.Country}, {"locality", s.Locality}, {"province", s.Province},
		{"business_category", s.BusinessCategory}, {"jurisdiction_country", s.JurisdictionCountry},
	} {
		if a.value != "" && !slices.Contains(p.Subject.Take, a.word) && !slices.Contains(p.Subject.Require, a.word) {
			beyond = append(beyond, a.word)
		}
	}
	if len(beyond) > 0 {
		return s, ca.Errorf(ca.Denied, "the CSR's subject has %s, which the profile %s does not take: say what the subject shall be instead (--subject \"CN=...\", or --subject \"\" for what the profile makes of the names), or choose another profile",
			strings.Join(beyond, ", "), p.Name)
	}
	return s, nil
}
