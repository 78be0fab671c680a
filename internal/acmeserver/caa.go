package acmeserver

import (
	"context"
	"errors"
	"slices"

	"chancery/acme"
	"chancery/internal/ca"
)

// accountURLs gives all URLs by which this CA knows an account. It is one: the
// directories share their accounts, and the base never follows a request, so
// under each of the CA's issuer names it means the same (RFC 8657 §5.4).
func (s *Server) accountURLs(account string) []string { return []string{s.accountURL(account)} }

// subjectFor gives what of a subject is asked for: the CSR's common name, and under a
// profile that vouches for an organisation what its vetting found. All else in the
// CSR was never proven, and is left out. A common name that is no host name never
// was proven either; one that does not fit (RFC 5280 appendix A.1) is left out too:
// it stands among the names.
func (v *vouched) subjectFor(csr *ca.CSR) ca.Subject {
	asked := v.subject
	if name, ok := commonName(csr); ok && len(name.Value()) <= maxCommonName {
		asked.CommonName = name.Value()
	}
	return asked
}

// checkCAA asks the core early, when a name is proven, so that the client learns
// at once that the owner forbids it. Which profile the order will have is not
// known here, so one of those offered is enough.
func (s *Server) checkCAA(ctx context.Context, a *Authorization) error {
	q := ca.CAAQuestion{Name: a.Identifier, Method: a.Method, Accounts: s.accountURLs(a.Account)}
	for _, e := range s.entrances {
		for _, name := range e.Profiles {
			if !slices.Contains(q.Profiles, name) {
				q.Profiles = append(q.Profiles, name)
			}
		}
	}
	return s.Authority.CheckCAA(ctx, q)
}

// forbidden gives the core's refusal on account of CAA; final is one that waiting
// does not mend.
func forbidden(err error) (refusal *ca.Error, final bool) {
	if errors.As(err, &refusal) && (refusal.Kind == ca.CAA || refusal.Kind == ca.CAAUnknown) {
		return refusal, refusal.Kind == ca.CAA
	}
	return nil, false
}

// problemByCAA tells the subscriber what the records forbid, or that the DNS does
// not give them (RFC 8555 §6.7).
func problemByCAA(refusal *ca.Error) *acme.Problem {
	return acme.NewProblem(kinds[refusal.Kind].typ, "%s", refusal.Detail)
}
