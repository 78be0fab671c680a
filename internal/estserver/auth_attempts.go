package estserver

import (
	"maps"
	"net/http"
	"sync"
	"time"

	"chancery/internal/limit"
)

// attempts holds back who guesses passwords: once a user has failed too often from an
// address, or an address has with any users, not even the right password counts there for
// a while (RFC 7030 §6).
type attempts struct {
	mu     sync.Mutex
	till   map[string]time.Time // by user and address, and by address; guarded by mu
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
	a.mu.Lock()
	defer a.mu.Unlock()
	wait := max(a.till[attemptKey(user, c)].Sub(c.now), a.till[addressKey(c)].Sub(c.now), a.closed.Sub(c.now))
	if wait <= 0 {
		return nil
	}
	return &refusal{Status: http.StatusTooManyRequests, RetryAfter: wait, Text: "too many wrong passwords; wait before you try again"}
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
	for key, by := range map[string]Limit{attemptKey(user, c): s.Attempts, addressKey(c): s.AddressAttempts} {
		if by == nil {
			continue
		}
		wait, ok := by(key, c.now)
		if ok {
			continue
		}
		if s.attempts.block(key, c, wait) {
			c.log.Error("so many log-ins fail that nobody can log in with a password for a moment", "user", user, "wait", wait)
			continue
		}
		c.log.Warn("too many wrong passwords", "user", user, "wait", wait, "any_user", key == addressKey(c))
	}
	return &refusal{Status: http.StatusUnauthorized, Challenge: true, Text: reason}
}
