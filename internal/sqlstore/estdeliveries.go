package sqlstore

import (
	"bytes"
	"context"
	"errors"

	"chancery/internal/ca"
	"chancery/internal/estserver"
	"chancery/internal/sqldb"
)

// Deliveries are rows of spent, so that an intent's transaction writes them; their names
// begin with their state.

// Deliveries implements [estserver.DeliveryStore].
func (s *Store) Deliveries(ctx context.Context, state estserver.DeliveryState, after []byte, limit int) ([][]byte, error) {
	end := []byte(state)
	end[len(end)-1]++ // the first name after all that begin so
	var ids [][]byte
	err := s.db.Query(ctx, `SELECT token FROM spent WHERE token > $1 AND token < $2 ORDER BY token LIMIT $3`, []any{state.Once(after).ID, end, limit},
		func(row sqldb.Row) error {
			var name []byte
			err := row.Scan(&name)
			ids = append(ids, bytes.Clone(bytes.TrimPrefix(name, []byte(state))))
			return err
		})
	return ids, refuse(err)
}

// LoseDelivery implements [estserver.DeliveryStore].
func (s *Store) LoseDelivery(ctx context.Context, id []byte) error {
	return notBegun(s.db.Batch(ctx, sqldb.Statement{
		SQL:  `UPDATE spent SET token = $1 WHERE token = $2`,
		Args: []any{estserver.DeliveryLost.Once(id).ID, estserver.DeliveryBegun.Once(id).ID}, Want: 1, Label: errStale,
	}))
}

// EndDelivery implements [estserver.DeliveryStore].
func (s *Store) EndDelivery(ctx context.Context, id []byte, mark *ca.Once) error {
	batch := []sqldb.Statement{{
		SQL: `DELETE FROM spent WHERE token = $1`, Args: []any{estserver.DeliveryBegun.Once(id).ID}, Want: 1, Label: errStale,
	}}
	if mark != nil {
		batch = append(batch, sqldb.Statement{
			SQL:  `INSERT INTO spent (token, expires) VALUES ($1, $2) ON CONFLICT (token) DO NOTHING`,
			Args: []any{nonceOfEST(mark.ID), millis(mark.Expires)}, Want: sqldb.AnyRows,
		})
	}
	return notBegun(s.db.Batch(ctx, batch...))
}

func notBegun(err error) error {
	if errors.Is(err, errStale) {
		return ca.Errorf(ca.Conflict, "no such delivery is under way: it ended or was given up before")
	}
	return refuse(err)
}

// ForgetDelivery implements [estserver.DeliveryStore].
func (s *Store) ForgetDelivery(ctx context.Context, id []byte) error {
	return refuse(s.db.Batch(ctx, sqldb.Statement{
		SQL: `DELETE FROM spent WHERE token = $1`, Args: []any{estserver.DeliveryLost.Once(id).ID}, Want: sqldb.AnyRows,
	}))
}
