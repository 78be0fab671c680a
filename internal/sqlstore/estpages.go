package sqlstore

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"

	"chancery/internal/ca"
)

// paging says where in rows that are ordered by age and a key of bytes, the newest
// first, a page begins and how long it is.
type paging struct {
	cursor string
	limit  int
	key    string      // the column
	only   *conditions // on the rows
}

// page reads one page of rows, which read gives for what follows FROM, and the next
// page's cursor. The index must be on created and the key.
func page[T any](p paging, read func(rest string) ([]T, error), at func(*T) place) ([]T, string, error) {
	from, err := bytesCursor(p.cursor)
	if err != nil {
		return nil, "", err
	}
	limit := min(max(p.limit, 1), 1000)
	p.only.add(`(created, `+p.key+`) < (%s, %s)`, from.created, from.id)
	mark := p.only.next(limit + 1)
	rows, err := read(p.only.where() + ` ORDER BY created DESC, ` + p.key + ` DESC LIMIT ` + mark)
	if err != nil || len(rows) <= limit {
		return rows, "", refuse(err)
	}
	last := at(&rows[limit-1])
	return rows[:limit], fmt.Sprintf("%d.%x", last.created, last.id), nil
}

// bytesCursor reads what page gave out; none means before the first.
func bytesCursor(text string) (place, error) {
	if text == "" {
		return place{math.MaxInt64, []byte{}}, nil
	}
	at, key, _ := strings.Cut(text, ".")
	created, err := strconv.ParseInt(at, 10, 64)
	id, err2 := hex.DecodeString(key)
	if err != nil || err2 != nil || len(id) == 0 || len(id) > 512 {
		return place{}, ca.Errorf(ca.Invalid, "the cursor is not one that was given out here; start at the first page")
	}
	return place{created, id}, nil
}
