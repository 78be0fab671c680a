package acmeserver

import (
	"context"
	"net/http"
	"net/netip"

	"chancery/acme"
	"chancery/internal/ca"
)

// newAccount opens an account, or finds the one of the key (RFC 8555 §7.3).
func (s *Server) newAccount(ctx context.Context, c *call) (*answer, error) {
	var in acme.NewAccount
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	existing, err := s.Accounts.AccountByThumb(ctx, c.key.Thumbprint())
	switch {
	case err == nil:
		s.askLater(&existing)
		return s.foundAccount(&existing)
	case ca.KindOf(err) != ca.NotFound:
		return nil, err
	case in.OnlyReturnExisting:
		return nil, acme.NewProblem(acme.TypeAccountDoesNotExist, "there is no account with this key; ask again without onlyReturnExisting to make one")
	}
	if err := s.checkTerms(c.at, &in); err != nil {
		return nil, err
	}
	if err := checkContacts(in.Contact); err != nil {
		return nil, err
	}
	binding, err := s.verifyBinding(ctx, c, in.ExternalAccountBinding)
	if err != nil {
		return nil, err
	}
	if err := s.limitAccounts(c.client); err != nil {
		return nil, err
	}
	if err := s.keyOfNoCertificate(ctx, c.key); err != nil {
		return nil, err
	}
	return s.openAccount(ctx, c, opening{request: &in, binding: binding})
}

// opening is a newAccount request that passed all checks.
type opening struct {
	request *acme.NewAccount
	binding *Binding
}

func (s *Server) openAccount(ctx context.Context, c *call, o opening) (*answer, error) {
	now := s.Clock()
	jwk, err := c.key.MarshalJSON()
	if err != nil {
		return nil, err
	}
	a := Account{ID: ca.NewID(), Key: jwk, Thumb: c.key.Thumbprint(), Status: acme.AccountValid,
		Contacts: o.request.Contact, CreatedAt: now}
	if o.request.TermsOfServiceAgreed {
		a.AgreedAt = now
	}
	event := ca.Principal{Room: Room, ID: a.ID}.Event(now, "account.created", a.ID)
	if o.binding != nil {
		a.Binding, a.BindingJWS = o.binding.ID, o.request.ExternalAccountBinding
		event.Detail = map[string]string{"binding": a.Binding}
	}
	stored, created, err := s.Accounts.CreateAccount(ctx, a, o.binding, Write{Once: c.once, Event: event})
	switch {
	case ca.KindOf(err) == ca.Conflict && o.binding != nil:
		return nil, errBindingSpent() // by another request, since it was looked at
	case err != nil:
		return nil, err
	case !created:
		return s.foundAccount(&stored)
	}
	s.Logger.InfoContext(ctx, "an account was opened", "account", stored.ID, "from", c.client.String(), "external_key", stored.Binding)
	s.askFirst(ctx, c, &stored)
	return &answer{status: http.StatusCreated, location: s.accountURL(stored.ID), body: s.accountObject(&stored)}, nil
}

// foundAccount answers newAccount for a key that has an account. RFC 8555
// §7.3.1: 200, its URL, and the account as it was before; the request's fields
// MUST be ignored.
func (s *Server) foundAccount(a *Account) (*answer, error) {
	if err := active(a); err != nil {
		return nil, err
	}
	return &answer{location: s.accountURL(a.ID), body: s.accountObject(a)}, nil
}

// accountObject gives what the account's holder sees (RFC 8555 §7.1.2).
func (s *Server) accountObject(a *Account) *acme.Account {
	return &acme.Account{
		Status: a.Status, Contact: a.Contacts, TermsOfServiceAgreed: !a.AgreedAt.IsZero(),
		ExternalAccountBinding: a.BindingJWS, Orders: s.accountURL(a.ID) + "/orders",
	}
}

// accountResource reads, changes and deactivates an account (RFC 8555 §7.3.2,
// §7.3.6).
func (s *Server) accountResource(ctx context.Context, c *call) (*answer, error) {
	if err := c.ownAccount(); err != nil {
		return nil, err
	}
	a := *c.account
	if c.jws.PostAsGet() {
		return &answer{body: s.accountObject(&a)}, nil
	}
	var in acme.AccountUpdate
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	// RFC 8555 §7.3.2: the server MUST ignore any other status, and all that
	// acme.AccountUpdate does not have.
	kind := ""
	if in.Contact != nil {
		if err := checkContacts(*in.Contact); err != nil {
			return nil, err
		}
		a.Contacts, kind = *in.Contact, "account.updated"
	}
	if in.Status == acme.AccountDeactivated {
		a.Status, kind = acme.AccountDeactivated, "account.deactivated"
	}
	if kind != "" {
		err := s.Accounts.UpdateAccount(ctx, a, c.write(s.Clock(), kind, a.ID))
		if err != nil {
			return nil, err
		}
	}
	return &answer{body: s.accountObject(&a)}, nil
}

// ownAccount refuses another account than the one that signed, in the same
// words whether it exists or not.
func (c *call) ownAccount() error {
	if c.path("account") != c.account.ID {
		return acme.Unauthorized("this is not the account that signed the request")
	}
	return nil
}

// checkTerms: RFC 8555 §7.3: the server MUST reject a request that does not
// agree, and names no type for that. It is answered as §7.3.3 wants it for changed
// terms, since that tells both a program and a person where the terms are.
func (s *Server) checkTerms(at *entrance, in *acme.NewAccount) error {
	if at.Terms == "" || in.TermsOfServiceAgreed {
		return nil
	}
	return &refusal{
		problem: acme.UserActionRequired(at.Terms, "read the terms of service at %s and, if you agree, ask again with termsOfServiceAgreed", at.Terms),
		links:   []link{{at.Terms, "terms-of-service"}},
	}
}

// limitAccounts bounds how many accounts come from one place. A network of IPv6
// is one place: its holder has 2^64 addresses.
func (s *Server) limitAccounts(client netip.Addr) error {
	if s.NewAccounts == nil {
		return nil
	}
	after, ok := s.NewAccounts(clientKey(client), s.Clock())
	if ok {
		return nil
	}
	return acme.RateLimited(after, "too many accounts were made from your address; use one account for all your orders, or come back later")
}

func clientKey(client netip.Addr) string {
	if client.Is6() {
		if network, err := client.Prefix(64); err == nil {
			return network.String()
		}
	}
	return client.String()
}
