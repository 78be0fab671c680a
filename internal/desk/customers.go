package desk

import (
	"context"
	"time"

	"chancery/internal/admin"
	"chancery/internal/registry"
)

// peopleOperations are about customers and what is theirs; see [Config].Registry.
func (d *Desk) peopleOperations() []admin.Operation {
	const r = admin.Registrar
	return []admin.Operation{
		admin.Op(admin.Spec{Name: "customer.add", Role: r, Summary: "makes a customer"}, d.addCustomer),
		admin.Op(admin.Spec{Name: "customer.list", Role: r, Summary: "lists the customers"}, d.listCustomers),
		admin.Op(admin.Spec{Name: "customer.show", Role: r, Summary: "shows a customer and his domains"}, d.showCustomer),
		admin.Op(admin.Spec{Name: "customer.suspend", Role: r, Summary: "stops serving a customer"}, d.suspendCustomer),
		admin.Op(admin.Spec{Name: "customer.resume", Role: r, Summary: "serves a suspended customer again"}, d.resumeCustomer),
		admin.Op(admin.Spec{Name: "customer.passphrase", Role: r, Summary: "sets what a customer signs in with"}, d.setPassphrase),
		admin.Op(admin.Spec{Name: "customer.vet", Role: r, Summary: "records what an examination of a customer found"}, d.vet),
		admin.Op(admin.Spec{Name: "customer.contact.add", Role: r, Summary: "gives a customer an address and mails a code to it"}, d.addContact),
		admin.Op(admin.Spec{Name: "customer.contact.verify", Role: r, Summary: "verifies an address by the mailed code"}, d.verifyContact),
		admin.Op(admin.Spec{Name: "customer.contact.vouch", Role: r, Summary: "verifies an address on the caller's word"}, d.vouchContact),
		admin.Op(admin.Spec{Name: "customer.contact.remove", Role: r, Summary: "forgets an address"}, d.removeContact),
		admin.Op(admin.Spec{Name: "customer.domain.add", Role: r, Summary: "registers a domain for a customer"}, d.addDomain),
		admin.Op(admin.Spec{Name: "customer.domain.list", Role: r, Summary: "lists a customer's domains"}, d.listDomains),
		admin.Op(admin.Spec{Name: "customer.domain.verify", Role: r, Summary: "proves, or renews the proof of, a domain by its TXT record"}, d.verifyDomain),
		admin.Op(admin.Spec{Name: "customer.domain.vouch", Role: r, Summary: "proves a domain on the caller's word"}, d.vouchDomain),
		admin.Op(admin.Spec{Name: "customer.domain.remove", Role: r, Summary: "forgets a domain and its proof"}, d.removeDomain),
		admin.Op(admin.Spec{Name: "binding.list", Role: admin.Approver, Summary: "lists the bindings of accounts to customers, newest first"}, d.listBindings),
		admin.Op(admin.Spec{Name: "binding.show", Role: admin.Approver, Summary: "shows a binding"}, d.showBinding),
		admin.Op(admin.Spec{Name: "binding.confirm", Role: admin.Approver, Summary: "confirms in a customer's place that an account is his"}, d.confirmBinding),
		admin.Op(admin.Spec{Name: "binding.refuse", Role: admin.Approver, Summary: "refuses in a customer's place that an account is his"}, d.refuseBinding),
		admin.Op(admin.Spec{Name: "binding.end", Role: admin.Approver, Summary: "ends a confirmed binding"}, d.endBinding),
	}
}

// CustomerWanted is the input of customer.add.
type CustomerWanted struct {
	Name string `json:"name"`
}

// CustomerNamed is the input of operations on one customer.
type CustomerNamed struct {
	ID string `json:"id"`
}

// Customer is one as administrators see him.
type Customer struct {
	ID        string                 `json:"id"`
	Name      string                 `json:"name"`
	State     registry.CustomerState `json:"state"`
	Contacts  []Contact              `json:"contacts"`
	Vettings  []Vetting              `json:"vettings"`
	Domains   []Domain               `json:"domains,omitempty"` // customer.show's alone
	CanSignIn bool                   `json:"can_sign_in"`
	By        string                 `json:"by"`
	Created   time.Time              `json:"created"`
	Suspended time.Time              `json:"suspended,omitzero"`
}

// Contact is a customer's address.
type Contact struct {
	Address  string    `json:"address"`
	Added    time.Time `json:"added"`
	Verified time.Time `json:"verified,omitzero"`
	How      string    `json:"how,omitempty"` // "mail" or "vouched"
}

// Vetting is what an examination found, and customer.vet's input with the
// customer.
type Vetting struct {
	Kind         string    `json:"kind"` // "ca-ov", "ca-ev", …
	Organization string    `json:"organization"`
	Country      string    `json:"country,omitempty"`
	Locality     string    `json:"locality,omitempty"`
	Province     string    `json:"province,omitempty"`
	Serial       string    `json:"serial,omitempty"`
	Category     string    `json:"business_category,omitempty"`    // one of [registry.Categories]
	Jurisdiction string    `json:"jurisdiction_country,omitempty"` // of the register
	Until        time.Time `json:"until"`
	By           string    `json:"by,omitempty"`
	At           time.Time `json:"at,omitzero"`
}

// VettingWanted is the input of customer.vet.
type VettingWanted struct {
	Customer string `json:"customer"`
	Vetting
}

// Customers is the output of customer.list, newest first.
type Customers struct {
	Customers []Customer `json:"customers"`
	Next      string     `json:"next,omitempty"` // the cursor of the next page, if there is one
}

// CustomersWanted is the input of customer.list.
type CustomersWanted struct {
	Limit  int    `json:"limit,omitempty"`  // at most so many, up to 1000; 100 unless it says so
	Cursor string `json:"cursor,omitempty"` // "next" of the page before
}

func (d *Desk) addCustomer(ctx context.Context, caller admin.Caller, in CustomerWanted) (Customer, error) {
	c, err := d.Registry.AddCustomer(ctx, by(caller), in.Name)
	return customerShown(&c), err
}

func (d *Desk) listCustomers(ctx context.Context, _ admin.Caller, in CustomersWanted) (Customers, error) {
	all, next, err := d.Registry.CustomerPage(ctx, registry.Page{Cursor: in.Cursor, Limit: in.Limit})
	out := Customers{Customers: []Customer{}, Next: next}
	for i := range all {
		out.Customers = append(out.Customers, customerShown(&all[i]))
	}
	return out, err
}

func (d *Desk) showCustomer(ctx context.Context, _ admin.Caller, in CustomerNamed) (Customer, error) {
	c, err := d.Registry.Customer(ctx, in.ID)
	if err != nil {
		return Customer{}, err
	}
	domains, err := d.Registry.Domains(ctx, in.ID)
	out := customerShown(&c)
	for i := range domains {
		out.Domains = append(out.Domains, d.domainShown(&domains[i]))
	}
	return out, err
}

func customerShown(c *registry.Customer) Customer {
	out := Customer{ID: c.ID, Name: c.Name, State: c.State, Contacts: []Contact{}, Vettings: []Vetting{}, CanSignIn: c.CanSignIn,
		By: c.By.ID, Created: c.CreatedAt, Suspended: c.SuspendedAt}
	for _, one := range c.Contacts {
		out.Contacts = append(out.Contacts, contactShown(one))
	}
	for _, v := range c.Vettings {
		out.Vettings = append(out.Vettings, Vetting{Kind: v.Kind, Organization: v.Subject.Organization, Country: v.Subject.Country,
			Locality: v.Subject.Locality, Province: v.Subject.Province, Serial: v.Subject.Serial,
			Category: v.Subject.Category, Jurisdiction: v.Subject.Jurisdiction, Until: v.Until, By: v.By.ID, At: v.At})
	}
	return out
}

func contactShown(c registry.Contact) Contact {
	return Contact{Address: c.Address, Added: c.AddedAt, Verified: c.VerifiedAt, How: c.How}
}

func (d *Desk) suspendCustomer(ctx context.Context, caller admin.Caller, in CustomerNamed) (Customer, error) {
	if err := d.Registry.Suspend(ctx, by(caller), in.ID); err != nil {
		return Customer{}, err
	}
	return d.showCustomer(ctx, caller, in)
}

func (d *Desk) resumeCustomer(ctx context.Context, caller admin.Caller, in CustomerNamed) (Customer, error) {
	if err := d.Registry.Resume(ctx, by(caller), in.ID); err != nil {
		return Customer{}, err
	}
	return d.showCustomer(ctx, caller, in)
}

// Passphrase is the input of customer.passphrase.
type Passphrase struct {
	Customer   string `json:"customer"`
	Passphrase string `json:"passphrase"`
}

// String leaves the passphrase out.
func (p Passphrase) String() string { return "passphrase of " + p.Customer }

// GoString is String, for %#v.
func (p Passphrase) GoString() string { return p.String() }

func (d *Desk) setPassphrase(ctx context.Context, caller admin.Caller, in Passphrase) (struct{}, error) {
	return struct{}{}, d.Registry.SetPassphrase(ctx, by(caller), registry.SignIn{Customer: in.Customer, Passphrase: in.Passphrase})
}

func (d *Desk) vet(ctx context.Context, caller admin.Caller, in VettingWanted) (Customer, error) {
	v := registry.Vetting{Kind: in.Kind, Until: in.Until, By: by(caller), Subject: registry.Subject{Organization: in.Organization,
		Country: in.Country, Locality: in.Locality, Province: in.Province, Serial: in.Serial,
		Category: in.Category, Jurisdiction: in.Jurisdiction}}
	if err := d.Registry.Vet(ctx, in.Customer, v); err != nil {
		return Customer{}, err
	}
	return d.showCustomer(ctx, caller, CustomerNamed{in.Customer})
}
