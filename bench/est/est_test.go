package main

import (
	"os"
	"testing"
)

// TestMain lets this test be the bare server, too: the bench starts itself as one.
func TestMain(m *testing.M) {
	if dir := os.Getenv(floorDirectory); dir != "" {
		if floor(dir) != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// A whole run with few enrolments: every answer is checked; how fast they come does not
// matter here.
func TestRun(t *testing.T) {
	o, _, err := parse([]string{"-clients", "1,3", "-count", "8", "-rounds", "1", "-dir", t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if o.binary == "" {
		if o.binary, err = build(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
	}
	var r report
	for _, name := range servers {
		if err := r.server(t.Context(), o, task{name: name, dir: t.TempDir()}); err != nil {
			t.Fatal(name, err)
		}
	}
	if len(r.all) != len(servers)*2*2*2 {
		t.Fatalf("%d measurements", len(r.all))
	}
	for _, f := range r.all {
		if f.rate <= 0 || f.slow < f.median || f.median <= 0 {
			t.Errorf("%+v", f)
		}
		if f.server == "chancery" && f.way == "kept" && (f.batches < 2 || f.commits > f.batches) {
			t.Errorf("%f batches and %f commits for each enrolment", f.batches, f.commits)
		}
	}
}

func TestParse(t *testing.T) {
	for _, args := range [][]string{{"-clients", "0"}, {"-clients", "x"}, {"-connections", "some"}, {"-count", "1"}, {"-rounds", "0"}, {"more"}} {
		if _, _, err := parse(args); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}
