package sqlstore

import (
	"context"

	"chancery/internal/acmeserver"
	"chancery/internal/sqldb"
)

// Sweep implements [acmeserver.Background].
func (s *Store) Sweep(ctx context.Context, e acmeserver.Ended) (int, error) {
	total := 0
	before := millis(e.Before)
	for _, step := range []func() (int64, error){
		func() (int64, error) { return s.sweepSpent(ctx, before, e.Limit) },
		func() (int64, error) { return s.sweepAuthorizations(ctx, before, e.Limit) },
		func() (int64, error) { return s.sweepProofs(ctx, millis(e.Proofs), e.Limit) },
		func() (int64, error) { return s.sweepOrders(ctx, before, e.Limit) },
	} {
		n, err := step()
		if err != nil {
			return total, refuse(err)
		}
		total += int(n)
	}
	return total, nil
}

func (s *Store) sweepSpent(ctx context.Context, before int64, limit int) (int64, error) {
	return s.db.Exec(ctx, `DELETE FROM spent WHERE expires < $1 AND token IN
		(SELECT token FROM spent WHERE expires < $1 LIMIT $2)`, before, limit)
}

func (s *Store) sweepAuthorizations(ctx context.Context, before int64, limit int) (int64, error) {
	return s.db.Exec(ctx, `DELETE FROM authorizations WHERE validated = 0 AND expires < $1 AND id IN
		(SELECT id FROM authorizations WHERE validated = 0 AND expires < $1 LIMIT $2)`, before, limit)
}

// sweepProofs deletes authorisations that were valid. Their events stay.
func (s *Store) sweepProofs(ctx context.Context, before int64, limit int) (int64, error) {
	return s.db.Exec(ctx, `DELETE FROM authorizations WHERE validated > 0 AND expires < $1 AND id IN
		(SELECT id FROM authorizations WHERE validated > 0 AND expires < $1 LIMIT $2)`, before, limit)
}

// sweepOrders looks at each ended order once: one with a certificate stays and
// is not looked at again, so that the work does not grow with the years.
func (s *Store) sweepOrders(ctx context.Context, before int64, limit int) (int64, error) {
	var ended, issued []any
	err := s.db.Query(ctx, `SELECT id, CASE WHEN EXISTS (SELECT 1 FROM certificates c WHERE c.request = orders.request) THEN 1 ELSE 0 END
		FROM orders WHERE sweep > 0 AND sweep < $1 ORDER BY sweep LIMIT $2`, []any{before, min(limit, manyIDs)}, func(row sqldb.Row) error {
		var id []byte
		var has bool
		err := row.Scan(&id, &has)
		if has {
			issued = append(issued, id)
		} else {
			ended = append(ended, id)
		}
		return err
	})
	if err != nil || len(ended)+len(issued) == 0 {
		return 0, err
	}
	var batch []sqldb.Statement
	if len(ended) > 0 {
		batch = append(batch, sqldb.Statement{SQL: `DELETE FROM orders WHERE id IN (` + marks(1, len(ended)) + `)`, Args: ended, Want: sqldb.AnyRows})
	}
	if len(issued) > 0 {
		batch = append(batch, sqldb.Statement{SQL: `UPDATE orders SET sweep = 0 WHERE id IN (` + marks(1, len(issued)) + `)`, Args: issued, Want: sqldb.AnyRows})
	}
	return int64(len(ended) + len(issued)), s.db.Batch(ctx, batch...)
}
