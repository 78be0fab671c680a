package daemon_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"

	"chancery/acme"
	"chancery/internal/desk"
)

// crowd is how many do a thing at once.
const crowd = 100

// TestParallelOrders walks a hundred orders of one account to their
// certificates at once.
func TestParallelOrders(t *testing.T) {
	engines(t, func(t *testing.T, url string) {
		web := newSite(t)
		s := start(t, plan(t, web, url))
		c, key := s.client(), newKey(t)
		ctx := within(t, 2*long)
		chains := make([]*acme.Chain, crowd)
		var wg sync.WaitGroup
		for n := range chains {
			wg.Go(func() {
				var err error
				if chains[n], err = web.obtain(ctx, c, key, fmt.Sprintf("host-%d.example", n)); err != nil {
					t.Errorf("order %d: %v", n, err)
				}
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		if n := s.faults.Load(); n > 0 {
			t.Errorf("%d answers of 500 and above", n)
		}
		serials := map[string]int{}
		for n, chain := range chains {
			leaf := chain.Certificates[0]
			serials[leaf.SerialNumber.String()]++
			if want := fmt.Sprintf("host-%d.example", n); len(leaf.DNSNames) != 1 || leaf.DNSNames[0] != want {
				t.Errorf("order %d has the certificate of %v", n, leaf.DNSNames)
			}
		}
		if len(serials) != crowd {
			t.Errorf("%d serial numbers for %d certificates", len(serials), crowd)
		}
		everyOrder(t, c)
		found := must[desk.Found](t)(ask[desk.Search, desk.Found](s, "cert.list", desk.Search{Account: c.AccountURL, State: "valid", Limit: 1000}))
		if len(found.Certificates) != crowd {
			t.Errorf("%d certificates on record", len(found.Certificates))
		}
	})
}

// everyOrder looks at the account's orders and their authorisations.
func everyOrder(t *testing.T, c *acme.Client) {
	t.Helper()
	ctx := within(t, long)
	orders := must[[]string](t)(c.Orders(ctx))
	if len(orders) != crowd {
		t.Errorf("the account lists %d orders", len(orders))
	}
	certificates := map[string]bool{}
	for _, url := range orders {
		o := must[*acme.Order](t)(c.Order(ctx, url))
		a := must[*acme.Authorization](t)(c.Authorization(ctx, o.Authorizations[0]))
		if o.Status != acme.OrderValid || a.Status != acme.AuthorizationValid || a.Identifier != o.Identifiers[0] {
			t.Errorf("order %+v with authorization %+v", o, a)
		}
		certificates[o.Certificate] = true
	}
	if len(certificates) != crowd {
		t.Errorf("the orders have %d certificates", len(certificates))
	}
}

// TestParallelAccounts asks for one account a hundred times at once.
func TestParallelAccounts(t *testing.T) {
	engines(t, func(t *testing.T, url string) {
		s := start(t, plan(t, newSite(t), url))
		one := s.stranger()
		var mu sync.Mutex
		accounts := map[string]int{}
		var wg sync.WaitGroup
		for range crowd {
			wg.Go(func() {
				account, err := s.at(&acme.Client{Key: one.Key}).Register(within(t, long), acme.Registration{})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				accounts[account.URL]++
				mu.Unlock()
			})
		}
		wg.Wait()
		if len(accounts) != 1 || s.faults.Load() != 0 {
			t.Errorf("one key has the accounts %v; %d answers of 500 and above", accounts, s.faults.Load())
		}
	})
}

// TestParallelFinalize finalizes one order fifty times at once.
func TestParallelFinalize(t *testing.T) {
	engines(t, func(t *testing.T, url string) {
		web := newSite(t)
		s := start(t, plan(t, web, url))
		c := s.client()
		o := web.ready(t, c, "one.example")
		csr := csrFor(t, newKey(t), "one.example")
		ctx := within(t, long)
		chains := make([]*acme.Chain, 50)
		var wg sync.WaitGroup
		for n := range chains {
			wg.Go(func() {
				var err error
				if chains[n], err = finalizeAndFetch(ctx, c, o, csr); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		for _, chain := range chains {
			if !bytes.Equal(chain.Certificates[0].Raw, chains[0].Certificates[0].Raw) {
				t.Fatal("one order has two certificates")
			}
		}
		found := must[desk.Found](t)(ask[desk.Search, desk.Found](s, "cert.list", desk.Search{Name: "one.example"}))
		if len(found.Certificates) != 1 || found.Certificates[0].State != "valid" || s.faults.Load() != 0 {
			t.Errorf("on record: %+v; %d answers of 500 and above", found.Certificates, s.faults.Load())
		}
	})
}

// finalizeAndFetch finalizes an order and waits for its certificate.
func finalizeAndFetch(ctx context.Context, c *acme.Client, o *acme.Order, csr []byte) (*acme.Chain, error) {
	o, err := c.Finalize(ctx, o, csr)
	if err != nil {
		return nil, err
	}
	if o.Status != acme.OrderValid {
		if o, err = c.WaitOrder(ctx, o.URL); err != nil {
			return nil, err
		}
	}
	return c.Certificate(ctx, o.Certificate)
}
