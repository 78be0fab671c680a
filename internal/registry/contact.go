package registry

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/url"
	"slices"
	"strings"
	"time"

	"chancery/internal/ca"
)

const (
	codeLife    = 24 * time.Hour
	codeGuesses = 10 // of 2^50 codes
	codeLetters = 10
	maxContacts = 20
)

// ParseAddress gives the canonical form of a mail address, or of the one in a
// mailto URL (RFC 6068 §2): the local part as it is, for only its own host knows
// what it means (RFC 5321 §2.4), and the domain in lower case. Errors are of kind
// BadName.
func ParseAddress(text string) (string, error) {
	text = strings.TrimSpace(text)
	if scheme, rest, ok := strings.Cut(text, ":"); ok && strings.EqualFold(scheme, "mailto") {
		decoded, err := url.PathUnescape(rest)
		if err != nil {
			return "", ca.Errorf(ca.BadName, "the mailto URL has a %q that encodes nothing", "%")
		}
		text = decoded
	}
	id, err := ca.Email(text)
	return id.Value(), err
}

// addresses gives those of a list that are addresses, at most twenty.
func addresses(texts []string) []string {
	var all []string
	for _, text := range texts {
		if address, err := ParseAddress(text); err == nil && len(all) < maxContacts {
			all = append(all, address)
		}
	}
	return all
}

// ContactProof names a contact of a customer, and the code that was mailed to it.
type ContactProof struct {
	Customer string
	Address  string
	Code     string // VerifyContact's
}

// contact checks what names a contact.
func (r *Registry) contact(ctx context.Context, p ContactProof) (ContactChange, Customer, error) {
	address, err := ParseAddress(p.Address)
	if err != nil {
		return ContactChange{}, Customer{}, err
	}
	c, err := r.Customer(ctx, p.Customer)
	return ContactChange{Customer: p.Customer, Address: address}, c, err
}

func (c *ContactChange) event(by ca.Principal, kind string) event {
	return event{by, kind, c.Customer, map[string]string{"address": c.Address}}
}

// AddContact gives a customer an address, and has a code mailed to it; for one
// that is there and not verified, another code. Kind BadName, NotFound, Denied, or
// Conflict when it is verified.
func (r *Registry) AddContact(ctx context.Context, by ca.Principal, p ContactProof) (Contact, error) {
	change, c, err := r.contact(ctx, p)
	if err != nil {
		return Contact{}, err
	}
	there := slices.ContainsFunc(c.Contacts, func(one Contact) bool { return one.Address == change.Address })
	if len(c.Contacts) >= maxContacts && !there {
		return Contact{}, ca.Errorf(ca.Denied, "a customer has at most %d addresses; remove one first", maxContacts)
	}
	added := r.event(change.event(by, "contact.added"))
	change.CodeUntil = added.At.Add(codeLife)
	return Contact{Address: change.Address, AddedAt: added.At}, r.Store.AddContact(ctx, change, added)
}

// VerifyContact marks an address as the customer's, by a code that was mailed to
// it. Kind Denied for a wrong code and after too many tries; NotFound; Conflict when
// there is nothing to verify.
func (r *Registry) VerifyContact(ctx context.Context, by ca.Principal, p ContactProof) error {
	change, _, err := r.contact(ctx, p)
	if err != nil {
		return err
	}
	hashes, err := r.Store.GuessCode(ctx, Guess{change.Customer, change.Address, r.now(), codeGuesses})
	if err != nil {
		return err
	}
	if !among(hashes, strings.ToUpper(strings.TrimSpace(p.Code))) {
		return ca.Errorf(ca.Denied, "this is not the code that was mailed to %s; after %d tries add the address again for another", change.Address, codeGuesses)
	}
	change.How = ByMail
	return r.Store.VerifyContact(ctx, change, r.event(change.event(by, "contact.verified")))
}

// VouchContact marks an address as the customer's on an administrator's word, which
// an event keeps. Kind NotFound, Denied or Conflict.
func (r *Registry) VouchContact(ctx context.Context, by ca.Principal, p ContactProof) error {
	change, _, err := r.contact(ctx, p)
	if err != nil {
		return err
	}
	change.How = Vouched
	return r.Store.VerifyContact(ctx, change, r.event(change.event(by, "contact.vouched")))
}

// RemoveContact forgets an address, kind NotFound.
func (r *Registry) RemoveContact(ctx context.Context, by ca.Principal, p ContactProof) error {
	change, _, err := r.contact(ctx, p)
	if err != nil {
		return err
	}
	return r.Store.RemoveContact(ctx, change, r.event(change.event(by, "contact.removed")))
}

// ByContact finds the active customer of a verified address; kind NotFound for an
// address that is nobody's or not verified, Conflict when it is of several.
func (r *Registry) ByContact(ctx context.Context, address string) (Customer, error) {
	address, err := ParseAddress(address)
	if err != nil {
		return Customer{}, &ca.Error{Kind: ca.NotFound, Detail: "no customer has this address", Err: err}
	}
	found, err := r.Store.CustomersByContact(ctx, address)
	switch {
	case err != nil:
		return Customer{}, err
	case len(found) == 0:
		return Customer{}, ca.Errorf(ca.NotFound, "no customer has this address")
	case len(found) > 1:
		return Customer{}, ca.Errorf(ca.Conflict, "several customers have this address; open an account with an external account key instead")
	}
	return found[0], nil
}

// newCode gives something to copy from a letter, and its hash.
func newCode() (string, []byte) {
	code := rand.Text()[:codeLetters]
	hash := sha256.Sum256([]byte(code))
	return code, hash[:]
}

// among tells whether a secret's hash is one of those that stand in hashes. It
// takes the same time whichever fits, and if none does.
func among(hashes []byte, secret string) bool {
	hash := sha256.Sum256([]byte(secret))
	found := 0
	for ; len(hashes) >= len(hash); hashes = hashes[len(hash):] {
		found |= subtle.ConstantTimeCompare(hashes[:len(hash)], hash[:])
	}
	return found == 1
}
