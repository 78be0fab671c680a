package interop_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"chancery/testca"

	"github.com/mholt/acmez/v3/acme"
)

// badNonces refuses three in ten POSTs with badNonce, which RFC 8555 §6.5 has
// clients answer by trying again, but never more than so many in a row: each
// client has an end to its patience. Every run has the same trouble.
func badNonces(t *testing.T, inARow int) testca.Option {
	t.Helper()
	trouble := testca.Trouble{BadNonces: 0.3}
	for trouble.Seed = 1; trouble.Seed < 100_000; trouble.Seed++ {
		dice, row, most, all := rand.New(rand.NewPCG(trouble.Seed, 8555)), 0, 0, 0
		for range 60 { // more POSTs than any client makes here
			row++
			if dice.Float64() >= trouble.BadNonces {
				row = 0
			} else if all++; row > most {
				most = row
			}
		}
		if most == inARow && all >= 9 {
			return testca.Awkward(trouble)
		}
	}
	t.Fatal("no seed makes such trouble")
	return nil
}

// What each client of Debian 12 bears, found by trying: dehydrated 0.7.0 bears
// no badNonce at all and so is not here.
func TestBadNonces(t *testing.T) {
	t.Run("certbot", func(t *testing.T) {
		c := newCertbot(t, badNonces(t, 1))
		c.do("certonly", c.http("a.example")...)
		c.party().good(c.live("a.example"), "a.example")
	})
	t.Run("lego", func(t *testing.T) {
		l := newLego(t, badNonces(t, 4))
		l.do(with([]string{"--domains", "a.example"}, l.http(), []string{"run"})...)
		l.party().good(l.chain("a.example"), "a.example")
	})
	t.Run("uacme", func(t *testing.T) {
		u := newUacme(t, badNonces(t, 1))
		u.serveWebroot()
		u.do("-t", "EC", "new")
		u.do("-h", u.hook("http-01"), "-t", "EC", "issue", "a.example")
		u.party().good(u.chain("a.example"), "a.example")
	})
	t.Run("acme-tiny", func(t *testing.T) {
		a := newTiny(t, badNonces(t, 4))
		a.good(a.obtain("chain.pem"), "a.example", "b.example")
	})
	t.Run("xcrypto", func(t *testing.T) {
		x := newXCrypto(t, ecKey(t), badNonces(t, 4))
		x.RetryBackoff = quick
		s, _ := x.obtain(want{kind: "http-01", names: []string{"a.example"}, key: ecKey(t)})
		x.party().good(s, "a.example")
	})
	t.Run("acmez", func(t *testing.T) {
		z := newZed(t, badNonces(t, 2))
		s := z.obtain(acme.ChallengeTypeHTTP01, ecKey(t), []string{"a.example"}, nil)
		z.party().good(s, "a.example")
	})
}

// A busy server's 503 with Retry-After is borne by those who read it.
func TestBusy(t *testing.T) {
	t.Run("xcrypto", func(t *testing.T) {
		x := newXCrypto(t, ecKey(t), testca.Awkward(testca.Trouble{Busy: 0.3, Delay: 20 * time.Millisecond, Seed: 5}))
		x.RetryBackoff = quick
		s, _ := x.obtain(want{kind: "http-01", names: []string{"a.example"}, key: ecKey(t)})
		x.party().good(s, "a.example")
	})
}
