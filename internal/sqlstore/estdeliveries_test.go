package sqlstore_test

import (
	"strings"
	"testing"

	"chancery/internal/sqldb"
	"chancery/internal/sqlstore"
	"chancery/internal/storetest"
)

func TestDeliveries(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *sqldb.DB) { storetest.Deliveries(t, sqlstore.New(db)) })
}

// Deliveries are found among the spent nonces without looking at those.
func TestDeliveriesScanNothing(t *testing.T) {
	plan := ""
	err := storetest.SQLite(t).Query(t.Context(), `EXPLAIN QUERY PLAN SELECT token FROM spent WHERE token > x'01' AND token < x'02' ORDER BY token LIMIT 3`, nil, func(row sqldb.Row) error {
		var id, parent, unused int64
		var step string
		err := row.Scan(&id, &parent, &unused, &step)
		plan += step
		return err
	})
	if err != nil || !strings.Contains(plan, "(token>? AND token<?)") || strings.Contains(plan, "SCAN") || strings.Contains(plan, "TEMP B-TREE") {
		t.Errorf("%s, %v", plan, err)
	}
}
