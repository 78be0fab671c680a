package sqlstore_test

import (
	"testing"

	"chancery/internal/sqldb"
	"chancery/internal/sqlstore"
	"chancery/internal/storetest"
)

func TestRegistry(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *sqldb.DB) { storetest.Registry(t, sqlstore.New(db)) })
}
