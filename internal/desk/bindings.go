package desk

import (
	"context"
	"time"

	"chancery/internal/admin"
	"chancery/internal/registry"
)

// BindingsWanted is the input of binding.list; what is empty does not count.
type BindingsWanted struct {
	Account  string                `json:"account,omitempty"`
	Customer string                `json:"customer,omitempty"`
	State    registry.BindingState `json:"state,omitempty"` // pending, confirmed, refused, expired or ended
	Limit    int                   `json:"limit,omitempty"` // 100 unless it says so, 1000 at most
}

// Bindings is the output of binding.list, newest first.
type Bindings struct {
	Bindings []Binding `json:"bindings"`
}

// Binding is an account's to a customer, or the question about it.
type Binding struct {
	ID           string                `json:"id"`
	State        registry.BindingState `json:"state"`
	Account      string                `json:"account"`
	AccountURL   string                `json:"account_url,omitempty"`
	Customer     string                `json:"customer"`
	CustomerName string                `json:"customer_name"`
	Via          registry.Via          `json:"via"`               // eab, domain, mail or admin
	Domain       string                `json:"domain,omitempty"`  // that the account proved
	Contact      string                `json:"contact,omitempty"` // that the account claims
	Thumb        string                `json:"thumbprint,omitempty"`
	Asked        time.Time             `json:"asked"`
	Told         time.Time             `json:"told,omitzero"` // by mail
	Expires      time.Time             `json:"expires,omitzero"`
	Decided      time.Time             `json:"decided,omitzero"`
	By           string                `json:"by,omitempty"`
	Reason       string                `json:"reason,omitempty"`
}

// BindingNamed is the input of binding.show.
type BindingNamed struct {
	ID string `json:"id"`
}

// BindingDecided is the input of binding.confirm, binding.refuse and binding.end.
type BindingDecided struct {
	ID     string `json:"id"`
	Reason string `json:"reason,omitempty"`
}

func (d *Desk) listBindings(ctx context.Context, _ admin.Caller, in BindingsWanted) (Bindings, error) {
	all, err := d.Registry.Bindings(ctx, registry.BindingQuery{Account: in.Account, Customer: in.Customer, State: in.State, Limit: in.Limit})
	out := Bindings{Bindings: []Binding{}}
	for i := range all {
		out.Bindings = append(out.Bindings, bindingShown(&all[i]))
	}
	return out, err
}

func bindingShown(b *registry.Binding) Binding {
	out := Binding{ID: b.ID, State: b.State, Account: b.Account, AccountURL: b.AccountURL, Customer: b.Customer, CustomerName: b.CustomerName,
		Via: b.Via, Domain: b.Domain, Contact: b.Contact, Thumb: b.Thumbprint, Asked: b.AskedAt, Told: b.ToldAt, Expires: b.ExpiresAt,
		Decided: b.DecidedAt, Reason: b.Reason}
	if !b.DecidedAt.IsZero() {
		out.By = b.DecidedBy.String()
	}
	return out
}

func (d *Desk) showBinding(ctx context.Context, _ admin.Caller, in BindingNamed) (Binding, error) {
	b, err := d.Registry.Binding(ctx, in.ID)
	return bindingShown(&b), err
}

func (d *Desk) confirmBinding(ctx context.Context, caller admin.Caller, in BindingDecided) (Binding, error) {
	return d.decide(ctx, registry.Decision{ID: in.ID, By: by(caller), Confirm: true, Reason: in.Reason})
}

func (d *Desk) refuseBinding(ctx context.Context, caller admin.Caller, in BindingDecided) (Binding, error) {
	return d.decide(ctx, registry.Decision{ID: in.ID, By: by(caller), Reason: in.Reason})
}

func (d *Desk) endBinding(ctx context.Context, caller admin.Caller, in BindingDecided) (Binding, error) {
	b, err := d.Registry.End(ctx, registry.Decision{ID: in.ID, By: by(caller), Reason: in.Reason})
	return bindingShown(&b), err
}

func (d *Desk) decide(ctx context.Context, one registry.Decision) (Binding, error) {
	b, err := d.Registry.Decide(ctx, one)
	return bindingShown(&b), err
}
