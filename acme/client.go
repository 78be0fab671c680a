package acme

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/http"
	"sync"
)

// ErrNoAccount says that a request needs an account and none is known.
var ErrNoAccount = errors.New("acme: no account yet; call Register first (with OnlyExisting if there is one for this key)")

// ErrNotOffered says that the server's directory has no such resource.
var ErrNotOffered = errors.New("acme: the server does not offer this")

// Client talks to one ACME server for one account. Set the exported fields before the
// first call and leave them alone afterwards: the client changes Key and AccountURL
// itself. All methods may be called at the same time.
//
// Errors that the server sent are *Problem; errors.As finds them.
type Client struct {
	// Directory is the URL of the server's directory. All URLs must be https, except
	// that plain http reaches a loopback address.
	Directory string
	// HTTP sends the requests; nil means a client with a time limit of a minute.
	HTTP *http.Client
	// Key is the account's key: ECDSA on P-256, P-384 or P-521, Ed25519, or RSA.
	Key crypto.Signer
	// AccountURL is known from an earlier Register, or empty.
	AccountURL string
	// UserAgent comes before the name of this package (RFC 8555 §6.1: MUST be sent).
	UserAgent string
	// Language is the Accept-Language (RFC 8555 §6.1: SHOULD be sent); "en" if empty.
	Language string

	mu        sync.Mutex // owns Key, AccountURL and what follows
	directory *Directory
	nonces    []string
}

// Discover fetches the directory (RFC 8555 §7.1.1), again on each call. The other
// methods call it when they need to.
func (c *Client) Discover(ctx context.Context) (*Directory, error) {
	r, err := c.get(ctx, c.Directory)
	if err != nil {
		return nil, fmt.Errorf("acme: directory %s: %w", c.Directory, err)
	}
	var d Directory
	if err := r.decode(&d); err != nil {
		return nil, err
	}
	if d.NewNonce == "" || d.NewAccount == "" || d.NewOrder == "" {
		return nil, fmt.Errorf("acme: %s is no ACME directory: newNonce, newAccount or newOrder is missing", c.Directory)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.directory = &d
	return &d, nil
}

func (c *Client) dir(ctx context.Context) (*Directory, error) {
	c.mu.Lock()
	d := c.directory
	c.mu.Unlock()
	if d != nil {
		return d, nil
	}
	return c.Discover(ctx)
}

// Registration is what Register asks for.
type Registration struct {
	// Contacts are URLs such as mailto:someone@example.org.
	Contacts []string
	// AgreeTerms: the person has agreed to the directory's terms of service.
	AgreeTerms bool
	// EAB binds the account to one at the CA (RFC 8555 §7.3.4).
	EAB *ExternalAccount
	// OnlyExisting finds the account of the key and creates none (RFC 8555 §7.3.1); the
	// error is otherwise a Problem of TypeAccountDoesNotExist.
	OnlyExisting bool
}

// Register creates the key's account or finds the one there is (RFC 8555 §7.3), and
// remembers its URL for what follows.
func (c *Client) Register(ctx context.Context, reg Registration) (*Account, error) {
	d, err := c.dir(ctx)
	if err != nil {
		return nil, err
	}
	signer, _ := c.identity()
	request := NewAccount{Contact: reg.Contacts, TermsOfServiceAgreed: reg.AgreeTerms, OnlyReturnExisting: reg.OnlyExisting}
	if reg.EAB != nil {
		key, err := publicKey(signer)
		if err != nil {
			return nil, err
		}
		if request.ExternalAccountBinding, err = SignMAC(*reg.EAB, d.NewAccount, key); err != nil {
			return nil, err
		}
	}
	r, err := c.post(ctx, call{url: d.NewAccount, payload: request, signer: signer})
	if err != nil {
		return nil, err
	}
	var account Account
	if err := r.decode(&account); err != nil {
		return nil, err
	}
	if account.URL, err = r.location(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.AccountURL = account.URL
	c.mu.Unlock()
	return &account, nil
}

// Account fetches the account.
func (c *Client) Account(ctx context.Context) (*Account, error) { return c.account(ctx, nil) }

// UpdateAccount replaces the contacts; none removes them (RFC 8555 §7.3.2).
func (c *Client) UpdateAccount(ctx context.Context, contacts []string) (*Account, error) {
	if contacts == nil {
		contacts = []string{}
	}
	return c.account(ctx, AccountUpdate{Contact: &contacts})
}

// Deactivate gives the account up for good (RFC 8555 §7.3.6).
func (c *Client) Deactivate(ctx context.Context) (*Account, error) {
	return c.account(ctx, AccountUpdate{Status: AccountDeactivated})
}

func (c *Client) account(ctx context.Context, payload any) (*Account, error) {
	_, url := c.identity()
	if url == "" {
		return nil, ErrNoAccount
	}
	account := &Account{URL: url}
	_, err := c.postDecode(ctx, call{url: url, payload: payload}, account)
	return account, err
}

// ChangeKey makes newKey the account's key (RFC 8555 §7.3.5): both keys sign. The
// client uses it from then on. A Problem with status 409 means that the new key has an
// account already; its URL is in Location, hence not used.
func (c *Client) ChangeKey(ctx context.Context, newKey crypto.Signer) error {
	d, err := c.dir(ctx)
	if err != nil {
		return err
	}
	if d.KeyChange == "" {
		return fmt.Errorf("%w: keyChange", ErrNotOffered)
	}
	signer, url := c.identity()
	oldKey, err := publicKey(signer)
	if err != nil {
		return err
	}
	payload, err := encodePayload(KeyChange{Account: url, OldKey: oldKey})
	if err != nil {
		return err
	}
	inner, err := Sign(newKey, Header{URL: d.KeyChange}, payload)
	if err != nil {
		return err
	}
	if _, err := c.post(ctx, call{url: d.KeyChange, payload: rawPayload(inner)}); err != nil {
		return err
	}
	c.mu.Lock()
	c.Key = newKey
	c.mu.Unlock()
	return nil
}

// maxOrderPages ends a list whose pages link to each other in a circle.
const maxOrderPages = 1000

// Orders lists the URLs of the account's orders, over all pages (RFC 8555 §7.1.2.1).
func (c *Client) Orders(ctx context.Context) ([]string, error) {
	account, err := c.Account(ctx)
	if err != nil {
		return nil, err
	}
	if account.Orders == "" {
		return nil, fmt.Errorf("%w: the account has no list of orders", ErrNotOffered)
	}
	var all []string
	next := account.Orders
	for range maxOrderPages {
		var page OrdersList
		r, err := c.postDecode(ctx, call{url: next}, &page)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Orders...)
		links := r.links("next")
		if len(links) == 0 {
			return all, nil
		}
		next = links[0]
	}
	return nil, fmt.Errorf("acme: the list of orders has more than %d pages", maxOrderPages)
}

// identity is the current key and the account's URL.
func (c *Client) identity() (crypto.Signer, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Key, c.AccountURL
}

func publicKey(signer crypto.Signer) (*Key, error) {
	if signer == nil {
		return nil, errors.New("acme: the client has no account key")
	}
	return NewKey(signer.Public())
}
