package sqlstore

import (
	"reflect"
	"testing"
	"time"

	"chancery/internal/sqldb"
)

// textRow is a row of authorizationColumns: the id, a name, and zeros.
type textRow string

// Scan fills in what can be, as an engine does.
func (r textRow) Scan(dest ...any) error {
	for i, d := range dest {
		to := reflect.ValueOf(d).Elem()
		switch {
		case i == 0:
			to.SetString(string(r))
		case i == 2:
			to.SetString("dns:x.example")
		}
	}
	return nil
}

// TestClaimsOfTheLastRunCount: an engine that repeats a batch may claim others
// than at first.
func TestClaimsOfTheLastRunCount(t *testing.T) {
	var c claims
	statements := c.statements(time.Now(), time.Now(), 10)
	run := func(ids ...string) {
		for i, s := range statements {
			rows := []sqldb.Row{textRow("1")}
			if i == len(statements)-1 {
				rows = nil
				for _, id := range ids {
					rows = append(rows, textRow(id))
				}
			}
			for _, row := range rows {
				if err := s.Scan(row); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	run("taken by another", "both")
	run("both", "new")
	if len(c.list) != 2 || c.list[0].ID != "both" || c.list[1].ID != "new" {
		t.Errorf("claimed %+v; want what the last run claimed", c.list)
	}
	run()
	if len(c.list) != 0 {
		t.Errorf("claimed %+v; want nothing", c.list)
	}
}
