package estserver

import (
	"context"
	"crypto/sha256"
	"maps"
	"sync"
	"time"

	"chancery/internal/ca"
)

// unfinishedLife is how long a request whose outcome nobody was told is known again, and
// unfinishedMax how many are: it spares certificates that nobody gets, and is no promise.
const (
	unfinishedLife = time.Hour
	unfinishedMax  = 1 << 12
)

// unfinished has the ids of requests that failed when their certificate may exist, as
// when the database went away between intent and answer: the client's repeat takes up the
// same certificate (ca.Authority.Issue with the same id) instead of getting a second one.
// It is of this process alone and forgets with it. Requests under approval and one-time
// passwords need none of it: their ids are the same at each repeat.
type unfinished struct {
	mu  sync.Mutex
	ids map[[sha256.Size]byte]unfinishedRequest // by unfinishedKey; guarded by mu
}

type unfinishedRequest struct {
	id   string
	till time.Time
}

// unfinishedKey is how a repeat is known again, see pendingDigest: another connection's
// binding in the request changes nothing.
func unfinishedKey(c *call, ask *Ask) ([sha256.Size]byte, error) {
	digest, _, err := pendingDigest(c, ask)
	return sha256.Sum256(append(digest, c.label.Profile...)), err
}

// take gives the id of the request that failed before, and forgets it; "": there is none.
// While nothing has failed it costs nothing.
func (u *unfinished) take(c *call, ask *Ask) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.ids) == 0 {
		return ""
	}
	key, err := unfinishedKey(c, ask)
	r := u.ids[key]
	if err != nil || r.id == "" {
		return "" // a key that cannot be encoded is the core's to refuse
	}
	delete(u.ids, key)
	if !c.now.Before(r.till) {
		return ""
	}
	return r.id
}

func (u *unfinished) keep(c *call, ask *Ask, id string) {
	key, err := unfinishedKey(c, ask)
	if err != nil {
		return
	}
	now := c.now
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ids == nil {
		u.ids = map[[sha256.Size]byte]unfinishedRequest{}
	}
	if len(u.ids) >= unfinishedMax {
		maps.DeleteFunc(u.ids, func(_ [sha256.Size]byte, r unfinishedRequest) bool { return !now.Before(r.till) })
	}
	if len(u.ids) < unfinishedMax {
		u.ids[key] = unfinishedRequest{id, now.Add(unfinishedLife)}
	}
}

// issueOnce is the core's Issue for a request that has no lasting id: a repeat of one
// that failed with its outcome unknown goes on with that.
func (s *Server) issueOnce(ctx context.Context, c *call, ask *Ask, req ca.Request) (ca.Record, error) {
	if before := s.unfinished.take(c, ask); before != "" {
		again := req
		again.ID = before
		record, err := s.certify(ctx, c, ask, again)
		switch {
		case err == nil && record.RevokedAt.IsZero():
			return record, nil
		case unknown(err):
			s.unfinished.keep(c, ask, before)
			return record, err
		}
		// It came to nothing for good: it was revoked, or would be another one now.
	}
	if err := s.quota(ctx, c); err != nil {
		return ca.Record{}, err
	}
	record, err := s.certify(ctx, c, ask, req)
	if unknown(err) {
		s.unfinished.keep(c, ask, req.ID)
	}
	return record, err
}

// unknown tells whether an error leaves open what was recorded.
func unknown(err error) bool {
	if err == nil {
		return false
	}
	kind := ca.KindOf(err)
	return kind == ca.Unavailable || kind == ca.Internal
}
