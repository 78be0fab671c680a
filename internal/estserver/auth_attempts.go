package estserver

import (
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"time"

	"chancery/internal/ca"
	"chancery/internal/limit"
)

// attempts holds back who guesses passwords: once a user has failed too often from an
// address, or an address has with any users, not even the right password counts there for
// a while (RFC 7030 §6). Revocations by a secret have one of their own.
type attempts struct {
	mu     sync.Mutex
	till   map[string]time.Time // by user and address, and by address, or by certificate and address; guarded by mu
	closed time.Time            // until then nobody logs in; guarded by mu
}

// attemptsMax bounds the memory of attempts; the limit's own is bounded likewise.
const attemptsMax = 1 << 14

func attemptKey(user string, c *call) string {
	return addressKey(c) + " " + string(OneTimeDigest(user)) // of fixed length, whatever a client sends
}

func addressKey(c *call) string { return limit.AddressKey(c.address) }

// blocked refuses who failed too often.
func (a *attempts) blocked(user string, c *call) error {
	wait := a.wait(c, attemptKey(user, c), addressKey(c))
	if wait <= 0 {
		return nil
	}
	return &refusal{Status: http.StatusTooManyRequests, RetryAfter: wait,
		Text: fmt.Sprintf("too many wrong passwords; wait %s before you try again", rounded(wait))}
}

// wait tells how long the longest of the keys is held back; nothing or less: it is not.
func (a *attempts) wait(c *call, keys ...string) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	longest := a.closed.Sub(c.now)
	for _, key := range keys {
		longest = max(longest, a.till[key].Sub(c.now))
	}
	return longest
}

// rounded gives a time to wait in whole seconds, as Retry-After has it.
func rounded(wait time.Duration) time.Duration {
	return (wait + time.Second - 1).Truncate(time.Second)
}

// block holds a key back. Where so many are that this one cannot be remembered, everybody
// is: somebody guesses from thousands of addresses. It tells whether that is so.
func (a *attempts) block(key string, c *call, wait time.Duration) (closed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.till == nil {
		a.till = map[string]time.Time{}
	}
	till := c.now.Add(wait)
	if _, known := a.till[key]; !known && len(a.till) >= attemptsMax {
		maps.DeleteFunc(a.till, func(_ string, till time.Time) bool { return !till.After(c.now) })
		if len(a.till) >= attemptsMax {
			if till.After(a.closed) {
				a.closed = till
			}
			return true
		}
	}
	a.till[key] = till
	return false
}

// failed counts a wrong password and gives the challenge to send another. The reason
// is for the log: a client is told no more than that it was wrong.
func (s *Server) failed(c *call, user, reason string) error {
	s.attempts.count(c, guess{attemptKey(user, c), s.Attempts, slog.String("user", user)})
	s.attempts.count(c, guess{addressKey(c), s.AddressAttempts, slog.String("user", user)})
	return &refusal{Status: http.StatusUnauthorized, Challenge: true, Text: reason}
}

// guess is a wrong secret that is counted.
type guess struct {
	key   string
	by    Limit     // nil: it is not counted
	about slog.Attr // whose it was to be
}

// count counts a guess, and holds its key back after one too many.
func (a *attempts) count(c *call, g guess) {
	if g.by == nil {
		return
	}
	wait, ok := g.by(g.key, c.now)
	if ok {
		return
	}
	if a.block(g.key, c, wait) {
		c.log.Error("so many log-ins fail that nobody can log in with a password for a moment", g.about, "wait", wait)
		return
	}
	c.log.Warn("too many wrong passwords", g.about, "wait", wait, "any_user", g.key == addressKey(c))
}

// revocationKey is what wrong secrets of a certificate are counted by: who shares an address
// with somebody that guesses, be it passwords, can revoke all the same.
func revocationKey(serial ca.Serial, c *call) string {
	return addressKey(c) + " certificate " + string(serial)
}

// revocationBlocked refuses to look at another secret of a certificate, and says what can be
// done instead.
func (s *Server) revocationBlocked(c *call, serial ca.Serial) error {
	wait := s.revoking.wait(c, revocationKey(serial, c))
	if wait <= 0 {
		return nil
	}
	return heldRevocation(wait)
}

func heldRevocation(wait time.Duration) *refusal {
	return &refusal{Status: http.StatusTooManyRequests, RetryAfter: wait,
		Text: fmt.Sprintf("too many wrong secrets or passwords came from your address; wait %s before you try again, or sign the revocation with the certificate's own key, or ask the administrators to revoke it", rounded(wait))}
}

// failedRevocation counts a wrong secret of a certificate, also among all that its address
// gets wrong.
func (s *Server) failedRevocation(c *call, serial ca.Serial) {
	about := slog.String("serial", string(serial))
	s.revoking.count(c, guess{revocationKey(serial, c), s.Attempts, about})
	s.attempts.count(c, guess{addressKey(c), s.AddressAttempts, about})
}
