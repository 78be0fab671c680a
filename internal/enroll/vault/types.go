package vault

import (
	"encoding/json"
	"time"

	"chancery/caa"
	"chancery/internal/enroll/install"
)

// CA is what is known of one ACME directory.
type CA struct {
	Directory string          `json:"directory"`         // its URL, as asked
	Issuers   []string        `json:"issuers,omitempty"` // names by which it was found
	Account   *Account        `json:"account,omitempty"`
	Circuit   Circuit         `json:"circuit,omitzero"`
	Incident  *Incident       `json:"incident,omitempty"`
	Terms     []Terms         `json:"terms,omitempty"`  // oldest first
	Cached    json.RawMessage `json:"cached,omitempty"` // what else the engine notes, in its form
}

// Account is the account there; its key is a file beside.
type Account struct {
	URL      string    `json:"url"`
	Contacts []string  `json:"contacts,omitempty"`
	Created  time.Time `json:"created"`
	KeyType  string    `json:"keyType,omitempty"`
	EABKeyID string    `json:"eabKeyID,omitempty"`
	Status   string    `json:"status,omitempty"`
}

// Terms are terms of service that were seen, and whether and why they are agreed to.
type Terms struct {
	URL    string    `json:"url"`
	Seen   time.Time `json:"seen"`
	Agreed time.Time `json:"agreed,omitzero"`
	Basis  string    `json:"basis,omitempty"` // "caa", "--agree-tos" or "configuration"
}

// Circuit says whether the CA is left out for a while.
type Circuit struct {
	Failures  int       `json:"failures,omitempty"` // in a row
	OpenUntil time.Time `json:"openUntil,omitzero"`
	Opened    int       `json:"opened,omitempty"` // how often in a row
	Last      time.Time `json:"last,omitzero"`
	Cause     string    `json:"cause,omitempty"`
}

// Incident is a row of failures that the user is told of once.
type Incident struct {
	ID    string    `json:"id"`
	Since time.Time `json:"since"`
	Count int       `json:"count"`
	Cause string    `json:"cause,omitempty"`
	Told  bool      `json:"told,omitempty"`
}

// Sheet is what is wanted: kept so that a renewal can do it again.
type Sheet struct {
	Name      string         `json:"name"`             // file-safe; see [Label]
	Names     []string       `json:"names"`            // as in the certificate
	Origin    string         `json:"origin,omitempty"` // "configuration", or "" = asked for on the command line
	KeyType   string         `json:"keyType,omitempty"`
	ReuseKey  bool           `json:"reuseKey,omitempty"`
	Profile   string         `json:"profile,omitempty"`
	Challenge Challenge      `json:"challenge,omitzero"`
	CA        Choice         `json:"ca,omitzero"`
	Install   install.Target `json:"install,omitzero"`
	Hooks     install.Hooks  `json:"hooks,omitzero"`
	// Options are the engine's own, in its form.
	Options json.RawMessage `json:"options,omitempty"`
}

// Challenge says how control of the names is shown, where it is not as configured.
type Challenge struct {
	Types   []string `json:"types,omitempty"`   // as "http-01", the preferred first
	Webroot string   `json:"webroot,omitempty"` // where another server serves from
	HTTP    string   `json:"http,omitempty"`    // address to listen on
	TLS     string   `json:"tls,omitempty"`     // address to listen on
	DNS     string   `json:"dns,omitempty"`     // label of a provider in the configuration
}

// Choice is what the user said about the CA.
type Choice struct {
	Directory   string `json:"directory,omitempty"` // this one and no discovery
	Label       string `json:"label,omitempty"`     // this configured one and no discovery
	Pin         bool   `json:"pin,omitempty"`       // stay with who issued last
	AllowChange bool   `json:"allowChange,omitempty"`
	Kind        string `json:"kind,omitempty"`
	AgreeTerms  bool   `json:"agreeTerms,omitempty"`
}

// Record is all that is known of one certificate.
type Record struct {
	Sheet   Sheet     `json:"sheet"`
	Current *Issued   `json:"current,omitempty"`
	Next    time.Time `json:"next,omitzero"` // when to look at it again
	Window  *Window   `json:"window,omitempty"`
	Tries   Tries     `json:"tries,omitzero"`
	Pending *Pending  `json:"pending,omitempty"`
	// Kept are orders at other CAs, begun before the one of Pending, that may still come to
	// a certificate for the same key. The oldest first, a few.
	Kept []Pending `json:"kept,omitempty"`
	// Undeployed: Current is not yet installed, or its deploy hook has not succeeded.
	Undeployed *Undeployed `json:"undeployed,omitempty"`
	Disabled   bool        `json:"disabled,omitempty"` // the agent leaves it alone
	Revoked    time.Time   `json:"revoked,omitzero"`
}

// Issued is a certificate that was obtained.
type Issued struct {
	Issuer     string    `json:"issuer,omitempty"`
	Default    string    `json:"default,omitempty"` // label, if the CA was configured
	Directory  string    `json:"directory"`
	Kind       caa.Kind  `json:"kind,omitempty"`
	Names      []string  `json:"names,omitempty"` // that it holds; old records lack them
	Account    string    `json:"account,omitempty"`
	Serial     string    `json:"serial"`
	CertID     string    `json:"certID,omitempty"` // RFC 9773 §4.1
	NotBefore  time.Time `json:"notBefore"`
	NotAfter   time.Time `json:"notAfter"`
	ObtainedAt time.Time `json:"obtainedAt"`
	Terms      string    `json:"terms,omitempty"`
	Generation string    `json:"generation"`
	SHA256     string    `json:"sha256"` // of the certificate's DER, hex
}

// Window is when the CA suggests to renew (RFC 9773 §4.2).
type Window struct {
	Start       time.Time `json:"start"`
	End         time.Time `json:"end"`
	Explanation string    `json:"explanation,omitempty"`
	Ask         time.Time `json:"ask,omitzero"`    // when to ask again
	Chosen      time.Time `json:"chosen,omitzero"` // the moment drawn from it
}

// Tries counts failed attempts since the last success.
type Tries struct {
	Failures int       `json:"failures,omitempty"`
	Since    time.Time `json:"since,omitzero"` // the first of them
	Last     time.Time `json:"last,omitzero"`
	Next     time.Time `json:"next,omitzero"`
	Cause    string    `json:"cause,omitempty"`
	// Told is the stage of the present certificate's life in which people were told.
	Told string `json:"told,omitempty"`
}

// Pending is an order under way: written before finalize, so that a crash before
// the download is picked up again and nothing is issued twice. Its key is the
// vault's pending key.
type Pending struct {
	Directory string          `json:"directory"`
	Account   string          `json:"account,omitempty"`
	Offer     json.RawMessage `json:"offer,omitempty"` // in the engine's form
	OrderURL  string          `json:"orderURL"`
	Names     []string        `json:"names,omitempty"`
	KeySHA256 string          `json:"keySHA256,omitempty"` // of the public key in the request, SPKI, hex
	Finalized bool            `json:"finalized,omitempty"`
	Started   time.Time       `json:"started"`
}

// Undeployed says what of the way to the programs is still to be done.
type Undeployed struct {
	Generation string    `json:"generation"`
	Installed  bool      `json:"installed,omitempty"` // the files are in place, the hooks are not through
	Since      time.Time `json:"since"`
	Failures   int       `json:"failures,omitempty"`
	Next       time.Time `json:"next,omitzero"`
	Cause      string    `json:"cause,omitempty"`
	Told       bool      `json:"told,omitempty"` // people were told that it does not come into use
}
