package vault

import (
	"crypto/x509"
	"slices"

	"chancery/caa"
)

// Holds tells whether the current certificate is for the names of the sheet. After an
// attempt to get one for other names came to nothing, it is not: the sheet is what is
// wanted, and the certificate what there is. One that was recorded without its names is
// taken for the sheet's.
func (r Record) Holds() bool {
	return r.Current != nil && (len(r.Current.Names) == 0 || SameNames(r.Current.Names, r.Sheet.Names))
}

// SameNames tells whether two lists have the same names, in whichever order and however
// they are written.
func SameNames(a, b []string) bool { return slices.Equal(canonicalNames(a), canonicalNames(b)) }

func canonicalNames(list []string) []string {
	var out []string
	for _, n := range list {
		if s, err := caa.ParseSubject(n); err == nil {
			n = s.Name
		}
		out = append(out, n)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// namesOf are the DNS names and addresses of a certificate.
func namesOf(c *x509.Certificate) []string {
	list := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		list = append(list, ip.String())
	}
	return list
}
