package sqldb

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// maxAttempts bounds the repetitions of what failed without a trace.
const maxAttempts = 5

func (e *postgresEngine) run(ctx context.Context, w *work) error {
	for attempt := 1; ; attempt++ {
		err := e.attempt(ctx, w)
		if err == nil || !retryable(err) || !e.pause(ctx, attempt) {
			return err
		}
	}
}

// pause waits a little before attempt+1 and reports whether there is to be one.
func (e *postgresEngine) pause(ctx context.Context, attempt int) bool {
	if attempt >= maxAttempts {
		return false
	}
	e.stats.retries.Add(1)
	// Random, so that two that collided do not collide again.
	timer := time.NewTimer(time.Duration(rand.Int64N(int64(attempt) * int64(10*time.Millisecond))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (e *postgresEngine) attempt(ctx context.Context, w *work) error {
	start := time.Now()
	conn, err := e.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	e.stats.wait(time.Since(start))
	units := 0
	if w.counted {
		units = 1
	}
	if autocommit(w.statements) {
		err = e.single(ctx, conn, w, units)
	} else {
		err = e.several(ctx, conn, w, units)
	}
	if err == nil {
		e.crash.after(units)
		e.stats.commits.Add(uint64(units))
	}
	return err
}

// autocommit reports whether one round trip will do: a single statement which,
// if its Want is not met, has changed nothing that must be undone.
func autocommit(statements []Statement) bool {
	if len(statements) != 1 || statements[0].Scan != nil {
		return false
	}
	s := statements[0]
	if s.Want == AnyRows {
		return true
	}
	sql := strings.ToUpper(strings.TrimSpace(s.SQL))
	// Two rows come from a SELECT or a second list of values; either has a comma
	// or keyword after a bracket. What is not plainly one row takes the long way.
	return s.Want == 1 && strings.HasPrefix(sql, "INSERT ") && strings.Count(sql, "SELECT") == 0 &&
		strings.Count(strings.Join(strings.Fields(sql), ""), "),(") == 0
}

// single runs the statement outside a transaction block. From sending it on only
// the server knows whether it is done, so the caller's ctx no longer counts.
func (e *postgresEngine) single(ctx context.Context, conn *pgxpool.Conn, w *work, units int) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.limit)
	defer cancel()
	s := w.statements[0]
	e.crash.before(units)
	clearWarning(conn)
	tag, err := conn.Exec(ctx, s.SQL, s.Args...)
	if err := committed(err, conn.Conn().IsClosed()); err != nil {
		return s.at(0, err)
	}
	if warned(conn) {
		return errNotReplicated
	}
	w.affected[0] = tag.RowsAffected()
	return s.check(0, w.affected[0])
}

// several sends BEGIN and all statements in one round trip, looks at every
// result, and commits in a second one.
func (e *postgresEngine) several(ctx context.Context, conn *pgxpool.Conn, w *work, units int) error {
	if err := perform(ctx, conn, w); err != nil {
		rollback(ctx, conn)
		return inContext(ctx, err)
	}
	// Once COMMIT is sent only the truth will do.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.limit)
	defer cancel()
	e.crash.before(units)
	clearWarning(conn)
	tag, err := conn.Exec(ctx, "COMMIT")
	if err := committed(err, conn.Conn().IsClosed()); err != nil {
		return err
	}
	if tag.String() != "COMMIT" { // the server answers ROLLBACK if the transaction had failed
		return &failure{kind: ErrUnavailable, cause: errors.New("the server rolled back instead of committing")}
	}
	if warned(conn) {
		return errNotReplicated
	}
	return nil
}

func perform(ctx context.Context, conn *pgxpool.Conn, w *work) (err error) {
	batch := &pgx.Batch{}
	batch.Queue("BEGIN")
	for _, s := range w.statements {
		batch.Queue(s.text(), s.Args...)
	}
	results := conn.SendBatch(ctx, batch)
	defer func() {
		if e := results.Close(); e != nil && err == nil {
			err = postgresError(e)
		}
	}()
	if _, err := results.Exec(); err != nil {
		return postgresError(err)
	}
	for i, s := range w.statements {
		n, err := statementResult(results, s)
		if err != nil {
			return s.at(i, err)
		}
		if err := s.check(i, n); err != nil {
			return err
		}
		w.affected[i] = n
	}
	return nil
}

// text is the statement as PostgreSQL gets it. SQLite has one writer: what a batch reads
// there stays as it is in any case.
func (s Statement) text() string {
	if s.Hold {
		return s.SQL + " FOR SHARE"
	}
	return s.SQL
}

func statementResult(results pgx.BatchResults, s Statement) (int64, error) {
	if s.Scan == nil {
		tag, err := results.Exec()
		if err != nil {
			return 0, postgresError(err)
		}
		return tag.RowsAffected(), nil
	}
	rows, err := results.Query()
	if err != nil {
		return 0, postgresError(err)
	}
	return eachRow(rows, func(r Row) error { return scanSafely(s.Scan, r) })
}

// rollback leaves the connection clean; if that fails the pool drops it, and the
// server rolls back by itself.
func rollback(ctx context.Context, conn *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if conn.Conn().IsClosed() || conn.Conn().PgConn().TxStatus() == 'I' {
		return
	}
	if _, err := conn.Exec(ctx, "ROLLBACK"); err != nil {
		_ = conn.Conn().Close(ctx)
	}
}

// eachRow decodes every row, hands it to scan, and returns their number.
func eachRow(rows pgx.Rows, scan func(Row) error) (int64, error) {
	defer rows.Close()
	var n int64
	for ; rows.Next(); n++ {
		values, err := rows.Values()
		if err != nil {
			return n, postgresError(err)
		}
		for i, v := range values {
			values[i] = plain(v)
		}
		if err := scan(row(values)); err != nil {
			return n, err
		}
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return n, postgresError(err)
	}
	return n, nil
}

// plain reduces PostgreSQL's types to those that SQLite has too.
func plain(v any) any {
	switch v := v.(type) {
	case int32:
		return int64(v)
	case int16:
		return int64(v)
	case bool: // SELECT EXISTS …
		if v {
			return int64(1)
		}
		return int64(0)
	case pgtype.Numeric: // sum() over BIGINT
		if n, err := v.Int64Value(); err == nil && n.Valid {
			return n.Int64
		}
	}
	return v
}

const warningKey = "chancery.warning"

// noteWarning remembers a WARNING of the connection. A commit that comes with
// one of code 01000 is durable here but not known to be on the standby: the
// server says so when its wait for the standby was cut short.
func noteWarning(c *pgconn.PgConn, n *pgconn.Notice) {
	if n.SeverityUnlocalized == "WARNING" && n.Code == "01000" {
		c.CustomData()[warningKey] = true
	}
}

func clearWarning(c *pgxpool.Conn) { delete(c.Conn().PgConn().CustomData(), warningKey) }

func warned(c *pgxpool.Conn) bool {
	_, ok := c.Conn().PgConn().CustomData()[warningKey]
	return ok
}
