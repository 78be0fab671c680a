package sqldb_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"chancery/internal/peertest"
	"chancery/internal/sqldb"
)

func benchmarkEngines(b *testing.B, run func(b *testing.B, db *sqldb.DB)) {
	for _, engine := range []string{"sqlite", "postgres"} {
		b.Run(engine, func(b *testing.B) {
			url := "sqlite:" + filepath.Join(b.TempDir(), "c.db")
			if engine == "postgres" {
				url = peertest.Postgres(b)
			}
			db, err := sqldb.Open(context.Background(), sqldb.Config{URL: url, MaxConns: 32})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			if err := db.Migrate(context.Background(), schema); err != nil {
				b.Fatal(err)
			}
			run(b, db)
		})
	}
}

// share runs work b.N times from several goroutines, each call with its own number.
func share(b *testing.B, goroutines int, work func(i int) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range goroutines {
		wg.Go(func() {
			for {
				i := int(next.Add(1))
				if i > b.N {
					return
				}
				if err := work(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "batches/s")
}

// BenchmarkBatch writes what an order would: two inserts and an update.
func BenchmarkBatch(b *testing.B) {
	benchmarkEngines(b, func(b *testing.B, db *sqldb.DB) {
		var base atomic.Int64
		for _, writers := range []int{1, 8, 32} {
			b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
				first := int(base.Add(1_000_000_000))
				before := db.Stats()
				share(b, writers, func(i int) error {
					id := first + 2*i
					return db.Batch(context.Background(), insert(id, fmt.Sprint(id)), insert(id+1, fmt.Sprint(id+1)),
						sqldb.Statement{SQL: `UPDATE things SET data = $1 WHERE id = $2`, Args: []any{make([]byte, 800), id}, Want: 1})
				})
				b.ReportMetric(float64(b.N)/float64(db.Stats().Commits-before.Commits), "batches/commit")
			})
		}
	})
}

func BenchmarkQuery(b *testing.B) {
	benchmarkEngines(b, func(b *testing.B, db *sqldb.DB) {
		for i := range 1000 {
			if err := db.Batch(context.Background(), insert(i, fmt.Sprint("n", i))); err != nil {
				b.Fatal(err)
			}
		}
		for _, readers := range []int{1, 8} {
			b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				share(b, readers, func(i int) error {
					var name string
					return db.One(ctx, `SELECT name FROM things WHERE id = $1`, []any{i % 1000}, &name)
				})
			})
		}
	})
}
