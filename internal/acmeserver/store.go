package acmeserver

import (
	"context"
	"encoding/json"
	"time"

	"chancery/acme"
	"chancery/internal/ca"
)

// Account is what is kept of an account (RFC 8555 §7.1.2).
type Account struct {
	ID       string
	Key      json.RawMessage // canonical JWK
	Thumb    string          // its RFC 7638 thumbprint; unique among accounts
	Status   acme.AccountStatus
	Contacts []string
	AgreedAt time.Time // zero: no terms were agreed to
	Binding  string    // the external key that it was opened with, "" for none
	// BindingJWS is what proved it, to be shown again (§7.3.4); nil for none.
	BindingJWS json.RawMessage
	CreatedAt  time.Time
}

// Accounts keeps accounts. All writes are durable when they return and spend
// once in the same transaction; a spent once is a ca.Error of kind Replayed.
type Accounts interface {
	// CreateAccount stores a new account. If one with the same key exists, nothing
	// is written and that one is returned with created false. binding, when not
	// nil, is marked as used by the account in the same transaction; kind Conflict
	// when it was used or withdrawn meanwhile.
	CreateAccount(ctx context.Context, a Account, binding *Binding, w Write) (stored Account, created bool, err error)
	// Account finds by id, kind NotFound.
	Account(ctx context.Context, id string) (Account, error)
	// AccountByThumb finds by key thumbprint, kind NotFound.
	AccountByThumb(ctx context.Context, thumb string) (Account, error)
	// UpdateAccount sets contacts, terms and status of a valid account and gives
	// the result; kind Conflict when the account is not valid any more.
	UpdateAccount(ctx context.Context, a Account, w Write) error
	// ChangeKey replaces the key of a valid account whose key is still oldThumb
	// (§7.3.5); kind Conflict when it is not, or when another account has the new key.
	ChangeKey(ctx context.Context, a Account, oldThumb string, w Write) error
	// AccountPage gives a page of all accounts, the newest first, and the cursor of
	// the next page, "" at the end. It reads a page's rows and no more. A page is
	// longer than its limit only if so many accounts were made in one millisecond.
	AccountPage(ctx context.Context, q AccountQuery) (page []Account, next string, err error)
}

// AccountQuery asks for a page of accounts.
type AccountQuery struct {
	Limit  int    // at most so many: 1 to 1000
	Cursor string // what the page before said; "" for the first
}

// Write is what every write carries: the nonce it spends and its event.
type Write struct {
	Once  *ca.Once
	Event ca.Event
	// MostPending is how many pending authorisations the account may have after
	// CreateOrder, which refuses more as kind Limited; 0: any number.
	MostPending int
}

// Binding says which external account key an account is opened with (§7.3.4).
type Binding struct {
	ID string
}

// Order is what is kept of an order (§7.1.3). Its status is derived: from its
// authorisations, the clock and the ledger's record of its request.
type Order struct {
	ID             string
	Account        string
	Identifiers    []ca.Identifier
	Authorizations []string // ids, one for each identifier, in the same order
	Profile        string
	CreatedAt      time.Time
	Expires        time.Time
	NotBefore      time.Time
	NotAfter       time.Time
	Replaces       string // the CertID of RFC 9773 §5; "" for none
	// Issued tells, in an OrderPage, that a certificate is recorded for the order.
	Issued bool
}

// RequestID is the order's request as the ledger knows it.
func (o *Order) RequestID() string { return Room + ":" + o.ID }

// Authorization is what is kept of an authorisation (§7.1.4) and of the one
// challenge of it that was tried. All its challenges share one token.
type Authorization struct {
	ID         string
	Account    string
	Identifier ca.Identifier // with "*." for a wildcard
	Status     acme.AuthorizationStatus
	Token      string
	Offered    []string // the challenges that it can be met by
	CreatedAt  time.Time
	Expires    time.Time
	Method     string        // the challenge that was tried, "" before
	Processing time.Time     // until then a process is validating; zero: none is
	Attempts   int           // validations tried so far
	Validated  time.Time     // when it became valid: the time of the proof
	Proven     time.Time     // when the name was proven, while a customer is asked whether the account is his; zero: he is not
	Problem    *acme.Problem // why the challenge failed
	Detail     string        // what the validator saw
	Version    int64         // how often it was written; see Orders.UpdateAuthorization
}

// Orders keeps orders and authorisations, under the same rules as Accounts.
type Orders interface {
	// CreateOrder stores the order and those of its authorisations that are new. A
	// nil order stores the authorisations alone (RFC 8555 §7.4.1).
	CreateOrder(ctx context.Context, o *Order, fresh []Authorization, w Write) error
	// Order finds by id, kind NotFound.
	Order(ctx context.Context, id string) (Order, error)
	// Authorizations finds by ids in one read, in the order of ids; kind NotFound
	// if one is missing.
	Authorizations(ctx context.Context, ids []string) ([]Authorization, error)
	// ValidAuthorizations finds the account's authorisations for the identifiers
	// that are valid and do not expire before until (the last to expire for each),
	// in one read.
	ValidAuthorizations(ctx context.Context, account string, names []ca.Identifier, until time.Time) ([]Authorization, error)
	// UpdateAuthorization stores status, challenge state and expiry if the stored
	// version is still a.Version, and counts the version up. Whoever read an older
	// one gets kind Conflict: of two outcomes only one is ever stored.
	UpdateAuthorization(ctx context.Context, a Authorization, w Write) error
	// OrderPage gives up to limit orders of the account that expire after now or
	// have a certificate, newest first, starting after the cursor; next is "" at
	// the end. It gives fewer, even none, instead of looking through very many
	// others. A cursor that was not given out is kind Invalid.
	OrderPage(ctx context.Context, q OrderQuery) (orders []Order, next string, err error)
}

// OrderQuery selects a page of an account's orders (§7.1.2.1).
type OrderQuery struct {
	Account string
	Cursor  string
	Limit   int
	Now     time.Time
}

// Background is what the server's own work needs of storage.
type Background interface {
	// KeyCertified tells whether there is a certificate with the key, by its subject key
	// identifier and its hash; it does not see certificates without that identifier.
	KeyCertified(ctx context.Context, id, hash []byte) (bool, error)
	// ClaimValidations takes over up to limit pending authorisations whose
	// Processing lies before now, extending it to until.
	ClaimValidations(ctx context.Context, now, until time.Time, limit int) ([]Authorization, error)
	// HeldAuthorizations gives the account's pending authorisations whose name was
	// proven and that do not end before now.
	HeldAuthorizations(ctx context.Context, account string, now time.Time) ([]Authorization, error)
	// Replacing gives the newest orders, at most 20, that name the certificate in Replaces.
	Replacing(ctx context.Context, certID string) ([]Order, error)
	// Sweep deletes some of what ended. It tells how many rows went, or were found
	// to stay.
	Sweep(ctx context.Context, e Ended) (int, error)
}

// Ended says what a sweep deletes, at most Limit of each.
type Ended struct {
	// Before is for spent nonces, orders without a certificate, and authorisations
	// that never became valid.
	Before time.Time
	// Proofs is for authorisations that were valid.
	Proofs time.Time
	Limit  int
}
