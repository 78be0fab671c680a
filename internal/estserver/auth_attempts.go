package estserver

import (
	"maps"
	"net/http"
	"sync"
	"time"

	"chancery/internal/limit"
)

// attempts holds back who guesses passwords: once a user has failed too often from an
// address, not even the right password counts there for a while (RFC 7030 §6).
type attempts struct {
	mu   sync.Mutex
	till map[string]time.Time // by user and address; guarded by mu
}

// attemptsMax bounds the memory of attempts; the limit's own is bounded likewise.
const attemptsMax = 1 << 14

func attemptKey(user string, c *call) string {
	return limit.AddressKey(c.address) + " " + string(OneTimeDigest(user)) // of fixed length, whatever a client sends
}

// blocked refuses who failed too often.
func (a *attempts) blocked(user string, c *call) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	wait := a.till[attemptKey(user, c)].Sub(c.now)
	if wait <= 0 {
		return nil
	}
	return &refusal{Status: http.StatusTooManyRequests, RetryAfter: wait, Text: "too many wrong passwords; wait before you try again"}
}

func (a *attempts) block(user string, c *call, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.till == nil {
		a.till = map[string]time.Time{}
	}
	if len(a.till) >= attemptsMax {
		maps.DeleteFunc(a.till, func(_ string, till time.Time) bool { return !till.After(c.now) })
	}
	if len(a.till) < attemptsMax {
		a.till[attemptKey(user, c)] = c.now.Add(wait)
	}
}

// failed counts a wrong password and gives the challenge to send another. The reason
// is for the log: a client is told no more than that it was wrong.
func (s *Server) failed(c *call, user, reason string) error {
	if s.Attempts != nil {
		if wait, ok := s.Attempts(attemptKey(user, c), c.now); !ok {
			s.attempts.block(user, c, wait)
			c.log.Warn("too many wrong passwords", "user", user, "wait", wait)
		}
	}
	return &refusal{Status: http.StatusUnauthorized, Challenge: true, Text: reason}
}
