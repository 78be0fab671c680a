package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"chancery/cms"
)

// task is one server in one round.
type task struct {
	name  string
	dir   string
	round int
}

// figures are what one measurement found.
type figures struct {
	server, operation, way string
	clients, round         int
	rate                   float64 // enrolments in a second
	median, slow           time.Duration
	cpu, client            time.Duration // for each enrolment
	batches, commits       float64       // for each enrolment
}

// server starts one and measures everything against it.
func (r *report) server(ctx context.Context, o options, t task) error {
	s, err := launch(ctx, o, t)
	if err != nil {
		return err
	}
	defer s.stop()
	for _, operation := range []string{"simpleenroll", "simplereenroll"} {
		for _, way := range o.ways {
			for _, clients := range o.clients {
				f := figures{server: t.name, operation: operation, way: way, clients: clients, round: t.round}
				count := o.count
				if way == "fresh" {
					count = max(count/4, 1)
				}
				if err := s.measure(ctx, &f, count); err != nil {
					return fmt.Errorf("%s, %d clients, %s: %w", operation, clients, way, err)
				}
				r.add(f)
			}
		}
	}
	return nil
}

// measure has f.clients at work until count enrolments are done, after a tenth as many
// that are not counted.
func (s *server) measure(ctx context.Context, f *figures, count int) error {
	warm := max(count/10, f.clients)
	requests, err := prepare(warm + count)
	if err != nil {
		return err
	}
	clients := make([]*http.Client, f.clients)
	for i := range clients {
		clients[i] = s.httpClient(f.way == "fresh")
		defer clients[i].CloseIdleConnections()
	}
	url := s.base + "/.well-known/est/" + f.operation
	if _, err := drive(ctx, clients, url, requests[:warm]); err != nil {
		return err
	}
	batches, commits := s.commits()
	cpu, own, begin := s.cpu(), ownCPU(), time.Now()
	took, err := drive(ctx, clients, url, requests[warm:])
	if err != nil {
		return err
	}
	f.rate = float64(count) / time.Since(begin).Seconds()
	f.cpu, f.client = (s.cpu()-cpu)/time.Duration(count), (ownCPU()-own)/time.Duration(count)
	moreBatches, moreCommits := s.commits()
	f.batches, f.commits = (moreBatches-batches)/float64(count), (moreCommits-commits)/float64(count)
	slices.Sort(took)
	f.median, f.slow = took[len(took)/2], took[len(took)*99/100]
	return s.check(requests[warm:])
}

func (s *server) httpClient(fresh bool) *http.Client {
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: s.roots, Certificates: []tls.Certificate{s.client}, MinVersion: tls.VersionTLS13},
		DisableKeepAlives: fresh, MaxIdleConnsPerHost: 1,
	}}
}

// enrolment is one request that was made beforehand, and its answer.
type enrolment struct {
	key    *ecdsa.PrivateKey
	body   []byte
	answer []byte
}

func prepare(count int) ([]enrolment, error) {
	all := make([]enrolment, count)
	for i := range all {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		der, err := request(key)
		if err != nil {
			return nil, err
		}
		all[i] = enrolment{key: key, body: wrapped(der)}
	}
	return all, nil
}

// drive gives the requests to the clients, each its next one when it has its answer, and
// tells how long each took.
func drive(ctx context.Context, clients []*http.Client, url string, requests []enrolment) ([]time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	took := make([]time.Duration, len(requests))
	var next atomic.Int64
	var done sync.WaitGroup
	for _, client := range clients {
		done.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(requests) || ctx.Err() != nil {
					return
				}
				begin := time.Now()
				answer, err := enroll(ctx, client, url, requests[i].body)
				if err != nil {
					cancel(err)
					return
				}
				took[i], requests[i].answer = time.Since(begin), answer
			}
		})
	}
	done.Wait()
	return took, context.Cause(ctx)
}

func enroll(ctx context.Context, client *http.Client, url string, csr []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(csr))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/pkcs10")
	req.Header.Set("User-Agent", "bench")
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	return body(res)
}

func body(res *http.Response) ([]byte, error) {
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, text)
	}
	return text, err
}

// check reads every certificate after the clock has stopped: it must have its request's
// key, and no serial may come twice.
func (s *server) check(done []enrolment) error {
	serials := map[string]bool{}
	for _, e := range done {
		der, err := base64.StdEncoding.DecodeString(string(bytes.ReplaceAll(e.answer, []byte("\n"), nil)))
		if err != nil {
			return err
		}
		bag, err := cms.ParseBag(der)
		if err != nil {
			return err
		}
		if len(bag.Certificates) != 1 {
			return fmt.Errorf("%d certificates in an answer", len(bag.Certificates))
		}
		cert, err := x509.ParseCertificate(bag.Certificates[0])
		if err != nil {
			return err
		}
		if !e.key.PublicKey.Equal(cert.PublicKey) || serials[cert.SerialNumber.String()] {
			return fmt.Errorf("certificate %x has another key or came before", cert.SerialNumber)
		}
		serials[cert.SerialNumber.String()] = true
	}
	return nil
}
