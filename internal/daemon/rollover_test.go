package daemon_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"chancery/acme"
	"chancery/internal/ca"
	"chancery/internal/desk"
)

// issued is a certificate and where it can be fetched again.
type issued struct {
	chain  *acme.Chain
	url    string
	client *acme.Client
}

// TestRolloverWhileClientsRun rolls issuer, root and issuer over while eight
// clients issue.
func TestRolloverWhileClientsRun(t *testing.T) {
	engines(t, func(t *testing.T, url string) {
		web := newSite(t)
		s := start(t, plan(t, web, url))
		before := s.daemon.Roots()[0]
		var mu sync.Mutex
		var all []issued
		var rounds [8]atomic.Int64
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for n := range rounds {
			c := s.client()
			wg.Go(func() {
				for ; ; rounds[n].Add(1) {
					select {
					case <-stop:
						return
					default:
					}
					one, err := walk(t, web, c, fmt.Sprintf("c%d-%d.example", n, rounds[n].Load()))
					if err != nil {
						t.Errorf("client %d: %v", n, err)
						return
					}
					mu.Lock()
					all = append(all, one)
					mu.Unlock()
				}
			})
		}
		turn := func() {
			var from [8]int64
			for n := range rounds {
				from[n] = rounds[n].Load()
			}
			until(t, "two more certificates of each client", func() bool {
				for n := range rounds {
					if rounds[n].Load() < from[n]+2 && !t.Failed() {
						return false
					}
				}
				return true
			})
		}
		turn()
		for _, line := range []string{ca.DefaultLine, "root", ca.DefaultLine} {
			must[desk.RolledOver](t)(ask[desk.Line, desk.RolledOver](s, "ca.rollover", desk.Line{Name: line}))
			turn()
		}
		close(stop)
		wg.Wait()
		if n := s.faults.Load(); n != 0 {
			t.Errorf("%d answers of 500 and above", n)
		}
		rolledOver(t, s, before, all)
	})
}

// walk gets a certificate step by step, so that its URL is known.
func walk(t testing.TB, web *site, c *acme.Client, name string) (issued, error) {
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	o, challenge, err := web.order(ctx, c, name)
	if err == nil {
		_, err = c.Respond(ctx, challenge)
	}
	if err == nil {
		o, err = c.WaitOrder(ctx, o.URL)
	}
	if err == nil {
		o, err = c.Finalize(ctx, o, csrFor(t, newKey(t), name))
	}
	if err == nil {
		o, err = c.WaitOrder(ctx, o.URL)
	}
	if err != nil {
		return issued{}, err
	}
	chain, err := c.Certificate(ctx, o.Certificate)
	return issued{chain, o.Certificate, c}, err
}

// rolledOver checks that whoever trusts either root can verify every
// certificate, as it is served now: under each root by some one chain.
func rolledOver(t *testing.T, s *server, before *x509.Certificate, all []issued) {
	t.Helper()
	roots := s.daemon.Roots()
	if len(roots) != 2 || roots[0].Equal(before) {
		t.Fatalf("there are %d roots", len(roots))
	}
	issuers := map[string]int{}
	alternates := 0
	for _, one := range all {
		ctx := within(t, long)
		issuers[one.chain.Certificates[1].Subject.CommonName]++
		chains := []*acme.Chain{must[*acme.Chain](t)(one.client.Certificate(ctx, one.url))}
		for _, url := range chains[0].Alternates {
			alternates++
			chains = append(chains, must[*acme.Chain](t)(one.client.Certificate(ctx, url)))
		}
		// As it was served at first it verifies under the root of that time.
		if !leads(one.chain, before) && !leads(one.chain, roots[0]) {
			t.Errorf("%v verified under neither root when it was served", one.chain.Certificates[0].DNSNames)
		}
		for _, root := range []*x509.Certificate{before, roots[0]} {
			found := false
			for _, chain := range chains {
				found = found || leads(chain, root)
			}
			if !found {
				t.Errorf("none of %d chains of %v leads to %s", len(chains), one.chain.Certificates[0].DNSNames, root.Subject.CommonName)
			}
		}
	}
	t.Logf("%d certificates by %d issuers, %d alternates", len(all), len(issuers), alternates)
	if len(issuers) != 4 || alternates == 0 {
		t.Errorf("%d issuers issued, want 4; %d alternates were offered", len(issuers), alternates)
	}
}

// leads tells whether one chain alone suffices for who trusts the root.
func leads(chain *acme.Chain, root *x509.Certificate) bool {
	roots, above := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root)
	for _, cert := range chain.Certificates[1:] {
		above.AddCert(cert)
	}
	_, err := chain.Certificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: above})
	return err == nil
}
