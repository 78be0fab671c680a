package sqlstore

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"chancery/internal/acmeserver"
	"chancery/internal/ca"
	"chancery/internal/sqldb"
)

// pageReads bounds the reads for one page. Each takes a page's rows from the
// index; an account may have any number of ended orders among those to be shown,
// and who has many gets shorter pages instead of a long walk.
const pageReads = 10

// place is where in an account's orders, the newest first, a page goes on.
type place struct {
	created int64
	id      []byte
}

func placeOf(o *acmeserver.Order) place { return place{millis(o.CreatedAt), []byte(o.ID)} }

func (p place) String() string { return fmt.Sprintf("%d.%s", p.created, p.id) }

// OrderPage implements [acmeserver.Orders].
func (s *Store) OrderPage(ctx context.Context, q acmeserver.OrderQuery) ([]acmeserver.Order, string, error) {
	at, err := orderCursor(q.Cursor)
	if err != nil {
		return nil, "", err
	}
	limit := min(max(q.Limit, 1), 1000)
	var shown []acmeserver.Order
	for range pageReads {
		rows, err := s.ordersAfter(ctx, q.Account, at, limit+1)
		if err != nil {
			return nil, "", refuse(err)
		}
		for i := range rows {
			if o := &rows[i]; o.Issued || o.Expires.After(q.Now) {
				shown = append(shown, *o)
			}
		}
		switch {
		case len(shown) > limit:
			return shown[:limit], placeOf(&shown[limit-1]).String(), nil
		case len(rows) <= limit:
			return shown, "", nil
		}
		at = placeOf(&rows[limit])
	}
	return shown, at.String(), nil
}

// ordersAfter reads up to limit orders of an account, ended or not.
func (s *Store) ordersAfter(ctx context.Context, account string, at place, limit int) ([]acmeserver.Order, error) {
	var orders []acmeserver.Order
	err := s.db.Query(ctx, `SELECT `+orderColumns+`, CASE WHEN EXISTS (SELECT 1 FROM certificates c WHERE c.request = orders.request) THEN 1 ELSE 0 END
		FROM orders WHERE account = $1 AND (created, id) < ($2, $3) ORDER BY created DESC, id DESC LIMIT $4`,
		[]any{account, at.created, at.id, limit}, func(row sqldb.Row) error {
			var o acmeserver.Order
			err := scanOrder(row, &o, &o.Issued)
			orders = append(orders, o)
			return err
		})
	return orders, err
}

// orderCursor reads what OrderPage gave out; none means before the first.
func orderCursor(cursor string) (place, error) {
	if cursor == "" {
		return place{math.MaxInt64, []byte{}}, nil
	}
	at, text, ok := strings.Cut(cursor, ".")
	created, err := strconv.ParseInt(at, 10, 64)
	if err != nil || !ok || len(text) > 64 {
		return place{}, ca.Errorf(ca.Invalid, "the cursor is not one that was given out here; start at the first page")
	}
	return place{created, []byte(text)}, nil
}
