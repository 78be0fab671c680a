package acmeserver

import (
	"context"
	"slices"

	"chancery/acme"
	"chancery/internal/ca"
	"chancery/internal/registry"
)

// bindings tells whether any policy asks for bindings of accounts that have no
// external one.
func (p *Policy) bindings() bool { return p.Require || p.ByDomain || p.ByMail }

// served refuses an account whose customer is not served any more, or who ended the
// binding by a key of his, and gives its bindings. It costs one read where the
// account has an external binding or a policy asks for another, and none elsewhere.
func (s *Server) served(ctx context.Context, a *Account) ([]registry.Binding, error) {
	if s.Customers == nil || a.Binding == "" && !s.Policy.bindings() {
		return nil, nil
	}
	all, err := s.Customers.BindingsOf(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	stopped := false
	for i := range all {
		b := &all[i]
		if b.Via == registry.ViaEAB && b.State == registry.Ended {
			return nil, acme.Unauthorized("the binding of this account to the customer whose external account key opened it was ended: ask the administrators for another key, and open another account with it")
		}
		stopped = stopped || b.State == registry.Confirmed && b.Suspended && (b.Via == registry.ViaEAB || !confirmed(all))
	}
	if stopped {
		return nil, acme.Unauthorized("the customer to whom this account is bound is suspended: nothing is certified for him until the administrators of this authority serve him again")
	}
	return all, nil
}

// mayIssue looks once more, before a certificate is made, at what let the account
// prove the order's names.
func (s *Server) mayIssue(ctx context.Context, a *Account, names []ca.Identifier) error {
	all, err := s.served(ctx, a)
	if err != nil {
		return err
	}
	if s.Policy.Require && a.Binding == "" && !confirmed(all) {
		return errUnbound()
	}
	for _, name := range names {
		if err := s.entitled(ctx, all, name); err != nil {
			return err
		}
	}
	return nil
}

// entitled refuses a name that a customer holds to whom there is no good binding: one
// that was ended, or whose customer is suspended, and one that nobody ever made since
// the name was nobody's, or nobody was asked, when it was proven. A wildcard is as good
// as each held name that it covers.
func (s *Server) entitled(ctx context.Context, all []registry.Binding, name ca.Identifier) error {
	if s.Customers == nil || !s.Policy.ByDomain {
		return nil
	}
	holders, below, err := s.around(ctx, name)
	if err == nil && outside(all, below) {
		return errCovers(name)
	}
	if err != nil || len(holders) == 0 || boundTo(all, holders) {
		return err
	}
	domain := name.Base().Value()
	ended := func(b registry.Binding) bool { return b.State == registry.Ended && among(holders, b.Customer) }
	switch {
	case unserved(holders):
		return errUnserved(domain)
	case slices.ContainsFunc(all, ended):
		return acme.Unauthorized("the binding of this account to the customer who registered %s was ended since the name was proven; make a new order", domain)
	}
	return acme.Unauthorized("%s is registered by a customer of this authority, and this account is not bound to him: make a new order, at which he is asked to confirm that the account is his, or use an account with an external account key of his", domain)
}

// reusable gives those of the account's valid authorisations that may be used again:
// none from before bindings were required, while it has no binding, and none of a name
// that a customer holds by now to whom the account is not bound.
func (s *Server) reusable(ctx context.Context, a *Account, valid []Authorization) ([]Authorization, error) {
	bare := s.Policy.Require && a.Binding == ""
	if s.Customers == nil || !bare && !s.Policy.ByDomain || len(valid) == 0 {
		return valid, nil
	}
	all, err := s.Customers.BindingsOf(ctx, a.ID)
	if err != nil || bare && !confirmed(all) {
		return nil, err
	}
	var left []Authorization
	for _, one := range valid {
		err := s.entitled(ctx, all, one.Identifier)
		if err == nil {
			left = append(left, one)
		} else if _, ok := problemIn(err); !ok {
			return nil, err
		}
	}
	return left, nil
}
