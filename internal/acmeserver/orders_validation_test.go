package acmeserver_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/acmeserver"
	"chancery/internal/challenge"
)

// poll looks until the condition holds.
func (w *world) poll(what string, holds func() bool) {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("%s did not come about", what)
		}
	}
}

// pendingChallenge makes an order for a name; the proof is in its place.
func (w *world) pendingChallenge(c *acme.Client, name string, proven bool) (*acme.Order, *acme.Authorization, acme.Challenge) {
	w.t.Helper()
	o := w.order(c, name)
	a, ch := w.pick(c, o.Authorizations[0])
	if proven {
		w.prove(c, a.Identifier, ch)
	}
	return o, a, ch
}

// TestQuickValidationIsOneWrite: the answer to the POST has the result, and no
// processing was stored before it.
func TestQuickValidationIsOneWrite(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	_, a, ch := w.pendingChallenge(c, "quick.example", true)
	got, err := c.Respond(t.Context(), ch)
	if err != nil || got.Status != acme.ChallengeValid {
		t.Fatalf("got %+v, %v", got, err)
	}
	if s := w.stored(a.URL); s.Version != 1 || s.Attempts != 1 || s.Detail == "" {
		t.Errorf("stored is %+v; want one write, with what was seen", s)
	}
	asked := w.asked.Load()
	if got, err = c.Respond(t.Context(), ch); err != nil || got.Status != acme.ChallengeValid || w.asked.Load() != asked {
		t.Errorf("responding again gave %+v, %v and looked again: %v", got, err, w.asked.Load() != asked)
	}
	if a, err = c.Authorization(t.Context(), a.URL); err != nil || len(a.Challenges) != 1 {
		t.Errorf("a valid authorisation shows %+v, %v; want the one challenge", a, err)
	}
}

func TestSlowValidation(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	_, a, ch := w.pendingChallenge(c, "slow.example", true)
	release := w.hold()
	defer release()
	got, err := c.Respond(t.Context(), ch)
	if err != nil || got.Status != acme.ChallengeProcessing || got.RetryAfter != time.Second {
		t.Fatalf("got %+v, %v; want processing", got, err)
	}
	if s := w.stored(a.URL); s.Version != 1 || s.Method != "http-01" || s.Processing.IsZero() {
		t.Errorf("stored is %+v; want the lease", s)
	}
	other := ch
	other.URL = ch.URL[:len(ch.URL)-len("http-01")] + "dns-01"
	_, err = c.Respond(t.Context(), other)
	refused(t, err, acme.TypeMalformed, "http-01 is under way")
	if got, err = c.Respond(t.Context(), ch); err != nil || got.Status != acme.ChallengeProcessing || w.asked.Load() != 1 {
		t.Errorf("a second response gave %+v, %v; %d requests were made", got, err, w.asked.Load())
	}
	release()
	if a, err = c.WaitAuthorization(t.Context(), a.URL); err != nil || a.Status != acme.AuthorizationValid {
		t.Fatalf("got %+v, %v", a, err)
	}
	w.close(w.server)
	if s := w.stored(a.URL); s.Version != 2 || s.Attempts != 1 {
		t.Errorf("stored is %+v; want two writes", s)
	}
}

func TestFailureIsTold(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	o, a, ch := w.pendingChallenge(c, "wrong.example", false)
	got, err := c.Respond(t.Context(), ch)
	if err != nil || got.Status != acme.ChallengeInvalid || got.Error == nil || got.Error.Type != acme.TypeUnauthorized {
		t.Fatalf("got %+v, %v", got, err)
	}
	if a, err = c.Authorization(t.Context(), a.URL); err != nil || a.Status != acme.AuthorizationInvalid || a.Challenges[0].Error == nil {
		t.Errorf("the authorisation is %+v, %v", a, err)
	}
	if o, err = c.Order(t.Context(), o.URL); err != nil || o.Status != acme.OrderInvalid || o.Error == nil || len(o.Error.Subproblems) != 1 {
		t.Fatalf("the order is %+v, %v", o, err)
	}
	if sub := o.Error.Subproblems[0]; sub.Identifier.Value != "wrong.example" || sub.Type != acme.TypeUnauthorized {
		t.Errorf("the order's error blames %+v", sub)
	}
	_, err = c.DeactivateAuthorization(t.Context(), a.URL)
	refused(t, err, acme.TypeMalformed, "invalid already")
}

func TestRetry(t *testing.T) {
	w := newWorld(t, func(c *acmeserver.Config) { c.Attempts = 3 })
	c := w.client()
	_, a, ch := w.pendingChallenge(c, "never.example", false)
	if _, err := c.Respond(t.Context(), ch); err != nil {
		t.Fatal(err)
	}
	_, err := c.WaitAuthorization(t.Context(), a.URL)
	var failed *acme.AuthorizationError
	if !errors.As(err, &failed) {
		t.Fatalf("got %v", err)
	}
	if s := w.stored(a.URL); s.Attempts != 3 || w.asked.Load() != 3 || s.Status != acme.AuthorizationInvalid {
		t.Errorf("%d requests, stored is %+v; want three attempts", w.asked.Load(), s)
	}
}

// TestHurry: a client that has mended its server need not wait for the pause
// (RFC 8555 §8.2).
func TestHurry(t *testing.T) {
	w := newWorld(t, func(c *acmeserver.Config) { c.Attempts, c.AttemptPause = 3, 24*time.Hour })
	c := w.client()
	_, a, ch := w.pendingChallenge(c, "mended.example", false)
	got, err := c.Respond(t.Context(), ch)
	if err != nil || got.Status != acme.ChallengeProcessing || got.Error == nil {
		t.Fatalf("a first failure gave %+v, %v; want processing with the error", got, err)
	}
	w.prove(c, a.Identifier, ch)
	if _, err = c.Respond(t.Context(), ch); err != nil {
		t.Fatal(err)
	}
	if a, err = c.WaitAuthorization(t.Context(), a.URL); err != nil || a.Challenges[0].Error != nil {
		t.Errorf("got %+v, %v", a, err)
	}
}

// TestTakeOver: one process is stopped amid a validation, another goes on.
func TestTakeOver(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	_, a, ch := w.pendingChallenge(c, "left.example", true)
	release := w.hold()
	defer release()
	if got, err := c.Respond(t.Context(), ch); err != nil || got.Status != acme.ChallengeProcessing {
		t.Fatalf("got %+v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.server.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("stopping amid a validation gave %v", err)
	}
	if s := w.stored(a.URL); s.Version != 1 || s.Processing.IsZero() {
		t.Fatalf("stopping stored %+v", s)
	}
	release()
	second := w.another()
	if err := second.Work(t.Context()); err != nil || w.stored(a.URL).Version != 1 {
		t.Fatalf("a lease that has not lapsed was taken: %+v, %v", w.stored(a.URL), err)
	}
	w.ahead.Add(int64(2 * time.Minute))
	if err := second.Work(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.poll("the validation", func() bool { return w.stored(a.URL).Status == acme.AuthorizationValid })
	w.close(second)
	// The first process answers no challenges any more.
	_, _, ch = w.pendingChallenge(c, "after.example", true)
	_, err := c.Respond(t.Context(), ch)
	refused(t, err, acme.TypeServerInternal, "stopping")
}

func TestTakeOverOfAnEndedAccount(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	_, a, ch := w.pendingChallenge(c, "ended.example", true)
	release := w.hold()
	defer release()
	if _, err := c.Respond(t.Context(), ch); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Deactivate(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.server.Close(ctx)
	w.ahead.Add(int64(2 * time.Minute))
	second := w.another()
	if err := second.Work(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.close(second)
	if s := w.stored(a.URL); s.Status != acme.AuthorizationInvalid || s.Problem == nil {
		t.Errorf("stored is %+v", s)
	}
}

// TestDeactivatedAmidValidation: the outcome that comes later changes nothing.
func TestDeactivatedAmidValidation(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	_, a, ch := w.pendingChallenge(c, "changed-mind.example", true)
	release := w.hold()
	defer release()
	if _, err := c.Respond(t.Context(), ch); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeactivateAuthorization(t.Context(), a.URL); err != nil {
		t.Fatal(err)
	}
	release()
	w.close(w.server)
	if s := w.stored(a.URL); s.Status != acme.AuthorizationDeactivated || !s.Validated.IsZero() {
		t.Errorf("stored is %+v", s)
	}
}

// busy is a validator that has too much to do at first.
type busy struct {
	acmeserver.Validator
	left atomic.Int64
}

func (b *busy) Validate(ctx context.Context, job challenge.Job) (challenge.Result, error) {
	if b.left.Add(-1) >= 0 {
		return challenge.Result{}, &challenge.Failure{Kind: challenge.Internal, Detail: "too many validations are under way; try again"}
	}
	return b.Validator.Validate(ctx, job)
}

// TestOurFailureIsNotTheSubscribers: one attempt is allowed, and our own failures
// do not use it up.
func TestOurFailureIsNotTheSubscribers(t *testing.T) {
	w := newWorld(t, func(c *acmeserver.Config) {
		b := &busy{Validator: c.Validator}
		b.left.Store(2)
		c.Validator = b
	})
	c := w.client()
	_, a, ch := w.pendingChallenge(c, "busy.example", true)
	if got, err := c.Respond(t.Context(), ch); err != nil || got.Status == acme.ChallengeInvalid {
		t.Fatalf("got %+v, %v", got, err)
	}
	if a, err := c.WaitAuthorization(t.Context(), a.URL); err != nil || a.Status != acme.AuthorizationValid {
		t.Errorf("got %+v, %v", a, err)
	}
}

// TestBrokenOffAttemptIsNoOutcome: what was stopped within the first second is
// not stored as a failure.
func TestBrokenOffAttemptIsNoOutcome(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	_, a, ch := w.pendingChallenge(c, "stopped.example", true)
	release := w.hold()
	defer release()
	answered := make(chan error)
	go func() {
		_, err := c.Respond(context.Background(), ch)
		answered <- err
	}()
	w.poll("the request", func() bool { return w.asked.Load() > 0 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.server.Close(ctx)
	<-answered // stopping, or processing if the machine was slow
	if s := w.stored(a.URL); s.Status != acme.AuthorizationPending || s.Attempts != 0 || s.Problem != nil {
		t.Errorf("stored is %+v", s)
	}
}

// TestManyResponsesAtOnce: however often a client says that it is ready, there is
// one validation and one outcome.
func TestManyResponsesAtOnce(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	_, a, ch := w.pendingChallenge(c, "eager.example", true)
	release := w.hold()
	defer release()
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := c.Respond(t.Context(), ch); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	release()
	w.close(w.server)
	if s := w.stored(a.URL); s.Status != acme.AuthorizationValid || s.Version != 2 || s.Attempts != 1 || w.asked.Load() != 1 {
		t.Errorf("%d requests were made; stored is %+v", w.asked.Load(), s)
	}
}

// TestWorkDeletesWhatEnded: a day after its end an order without a certificate is
// gone, and one with a certificate stays.
func TestWorkDeletesWhatEnded(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	kept := w.ready(c, "kept.example")
	if _, err := c.Finalize(t.Context(), kept, csr(t, certKey(t), "", "kept.example")); err != nil {
		t.Fatal(err)
	}
	ended := w.order(c, "ended.example")
	w.ahead.Add(int64(7*24*time.Hour + 25*time.Hour))
	if err := w.server.Work(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := c.Order(t.Context(), ended.URL)
	refused(t, err, acme.TypeMalformed, "no such order")
	if got, err := c.Order(t.Context(), kept.URL); err != nil || got.Status != acme.OrderValid {
		t.Errorf("the order with a certificate is %+v, %v", got, err)
	}
	if _, err := c.Authorization(t.Context(), kept.Authorizations[0]); err != nil {
		t.Errorf("its authorisation: %v", err)
	}
	// Long after the proof ended it goes too, and the order is still shown.
	w.ahead.Add(int64(31*24*time.Hour + 30*24*time.Hour + 7*24*time.Hour))
	if err := w.server.Work(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = c.Authorization(t.Context(), kept.Authorizations[0])
	refused(t, err, acme.TypeMalformed, "no such authorization")
	if got, err := c.Order(t.Context(), kept.URL); err != nil || got.Status != acme.OrderValid {
		t.Errorf("the order without its proof is %+v, %v", got, err)
	}
	if urls, err := c.Orders(t.Context()); err != nil || len(urls) != 1 {
		t.Errorf("the list is %v, %v", urls, err)
	}
}
