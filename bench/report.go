package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report is everything that was measured, and where.
type report struct {
	Date         time.Time     `json:"date"`
	Machine      string        `json:"machine"`
	Orders       int           `json:"orders"`
	Rounds       int           `json:"rounds"`
	Measurements []measurement `json:"measurements"`
	Startups     []startup     `json:"startups"`

	servers []string
	workers []int
}

func newReport(o options) *report {
	return &report{Date: time.Now().UTC(), Machine: machine(), Orders: o.orders, Rounds: o.rounds, servers: o.servers, workers: o.workers}
}

func machine() string {
	model, kernel := "unknown processor", ""
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = ", Linux " + strings.TrimSpace(string(text))
	}
	return fmt.Sprintf("%d CPUs (%s)%s, %s", runtime.NumCPU(), model, kernel, runtime.Version())
}

func (r *report) write(path string) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// of gives the good measurements of a server, by round.
func (r *report) of(server string, workers int) (list []measurement) {
	for _, m := range r.Measurements {
		if m.Server == server && m.Workers == workers && m.Rate > 0 {
			list = append(list, m)
		}
	}
	return list
}

func (r *report) print(to io.Writer) {
	fmt.Fprintf(to, "\n%s; %s\n%d orders each, %d rounds; median [least-most]; client and server share the machine\n", r.Date.Format("2006-01-02"), r.Machine, r.Orders, r.Rounds)
	for _, c := range r.workers {
		fmt.Fprintf(to, "\n%d at a time\n", c)
		t := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "server\torders/s\tp50 ms\tp99 ms\tCPU ms/order\tPostgreSQL ms\tclient ms\trequests\tbatches\tcommits\treads\tpeak MiB\ttroubles")
		for _, server := range r.servers {
			r.row(t, server, c)
		}
		t.Flush()
		r.ratios(to, c)
	}
	r.starts(to)
}

func (r *report) row(to io.Writer, server string, workers int) {
	list := r.of(server, workers)
	column := func(format string, value func(measurement) float64) string {
		s := spread(list, value)
		if s.median == 0 {
			return "-"
		}
		return fmt.Sprintf(format, s.median, s.least, s.most)
	}
	const whole, fine, alone = "%.0f [%.0f-%.0f]", "%.1f [%.1f-%.1f]", "%.2[1]f"
	fmt.Fprintln(to, strings.Join([]string{
		server,
		column(whole, func(m measurement) float64 { return m.Rate }),
		column(fine, func(m measurement) float64 { return m.P50 }),
		column(whole, func(m measurement) float64 { return m.P99 }),
		column(fine, func(m measurement) float64 { return m.CPU }),
		column(fine, func(m measurement) float64 { return m.Database }),
		column("%.1[1]f", func(m measurement) float64 { return m.Client }),
		column("%.1[1]f", func(m measurement) float64 { return m.Requests }),
		column(alone, func(m measurement) float64 { return m.Batches }),
		column(alone, func(m measurement) float64 { return m.Commits }),
		column("%.1[1]f", func(m measurement) float64 { return m.Reads }),
		column("%.0[1]f", func(m measurement) float64 { return m.RSS }),
		r.troubles(server, workers),
	}, "\t"))
}

func (r *report) troubles(server string, workers int) string {
	hung, failed := 0, 0
	for _, m := range r.Measurements {
		if m.Server == server && m.Workers == workers {
			failed += m.Failed
			if m.Hung {
				hung++
			}
		}
	}
	switch {
	case hung > 0:
		return fmt.Sprintf("hung in %d of %d", hung, r.Rounds)
	case failed > 0:
		return fmt.Sprintf("%d failed", failed)
	}
	return "none"
}

// pairing says which two are compared.
type pairing struct {
	server, peer string
	workers      int
}

// ratios compares within each round, so that a slow hour divides out.
func (r *report) ratios(to io.Writer, workers int) {
	for _, server := range r.servers {
		if !strings.HasPrefix(server, "chancery") {
			continue
		}
		for _, peer := range []string{"step-ca", "pebble"} {
			pair := pairing{server, peer, workers}
			rate := spread(r.ratio(pair, func(m measurement) float64 { return m.Rate }), itself)
			if rate.median == 0 {
				continue
			}
			cpu := spread(r.ratio(pair, func(m measurement) float64 { return m.CPU }), itself)
			all := spread(r.ratio(pair, func(m measurement) float64 { return m.CPU + m.Database }), itself)
			fmt.Fprintf(to, "%s : %s   orders/s x %.2f [%.2f-%.2f]   CPU x %.2f [%.2f-%.2f]", server, peer, rate.median, rate.least, rate.most, cpu.median, cpu.least, cpu.most)
			if all != cpu {
				fmt.Fprintf(to, ", with PostgreSQL's x %.2f [%.2f-%.2f]", all.median, all.least, all.most)
			}
			fmt.Fprintln(to)
		}
	}
}

func itself(f float64) float64 { return f }

func (r *report) ratio(p pairing, value func(measurement) float64) (list []float64) {
	theirs := map[int]measurement{}
	for _, m := range r.of(p.peer, p.workers) {
		theirs[m.Round] = m
	}
	for _, m := range r.of(p.server, p.workers) {
		if other, ok := theirs[m.Round]; ok && value(other) > 0 {
			list = append(list, value(m)/value(other))
		}
	}
	return list
}

// starts tells the times of starting, on an empty and on a used database.
func (r *report) starts(to io.Writer) {
	fmt.Fprintln(to, "\nfrom exec to the first answer, ms")
	t := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, server := range r.servers {
		first, again := []float64{}, []float64{}
		for _, m := range r.Measurements {
			if m.Server == server {
				first = append(first, m.Start)
			}
		}
		for _, s := range r.Startups {
			if s.Server == server {
				again = append(again, s.Ms)
			}
		}
		a, b := spread(first, itself), spread(again, itself)
		fmt.Fprintf(t, "%s\tthe first time %.0f [%.0f-%.0f]\tagain %.0f [%.0f-%.0f]\n", server, a.median, a.least, a.most, b.median, b.least, b.most)
	}
	t.Flush()
}

type spreading struct{ median, least, most float64 }

// spread is zero for no values.
func spread[T any](list []T, value func(T) float64) spreading {
	if len(list) == 0 {
		return spreading{}
	}
	values := make([]float64, 0, len(list))
	for _, v := range list {
		values = append(values, value(v))
	}
	slices.SortFunc(values, cmp.Compare[float64])
	middle := values[len(values)/2]
	if len(values)%2 == 0 {
		middle = (middle + values[len(values)/2-1]) / 2
	}
	return spreading{middle, values[0], values[len(values)-1]}
}
