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
		stopped = stopped || b.State == registry.Confirmed && b.Suspended && (b.Via == registry.ViaEAB || !confirmed(all, nil))
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
	if s.Policy.Require && a.Binding == "" && !confirmed(all, nil) {
		return errUnbound()
	}
	for _, name := range names {
		parted, err := s.parted(ctx, a, bound{all, name})
		if err != nil {
			return err
		}
		if parted {
			return acme.Unauthorized("the binding of this account to the customer who registered %s was ended since the name was proven; make a new order", name.Base().Value())
		}
	}
	return nil
}

// bound is a name, and the bindings of an account that asks for it.
type bound struct {
	all  []registry.Binding
	name ca.Identifier
}

// parted tells whether a binding was ended without which the account would not have
// the name.
func (s *Server) parted(ctx context.Context, a *Account, b bound) (bool, error) {
	ended := func(one registry.Binding) bool { return one.State == registry.Ended }
	if a.Binding != "" || !s.Policy.ByDomain || !slices.ContainsFunc(b.all, ended) {
		return false, nil
	}
	holders, err := s.holders(ctx, b.name)
	if err != nil || len(holders) == 0 || confirmed(b.all, holders) {
		return false, err
	}
	return slices.ContainsFunc(b.all, func(one registry.Binding) bool { return ended(one) && slices.Contains(holders, one.Customer) }), nil
}

// reusable gives those of the account's valid authorisations that may be used again:
// none from before bindings were required, while it has no binding, and none that
// rests on one that was ended.
func (s *Server) reusable(ctx context.Context, a *Account, valid []Authorization) ([]Authorization, error) {
	if a.Binding != "" || !s.Policy.Require && !s.Policy.ByDomain || len(valid) == 0 {
		return valid, nil
	}
	all, err := s.Customers.BindingsOf(ctx, a.ID)
	if err != nil || s.Policy.Require && !confirmed(all, nil) {
		return nil, err
	}
	var left []Authorization
	for _, one := range valid {
		parted, err := s.parted(ctx, a, bound{all, one.Identifier})
		if err != nil {
			return nil, err
		}
		if !parted {
			left = append(left, one)
		}
	}
	return left, nil
}
