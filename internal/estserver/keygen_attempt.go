package estserver

import (
	"context"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"chancery/internal/ca"
)

// deliveryTime is how long an answer may take to be written, from the certificate's intent
// on, before a repeat of its request takes the key for lost. A connection's writes end
// before (http.Server.WriteTimeout), and nothing is sent that would begin later.
const deliveryTime = time.Minute

// maxAttempts bounds how many keys are made for one approval or one-time password.
const maxAttempts = 20

// What is kept of keys that were made for requests that outlive one attempt, beside the
// ledger, with the spent nonces.
const (
	markMade   = "keygen-made:"   // and a key's hash: the key was made here, not sent in a request
	markClosed = "keygen-closed:" // and a serial: its key was delivered
)

// markLives is for how long. A key without the first mark counts as delivered, so that a
// repeat which comes when both have ended gets nothing; the second, which is set after it,
// must be there for as long as it is.
var markLives = map[string]time.Duration{markMade: 400 * 24 * time.Hour, markClosed: 2 * 400 * 24 * time.Hour}

// mark sets a mark; one that was set is kind [ca.Replayed].
func (s *Server) mark(ctx context.Context, kind string, what []byte) error {
	return s.Credentials.SpendNonce(ctx, markOf(kind, what), s.Clock().Add(markLives[kind]))
}

// marked tells whether a mark is set.
func (s *Server) marked(ctx context.Context, kind string, what []byte) (bool, error) {
	return s.Credentials.Spent(ctx, markOf(kind, what))
}

func markOf(kind string, what []byte) []byte { return append([]byte(kind), what...) }

// nextAttempt numbers the certificate that is to be made. An approval or a one-time
// password is good for one certificate, and a key is never sent twice: so a repeat is
// refused once the key was delivered, and when it was not, which covers a crash at any
// step, the certificate is revoked and another key is made. Requests that need neither
// have no memory: each is a request of its own, and what becomes of its certificate when
// it was cut off is for [Deliveries] alone.
func (s *Server) nextAttempt(ctx context.Context, c *call, ask *Ask, d *delivery) error {
	d.lasting = c.label.Manual || c.who.oneTime() != nil // also of one that is approved just now
	base, row, err := s.lastingID(ctx, c, ask)
	if err != nil || base == "" {
		return err
	}
	last, err := s.lastAttempt(ctx, base, ask)
	if err != nil {
		return err
	}
	if last != nil {
		if err := s.giveUp(ctx, c, last); err != nil {
			return err
		}
	}
	if row == nil {
		return nil
	}
	err = s.Requests.CountDelivery(ctx, row.ID, row.Attempts)
	if ca.KindOf(err) == ca.Conflict {
		return underWay()
	}
	return err
}

// lastingID gives the id under which the core knows the first certificate of a request
// that can be repeated; "" when there is none yet, or each repeat is another request.
// The row is the approval.
func (s *Server) lastingID(ctx context.Context, c *call, ask *Ask) (string, *Pending, error) {
	if !c.label.Manual {
		if password := c.who.oneTime(); password != nil {
			return oneTimeID(password.ID), nil, nil
		}
		return "", nil, nil
	}
	digest, _, err := pendingDigest(c, ask)
	if err != nil {
		return "", nil, err
	}
	row, err := s.Requests.Request(ctx, digest)
	switch {
	case ca.KindOf(err) == ca.NotFound || err == nil && (row.State != Approved || !c.now.Before(row.Expires)):
		return "", nil, nil // issue enters it, or refuses
	case err != nil:
		return "", nil, err
	}
	return row.IssueID(), &row, nil
}

// attemptID is the id under which the core knows a request's certificate: of the first,
// the request's own.
func attemptID(base string, attempt int) string {
	if attempt == 0 {
		return base
	}
	return base + "." + strconv.Itoa(attempt)
}

// isAttempt tells whether an id is that of one of a request's certificates.
func isAttempt(id, base string) bool {
	for n := range maxAttempts {
		if id == attemptID(base, n) {
			return true
		}
	}
	return false
}

// lastAttempt sets the number of the next attempt and gives the record of the last one;
// nil: there was none.
func (s *Server) lastAttempt(ctx context.Context, base string, ask *Ask) (*ca.Record, error) {
	var last *ca.Record
	for ask.Attempt < maxAttempts {
		r, err := s.Ledger.ByRequest(ctx, attemptID(base, ask.Attempt))
		if ca.KindOf(err) == ca.NotFound {
			return last, nil
		}
		if err != nil {
			return nil, err
		}
		last = &r
		ask.Attempt++
	}
	return nil, refuse(http.StatusForbidden, "%d keys were made for this request, none of which could be delivered; make a new request", maxAttempts)
}

// giveUp revokes the certificate of the last attempt, if its key was not delivered: nobody
// has the key. Nothing is set before that is done, so that a repeat after a crash, or after
// a failure here, does it again. A delivery that ends just now, more than deliveryTime
// after it began, comes too late: its certificate is revoked, and the repeat gets another.
func (s *Server) giveUp(ctx context.Context, c *call, last *ca.Record) error {
	if last.RevokedAt.IsZero() {
		if c.now.Before(last.IntendedAt.Add(deliveryTime)) {
			return underWay()
		}
		if _, err := s.Deliveries.lose(ctx, DeliveryID(last.KeyHash, last.Request)); err != nil { // so that no mark comes any more
			return stillGood(err)
		}
	}
	delivered, err := s.marked(ctx, markClosed, []byte(last.Serial))
	if err != nil {
		return err
	}
	made, err := s.marked(ctx, markMade, last.KeyHash)
	if err != nil {
		return err
	}
	if delivered || !made { // not made: its holder made the key, with another operation
		return refuse(http.StatusForbidden, "this request got the certificate %s, and its key is not sent twice; make a new request, for which you may need another approval or password", last.Serial)
	}
	if !last.RevokedAt.IsZero() {
		return nil
	}
	if err := s.Deliveries.giveUp(context.WithoutCancel(ctx), last); err != nil {
		return stillGood(err)
	}
	c.log.WarnContext(ctx, "the key of a certificate was not delivered, so the certificate is revoked", "serial", last.Serial, "why", "the request came again")
	return nil
}

// stillGood is the answer while the certificate of a lost key cannot be revoked.
func stillGood(err error) *refusal {
	return &refusal{Status: http.StatusServiceUnavailable, RetryAfter: deliveryTime, Err: err,
		Text: "the certificate of the key that did not reach you could not be revoked, before which no other key is made; send the request again in a minute"}
}

// underWay is the answer to a repeat that comes while the first may still be answered.
func underWay() *refusal {
	return &refusal{Status: http.StatusServiceUnavailable, RetryAfter: deliveryTime, Text: "this request is being answered; if no answer comes, send it again in a minute"}
}

// shortHex writes octets for people.
func shortHex(b []byte) string {
	if len(b) > 40 {
		return hex.EncodeToString(b[:40]) + "…"
	}
	return hex.EncodeToString(b)
}
