package enroll

import (
	"time"

	"chancery/caa"
)

// EventKind names what happened. Kinds are added and never renamed or taken away; see
// docs/events.md.
type EventKind string

// The kinds of events, in about the order in which a run has them.
const (
	EventStarted   EventKind = "started"      // a run for one certificate begins
	EventNotDue    EventKind = "not-due"      // nothing is to be done yet
	EventCAA       EventKind = "caa"          // the CAA of one name was found
	EventForgiven  EventKind = "caa-forgiven" // a lookup failed, and the override says to go on
	EventExisting  EventKind = "existing"     // a certificate is in the place already
	EventPlan      EventKind = "plan"         // which CAs will be tried, in order
	EventResumed   EventKind = "resumed"      // an order of an earlier run is taken up
	EventSetBack   EventKind = "set-back"     // a CA is down: others come first
	EventTrying    EventKind = "trying"       // an offer's turn begins
	EventDirectory EventKind = "directory"    // the CA's directory was found
	EventTerms     EventKind = "terms"        // the CA's terms of service
	EventAccount   EventKind = "account"      // the account that is used
	EventOrder     EventKind = "order"        // an order was made
	EventChallenge EventKind = "challenge"    // a challenge is being answered
	EventRetry     EventKind = "retry"        // a try failed; there will be another one there
	EventPassed    EventKind = "passed"       // an offer came to nothing; the next is due
	EventIssued    EventKind = "issued"       // a certificate came and passed all checks
	EventInstalled EventKind = "installed"    // it is in its place
	EventHook      EventKind = "hook"         // a command ran
	EventCAChanged EventKind = "ca-changed"   // another CA, or kind, than before
	EventIncident  EventKind = "incident"     // a CA failed several times
	EventRecovered EventKind = "recovered"    // and serves again
	EventFailed    EventKind = "failed"       // the run ends without a certificate
	EventNotice    EventKind = "notice"       // a message to people was handed over
	EventWarning   EventKind = "warning"      // something went wrong without harm
)

// Event is one line of the stream. Time, Kind, Certificate and Message are always there.
type Event struct {
	Time        time.Time `json:"time"`
	Kind        EventKind `json:"event"`
	Certificate string    `json:"certificate"` // its label
	Message     string    `json:"message"`     // one sentence for a person

	Names     []string  `json:"names,omitempty"`
	Issuer    string    `json:"issuer,omitempty"`
	Default   string    `json:"default,omitempty"`
	Type      caa.Kind  `json:"type,omitempty"` // the kind of certificate asked for
	Directory string    `json:"directory,omitempty"`
	Account   string    `json:"account,omitempty"`
	Order     string    `json:"order,omitempty"`
	Profile   string    `json:"profile,omitempty"`
	Challenge string    `json:"challenge,omitempty"`
	Name      string    `json:"name,omitempty"` // the one that this is about
	Terms     string    `json:"terms,omitempty"`
	Basis     string    `json:"basis,omitempty"` // of the agreement to the terms
	Class     Class     `json:"class,omitempty"` // of a failure
	Error     string    `json:"error,omitempty"`
	Problem   string    `json:"problem,omitempty"` // its ACME error type
	Advice    string    `json:"advice,omitempty"`
	Try       int       `json:"try,omitempty"`
	Wait      float64   `json:"waitSeconds,omitempty"`
	Until     time.Time `json:"until,omitzero"`
	Serial    string    `json:"serial,omitempty"`
	NotAfter  time.Time `json:"notAfter,omitzero"`
	Path      string    `json:"path,omitempty"`
	Before    string    `json:"before,omitempty"` // the CA that issued what is replaced
	Plan      *caa.Plan `json:"plan,omitempty"`
	CAA       *caa.Set  `json:"caa,omitempty"`
	Attempts  []Attempt `json:"attempts,omitempty"`
	Result    Result    `json:"result,omitempty"`
}
