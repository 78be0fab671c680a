package estserver

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"
)

// TestAttemptsAreBounded: where no more can be remembered everybody waits, and nobody is
// let pass.
func TestAttemptsAreBounded(t *testing.T) {
	a := &attempts{}
	c := callFrom(t.Context(), "192.0.2.1")
	for i := range attemptsMax {
		if a.block(fmt.Sprint("made-up-", i), c, 10*time.Minute) {
			t.Fatalf("%d are too many", i)
		}
	}
	if a.block("made-up-0", c, 10*time.Minute) || a.blocked("nobody", c) != nil {
		t.Error("closed by one who was held back before")
	}
	if !a.block(attemptKey("victim", c), c, time.Minute) {
		t.Error("one too many was remembered")
	}
	for _, address := range []string{"192.0.2.1", "2001:db8::1"} {
		d := *c
		d.address = address
		err, ok := errors.AsType[*refusal](a.blocked("victim", &d))
		if !ok || err.Status != http.StatusTooManyRequests || err.RetryAfter != time.Minute {
			t.Errorf("%s passes: %v", address, err)
		}
	}
	c.now = c.now.Add(11 * time.Minute)
	if err := a.blocked("victim", c); err != nil {
		t.Errorf("after all that: %v", err)
	}
	if a.block(attemptKey("victim", c), c, time.Minute) || len(a.till) != 1 || a.blocked("victim", c) == nil {
		t.Errorf("%d are remembered after they ended", len(a.till))
	}
}
