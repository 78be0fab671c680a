package sqldb

import (
	"database/sql"
	"fmt"
	"reflect"
)

// row is one decoded row: int64, string, []byte, nil, or what only one engine
// knows (floats), which no target accepts.
type row []any

// Scan implements Row.
func (r row) Scan(dest ...any) error {
	if len(dest) != len(r) {
		return fmt.Errorf("%w: %d columns for %d targets", ErrValue, len(r), len(dest))
	}
	for i, d := range dest {
		if err := assign(d, r[i]); err != nil {
			return fmt.Errorf("column %d: %w", i+1, err)
		}
	}
	return nil
}

func assign(dest, v any) error {
	switch d := dest.(type) {
	case *int64:
		if n, ok := v.(int64); ok {
			*d = n
			return nil
		}
	case *string:
		if s, ok := v.(string); ok {
			*d = s
			return nil
		}
	case *[]byte:
		if b, ok := v.([]byte); ok || v == nil {
			*d = b
			return nil
		}
	case *bool:
		if n, ok := v.(int64); ok && (n == 0 || n == 1) {
			*d = n == 1
			return nil
		}
	case *any:
		*d = v
		return nil
	case sql.Scanner:
		return d.Scan(v)
	default:
		r := reflect.ValueOf(dest)
		if r.Kind() == reflect.Pointer && !r.IsNil() && assignByKind(r.Elem(), v) {
			return nil
		}
	}
	return fmt.Errorf("%w: %s into %T", ErrValue, describe(v), dest)
}

func assignByKind(target reflect.Value, v any) bool {
	kind := target.Kind()
	switch v := v.(type) {
	case nil:
		if kind == reflect.Pointer || kind == reflect.Slice {
			target.SetZero()
			return true
		}
		return false
	case int64:
		switch {
		case target.CanInt() && !target.OverflowInt(v):
			target.SetInt(v)
			return true
		case target.CanUint() && v >= 0 && !target.OverflowUint(uint64(v)):
			target.SetUint(uint64(v))
			return true
		case kind == reflect.Bool && (v == 0 || v == 1):
			target.SetBool(v == 1)
			return true
		}
	case string:
		if kind == reflect.String {
			target.SetString(v)
			return true
		}
	case []byte:
		switch {
		case kind == reflect.Slice && target.Type().Elem().Kind() == reflect.Uint8:
			target.SetBytes(v)
			return true
		case kind == reflect.Array && target.Type().Elem().Kind() == reflect.Uint8 && target.Len() == len(v):
			reflect.Copy(target, reflect.ValueOf(v))
			return true
		}
	}
	if kind != reflect.Pointer {
		return false
	}
	fresh := reflect.New(target.Type().Elem())
	if assign(fresh.Interface(), v) != nil {
		return false
	}
	target.Set(fresh)
	return true
}

// describe names a value's type without showing it: rows may hold secrets.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case []byte:
		return fmt.Sprintf("%d bytes", len(v))
	default:
		return fmt.Sprintf("%T", v)
	}
}

// scanSafely calls a caller's Scan and turns its panic into an error, so that a
// mistake in one room cannot stop everybody's writer.
func scanSafely(scan func(Row) error, r Row) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("sqldb: Scan of a statement panicked: %v", p)
		}
	}()
	return scan(r)
}
