package daemon

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"chancery/est"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics counts requests; everything else is read from its owner when asked.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics() *metrics {
	return &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chancery_http_requests_total", Help: "Requests answered, by kind of resource and status code.",
		}, []string{"resource", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "chancery_http_request_seconds", Help: "Time to answer a request, by kind of resource.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"resource"}),
	}
}

// metricsHandler serves metrics and health for the operator's eyes.
func (d *Daemon) metricsHandler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		d.metrics.requests, d.metrics.seconds)
	for _, m := range d.storeMetrics() {
		registry.MustRegister(m)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", healthz)
	mux.HandleFunc("GET /readyz", d.readyz)
	return mux
}

func (d *Daemon) storeMetrics() []prometheus.Collector {
	counter := func(name, help string, value func() uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	all := []prometheus.Collector{
		counter("chancery_db_batches_total", "Durable units of writing.", func() uint64 { return d.db.Stats().Batches }),
		counter("chancery_db_commits_total", "Physical commits that made them durable.", func() uint64 { return d.db.Stats().Commits }),
		counter("chancery_db_rollbacks_total", "Units that failed and left no trace.", func() uint64 { return d.db.Stats().Rollbacks }),
		counter("chancery_db_queries_total", "Reads.", func() uint64 { return d.db.Stats().Queries }),
	}
	all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "chancery_issuer_end_seconds", Help: "Unix time at which the default issuer ends; 0 when none can sign.",
	}, func() float64 {
		if i := d.authority.Issuers().Line("issuing", time.Now()); i != nil {
			return float64(i.Certificate().NotAfter.Unix())
		}
		return 0
	}))
	return all
}

// counted counts what passes, under a few names only: paths hold ids.
func (d *Daemon) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		seen := &seenWriter{ResponseWriter: w, code: http.StatusOK}
		next.ServeHTTP(seen, r)
		resource := resourceOf(r.URL.Path)
		d.metrics.requests.WithLabelValues(resource, strconv.Itoa(seen.code)).Inc()
		d.metrics.seconds.WithLabelValues(resource).Observe(time.Since(begin).Seconds())
	})
}

var resources = map[string]bool{
	"directory": true, "new-nonce": true, "new-account": true, "new-order": true, "new-authz": true, "account": true, "order": true,
	"authz": true, "challenge": true, "certificate": true, "revoke-cert": true, "key-change": true, "renewal-info": true,
	"ocsp": true, "crl": true, "ca": true,
}

func resourceOf(path string) string {
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if first == "acme" {
		first, rest, _ = strings.Cut(rest, "/")
		if first == "d" { // a further directory's
			_, rest, _ = strings.Cut(rest, "/")
			first, rest, _ = strings.Cut(rest, "/")
		}
	}
	if isEST(path) {
		last := path[strings.LastIndexByte(path, '/')+1:]
		if slices.Contains(est.Operations, est.Operation(last)) {
			return "est-" + last
		}
		return "est"
	}
	switch {
	case first == "order" && strings.HasSuffix(rest, "/finalize"):
		return "finalize"
	case resources[first]:
		return first
	}
	return "other"
}

// seenWriter remembers the status code.
type seenWriter struct {
	http.ResponseWriter
	code int
}

// WriteHeader implements [http.ResponseWriter].
func (w *seenWriter) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

// Unwrap lets [http.ResponseController] flush: EST answers go out in two pieces.
func (w *seenWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
