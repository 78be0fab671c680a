package sqldb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// postgresEngine is a pool of connections. The server does the grouping of
// commits by itself, and decides by its synchronous_commit what durable means.
type postgresEngine struct {
	pool    *pgxpool.Pool
	stats   *counters
	crash   *crash
	log     *slog.Logger
	limit   time.Duration // for an answer that must be waited for
	warned  atomic.Bool   // about synchronous_commit, once
	stopped atomic.Bool
}

func openPostgres(ctx context.Context, c Config, stats *counters) (engine, error) {
	config, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		// pgx hides the password in this error, but not in all that it quotes.
		return nil, errors.New("sqldb: the PostgreSQL URL cannot be read: write postgres://user:password@host:5432/database, with special characters of the password as %XX")
	}
	e := &postgresEngine{
		stats: stats, crash: newCrash(), log: c.Logger,
		limit: c.StatementTimeout + 10*time.Second,
	}
	config.MaxConns = int32(c.MaxConns)
	config.MinIdleConns = int32(min(2, c.MaxConns))
	config.MaxConnIdleTime = 30 * time.Minute
	if config.ConnConfig.ConnectTimeout <= 0 || config.ConnConfig.ConnectTimeout > 10*time.Second {
		config.ConnConfig.ConnectTimeout = 10 * time.Second
	}
	config.ConnConfig.OnNotice = noteWarning
	parameters := config.ConnConfig.RuntimeParams
	parameters["application_name"] = "chancery"
	parameters["statement_timeout"] = milliseconds(c.StatementTimeout)
	parameters["lock_timeout"] = milliseconds(c.LockTimeout)
	parameters["default_transaction_isolation"] = "read committed"
	if config.ConnConfig.ValidateConnect == nil {
		// After a fail-over the address may lead to a standby, where nothing can be written.
		config.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	config.AfterConnect = e.inspect
	e.pool, err = pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, postgresError(err)
	}
	return e, nil
}

func milliseconds(d time.Duration) string {
	return strconv.FormatInt(d.Milliseconds(), 10)
}

// inspect warns once if the server answers before it has written to disk.
func (e *postgresEngine) inspect(ctx context.Context, conn *pgx.Conn) error {
	if e.warned.Load() {
		return nil
	}
	var commit, fsync string
	if err := conn.QueryRow(ctx, "SELECT current_setting('synchronous_commit'), current_setting('fsync')").Scan(&commit, &fsync); err != nil {
		return err
	}
	if (commit == "off" || fsync == "off") && e.warned.CompareAndSwap(false, true) {
		e.log.Warn("PostgreSQL may lose committed certificates in a crash: set synchronous_commit and fsync to on",
			"synchronous_commit", commit, "fsync", fsync)
	}
	return nil
}

func (e *postgresEngine) name() string { return Postgres }

func (e *postgresEngine) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	if e.stopped.Load() {
		return nil, errClosed
	}
	conn, err := e.pool.Acquire(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, unwritten(ctx.Err())
		}
		if e.stopped.Load() {
			return nil, errClosed
		}
		return nil, postgresError(err)
	}
	return conn, nil
}

func (e *postgresEngine) query(ctx context.Context, r read) error {
	for attempt := 1; ; attempt++ {
		seen := false
		err := e.queryOnce(ctx, read{sql: r.sql, args: r.args, scan: func(row Row) error {
			seen = true
			return r.scan(row)
		}})
		if err == nil || seen || !retryable(err) || !e.pause(ctx, attempt) {
			return err
		}
	}
}

func (e *postgresEngine) queryOnce(ctx context.Context, r read) error {
	conn, err := e.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	rows, err := conn.Query(ctx, r.sql, r.args...)
	if err != nil {
		return inContext(ctx, postgresError(err))
	}
	_, err = eachRow(rows, r.scan)
	return inContext(ctx, err)
}

// inContext lets a caller who gave up see the context's error.
func inContext(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		return fmt.Errorf("sqldb: given up: %w (%w)", ctx.Err(), err)
	}
	return err
}

// exclusive holds an advisory lock for the length of the transaction, so that
// it also works through a pooler and ends with the connection.
func (e *postgresEngine) exclusive(ctx context.Context, step func(transaction) error) error {
	conn, err := e.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	tx, err := conn.Begin(ctx)
	if err != nil {
		return inContext(ctx, postgresError(err))
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // does nothing after Commit
	// Another replica's migration, or a large table, may take its time.
	for _, sql := range []string{
		"SET LOCAL statement_timeout = 0", "SET LOCAL lock_timeout = 0", "SET LOCAL client_min_messages = warning",
		"SELECT pg_advisory_xact_lock(7161954820176311811)",
	} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return inContext(ctx, postgresError(err))
		}
	}
	if err := step(postgresTransaction{ctx, tx}); err != nil {
		return inContext(ctx, err)
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.limit)
	defer cancel()
	return committed(tx.Commit(bounded), conn.Conn().IsClosed())
}

func (e *postgresEngine) close() error {
	if e.stopped.CompareAndSwap(false, true) {
		e.pool.Close()
	}
	return nil
}

type postgresTransaction struct {
	ctx context.Context // of the exclusive call this lives in
	tx  pgx.Tx
}

func (t postgresTransaction) exec(sql string, args ...any) (int64, error) {
	tag, err := t.tx.Exec(t.ctx, sql, args...)
	if err != nil {
		return 0, postgresError(err)
	}
	return tag.RowsAffected(), nil
}

func (t postgresTransaction) query(r read) error {
	rows, err := t.tx.Query(t.ctx, r.sql, r.args...)
	if err != nil {
		return postgresError(err)
	}
	_, err = eachRow(rows, r.scan)
	return err
}
