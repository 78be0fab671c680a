package registry

import (
	"fmt"
	"log/slog"
	"time"

	"chancery/internal/ca"
)

// CustomerState says whether a customer is served.
type CustomerState string

// The states of a customer. Nothing is done for a suspended one: none of his
// keys opens an account, nothing is bound to him, and his vettings do not count.
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
}

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
