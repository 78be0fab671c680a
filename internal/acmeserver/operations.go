package acmeserver

import (
	"context"
	"encoding/base64"
	"time"

	"chancery/internal/admin"
	"chancery/internal/ca"
	"chancery/internal/registry"
)

// Operations are what administrators can do with accounts, and with external
// account keys where there is a registry. Errors are of the core.
func (s *Server) Operations() []admin.Operation {
	all := []admin.Operation{
		admin.Op(admin.Spec{Name: "acme.account.list", Role: admin.Auditor, Summary: "lists the ACME accounts, newest first"}, s.listAccounts),
		admin.Op(admin.Spec{Name: "acme.account.show", Role: admin.Auditor, Summary: "shows an ACME account"}, s.showAccount),
		admin.Op(admin.Spec{Name: "acme.account.close", Role: admin.Administrator, Summary: "closes an ACME account for good; its certificates stay valid"}, s.closeAccount),
	}
	all = append(all, s.directoryOperations()...)
	if s.Registry == nil {
		return all
	}
	return append(all,
		admin.Op(admin.Spec{Name: "eab.create", Role: admin.Registrar, Summary: "makes a key with which one ACME account or more can be opened"}, s.createKey),
		admin.Op(admin.Spec{Name: "eab.list", Role: admin.Registrar, Summary: "lists the external account keys"}, s.listKeys),
		admin.Op(admin.Spec{Name: "eab.show", Role: admin.Registrar, Summary: "shows an external account key and the accounts that were opened with it"}, s.showKey),
		admin.Op(admin.Spec{Name: "binding.add", Role: admin.Registrar, Summary: "binds an ACME account to a customer on the caller's word"}, s.bind),
		admin.Op(admin.Spec{Name: "eab.withdraw", Role: admin.Registrar, Summary: "withdraws an external account key: no account more is opened with it"}, s.withdrawKey),
	)
}

// by gives an administrator as the core and the events know him.
func by(caller admin.Caller) ca.Principal { return ca.Principal{Room: "admin", ID: caller.Name} }

// KeyWanted is the input of eab.create.
type KeyWanted struct {
	Label     string    `json:"label"`               // for whom; a customer's name unless it says so
	Customer  string    `json:"customer,omitempty"`  // whose, by id
	Uses      int       `json:"uses,omitempty"`      // so many accounts, -1 for many; one unless it says so
	Algorithm string    `json:"algorithm,omitempty"` // the only one it is good for: HS256, HS384 or HS512
	Expires   time.Time `json:"expires,omitzero"`    // RFC 3339; never without
}

// KeyMade is the output of eab.create: what a client is configured with. The
// secret is shown this once.
type KeyMade struct {
	ID        string `json:"id"`                  // the client's key id ("kid")
	Secret    string `json:"secret"`              // the client's HMAC key, base64url (RFC 8555 §7.3.4)
	URL       string `json:"url"`                 // the directory to use it at
	Customer  string `json:"customer,omitempty"`  // whose accounts will be bound
	Uses      int    `json:"uses"`                // so many accounts, -1 for many
	Algorithm string `json:"algorithm,omitempty"` // if only that one is taken
}

func (s *Server) createKey(ctx context.Context, caller admin.Caller, in KeyWanted) (KeyMade, error) {
	k, err := s.Registry.CreateKey(ctx, registry.Order{By: by(caller), Label: in.Label, Customer: in.Customer,
		Uses: in.Uses, Algorithm: in.Algorithm, Expires: in.Expires})
	if err != nil {
		return KeyMade{}, err
	}
	return KeyMade{ID: k.ID, Secret: base64.RawURLEncoding.EncodeToString(k.Secret), URL: s.Base + directoryPath,
		Customer: k.Customer, Uses: k.Most, Algorithm: k.Algorithm}, nil
}

// KeyShown is a key as eab.list shows it.
type KeyShown struct {
	ID        string         `json:"id"`
	Label     string         `json:"label"`
	State     registry.State `json:"state"`
	Customer  string         `json:"customer,omitempty"`
	Name      string         `json:"customer_name,omitempty"`
	Algorithm string         `json:"algorithm,omitempty"`
	Most      int            `json:"most"`               // accounts; -1 for many
	Uses      int            `json:"uses"`               // so far
	Account   string         `json:"account,omitempty"`  // the first
	Accounts  []string       `json:"accounts,omitempty"` // all, the latest first: eab.show's alone
	By        string         `json:"by"`
	Created   time.Time      `json:"created"`
	Expires   time.Time      `json:"expires,omitzero"`
	Used      time.Time      `json:"used,omitzero"`
	Withdrawn time.Time      `json:"withdrawn,omitzero"`
}

// KeysShown is the output of eab.list, newest first.
type KeysShown struct {
	Keys []KeyShown `json:"keys"`
	Next string     `json:"next,omitempty"` // the cursor of the next page, if there is one
}

// KeysWanted is the input of eab.list.
type KeysWanted struct {
	Limit  int    `json:"limit,omitempty"`  // at most so many, up to 1000; 100 unless it says so
	Cursor string `json:"cursor,omitempty"` // "next" of the page before
}

func (s *Server) listKeys(ctx context.Context, _ admin.Caller, in KeysWanted) (KeysShown, error) {
	keys, next, err := s.Registry.KeyPage(ctx, registry.Page{Cursor: in.Cursor, Limit: in.Limit})
	if err != nil {
		return KeysShown{}, err
	}
	out := KeysShown{Keys: []KeyShown{}, Next: next}
	now := s.Clock()
	for _, k := range keys {
		out.Keys = append(out.Keys, keyShown(&k, now))
	}
	return out, nil
}

func keyShown(k *registry.Key, now time.Time) KeyShown {
	return KeyShown{ID: k.ID, Label: k.Label, State: k.State(now), Customer: k.Customer, Name: k.CustomerName, Algorithm: k.Algorithm,
		Most: k.Most, Uses: k.Uses, Account: k.Account, By: k.By.ID, Created: k.CreatedAt, Expires: k.ExpiresAt, Used: k.UsedAt, Withdrawn: k.WithdrawnAt}
}

func (s *Server) showKey(ctx context.Context, _ admin.Caller, in Named) (KeyShown, error) {
	k, accounts, err := s.Registry.KeyShown(ctx, in.ID)
	out := keyShown(&k, s.Clock())
	out.Accounts = accounts
	return out, err
}

// Named is the input of operations on one thing.
type Named struct {
	ID string `json:"id"`
}

func (s *Server) withdrawKey(ctx context.Context, caller admin.Caller, in Named) (struct{}, error) {
	return struct{}{}, s.Registry.Withdraw(ctx, by(caller), in.ID)
}
