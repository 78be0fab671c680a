package device

import (
	"errors"
	"testing"

	"chancery/est"
)

// The issuer was exchanged since the CA's certificates were fetched: its own come with
// the renewal, and where they cannot be had the certificate is in use all the same.
func TestNewIssuer(t *testing.T) {
	s := start(t)
	d := s.open(t, t.TempDir(), nil)
	err := locked(t, d, plain, func(state *State) error {
		_, err := d.Enroll(t.Context(), state, Ask{Fingerprint: s.fingerprint()})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, refuse := range []bool{false, true} {
		key := makeKey(t)
		s.set(func() {
			s.below = &authority{Cert: sign(t, s.ca, rootTemplate("Issuing anew"), key), Key: key}
			if !refuse {
				s.bag = append(s.bag, s.below.Cert)
			}
		})
		err := locked(t, d, nil, func(state *State) error { _, err := d.Reenroll(t.Context(), state, Ask{}); return err })
		b, broken := d.Bundle()
		if err := errors.Join(err, broken); err != nil {
			t.Fatal(err)
		}
		if whole := len(b.Chain) == 2 && b.Chain[1].Equal(s.below.Cert); whole == refuse {
			t.Errorf("the CA's certificates lack the new issuer: %t; the chain has %d certificates", refuse, len(b.Chain))
		}
	}
	if n := s.count(est.CACerts); n != 3 {
		t.Errorf("the CA's certificates were fetched %d times, and should at the start and with each new issuer", n)
	}
}
