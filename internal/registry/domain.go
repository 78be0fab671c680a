package registry

import "time"

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
