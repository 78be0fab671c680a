package registry

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"time"

	"chancery/internal/ca"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// Domain is a domain that a customer registered. Several customers may register
// and prove the same one. While the proof is good it covers the domain and all
// names below it.
type Domain struct {
	Customer string // the id
	Name     string // lower-case A-labels
	Token    string // what the TXT record at Record says; no secret
	AddedAt  time.Time
	ProvenAt time.Time // zero: not yet
	Expires  time.Time // when the proof ends; zero: there is none
	How      string    // ByDNS or Vouched, once it is proven
	// Whole is a wish of who adds a public suffix, such as co.uk: all of it is to be the
	// customer's. It is not kept.
	Whole bool
}

// How a domain or contact was proven.
const (
	ByDNS   = "dns"
	ByMail  = "mail"
	Vouched = "vouched"
)

// Record is the name of the TXT record that proves the domain.
func (d *Domain) Record() string { return recordLabel + d.Name }

const recordLabel = "_chancery-domain."

// Proven tells whether there is a proof that is good now.
func (d *Domain) Proven(now time.Time) bool { return !d.ProvenAt.IsZero() && now.Before(d.Expires) }

// proofLife is how long a proof counts.
const proofLife = 398 * 24 * time.Hour

// ParseDomain gives the canonical form of a domain that can be registered: a host
// name that leaves room for the record's label. International names may be written as
// people write them (RFC 5891 §5). Errors are of kind BadName.
func ParseDomain(text string) (string, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "*.") {
		return "", ca.Errorf(ca.BadName, "register the domain without \"*.\": it covers all names below it")
	}
	if strings.ContainsFunc(text, func(c rune) bool { return c > '~' }) {
		ascii, err := idna.Lookup.ToASCII(text)
		if err != nil {
			return "", &ca.Error{Kind: ca.BadName, Detail: "the domain breaks the rules for international names; write it in its xn-- form", Err: err}
		}
		text = ascii
	}
	id, err := ca.DNS(text)
	switch {
	case err != nil:
		return "", err
	case len(id.Value()) > 253-len(recordLabel):
		return "", ca.Errorf(ca.BadName, "the domain is too long: there is no room for %s in front of it", recordLabel)
	}
	return id.Value(), nil
}

// covers gives the registered domains that would cover a name: itself and what it
// is below of, longest first.
func covers(name string) []string {
	all := []string{name}
	for {
		_, above, more := strings.Cut(name, ".")
		if !more {
			return all
		}
		all, name = append(all, above), above
	}
}

// Breadth says why a domain is broad for one customer, or "": below it are, or may be,
// names of others. Forbidden tells whether it is a public suffix of the DNS's own
// (publicsuffix.org, its ICANN section).
func Breadth(name string) (why string, forbidden bool) {
	suffix, icann := publicsuffix.PublicSuffix(name)
	switch {
	case suffix != name:
		return "", false
	case icann:
		return name + " is a public suffix: it covers the domains of everybody below it", true
	case strings.Contains(name, "."):
		return name + " is a domain below which others have theirs (publicsuffix.org): it covers them all", false
	}
	return name + " is a single label: it covers every name that ends in it", false
}

// AddDomain registers a domain for a customer; its Record is to say its Token
// then. Kind BadName, NotFound, Denied, also for a public suffix unless it is wanted as
// a whole, or Conflict when it is registered.
func (r *Registry) AddDomain(ctx context.Context, by ca.Principal, d Domain) (Domain, error) {
	name, err := ParseDomain(d.Name)
	if err != nil {
		return Domain{}, err
	}
	if why, forbidden := Breadth(name); forbidden && !d.Whole {
		return Domain{}, ca.Errorf(ca.Denied, "%s; register the customer's own domain, or use --force if all of it is his", why)
	}
	if _, err := r.Customer(ctx, d.Customer); err != nil {
		return Domain{}, err
	}
	d = Domain{Customer: d.Customer, Name: name, Token: rand.Text(), AddedAt: r.now()}
	return d, r.Store.AddDomain(ctx, d, r.event(event{by, "domain.registered", d.Customer, map[string]string{"domain": name}}))
}

// VerifyDomain looks for the domain's record and, finding it, records or renews the
// proof. Kind NotFound, or Denied when the DNS does not show the token.
func (r *Registry) VerifyDomain(ctx context.Context, by ca.Principal, d Domain) (Domain, error) {
	d, err := r.domain(ctx, d)
	if err != nil {
		return Domain{}, err
	}
	if r.Texts == nil {
		return Domain{}, ca.Errorf(ca.Denied, "this server does not ask the DNS; vouch for the domain instead")
	}
	texts, err := r.Texts.TXT(ctx, d.Record())
	if err != nil || !slices.Contains(texts, d.Token) {
		why := ""
		if err != nil {
			why = " (" + err.Error() + ")"
		}
		return Domain{}, &ca.Error{Kind: ca.Denied, Err: err, Detail: "the DNS does not show the proof: a TXT record at " + d.Record() +
			" that says " + d.Token + why + "; if you have just set it, try again in a few minutes"}
	}
	d.How = ByDNS
	return r.proven(ctx, d, event{by, "domain.proven", d.Customer, map[string]string{"domain": d.Name, "record": d.Record()}})
}

// VouchDomain records or renews a proof on an administrator's word, which an event
// keeps. Kind NotFound or Denied.
func (r *Registry) VouchDomain(ctx context.Context, by ca.Principal, d Domain) (Domain, error) {
	d, err := r.domain(ctx, d)
	if err != nil {
		return Domain{}, err
	}
	d.How = Vouched
	return r.proven(ctx, d, event{by, "domain.vouched", d.Customer, map[string]string{"domain": d.Name}})
}

func (r *Registry) proven(ctx context.Context, d Domain, e event) (Domain, error) {
	d.ProvenAt = r.now()
	d.Expires = d.ProvenAt.Add(proofLife)
	return d, r.Store.ProveDomain(ctx, d, r.event(e))
}

// domain finds the one that d names.
func (r *Registry) domain(ctx context.Context, d Domain) (Domain, error) {
	name, err := ParseDomain(d.Name)
	if err != nil {
		return Domain{}, err
	}
	if _, err := r.Customer(ctx, d.Customer); err != nil {
		return Domain{}, err
	}
	return r.Store.Domain(ctx, d.Customer, name)
}

// RemoveDomain forgets a domain and its proof, kind NotFound.
func (r *Registry) RemoveDomain(ctx context.Context, by ca.Principal, d Domain) error {
	d, err := r.domain(ctx, d)
	if err != nil {
		return err
	}
	return r.Store.RemoveDomain(ctx, d, r.event(event{by, "domain.removed", d.Customer, map[string]string{"domain": d.Name}}))
}

// Domains gives a customer's, kind NotFound.
func (r *Registry) Domains(ctx context.Context, customer string) ([]Domain, error) {
	if _, err := r.Customer(ctx, customer); err != nil {
		return nil, err
	}
	return r.Store.Domains(ctx, customer)
}
