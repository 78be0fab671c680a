package acmeserver

import (
	"context"
	"net/http"
	"slices"
	"time"

	"chancery/acme"
	"chancery/internal/ca"
)

// newOrder makes an order (RFC 8555 §7.4): one durable batch for the order, the
// authorisations that it still needs, the nonce and the event.
func (s *Server) newOrder(ctx context.Context, c *call) (*answer, error) {
	now := s.Clock()
	var in acme.NewOrder
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	names, err := s.names(in.Identifiers)
	if err != nil {
		return nil, err
	}
	if err := s.admit(c, now); err != nil {
		return nil, err
	}
	if err := s.mayOrder(ctx, c); err != nil {
		return nil, err
	}
	profile, err := c.at.profile(in.Profile)
	if err != nil {
		return nil, err
	}
	if err := s.fits(in.Profile, names); err != nil {
		return nil, err
	}
	v, err := s.vouch(ctx, c.account, &Order{Profile: profile, Identifiers: names})
	if err != nil {
		return nil, err
	}
	// Certificates know seconds only (RFC 5280 §4.1.2.5).
	in.NotBefore, in.NotAfter = in.NotBefore.UTC().Truncate(time.Second), in.NotAfter.UTC().Truncate(time.Second)
	if err := s.Authority.Precheck(ca.Request{By: c.principal(), Profile: profile, Names: names, NotBefore: in.NotBefore, NotAfter: in.NotAfter, Labels: v.labels}); err != nil {
		return nil, err
	}
	if in.Replaces != "" {
		if err := s.mayReplace(ctx, c, in.Replaces, names); err != nil {
			return nil, err
		}
	}
	o := Order{
		ID: ca.NewID(), Account: c.account.ID, Identifiers: names, Profile: profile, CreatedAt: now,
		Expires: now.Add(s.OrderLife), NotBefore: in.NotBefore, NotAfter: in.NotAfter, Replaces: in.Replaces,
	}
	all, fresh, err := s.needed(ctx, c.account, &o)
	if err != nil {
		return nil, err
	}
	w := c.write(now, "order.created", o.ID)
	w.Event.Detail, w.MostPending = map[string]string{"names": listed(names), "profile": profile}, s.MostPending
	if err := s.Orders.CreateOrder(ctx, &o, fresh, w); err != nil {
		return nil, err
	}
	a := s.orderAnswer(&orderState{Order: o, authorizations: all})
	a.status = http.StatusCreated
	return a, nil
}

// admit asks the rate limit for the account.
func (s *Server) admit(c *call, now time.Time) error {
	if s.NewOrders == nil {
		return nil
	}
	if after, ok := s.NewOrders(c.account.ID, now); !ok {
		return acme.RateLimited(after, "this account makes orders too fast; wait %s", after.Round(time.Second))
	}
	return nil
}

// profile refuses a profile that no directory offers any more.
func (s *Server) profile(name string) (string, error) {
	for _, e := range s.entrances {
		if slices.Contains(e.Profiles, name) {
			return name, nil
		}
	}
	return "", notOffered(name)
}

// fits refuses a profile that was asked for together with names that it does not
// take: that MUST be invalidProfile (draft-ietf-acme-profiles §4).
func (s *Server) fits(asked string, names []ca.Identifier) error {
	if asked == "" {
		return nil
	}
	p := s.Authority.Profiles[asked]
	for _, name := range names {
		if !p.Takes(name.Type()) || name.IsWildcard() && !p.Wildcards {
			return acme.NewProblem(acme.TypeInvalidProfile, "the profile %s takes no names such as %s; choose another, or leave the name out", asked, name.Value())
		}
	}
	return nil
}

// needed finds an authorisation for each name of the order: a valid one of the
// account if its method is one that the profile takes, a new one otherwise.
func (s *Server) needed(ctx context.Context, account *Account, o *Order) (all, fresh []Authorization, err error) {
	now := o.CreatedAt
	// One that ends before a client can have finished would only fail later.
	margin := min(time.Hour, s.AuthzLife/2)
	valid, err := s.provenNames(ctx, account, proofs{names: o.Identifiers, until: now.Add(margin)})
	if err != nil {
		return nil, nil, err
	}
	taken := s.Authority.Profiles[o.Profile].Evidence
	for _, name := range o.Identifiers {
		at := slices.IndexFunc(valid, func(a Authorization) bool {
			return a.Identifier == name && slices.Contains(taken, a.Method) && s.stands(&a)
		})
		var a Authorization
		if at >= 0 {
			a = valid[at]
		} else {
			a = s.freshAuthorization(o.Account, name, now)
			a.Offered = slices.DeleteFunc(a.Offered, func(m string) bool { return !slices.Contains(taken, m) })
			if len(a.Offered) == 0 {
				return nil, nil, acme.NewProblem(acme.TypeRejectedIdentifier, "profile %s takes no proof of %s that this server can ask for", o.Profile, name.Value())
			}
			fresh = append(fresh, a)
		}
		all = append(all, a)
		o.Authorizations = append(o.Authorizations, a.ID)
	}
	return all, fresh, nil
}

// proofs asks for valid authorisations that do not end before until.
type proofs struct {
	names []ca.Identifier
	until time.Time
}

// provenNames gives the account's valid authorisations for the names, as far as
// they may be used again.
func (s *Server) provenNames(ctx context.Context, account *Account, p proofs) ([]Authorization, error) {
	if err := s.settleFor(ctx, account.ID); err != nil {
		return nil, err
	}
	valid, err := s.Orders.ValidAuthorizations(ctx, account.ID, p.names, p.until)
	if err != nil {
		return nil, err
	}
	return s.reusable(ctx, account, valid)
}

// stands tells whether a proof would be taken today as well: by a challenge that
// is still offered, of an address that may still be certified. Who withdraws one
// of these does not want to wait until the last authorisation has ended.
func (s *Server) stands(a *Authorization) bool {
	if addr, ok := a.Identifier.Addr(); ok && s.CheckAddress(addr) != nil {
		return false
	}
	return slices.Contains(s.methods(a.Identifier), a.Method)
}

func (s *Server) freshAuthorization(account string, name ca.Identifier, now time.Time) Authorization {
	return Authorization{
		ID: ca.NewID(), Account: account, Identifier: name, Status: acme.AuthorizationPending,
		Token: acme.NewToken(), Offered: s.methods(name), CreatedAt: now, Expires: now.Add(s.OrderLife),
	}
}

// preAuthorize makes an authorisation without an order (RFC 8555 §7.4.1); one
// that is valid already is given instead.
func (s *Server) preAuthorize(ctx context.Context, c *call) (*answer, error) {
	now := s.Clock()
	var in acme.NewAuthorization
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	names, err := s.names([]acme.Identifier{in.Identifier})
	if err != nil {
		return nil, err
	}
	if names[0].IsWildcard() {
		// RFC 8555 §7.4.1: wildcards MUST NOT be authorised this way.
		return nil, acme.Malformed("a wildcard cannot be authorized in advance; make an order for it")
	}
	if err := s.admit(c, now); err != nil {
		return nil, err
	}
	if err := s.mayOrder(ctx, c); err != nil {
		return nil, err
	}
	valid, err := s.provenNames(ctx, c.account, proofs{names: names, until: now})
	if err != nil {
		return nil, err
	}
	if len(valid) > 0 && s.stands(&valid[0]) {
		a := s.authorizationAnswer(&valid[0])
		a.location = s.authzURL(valid[0].ID)
		return a, nil
	}
	fresh := s.freshAuthorization(c.account.ID, names[0], now)
	w := c.write(now, "authorization.created", fresh.ID)
	w.Event.Detail, w.MostPending = map[string]string{"names": listed(names)}, s.MostPending
	if err := s.Orders.CreateOrder(ctx, nil, []Authorization{fresh}, w); err != nil {
		return nil, err
	}
	a := s.authorizationAnswer(&fresh)
	a.status, a.location = http.StatusCreated, s.authzURL(fresh.ID)
	return a, nil
}
