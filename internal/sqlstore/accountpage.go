package sqlstore

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"
	"strings"

	"chancery/internal/acmeserver"
	"chancery/internal/ca"
	"chancery/internal/sqldb"
)

// AccountPage implements [acmeserver.Accounts]. Pages end between two milliseconds:
// ids are text, whose order the engines do not agree on, so the age alone is the order
// of the index and of the cursor.
func (s *Store) AccountPage(ctx context.Context, q acmeserver.AccountQuery) ([]acmeserver.Account, string, error) {
	before, err := accountCursor(q.Cursor)
	if err != nil {
		return nil, "", err
	}
	limit := min(max(q.Limit, 1), 1000)
	page, err := s.accountRows(ctx, `created < $1 ORDER BY created DESC LIMIT $2`, before, limit+1)
	if err != nil || len(page) <= limit {
		return ordered(page), "", refuse(err)
	}
	end := page[limit].CreatedAt // of the first that is too many, with all of its millisecond
	kept := slices.DeleteFunc(page, func(a acmeserver.Account) bool { return !a.CreatedAt.After(end) })
	if len(kept) == 0 { // one millisecond has more than a page
		if kept, err = s.accountRows(ctx, `created = $1`, millis(end)); err != nil {
			return nil, "", refuse(err)
		}
		older, err := s.accountRows(ctx, `created < $1 ORDER BY created DESC LIMIT 1`, millis(end))
		if err != nil || len(older) == 0 {
			return ordered(kept), "", refuse(err)
		}
	}
	return ordered(kept), strconv.FormatInt(millis(kept[len(kept)-1].CreatedAt), 10), nil
}

// accountRows reads the accounts that the part behind WHERE names.
func (s *Store) accountRows(ctx context.Context, which string, args ...any) (all []acmeserver.Account, err error) {
	err = s.db.Query(ctx, `SELECT `+accountColumns+` FROM acme_accounts WHERE `+which, args, func(row sqldb.Row) error {
		var r accountRow
		if err := row.Scan(r.columns()...); err != nil {
			return err
		}
		a, err := r.account()
		all = append(all, a)
		return err
	})
	return all, err
}

// ordered makes the order of a page the same each time.
func ordered(page []acmeserver.Account) []acmeserver.Account {
	slices.SortFunc(page, func(a, b acmeserver.Account) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(a.ID, b.ID))
	})
	return page
}

// accountCursor reads what AccountPage gave out; none means before the first.
func accountCursor(text string) (int64, error) {
	if text == "" {
		return math.MaxInt64, nil
	}
	before, err := strconv.ParseInt(text, 10, 64)
	if err != nil || strconv.FormatInt(before, 10) != text {
		return 0, ca.Errorf(ca.Invalid, "the cursor is not one that was given out here; start at the first page")
	}
	return before, nil
}
