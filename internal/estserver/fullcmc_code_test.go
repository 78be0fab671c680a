package estserver_test

import (
	"net/http"
	"testing"
	"time"

	"chancery/cms"
	"chancery/cms/cmc"
	"chancery/internal/limit"
)

// coded makes a message with an AuthenticatedData for each number of iterations.
func coded(t *testing.T, user, secret string, iterations ...int) *letter {
	l := newLetter(t).numbered().add(cmc.Identification(user))
	l.wrap.Authenticate = cms.Password{Passphrase: cms.Passphrase(secret), Iterations: iterations[0]}
	if len(iterations) > 1 {
		inner := coded(t, user, secret, iterations[1:]...)
		l.data.AddCMS(inner.der())
	}
	return l
}

// TestCodesAreBounded: what a stranger can have derived from a password is little, and it
// is refused before it is done.
func TestCodesAreBounded(t *testing.T) {
	w := newCMCWorld(t, cmcLabel(nil))
	w.shares("alice", "correct horse", "*")
	w.ask(coded(t, "alice", "correct horse", 1000)).granted(nil)
	w.ask(coded(t, "alice", "correct horse", 600_000)).granted(nil)
	w.ask(coded(t, "alice", "correct horse", 600_001)).refused(http.StatusBadRequest, cmc.BadMessageCheck)
	w.ask(coded(t, "alice", "correct horse", 1000, 1000)).refused(http.StatusBadRequest, cmc.BadMessageCheck)
}

// TestCodesOfManySecrets: of a user with many secrets so many are tried as the iterations
// allow.
func TestCodesOfManySecrets(t *testing.T) {
	w := newCMCWorld(t, cmcLabel(nil))
	for _, secret := range []string{"eldest", "older", "old", "new", "newest"} {
		w.sharesOnce("fleet", secret, "*")
		w.pass(time.Second)
	}
	w.ask(coded(t, "fleet", "eldest", 600_000)).refused(http.StatusBadRequest, cmc.BadMessageCheck)
	w.ask(coded(t, "fleet", "newest", 600_000)).granted(nil)
	w.ask(coded(t, "fleet", "eldest", 1000)).granted(nil)
}

// TestGuessedCodesAreCounted as guessed passwords are, and who has to wait is told so.
func TestGuessedCodesAreCounted(t *testing.T) {
	l, err := limit.New(limit.Rule{Name: "log-ins", Count: 2, Per: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	w := newCMCWorld(t, cmcLabel(nil))
	w.shares("alice", "correct horse", "*")
	w.config.Attempts = l.Allow
	w.front = w.serve(w.another().Handler())
	for range 3 {
		w.ask(coded(t, "alice", "wrong", 1000)).refused(http.StatusBadRequest, cmc.BadMessageCheck)
	}
	got := w.ask(coded(t, "alice", "correct horse", 1000))
	got.refused(http.StatusTooManyRequests, cmc.TryLater)
	if got.Header.Get("Retry-After") == "" {
		t.Error("nothing says when to come back")
	}
}
