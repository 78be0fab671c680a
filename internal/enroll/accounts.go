package enroll

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"

	"chancery/acme"
	"chancery/internal/enroll/guard"
	"chancery/internal/enroll/install"
	"chancery/internal/enroll/vault"
)

// byHand is what a person does to an account beside any certificate.
type byHand struct {
	contacts []string // nil: as the settings say
}

// AccountError says that something could not be done with an account at a CA.
type AccountError struct {
	CA     string // what people call it
	Class  Class
	Advice string // what to do
	Err    error
}

// Error names the CA, says what is wrong and what to do.
func (e *AccountError) Error() string {
	text := guard.Shown(e.CA) + ": " + clean(e.Err)
	if e.Advice != "" {
		text += "\n" + e.Advice
	}
	return text
}

// Unwrap gives the cause.
func (e *AccountError) Unwrap() error { return e.Err }

// NewAccount is what Register asks for.
type NewAccount struct {
	// Contacts are URLs (mailto:…); nil: as the settings say.
	Contacts []string
	// AgreeTerms: the person agrees to the terms of the CA.
	AgreeTerms bool
}

// deal is one thing done with one account by hand, under the CA's lock.
type deal struct {
	*turn
	known vault.CA
}

// deal opens a CA for what is to be done by hand: nobody else does the like meanwhile.
// The caller unlocks.
func (e *Engine) deal(ctx context.Context, p Place, o NewAccount) (d *deal, unlock func(), err error) {
	r := &run{engine: e, options: Options{AgreeTerms: o.AgreeTerms}, hand: &byHand{contacts: o.Contacts}, chosen: p.chosen}
	t := &turn{run: r, offer: p.offer(), at: p.Directory}
	t.conf = r.ca(t.offer.Issuer, t.offer.Default)
	unlock, err = e.config.Vault.LockCA(ctx, t.at)
	if err != nil {
		return nil, nil, err
	}
	d = &deal{turn: t}
	if d.known, err = e.config.Vault.CA(t.at); err != nil {
		unlock()
		return nil, nil, err
	}
	return d, unlock, nil
}

// fault makes an AccountError of an error, with advice.
func (d *deal) fault(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	v := classify(err, ctx.Err() != nil)
	if forgotten(err) {
		v.advice = "the CA does not know this account any more: forget it (chancery account remove), and register anew"
	}
	if acme.HasType(err, acme.TypeUnauthorized) && d.client.AccountURL != "" {
		// RFC 8555 §7.3.6: what the CA says of an account that was deactivated, too.
		v.advice = "if the account was ended already, forget it here (chancery account remove)"
	}
	return &AccountError{CA: d.name(), Class: v.class, Advice: v.advice, Err: err}
}

// open finds the CA's directory and takes the account that is there. Without one the
// error is ErrNone of the vault.
func (d *deal) open(ctx context.Context) error {
	key, next, err := d.keys()
	if err != nil {
		return err
	}
	if key == nil {
		return &inabilityError{class: ClassUnable, reason: "there is no account", advice: "make one: chancery account register", cause: vault.ErrNone}
	}
	if err := d.prepare(ctx); err != nil {
		return err
	}
	if d.known.Account != nil && next == nil {
		d.use(key, d.known.Account.URL)
		return nil
	}
	// A crash came between the key and the account's URL, or in a change of keys.
	done, err := d.recover(ctx, key, next)
	if err == nil && !done {
		err = &inabilityError{class: ClassUnable, reason: "the CA knows no account for this key",
			advice: "forget it (chancery account remove), and register anew", cause: vault.ErrNone}
	}
	return err
}

// keys gives the account's keys, nil where there is none.
func (d *deal) keys() (key, next crypto.Signer, err error) {
	key, next, err = d.run.engine.config.Vault.AccountKeys(d.at)
	if errors.Is(err, vault.ErrNone) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, &localError{err}
	}
	return key, next, nil
}

// again reads what is known now.
func (d *deal) again() (vault.CA, error) { return d.run.engine.config.Vault.CA(d.at) }

// Register makes an account at a CA, or finds the one there is (RFC 8555 §7.3): made
// tells which. The terms are shown as an event and kept with the basis of the agreement;
// naming a CA in CAA is none here. The error is an *AccountError.
func (e *Engine) Register(ctx context.Context, p Place, o NewAccount) (ca vault.CA, made bool, err error) {
	d, unlock, err := e.deal(ctx, p, o)
	if err != nil {
		return vault.CA{}, false, err
	}
	defer unlock()
	err = d.enter(ctx)
	if err == nil {
		err = d.agreed(ctx)
	}
	if err != nil {
		return vault.CA{}, false, d.fault(ctx, err)
	}
	ca, err = d.again()
	return ca, d.known.Account == nil, err
}

func (d *deal) enter(ctx context.Context) error {
	if err := d.prepare(ctx); err != nil {
		return err
	}
	if err := d.terms(ctx); err != nil {
		return err
	}
	key, next, err := d.keys()
	if err != nil {
		return err
	}
	if key == nil {
		return d.register(ctx)
	}
	done, err := d.recover(ctx, key, next)
	if err != nil {
		return err
	}
	if !done {
		return d.register(ctx)
	}
	// An account without a binding makes room for one with it, as in a run.
	now, err := d.again()
	if err != nil {
		return &localError{err}
	}
	done, err = d.rebind(ctx, now.Account)
	if done {
		d.known.Account = nil
	}
	return err
}

// Update replaces the contacts of an account (RFC 8555 §7.3.2); none takes them away.
// They are URLs (mailto:…). The error is an *AccountError.
func (e *Engine) Update(ctx context.Context, p Place, contacts []string) (vault.CA, error) {
	return e.with(ctx, p, func(d *deal) error {
		a, err := d.client.UpdateAccount(ctx, contacts)
		if err != nil {
			return err
		}
		return d.keepAccount(ctx, a, "")
	})
}

// with does something with the account that is there.
func (e *Engine) with(ctx context.Context, p Place, do func(*deal) error) (vault.CA, error) {
	d, unlock, err := e.deal(ctx, p, NewAccount{})
	if err != nil {
		return vault.CA{}, err
	}
	defer unlock()
	if err := d.open(ctx); err != nil {
		return vault.CA{}, d.fault(ctx, err)
	}
	if err := do(d); err != nil {
		return vault.CA{}, d.fault(ctx, err)
	}
	return d.again()
}

// Rollover gives an account another key (RFC 8555 §7.3.5) of a type that the vault knows;
// "" is the settings'. The new key is durable before the CA sees it, and the old one stays
// until the CA has taken it: whenever the process ends, one of the two is the account's,
// and the next use finds out which. A change that a crash interrupted is completed, if
// the CA has taken it, before another begins. The error is an *AccountError.
func (e *Engine) Rollover(ctx context.Context, p Place, keyType string) (vault.CA, error) {
	return e.with(ctx, p, func(d *deal) error {
		if keyType == "" {
			keyType = d.keyType()
		}
		return d.rollover(ctx, keyType)
	})
}

func (d *deal) rollover(ctx context.Context, keyType string) error {
	v := d.run.engine.config.Vault
	url := d.client.AccountURL
	old := d.client.Key
	next, err := v.NextAccountKey(ctx, d.at, keyType)
	if err != nil {
		return &localError{err}
	}
	err = d.client.ChangeKey(ctx, next)
	if err == nil {
		if err := v.PromoteAccountKey(context.WithoutCancel(ctx), d.at); err != nil {
			return &localError{err}
		}
		d.run.tell(d.event(Event{Kind: EventAccount, Account: url, Message: "the account at " + d.name() + " has another key: " + guard.Shown(url)}))
		return d.run.update(ctx, d.at, func(c *vault.CA) {
			if c.Account != nil {
				c.Account.KeyType = install.KeyType(next.Public())
			}
		})
	}
	if _, said := errors.AsType[*acme.Problem](err); !said {
		// The CA may have taken the key or not: the next use asks it.
		return fmt.Errorf("it is not known whether the CA took the new key, and the next use of the account finds out: %w", err)
	}
	// It may also be that an earlier copy of the same request was taken, whose answer was
	// lost: the account's present key decides, not the refusal.
	if _, lost := d.recover(ctx, old, next); lost != nil {
		return errors.Join(err, lost)
	}
	if d.client.Key == next && d.client.AccountURL != "" {
		return nil
	}
	return err
}

// Deactivate ends an account at its CA for good (RFC 8555 §7.3.6), and forgets it and its
// key. Certificates stay valid. The error is an *AccountError.
func (e *Engine) Deactivate(ctx context.Context, p Place) (vault.CA, error) {
	return e.with(ctx, p, func(d *deal) error {
		if _, err := d.client.Deactivate(ctx); err != nil {
			return err
		}
		if err := e.config.Vault.DropAccount(context.WithoutCancel(ctx), d.at); err != nil {
			return &localError{err}
		}
		return nil
	})
}

// Import takes over the account of a key that another client made: the CA is asked for
// it and makes none (RFC 8555 §7.3.1). The key is kept when the CA knows it. The error is
// an *AccountError; fs.ErrExist in it says that there is an account already.
func (e *Engine) Import(ctx context.Context, p Place, key crypto.Signer) (vault.CA, error) {
	d, unlock, err := e.deal(ctx, p, NewAccount{})
	if err != nil {
		return vault.CA{}, err
	}
	defer unlock()
	if err := d.takeOver(ctx, key); err != nil {
		return vault.CA{}, d.fault(ctx, err)
	}
	return d.again()
}

func (d *deal) takeOver(ctx context.Context, key crypto.Signer) error {
	held, _, err := d.keys()
	if err != nil {
		return err
	}
	if held != nil {
		return &inabilityError{class: ClassUnable, reason: "there is an account, or a key for one, already",
			advice: "forget it first (chancery account remove), or end it (chancery account deactivate)"}
	}
	if !slices.Contains(install.KeyTypes(), install.KeyType(key.Public())) {
		return &inabilityError{class: ClassUnable, reason: "this is no kind of key for an account", advice: "make an account with another: chancery account register"}
	}
	if err := d.prepare(ctx); err != nil {
		return err
	}
	if err := d.terms(ctx); err != nil {
		return err
	}
	d.use(key, "")
	found, err := d.client.Register(ctx, acme.Registration{OnlyExisting: true})
	if acme.HasType(err, acme.TypeAccountDoesNotExist) {
		return &inabilityError{class: ClassUnable, reason: "the CA knows no account for this key", advice: "look whether this is the right key, and the right CA", cause: vault.ErrNone}
	}
	if err != nil {
		return err
	}
	if found.Status != "" && found.Status != acme.AccountValid {
		return &inabilityError{class: ClassUnable, reason: fmt.Sprintf("the account %s is %s", guard.Shown(found.URL), guard.Shown(string(found.Status))), advice: "make a new one: chancery account register"}
	}
	if err := d.run.engine.config.Vault.ImportAccountKey(ctx, d.at, key); err != nil {
		return &localError{err}
	}
	// It stands as it is, also if there are credentials: they bind new accounts only, and
	// the CA need not show by which it was bound.
	keyID := boundBy(found)
	if external, err := d.run.engine.binding(d.run.eabNames(d.offer.Issuer, d.offer.Default)...); keyID == "" && err == nil {
		keyID = external.KeyID
	}
	if err := d.keepAccount(ctx, found, keyID); err != nil {
		return err
	}
	return d.agreed(ctx)
}

// boundBy is the key ID of the external account binding that an account was made with,
// "" if the CA does not show one (RFC 8555 §7.1.2).
func boundBy(a *acme.Account) string {
	if len(a.ExternalAccountBinding) == 0 {
		return ""
	}
	proof, err := acme.ParseMAC(a.ExternalAccountBinding)
	if err != nil {
		return ""
	}
	return proof.KeyID
}

// Forget drops an account and its key from the vault and tells nobody: the CA still has
// it. ErrNone of the vault if there is none.
func (e *Engine) Forget(ctx context.Context, p Place) error {
	d, unlock, err := e.deal(ctx, p, NewAccount{})
	if err != nil {
		return err
	}
	defer unlock()
	// A key that cannot be read is forgotten too.
	if _, err := e.config.Vault.AccountKey(d.at); errors.Is(err, vault.ErrNone) && d.known.Account == nil {
		return d.fault(ctx, &inabilityError{class: ClassUnable, reason: "there is no account", cause: vault.ErrNone})
	}
	return e.config.Vault.DropAccount(ctx, d.at)
}
