package sqldb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// maxGroup bounds the batches of one commit, so that the first of them does not
// wait for all the others of a long queue.
const maxGroup = 256

// task is one caller's place in the writer's queue. The caller owns it until the
// writer claims it; the writer owns it from then until it closes done.
type task struct {
	work  *work
	alone func(transaction) error // a migration step instead of work

	state  atomic.Int32 // waiting, claimed or abandoned
	queued time.Time
	err    error
	done   chan struct{}
}

const (
	waiting = iota
	claimed
	abandoned
)

func newTask(w *work, alone func(transaction) error) *task {
	return &task{work: w, alone: alone, queued: time.Now(), done: make(chan struct{})}
}

func (t *task) claim() bool   { return t.state.CompareAndSwap(waiting, claimed) }
func (t *task) abandon() bool { return t.state.CompareAndSwap(waiting, abandoned) }

// writer owns SQLite's one writing connection. While it waits for the disk,
// callers queue up; all that wait then share the next transaction and its one
// fsync, each behind a savepoint of its own.
type writer struct {
	queue    chan *task
	finished chan struct{}
	stats    *counters
	crash    *crash
	log      *slog.Logger

	// Owned by loop's goroutine.
	conn   *sqliteConn
	broken error // set once a commit failed in the dark: nothing may be written after it
}

func newWriter(conn *sqliteConn, stats *counters, log *slog.Logger) *writer {
	return &writer{
		queue: make(chan *task, 1024), finished: make(chan struct{}),
		stats: stats, crash: newCrash(), log: log, conn: conn,
	}
}

// loop runs until the queue is closed and empty.
func (w *writer) loop() {
	defer close(w.finished)
	group := make([]*task, 0, maxGroup)
	for t := range w.queue {
		// Those just answered may have their next batch ready in a moment, and
		// share this commit. Whoever has work to do goes first, a few times; where
		// nobody has, this takes no time.
		for range 4 {
			runtime.Gosched()
		}
		group = group[:0]
		for t != nil {
			if t.claim() {
				w.stats.wait(time.Since(t.queued))
				group = append(group, t)
			}
			t = nil
			if len(group) < maxGroup {
				select {
				case t = <-w.queue: // nil if closed
				default:
				}
			}
		}
		w.serve(group)
		clear(group)
	}
}

// serve commits the group and answers it. Steps of migrations run alone.
func (w *writer) serve(group []*task) {
	shared := group[:0]
	for _, t := range group {
		if t.alone == nil {
			shared = append(shared, t)
			continue
		}
		w.commit(shared)
		shared = shared[len(shared):]
		w.commit([]*task{t})
	}
	w.commit(shared)
}

// commit runs tasks in one transaction and answers all of them afterwards: even
// a conflict is only true once what it conflicts with is durable.
func (w *writer) commit(tasks []*task) {
	if len(tasks) == 0 {
		return
	}
	if err := w.transact(tasks); err != nil {
		for _, t := range tasks {
			t.err = err
		}
	}
	for _, t := range tasks {
		close(t.done)
	}
}

// transact fills in each task's err; its own error is that of the whole transaction.
func (w *writer) transact(tasks []*task) error {
	if w.broken != nil {
		return w.broken
	}
	if _, err := w.conn.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	good, counted := 0, 0
	for _, t := range tasks {
		if err := w.isolated(t, len(tasks) > 1); err != nil {
			w.rollback()
			return err
		}
		if t.err == nil {
			good++
			if t.work != nil && t.work.counted {
				counted++
			}
		}
	}
	if good == 0 {
		w.rollback()
		return nil
	}
	w.crash.before(counted)
	if _, err := w.conn.exec("COMMIT"); err != nil {
		w.rollback()
		return w.failedCommit(err)
	}
	w.crash.after(counted)
	if counted > 0 {
		w.stats.commits.Add(1)
	}
	return nil
}

// isolated runs one task; if it fails, only its own changes are undone. An error
// means that the whole transaction is lost.
func (w *writer) isolated(t *task, shared bool) error {
	if !shared {
		t.err = w.perform(t)
		return nil // on t.err the transaction is rolled back as a whole
	}
	if _, err := w.conn.exec("SAVEPOINT waiter"); err != nil {
		return lost(err)
	}
	if t.err = w.perform(t); t.err != nil {
		if _, err := w.conn.exec("ROLLBACK TO waiter"); err != nil {
			// Disk full and the like undo the transaction on their own.
			return lost(t.err)
		}
	}
	if _, err := w.conn.exec("RELEASE waiter"); err != nil {
		return lost(err)
	}
	return nil
}

func lost(err error) error {
	return &failure{kind: ErrUnavailable, cause: fmt.Errorf("the transaction was rolled back: %w", err)}
}

func (w *writer) perform(t *task) error {
	if t.alone != nil {
		return t.alone(writerTransaction{w.conn})
	}
	for i, s := range t.work.statements {
		n, err := w.statement(s)
		if err != nil {
			return s.at(i, err)
		}
		if err := s.check(i, n); err != nil {
			return err
		}
		t.work.affected[i] = n
	}
	return nil
}

func (w *writer) statement(s Statement) (int64, error) {
	if s.Scan == nil {
		return w.conn.exec(s.SQL, s.Args...)
	}
	return w.conn.query(context.Background(), read{
		sql: s.SQL, args: s.Args,
		scan: func(r Row) error { return scanSafely(s.Scan, r) },
	})
}

// rollback ends a transaction that is not wanted; its error says only that the
// engine has ended it already.
func (w *writer) rollback() { _, _ = w.conn.exec("ROLLBACK") }

// failedCommit decides what a failed COMMIT means. After an I/O error the commit
// record may or may not be on the disk, and a later fsync can succeed without it
// (the kernel drops dirty pages that failed), so nothing more is written.
func (w *writer) failedCommit(err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) && e.Code()&0xff == lib.SQLITE_IOERR {
		w.broken = &failure{kind: ErrUnavailable, cause: fmt.Errorf("an earlier commit failed (%w): check the disk, then restart", err)}
		w.log.Error("the disk failed during a commit; nothing more is written until a restart", "error", err)
		return &failure{kind: ErrUncertain, cause: err}
	}
	var u *uniqueViolation
	if errors.As(err, &u) {
		return &failure{kind: ErrConstraint, cause: err}
	}
	return err
}

// writerTransaction lends the writer's connection to a migration step.
type writerTransaction struct{ conn *sqliteConn }

func (t writerTransaction) exec(sql string, args ...any) (int64, error) {
	return t.conn.exec(sql, args...)
}

func (t writerTransaction) query(r read) error {
	_, err := t.conn.query(context.Background(), r)
	return err
}
