package registry

import (
	"context"
	"slices"
	"strings"

	"chancery/internal/ca"
)

// Ask asks a customer whether an account is his. It is durable when it returns;
// [Registry.Tell] sends the letters. While a question is open, or was confirmed, the
// same account and customer get that one again; and one that was refused or ended for
// a day: so the State of what is returned may be Pending, Confirmed, Refused or Ended.
//
// Kind Invalid for an asking that makes no sense; NotFound for an unknown customer;
// Denied for a suspended one, for a domain that he has not proven, and for an address
// that is not verified; Limited when he, or the address, is asked too often.
func (r *Registry) Ask(ctx context.Context, a Asking) (Binding, error) {
	a, err := r.checked(ctx, a)
	if err != nil {
		return Binding{}, err
	}
	if b, found, err := r.standing(ctx, a); found || err != nil {
		return b, err
	}
	now := r.now()
	b := Binding{ID: ca.NewID(), Account: a.Account, AccountURL: a.AccountURL, Customer: a.Customer, Via: a.Via, Domain: a.Domain,
		Contact: a.Contact, Thumbprint: a.Thumbprint, State: Pending, AskedAt: now, ExpiresAt: now.Add(r.Patience)}
	q := Question{Binding: b, RefusedSince: now.Add(-refusalRest), Since: now.Add(-countedFor), PerCustomer: r.DomainAsks, PerContact: r.AddressAsks}
	if a.Via == ViaMail {
		q.PerCustomer = r.MailAsks
	}
	asked := event{ca.Principal{Room: "acme", ID: a.Account}, "binding.asked", b.ID,
		map[string]string{"customer": a.Customer, "via": string(a.Via), "domain": a.Domain, "contact": a.Contact}}
	err = r.Store.Ask(ctx, q, r.event(asked))
	if ca.KindOf(err) != ca.Conflict {
		return b, err
	}
	// Somebody asked the same meanwhile, or there was too much.
	if b, found, err := r.standing(ctx, a); found || err != nil {
		return b, err
	}
	return Binding{}, &ca.Error{Kind: ca.Limited, RetryAfter: countedFor / 24,
		Detail: "the customer was asked too often within a day; answer the open questions, or open an account with an external account key"}
}

// checked gives the asking in canonical form.
func (r *Registry) checked(ctx context.Context, a Asking) (Asking, error) {
	if _, err := r.Customer(ctx, a.Customer); err != nil {
		return a, err
	}
	if a.Contact != "" {
		address, err := ParseAddress(a.Contact)
		if err != nil && a.Via == ViaMail {
			return a, err
		}
		a.Contact = address
	}
	switch {
	case a.Account == "" || a.AccountURL == "" || !oneLine(a.AccountURL, 2048) || len(a.Thumbprint) > 100:
		return a, ca.Errorf(ca.Invalid, "a question to a customer needs the account and its URL")
	case a.Via == ViaMail && a.Contact == "":
		return a, ca.Errorf(ca.Invalid, "a question for an address needs the address")
	case a.Via == ViaMail || a.Via == ViaAdmin:
		return a, nil
	case a.Via != ViaDomain:
		return a, ca.Errorf(ca.Invalid, "a question is asked for a domain, for an address, or by an administrator")
	}
	holders, err := r.holders(ctx, Choice{Domain: a.Domain})
	if err == nil && !slices.ContainsFunc(holders, func(h Holder) bool { return h.Customer == a.Customer && !h.Suspended }) {
		err = ca.Errorf(ca.Denied, "the customer has not proven the domain, or is suspended")
	}
	a.Domain = strings.ToLower(a.Domain)
	return a, err
}

// standing finds what stands instead of a new question: an open or confirmed
// binding, or a refusal of less than a day ago.
func (r *Registry) standing(ctx context.Context, a Asking) (Binding, bool, error) {
	found, err := r.Bindings(ctx, BindingQuery{Account: a.Account, Customer: a.Customer})
	if err != nil {
		return Binding{}, false, err
	}
	now := r.now()
	for _, b := range found {
		switch {
		case b.Suspended:
			return Binding{}, false, ca.Errorf(ca.Denied, "the customer is suspended")
		case b.State == Pending, b.State == Confirmed, (b.State == Refused || b.State == Ended) && now.Before(b.DecidedAt.Add(refusalRest)):
			return b, true, nil
		}
	}
	return Binding{}, false, nil
}

// Choose finds the customer whom a domain speaks for: the only active one who has
// proven it or a domain above it, or of several the only one who has one of the
// contacts as a verified address. Kind NotFound if nobody has, Conflict if it cannot be said
// who, BadName.
func (r *Registry) Choose(ctx context.Context, c Choice) (Customer, error) {
	holders, err := r.holders(ctx, c)
	if err != nil {
		return Customer{}, err
	}
	holders = slices.DeleteFunc(holders, func(h Holder) bool { return h.Suspended })
	if known := slices.DeleteFunc(slices.Clone(holders), func(h Holder) bool { return !h.Known }); len(known) > 0 {
		holders = known
	}
	switch len(holders) {
	case 0:
		return Customer{}, ca.Errorf(ca.NotFound, "no customer of this authority whom it serves has proven the domain")
	case 1:
		return r.Customer(ctx, holders[0].Customer)
	}
	return Customer{}, ca.Errorf(ca.Conflict, "several customers have proven this domain: give the account a contact that is a verified address of one of them, or open an account with an external account key")
}

// Holders gives the customers who have proven a domain, or one above it; of one that
// begins with "*." also, at most [MostBelow], those of domains below it. The suspended ones are among them: that a customer is not served makes
// his domains nobody else's. Kind BadName.
func (r *Registry) Holders(ctx context.Context, domain string) ([]Holder, error) {
	return r.holders(ctx, Choice{Domain: domain})
}

// holders gives the customers of a domain.
func (r *Registry) holders(ctx context.Context, c Choice) ([]Holder, error) {
	id, err := ca.DNS(c.Domain)
	if err != nil {
		return nil, err
	}
	q := HolderQuery{Names: covers(id.Base().Value()), Contacts: addresses(c.Contacts), Now: r.now()}
	if id.IsWildcard() {
		q.Above = id.Base().Value()
	}
	return r.Store.Holders(ctx, q)
}
