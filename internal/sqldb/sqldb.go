// Package sqldb is the room of the two database engines: SQLite for one
// process on one machine, PostgreSQL for several replicas, behind one concrete
// type, [DB]. It gives its callers durable batches (all statements or none),
// reads, leases and migrations, and it promises that what it reports as done
// has reached the disk and what it reports as failed has not.
//
// One SQL text serves both engines: placeholders $1, $2 …; column types BIGINT,
// TEXT and BYTEA only; times are Unix milliseconds, booleans 0 or 1; RETURNING
// and ON CONFLICT are allowed, NOW(), JSON and ORDER BY over text are not (the
// clock is the caller's, and collations differ).
//
// The package must not know any table of the application, nor HTTP, ACME or
// certificates; its own two tables are schema_migrations and leases.
package sqldb

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"time"
)

// Config says which database to open and how. Only URL is required.
type Config struct {
	// URL is "sqlite:PATH" or a PostgreSQL URL "postgres://user:password@host/database".
	URL string
	// MaxConns bounds the connections: PostgreSQL's pool (default 16), or
	// SQLite's readers (default: twice the processors, at least 4) beside its one writer.
	MaxConns int
	// StatementTimeout bounds one statement on PostgreSQL; default 30 s.
	StatementTimeout time.Duration
	// LockTimeout bounds the wait for another writer's row on PostgreSQL, and for
	// a foreign process on the file in SQLite; default 10 s.
	LockTimeout time.Duration
	// Logger hears of weak server settings, retries and lost connections; default: silence.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.StatementTimeout <= 0 {
		c.StatementTimeout = 30 * time.Second
	}
	if c.LockTimeout <= 0 {
		c.LockTimeout = 10 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// engine is what SQLite and PostgreSQL each do in their own way.
type engine interface {
	name() string
	// run makes the work durable, or leaves no trace of it, or returns ErrUncertain.
	run(ctx context.Context, w *work) error
	query(ctx context.Context, r read) error
	// exclusive calls step in one durable transaction that no other replica's
	// exclusive can overlap.
	exclusive(ctx context.Context, step func(transaction) error) error
	close() error
}

// work is one caller's batch on its way through an engine.
type work struct {
	statements []Statement
	affected   []int64 // rows per statement, filled in by the engine
	counted    bool    // the application's own: counted by Stats and by the crash points
}

// read is one query and the receiver of its rows.
type read struct {
	sql  string
	args []any
	scan func(Row) error
}

// transaction is what a migration step may do while it holds the database alone.
type transaction interface {
	exec(sql string, args ...any) (int64, error)
	query(r read) error
}

// DB is an open database. All methods may be called from many goroutines.
type DB struct {
	engine engine
	stats  *counters
	health health
}

// Open opens the database and proves that it answers. It creates a missing
// SQLite file (mode 0600) and its directory (0700), and takes the lock
// PATH.lock: a second process gets a *Locked error. It runs no migration.
func Open(ctx context.Context, c Config) (*DB, error) {
	c = c.withDefaults()
	db := &DB{stats: &counters{}, health: health{logger: c.Logger}}
	scheme, rest, _ := strings.Cut(c.URL, ":")
	var err error
	switch scheme {
	case SQLite:
		if c.MaxConns <= 0 {
			c.MaxConns = max(4, 2*runtime.GOMAXPROCS(0))
		}
		db.engine, err = openSQLite(strings.TrimPrefix(rest, "//"), c, db.stats)
	case Postgres, "postgresql":
		if c.MaxConns <= 0 {
			c.MaxConns = 16
		}
		db.engine, err = openPostgres(ctx, c, db.stats)
	default:
		// The URL itself may hold a password, so it is not repeated here.
		return nil, fmt.Errorf("sqldb: the database URL must begin with sqlite: or postgres:, e.g. sqlite:/var/lib/chancery/chancery.db")
	}
	if err != nil {
		return nil, err
	}
	if err := db.Ping(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// The engines, as [DB.Engine] names them. SQLite has one process at a time, which holds
// the lock of its file.
const (
	SQLite   = "sqlite"
	Postgres = "postgres"
)

// Engine returns [SQLite] or [Postgres].
func (db *DB) Engine() string { return db.engine.name() }

// Close waits for the batches already handed in, then closes the database.
// Later calls return ErrUnavailable.
func (db *DB) Close() error { return db.engine.close() }

// Ping asks the engine for a sign of life; ErrUnavailable says that there is none.
func (db *DB) Ping(ctx context.Context) error {
	var one int64
	return db.One(ctx, "SELECT 1", nil, &one)
}

// Batch makes all statements durable in one transaction, or none of them.
//
// Errors: *Conflict (errors.Is ErrConflict and the statement's Label) when a
// statement met another number of rows than it wants or broke a UNIQUE or
// PRIMARY KEY; ErrConstraint for the other constraints; ErrBusy and
// ErrUnavailable when trying again later may help; ErrUncertain when the
// connection died while committing, and only then. A ctx that ends before the
// batch is taken up gives ctx's error and nothing is written; later the truth is waited for.
func (db *DB) Batch(ctx context.Context, statements ...Statement) error {
	if len(statements) == 0 {
		return nil
	}
	return db.submit(ctx, &work{statements: statements, counted: true})
}

// Exec makes one statement durable and returns how many rows it met (of
// meaning for INSERT, UPDATE and DELETE). Errors are Batch's.
func (db *DB) Exec(ctx context.Context, sql string, args ...any) (int64, error) {
	w := &work{statements: []Statement{{SQL: sql, Args: args, Want: AnyRows}}, counted: true}
	if err := db.submit(ctx, w); err != nil {
		return 0, err
	}
	return w.affected[0], nil
}

func (db *DB) submit(ctx context.Context, w *work) error {
	if err := ctx.Err(); err != nil {
		return unwritten(err)
	}
	statements := make([]Statement, len(w.statements))
	for i, s := range w.statements {
		args, err := arguments(s.Args)
		if err != nil {
			return fmt.Errorf("statement %d: %w", i, err)
		}
		s.Args = args
		statements[i] = s
	}
	w.statements = statements
	w.affected = make([]int64, len(statements))
	err := db.engine.run(ctx, w)
	if w.counted {
		db.stats.outcome(err)
		db.health.note(ctx, err)
	}
	return err
}

// Query reads: it calls scan once per row, and ends at scan's first error,
// which it returns unchanged. On SQLite it never waits for the writer. Scan must
// not call the database again: it holds one of its connections.
func (db *DB) Query(ctx context.Context, sql string, args []any, scan func(Row) error) error {
	args, err := arguments(args)
	if err != nil {
		return err
	}
	db.stats.queries.Add(1)
	return db.engine.query(ctx, read{sql: sql, args: args, scan: scan})
}

// One reads the first row into dest, or returns ErrNoRows.
func (db *DB) One(ctx context.Context, sql string, args []any, dest ...any) error {
	found := false
	err := db.Query(ctx, sql, args, func(r Row) error {
		if found {
			return nil
		}
		found = true
		return r.Scan(dest...)
	})
	if err == nil && !found {
		return ErrNoRows
	}
	return err
}
