package estserver

import (
	"context"
	"time"

	"chancery/internal/ca"
)

// Requests keeps what waits for a person's word (RFC 7030 §4.2.3: 202), so that a
// restart or another replica answers a repeat alike.
type Requests interface {
	// Request gives the request with the digest, kind NotFound when there is none.
	Request(ctx context.Context, digest []byte) (Pending, error)
	// RequestByID gives the request with the id, kind NotFound when there is none.
	RequestByID(ctx context.Context, id string) (Pending, error)
	// AddRequest stores a request, binds its one-time password, if it has one, to it,
	// and gives what is stored then: the first of one digest stays. A one-time
	// password that is bound to another request is kind Conflict. At most limit
	// requests of one identity may be undecided: one more is kind Limited.
	AddRequest(ctx context.Context, p Pending, limit int, e ca.Event) (Pending, error)
	// DecideRequest stores a decision about an undecided request. One that was
	// decided already, or has expired, is kind Conflict and keeps its state.
	DecideRequest(ctx context.Context, d Decision, e ca.Event) (Pending, error)
	// CountDelivery adds one to the attempts of a request if they are still as many
	// as given; otherwise another process was quicker: kind Conflict.
	CountDelivery(ctx context.Context, id string, attempts int) error
	// ListRequests gives requests, the newest first, at most q.Limit of them, and the
	// cursor of the next page, "" at the end.
	ListRequests(ctx context.Context, q RequestQuery) ([]Pending, string, error)
}

// Sweeper removes what has run out.
type Sweeper interface {
	// SweepEST removes requests and one-time passwords that expired before the
	// moment, at most limit of each, and gives how many.
	SweepEST(ctx context.Context, before time.Time, limit int) (int, error)
}

// Credentials keeps who may enrol with a password.
type Credentials interface {
	// Credentials gives those of a user name, which may be "": the standing password
	// first, if there is one, then one-time passwords, the newest first.
	Credentials(ctx context.Context, q CredentialQuery) ([]Credential, error)
	// CredentialByDigest gives the one-time password whose secret has the SHA-256;
	// kind NotFound when there is none.
	CredentialByDigest(ctx context.Context, digest []byte) (Credential, error)
	// AddCredential stores one, and removes the one that it replaces in the same
	// transaction: Conflict if that is not there any more. A second standing password of
	// a user is Conflict.
	AddCredential(ctx context.Context, c Credential, e ca.Event) error
	// RemoveCredential removes one by id, kind NotFound when there is none.
	RemoveCredential(ctx context.Context, id string, e ca.Event) error
	// ListCredentials gives a page, the newest first, and the next one's cursor.
	ListCredentials(ctx context.Context, cursor string, limit int) ([]Credential, string, error)
	Nonces
}

// Nonces keeps what may be used once: Digest nonces with a count, CMC messages.
type Nonces interface {
	// SpendNonce stores that one was used, until it expires. One that was used before
	// is kind Replayed.
	SpendNonce(ctx context.Context, id []byte, expires time.Time) error
	// Spent tells whether one was used.
	Spent(ctx context.Context, id []byte) (bool, error)
}

// Passphrases keeps by which words certificates can be revoked (RFC 7894 §3.2).
type Passphrases interface {
	// KeepPassphrase stores a certificate's, in the place of what was there, and the
	// event.
	KeepPassphrase(ctx context.Context, k Passphrase, e ca.Event) error
	// Passphrase gives a certificate's, kind NotFound when it has none.
	Passphrase(ctx context.Context, serial ca.Serial) (Passphrase, error)
}

// Passphrase is what revokes a certificate, by its hash.
type Passphrase struct {
	Serial  ca.Serial
	Hash    string // argon2id, as [Credential.Hash]
	Created time.Time
}

// DeviceKeys keeps the keys to which server-made keys are encrypted (RFC 7030 §4.4.1),
// and those keys' copies where archival is on.
type DeviceKeys interface {
	// DeviceKey gives the key with the identifier, kind NotFound when there is none.
	DeviceKey(ctx context.Context, kind KeyKind, id []byte) (DeviceKey, error)
	// AddDeviceKey stores one; another with its kind and identifier is Conflict.
	AddDeviceKey(ctx context.Context, k DeviceKey, e ca.Event) error
	// RemoveDeviceKey removes one, kind NotFound when there is none.
	RemoveDeviceKey(ctx context.Context, kind KeyKind, id []byte, e ca.Event) error
	// ListDeviceKeys gives a page, the newest first, and the next one's cursor.
	ListDeviceKeys(ctx context.Context, cursor string, limit int) ([]DeviceKey, string, error)
	// Archive stores the encrypted copy of a key that was made for a certificate.
	Archive(ctx context.Context, serial ca.Serial, enveloped []byte, e ca.Event) error
	// Archived gives such a copy, kind NotFound when there is none.
	Archived(ctx context.Context, serial ca.Serial) ([]byte, error)
}

// Certificates finds what this authority issued; the road never needs it.
type Certificates interface {
	// Standing tells of a settled certificate when it was revoked, zero if it is not, and
	// why: all of its record that can still change. [ca.NotFound]: there is none.
	Standing(ctx context.Context, serial ca.Serial) (time.Time, ca.Reason, error)
	// Renewable gives the settled certificates with exactly the subject (as
	// [ca.Record] has it) and names, of one of the profiles, that are not revoked and
	// end after the moment, the newest first, at most ten.
	Renewable(ctx context.Context, q Renewal) ([]ca.Record, error)
	// ByKeyID gives the settled certificates whose subject key identifier is id, not
	// revoked and not ended at the moment, the newest first, at most ten.
	ByKeyID(ctx context.Context, id []byte, now time.Time) ([]ca.Record, error)
	// CountIssued tells how many certificates the principal got since the moment.
	CountIssued(ctx context.Context, by ca.Principal, since time.Time) (int, error)
	// Note writes an event about a certificate that changes nothing else.
	Note(ctx context.Context, e ca.Event) error
}

// Renewal says which certificates could be meant by a request for another like them.
type Renewal struct {
	Subject  string
	Names    []ca.Identifier
	Profiles []string
	After    time.Time
}

// RequestState is how a pending request stands. That a certificate was issued is the
// ledger's to say, by [Pending.IssueID].
type RequestState string

// The states.
const (
	Undecided RequestState = "pending"
	Approved  RequestState = "approved"
	Refused   RequestState = "refused"
)

// Pending is a request that waits for, or has, a person's decision.
type Pending struct {
	ID        string
	Digest    []byte // of label, operation, identity, subject, names and, but for serverkeygen, public key: how a repeat is known again
	Label     string
	Operation string // est.Operation
	Identity  string // who asks, as text; see Identity.String
	Subject   string // as asked for, as text
	Names     []ca.Identifier
	KeyHash   []byte // see [ca.KeyHash]; nil for serverkeygen
	CSR       []byte // the request as it came first, DER, for the approver, without its secrets
	// Passphrase is what shall revoke the certificate, hashed as [Passphrase.Hash]; "":
	// nothing, or the asker's repeat brings it again.
	Passphrase string
	Password   string // id of the one-time password that it came with; ""
	Address    string // where it came from
	State      RequestState
	Reason     string // of a refusal, or a note
	DecidedBy  ca.Principal
	Created    time.Time
	Decided    time.Time
	Expires    time.Time // undecided until then; an approval is kept as long again
	Attempts   int       // deliveries of server-made keys that were begun
}

// Decision is an approver's word.
type Decision struct {
	ID      string
	State   RequestState // Approved or Refused
	Reason  string
	By      ca.Principal
	At      time.Time
	Expires time.Time // how long it is kept for the asker
}

// RequestQuery selects requests; a zero field selects everything.
type RequestQuery struct {
	State  RequestState
	Label  *string
	Cursor string
	Limit  int
	Now    time.Time
}

// Credential is a user's password or a one-time password. Its secret is not kept: Hash
// and HA1 only check one; but for CMC, which needs it, there is Sealed.
type Credential struct {
	ID      string
	User    string   // "" for a password without a user name (RFC 7030 §3.2.3)
	OneTime bool     // good for one certificate (RFC 7030 §6)
	Labels  []string // where it counts; empty: under every label that takes its kind
	Names   []string // patterns of what it may enrol, instead of the label's; empty: the label's
	Hash    string   // of a standing password: argon2id
	Digest  []byte   // of a one-time password: SHA-256, as it is random
	// HA1 has RFC 7616's H(user:realm:password) by algorithm ("MD5", "SHA-256"), hex;
	// only where Digest is on.
	HA1     map[string]string
	Realm   string // that HA1 was made for
	Sealed  []byte // the password itself, sealed: a shared secret of CMC (RFC 5272 §6.2); nil: it is none
	Request string // id of the pending request that a one-time password is bound to; ""
	Created time.Time
	Expires time.Time // zero: never
	// Replaces is the id of the standing password whose place this one takes; "": none.
	// AddCredential reads it, and nobody keeps it.
	Replaces string
}

// CredentialQuery selects the credentials of a user.
type CredentialQuery struct {
	User  string
	Limit int       // at most so many
	Now   time.Time // one-time passwords that ended before are left out
	// Spent leaves out those that got a certificate before this moment, where Limit would
	// leave out others: of the newest thousand. Zero: none.
	Spent time.Time
}

// KeyKind says what a device key is.
type KeyKind string

// The kinds: a symmetric key-encryption key (DecryptKeyIdentifier, kekri) and a public
// key or certificate (AsymmetricDecryptKeyIdentifier, ktri or kari).
const (
	Symmetric  KeyKind = "symmetric"
	Asymmetric KeyKind = "asymmetric"
	// challenging is the kind of the one key by which challenges are made
	// (RFC 5272 §6.7); it is nobody's to name or to see.
	challenging KeyKind = "challenge"
)

// DeviceKey is a key to which the key that we make for a device is encrypted.
type DeviceKey struct {
	Kind    KeyKind
	ID      []byte // its identifier as the request names it
	Sealed  []byte // a symmetric key, sealed; see [ca.Seals]
	Public  []byte // SubjectPublicKeyInfo or Certificate, DER
	Comment string
	Created time.Time
}
