package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	orderLimit  = 15 * time.Second // an order that takes longer hangs
	warmUp      = 5                // orders of each worker before the clock starts
	maxFailures = 20               // then the rest is not tried
)

// task is one measurement to make.
type task struct {
	server         string
	workers, round int
}

// measurement is what came of it. Times are in milliseconds, per order where it
// says so; sizes in MiB.
type measurement struct {
	Server   string  `json:"server"`
	Workers  int     `json:"workers"`
	Round    int     `json:"round"`
	Orders   int     `json:"orders"` // obtained and verified
	Failed   int     `json:"failed"`
	Failure  string  `json:"failure,omitempty"` // the first
	Hung     bool    `json:"hung"`
	Rate     float64 `json:"orders_per_second"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	CPU      float64 `json:"server_cpu_ms_per_order"`
	Database float64 `json:"database_cpu_ms_per_order,omitempty"` // PostgreSQL's, all its processes
	Client   float64 `json:"client_cpu_ms_per_order"`             // with the DNS and web server of validations
	Requests float64 `json:"requests_per_order"`
	Batches  float64 `json:"batches_per_order,omitempty"` // durable units of writing
	Commits  float64 `json:"commits_per_order,omitempty"` // physical ones, shared by batches at the same time
	Reads    float64 `json:"reads_per_order,omitempty"`   // queries of the database
	RSS      float64 `json:"peak_rss_mib"`
	Start    float64 `json:"first_start_ms"` // with an empty database
}

// String is the line that tells of progress.
func (m measurement) String() string {
	text := fmt.Sprintf("round %d  %-17s c=%-3d %6.1f/s  p50 %5.1f  p99 %6.1f  cpu %5.2f ms", m.Round+1, m.Server, m.Workers, m.Rate, m.P50, m.P99, m.CPU)
	if m.Batches > 0 {
		text += fmt.Sprintf("  batches %.2f  commits %.2f", m.Batches, m.Commits)
	}
	if m.Failed > 0 {
		text += fmt.Sprintf("  %d FAILED: %s", m.Failed, m.Failure)
	}
	if m.Hung {
		text += "  HUNG"
	}
	return text
}

// measure starts a fresh server, drives it, and stops it.
func (l *lab) measure(ctx context.Context, t task) (m measurement, err error) {
	p, err := l.prepare(ctx, t.server)
	if err != nil {
		return m, err
	}
	s, err := p.launch(ctx)
	if err != nil {
		return m, err
	}
	defer func() {
		if m.Hung {
			s.kill()
		} else {
			s.stop()
		}
		if old := l.homes[t.server]; old != nil {
			os.RemoveAll(old.dir)
		}
		l.homes[t.server] = p
	}()
	d := &drive{lab: l, server: s, task: t}
	m = measurement{Server: t.server, Workers: t.workers, Round: t.round, Start: ms(s.start)}
	if err := d.start(ctx); err != nil {
		if ctx.Err() != nil {
			return m, err
		}
		m.Hung, m.Failure = isTimeout(err), "before the first order: "+err.Error()
		m.Failed = 1
		return m, nil
	}
	before, err := d.readings(ctx)
	if err != nil {
		return m, err
	}
	profiled := l.startProfile(ctx, d)
	begin := time.Now()
	d.work(ctx)
	elapsed := time.Since(begin)
	if err := profiled(); err != nil || ctx.Err() != nil {
		return m, errors.Join(err, ctx.Err())
	}
	after, err := d.readings(ctx)
	if err != nil && !d.hung.Load() {
		return m, err
	}
	if err := d.verify(ctx); err != nil {
		return m, err
	}
	d.summarize(&m, span{before, after, elapsed})
	return m, nil
}

// readings are the meters, read before and after.
type readings struct {
	server, database usage
	client           time.Duration
	requests         int64
	batches, commits float64
	reads            float64
}

type span struct {
	before, after readings
	elapsed       time.Duration
}

// drive is one measurement under way.
type drive struct {
	task
	lab     *lab
	server  *process
	workers []*worker
	next    atomic.Int64
	hung    atomic.Bool

	mu       sync.Mutex // guards what follows
	got      []*obtained
	failures []error
}

// start registers the accounts and lets each worker do a few orders.
func (d *drive) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*orderLimit)
	defer cancel()
	for range d.task.workers {
		w, err := d.lab.newWorker(ctx, d.server.directory)
		if err != nil {
			return err
		}
		d.workers = append(d.workers, w)
	}
	errs := make([]error, len(d.workers))
	var all sync.WaitGroup
	for i, w := range d.workers {
		all.Go(func() {
			for n := range warmUp {
				if _, errs[i] = w.obtain(ctx, fmt.Sprintf("warm%d-%d.bench.example", i, n)); errs[i] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// work shares the orders among the workers. When one hangs or too many fail, the
// rest is given up.
func (d *drive) work(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	for _, w := range d.workers {
		all.Go(func() {
			for n := d.next.Add(1); n <= int64(d.lab.orders) && ctx.Err() == nil; n = d.next.Add(1) {
				one, stop := context.WithTimeout(ctx, orderLimit)
				o, err := w.obtain(one, fmt.Sprintf("host%d.bench.example", n))
				stop()
				if d.note(o, err) {
					cancel()
				}
			}
		})
	}
	all.Wait()
}

// note keeps a result and tells whether to give up.
func (d *drive) note(o *obtained, err error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		d.got = append(d.got, o)
		return false
	}
	if errors.Is(err, context.Canceled) {
		return true
	}
	d.failures = append(d.failures, err)
	if isTimeout(err) {
		d.hung.Store(true)
	}
	return d.hung.Load() || len(d.failures) >= maxFailures
}

func isTimeout(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}

func (d *drive) readings(ctx context.Context) (r readings, err error) {
	if r.server, err = measureTree(d.server.cmd.Process.Pid); err != nil {
		return r, err
	}
	if d.server.database {
		if r.database, err = measureTree(d.lab.postgres.cmd.Process.Pid); err != nil {
			return r, err
		}
	}
	r.client = ownCPU()
	for _, w := range d.workers {
		r.requests += w.requests.Load()
	}
	if d.server.metrics != "" {
		text, err := d.server.get(ctx, d.server.metrics)
		if err != nil {
			return r, err
		}
		r.batches, r.commits = metric(string(text), "chancery_db_batches_total"), metric(string(text), "chancery_db_commits_total")
		r.reads = metric(string(text), "chancery_db_queries_total")
	}
	return r, nil
}

// metric adds up a counter of the Prometheus text format.
func metric(text, name string) (sum float64) {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		fields := strings.Fields(rest)
		value, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err == nil {
			sum += value
		}
	}
	return sum
}

// verify checks every certificate that came.
func (d *drive) verify(ctx context.Context) error {
	if len(d.got) == 0 {
		return nil
	}
	roots, err := d.server.pool(ctx)
	if err != nil {
		return err
	}
	serials := map[string]bool{}
	for _, o := range d.got {
		if err := o.check(roots); err != nil {
			return fmt.Errorf("a certificate is bad: %w", err)
		}
		serial := o.chain.Certificates[0].SerialNumber.String()
		if serials[serial] {
			return fmt.Errorf("the serial %s came twice", serial)
		}
		serials[serial] = true
	}
	return nil
}

func (d *drive) summarize(m *measurement, s span) {
	m.Orders, m.Failed, m.Hung = len(d.got), len(d.failures), d.hung.Load()
	if len(d.failures) > 0 {
		m.Failure = d.failures[0].Error()
	}
	if m.Orders == 0 || m.Hung {
		return // figures of a run that stood still say nothing
	}
	n := float64(m.Orders)
	m.Rate = n / s.elapsed.Seconds()
	took := make([]time.Duration, 0, len(d.got))
	for _, o := range d.got {
		took = append(took, o.took)
	}
	slices.Sort(took)
	m.P50, m.P99 = ms(took[len(took)/2]), ms(took[len(took)*99/100])
	m.CPU = ms(s.after.server.cpu-s.before.server.cpu) / n
	m.Database = ms(s.after.database.cpu-s.before.database.cpu) / n
	m.Client = ms(s.after.client-s.before.client) / n
	m.Requests = float64(s.after.requests-s.before.requests) / n
	m.Batches, m.Commits = (s.after.batches-s.before.batches)/n, (s.after.commits-s.before.commits)/n
	m.Reads = (s.after.reads - s.before.reads) / n
	m.RSS = float64(s.after.server.rss) / (1 << 20)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// profileTime is how long a CPU profile runs.
const profileTime = 5 * time.Second

// startProfile profiles chancery over its socket if that is wanted of this
// measurement. What it gives waits for the profile.
func (l *lab) startProfile(ctx context.Context, d *drive) func() error {
	if l.profile == "" || d.server.socket == "" || d.task.workers != slices.Max(l.workers) || d.round > 0 {
		return func() error { return nil }
	}
	done := make(chan error, 1)
	go func() { done <- fetchProfile(ctx, d.server.socket, l.profile+"-"+d.task.server) }()
	return func() error { return <-done }
}

func fetchProfile(ctx context.Context, socket, path string) error {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://local/debug/pprof/profile?seconds=%d", profileTime/time.Second), nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: %s: %w", res.Status, err)
	}
	return os.WriteFile(path, text, 0o600)
}

// startup is one timed start on a database that has been worked with.
type startup struct {
	Server string  `json:"server"`
	Ms     float64 `json:"ms"` // from exec to the first answer
}

func (l *lab) timeStart(ctx context.Context, name string) (startup, error) {
	s, err := l.homes[name].launch(ctx)
	if err != nil {
		return startup{}, err
	}
	defer s.stop()
	return startup{name, ms(s.start)}, nil
}
