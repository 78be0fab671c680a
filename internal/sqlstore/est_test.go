package sqlstore_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"chancery/internal/sqldb"
	"chancery/internal/sqlstore"
	"chancery/internal/storetest"
)

func TestEST(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := sqlstore.New(db)
		before := db.Stats().Batches
		if n, err := s.SweepEST(context.Background(), time.Now(), 10); n != 0 || err != nil {
			t.Fatal(n, err)
		}
		if db.Stats().Batches != before {
			t.Error("a sweep without anything to sweep writes")
		}
		storetest.EST(t, s)
	})
}

func TestESTKeys(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *sqldb.DB) { storetest.ESTKeys(t, sqlstore.New(db)) })
}

// What the EST room asks on its way is read from indexes, however much is stored.
func TestESTScansNothing(t *testing.T) {
	const newest = ` AND settled > 0 AND revoked = 0 AND not_after > 1 ORDER BY intended DESC LIMIT 10`
	for query, index := range map[string]string{
		`SELECT der FROM certificates WHERE alike = x'01' AND profile IN ('a', 'b')` + newest:                                                              "certificates_alike",
		`SELECT der FROM certificates WHERE key_id = x'01'` + newest:                                                                                       "certificates_by_key_id",
		`SELECT COUNT(*) FROM certificates WHERE actor = 'a' AND intended >= 1 AND (settled > 0 OR revoked = 0) AND room = 'est'`:                          "certificates_by_est_asker",
		`SELECT COUNT(*) FROM est_requests WHERE identity = 'a' AND state = 'pending' AND expires > 1 AND digest <> x'01'`:                                 "est_requests_of_askers",
		`SELECT * FROM est_requests WHERE state = 'pending' AND expires > 1 AND (created, digest) < (5, x'01') ORDER BY created DESC, digest DESC LIMIT 3`: "est_requests_undecided",
		`SELECT * FROM est_requests WHERE (created, digest) < (5, x'01') ORDER BY created DESC, digest DESC LIMIT 3`:                                       "est_requests_by_age",
		`SELECT id FROM est_requests WHERE expires < 5 ORDER BY expires LIMIT 3`:                                                                           "est_requests_by_end",
		`SELECT * FROM est_credentials WHERE login = 'a' AND one_time = 0`:                                                                                 "est_credentials_standing",
		`SELECT * FROM est_credentials WHERE login = 'a' AND one_time = 1 AND (expires = 0 OR expires > 5) ORDER BY created DESC, id DESC LIMIT 3`:         "est_credentials_by_login",
		`SELECT * FROM est_credentials WHERE (created, id) < (5, x'01') ORDER BY created DESC, id DESC LIMIT 3`:                                            "est_credentials_by_age",
		`UPDATE est_credentials SET request = '' WHERE request <> '' AND request IN ('a')`:                                                                 "est_credentials_bound",
		`SELECT 1 FROM est_credentials WHERE one_time = 1 AND expires > 0 AND expires < 5 LIMIT 1`:                                                         "est_credentials_by_end",
		`SELECT * FROM est_device_keys WHERE (created, name) < (5, x'01') ORDER BY created DESC, name DESC LIMIT 3`:                                        "est_device_keys_by_age",
	} {
		plan := ""
		err := storetest.SQLite(t).Query(t.Context(), `EXPLAIN QUERY PLAN `+query, nil, func(row sqldb.Row) error {
			var id, parent, unused int64
			var step string
			err := row.Scan(&id, &parent, &unused, &step)
			plan += step + "\n"
			return err
		})
		if err != nil || !strings.Contains(plan, "INDEX "+index) || strings.Contains(plan, "SCAN") || strings.Contains(plan, "TEMP B-TREE") {
			t.Errorf("%s: %s, %v", query, plan, err)
		}
	}
}
