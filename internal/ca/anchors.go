package ca

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"slices"
	"time"
)

// ancestor is a certificate of an authority or of one above it.
type ancestor struct {
	cert   *x509.Certificate
	issuer *Issuer // whose key it is for
	self   bool    // self-signed
}

// findAbove gives all certificates for the key of an issuer, of those that signed them,
// and so on, each once.
func (s *Issuers) findAbove(at *Issuer, found []ancestor) []ancestor {
	for _, der := range at.Certs {
		cert, err := x509.ParseCertificate(der)
		known := func(a ancestor) bool { return bytes.Equal(a.cert.Raw, der) }
		if err != nil || slices.ContainsFunc(found, known) {
			continue
		}
		self := selfSigned(cert)
		found = append(found, ancestor{cert, at, self})
		if parent := s.issuerOf(cert); !self && parent != nil {
			found = s.findAbove(parent, found)
		}
	}
	return found
}

// Anchors gives what somebody must know who verifies certificates of a line, active or
// retired, that are good now (RFC 7030 §4.1.3): the current root first, older roots,
// the certificates that tie them together (OldWithNew and NewWithOld, RFC 4210 §4.4),
// then the issuers of the line, the active one first, and what stands between. What has
// ended is left out, and nothing is there twice.
func (s *Issuers) Anchors(line string, now time.Time) []*x509.Certificate {
	var all []ancestor
	for _, i := range slices.Backward(s.all) {
		if i.Name != line {
			continue
		}
		for _, a := range s.above[i.ID] {
			same := func(b ancestor) bool { return bytes.Equal(b.cert.Raw, a.cert.Raw) }
			if !now.After(a.cert.NotAfter) && !slices.ContainsFunc(all, same) {
				all = append(all, a)
			}
		}
	}
	slices.SortStableFunc(all, func(x, y ancestor) int {
		return cmp.Or(
			cmp.Compare(x.rank(), y.rank()),
			cmp.Compare(x.retired(), y.retired()),
			y.issuer.Created.Compare(x.issuer.Created),
		)
	})
	certs := make([]*x509.Certificate, len(all))
	for i, a := range all {
		certs[i] = a.cert
	}
	return certs
}

// rank puts roots before what ties them together, and that before issuers.
func (a ancestor) rank() int {
	switch {
	case a.self:
		return 0
	case a.issuer.Root:
		return 1
	}
	return 2
}

func (a ancestor) retired() int {
	if a.issuer.State == Retired {
		return 1
	}
	return 0
}
