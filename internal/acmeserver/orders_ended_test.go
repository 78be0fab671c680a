package acmeserver_test

import (
	"context"
	"net/http"
	"testing"

	"chancery/acme"
	"chancery/internal/acmeserver"
	"chancery/internal/ca"
)

// meanwhile does something when a finalize has read account and authorisations.
type meanwhile struct {
	acmeserver.Accounts
	do func()
}

// AccountByThumb implements [acmeserver.Accounts]; finalize asks it for the CSR's key.
func (m *meanwhile) AccountByThumb(ctx context.Context, thumb string) (acmeserver.Account, error) {
	if m.do != nil {
		m.do()
	}
	return m.Accounts.AccountByThumb(ctx, thumb)
}

// TestEndedDuringFinalize: account and authorisations are looked at again in the intent's
// own transaction (RFC 8555 §7.3.6, §7.5.2).
func TestEndedDuringFinalize(t *testing.T) {
	m := &meanwhile{}
	w := newWorld(t, func(c *acmeserver.Config) { m.Accounts, c.Accounts = c.Accounts, m })
	finalize := func(c *acme.Client, o *acme.Order, do func() error) error {
		t.Helper()
		m.do = func() {
			m.do = nil
			if err := do(); err != nil {
				t.Fatal(err)
			}
		}
		_, err := c.Finalize(t.Context(), o, csr(t, certKey(t), "", "a.example", "b.example"))
		return err
	}

	c := w.client()
	o := w.ready(c, "a.example", "b.example")
	err := finalize(c, o, func() error {
		_, err := c.DeactivateAuthorization(t.Context(), o.Authorizations[1])
		return err
	})
	refused(t, err, acme.TypeOrderNotReady, "deactivated")
	if again, err := c.Order(t.Context(), o.URL); err != nil || again.Status != acme.OrderInvalid {
		t.Errorf("the order is %+v, %v", again, err)
	}

	o = w.ready(c, "a.example", "b.example")
	err = finalize(c, o, func() error {
		_, err := c.Deactivate(t.Context())
		return err
	})
	refused(t, err, acme.TypeUnauthorized, "deactivated")
	if p := acme.AsProblem(err); p.Status != http.StatusUnauthorized {
		t.Errorf("the status is %d", p.Status)
	}
	if all, _, err := w.store.List(t.Context(), ca.Query{Profile: "tls-server", Now: w.now(), Limit: 10}); err != nil || len(all) != 0 {
		t.Errorf("%d certificates were made, %v", len(all), err)
	}
}
