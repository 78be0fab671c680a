package estserver

import (
	"context"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"chancery/internal/ca"
)

// deliveryTime is how long an answer may take to be written before a repeat of its
// request takes the key for lost.
const deliveryTime = time.Minute

// maxAttempts bounds how many keys are made for one approval or one-time password.
const maxAttempts = 20

// What is kept of keys that were made for requests that outlive one attempt, beside the
// ledger. Such a mark can only be set, once, and setting it tells whether it was; it is
// kept with the spent nonces.
const (
	markMade   = "keygen-made:"   // and a key's hash: the key was made here, not sent in a request
	markClosed = "keygen-closed:" // and a serial: its key was delivered, or given up by a repeat
)

// markLife ends the marks: those of a one-time password that never expires must not
// end before it.
var markLife = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// mark sets a mark; one that was set is kind [ca.Replayed].
func (s *Server) mark(ctx context.Context, kind string, what []byte) error {
	return s.Credentials.SpendNonce(ctx, append([]byte(kind), what...), markLife)
}

// nextAttempt numbers the certificate that is to be made. An approval or a one-time
// password is good for one certificate, and a key is never sent twice: so a repeat is
// refused once the key was delivered, and when it was not, which covers a crash at any
// step, the certificate is revoked and another key is made. Requests that need neither
// have no memory: each is a request of its own.
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

// lastAttempt sets the number of the next attempt and gives the record of the last one;
// nil: there was none.
func (s *Server) lastAttempt(ctx context.Context, base string, ask *Ask) (*ca.Record, error) {
	var last *ca.Record
	for id := base; ask.Attempt < maxAttempts; id = base + "." + strconv.Itoa(ask.Attempt) {
		r, err := s.Ledger.ByRequest(ctx, id)
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

// giveUp closes the last attempt, if its key was not delivered: nobody has the key, so
// its certificate is revoked. The mark is set first, so that of two who repeat, or of a
// delivery that ends just now and a repeat, one alone goes on.
func (s *Server) giveUp(ctx context.Context, c *call, last *ca.Record) error {
	if last.RevokedAt.IsZero() && c.now.Before(last.IntendedAt.Add(deliveryTime)) {
		return underWay()
	}
	delivered := refuse(http.StatusForbidden, "this request got the certificate %s, and its key is not sent twice; make a new request, for which you may need another approval or password", last.Serial)
	if err := s.mark(ctx, markClosed, []byte(last.Serial)); ca.KindOf(err) == ca.Replayed {
		return delivered
	} else if err != nil {
		return err
	}
	switch err := s.mark(ctx, markMade, last.KeyHash); {
	case err == nil:
		return delivered // its holder made the key, with another operation
	case ca.KindOf(err) != ca.Replayed:
		return err
	}
	if last.RevokedAt.IsZero() {
		s.undelivered(context.WithoutCancel(ctx), c, *last, underWay())
	}
	return nil
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
