package acmeserver

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"chancery/acme"
	"chancery/internal/ca"
	"chancery/internal/registry"
)

// Customers tells to whom accounts belong, and has the customers asked;
// [registry.Registry] fits.
type Customers interface {
	// BindingsOf gives all of the account's bindings: the pending and the ended ones,
	// and those to suspended customers too.
	BindingsOf(ctx context.Context, account string) ([]registry.Binding, error)
	// Holders gives the customers that proved the domain or one above it, the suspended
	// ones too, and of a wildcard also those of domains below it.
	Holders(ctx context.Context, domain string) ([]registry.Holder, error)
	// Choose gives the customer to ask for a domain; kind NotFound when nobody active
	// holds it, Conflict when several do and no contact tells them apart.
	Choose(ctx context.Context, c registry.Choice) (registry.Customer, error)
	// ByContact gives the customer who verified the address; kind NotFound, or
	// Conflict when several did.
	ByContact(ctx context.Context, contact string) (registry.Customer, error)
	// Ask has the customer asked, durably, and gives what stands: asked again, it
	// gives the open question, or the answer if that is still good. Kind Limited for
	// what is asked too often.
	Ask(ctx context.Context, a registry.Asking) (registry.Binding, error)
	// Vetted gives the customer's vetting of the kind that is good now; kind
	// NotFound.
	Vetted(ctx context.Context, customer, kind string) (registry.Vetting, error)
}

// Policy says which bindings of accounts to customers there are, and whether one
// is needed.
type Policy struct {
	// Require: an account without a binding gets no certificate.
	Require bool
	// ByDomain: the holder of a domain that an account proves is asked.
	ByDomain bool
	// ByMail: the customer whose address a new account claims is asked.
	ByMail bool
	// Pause is when a client shall look again while a customer is asked; 0: 15 s.
	Pause time.Duration
}

// confirmed tells whether there is a binding that a customer, or an external key,
// made good.
func confirmed(all []registry.Binding) bool {
	return slices.ContainsFunc(all, func(b registry.Binding) bool { return b.Holds() })
}

// boundTo tells whether such a binding is to one of the customers that hold a name.
func boundTo(all []registry.Binding, holders []registry.Holder) bool {
	return slices.ContainsFunc(all, func(b registry.Binding) bool { return b.Holds() && among(holders, b.Customer) })
}

func among(holders []registry.Holder, customer string) bool {
	return slices.ContainsFunc(holders, func(h registry.Holder) bool { return h.Customer == customer })
}

// unserved tells whether a name has holders, and all of them are suspended.
func unserved(holders []registry.Holder) bool {
	return len(holders) > 0 && !slices.ContainsFunc(holders, func(h registry.Holder) bool { return !h.Suspended })
}

func errUnserved(domain string) error {
	return acme.Unauthorized("%s is registered by a customer of this authority who is suspended: nothing is certified for it until the administrators serve him again, or take the domain from him (chancery customer domain remove)", domain)
}

// mayOrder refuses an account that lacks a binding which no order can bring it.
func (s *Server) mayOrder(ctx context.Context, c *call) error {
	if err := c.bound(); err != nil {
		return err
	}
	all, err := s.served(ctx, c.account)
	if err != nil || c.account.Binding != "" || confirmed(all) {
		return err
	}
	s.askLater(c.account)
	if !s.Policy.Require || s.Policy.ByDomain {
		return nil
	}
	if !s.Policy.ByMail {
		return errUnbound()
	}
	// Who claims an address is not told whether it is a customer's. The instance is
	// a page that says what to do, never the page that confirms (RFC 8555 §6.7).
	return acme.UserActionRequired(s.Base+registry.BindingPath,
		"this account is not bound to a customer yet: if a contact address of the account is a verified address of a customer, that customer has been asked to confirm; try again when he has, or use an account with an external account binding")
}

func errUnbound() error {
	return acme.NewProblem(acme.TypeExternalAccountRequired,
		"this account is not bound to a customer, which orders here need: ask the administrators for a key id and an HMAC key, and open another account with them, with another account key")
}

// askByMail has the customers asked whose verified address the account claims.
// What fails is logged and tried again when the account comes again: the account
// does not depend on it, and who claims an address learns nothing of it.
func (s *Server) askByMail(ctx context.Context, a *Account) {
	for _, contact := range a.Contacts {
		customer, err := s.Customers.ByContact(ctx, contact)
		if err == nil {
			_, err = s.ask(ctx, registry.Asking{Account: a.ID, Customer: customer.ID, Via: registry.ViaMail, Contact: contact, Thumbprint: a.Thumb})
		}
		if kind := ca.KindOf(err); err != nil && kind != ca.NotFound && kind != ca.Conflict {
			s.Logger.WarnContext(ctx, "a customer could not be asked about an account", "account", a.ID, "error", err)
		}
	}
}

// askFirst is askByMail for an account that was just opened. Accounts cost their
// opener little, so how often one place may cause a mail is bounded, too.
func (s *Server) askFirst(ctx context.Context, c *call, a *Account) {
	if !s.Policy.ByMail || len(a.Contacts) == 0 {
		return
	}
	if s.NewBindings != nil {
		if _, ok := s.NewBindings("address "+clientKey(c.client), s.Clock()); !ok {
			return // the account comes again, and then its own bound counts
		}
	}
	s.askLater(a)
}

const (
	// askersAtOnce is how many accounts' contacts are looked up at a time, and
	// askersInAll how many wait for it at most.
	askersAtOnce = 4
	askersInAll  = 1024
)

// askLater is askByMail behind the answer's back: how long the answer takes must not
// tell whether an address is a customer's. What a process that ends leaves, and what
// is too much, is made up for by the account's next order.
func (s *Server) askLater(a *Account) {
	if !s.Policy.ByMail || a.Binding != "" || len(a.Contacts) == 0 {
		return
	}
	one := *a
	s.asking.begin(func() {
		ctx, cancel := context.WithTimeout(context.Background(), settleTime)
		defer cancel()
		s.askByMail(ctx, &one)
	})
}

// askers is what is asked in the background. Its zero value has no room.
type askers struct {
	places chan struct{} // of those that run

	mu     sync.Mutex
	under  int // way, or waiting
	closed bool
	count  sync.WaitGroup
}

func (k *askers) begin(ask func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.under >= askersInAll {
		return
	}
	k.under++
	k.count.Go(func() {
		k.places <- struct{}{}
		ask()
		<-k.places
		k.mu.Lock()
		k.under--
		k.mu.Unlock()
	})
}

// close waits for what is under way, which settleTime bounds, and begins no more.
func (k *askers) close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.count.Wait()
}

// ask has a customer asked, not too often, and gives what stands: an open
// question, or an answer that is still good.
func (s *Server) ask(ctx context.Context, a registry.Asking) (*registry.Binding, error) {
	all, err := s.Customers.BindingsOf(ctx, a.Account)
	if err != nil {
		return nil, err
	}
	if last := latest(all, a.Customer); last != nil && (last.State == registry.Pending || last.State == registry.Confirmed) {
		return last, nil
	}
	if s.NewBindings != nil {
		if after, ok := s.NewBindings("account "+a.Account, s.Clock()); !ok {
			return nil, &ca.Error{Kind: ca.Limited, RetryAfter: after, Detail: "too many confirmations were asked for; come back later, or use an external account binding"}
		}
	}
	a.AccountURL = s.accountURL(a.Account)
	b, err := s.Customers.Ask(ctx, a)
	return &b, err
}

// latest gives the newest binding to the customer, nil if there is none.
func latest(all []registry.Binding, customer string) *registry.Binding {
	var found *registry.Binding
	for i := range all {
		if b := &all[i]; b.Customer == customer && (found == nil || b.AskedAt.After(found.AskedAt)) {
			found = b
		}
	}
	return found
}

// vouched is for whom a certificate is that names an organisation.
type vouched struct {
	labels  []string
	subject ca.Subject
}

// vouch gives what the vetting behind an account says of the customer, where the
// profile's kind needs one (auto-discovery §8.1.1); otherwise nothing. Problems
// send a client on to another kind of certificate or another authority.
func (s *Server) vouch(ctx context.Context, a *Account, order *Order) (vouched, error) {
	p := s.Authority.Profiles[order.Profile]
	if p == nil || p.Kind == "" {
		return vouched{}, nil
	}
	kind := string(p.Kind)
	if !p.Kind.Binding() {
		return vouched{labels: []string{kind}}, nil
	}
	var all []registry.Binding
	if s.Customers != nil {
		var err error
		if all, err = s.Customers.BindingsOf(ctx, a.ID); err != nil {
			return vouched{}, err
		}
	}
	found, err := s.vetted(ctx, all, kind)
	switch {
	case err != nil:
		return vouched{}, err
	case !confirmed(all):
		return vouched{}, acme.NewProblem(acme.TypeExternalAccountRequired,
			"profile %s (%s) is for accounts that are bound to a vetted customer, and this one is bound to none: use an account with that customer's external account key, or another profile", order.Profile, kind)
	case len(found) == 0:
		return vouched{}, acme.Unauthorized(
			"profile %s (%s) is for customers who are vetted for it, and the one behind this account is not, or not any more: have the administrators of this authority vet him, or use another profile", order.Profile, kind)
	}
	v, err := s.oneOf(ctx, found, order.Identifiers)
	if err != nil {
		return vouched{}, err
	}
	return vouched{labels: []string{kind}, subject: p.Picked(ca.Subject{
		Organization: v.Subject.Organization, Country: v.Subject.Country, Locality: v.Subject.Locality, Province: v.Subject.Province,
		SerialNumber: v.Subject.Serial, BusinessCategory: v.Subject.Category, JurisdictionCountry: v.Subject.Jurisdiction,
	})}, nil
}

// vetting is a customer's.
type vetting struct {
	registry.Vetting
	customer string
}

// vetted gives the vettings of the kind of all customers to whom there is a
// confirmed binding.
func (s *Server) vetted(ctx context.Context, all []registry.Binding, kind string) ([]vetting, error) {
	var found []vetting
	for _, b := range all {
		known := slices.ContainsFunc(found, func(v vetting) bool { return v.customer == b.Customer })
		if b.State != registry.Confirmed || known {
			continue
		}
		switch v, err := s.Customers.Vetted(ctx, b.Customer, kind); {
		case err == nil:
			found = append(found, vetting{v, b.Customer})
		case ca.KindOf(err) != ca.NotFound:
			return nil, err
		}
	}
	return found, nil
}

// oneOf tells which of the vetted customers is meant: the one who holds all dns names
// of the order. What an examination found of somebody may stand beside no name that he
// has not proven as his, whoever holds its key.
func (s *Server) oneOf(ctx context.Context, found []vetting, names []ca.Identifier) (vetting, error) {
	several := len(found) > 1
	for _, name := range names {
		if name.Type() != ca.TypeDNS {
			continue // nobody holds an address
		}
		holders, err := s.holders(ctx, name)
		if err != nil {
			return vetting{}, err
		}
		found = slices.DeleteFunc(found, func(v vetting) bool { return !among(holders, v.customer) })
		if len(found) == 0 && !several {
			return vetting{}, acme.Unauthorized("the vetted customer behind this account has not proven to this authority that %s is his, and his organization stands in certificates for his own domains alone: have the administrators register it for him (chancery customer domain add, then verify or vouch), or use another profile", name.Base().Value())
		}
	}
	if len(found) != 1 {
		return vetting{}, acme.Unauthorized("the account is bound to several vetted customers, and the names of the order do not tell which of them is meant: all names have to be below domains that the same one has registered (chancery customer domain add); or use an account for each customer")
	}
	return found[0], nil
}

// holders gives the customers that hold a name. Nobody holds an address.
func (s *Server) holders(ctx context.Context, name ca.Identifier) ([]registry.Holder, error) {
	if name.Type() != ca.TypeDNS {
		return nil, nil
	}
	return s.Customers.Holders(ctx, name.Base().Value())
}

// around gives the customers that hold a name, and where those hold nothing, of a
// wildcard, the holders of names below it.
func (s *Server) around(ctx context.Context, name ca.Identifier) (holders, below []registry.Holder, err error) {
	if !name.IsWildcard() {
		holders, err = s.holders(ctx, name)
		return holders, nil, err
	}
	all, err := s.Customers.Holders(ctx, name.Value())
	for _, h := range all {
		if h.Below == "" {
			holders = append(holders, h)
		} else {
			below = append(below, h)
		}
	}
	if len(holders) > 0 {
		below = nil // who holds a name holds all below it
	}
	return holders, below, err
}

// outside tells whether there is a name below a wildcard that the account could not get by
// itself: it is bound to nobody who holds it, or a name between the two.
func outside(all []registry.Binding, below []registry.Holder) bool {
	if len(below) >= registry.MostBelow {
		return true
	}
	return slices.ContainsFunc(below, func(h registry.Holder) bool {
		return !slices.ContainsFunc(below, func(over registry.Holder) bool {
			return (h.Below == over.Below || strings.HasSuffix(h.Below, "."+over.Below)) && boundTo(all, []registry.Holder{over})
		})
	})
}

func errCovers(name ca.Identifier) error {
	return acme.Unauthorized("%s covers names that customers of this authority registered, to whom this account is not bound: order the names that you need instead, or use an account that is bound to these customers", name.Value())
}

// problemIn gives the problem that an error is, and whether it is one.
func problemIn(err error) (*acme.Problem, bool) {
	var p *acme.Problem
	return p, errors.As(err, &p)
}
