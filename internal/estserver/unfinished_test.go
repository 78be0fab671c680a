package estserver_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"chancery/est"
	"chancery/internal/ca"
	"chancery/internal/estserver"
)

// brittle is a ledger whose next settlements get lost, on the way there or back.
type brittle struct {
	ca.Ledger
	before, after atomic.Int32
}

// Settle implements [ca.Ledger].
func (b *brittle) Settle(ctx context.Context, s ca.Settlement) (ca.Record, error) {
	if b.before.Add(-1) >= 0 {
		return ca.Record{}, errors.New("the database went away")
	}
	r, err := b.Ledger.Settle(ctx, s)
	if b.after.Add(-1) >= 0 {
		return ca.Record{}, errors.New("the database went away")
	}
	return r, err
}

// TestRepeatAfterFailure: who asks again because the server failed gets the certificate
// that was begun, and no second one; who asks anew gets a new one.
func TestRepeatAfterFailure(t *testing.T) {
	ledger := &brittle{}
	l := plainLabel()
	l.Quota, l.QuotaPer = 5, 24*time.Hour
	w := newWorld(t, func(c *estserver.Config) {
		ledger.Ledger, c.Authority.Ledger = c.Authority.Ledger, ledger
	}, l)
	w.standing("alice", "p", "*")
	w.standing("bob", "p", "*")
	c := w.basic("alice", "p")
	ask := asking("a", "a.example").keyed(t)
	fails := func(lost *atomic.Int32) {
		t.Helper()
		lost.Store(1)
		if got := c.linked("simpleenroll", ask, est.ChallengePassword); got.StatusCode < http.StatusInternalServerError {
			t.Fatalf("it did not fail: %s", got.Status)
		}
	}
	for name, lost := range map[string]*atomic.Int32{"not stored": &ledger.before, "stored, and not told": &ledger.after} {
		before := w.issued()
		fails(lost)
		if lost == &ledger.before {
			fails(lost) // and once more
		}
		granted(t, c.linked("simpleenroll", ask, est.ChallengePassword))
		if n := w.issued() - before; n != 1 {
			t.Errorf("%s: there are %d certificates", name, n)
		}
	}
	first := granted(t, c.linked("simpleenroll", ask, est.ChallengePassword))
	second := granted(t, c.linked("simpleenroll", ask, est.ChallengePassword))
	if first.Equal(second) {
		t.Error("it is remembered although it succeeded")
	}
	w.pass(25 * time.Hour)

	// What was finished meanwhile is given; what was revoked meanwhile is not.
	fails(&ledger.before)
	w.pass(10 * time.Minute)
	if n, err := w.authority.Recover(t.Context()); n != 1 || err != nil {
		t.Fatalf("recovered %d, %v", n, err)
	}
	before := w.issued()
	granted(t, w.basic("bob", "p").post("simpleenroll", ask.der(t)))
	granted(t, c.post("simpleenroll", asking("a", "b.example").der(t)))
	if n := w.issued() - before; n != 2 {
		t.Errorf("others' requests got %d certificates", n)
	}
	found := granted(t, c.linked("simpleenroll", ask, est.IdentityLinking))
	if w.issued() != before+2 {
		t.Error("the repeat got another certificate")
	}
	fails(&ledger.after)
	rows, _, err := w.store.List(t.Context(), ca.Query{Now: w.now(), Limit: 1})
	if err != nil || len(rows) != 1 {
		t.Fatal(err)
	}
	w.revoke(parse(t, rows[0].DER))
	if again := granted(t, c.linked("simpleenroll", ask, est.ChallengePassword)); again.Equal(found) || ca.SerialOf(again.SerialNumber) == rows[0].Serial {
		t.Error("it is the revoked one")
	}

	// And not for ever.
	w.pass(25 * time.Hour)
	fails(&ledger.after)
	w.pass(2 * time.Hour)
	before = w.issued()
	granted(t, c.linked("simpleenroll", ask, est.ChallengePassword))
	if w.issued() != before+1 {
		t.Error("a failure of long ago counts")
	}
}
