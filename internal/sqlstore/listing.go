package sqlstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"chancery/internal/ca"
	"chancery/internal/sqldb"
)

// conditions collects the parts of a WHERE with their arguments.
type conditions struct {
	parts []string
	args  []any
}

// add takes a part in which each %s stands for the placeholder of the next argument.
func (c *conditions) add(part string, args ...any) {
	marks := make([]any, len(args))
	for i, a := range args {
		c.args = append(c.args, a)
		marks[i] = "$" + strconv.Itoa(len(c.args))
	}
	c.parts = append(c.parts, fmt.Sprintf(part, marks...))
}

// next gives the placeholder of one more argument.
func (c *conditions) next(arg any) string {
	c.args = append(c.args, arg)
	return "$" + strconv.Itoa(len(c.args))
}

func (c *conditions) where() string {
	if len(c.parts) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.parts, " AND ")
}

// List implements [ca.Listing].
func (s *Store) List(ctx context.Context, q ca.Query) ([]ca.Record, string, error) {
	var c conditions
	if !q.Name.IsZero() {
		c.add(`serial IN (SELECT serial FROM certificate_names WHERE name = %s)`, q.Name.String())
	}
	for column, value := range map[string]string{"room": q.By.Room, "actor": q.By.ID, "profile": q.Profile, "issuer": q.Issuer} {
		if value != "" {
			c.add(column+` = %s`, value)
		}
	}
	if !q.Before.IsZero() {
		c.add(`not_after < %s`, millis(q.Before))
	}
	if err := c.state(q.State, q.Now); err != nil {
		return nil, "", err
	}
	if q.Cursor != "" {
		at, serial, err := parseCursor(q.Cursor)
		if err != nil {
			return nil, "", err
		}
		c.add(`(intended < %s OR (intended = %s AND serial < %s))`, at, at, serial.Bytes())
	}
	limit := min(max(q.Limit, 1), 1000)
	c.args = append(c.args, limit+1)
	var records []ca.Record
	query := `SELECT ` + recordColumns + ` FROM certificates` + c.where() +
		` ORDER BY intended DESC, serial DESC LIMIT $` + strconv.Itoa(len(c.args))
	err := s.db.Query(ctx, query, c.args, func(row sqldb.Row) error {
		var r ca.Record
		err := scanRecord(row, &r)
		records = append(records, r)
		return err
	})
	if err != nil || len(records) <= limit {
		return records, "", refuse(err)
	}
	last := records[limit-1]
	return records[:limit], fmt.Sprintf("%d.%s", millis(last.IntendedAt), last.Serial), nil
}

func (c *conditions) state(word string, now time.Time) error {
	switch word {
	case "":
	case "valid":
		c.add(`settled > 0 AND revoked = 0 AND not_after >= %s`, millis(now))
	case "expired":
		c.add(`not_after < %s`, millis(now))
	case "revoked":
		c.add(`revoked > 0`)
	case "pending":
		c.add(`settled = 0 AND revoked = 0`)
	default:
		return ca.Errorf(ca.Invalid, "the state %q is not one of valid, expired, revoked, pending", word)
	}
	return nil
}

func parseCursor(text string) (int64, ca.Serial, error) {
	at, serialText, _ := strings.Cut(text, ".")
	ms, err := strconv.ParseInt(at, 10, 64)
	serial, err2 := ca.ParseSerial(serialText)
	if err != nil || err2 != nil {
		return 0, "", ca.Errorf(ca.Invalid, "the cursor is not one that was given out here")
	}
	return ms, serial, nil
}
