package estserver

import (
	"context"
	"crypto"

	"chancery/internal/ca"
)

// Ask is what an authenticated client asks for, reduced to what counts.
type Ask struct {
	// Key is the public key, proven by the request's signature or made by us. nil: Make
	// makes it once everything is allowed, and the pending request knows none.
	Key  crypto.PublicKey
	Make func(context.Context) (crypto.PublicKey, error)

	CSR     []byte // the request as it came, DER: for the approver
	Names   []ca.Identifier
	Subject ca.Subject
	// Renews is the record of the certificate that this one follows; its names and
	// subject are proven by it. nil: none.
	Renews *ca.Record
	// Linking is the outcome of [Server.link], for the record; "" where it is not
	// looked at.
	Linking string
	// Attempt numbers the certificates that one request got, the earlier of which could
	// not be delivered and are revoked: 0 is the first. Each gets a certificate of its own.
	Attempt int
	// Detail has further words for the auditor.
	Detail map[string]string
}

// Result is what became of an [Ask]: a certificate, or the request that waits.
type Result struct {
	Record  ca.Record // settled, if Pending is nil
	Pending *Pending  // undecided; see [call.sendPending]
}
