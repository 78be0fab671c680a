package daemon

import (
	"context"
	"time"

	"chancery/internal/nonce"
	"chancery/internal/sqlstore"
)

// nonces is what a process needs to mint and check nonces.
type nonces struct {
	ring   *nonce.Ring
	seen   *nonce.Seen
	source *nonce.Source
	spent  *spentBits
}

func (d *Daemon) nonceKeys(ctx context.Context) ([]nonce.Key, error) {
	stored, err := d.store.NonceKeys(ctx)
	if err != nil {
		return nil, err
	}
	ring := make([]nonce.Key, 0, len(stored))
	for _, k := range stored {
		ring = append(ring, nonce.Key{ID: k.ID, Secret: [32]byte(k.Secret), Created: k.Created})
	}
	return ring, nil
}

func (d *Daemon) addNonceKey(ctx context.Context, stale []uint32) error {
	k := nonce.NewKey(time.Now())
	return d.store.AddNonceKey(ctx, sqlstore.NonceKey{ID: k.ID, Secret: k.Secret[:], Created: k.Created}, stale)
}

// turnNonceKeys reads the keys that other replicas wrote and writes the next
// one when it is time.
func (d *Daemon) turnNonceKeys(ctx context.Context) error {
	now := time.Now()
	if d.ring.Due(now) {
		if err := d.addNonceKey(ctx, d.ring.Stale(now)); err != nil {
			return err
		}
	}
	stored, err := d.nonceKeys(ctx)
	if err != nil {
		return err
	}
	return d.ring.Set(stored)
}
