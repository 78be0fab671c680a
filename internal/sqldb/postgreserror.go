package sqldb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
)

var errNotReplicated = &failure{kind: ErrUncertain, cause: errors.New("committed here, but the standby did not confirm it in time")}

// again marks failures that left no trace and may well succeed when repeated.
type again struct{ error }

func (a again) Unwrap() error { return a.error }

func retryable(err error) bool {
	var a again
	return errors.As(err, &a)
}

// postgresError gives an error from before the commit its kind: what the server
// did not commit is not there, so none of these is uncertain.
func postgresError(err error) error {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("sqldb: %w", err)
		}
		if errors.Is(err, errClosed) {
			return err
		}
		var connect *pgconn.ConnectError
		if errors.As(err, &connect) { // pgx has tried every address
			return &failure{kind: ErrUnavailable, cause: err}
		}
		return byConnection(err)
	}
	switch e.Code {
	case "23505": // unique_violation
		return &uniqueViolation{cause: err}
	case "40001", "40P01": // serialization_failure, deadlock_detected
		return again{&failure{kind: ErrBusy, cause: err}}
	case "0A000", "26000": // a cached plan went stale with a migration or behind a pooler
		return again{fmt.Errorf("sqldb: %w", err)}
	case "55P03", "57014": // lock_not_available, query_canceled (statement_timeout)
		return &failure{kind: ErrBusy, cause: err}
	case "25006": // read_only_sql_transaction: this is a standby now
		return &failure{kind: ErrUnavailable, cause: err}
	}
	switch e.Code[:min(2, len(e.Code))] {
	case "23":
		return &failure{kind: ErrConstraint, cause: err}
	case "22": // data_exception
		return fmt.Errorf("%w: %w", ErrValue, err)
	case "57": // operator_intervention: shutting down, starting up
		return again{&failure{kind: ErrUnavailable, cause: err}}
	case "08", "53", "58", "XX": // connection, resources, system, internal
		return &failure{kind: ErrUnavailable, cause: err}
	}
	return fmt.Errorf("sqldb: %w", err)
}

// byConnection separates a connection that died from a mistake of the caller
// (an argument that cannot be encoded), which is the same the next time.
func byConnection(err error) error {
	if pgconn.SafeToRetry(err) || isNetwork(err) {
		return again{&failure{kind: ErrUnavailable, cause: err}}
	}
	return fmt.Errorf("sqldb: %w", err)
}

// committed gives the error of a COMMIT or an autocommitted statement its kind.
// The server's own refusal is the truth, unless it ends the connection with it:
// then the commit may have been made just before. Silence, the connection being
// dead, is uncertain. pgconn.SafeToRetry is no witness here: in pgx 5.12 it also
// holds for "conn closed" after the message was sent and the answer cut off.
func committed(err error, dead bool) error {
	if err == nil {
		return nil
	}
	var e *pgconn.PgError
	if errors.As(err, &e) && e.SeverityUnlocalized != "FATAL" && e.SeverityUnlocalized != "PANIC" {
		return postgresError(err)
	}
	if e == nil && !dead {
		return fmt.Errorf("sqldb: %w", err) // e.g. the arguments could not even be encoded
	}
	return &failure{kind: ErrUncertain, cause: err}
}

func isNetwork(err error) bool {
	var n net.Error
	return errors.As(err, &n) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, pgconn.ErrConnClosed)
}
