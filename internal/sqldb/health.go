package sqldb

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"
)

// health remembers whether the last write failed for the engine's own reasons:
// a full disk, a damaged file, a server that is gone.
type health struct {
	failing atomic.Bool
	logger  *slog.Logger
}

// note takes in how a write ended, and says once what changed.
func (h *health) note(ctx context.Context, err error) {
	switch {
	case err == nil:
		if h.failing.Swap(false) {
			h.logger.InfoContext(ctx, "the database can be written again")
		}
	case ours(err):
		if !h.failing.Swap(true) {
			h.logger.ErrorContext(ctx, "the database cannot be written: nothing is issued until it can; look at its disk and its server", "error", err)
		}
	}
}

// ours tells whether a failure is the engine's and not the caller's.
func ours(err error) bool {
	for _, callers := range []error{ErrConflict, ErrConstraint, ErrValue, ErrNoRows, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, callers) {
			return false
		}
	}
	return true
}

// Writable tells whether writes succeed: at once while they do; after one that
// failed, by trying.
func (db *DB) Writable(ctx context.Context) error {
	if !db.health.failing.Load() {
		return nil
	}
	_, err := db.Lease(ctx, Lease{Name: "sign of life", Holder: "health", For: time.Second, Now: time.Now()})
	db.health.note(ctx, err)
	return err
}
