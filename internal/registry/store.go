package registry

import (
	"context"
	"time"

	"chancery/internal/ca"
)

// Store is the registry's whole need of storage. Every change is durable when it
// returns, together with its event.
type Store interface {
	KeyStore
	People
	BindingStore
	LetterStore
}

// People keeps customers and what belongs to them.
type People interface {
	CustomerStore
	SignInStore
	ContactStore
	DomainStore
}

// KeyStore keeps external account keys.
type KeyStore interface {
	// CreateExternalKey stores a new key; kind Denied when its customer is suspended.
	CreateExternalKey(ctx context.Context, k Key, event ca.Event) error
	// ExternalKey finds by id, kind NotFound.
	ExternalKey(ctx context.Context, id string) (Key, error)
	// ExternalKeyPage gives a page of all, newest first, and the next one's cursor, "" at
	// the end; kind Invalid for a cursor that it did not give.
	ExternalKeyPage(ctx context.Context, p Page) (keys []Key, next string, err error)
	// WithdrawExternalKey marks a key as withdrawn; kind Conflict when it was used up
	// or withdrawn before.
	WithdrawExternalKey(ctx context.Context, id string, at time.Time, event ca.Event) error
	// KeyAccounts gives the accounts that were opened with a key, the latest thousand
	// first.
	KeyAccounts(ctx context.Context, id string) ([]string, error)
}

// Page asks for a part of a list. It is longer than the limit only if so many were made in
// one millisecond.
type Page struct {
	Cursor string // what the page before gave; "" for the first
	Limit  int    // 1 to 1000
}

// usualPage is how long a page is of which nobody says it.
const usualPage = 100

// sized gives the page its length; kind Invalid.
func (p Page) sized() (Page, error) {
	if p.Limit == 0 {
		p.Limit = usualPage
	}
	if p.Limit < 0 || p.Limit > 1000 {
		return p, ca.Errorf(ca.Invalid, "limit is %d: a page has 1 to 1000 entries", p.Limit)
	}
	return p, nil
}

// CustomerStore keeps customers and what examinations found. What changes a
// suspended or unknown customer is of kind Denied, but for SetSuspended.
type CustomerStore interface {
	CreateCustomer(ctx context.Context, c Customer, event ca.Event) error
	// Customer finds by id, kind NotFound.
	Customer(ctx context.Context, id string) (Customer, error)
	// CustomerPage gives a page of all as ExternalKeyPage does.
	CustomerPage(ctx context.Context, p Page) (found []Customer, next string, err error)
	// SetSuspended suspends, or with a zero time ends that; kind Conflict when it is so.
	SetSuspended(ctx context.Context, id string, at time.Time, event ca.Event) error
	// SetVetting replaces the customer's vetting of that kind.
	SetVetting(ctx context.Context, customer string, v Vetting, event ca.Event) error
}

// SignInStore keeps passphrases' hashes and counts who tries them.
type SignInStore interface {
	// SetPassphrase replaces the hash and forgets failures; kind NotFound.
	SetPassphrase(ctx context.Context, customer, hash string, event ca.Event) error
	// SignInState gives what there is, kind NotFound.
	SignInState(ctx context.Context, customer string) (SignInState, error)
	// BeginSignIn counts a try as failed before it is one; kind Conflict when the
	// state is not t.Was any more.
	BeginSignIn(ctx context.Context, customer string, t SignInTry) error
	// SignedIn forgets the failures.
	SignedIn(ctx context.Context, customer string, event ca.Event) error
}

// SignInState is what is kept of a customer's signing in.
type SignInState struct {
	Hash      string // "" for none
	Suspended bool
	Failures  int
	Blocked   time.Time // no try before
}

// SignInTry is one try to sign in.
type SignInTry struct {
	Was     SignInState
	Blocked time.Time // until then no other, should this one fail
	Event   ca.Event
}

// ContactStore keeps addresses. What changes a suspended or unknown customer's is
// of kind Denied.
type ContactStore interface {
	// AddContact stores an unverified address and asks for a letter with a code, a new
	// one when the address is there; kind Conflict when it is verified.
	AddContact(ctx context.Context, c ContactChange, event ca.Event) error
	// VerifyContact marks it as verified; kind Conflict when it is not there or is.
	VerifyContact(ctx context.Context, c ContactChange, event ca.Event) error
	// RemoveContact forgets it, and every letter to it about this customer, so that none
	// is sent and no link that was works any more; kind NotFound.
	RemoveContact(ctx context.Context, c ContactChange, event ca.Event) error
	// CustomersByContact gives the active customers for whom the address is verified.
	CustomersByContact(ctx context.Context, address string) ([]Customer, error)
	// GuessCode counts a guess and gives the hashes of the codes that were sent; kind
	// Denied when none was, they ended, or g.Most guesses were made.
	GuessCode(ctx context.Context, g Guess) ([]byte, error)
}

// ContactChange is what is done to a contact.
type ContactChange struct {
	Customer  string
	Address   string
	How       string    // VerifyContact's
	CodeUntil time.Time // AddContact's: the code's end
}

// Guess is a try at a code.
type Guess struct {
	Customer, Address string
	Now               time.Time
	Most              int
}

// DomainStore keeps domains. What changes a suspended or unknown customer's is of
// kind Denied.
type DomainStore interface {
	// AddDomain stores one without a proof; kind Conflict when the customer has it.
	AddDomain(ctx context.Context, d Domain, event ca.Event) error
	// Domain finds a customer's by name, kind NotFound.
	Domain(ctx context.Context, customer, name string) (Domain, error)
	// Domains gives a customer's.
	Domains(ctx context.Context, customer string) ([]Domain, error)
	// ProveDomain records a proof; kind Conflict when the domain or its token is gone.
	ProveDomain(ctx context.Context, d Domain, event ca.Event) error
	// RemoveDomain forgets it, kind NotFound.
	RemoveDomain(ctx context.Context, d Domain, event ca.Event) error
	// Holders gives the customers who have proven one of the names, the suspended ones
	// too: of theirs also proofs that ended since they were suspended, as they cannot
	// renew them. With q.Above it adds, at most [MostBelow], those of names below it.
	Holders(ctx context.Context, q HolderQuery) ([]Holder, error)
}

// HolderQuery asks who holds one of Names, and which of them verified one of
// Contacts.
type HolderQuery struct {
	Names    []string // one at least
	Contacts []string
	Above    string // "" = nothing below any name
	Now      time.Time
}

// MostBelow is how many holders of names below one are told.
const MostBelow = 1000

// Holder is an answer to a HolderQuery.
type Holder struct {
	Customer  string
	Suspended bool // he is asked nothing, but his domains are nobody else's for that
	Known     bool // one of the contacts is his
	// Below is the name that is his where it is below the one that was asked for.
	Below string
}

// BindingStore keeps bindings.
type BindingStore interface {
	// Ask stores a pending binding and asks for its letters, in one transaction; kind
	// Conflict when one is open, was refused lately, or the counts are reached; kind
	// Denied when the customer is not active, or ViaMail's contact not verified.
	Ask(ctx context.Context, q Question, event ca.Event) error
	// Binding finds by id, kind NotFound.
	Binding(ctx context.Context, id string) (Binding, error)
	// Bindings gives those that fit, newest first.
	Bindings(ctx context.Context, q BindingQuery) ([]Binding, error)
	// Decide sets state, time, decider and reason of a pending one that did not time
	// out; kind Conflict for any other, Denied to confirm for a suspended customer.
	Decide(ctx context.Context, b Binding, event ca.Event) error
	// EndBinding sets the same of a confirmed one; kind Conflict for any other.
	EndBinding(ctx context.Context, b Binding, event ca.Event) error
}

// Question is a pending binding and what stands against asking it.
type Question struct {
	Binding
	RefusedSince time.Time // no refusal and no end of the pair since then
	Since        time.Time // from then on the following are counted
	PerCustomer  int       // fewer than so many to the customer by the same way
	// PerContact: fewer than so many ViaMail to the address. Those of one customer are
	// counted exactly; when an address is several customers', questions to them at the
	// same moment may each not see the other.
	PerContact int
}

// BindingQuery picks bindings; what is empty does not count.
type BindingQuery struct {
	Account  string
	Customer string
	State    BindingState
	Limit    int       // 1 to 1000
	Now      time.Time // filled in by the registry
}

// LetterStore keeps letters that are to be sent. Their secrets are in no store:
// each sending makes a new one, and its hash is kept.
type LetterStore interface {
	// DueLetters gives letters whose time has come, the oldest first.
	DueLetters(ctx context.Context, now time.Time, limit int) ([]Due, error)
	// ClaimLetter turns was into next; kind Conflict when it is not as it was.
	ClaimLetter(ctx context.Context, was, next Due) error
	// LetterSent marks a letter, and its binding, as sent.
	LetterSent(ctx context.Context, d Due, event ca.Event) error
	// LetterHashes gives the hashes of all letters on a subject.
	LetterHashes(ctx context.Context, kind, subject string) ([][]byte, error)
	// SweepLetters forgets letters that died before.
	SweepLetters(ctx context.Context, before time.Time) error
}

// The kinds of letters.
const (
	letterBinding = "binding"
	letterCode    = "code"
)

// Due is a letter to be sent.
type Due struct {
	Kind    string // "binding" or "code"
	Subject string // the id of a binding or of a customer
	Address string
	Hashes  []byte // SHA-256 of each secret that was in a letter, one behind the other
	At      time.Time
	Dies    time.Time // not to be sent any more
	Tries   int
	Binding Binding // zero but for CustomerName and Suspended if Kind is "code"
}
