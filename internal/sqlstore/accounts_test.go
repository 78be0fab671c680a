package sqlstore_test

import (
	"strings"
	"testing"

	"chancery/internal/sqldb"
	"chancery/internal/sqlstore"
	"chancery/internal/storetest"
)

func TestAccounts(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *sqldb.DB) { storetest.Accounts(t, sqlstore.New(db)) })
}

// A page of accounts is read from an index, however many accounts there are.
func TestAccountPageScansNothing(t *testing.T) {
	for _, which := range []string{`created < 5 ORDER BY created DESC LIMIT 3`, `created = 5`} {
		plan := ""
		err := storetest.SQLite(t).Query(t.Context(), `EXPLAIN QUERY PLAN SELECT * FROM acme_accounts WHERE `+which, nil, func(row sqldb.Row) error {
			var id, parent, unused int64
			var step string
			err := row.Scan(&id, &parent, &unused, &step)
			plan += step + "\n"
			return err
		})
		if err != nil || !strings.Contains(plan, "USING INDEX acme_accounts_by_age") || strings.Contains(plan, "SCAN") || strings.Contains(plan, "TEMP B-TREE") {
			t.Errorf("%s: %s, %v", which, plan, err)
		}
	}
}
