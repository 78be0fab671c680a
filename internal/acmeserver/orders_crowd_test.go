package acmeserver_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"chancery/acme"
)

// crowd responds to n challenges of one account whose web server does not answer.
// It gives the challenges with the answers' errors.
func (w *world) crowd(c *acme.Client, n int) (list []acme.Challenge, errs []error) {
	w.t.Helper()
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("n%d.silent.example", i)
	}
	for len(names) > 0 {
		part := names[:min(len(names), 100)]
		names = names[len(part):]
		for _, url := range w.order(c, part...).Authorizations {
			a, ch := w.pick(c, url)
			w.prove(c, a.Identifier, ch)
			list = append(list, ch)
		}
	}
	errs = make([]error, n)
	var wg sync.WaitGroup
	for i, ch := range list {
		wg.Go(func() { _, errs[i] = c.Respond(w.t.Context(), ch) })
	}
	wg.Wait()
	return list, errs
}

// TestSilentHostsHoldNobodyUp: one account's silent hosts do not keep another's
// validation waiting, and there is an end to how many of them are taken on.
func TestSilentHostsHoldNobodyUp(t *testing.T) {
	w := newWorld(t, nil)
	greedy, modest := w.client(), w.client()
	release := w.hold()
	defer release()
	list, errs := w.crowd(greedy, 150)
	var refusedOnes []acme.Challenge
	for i, err := range errs {
		if err != nil {
			refused(t, err, acme.TypeRateLimited, "under way")
			if p := acme.AsProblem(err); p.Status != 429 || p.RetryAfter == 0 {
				t.Errorf("the status is %d, come back after %s", p.Status, p.RetryAfter)
			}
			refusedOnes = append(refusedOnes, list[i])
		}
	}
	if len(refusedOnes) != 150-128 {
		t.Fatalf("%d of 150 validations of one account were refused, want all but 128", len(refusedOnes))
	}
	o := w.order(modest, "modest.example")
	a, err := modest.Authorization(t.Context(), o.Authorizations[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, ch := range a.Challenges {
		if ch.Type != acme.ChallengeDNS01 {
			continue
		}
		w.prove(modest, a.Identifier, ch)
		if _, err := modest.Respond(t.Context(), ch); err != nil {
			t.Fatal(err)
		}
	}
	if a, err = modest.WaitAuthorization(t.Context(), a.URL); err != nil || a.Status != acme.AuthorizationValid {
		t.Errorf("the other account's is %+v, %v", a, err)
	}
	if n := w.asked.Load(); n > 8 {
		t.Errorf("%d validations of one account ran at once", n)
	}
	release()
	w.close(w.server)
	if n := int64(len(list) - len(refusedOnes)); w.asked.Load() > n {
		t.Errorf("%d requests for %d validations", w.asked.Load(), n)
	}
}

// TestRefusedValidationIsNotBegun: nothing is stored of what was refused, and it
// is taken on later.
func TestRefusedValidationIsNotBegun(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	release := w.hold()
	defer release()
	list, errs := w.crowd(c, 129)
	at := -1
	refusals := 0
	for i, err := range errs {
		if err != nil {
			at = i
			refusals++
		}
	}
	if refusals != 1 {
		t.Fatalf("%d were refused; want one", refusals)
	}
	url := list[at].URL[:len(list[at].URL)-len("/http-01")]
	if s := w.stored(url); s.Version != 0 || s.Method != "" || !s.Processing.IsZero() {
		t.Errorf("stored is %+v; want nothing new", s)
	}
	release()
	w.poll("room for the last", func() bool {
		_, err := c.Respond(t.Context(), list[at])
		return err == nil
	})
	w.poll("its validation", func() bool { return w.stored(url).Status == acme.AuthorizationValid })
}

// TestCloseDoesNotWaitForTurns: who has not had his turn when the server stops is
// another process's, with all his attempts.
func TestCloseDoesNotWaitForTurns(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	_, _, other := w.pendingChallenge(c, "late.example", true)
	release := w.hold()
	defer release()
	list, _ := w.crowd(c, 20)
	w.poll("those that run", func() bool { return w.asked.Load() == 8 })
	closed := make(chan error)
	go func() { closed <- w.server.Close(context.Background()) }()
	w.poll("the end", func() bool {
		_, err := c.Respond(t.Context(), other)
		return err != nil
	})
	release()
	if err := <-closed; err != nil || w.asked.Load() != 8 {
		t.Errorf("%d validations ran; %v", w.asked.Load(), err)
	}
	waiting := 0
	for _, ch := range list {
		if s := w.stored(ch.URL[:len(ch.URL)-len("/http-01")]); s.Status == acme.AuthorizationPending {
			if waiting++; s.Attempts != 0 || s.Processing.IsZero() {
				t.Errorf("stored is %+v; want no attempt, and a lease that lapses", s)
			}
		}
	}
	if waiting != 12 {
		t.Errorf("%d wait, want 12", waiting)
	}
}
