package sqlstore_test

import (
	"testing"

	"chancery/internal/sqldb"
	"chancery/internal/sqlstore"
	"chancery/internal/storetest"
)

func TestAccounts(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *sqldb.DB) { storetest.Accounts(t, sqlstore.New(db)) })
}
