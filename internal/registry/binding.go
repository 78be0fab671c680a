package registry

import (
	"time"

	"chancery/internal/ca"
)

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

// The states of a binding. Pending ends in one of the others, which are final.
const (
	Pending   BindingState = "pending"
	Confirmed BindingState = "confirmed"
	Refused   BindingState = "refused"
	TimedOut  BindingState = "expired"
)

// Binding ties an ACME account to a customer, or asks for it.
type Binding struct {
	ID         string
	Account    string // the ACME account's id
	AccountURL string // "" for one of ViaEAB
	Customer   string // the id
	Via        Via
	Domain     string // that the account proved; may be ""
	Contact    string // that the account claims, or "": unproven, unless Via is mail
	Thumbprint string // of the account's key (RFC 7638), or ""
	State      BindingState
	AskedAt    time.Time
	ExpiresAt  time.Time // when nobody may decide any more; zero for one of ViaEAB
	DecidedAt  time.Time
	DecidedBy  ca.Principal
	Reason     string    // of the decision, in the decider's words
	ToldAt     time.Time // when the first letter was handed to the mail system; zero: not yet
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

// Decision settles a pending binding.
type Decision struct {
	ID      string
	By      ca.Principal // an administrator, or Principal{Room: "customer", ID: the customer's id}
	Confirm bool         // or refuse
	Reason  string       // may be ""
}

// Choice is what is known when a customer is to be found for a domain.
type Choice struct {
	Domain   string   // with or without a leading "*."
	Contacts []string // of the account; mailto URLs or addresses
}
