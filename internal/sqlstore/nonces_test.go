package sqlstore_test

import (
	"context"
	"testing"
	"time"

	"chancery/internal/sqldb"
	"chancery/internal/sqlstore"
	"chancery/internal/storetest"
)

func TestSeenNonces(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := sqlstore.New(db)
		before := db.Stats().Batches
		if n, err := s.SweepSeenNonces(context.Background(), time.Now(), 10); n != 0 || err != nil {
			t.Fatal(n, err)
		}
		if db.Stats().Batches != before {
			t.Error("a sweep without anything to sweep writes")
		}
		storetest.SeenNonces(t, s)
	})
}
