package registry

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	"chancery/internal/ca"
)

// CustomerState says whether a customer is served.
type CustomerState string

// The states of a customer. Nothing is done for a suspended one: none of his
// keys opens an account, nothing is bound to him, his bindings do not hold, and his
// vettings do not count.
const (
	Active    CustomerState = "active"
	Suspended CustomerState = "suspended"
)

// Customer is somebody whom the authority knows: a person, a department, a firm.
type Customer struct {
	ID          string
	Name        string // in an administrator's words; not unique
	State       CustomerState
	Contacts    []Contact
	Vettings    []Vetting
	By          ca.Principal
	CreatedAt   time.Time
	SuspendedAt time.Time // zero: he is not
	// CanSignIn tells whether there is a passphrase.
	CanSignIn bool
}

// String gives name and id.
func (c Customer) String() string { return fmt.Sprintf("customer %s (%s)", c.ID, c.Name) }

// LogValue is String for a log.
func (c Customer) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Verified gives the addresses that are proven to be the customer's.
func (c *Customer) Verified() []string {
	var all []string
	for _, one := range c.Contacts {
		if !one.VerifiedAt.IsZero() {
			all = append(all, one.Address)
		}
	}
	return all
}

// Contact is a mail address of a customer: the local part as it was written, the
// domain in lower case (RFC 5321 §2.4).
type Contact struct {
	Address    string
	AddedAt    time.Time
	VerifiedAt time.Time // zero: nobody knows yet whether it is his
	How        string    // "mail" or "vouched", once it is verified
}

// Subject is what a vetting found out of a customer, for a certificate's subject.
type Subject struct {
	Organization string // O
	Country      string // C: two letters of ISO 3166
	Locality     string // L
	Province     string // ST
	Serial       string // serialNumber: the number in a register
	Category     string // businessCategory: one of [Categories]
	Jurisdiction string // jurisdictionCountryName, where it is registered: two letters of ISO 3166
}

// Categories are the values of Subject.Category, as the CA/Browser Forum's EV
// guidelines have them (section 9.2.3 of 1.8.0).
var Categories = []string{"Private Organization", "Government Entity", "Business Entity", "Non-Commercial Entity"}

// Vetting is the finding of an examination of a customer. Kind is the word that
// CAA records use for certificates of that sort (RFC 8657 §4 leaves names that
// begin with "ca-" to the authorities): "ca-ov", "ca-ev", "ca-qwac".
type Vetting struct {
	Kind    string
	Subject Subject
	Until   time.Time // good until then
	By      ca.Principal
	At      time.Time
}

// AddCustomer makes a customer without contacts. The name is one line; kind
// Invalid.
func (r *Registry) AddCustomer(ctx context.Context, by ca.Principal, name string) (Customer, error) {
	name = strings.TrimSpace(name)
	if !oneLine(name, maxLabel) {
		return Customer{}, ca.Errorf(ca.Invalid, "a customer's name is one line of at most %d octets", maxLabel)
	}
	c := Customer{ID: ca.NewID(), Name: name, State: Active, By: by, CreatedAt: r.now()}
	return c, r.Store.CreateCustomer(ctx, c, r.event(event{by, "customer.added", c.ID, map[string]string{"name": name}}))
}

// Customer finds by id, kind NotFound.
func (r *Registry) Customer(ctx context.Context, id string) (Customer, error) {
	if err := ofNone(ctx, id, "customer"); err != nil {
		return Customer{}, err
	}
	return r.Store.Customer(ctx, id)
}

// CustomerPage gives a page of the customers, newest first, 100 unless it says so, and the
// next one's cursor, "" at the end. Kind Invalid.
func (r *Registry) CustomerPage(ctx context.Context, p Page) ([]Customer, string, error) {
	p, err := p.sized()
	if err != nil {
		return nil, "", err
	}
	return r.Store.CustomerPage(ctx, p)
}

// Suspend stops serving a customer; kind NotFound, or Conflict when he is suspended.
func (r *Registry) Suspend(ctx context.Context, by ca.Principal, id string) error {
	return r.suspend(ctx, id, r.now(), event{by, "customer.suspended", id, nil})
}

// Resume serves a suspended customer again; kind NotFound, or Conflict when he is active.
func (r *Registry) Resume(ctx context.Context, by ca.Principal, id string) error {
	return r.suspend(ctx, id, time.Time{}, event{by, "customer.resumed", id, nil})
}

func (r *Registry) suspend(ctx context.Context, id string, at time.Time, e event) error {
	if _, err := r.Customer(ctx, id); err != nil {
		return err
	}
	return r.Store.SetSuspended(ctx, id, at, r.event(e))
}

var (
	vettingKind = regexp.MustCompile(`^ca-[a-z0-9]+(-[a-z0-9]+)*$`)
	country     = regexp.MustCompile(`^[A-Z]{2}$`)
)

// maxVetting is how long an examination can count: a wrong year is not for ever.
const maxVetting = 5 * 366 * 24 * time.Hour

// Vet records what an examination of a customer found, instead of what the last of
// its kind did. Kind, Subject and Until are needed; errors are of kind Invalid,
// NotFound or Denied.
func (r *Registry) Vet(ctx context.Context, customer string, v Vetting) error {
	v.At = r.now()
	s := &v.Subject
	switch {
	case !vettingKind.MatchString(v.Kind) || len(v.Kind) > 32:
		return ca.Errorf(ca.Invalid, "a vetting's kind begins with \"ca-\", as in ca-ov, ca-ev, ca-qwac")
	case s.Organization == "":
		return ca.Errorf(ca.Invalid, "say of which organization it was found out")
	case s.Country != "" && !country.MatchString(s.Country):
		return ca.Errorf(ca.Invalid, "a country is two capital letters of ISO 3166, such as DE")
	case s.Jurisdiction != "" && !country.MatchString(s.Jurisdiction):
		return ca.Errorf(ca.Invalid, "the country of jurisdiction is two capital letters of ISO 3166, such as DE")
	case s.Category != "" && !slices.Contains(Categories, s.Category):
		return ca.Errorf(ca.Invalid, "a business category is one of: %s", strings.Join(Categories, ", "))
	case !v.Until.After(v.At) || v.Until.Sub(v.At) > maxVetting:
		return ca.Errorf(ca.Invalid, "say until when the vetting counts: a time to come, five years from now at most")
	}
	for name, value := range map[string]string{"organization": s.Organization, "locality": s.Locality, "province": s.Province, "serial": s.Serial} {
		if value != "" && !oneLine(value, 64) { // RFC 5280 appendix A: ub-organization-name, ub-serial-number
			return ca.Errorf(ca.Invalid, "the %s is one line of at most 64 octets", name)
		}
	}
	if _, err := r.Customer(ctx, customer); err != nil {
		return err
	}
	vetted := event{v.By, "customer.vetted", customer, map[string]string{"kind": v.Kind, "organization": s.Organization, "until": v.Until.Format(time.RFC3339)}}
	return r.Store.SetVetting(ctx, customer, v, r.event(vetted))
}

// Vetted gives the customer's vetting of a kind that counts now; kind NotFound if
// there is none, or no such customer, or if he is suspended.
func (r *Registry) Vetted(ctx context.Context, customer, kind string) (Vetting, error) {
	c, err := r.Customer(ctx, customer)
	if err != nil {
		return Vetting{}, err
	}
	now := r.now()
	for _, v := range c.Vettings {
		if v.Kind == kind && now.Before(v.Until) && c.State == Active {
			return v, nil
		}
	}
	return Vetting{}, ca.Errorf(ca.NotFound, "the customer has no vetting of the kind %.32s that counts now; see: chancery customer vet", kind)
}
