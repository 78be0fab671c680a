package sqlstore_test

import (
	"testing"

	"chancery/internal/sqldb"
	"chancery/internal/sqlstore"
	"chancery/internal/storetest"
)

func TestImportedRevocations(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *sqldb.DB) { storetest.Imported(t, sqlstore.New(db)) })
}
