package daemon

import (
	"context"
	"log/slog"
	"time"

	"chancery/internal/ca"
	"chancery/internal/nonce"
	"chancery/internal/sqlstore"
)

const (
	// overlap is how far each reading goes back behind the one before: rows
	// become visible when they are committed, not when they were dated, and the
	// clocks of replicas differ a little.
	overlap = 30 * time.Second
	// wideEvery is how often a reading goes back by all that clocks may differ.
	wideEvery = time.Minute
	// wide is how far it goes back then.
	wide = nonce.Skew + overlap
	// remembered is the age up to which a row is remembered as merged: what a
	// reading that goes far back, and is late, can meet again.
	remembered = wide + 2*wideEvery
	// keepFor is how long a row may matter: a nonce may have been minted by a
	// clock that is ahead of the one that dated the row, and be judged by one
	// that is behind.
	keepFor = nonce.Lifetime + 2*nonce.Skew
	// sweepAtOnce bounds one deletion of old rows.
	sweepAtOnce = 1000
	// parting is how long the last bits may take on the way out.
	parting = 5 * time.Second
)

// spentBits carries the spent bits between the memory and the database: to the
// other replicas while it runs, to the next start when it ends. One goroutine at
// a time uses it: the start, then a duty, then the close; sweep alone is free.
type spentBits struct {
	seen    *nonce.Seen
	store   *sqlstore.Store
	log     *slog.Logger
	process string // names this run of the process

	// outbox is what was drained and is not surely stored. While it is there
	// nothing more is drained, so what waits is bounded by the memory's own bound.
	outbox *sqlstore.SeenNonces
	merged map[string]time.Time // the rows that the next readings will meet again
	read   time.Time            // when the last good reading began
	widest time.Time            // when the last one that went far back began
}

func newSpentBits(seen *nonce.Seen, store *sqlstore.Store, log *slog.Logger) *spentBits {
	return &spentBits{seen: seen, store: store, log: log, process: ca.NewID(), merged: map[string]time.Time{}}
}

// load merges everything that is stored, after deleting what no longer matters.
func (b *spentBits) load(ctx context.Context) error {
	if err := b.sweep(ctx); err != nil {
		return err
	}
	now := time.Now()
	if err := b.merge(ctx, now.Add(-keepFor)); err != nil {
		return err
	}
	b.noteRead(now, true)
	return nil
}

// share tells the other replicas what was spent here since the last time, and
// hears what they tell. One that cannot be told is no reason not to listen.
func (b *spentBits) share(ctx context.Context) error {
	_, told := b.send(ctx)
	if err := b.listen(ctx); err != nil {
		return err
	}
	return told
}

// send stores one message, and tells whether there was anything to say. If it
// fails the same message is tried again the next time.
func (b *spentBits) send(ctx context.Context) (bool, error) {
	if b.outbox == nil {
		bits := b.seen.Drain()
		if len(bits) == 0 {
			return false, nil
		}
		b.outbox = &sqlstore.SeenNonces{ID: ca.NewID(), Process: b.process, Bits: nonce.EncodeBits(bits)}
	}
	b.outbox.At = time.Now() // of this attempt: others look for what is new
	if err := b.store.AddSeenNonces(ctx, *b.outbox); err != nil {
		return true, err
	}
	b.outbox = nil
	return true, nil
}

// listen merges what others sent since the last good reading.
func (b *spentBits) listen(ctx context.Context) error {
	now := time.Now()
	last, back := b.read, overlap
	far := now.Sub(b.widest) >= wideEvery
	if far {
		last, back = b.widest, wide
	}
	// A clock that was set back must not make us wait until it has caught up.
	if last.After(now) {
		last = now
	}
	since := last.Add(-back)
	if err := b.merge(ctx, since); err != nil {
		return err
	}
	b.noteRead(now, far)
	return nil
}

func (b *spentBits) noteRead(now time.Time, far bool) {
	b.read = now
	if !far {
		return
	}
	b.widest = now
	for id, at := range b.merged {
		if now.Sub(at) > remembered {
			delete(b.merged, id)
		}
	}
}

// merge takes in the others' rows since a time. One that cannot be read is left
// out: it can only have been written by a stranger, and must not stop us.
func (b *spentBits) merge(ctx context.Context, since time.Time) error {
	return b.store.SeenNonces(ctx, since, b.process, func(m sqlstore.SeenNonces) error {
		if _, known := b.merged[m.ID]; known {
			return nil
		}
		// What is not remembered may be merged again, which changes nothing.
		if time.Since(m.At) <= remembered {
			b.merged[m.ID] = m.At
		}
		bits, err := nonce.DecodeBits(m.Bits)
		if err != nil {
			b.log.WarnContext(ctx, "a row of seen_nonces is not ours and was left out", "id", m.ID, "process", m.Process)
			return nil
		}
		b.seen.Merge(bits)
		return nil
	})
}

// sweep deletes rows whose nonces have all expired.
func (b *spentBits) sweep(ctx context.Context) error {
	for {
		n, err := b.store.SweepSeenNonces(ctx, time.Now().Add(-keepFor), sweepAtOnce)
		if err != nil || n < sweepAtOnce {
			return err
		}
	}
}

// keepSpent stores the bits that nobody was told yet, so that a restart forgets
// nothing. On SQLite these are all of this run.
func (d *Daemon) keepSpent() {
	if d.spent == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), parting)
	defer cancel()
	for more := true; more; {
		var err error
		if more, err = d.spent.send(ctx); err != nil {
			d.Logger.Error("what was spent of nonces could not be stored; requests that only read could be repeated after the restart", "error", err)
			return
		}
	}
}
