package ca

import (
	"context"
	"time"
)

// Intent is what is about to be signed: the linted bytes and what they mean.
// It is durable before the key is touched.
type Intent struct {
	Serial    Serial
	Request   string // [Request.ID]
	By        Principal
	Profile   string
	Issuer    string // [Issuer.ID]
	Shard     int    // the CRL that will answer for it; see [Issuer.ShardOf]
	KeyHash   []byte // SHA-256 of the SubjectPublicKeyInfo
	Names     []Identifier
	Subject   string // the distinguished name as text
	NotBefore time.Time
	NotAfter  time.Time
	TBS       []byte // the TBSCertificate, DER (RFC 5280 §4.1)
	Seal      []byte // proves that this authority wrote TBS; see [Seals]
	At        time.Time
	Lease     time.Time // until then the process that wrote it finishes it; later, anyone
	Once      *Once
	Event     Event
}

// Settlement completes an intent with the signed certificate.
type Settlement struct {
	Serial Serial
	DER    []byte
	At     time.Time
	Event  Event
}

// Record is the ledger's row on one certificate, from intent to revocation.
type Record struct {
	Serial     Serial
	Request    string
	By         Principal
	Profile    string
	Issuer     string
	KeyHash    []byte
	Names      []Identifier
	Subject    string
	NotBefore  time.Time
	NotAfter   time.Time
	IntendedAt time.Time
	Lease      time.Time
	SettledAt  time.Time // zero: not settled
	TBS        []byte    // only while not settled
	Seal       []byte    // only while not settled
	DER        []byte    // nil until settled
	RevokedAt  time.Time // zero: not revoked
	Reason     Reason
}

// Settled tells whether the certificate exists for the world.
func (r *Record) Settled() bool { return len(r.DER) > 0 }

// Ledger records what is signed. It is the core's whole need of storage while
// it issues. Errors that are not [*Error] mean that nothing is known about the
// outcome.
type Ledger interface {
	// Intend stores the intent durably, spends its Once, and gives the record of
	// the intent's request. When the request has a record already, nothing is
	// written and that record is given: compare Serial to tell. A spent Once is
	// an [*Error] of kind [Replayed].
	Intend(ctx context.Context, in Intent) (Record, error)
	// Settle stores the signed certificate if none is stored yet and gives the
	// record as it is then: the first settlement wins, and only what Settle
	// returns may be handed out. A record that was revoked first stays unsettled.
	Settle(ctx context.Context, s Settlement) (Record, error)
	// ByRequest gives the record of a request, kind [NotFound] when there is none.
	ByRequest(ctx context.Context, id string) (Record, error)
	// BySerial gives the record with the serial, kind [NotFound] when there is none.
	BySerial(ctx context.Context, serial Serial) (Record, error)
}

// Recovery finds what a crash left behind.
type Recovery interface {
	// Claim takes over up to c.Limit unsettled, unrevoked intents whose lease
	// ended before c.Now and whose certificate has not, longest ended first; it
	// extends the lease of each to c.Until and gives their records.
	Claim(ctx context.Context, c Claim) ([]Record, error)
	// Authorities gives the unrevoked, settled records of authorities' certificates.
	Authorities(ctx context.Context) ([]Record, error)
}

// Claim says which intents to take over.
type Claim struct {
	Now, Until time.Time
	Limit      int
	Except     []string // issuers whose key is not here: others finish theirs
}

// Listing searches the ledger for people; the road never needs it.
type Listing interface {
	// List gives records newest first, at most q.Limit of them, and the cursor
	// of the next page, "" at the end.
	List(ctx context.Context, q Query) ([]Record, string, error)
}

// Query selects records; a zero field selects everything.
type Query struct {
	Name    Identifier // certificates that carry exactly this name
	By      Principal
	Profile string
	Issuer  string
	State   string    // "", "valid", "expired", "revoked", "pending"
	Before  time.Time // ends before
	Now     time.Time // what State refers to
	Cursor  string
	Limit   int
}
