package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// maxStatements bounds the prepared statements of one connection; the programs'
// texts are constants, so it is only met by mistake.
const maxStatements = 512

// sqliteConn is one connection with its prepared statements by text. One
// goroutine uses it at a time. It speaks to the driver directly: database/sql's
// pool, locks and conversions would cost as much as a small statement itself.
type sqliteConn struct {
	conn       driver.Conn
	statements map[string]driver.Stmt
	args       []driver.NamedValue // reused between calls
	values     []driver.Value      // reused between rows
}

// closedConn stands in the readers' channel of a closed engine.
var closedConn = &sqliteConn{}

func openSQLiteConn(uri string, pragmas ...string) (*sqliteConn, error) {
	raw, err := (&sqlite.Driver{}).Open(uri)
	if err != nil {
		return nil, sqliteError(err)
	}
	c := &sqliteConn{conn: raw, statements: map[string]driver.Stmt{}}
	for _, p := range pragmas {
		if _, err := c.exec("PRAGMA " + p); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	return c, nil
}

func (c *sqliteConn) close() error {
	c.forget()
	return c.conn.Close()
}

func (c *sqliteConn) forget() {
	for _, s := range c.statements {
		s.Close()
	}
	clear(c.statements)
}

func (c *sqliteConn) prepare(sql string) (driver.Stmt, error) {
	if c.conn == nil {
		return nil, errClosed
	}
	if s, ok := c.statements[sql]; ok {
		return s, nil
	}
	s, err := c.conn.Prepare(sql)
	if err != nil {
		return nil, sqliteError(err)
	}
	if len(c.statements) >= maxStatements {
		c.forget()
	}
	c.statements[sql] = s
	return s, nil
}

func (c *sqliteConn) bind(args []any) []driver.NamedValue {
	c.args = c.args[:0]
	for i, a := range args {
		c.args = append(c.args, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return c.args
}

// exec runs a statement to its end and returns the rows it changed.
func (c *sqliteConn) exec(sql string, args ...any) (int64, error) {
	s, err := c.prepare(sql)
	if err != nil {
		return 0, err
	}
	// No deadline: the driver would start a goroutine for each call, and a
	// statement of a shared transaction must not be broken off.
	result, err := s.(driver.StmtExecContext).ExecContext(context.Background(), c.bind(args))
	if err != nil {
		return 0, sqliteError(err)
	}
	if result == nil { // a script of comments only
		return 0, nil
	}
	return result.RowsAffected()
}

// query calls r.scan per row and returns the number of rows. It must read to the
// end for RETURNING to be complete.
func (c *sqliteConn) query(ctx context.Context, r read) (n int64, err error) {
	s, err := c.prepare(r.sql)
	if err != nil {
		return 0, err
	}
	rows, err := s.(driver.StmtQueryContext).QueryContext(context.Background(), c.bind(r.args))
	if err != nil {
		return 0, sqliteError(err)
	}
	defer func() {
		if e := rows.Close(); e != nil && err == nil {
			err = sqliteError(e)
		}
	}()
	c.values = append(c.values[:0], make([]driver.Value, len(rows.Columns()))...)
	current := make(row, len(c.values))
	for ; ; n++ {
		err := rows.Next(c.values)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, sqliteError(err)
		}
		if err := ctx.Err(); err != nil {
			return n, fmt.Errorf("sqldb: reading: %w", err)
		}
		for i, v := range c.values {
			// The driver gives an empty BLOB as nil bytes; only NULL is nil here.
			if b, ok := v.([]byte); ok && b == nil {
				v = []byte{}
			}
			current[i] = v
		}
		if err := r.scan(current); err != nil {
			return n, err
		}
	}
}

// sqliteError gives a driver's error its kind.
func sqliteError(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() {
	case lib.SQLITE_CONSTRAINT_UNIQUE, lib.SQLITE_CONSTRAINT_PRIMARYKEY, lib.SQLITE_CONSTRAINT_ROWID:
		return &uniqueViolation{cause: err}
	}
	switch e.Code() & 0xff {
	case lib.SQLITE_CONSTRAINT:
		return &failure{kind: ErrConstraint, cause: err}
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
		return &failure{kind: ErrBusy, cause: err}
	case lib.SQLITE_IOERR, lib.SQLITE_FULL, lib.SQLITE_CANTOPEN, lib.SQLITE_READONLY,
		lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB, lib.SQLITE_NOMEM, lib.SQLITE_PROTOCOL:
		return &failure{kind: ErrUnavailable, cause: err}
	}
	return fmt.Errorf("sqldb: %w", err)
}
