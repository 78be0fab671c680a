package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"
)

// report collects what was measured.
type report struct{ all []figures }

func (r *report) add(f figures) {
	r.all = append(r.all, f)
	fmt.Fprintf(os.Stderr, "round %d  %-8s %-14s %-5s %2d clients  %6.0f/s  CPU %.2f ms\n", f.round+1, f.server, f.operation, f.way, f.clients, f.rate, ms(f.cpu))
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// spread is the median and the extremes of one figure over the rounds.
func spread(values []float64, format string) string {
	if len(values) == 0 {
		return ""
	}
	slices.Sort(values)
	middle := values[len(values)/2]
	if len(values)%2 == 0 {
		middle = (middle + values[len(values)/2-1]) / 2
	}
	return fmt.Sprintf(format+" ["+format+"-"+format+"]", middle, values[0], values[len(values)-1])
}

// kind is a measurement but for server and round.
type kind struct {
	operation, way string
	clients        int
}

func (r *report) kinds() []kind {
	var all []kind
	for _, f := range r.all {
		if k := (kind{f.operation, f.way, f.clients}); !slices.Contains(all, k) {
			all = append(all, k)
		}
	}
	return all
}

func (r *report) values(k kind, server string, of func(figures) float64) []float64 {
	var all []float64
	for _, f := range r.all {
		if (kind{f.operation, f.way, f.clients}) == k && f.server == server {
			all = append(all, of(f))
		}
	}
	return all
}

// print writes a table, and the ratios, each taken within its round.
func (r *report) print() {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "| operation\t| connections\t| clients\t| server\t| enrolments/s\t| p50 ms\t| p99 ms\t| CPU ms\t| client ms\t| batches\t| commits\t|")
	fmt.Fprintln(w, "| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t|")
	for _, k := range r.kinds() {
		for _, server := range servers {
			r.line(w, k, server)
		}
	}
	fmt.Fprintln(w, "\n| ratio\t| connections\t| clients\t| floor: enrolments/s\t| floor: CPU\t| plain: enrolments/s\t| plain: CPU\t|")
	fmt.Fprintln(w, "| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t|")
	for _, k := range r.kinds() {
		fmt.Fprintf(w, "| %s\t| %s\t| %d\t|", k.operation, k.way, k.clients)
		for _, other := range servers[1:] {
			fmt.Fprintf(w, " %s\t| %s\t|", spread(r.ratios(k, other, func(f figures) float64 { return f.rate }), "%.2f"),
				spread(r.ratios(k, other, func(f figures) float64 { return ms(f.cpu) }), "%.2f"))
		}
		fmt.Fprintln(w)
	}
}

func (r *report) line(w io.Writer, k kind, server string) {
	value := func(format string, of func(figures) float64) string { return spread(r.values(k, server, of), format) }
	fmt.Fprintf(w, "| %s\t| %s\t| %d\t| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t|\n", k.operation, k.way, k.clients, server,
		value("%.0f", func(f figures) float64 { return f.rate }), value("%.1f", func(f figures) float64 { return ms(f.median) }),
		value("%.1f", func(f figures) float64 { return ms(f.slow) }), value("%.2f", func(f figures) float64 { return ms(f.cpu) }),
		value("%.2f", func(f figures) float64 { return ms(f.client) }), value("%.2f", func(f figures) float64 { return f.batches }),
		value("%.2f", func(f figures) float64 { return f.commits }))
}

// ratios are chancery's figures by another server's.
func (r *report) ratios(k kind, other string, of func(figures) float64) []float64 {
	ours, floors := r.values(k, servers[0], of), r.values(k, other, of)
	var all []float64
	for i := range min(len(ours), len(floors)) {
		if floors[i] > 0 {
			all = append(all, ours[i]/floors[i])
		}
	}
	return all
}

// ownCPU is what this process has used.
func ownCPU() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// machine tells what this machine can do at most: P-256 signatures, and TLS 1.3 handshakes
// with certificates on both sides, client and server together.
func machine() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	hash := sha256.Sum256([]byte("bench"))
	signs := perSecond(func() error { _, err := key.Sign(rand.Reader, hash[:], nil); return err })
	dir, err := os.MkdirTemp("", "chancery-bench-est-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b, err := newBare(dir)
	if err != nil {
		return err
	}
	cert, err := b.certify("localhost")
	if err != nil {
		return err
	}
	server := &tls.Config{Certificates: []tls.Certificate{*cert}, ClientAuth: tls.RequestClientCert, SessionTicketsDisabled: true}
	client := &tls.Config{Certificates: []tls.Certificate{*cert}, RootCAs: b.roots, ServerName: "localhost"}
	handshakes := perSecond(func() error { return shakeHands(server, client) })
	fmt.Printf("this machine, %d processors: %.0f P-256 signatures/s, %.0f TLS 1.3 handshakes/s with client certificates, both sides\n\n", runtime.NumCPU(), signs, handshakes)
	return nil
}

func shakeHands(server, client *tls.Config) error {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	failed := make(chan error, 1)
	go func() { failed <- tls.Server(a, server).Handshake() }()
	if err := tls.Client(b, client).Handshake(); err != nil {
		return err
	}
	return <-failed
}

// perSecond runs a function on all processors for two seconds; what fails counts nothing.
func perSecond(f func() error) float64 {
	var count atomic.Int64
	var done sync.WaitGroup
	begin := time.Now()
	for range runtime.NumCPU() {
		done.Go(func() {
			for time.Since(begin) < 2*time.Second {
				if f() == nil {
					count.Add(1)
				}
			}
		})
	}
	done.Wait()
	return float64(count.Load()) / time.Since(begin).Seconds()
}
