package acmeserver

import (
	"context"
	"time"

	"chancery/acme"
	"chancery/internal/ca"
	"chancery/internal/registry"
)

// settleTime bounds the reads and the write that settle what is held.
const settleTime = 10 * time.Second

// held tells whether the name is proven, and the authorisation waits for a
// customer's word (auto-discovery §6.1, step 4). Processing is then when the
// server looks by itself; who asks is told how things stand now.
func (a *Authorization) held() bool {
	return a.Status == acme.AuthorizationPending && !a.Proven.IsZero()
}

// pursued tells whether a validation is under way, or about to be.
func (a *Authorization) pursued() bool { return !a.Processing.IsZero() && !a.held() }

// prove notes that the name is proven. Where holders of domains are asked, the
// authorisation is not valid by that.
func (s *Server) prove(a Authorization) (Authorization, string) {
	now := s.Clock()
	a.Problem = nil
	if !s.Policy.ByDomain {
		a.Proven = time.Time{}
		return s.grant(a, now)
	}
	a.Proven = now
	ctx, cancel := context.WithTimeout(context.Background(), settleTime)
	defer cancel()
	next, event, err := s.settled(ctx, a)
	if err != nil {
		// The proof stands, and whoever looks next asks again.
		s.Logger.Warn("whether an account is bound could not be found out; it will be tried again", "authorization", a.ID, "error", err)
	}
	return next, event
}

// grant makes an authorisation valid whose name was proven at that time.
func (s *Server) grant(a Authorization, proven time.Time) (Authorization, string) {
	a.Status, a.Processing, a.Problem = acme.AuthorizationValid, time.Time{}, nil
	a.Validated, a.Expires = proven, proven.Add(s.AuthzLife)
	return a, "authorization.validated"
}

// settled gives what becomes of an authorisation that is held, and the event's
// kind. It asks the holder if nobody did. On an error the authorisation is held.
func (s *Server) settled(ctx context.Context, a Authorization) (Authorization, string, error) {
	wait := a
	wait.Processing = s.Clock().Add(leaseTime)
	st, err := s.standing(ctx, &a)
	switch {
	case err != nil:
		problem, ok := problemIn(err)
		if !ok {
			return wait, "authorization.held", err
		}
		a.Status, a.Processing, a.Problem = acme.AuthorizationInvalid, time.Time{}, problem
		return a, "authorization.failed", nil
	case st == waiting:
		return wait, "authorization.held", nil
	}
	next, event := s.grant(a, a.Proven)
	return next, event, nil
}

// standing is what the bindings of an account say of a name.
type standing int

const (
	waiting standing = iota
	granted
)

// standing tells whether the account may have the name; a problem says why it may
// not.
func (s *Server) standing(ctx context.Context, a *Authorization) (standing, error) {
	account, err := s.Accounts.Account(ctx, a.Account)
	if err != nil {
		return waiting, err
	}
	if err := active(&account); err != nil {
		return waiting, err
	}
	all, err := s.served(ctx, &account)
	if err != nil {
		return waiting, err
	}
	var holders, below []registry.Holder
	if s.Policy.ByDomain {
		if holders, below, err = s.around(ctx, a.Identifier); err != nil {
			return waiting, err
		}
	}
	switch {
	case outside(all, below):
		return waiting, errCovers(a.Identifier)
	case len(holders) == 0:
		if !s.Policy.Require || account.Binding != "" || confirmed(all) {
			return granted, nil
		}
		return waiting, acme.Unauthorized("%s was proven, but no customer of this authority registered it, and the account is bound to none: have the customer register the domain first, or use an account with an external account binding", a.Identifier.Value())
	case boundTo(all, holders):
		return granted, nil
	case unserved(holders):
		return waiting, errUnserved(a.Identifier.Base().Value())
	}
	return s.confirmation(ctx, &account, a)
}

// confirmation tells how the customer decided who is to be asked, and has him
// asked if he was not.
func (s *Server) confirmation(ctx context.Context, account *Account, a *Authorization) (standing, error) {
	domain := a.Identifier.Base().Value()
	customer, err := s.Customers.Choose(ctx, registry.Choice{Domain: domain, Contacts: account.Contacts})
	switch {
	case ca.KindOf(err) == ca.Conflict:
		return waiting, acme.Unauthorized("%s was proven, but several customers of this authority registered it, and no contact of the account is a verified address of one of them: give the account such a contact, or use one with an external account binding to one of them", domain)
	case err != nil:
		return waiting, err
	}
	all, err := s.Customers.BindingsOf(ctx, account.ID)
	if err != nil {
		return waiting, err
	}
	last := latest(all, customer.ID)
	if last == nil || ended(last, a.Proven) {
		last, err = s.ask(ctx, registry.Asking{Account: account.ID, Customer: customer.ID, Via: registry.ViaDomain, Domain: domain,
			Contact: contactOf(account), Thumbprint: account.Thumb})
		if err != nil {
			return waiting, err
		}
	}
	switch last.State {
	case registry.Confirmed:
		return granted, nil
	case registry.Refused:
		return waiting, acme.Unauthorized("%s was proven, but the customer who registered it refused to have this account bound to him; if that was a mistake, have him bind it, or use an account with an external account key of his", domain)
	case registry.Ended:
		return waiting, acme.Unauthorized("%s was proven, but the binding of this account to the customer who registered it was ended; after a day he is asked again, or use an account with an external account key of his", domain)
	case registry.TimedOut:
		return waiting, acme.Unauthorized("%s was proven, but the customer who registered it did not confirm in time that this account is his; make a new order to have him asked again, or use an account with an external account binding", domain)
	}
	return waiting, nil
}

// ended tells whether a binding came to nothing before a name was proven: it says
// nothing of this proof, and there may be another.
func ended(b *registry.Binding, proven time.Time) bool {
	switch b.State {
	case registry.Refused, registry.Ended:
		return b.DecidedAt.Before(proven)
	case registry.TimedOut:
		return b.ExpiresAt.Before(proven)
	}
	return false
}

func contactOf(a *Account) string {
	if len(a.Contacts) == 0 {
		return ""
	}
	return a.Contacts[0]
}

// settle brings those of the authorisations up to date that are held: a customer
// may have decided since. The rest cost nothing.
func (s *Server) settle(ctx context.Context, list []Authorization) error {
	for i := range list {
		if !list[i].held() || !s.Clock().Before(list[i].Expires) {
			continue
		}
		next, event, err := s.settled(ctx, list[i])
		switch {
		case lasting(err):
			return err
		case next.held():
			continue
		}
		if err := s.storeSettled(ctx, &next, event); err != nil {
			return err
		}
		list[i] = next
	}
	return nil
}

// lasting tells whether an error keeps from telling how things stand. When a
// customer cannot be asked now, things stand as they did.
func lasting(err error) bool {
	switch ca.KindOf(err) {
	case ca.Limited, ca.Denied, ca.NotFound, ca.Conflict:
		return false
	}
	return err != nil
}

// storeSettled stores the outcome. If somebody else stored one meanwhile, that is
// the truth.
func (s *Server) storeSettled(ctx context.Context, next *Authorization, kind string) error {
	event := ca.Principal{Room: Room, ID: next.Account}.Event(s.Clock(), kind, next.ID)
	event.Detail = next.account()
	err := s.Orders.UpdateAuthorization(ctx, *next, Write{Event: event})
	switch {
	case err == nil:
		next.Version++
		return nil
	case ca.KindOf(err) != ca.Conflict:
		return err
	}
	now, err := s.Orders.Authorizations(ctx, []string{next.ID})
	if err == nil {
		*next = now[0]
	}
	return err
}

// settleFor settles what is held of the account's, so that a client which gave up
// waiting and comes again finds the names valid that were confirmed meanwhile.
func (s *Server) settleFor(ctx context.Context, account string) error {
	if !s.Policy.ByDomain {
		return nil
	}
	list, err := s.Background.HeldAuthorizations(ctx, account, s.Clock())
	if err != nil {
		return err
	}
	return s.settle(ctx, list)
}

// pollAfter is when a client shall look again at what is pending.
func (s *Server) pollAfter(a *Authorization) time.Duration {
	switch {
	case a.held():
		return s.Policy.Pause
	case a.Processing.IsZero():
		return 0
	}
	return poll
}
