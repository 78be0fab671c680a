package nonce

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// Settling is how long a new key waits before it is minted with: until
	// then every replica has read it from the store.
	Settling = 10 * time.Minute
	// Rotation is how old the newest key gets before another should be made.
	Rotation = 24 * time.Hour
	// Retention is how long a key is kept after a newer one was made. The key
	// mints for another Settling, and for a while more on a replica whose
	// clock is behind or that reads the store late; the last nonce then lives
	// for Lifetime.
	Retention = Lifetime + Settling + Skew + time.Hour
)

// Key is one secret that nonces are authenticated with. It never prints its
// secret.
type Key struct {
	ID      uint32
	Secret  [32]byte
	Created time.Time // when it was written to the store
}

// NewKey draws a key. The ID is random too: a store that finds it taken refuses
// it, and its owner draws again.
func NewKey(created time.Time) Key {
	k := Key{Created: created}
	var id [4]byte
	rand.Read(id[:])
	rand.Read(k.Secret[:])
	k.ID = binary.BigEndian.Uint32(id[:])
	return k
}

// String gives the key without its secret.
func (k Key) String() string {
	return fmt.Sprintf("nonce key %08x of %s", k.ID, k.Created.UTC().Format(time.RFC3339))
}

// GoString is [Key.String], so that %#v does not tell either.
func (k Key) GoString() string { return k.String() }

// LogValue is [Key.String] for a log.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Ring holds the keys in use. Its owner reads them from the store, every minute
// or so and always before Settling has passed, and calls [Ring.Set]. There is
// always at least one key. Safe for concurrent use.
type Ring struct {
	keys atomic.Pointer[[]Key] // oldest first, never empty, never changed in place
}

// NewRing makes a ring of at least one key. At the very first start the owner
// writes a key and then reads back what the store holds: another replica may
// have been quicker.
func NewRing(keys []Key) (*Ring, error) {
	r := &Ring{}
	return r, r.Set(keys)
}

// Set replaces the keys. On an error the ring stays as it was.
func (r *Ring) Set(keys []Key) error {
	if len(keys) == 0 {
		return errors.New("a ring needs at least one key")
	}
	sorted := slices.Clone(keys)
	slices.SortFunc(sorted, func(a, b Key) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	seen := map[uint32]bool{}
	for _, k := range sorted {
		switch {
		case seen[k.ID]:
			return fmt.Errorf("two nonce keys have the id %08x", k.ID)
		case k.Secret == [32]byte{}:
			return fmt.Errorf("%v has no secret", k)
		}
		seen[k.ID] = true
	}
	r.keys.Store(&sorted)
	return nil
}

// current gives the key to mint with: the newest that has settled. While none
// has, at the first start, it is the oldest, as the one most likely known to
// all.
func (r *Ring) current(now time.Time) Key {
	keys := *r.keys.Load()
	for _, k := range slices.Backward(keys) {
		if now.Sub(k.Created) >= Settling {
			return k
		}
	}
	return keys[0]
}

// byID gives the key that a nonce names. However old it is: the nonce has a
// date of its own, and a key that no nonce needs is not in the ring.
func (r *Ring) byID(id uint32) (Key, bool) {
	for _, k := range *r.keys.Load() {
		if k.ID == id {
			return k, true
		}
	}
	return Key{}, false
}

// Due says whether it is time for the owner to write another key.
func (r *Ring) Due(now time.Time) bool {
	keys := *r.keys.Load()
	return now.Sub(keys[len(keys)-1].Created) >= Rotation
}

// Stale gives the ids of the keys that the owner may delete: each has had a
// successor for so long (see [Retention]) that its last nonce has expired. A
// key without successor is never stale, however late the rotation.
func (r *Ring) Stale(now time.Time) []uint32 {
	keys := *r.keys.Load()
	var ids []uint32
	for i := range len(keys) - 1 {
		if now.Sub(keys[i+1].Created) > Retention {
			ids = append(ids, keys[i].ID)
		}
	}
	return ids
}
