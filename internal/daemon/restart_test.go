package daemon_test

import (
	"context"
	"testing"
	"time"

	"chancery/acme"
)

// TestRestart goes on after a restart: with a nonce from before it, the account
// and a half-done order.
func TestRestart(t *testing.T) {
	engines(t, func(t *testing.T, url string) {
		web := newSite(t)
		p := plan(t, web, url)
		first := start(t, p)
		c := first.client()
		o := web.ready(t, c, "half.example")
		kept := first.nonce()
		first.close()

		second := start(t, p)
		if second.daemon.Founded() {
			t.Error("the second start founded another hierarchy")
		}
		c = second.at(c)
		code, problem := second.post(posting{url: c.AccountURL, client: c, nonce: kept, payload: acme.AccountUpdate{}})
		if code != 200 {
			t.Errorf("a nonce from before the restart: %d %v", code, problem)
		}
		chain, err := finalizeAndFetch(within(t, long), c, o, csrFor(t, newKey(t), "half.example"))
		if err != nil {
			t.Fatal(err)
		}
		second.verifies(chain, second.roots)
	})
}

// TestCloseLetsValidationsEnd closes while a validation runs that ends in time.
func TestCloseLetsValidationsEnd(t *testing.T) {
	engines(t, func(t *testing.T, url string) {
		web := newSite(t)
		p := plan(t, web, url)
		first := start(t, p)
		c := first.client()
		o, release := processing(t, web, c)
		closed := make(chan error)
		go func() { closed <- first.daemon.Close(within(t, long)) }()
		until(t, "the listener's end", func() bool {
			_, err := first.http().Get(baseURL + "/healthz")
			return err != nil
		})
		release()
		if err := <-closed; err != nil {
			t.Error(err)
		}
		second := start(t, p)
		if o, err := second.at(c).Order(within(t, long), o.URL); err != nil || o.Status != acme.OrderReady {
			t.Errorf("after the restart the order is %+v, %v; the validation had ended", o, err)
		}
	})
}

// TestCloseBreaksValidationsOff closes while a validation runs that takes too
// long: it counts for nothing and is taken over.
func TestCloseBreaksValidationsOff(t *testing.T) {
	engines(t, func(t *testing.T, url string) {
		web := newSite(t)
		p := plan(t, web, url)
		first := start(t, p)
		c := first.client()
		o, release := processing(t, web, c)
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if err := first.daemon.Close(ctx); err == nil {
			t.Error("Close did not say that validations were broken off")
		}
		release()
		db, _ := p.store(t)
		if number(t, db, `SELECT COUNT(*) FROM authorizations WHERE processing > 0`) != 1 {
			t.Error("nothing is left of the validation")
		}
		alter(t, db, `UPDATE authorizations SET processing = 1 WHERE processing > 0`)
		db.Close()
		second := start(t, p)
		if o, err := second.at(c).WaitOrder(within(t, long), o.URL); err != nil || o.Status != acme.OrderReady {
			t.Errorf("after the restart the order is %+v, %v", o, err)
		}
	})
}

// TestCloseSaysWhatIsTrue closes without time when nothing is under way: there
// is nothing to say.
func TestCloseSaysWhatIsTrue(t *testing.T) {
	t.Parallel()
	web := newSite(t)
	s := start(t, plan(t, web, ""))
	for range 8 { // each leaves a room behind that has to be closed
		if err := s.daemon.Reload(s.config()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := web.obtain(within(t, long), s.client(), newKey(t), "done.example"); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.daemon.Close(ended); err != nil {
		t.Error(err)
	}
}

// processing makes an order whose validation waits for release.
func processing(t *testing.T, web *site, c *acme.Client) (o *acme.Order, release func()) {
	t.Helper()
	release = web.hold()
	t.Cleanup(release)
	ctx := within(t, long)
	o, challenge, err := web.order(ctx, c, "slow.example")
	if err != nil {
		t.Fatal(err)
	}
	ch, err := c.Respond(ctx, challenge)
	if err != nil || ch.Status != acme.ChallengeProcessing {
		t.Fatalf("the challenge is %+v, %v; want it processing", ch, err)
	}
	return o, release
}
