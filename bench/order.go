package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"chancery/acme"
)

// worker is one client: an account, a kept connection, an order at a time.
type worker struct {
	lab      *lab
	client   *acme.Client
	requests atomic.Int64
}

// count counts the requests that pass.
func (w *worker) count(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		w.requests.Add(1)
		return next.RoundTrip(r)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements [http.RoundTripper].
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// newWorker registers an account. HTTP/1.1 for all: one connection, one request
// at a time, is what most ACME clients do. The servers' own certificates are not
// checked, as that would be the client's time; the ones they issue are.
func (l *lab) newWorker(ctx context.Context, directory string) (*worker, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	w := &worker{lab: l}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13},
		MaxConnsPerHost: 1, IdleConnTimeout: time.Minute,
	}
	w.client = &acme.Client{Directory: directory, Key: key, UserAgent: "bench", HTTP: &http.Client{Transport: w.count(transport), Timeout: orderLimit}}
	_, err = w.client.Register(ctx, acme.Registration{AgreeTerms: true, Contacts: []string{"mailto:bench@example.com"}})
	return w, err
}

// obtained is a certificate to be checked afterwards.
type obtained struct {
	name  string
	key   *ecdsa.PrivateKey
	chain *acme.Chain
	took  time.Duration
}

// obtain walks the whole road for one name: newOrder, authorisation, challenge,
// poll, finalize, download.
func (w *worker) obtain(ctx context.Context, name string) (*obtained, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	names := []acme.Identifier{{Type: acme.IdentifierDNS, Value: name}}
	csr, err := acme.NewCSR(key, names)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	order, err := w.client.NewOrder(ctx, acme.NewOrder{Identifiers: names})
	if err != nil {
		return nil, fmt.Errorf("newOrder: %w", err)
	}
	for _, url := range order.Authorizations {
		if err := w.authorize(ctx, url); err != nil {
			return nil, fmt.Errorf("authorization: %w", err)
		}
	}
	if order, err = w.client.Finalize(ctx, order, csr); err != nil {
		return nil, fmt.Errorf("finalize: %w", err)
	}
	for try := 0; order.Status != acme.OrderValid; try++ {
		if order.Status == acme.OrderInvalid {
			return nil, &acme.OrderError{Order: order}
		}
		if err := pause(ctx, try); err != nil {
			return nil, err
		}
		if order, err = w.client.Order(ctx, order.URL); err != nil {
			return nil, fmt.Errorf("order: %w", err)
		}
	}
	chain, err := w.client.Certificate(ctx, order.Certificate)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return &obtained{name, key, chain, time.Since(begin)}, nil
}

// authorize answers http-01 and looks until the authorisation is valid.
func (w *worker) authorize(ctx context.Context, url string) error {
	a, err := w.client.Authorization(ctx, url)
	if err != nil || a.Status == acme.AuthorizationValid {
		return err
	}
	for _, ch := range a.Challenges {
		if ch.Type != acme.ChallengeHTTP01 {
			continue
		}
		answer, err := w.client.KeyAuthorization(ch.Token)
		if err != nil {
			return err
		}
		w.lab.answers.Store(ch.Token, answer)
		defer w.lab.answers.Delete(ch.Token)
		if _, err := w.client.Respond(ctx, ch); err != nil {
			return err
		}
		return w.waitValid(ctx, url)
	}
	return errors.New("no http-01 is offered")
}

func (w *worker) waitValid(ctx context.Context, url string) error {
	for try := 0; ; try++ {
		a, err := w.client.Authorization(ctx, url)
		switch {
		case err != nil || a.Status == acme.AuthorizationValid:
			return err
		case a.Status != acme.AuthorizationPending:
			return &acme.AuthorizationError{Authorization: a}
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

// pause comes between two looks: 2 ms, doubled up to 64. It is the same for all
// servers; their Retry-After, in whole seconds, would measure itself.
func pause(ctx context.Context, try int) error {
	timer := time.NewTimer(2 * time.Millisecond << min(try, 5))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// check verifies the certificate as who relies on it would.
func (o *obtained) check(roots *x509.CertPool) error {
	intermediates := x509.NewCertPool()
	for _, c := range o.chain.Certificates[1:] {
		intermediates.AddCert(c)
	}
	leaf := o.chain.Certificates[0]
	if !o.key.PublicKey.Equal(leaf.PublicKey) {
		return fmt.Errorf("the certificate for %s has another key", o.name)
	}
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: o.name, Roots: roots, Intermediates: intermediates})
	return err
}
