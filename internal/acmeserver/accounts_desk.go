package acmeserver

import (
	"context"
	"time"

	"chancery/acme"
	"chancery/internal/admin"
	"chancery/internal/ca"
	"chancery/internal/registry"
)

// accountsShown is how many accounts a page of acme.account.list has unless it says so.
const accountsShown = 100

// AccountsWanted is the input of acme.account.list.
type AccountsWanted struct {
	Limit  int    `json:"limit,omitempty"`  // at most so many, up to 1000; 100 unless it says so
	Cursor string `json:"cursor,omitempty"` // "next" of the page before
}

// AccountsShown is the output of acme.account.list, newest first.
type AccountsShown struct {
	Accounts []AccountShown `json:"accounts"`
	Next     string         `json:"next,omitempty"` // the cursor of the next page, if there is one
}

func (s *Server) listAccounts(ctx context.Context, _ admin.Caller, in AccountsWanted) (AccountsShown, error) {
	if in.Limit == 0 {
		in.Limit = accountsShown
	}
	if in.Limit < 0 || in.Limit > 1000 {
		return AccountsShown{}, ca.Errorf(ca.Invalid, "limit is %d: a page has 1 to 1000 accounts", in.Limit)
	}
	page, next, err := s.Accounts.AccountPage(ctx, AccountQuery(in))
	out := AccountsShown{Accounts: []AccountShown{}, Next: next}
	for i := range page {
		out.Accounts = append(out.Accounts, s.accountShown(&page[i]))
	}
	return out, err
}

// AccountShown is an account as an administrator sees it.
type AccountShown struct {
	ID       string             `json:"id"`
	URL      string             `json:"url"`
	Status   acme.AccountStatus `json:"status"`
	Contacts []string           `json:"contacts,omitempty"`
	Binding  string             `json:"binding,omitempty"` // the external account key
	Thumb    string             `json:"thumbprint"`        // of its key (RFC 7638)
	Created  time.Time          `json:"created"`
	Agreed   time.Time          `json:"agreed,omitzero"` // to the terms of service
}

func (s *Server) showAccount(ctx context.Context, _ admin.Caller, in Named) (AccountShown, error) {
	a, err := s.accountNamed(ctx, in.ID)
	return s.accountShown(&a), err
}

// closeAccount ends an account on the server's side (RFC 8555 §7.1.6, revoked).
func (s *Server) closeAccount(ctx context.Context, caller admin.Caller, in Named) (AccountShown, error) {
	a, err := s.accountNamed(ctx, in.ID)
	if err != nil {
		return AccountShown{}, err
	}
	a.Status = acme.AccountRevoked
	err = s.Accounts.UpdateAccount(ctx, a, Write{Event: by(caller).Event(s.Clock(), "account.closed", a.ID)})
	if ca.KindOf(err) == ca.Conflict {
		return AccountShown{}, ca.Errorf(ca.Conflict, "the account %s has ended already", a.ID)
	}
	return s.accountShown(&a), err
}

func (s *Server) accountNamed(ctx context.Context, id string) (Account, error) {
	if !ca.WellFormedID(id) {
		return Account{}, ca.Errorf(ca.NotFound, "there is no such account; an account's id is the last part of its URL, 26 characters")
	}
	return s.Accounts.Account(ctx, id)
}

func (s *Server) accountShown(a *Account) AccountShown {
	return AccountShown{ID: a.ID, URL: s.accountURL(a.ID), Status: a.Status, Contacts: a.Contacts, Binding: a.Binding,
		Thumb: a.Thumb, Created: a.CreatedAt, Agreed: a.AgreedAt}
}

// BindingWanted is the input of binding.add.
type BindingWanted struct {
	Account  string `json:"account"`  // by id
	Customer string `json:"customer"` // by id
	Reason   string `json:"reason,omitempty"`
}

// BindingMade is the output of binding.add.
type BindingMade struct {
	ID       string                `json:"id"`
	State    registry.BindingState `json:"state"`
	Account  string                `json:"account"`
	URL      string                `json:"account_url"`
	Customer string                `json:"customer"`
	Name     string                `json:"customer_name"`
}

// bind makes an account a customer's whom nobody has to ask.
func (s *Server) bind(ctx context.Context, caller admin.Caller, in BindingWanted) (BindingMade, error) {
	a, err := s.accountNamed(ctx, in.Account)
	if err != nil {
		return BindingMade{}, err
	}
	if a.Status != acme.AccountValid {
		return BindingMade{}, ca.Errorf(ca.Conflict, "the account %s has ended", a.ID)
	}
	customer, err := s.Registry.Customer(ctx, in.Customer)
	if err != nil {
		return BindingMade{}, err
	}
	b, err := s.Registry.Bind(ctx, registry.Asking{Account: a.ID, AccountURL: s.accountURL(a.ID), Customer: customer.ID,
		Contact: contactOf(&a), Thumbprint: a.Thumb}, registry.Decision{By: by(caller), Reason: in.Reason})
	return BindingMade{ID: b.ID, State: b.State, Account: a.ID, URL: s.accountURL(a.ID), Customer: customer.ID, Name: customer.Name}, err
}
