package status

import (
	"context"

	"chancery/internal/ca"
)

// queue bounds how many answers are signed at a time and how many may wait for
// that: strangers can ask for as many as they like, and a signature costs what
// issuance needs too.
type queue struct {
	places chan struct{} // one for each that waits or signs
	desks  chan struct{} // one for each that signs
}

func newQueue(signing, waiting int) *queue {
	return &queue{places: make(chan struct{}, signing+waiting), desks: make(chan struct{}, signing)}
}

// enter waits for a turn; then leave must be called. When too many wait already
// the error is of kind [ca.Limited], and comes at once.
func (q *queue) enter(ctx context.Context) (leave func(), err error) {
	select {
	case q.places <- struct{}{}:
	default:
		return nil, ca.Errorf(ca.Limited, "too many OCSP answers are waiting to be signed")
	}
	select {
	case q.desks <- struct{}{}:
		return func() { <-q.desks; <-q.places }, nil
	case <-ctx.Done():
		<-q.places
		return nil, context.Cause(ctx)
	}
}
