package main

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A whole run with few orders: it must work, verify and count; how fast it is
// does not matter here. Peers join in if their binaries are named ($BENCH_PEBBLE,
// $BENCH_STEP_CA).
func TestRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "figures.json")
	servers := "chancery"
	for variable, peer := range map[string]string{"BENCH_PEBBLE": "pebble", "BENCH_STEP_CA": "step-ca"} {
		if os.Getenv(variable) != "" {
			servers += "," + peer
		}
	}
	o, limit, err := parse([]string{"-servers", servers, "-workers", "1,3", "-orders", "6", "-rounds", "1", "-startups", "1", "-json", file, "-dir", t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := run(ctx, o); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Measurements) != 2*len(o.servers) || len(r.Startups) != len(o.servers) {
		t.Fatalf("%d measurements and %d starts", len(r.Measurements), len(r.Startups))
	}
	for _, m := range r.Measurements {
		if m.Server == "pebble" && m.Hung {
			continue // as it may
		}
		if m.Orders != 6 || m.Failed != 0 || m.Hung || m.Requests < 6 || m.P99 < m.P50 || m.P50 <= 0 || m.RSS <= 0 || m.Start <= 0 {
			t.Errorf("%+v", m)
		}
		if m.Server == "chancery" && (m.Batches < 1 || m.Commits <= 0 || m.Commits > m.Batches) {
			t.Errorf("chancery made %f batches and %f commits for each order", m.Batches, m.Commits)
		}
	}
}

func TestParse(t *testing.T) {
	messages = io.Discard
	defer func() { messages = os.Stderr }()
	for _, bad := range [][]string{
		{"-servers", "boulder"}, {"-servers", ""}, {"-workers", "0"}, {"-workers", "1,x"}, {"-orders", "0"}, {"-rounds", "0"}, {"-startups", "-1"}, {"more"}, {"-nothing"},
	} {
		if _, _, err := parse(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestParseStat(t *testing.T) {
	s, err := parseStat(7, []byte("7 (a) b (c)) S 3 7 7 0 -1 4194560 1 2 3 4 11 22 33 44 20 0 1 0 5"))
	if err != nil || s != (stat{pid: 7, parent: 3, own: 330 * time.Millisecond, reaped: 770 * time.Millisecond}) {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"", "7 (a", "7 (a) S 3", "7 (a) S x 7 7 0 -1 4194560 1 2 3 4 11 22 33 44 20"} {
		if _, err := parseStat(7, []byte(bad)); err == nil {
			t.Errorf("%q was understood", bad)
		}
	}
}

func TestMeasureTree(t *testing.T) {
	u, err := measureTree(os.Getpid())
	if err != nil || u.rss == 0 {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := measureTree(math.MaxInt32); err == nil {
		t.Error("a process that does not exist was measured")
	}
}

func TestMetric(t *testing.T) {
	const text = "# HELP a_total Things.\n# TYPE a_total counter\na_total 3\na_total_more 5\nb_total{x=\"1\"} 1e1\nb_total{x=\"2 3\"} 2\n"
	for name, want := range map[string]float64{"a_total": 3, "b_total": 12, "c_total": 0} {
		if got := metric(text, name); got != want {
			t.Errorf("%s is %f, want %f", name, got, want)
		}
	}
}

func TestSpread(t *testing.T) {
	for _, test := range []struct {
		list []float64
		want spreading
	}{
		{nil, spreading{}}, {[]float64{2}, spreading{2, 2, 2}}, {[]float64{3, 1, 9}, spreading{3, 1, 9}}, {[]float64{4, 1, 2, 9}, spreading{3, 1, 9}},
	} {
		if got := spread(test.list, itself); got != test.want {
			t.Errorf("%v: %v, want %v", test.list, got, test.want)
		}
	}
}

// Ratios are taken round by round: a slow round must divide out.
func TestRatio(t *testing.T) {
	r := &report{Measurements: []measurement{
		{Server: "chancery", Workers: 8, Round: 0, Rate: 20}, {Server: "step-ca", Workers: 8, Round: 0, Rate: 10},
		{Server: "chancery", Workers: 8, Round: 1, Rate: 2}, {Server: "step-ca", Workers: 8, Round: 1, Rate: 1},
		{Server: "chancery", Workers: 8, Round: 2, Rate: 5}, {Server: "step-ca", Workers: 8, Round: 2}, // hung
	}}
	got := r.ratio(pairing{"chancery", "step-ca", 8}, func(m measurement) float64 { return m.Rate })
	if len(got) != 2 || got[0] != 2 || got[1] != 2 {
		t.Errorf("%v", got)
	}
}
