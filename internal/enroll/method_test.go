package enroll_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"chancery/acme"
	"chancery/internal/enroll"
	"chancery/internal/enroll/solve"
	"chancery/internal/enroll/vault"
)

// broken is a solver that cannot put any answer of its type in place.
type broken acme.ChallengeType

func (b broken) Types(acme.Identifier) []acme.ChallengeType {
	return []acme.ChallengeType{acme.ChallengeType(b)}
}

func (b broken) Present(context.Context, acme.Identifier, acme.Challenge, string) error {
	return errors.New("no way for " + string(b))
}

func (b broken) CleanUp(context.Context, acme.Identifier, acme.Challenge, string) error { return nil }

// A CA comes again with the method of a later record, also when the first method's answer
// could not be put in place (D7, D14); with the same methods it does not.
func TestOtherMethodAtTheSameCA(t *testing.T) {
	r := newRig(t, plain(2)...)
	r.set("shop.example", issue("ca1.test", "validationmethods=tls-alpn-01"), issue("ca1.test", "validationmethods=http-01", "priority=1"))
	c := r.client("", func(c *enroll.Config) {
		c.Solver = func(vault.Sheet) (*solve.Set, error) {
			return solve.NewSet(nil, solve.Choice{Solver: broken(acme.ChallengeTLSALPN01)}, solve.Choice{Solver: &solve.Webroot{Dir: r.webroot}}), nil
		}
	})
	out := c.get(t, enroll.Options{}, "shop.example")
	if len(out.Attempts) != 2 || out.Attempts[0].Class != enroll.ClassUser {
		t.Errorf("attempts %+v", out.Attempts)
	}

	r.set("shop.example", issue("ca1.test", "validationmethods=tls-alpn-01"), issue("ca1.test", "validationmethods=http-01", "priority=1"), issue("ca2.test", "priority=2"))
	c = r.client("", func(c *enroll.Config) {
		c.Solver = func(vault.Sheet) (*solve.Set, error) {
			return solve.NewSet(nil, solve.Choice{Solver: broken(acme.ChallengeTLSALPN01)}, solve.Choice{Solver: broken(acme.ChallengeHTTP01)}), nil
		}
	})
	out, err := c.Get(t.Context(), sheet("shop.example"), enroll.Options{})
	if err == nil || len(out.Attempts) != 3 || out.Attempts[2].Issuer != "ca2.test" {
		t.Fatalf("%+v, %v", out.Attempts, err)
	}
	for _, a := range out.Attempts {
		if a.Class != enroll.ClassUser || !strings.Contains(a.Error, "no way for") {
			t.Errorf("%s: %s: %s", a.Issuer, a.Class, a.Error)
		}
	}
}

// A CA that is down is not asked once more for each of its records: the next CA is.
func TestCADownForAllItsRecords(t *testing.T) {
	r := newRig(t, plain(2)...)
	r.set("shop.example", issue("ca1.test", "validationmethods=http-01"), issue("ca1.test", "validationmethods=tls-alpn-01", "priority=1"), issue("ca2.test", "priority=2"))
	r.houses[0].set(noTLS)
	c := r.client("", func(c *enroll.Config) {
		c.Settings.Tries = 2
		c.Solver = func(vault.Sheet) (*solve.Set, error) {
			return solve.NewSet(nil, solve.Choice{Solver: &solve.Webroot{Dir: r.webroot}}, solve.Choice{Solver: broken(acme.ChallengeTLSALPN01)}), nil
		}
	})
	out := c.get(t, enroll.Options{}, "shop.example")
	if out.Issued.Issuer != "ca2.test" || len(out.Attempts) != 3 || out.Attempts[1].Class != enroll.ClassSkipped || r.houses[0].seen.Load() != 2 {
		t.Errorf("%d requests to the CA that is down; %+v", r.houses[0].seen.Load(), out.Attempts)
	}
}
