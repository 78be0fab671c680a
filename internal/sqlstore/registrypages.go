package sqlstore

import (
	"context"
	"slices"
	"strconv"

	"chancery/internal/registry"
	"chancery/internal/sqldb"
)

// ExternalKeyPage implements [registry.KeyStore].
func (s *Store) ExternalKeyPage(ctx context.Context, p registry.Page) ([]registry.Key, string, error) {
	ids, next, err := s.agePage(ctx, "external_keys", p)
	if err != nil || len(ids) == 0 {
		return nil, "", refuse(err)
	}
	found, err := s.externalKeys(ctx, ` WHERE k.id IN (`+marks(1, len(ids))+`) ORDER BY k.created DESC`, ids...)
	return found, next, refuse(err)
}

// CustomerPage implements [registry.CustomerStore].
func (s *Store) CustomerPage(ctx context.Context, p registry.Page) ([]registry.Customer, string, error) {
	ids, next, err := s.agePage(ctx, "customers", p)
	if err != nil || len(ids) == 0 {
		return nil, "", refuse(err)
	}
	found, err := s.customers(ctx, ` WHERE id IN (`+marks(1, len(ids))+`)`, ids...)
	return found, next, refuse(err)
}

// agePage gives the ids of a page of a table that has an index by age, newest first, and
// the next page's cursor. Pages end between two milliseconds, as those of AccountPage do.
func (s *Store) agePage(ctx context.Context, table string, p registry.Page) (ids []any, next string, err error) {
	before, err := accountCursor(p.Cursor)
	if err != nil {
		return nil, "", err
	}
	type row struct {
		id      string
		created int64
	}
	read := func(rest string, args ...any) (rows []row, err error) {
		err = s.db.Query(ctx, `SELECT id, created FROM `+table+` WHERE `+rest, args, func(from sqldb.Row) error {
			var r row
			err := from.Scan(&r.id, &r.created)
			rows = append(rows, r)
			return err
		})
		return rows, err
	}
	rows, err := read(`created < $1 ORDER BY created DESC LIMIT $2`, before, p.Limit+1)
	if err != nil {
		return nil, "", err
	}
	if len(rows) > p.Limit {
		end := rows[p.Limit].created // of the first that is too many, with all of its millisecond
		rows = slices.DeleteFunc(rows, func(r row) bool { return r.created <= end })
		if len(rows) == 0 { // one millisecond has more than a page
			if rows, err = read(`created = $1`, end); err != nil {
				return nil, "", err
			}
		}
		older, err := read(`created < $1 ORDER BY created DESC LIMIT 1`, rows[len(rows)-1].created)
		if err != nil {
			return nil, "", err
		}
		if len(older) > 0 {
			next = strconv.FormatInt(rows[len(rows)-1].created, 10)
		}
	}
	for _, r := range rows {
		ids = append(ids, r.id)
	}
	return ids, next, nil
}
