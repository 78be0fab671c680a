package estserver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"sync"
	"time"

	"chancery/internal/ca"
)

// DeliveryState is how the delivery of a made key stands, and begins its name in the
// store, where it is kept with what may be used once: so it is written in the transaction
// of the certificate's intent ([ca.Request.Once]), and there is no certificate without it.
type DeliveryState string

// The states. A delivery that ended is forgotten.
const (
	DeliveryBegun DeliveryState = "est:delivery:begun:" // the certificate may exist, and nobody may have its key
	DeliveryLost  DeliveryState = "est:delivery:lost:"  // given up: the certificate is to be revoked
)

// Once gives the name of a delivery in this state. It does not expire: it is removed when
// it has been dealt with, and never before.
func (s DeliveryState) Once(id []byte) *ca.Once {
	return &ca.Once{ID: append([]byte(s), id...), Expires: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)}
}

// DeliveryID names the delivery of a key by the key's hash, see [ca.KeyHash], and the id of
// the core's request: two who ask at once under one id make two keys, and one is certified.
func DeliveryID(keyHash []byte, request string) []byte {
	return append(bytes.Clone(keyHash), request...)
}

// DeliveryStore keeps which keys are on their way. [ca.Ledger.Intend] adds to it.
type DeliveryStore interface {
	// Deliveries gives the ids of those in a state that follow an id, nil for the first,
	// in the order of octets, at most limit.
	Deliveries(ctx context.Context, state DeliveryState, after []byte, limit int) ([][]byte, error)
	// LoseDelivery makes one that was begun a lost one. One that is not begun, or not any
	// more, is kind Conflict.
	LoseDelivery(ctx context.Context, id []byte) error
	// EndDelivery forgets one that was begun, and sets a mark (nil: none) in the same
	// transaction. One that is not begun, or not any more, is kind Conflict, and then no
	// mark is set.
	EndDelivery(ctx context.Context, id []byte, mark *ca.Once) error
	// ForgetDelivery forgets one that was lost. That it is not there is no error.
	ForgetDelivery(ctx context.Context, id []byte) error
}

// givenUpAfter is how long after the intent a delivery of another process is taken for
// lost: its answer must have ended, by a clock that may be behind by some minutes.
const givenUpAfter = deliveryTime + 5*time.Minute

// sweepMany is how many deliveries are read at once.
const sweepMany = 100

// DeliveriesConfig is what [Deliveries] works with; all but Alone is needed.
type DeliveriesConfig struct {
	Store     DeliveryStore
	Ledger    ca.Ledger
	Authority *ca.Authority
	// Alone tells that no other process has the store: then what was begun and is not on
	// its way here was cut off.
	Alone  bool
	Clock  func() time.Time
	Logger *slog.Logger
}

// Deliveries knows which made keys are on their way, and revokes the certificates of those
// that did not arrive for certain, whatever came between: a failure, a crash at any step,
// another replica's end. There is one in a process, which outlives the servers that a
// reload replaces. It is safe for concurrent use.
type Deliveries struct {
	DeliveriesConfig
	mu   sync.Mutex
	here map[string]bool     // by id, those on their way from this process; guarded by mu
	kept map[string]*ca.Once // by id, the marks of those that arrived, which the store does not know yet; guarded by mu
}

// NewDeliveries gives it, with nothing on its way.
func NewDeliveries(c DeliveriesConfig) *Deliveries {
	return &Deliveries{DeliveriesConfig: c, here: map[string]bool{}, kept: map[string]*ca.Once{}}
}

// begin gives what has to be spent with the certificate's intent. What was begun must be
// left in the end.
func (d *Deliveries) begin(id []byte) *ca.Once {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.here[string(id)] = true
	return DeliveryBegun.Once(id)
}

// leave ends what begin began, whatever came of it; nil: nothing was begun.
func (d *Deliveries) leave(id []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.here, string(id))
}

// ours tells whether a delivery is on its way from here.
func (d *Deliveries) ours(id []byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.here[string(id)]
}

// end records that a key arrived. [ca.Conflict]: it was given up before, and its
// certificate is revoked. After another error it is known here and recorded later, by
// [Deliveries.Sweep] or [Deliveries.Record]; if this process dies before, nobody knows.
func (d *Deliveries) end(ctx context.Context, id []byte, mark *ca.Once) error {
	err := d.Store.EndDelivery(ctx, id, mark)
	if err != nil && ca.KindOf(err) != ca.Conflict {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.kept[string(id)] = mark
	}
	return err
}

// Record records which keys arrived while the store could not be written. An error says
// that it still cannot.
func (d *Deliveries) Record(ctx context.Context) error {
	d.mu.Lock()
	waiting := make(map[string]*ca.Once, len(d.kept))
	for id, mark := range d.kept {
		waiting[id] = mark
	}
	d.mu.Unlock()
	for id, mark := range waiting {
		// Conflict: it was recorded, though the store could not say so then, or another
		// process gave it up, and says so.
		if err := d.Store.EndDelivery(ctx, []byte(id), mark); err != nil && ca.KindOf(err) != ca.Conflict {
			return err
		}
		d.mu.Lock()
		delete(d.kept, id)
		d.mu.Unlock()
	}
	return nil
}

// lose gives up a delivery, after which nothing can say any more that the key arrived.
// false: it ended, or was given up, before.
func (d *Deliveries) lose(ctx context.Context, id []byte) (bool, error) {
	if err := d.Record(ctx); err != nil {
		return false, err
	}
	err := d.Store.LoseDelivery(ctx, id)
	if ca.KindOf(err) == ca.Conflict {
		return false, nil
	}
	return err == nil, err
}

// giveUp gives up the delivery of a key that did not arrive, as is known, and revokes its
// certificate. On an error [Deliveries.Sweep] goes on.
func (d *Deliveries) giveUp(ctx context.Context, r *ca.Record) error {
	ctx, cancel := context.WithTimeout(ctx, revokeTime)
	defer cancel()
	if _, err := d.lose(ctx, DeliveryID(r.KeyHash, r.Request)); err != nil {
		return err
	}
	return d.revoke(ctx, r)
}

// revoke revokes the certificate of a lost key, unless that is done, and forgets the
// delivery. In the history it is revoked by "est:undelivered".
func (d *Deliveries) revoke(ctx context.Context, r *ca.Record) error {
	if d.Clock().Before(r.NotAfter) { // else there is nothing left to revoke
		_, err := d.Authority.Revoke(ctx, ca.Revocation{Serial: r.Serial, Reason: ca.Superseded, By: ca.Principal{Room: Room, ID: "undelivered"}})
		if err != nil && ca.KindOf(err) != ca.Revoked {
			return err
		}
	}
	return d.Store.ForgetDelivery(ctx, DeliveryID(r.KeyHash, r.Request))
}

// Sweep revokes the certificates of keys whose delivery was cut off, and gives how many
// deliveries it gave up. An error about one does not keep the others from being tried.
// Several processes may do it at once.
func (d *Deliveries) Sweep(ctx context.Context) (int, error) {
	if err := d.Record(ctx); err != nil {
		return 0, err
	}
	done := 0
	var errs []error
	for _, state := range []DeliveryState{DeliveryBegun, DeliveryLost} {
		var after []byte
		for more := true; more; {
			ids, err := d.Store.Deliveries(ctx, state, after, sweepMany)
			if err != nil {
				return done, errors.Join(append(errs, err)...)
			}
			for _, id := range ids {
				gone, err := d.sweep(ctx, state, id)
				if gone {
					done++
				}
				errs, after = append(errs, err), id
			}
			more = len(ids) == sweepMany
		}
	}
	return done, errors.Join(errs...)
}

// sweep gives up one delivery, if it was cut off.
func (d *Deliveries) sweep(ctx context.Context, state DeliveryState, id []byte) (bool, error) {
	if len(id) < sha256.Size || d.ours(id) {
		return false, nil
	}
	r, err := d.Ledger.ByRequest(ctx, string(id[sha256.Size:]))
	if err != nil {
		return false, err // NotFound cannot be: the intent is of the same transaction
	}
	if state == DeliveryBegun && !d.Alone && d.Clock().Before(r.IntendedAt.Add(givenUpAfter)) {
		return false, nil // another process may be at it
	}
	if !bytes.Equal(id[:sha256.Size], r.KeyHash) {
		return false, ca.Errorf(ca.Internal, "the certificate %s is for another key than the one whose delivery was begun", r.Serial)
	}
	if state == DeliveryBegun {
		if lost, err := d.lose(ctx, id); err != nil || !lost {
			return false, err // it ended just now
		}
	}
	if err := d.revoke(ctx, &r); err != nil {
		return false, err
	}
	d.Logger.WarnContext(ctx, "the key of a certificate was not delivered, so the certificate is revoked", "serial", r.Serial,
		"names", r.Names, "by", r.By.String(), "why", "the server stopped, or lost its database, before it was known that the answer had been written whole")
	return true, nil
}
