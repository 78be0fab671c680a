package sqlstore

import (
	"slices"
	"testing"

	"chancery/internal/peertest"
	"chancery/internal/sqldb"
)

// Domains that an earlier release registered are found below the names above them.
func TestDomainsBelowAreFilledIn(t *testing.T) {
	for engine, url := range map[string]func() string{
		"sqlite": func() string { return "sqlite:" + t.TempDir() + "/c.db" }, "postgres": func() string { return peertest.Postgres(t) },
	} {
		t.Run(engine, func(t *testing.T) {
			db, err := sqldb.Open(t.Context(), sqldb.Config{URL: url()})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			last := slices.IndexFunc(migrations, func(m sqldb.Migration) bool { return m.Name == "domains below" })
			if err := db.Migrate(t.Context(), migrations[:last]); err != nil {
				t.Fatal(err)
			}
			for customer, name := range map[string]string{"a": "www.shop.example", "b": "example", "c": "x.example"} {
				if _, err := db.Exec(t.Context(), `INSERT INTO customer_domains (`+domainColumns+`) VALUES ($1, $2, 't', 1, 1, 2, 'dns')`, customer, name); err != nil {
					t.Fatal(err)
				}
			}
			if err := db.Migrate(t.Context(), migrations); err != nil {
				t.Fatal(err)
			}
			var got []string
			err = db.Query(t.Context(), `SELECT above, customer, name FROM customer_domains_below`, nil, func(row sqldb.Row) error {
				var above, customer, name string
				err := row.Scan(&above, &customer, &name)
				got = append(got, above+" "+customer+" "+name)
				return err
			})
			slices.Sort(got)
			if want := []string{"example a www.shop.example", "example c x.example", "shop.example a www.shop.example"}; err != nil || !slices.Equal(got, want) {
				t.Errorf("%q, %v; want %q", got, err, want)
			}
		})
	}
}
