package acmeserver

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	"chancery/acme"
	"chancery/internal/ca"
)

// orderState is an order and what its status is derived from.
type orderState struct {
	Order
	record         *ca.Record      // the ledger's record of its request; nil: none
	authorizations []Authorization // read only while there is no certificate
	// uncertain: the ledger could not say whether the record will last. A certificate
	// that a lost machine alone knew of must not be out.
	uncertain bool
}

// poll is when a client shall look again at something that is being worked on.
const poll = time.Second

// loadOrder reads an order of the caller and what tells its status.
func (s *Server) loadOrder(ctx context.Context, c *call) (*orderState, error) {
	id := c.path("id")
	if !ca.WellFormedID(id) {
		return nil, ca.Errorf(ca.NotFound, "there is no such order")
	}
	o, err := s.Orders.Order(ctx, id)
	if err != nil {
		return nil, err
	}
	if o.Account != c.account.ID {
		return nil, acme.Unauthorized("this order belongs to another account")
	}
	return s.stateOf(ctx, o)
}

func (s *Server) stateOf(ctx context.Context, o Order) (*orderState, error) {
	state := &orderState{Order: o}
	record, err := s.Ledger.ByRequest(ctx, o.RequestID())
	switch {
	case err == nil:
		state.record = &record
		if record.Settled() {
			return state, nil
		}
		// What was interrupted is finished on the same proofs.
	case ca.KindOf(err) != ca.NotFound:
		return nil, err
	}
	state.authorizations, err = s.Orders.Authorizations(ctx, o.Authorizations)
	if state.record != nil && ca.KindOf(err) == ca.NotFound {
		return state, nil // the record tells the status; proofs this old would prove nothing
	}
	if err != nil {
		return nil, err
	}
	return state, s.settle(ctx, state.authorizations)
}

// status derives the order's status (RFC 8555 §7.1.6) and, of an invalid one,
// the reason.
func (o *orderState) status(now time.Time) (acme.OrderStatus, *acme.Problem) {
	if o.record != nil {
		switch {
		case o.record.Settled() && !o.uncertain:
			return acme.OrderValid, nil
		case !o.record.RevokedAt.IsZero():
			return acme.OrderInvalid, acme.NewProblem(acme.TypeServerInternal, "the certificate could not be completed; make a new order")
		}
		return acme.OrderProcessing, nil
	}
	if p := o.failure(now); p != nil {
		return acme.OrderInvalid, p
	}
	if !now.Before(o.Expires) {
		return acme.OrderInvalid, acme.Malformed("the order expired at %s; make a new one", o.Expires.UTC().Format(time.RFC3339))
	}
	for i := range o.authorizations {
		if o.authorizations[i].Status != acme.AuthorizationValid {
			return acme.OrderPending, nil
		}
	}
	return acme.OrderReady, nil
}

// failure tells which authorisations can never be valid again, nil if none.
func (o *orderState) failure(now time.Time) *acme.Problem {
	var subs []acme.Subproblem
	for i := range o.authorizations {
		a := &o.authorizations[i]
		status := a.statusAt(now)
		if status == acme.AuthorizationPending || status == acme.AuthorizationValid {
			continue
		}
		name := wireName(a.Identifier)
		sub := acme.Subproblem{Type: acme.TypeUnauthorized, Identifier: &name, Detail: fmt.Sprintf("its authorization is %s", status)}
		if a.Problem != nil && a.Status == acme.AuthorizationInvalid {
			sub.Type, sub.Detail = a.Problem.Type, a.Problem.Detail
		}
		subs = append(subs, sub)
	}
	if len(subs) == 0 {
		return nil
	}
	return acme.Compound(subs, "%d of the %d names were not proven, the first is %s (%s); mend that and make a new order",
		len(subs), len(o.Identifiers), subs[0].Identifier.Value, subs[0].Detail)
}

// orderAnswer gives the order as its owner sees it (RFC 8555 §7.1.3).
func (s *Server) orderAnswer(o *orderState) *answer {
	status, problem := o.status(s.Clock())
	out := &acme.Order{
		Status: status, Expires: o.Expires.UTC().Truncate(time.Second), NotBefore: o.NotBefore, NotAfter: o.NotAfter,
		Profile: o.Profile, Replaces: o.Replaces, Error: problem, Finalize: s.finalizeURL(o.ID),
	}
	for _, name := range o.Identifiers {
		out.Identifiers = append(out.Identifiers, wireName(name))
	}
	for _, id := range o.Authorizations {
		out.Authorizations = append(out.Authorizations, s.authzURL(id))
	}
	a := &answer{body: out, location: s.orderURL(o.ID)}
	switch status {
	case acme.OrderValid:
		out.Certificate = s.certificateURL(o.record.Serial, 0)
	case acme.OrderProcessing:
		a.retryAfter = poll
	case acme.OrderPending:
		if slices.ContainsFunc(o.authorizations, func(a Authorization) bool { return a.held() }) {
			a.retryAfter = s.Policy.Pause
		}
	}
	return a
}

// order answers a POST-as-GET of an order.
func (s *Server) order(ctx context.Context, c *call) (*answer, error) {
	if err := c.readOnly(); err != nil {
		return nil, err
	}
	o, err := s.loadOrder(ctx, c)
	if err != nil {
		return nil, err
	}
	return s.orderAnswer(o), nil
}

// ordersPerPage is how many orders one page of the list has.
const ordersPerPage = 100

// orderList gives the account's orders, the newest first (RFC 8555 §7.1.2.1). It
// SHOULD NOT include invalid ones, so those whose authorisations failed are
// left out.
func (s *Server) orderList(ctx context.Context, c *call) (*answer, error) {
	if err := c.readOnly(); err != nil {
		return nil, err
	}
	if c.path("account") != c.account.ID {
		return nil, acme.Unauthorized("these orders belong to another account")
	}
	now := s.Clock()
	cursor := c.http.URL.Query().Get("cursor")
	page, next, err := s.Orders.OrderPage(ctx, OrderQuery{Account: c.account.ID, Cursor: cursor, Limit: ordersPerPage, Now: now})
	if err != nil {
		return nil, err
	}
	failed, err := s.failed(ctx, page, now)
	if err != nil {
		return nil, err
	}
	list := acme.OrdersList{Orders: []string{}}
	for _, o := range page {
		if !failed[o.ID] {
			list.Orders = append(list.Orders, s.orderURL(o.ID))
		}
	}
	a := &answer{body: list}
	if next != "" {
		a.links = append(a.links, link{s.accountURL(c.account.ID) + "/orders?cursor=" + url.QueryEscape(next), "next"})
	}
	return a, nil
}

// failed tells which of the orders have no certificate and a dead authorisation.
func (s *Server) failed(ctx context.Context, page []Order, now time.Time) (map[string]bool, error) {
	var ids []string
	for i := range page {
		if !page[i].Issued {
			ids = append(ids, page[i].Authorizations...)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	all, err := s.Orders.Authorizations(ctx, ids)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]Authorization, len(all))
	for _, a := range all {
		byID[a.ID] = a
	}
	failed := map[string]bool{}
	for _, o := range page {
		if o.Issued {
			continue
		}
		state := orderState{Order: o}
		for _, id := range o.Authorizations {
			state.authorizations = append(state.authorizations, byID[id])
		}
		failed[o.ID] = state.failure(now) != nil
	}
	return failed, nil
}
