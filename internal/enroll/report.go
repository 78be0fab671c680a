package enroll

import (
	"time"

	"chancery/caa"
	"chancery/internal/enroll/vault"
)

// Report is what Discover finds (D17): what would be done, and why.
type Report struct {
	Names    []string       `json:"names"`
	Found    []caa.Set      `json:"caa"`                // each name's records and the climb to them
	Judged   []caa.Report   `json:"judged"`             // what became of each record
	Offers   []OfferReport  `json:"offers"`             // in the order in which they would be tried
	Excluded []Excluded     `json:"excluded,omitempty"` // and by what rule
	Notes    []string       `json:"notes,omitempty"`    // what the owner should know or put right
	Existing *ExistingFound `json:"existing,omitempty"`
	// Together are the sets of names that could go together when all cannot, and Never
	// those that cannot have a certificate at all.
	Together [][]string `json:"together,omitempty"`
	Never    []string   `json:"never,omitempty"`
	Error    string     `json:"error,omitempty"` // why there is no plan
}

// OfferReport is one offer and what its CA says of itself.
type OfferReport struct {
	caa.Offer
	Asked      string   `json:"asked"`               // the directory's URL as it was asked for
	Directory  string   `json:"directory,omitempty"` // where it is, after redirects
	Redirects  []string `json:"redirects,omitempty"`
	VouchedBy  string   `json:"vouchedBy,omitempty"` // "caaIdentities", "tls-name" or "configuration"
	Identities []string `json:"caaIdentities,omitempty"`
	Terms      string   `json:"terms,omitempty"`
	// Basis says by what the terms would be agreed to; "" if they would not.
	Basis   string `json:"basis,omitempty"`
	Binding bool   `json:"externalAccountRequired,omitempty"`
	Bound   bool   `json:"externalAccountThere,omitempty"` // credentials or an account are there
	Account string `json:"accountThere,omitempty"`
	Profile string `json:"profile,omitempty"` // that would be ordered
	// Challenges are the types that this client would answer; which of them the CA
	// offers it says with the order only.
	Challenges []NameChallenges `json:"challenges,omitempty"`
	Circuit    vault.Circuit    `json:"circuit"`
	SetBack    bool             `json:"setBack,omitempty"` // it is down at the moment
	Usable     bool             `json:"usable"`
	Why        string           `json:"why,omitempty"` // it is not usable, and what to do
}

// NameChallenges says how one name can be validated.
type NameChallenges struct {
	Name  string   `json:"name"`
	Types []string `json:"types"`
}

// Excluded is a CA that some name authorises and that will not be asked.
type Excluded struct {
	Name string `json:"name"` // what people call it
	Rule string `json:"rule"` // a sentence
}

// ExistingFound is a certificate that is in the place already (D13).
type ExistingFound struct {
	Names    []string  `json:"names"`
	Issuer   string    `json:"issuer"` // the name in the certificate
	CA       string    `json:"ca,omitempty"`
	Kind     caa.Kind  `json:"kind,omitempty"`
	Ours     bool      `json:"ours"` // obtained by this client
	NotAfter time.Time `json:"notAfter"`
	Current  bool      `json:"current"` // it has not expired
}
