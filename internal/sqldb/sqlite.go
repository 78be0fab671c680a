package sqldb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// sqliteEngine is one writer connection, owned by one goroutine, and a few
// read-only ones. WAL lets readers go on while the writer commits.
type sqliteEngine struct {
	lock    *fileLock
	writer  *writer
	readers chan *sqliteConn // idle readers; nil stands for one not opened yet
	size    int
	uri     string
	log     *slog.Logger

	mu     sync.RWMutex // guards closed, and the writer's queue against being closed under a sender
	closed bool
}

func openSQLite(path string, c Config, stats *counters) (engine, error) {
	if path == "" || path == ":memory:" {
		return nil, errors.New("sqldb: sqlite: needs the path of a file, e.g. sqlite:/var/lib/chancery/chancery.db")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("sqldb: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("sqldb: %w", err)
	}
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, err
	}
	e := &sqliteEngine{lock: lock, size: c.MaxConns, log: c.Logger}
	if err := e.open(path, c, stats); err != nil {
		lock.release()
		return nil, err
	}
	return e, nil
}

func (e *sqliteEngine) open(path string, c Config, stats *counters) error {
	// The file is made here so that it is never readable by others, not even for
	// a moment; SQLite gives -wal and -shm the mode of the main file.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("sqldb: %w", err)
	}
	if err := errors.Join(f.Chmod(0o600), f.Close()); err != nil {
		return fmt.Errorf("sqldb: %w", err)
	}
	options := url.Values{
		"_dqs": {"0"}, "_error_rc": {"1"},
		"_pragma": {
			"busy_timeout(" + strconv.FormatInt(c.LockTimeout.Milliseconds(), 10) + ")",
			"foreign_keys(1)", "trusted_schema(0)", "temp_store(memory)",
		},
	}
	e.uri = "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + options.Encode()
	// The WAL is moved into the file every 16 MiB: what is written again and again until
	// then is moved once. 4096 frames are one block of its index, which readers search.
	conn, err := openSQLiteConn(e.uri, "journal_mode = WAL", "synchronous = FULL", "journal_size_limit = 67108864", "wal_autocheckpoint = 4000")
	if err != nil {
		return err
	}
	e.readers = make(chan *sqliteConn, e.size)
	for range e.size {
		e.readers <- nil
	}
	e.writer = newWriter(conn, stats, c.Logger)
	go e.writer.loop()
	return nil
}

func (e *sqliteEngine) name() string { return SQLite }

// enter hands a task to the writer and waits for its answer.
func (e *sqliteEngine) enter(ctx context.Context, t *task) error {
	e.mu.RLock()
	if e.closed {
		e.mu.RUnlock()
		return errClosed
	}
	select {
	case e.writer.queue <- t:
		e.mu.RUnlock()
	case <-ctx.Done():
		e.mu.RUnlock()
		return unwritten(ctx.Err())
	}
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
		if t.abandon() {
			return unwritten(ctx.Err())
		}
		// The writer has it: only the writer knows how it ends.
		<-t.done
		return t.err
	}
}

func (e *sqliteEngine) run(ctx context.Context, w *work) error {
	return e.enter(ctx, newTask(w, nil))
}

func (e *sqliteEngine) exclusive(ctx context.Context, step func(transaction) error) error {
	return e.enter(ctx, newTask(nil, step))
}

func (e *sqliteEngine) query(ctx context.Context, r read) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e.mu.RLock()
	closed := e.closed
	e.mu.RUnlock()
	if closed {
		return errClosed
	}
	var conn *sqliteConn
	select {
	case conn = <-e.readers:
	case <-ctx.Done():
		return fmt.Errorf("sqldb: waiting for a reader: %w", ctx.Err())
	}
	// Closing takes every reader out of the channel, so what was taken is put
	// back whatever happens.
	defer func() { e.readers <- conn }()
	if conn == nil {
		var err error
		if conn, err = openSQLiteConn(e.uri, "query_only = 1"); err != nil {
			return err
		}
	}
	_, err := conn.query(ctx, r)
	return err
}

func (e *sqliteEngine) close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	close(e.writer.queue)
	e.mu.Unlock()
	<-e.writer.finished
	var errs []error
	for range e.size {
		if conn := <-e.readers; conn != nil {
			errs = append(errs, conn.close())
		}
	}
	// A query that passed the check above just before finds no reader left; give
	// it a closed engine rather than a wait for ever.
	for range e.size {
		e.readers <- closedConn
	}
	// The writer's connection goes last: the last one out moves the WAL into the file.
	errs = append(errs, e.writer.conn.close(), e.lock.release())
	return errors.Join(errs...)
}
