package sqlstore_test

import (
	"testing"

	"chancery/internal/sqldb"
	"chancery/internal/sqlstore"
	"chancery/internal/storetest"
)

func TestCore(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *sqldb.DB) { storetest.Core(t, sqlstore.New(db)) })
}

func TestRevocations(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *sqldb.DB) { storetest.Revocations(t, sqlstore.New(db)) })
}

func TestHierarchy(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *sqldb.DB) { storetest.Hierarchy(t, sqlstore.New(db)) })
}
