package desk

import (
	"context"
	"time"

	"chancery/internal/admin"
	"chancery/internal/registry"
)

// ContactNamed is the input of operations on a customer's address.
type ContactNamed struct {
	Customer string `json:"customer"`
	Address  string `json:"address"`
	Code     string `json:"code,omitempty"` // customer.contact.verify's
}

func (in *ContactNamed) proof() registry.ContactProof {
	return registry.ContactProof{Customer: in.Customer, Address: in.Address, Code: in.Code}
}

// ContactAdded is the output of customer.contact.add.
type ContactAdded struct {
	Contact
	Mails bool `json:"mails"` // whether this server sends the code; else vouch
}

func (d *Desk) addContact(ctx context.Context, caller admin.Caller, in ContactNamed) (ContactAdded, error) {
	c, err := d.Registry.AddContact(ctx, by(caller), in.proof())
	return ContactAdded{contactShown(c), d.Registry.Mailer != nil}, err
}

func (d *Desk) verifyContact(ctx context.Context, caller admin.Caller, in ContactNamed) (struct{}, error) {
	return struct{}{}, d.Registry.VerifyContact(ctx, by(caller), in.proof())
}

func (d *Desk) vouchContact(ctx context.Context, caller admin.Caller, in ContactNamed) (struct{}, error) {
	return struct{}{}, d.Registry.VouchContact(ctx, by(caller), in.proof())
}

func (d *Desk) removeContact(ctx context.Context, caller admin.Caller, in ContactNamed) (struct{}, error) {
	return struct{}{}, d.Registry.RemoveContact(ctx, by(caller), in.proof())
}

// DomainNamed is the input of operations on a customer's domain.
type DomainNamed struct {
	Customer string `json:"customer"`
	Domain   string `json:"domain"`
}

func (in *DomainNamed) domain() registry.Domain {
	return registry.Domain{Customer: in.Customer, Name: in.Domain}
}

// DomainAdded is the input of customer.domain.add.
type DomainAdded struct {
	DomainNamed
	Force bool `json:"force,omitempty"` // take a public suffix too
}

// Domain is a customer's.
type Domain struct {
	Name    string    `json:"name"`
	State   string    `json:"state"`  // "unproven", "proven" or "expired"
	Record  string    `json:"record"` // where the TXT record is to stand
	Value   string    `json:"value"`  // what it is to say
	Added   time.Time `json:"added"`
	Proven  time.Time `json:"proven,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
	How     string    `json:"how,omitempty"` // "dns" or "vouched"
	// Warning says why the domain is broad for one customer; customer.domain.add's alone.
	Warning string `json:"warning,omitempty"`
}

// Domains is the output of customer.domain.list.
type Domains struct {
	Domains []Domain `json:"domains"`
}

func (d *Desk) domainShown(one *registry.Domain) Domain {
	state := "unproven"
	switch {
	case one.Proven(d.Clock()):
		state = "proven"
	case !one.ProvenAt.IsZero():
		state = "expired"
	}
	return Domain{Name: one.Name, State: state, Record: one.Record(), Value: one.Token, Added: one.AddedAt,
		Proven: one.ProvenAt, Expires: one.Expires, How: one.How}
}

func (d *Desk) addDomain(ctx context.Context, caller admin.Caller, in DomainAdded) (Domain, error) {
	wanted := in.domain()
	wanted.Whole = in.Force
	one, err := d.Registry.AddDomain(ctx, by(caller), wanted)
	out := d.domainShown(&one)
	if err == nil {
		out.Warning, _ = registry.Breadth(one.Name)
	}
	return out, err
}

func (d *Desk) listDomains(ctx context.Context, _ admin.Caller, in CustomerNamed) (Domains, error) {
	all, err := d.Registry.Domains(ctx, in.ID)
	out := Domains{Domains: []Domain{}}
	for i := range all {
		out.Domains = append(out.Domains, d.domainShown(&all[i]))
	}
	return out, err
}

func (d *Desk) verifyDomain(ctx context.Context, caller admin.Caller, in DomainNamed) (Domain, error) {
	one, err := d.Registry.VerifyDomain(ctx, by(caller), in.domain())
	return d.domainShown(&one), err
}

func (d *Desk) vouchDomain(ctx context.Context, caller admin.Caller, in DomainNamed) (Domain, error) {
	one, err := d.Registry.VouchDomain(ctx, by(caller), in.domain())
	return d.domainShown(&one), err
}

func (d *Desk) removeDomain(ctx context.Context, caller admin.Caller, in DomainNamed) (struct{}, error) {
	return struct{}{}, d.Registry.RemoveDomain(ctx, by(caller), in.domain())
}
