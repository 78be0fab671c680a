package registry

import (
	"cmp"
	"context"
	"slices"
	"time"

	"chancery/internal/ca"
)

// CustomerRoom is the room of a customer who signed in, as a principal.
const CustomerRoom = "customer"

// Via says what led to a binding.
type Via string

// The ways to a binding.
const (
	ViaEAB    Via = "eab"    // the account was opened with the customer's key: nobody is asked
	ViaDomain Via = "domain" // the account proved control of the customer's domain
	ViaMail   Via = "mail"   // the account claims a verified address of the customer
	ViaAdmin  Via = "admin"  // an administrator wants it
)

// BindingState is where a binding stands.
type BindingState string

// The states of a binding. Pending ends in Confirmed, Refused or TimedOut, and
// Confirmed in Ended; the rest are final.
const (
	Pending   BindingState = "pending"
	Confirmed BindingState = "confirmed"
	Refused   BindingState = "refused"
	TimedOut  BindingState = "expired"
	Ended     BindingState = "ended"
)

// Binding ties an ACME account to a customer, or asks for it.
type Binding struct {
	ID         string
	Account    string // the ACME account's id
	AccountURL string // "" for one of ViaEAB
	Customer   string // the id
	// CustomerName and Suspended tell of the customer; the store fills them in.
	CustomerName string
	Suspended    bool
	Via          Via
	Domain       string // that the account proved; may be ""
	Contact      string // that the account claims, or "": unproven, unless Via is mail
	Thumbprint   string // of the account's key (RFC 7638), or ""
	State        BindingState
	AskedAt      time.Time
	ExpiresAt    time.Time // when nobody may decide any more; zero for one of ViaEAB
	DecidedAt    time.Time
	DecidedBy    ca.Principal
	Reason       string    // of the decision, in the decider's words
	ToldAt       time.Time // when the first letter was handed to the mail system; zero: not yet
}

// Asking is a wish to bind an account to a customer.
type Asking struct {
	Account    string
	AccountURL string
	Customer   string
	Via        Via    // ViaDomain, ViaMail or ViaAdmin
	Domain     string // that the account proved control of; ViaDomain needs it
	Contact    string // that the account claims; ViaMail needs it; a mailto URL or an address
	Thumbprint string // of the account's key, for the letter; may be ""
}

// Decision settles a pending binding, or ends a confirmed one.
type Decision struct {
	ID      string
	By      ca.Principal // an administrator, or Principal{Room: CustomerRoom, ID: the customer's id}
	Confirm bool         // or refuse; nothing to [Registry.End]
	Reason  string       // may be ""
}

// Choice is what is known when a customer is to be found for a domain.
type Choice struct {
	Domain   string   // with or without a leading "*."
	Contacts []string // of the account; mailto URLs or addresses
}

// maxReason bounds the words of a decision, in octets.
const maxReason = 500

// Binding finds by id, kind NotFound.
func (r *Registry) Binding(ctx context.Context, id string) (Binding, error) {
	if err := ofNone(ctx, id, "binding"); err != nil {
		return Binding{}, err
	}
	b, err := r.Store.Binding(ctx, id)
	return b.at(r.now()), err
}

// at gives the binding with the state that it has by the clock.
func (b Binding) at(now time.Time) Binding {
	if b.State == Pending && !now.Before(b.ExpiresAt) {
		b.State = TimedOut
	}
	return b
}

// Bindings gives those that fit, newest first, a hundred unless the query says so.
func (r *Registry) Bindings(ctx context.Context, q BindingQuery) ([]Binding, error) {
	switch q.State {
	case "", Pending, Confirmed, Refused, TimedOut, Ended:
	default:
		return nil, ca.Errorf(ca.Invalid, "the state of a binding is one of pending, confirmed, refused, expired, ended")
	}
	if q.Limit <= 0 {
		q.Limit = 100
	}
	q.Limit, q.Now = min(q.Limit, 1000), r.now()
	found, err := r.Store.Bindings(ctx, q)
	for i := range found {
		found[i] = found[i].at(q.Now)
	}
	return found, err
}

// BindingsOf gives all of an account's bindings, those that came to nothing and those
// to suspended customers too: one by a key first, then the oldest. Nothing found is
// no error.
func (r *Registry) BindingsOf(ctx context.Context, account string) ([]Binding, error) {
	found, err := r.Bindings(ctx, BindingQuery{Account: account, Limit: 1000})
	slices.Reverse(found)
	slices.SortStableFunc(found, func(a, b Binding) int { return cmp.Compare(byKey(b), byKey(a)) })
	return found, err
}

// Holds tells whether the binding is good now: it was confirmed, nobody ended it, and
// the customer is served.
func (b *Binding) Holds() bool { return b.State == Confirmed && !b.Suspended }

func byKey(b Binding) int {
	if b.Via == ViaEAB {
		return 1
	}
	return 0
}

// BindingOf gives the binding of an account that holds: the one by the key that it
// was opened with, or else the first that was asked for and confirmed. An account may
// have others, to other customers: see [Registry.BindingsOf]. Kind NotFound if there
// is none, or none to a customer who is served.
func (r *Registry) BindingOf(ctx context.Context, account string) (Binding, error) {
	all, err := r.BindingsOf(ctx, account)
	if err != nil {
		return Binding{}, err
	}
	for _, b := range all {
		if b.Holds() {
			return b, nil
		}
	}
	return Binding{}, ca.Errorf(ca.NotFound, "the account is not bound to a customer")
}

// Decide confirms or refuses a pending binding. A customer decides of his own alone.
// Kind NotFound; Conflict when it was decided or timed out; Denied for a stranger, and
// to confirm for a suspended customer.
func (r *Registry) Decide(ctx context.Context, d Decision) (Binding, error) {
	b, err := r.decidable(ctx, d)
	if err != nil {
		return Binding{}, err
	}
	if b.State != Pending {
		return Binding{}, decided(b)
	}
	kind := "binding.refused"
	b.State, b.DecidedAt, b.DecidedBy, b.Reason = Refused, r.now(), d.By, d.Reason
	if d.Confirm {
		kind, b.State = "binding.confirmed", Confirmed
	}
	err = r.Store.Decide(ctx, b, r.event(event{d.By, kind, b.ID, map[string]string{"account": b.Account, "customer": b.Customer, "reason": d.Reason}}))
	if ca.KindOf(err) == ca.Conflict {
		now, found := r.Binding(ctx, d.ID)
		if found != nil {
			return Binding{}, found
		}
		return Binding{}, decided(now)
	}
	return b, err
}

// Bind binds an account to a customer on an administrator's word: an open question about
// the two is confirmed, or there is a new one that is confirmed at once. Interrupted, it
// leaves an open question, and can be done again. Kind Invalid, NotFound; Denied for a
// suspended customer; Conflict when the account is bound to him, or when that was refused
// or ended within a day.
func (r *Registry) Bind(ctx context.Context, a Asking, d Decision) (Binding, error) {
	a.Via = ViaAdmin
	b, err := r.Ask(ctx, a)
	if err != nil {
		return Binding{}, err
	}
	switch b.State {
	case Confirmed:
		return Binding{}, ca.Errorf(ca.Conflict, "the account is bound to this customer already, by binding %s", b.ID)
	case Refused, Ended:
		return Binding{}, ca.Errorf(ca.Conflict, "this was decided before: binding %s is %s; it can be bound anew after %s", b.ID, b.State, b.DecidedAt.Add(refusalRest).Format(time.RFC3339))
	}
	d.ID, d.Confirm = b.ID, true
	b, err = r.Decide(ctx, d)
	return b, err
}

// decidable finds the binding that a decision is about, and sees whether it may be
// made.
func (r *Registry) decidable(ctx context.Context, d Decision) (Binding, error) {
	b, err := r.Binding(ctx, d.ID)
	switch {
	case err != nil:
		return Binding{}, err
	case d.By.Room == CustomerRoom && d.By.ID != b.Customer:
		return Binding{}, ca.Errorf(ca.NotFound, "there is no such binding")
	case d.Reason != "" && !oneLine(d.Reason, maxReason):
		return Binding{}, ca.Errorf(ca.Invalid, "a reason is one line of at most %d octets", maxReason)
	}
	return b, nil
}

// End ends a confirmed binding, also one by a key: from then on the account gets
// nothing by it. For a day nobody is asked again about the two. A customer ends his
// own alone, a suspended one's is ended by administrators. Kind NotFound; Conflict
// for a binding that is not confirmed.
func (r *Registry) End(ctx context.Context, d Decision) (Binding, error) {
	b, err := r.decidable(ctx, d)
	if err != nil {
		return Binding{}, err
	}
	if b.State == Confirmed {
		b.State, b.DecidedAt, b.DecidedBy, b.Reason = Ended, r.now(), d.By, d.Reason
		err = r.Store.EndBinding(ctx, b, r.event(event{d.By, "binding.ended", b.ID, map[string]string{"account": b.Account, "customer": b.Customer, "reason": d.Reason}}))
		if ca.KindOf(err) != ca.Conflict {
			return b, err
		}
	}
	return Binding{}, ca.Errorf(ca.Conflict, "only a confirmed binding can be ended, and this one is not, or not any more; a question is refused instead")
}

// decided says why nothing is to be decided.
func decided(b Binding) error {
	if b.State == TimedOut {
		return ca.Errorf(ca.Conflict, "the time to decide ended at %s; if the client asks again, there is another question", b.ExpiresAt.Format(time.RFC3339))
	}
	return ca.Errorf(ca.Conflict, "this was decided before: it is %s", b.State)
}
