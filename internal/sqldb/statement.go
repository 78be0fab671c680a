package sqldb

import (
	"database/sql/driver"
	"fmt"
	"math"
	"reflect"
	"strings"
	"unicode/utf8"
)

// AnyRows as Statement.Want accepts any number of affected rows.
const AnyRows = -1

// Statement is one SQL statement of a Batch.
type Statement struct {
	// SQL is the text with $1, $2 … for Args.
	SQL string
	// Args are integers, strings, []byte, bool (stored as 0 or 1), types made of
	// these, pointers to them (nil is NULL), or nil. Times are passed as Unix ms.
	Args []any
	// Want is the number of rows that must be affected (with RETURNING:
	// returned), or AnyRows. Anything else is a conflict and undoes the batch.
	Want int64
	// Label says what a conflict of this statement means; errors.Is finds it.
	Label error
	// Hold, with a SELECT of rows of one table, keeps them as they are until the batch is
	// done: who wants to change one waits, or was first and is seen.
	Hold bool
	// Scan, if set, receives each row of RETURNING. It runs before the commit, on
	// the engine's own goroutine: it must only copy values, never call the
	// database, and nothing it copied counts unless Batch returns nil. It may be
	// called again from the first row if the engine has to repeat the batch. Its
	// error undoes the batch and is returned.
	Scan func(Row) error
}

// Row is one row of a result.
type Row interface {
	// Scan copies the columns in order: BIGINT to integers and bool, TEXT to
	// strings, BYTEA to []byte or [n]byte; NULL only to *T of these, []byte or any.
	Scan(dest ...any) error
}

// ErrValue marks an argument or a scan target that does not fit: a mistake of
// the caller, or text no TEXT column can hold (U+0000, broken UTF-8).
var ErrValue = fmt.Errorf("sqldb: value does not fit its column")

// arguments reduces what callers pass to int64, string, []byte and nil, so that
// both engines see the same.
func arguments(in []any) ([]any, error) {
	if len(in) == 0 {
		return nil, nil
	}
	out := make([]any, len(in))
	for i, v := range in {
		a, err := argument(v)
		if err != nil {
			return nil, fmt.Errorf("argument $%d: %w", i+1, err)
		}
		out[i] = a
	}
	return out, nil
}

func argument(v any) (any, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case int64:
		return v, nil
	case int:
		return int64(v), nil
	case string:
		return text(v)
	case []byte:
		if v == nil {
			return nil, nil
		}
		return v, nil
	case bool:
		if v {
			return int64(1), nil
		}
		return int64(0), nil
	case driver.Valuer:
		inner, err := v.Value()
		if err != nil {
			return nil, err
		}
		if _, again := inner.(driver.Valuer); again {
			return nil, fmt.Errorf("%w: %T", ErrValue, v)
		}
		return argument(inner)
	}
	return argumentByKind(reflect.ValueOf(v))
}

func argumentByKind(r reflect.Value) (any, error) {
	switch {
	case r.Kind() == reflect.Pointer:
		if r.IsNil() {
			return nil, nil
		}
		return argument(r.Elem().Interface())
	case r.CanInt():
		return r.Int(), nil
	case r.CanUint():
		if r.Uint() > math.MaxInt64 {
			return nil, fmt.Errorf("%w: %d exceeds BIGINT", ErrValue, r.Uint())
		}
		return int64(r.Uint()), nil
	case r.Kind() == reflect.String:
		return text(r.String())
	case r.Kind() == reflect.Bool:
		return argument(r.Bool())
	case r.Kind() == reflect.Slice && r.Type().Elem().Kind() == reflect.Uint8:
		return argument(r.Bytes())
	case r.Kind() == reflect.Array && r.Type().Elem().Kind() == reflect.Uint8:
		b := make([]byte, r.Len())
		reflect.Copy(reflect.ValueOf(b), r)
		return b, nil
	}
	return nil, fmt.Errorf("%w: %s is neither integer, text nor bytes", ErrValue, r.Type())
}

// text refuses what PostgreSQL's TEXT cannot hold, on both engines alike, so
// that hostile input meets the same answer everywhere.
func text(s string) (any, error) {
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		return nil, fmt.Errorf("%w: text must be UTF-8 without U+0000", ErrValue)
	}
	return s, nil
}
