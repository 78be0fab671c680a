package anchors

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// link is a certificate and the one that signed it.
type link struct{ cert, issuer *x509.Certificate }

// String names the certificate for people.
func (l link) String() string {
	return fmt.Sprintf("the certificate %x of %q", l.cert.SerialNumber, l.cert.Subject)
}

// state is what was found out about a link. The zero value is not revoked.
type state struct {
	revoked bool
	at      time.Time
	reason  int
}

// unrevoked gives nil if on one of the paths nothing was revoked. The root's own
// status is nobody's to say (RFC 5280 §6.1). A revocation is told before a want of
// knowledge.
func (s *Set) unrevoked(ctx context.Context, paths [][]*x509.Certificate, now time.Time) error {
	if s.config.Revocation == "" || s.config.Revocation == None {
		return nil
	}
	var refusal *Error
	for _, path := range paths {
		found := s.along(ctx, path, now)
		if found == nil {
			return nil
		}
		if refusal == nil || found.Kind == Revoked {
			refusal = found
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return refusal
}

// along looks at one path, the root's end first: what a revoked authority says of those
// below it counts for nothing.
func (s *Set) along(ctx context.Context, path []*x509.Certificate, now time.Time) *Error {
	for n := len(path) - 2; n >= 0; n-- {
		one := link{path[n], path[n+1]}
		found, err := s.status(ctx, one, now)
		switch {
		case err == nil && found.revoked:
			return s.refuse(Revoked, fmt.Errorf("%s was revoked at %s", one, found.at.UTC().Format(time.RFC3339)))
		case err != nil && !s.config.Soft:
			return s.refuse(Unchecked, fmt.Errorf("it cannot be found out whether %s was revoked, try again later: %w", one, err))
		case err != nil:
			s.config.Logger.WarnContext(ctx, "a certificate of a maker is accepted although its revocation could not be looked up",
				"anchors", s.config.Name, "certificate", one.String(), "error", err)
		}
	}
	return nil
}

func (s *Set) status(ctx context.Context, one link, now time.Time) (state, error) {
	switch s.config.Revocation {
	case OCSP:
		return s.responders.status(ctx, one, now)
	case CRL:
		return s.lists.status(ctx, one, now)
	}
	found, err := s.responders.status(ctx, one, now)
	if err == nil {
		return found, nil
	}
	found, other := s.lists.status(ctx, one, now)
	if other != nil {
		return state{}, errors.Join(err, other)
	}
	return found, nil
}
