package sqldb

import (
	"sync/atomic"
	"time"
)

// Stats are counters since Open; they only grow.
type Stats struct {
	Batches   uint64        // durable logical units: successful Batch and Exec
	Commits   uint64        // physical commits that made them durable (SQLite groups, so fewer)
	Rollbacks uint64        // Batch and Exec calls that failed and left no trace
	Retries   uint64        // repetitions after a serialization failure, deadlock or lost connection
	Queries   uint64        // calls of Query, One and Ping
	Waits     uint64        // units that waited for the writer or a connection
	WaitTime  time.Duration // the sum of these waits
}

type counters struct {
	batches, commits, rollbacks, retries, queries, waits atomic.Uint64
	waited                                               atomic.Int64
}

func (c *counters) outcome(err error) {
	if err != nil {
		c.rollbacks.Add(1)
	} else {
		c.batches.Add(1)
	}
}

func (c *counters) wait(d time.Duration) {
	c.waits.Add(1)
	c.waited.Add(int64(d))
}

// Stats returns the counters as they are now.
func (db *DB) Stats() Stats {
	c := db.stats
	return Stats{
		Batches: c.batches.Load(), Commits: c.commits.Load(), Rollbacks: c.rollbacks.Load(),
		Retries: c.retries.Load(), Queries: c.queries.Load(),
		Waits: c.waits.Load(), WaitTime: time.Duration(c.waited.Load()),
	}
}
