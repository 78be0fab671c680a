package enroll

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"

	"chancery/acme"
	"chancery/caa"
	"chancery/internal/durable"
	"chancery/internal/enroll/guard"
	"chancery/internal/enroll/install"
	"chancery/internal/enroll/vault"
)

// account sees to it that the turn's client has an account: the one in the vault, or one
// that is found again by its key after a crash, or a new one (RFC 8555 §7.3).
func (t *turn) account(ctx context.Context) error {
	if t.client.AccountURL != "" {
		return nil
	}
	v := t.run.engine.config.Vault
	unlock, err := t.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	known, err := v.CA(t.at)
	if err != nil {
		return &localError{err}
	}
	if err := t.bound(known.Account); err != nil {
		return err
	}
	key, next, err := v.AccountKeys(t.at)
	if err != nil && !errors.Is(err, vault.ErrNone) {
		return &localError{err}
	}
	if key != nil && (known.Account == nil || next != nil) {
		// A crash came between the key and the account's URL, or in a change of keys.
		done, err := t.recover(ctx, key, next)
		if err != nil {
			return err
		}
		if known.Account = nil; done {
			if known, err = v.CA(t.at); err != nil {
				return &localError{err}
			}
			key = t.client.Key
		}
	}
	if key == nil || known.Account == nil {
		return t.register(ctx)
	}
	t.use(key, known.Account.URL)
	_, err = t.rebind(ctx, known.Account)
	return err
}

// lock keeps others from making or changing the CA's account meanwhile. That one of them
// is at it for longer than the CA may take is no fault of the CA, and the next may serve.
func (t *turn) lock(ctx context.Context) (unlock func(), err error) {
	unlock, err = t.run.engine.config.Vault.LockCA(ctx, t.at)
	if busy, ok := errors.AsType[*durable.BusyError](err); ok {
		return nil, &inabilityError{class: ClassSkipped, reason: busy.Error(), advice: "the next run asks this CA again", cause: err}
	}
	if err != nil {
		return nil, &localError{err}
	}
	return unlock, nil
}

// bound compares with the account that the owner's record names, if it names one
// (RFC 8657 §3). The offer's account is else the usual one, which may be lost or replaced
// since the plan was made.
func (t *turn) bound(known *vault.Account) error {
	if want := t.offer.Account; boundToAccount(t.offer) && (known == nil || known.URL != want) {
		return &inabilityError{class: ClassUnable, reason: "the CAA record is bound to the account " + want + ", which this client does not have",
			advice: "enter that account's key (chancery account import), or correct accounturi"}
	}
	return nil
}

// rebind makes another account in the place of one that was made before there were
// credentials to bind it by: they bind new accounts only (RFC 8555 §7.3.4). done tells
// that there is another now. Until the CA has taken the credentials the old account stays
// as it is, and if the CA refuses them it goes on being used for what needs no binding.
func (t *turn) rebind(ctx context.Context, known *vault.Account) (done bool, err error) {
	if known.EABKeyID != "" || boundToAccount(t.offer) {
		return false, nil
	}
	external, err := t.run.engine.binding(t.run.eabNames(t.offer.Issuer, t.offer.Default)...)
	switch {
	case errors.Is(err, vault.ErrNone):
		return false, nil
	case err != nil:
		return false, &localError{err}
	}
	old := t.client.Key
	err = t.succeed(ctx, external)
	switch {
	case err == nil:
		t.run.tell(t.event(Event{Kind: EventAccount, Account: known.URL,
			Message: "the account " + guard.Shown(known.URL) + " is put aside: it was made without the external account binding " + guard.Shown(external.KeyID)}))
		return true, nil
	case classify(err, ctx.Err() != nil).class == ClassFinal && !t.offer.Kind.Binding() && t.run.hand == nil:
		t.use(old, known.URL)
		t.run.warn(fmt.Sprintf("%s did not take the external account binding %s, and the account without it is used: %s", t.name(), guard.Shown(external.KeyID), clean(err)))
		return false, nil
	}
	t.use(old, "")
	return false, err
}

// succeed makes the account that is bound, and then puts it in the place of the other.
func (t *turn) succeed(ctx context.Context, external *acme.ExternalAccount) error {
	v := t.run.engine.config.Vault
	basis, err := t.agreement()
	if err != nil {
		return err
	}
	key, found, err := v.SuccessorKey(ctx, t.at, t.keyType())
	if err != nil {
		return &localError{err}
	}
	t.use(key, "")
	var made *acme.Account
	if found { // an earlier run may have come as far as to make it
		if made, err = t.client.Register(ctx, acme.Registration{OnlyExisting: true}); forgotten(err) {
			found, err = false, nil
		}
	}
	if !found {
		made, err = t.client.Register(ctx, acme.Registration{Contacts: t.contacts(), AgreeTerms: basis != "", EAB: external})
	}
	if err == nil {
		err = valid(made)
	}
	if err != nil {
		return err
	}
	// There is an account of this key now, whatever the run is told.
	ctx = context.WithoutCancel(ctx)
	if err := v.SucceedAccount(ctx, t.at); err != nil {
		return &localError{err}
	}
	return t.keepAccount(ctx, made, external.KeyID)
}

// boundToAccount tells whether a record of the offer is bound to an account (RFC 8657 §3).
func boundToAccount(o caa.Offer) bool {
	return slices.ContainsFunc(o.Terms, func(term caa.Term) bool {
		p, err := caa.Parse(term.Record)
		_, bound := p.AccountURI()
		return err == nil && bound
	})
}

func (t *turn) use(key crypto.Signer, url string) {
	t.client.Key, t.client.AccountURL = key, url
}

// recover looks for the account by its keys, the newer first. done is false if the server
// knows neither.
func (t *turn) recover(ctx context.Context, key, next crypto.Signer) (done bool, err error) {
	v := t.run.engine.config.Vault
	for _, k := range []crypto.Signer{next, key} {
		if k == nil {
			continue
		}
		t.use(k, "")
		found, err := t.client.Register(ctx, acme.Registration{OnlyExisting: true})
		if acme.HasType(err, acme.TypeAccountDoesNotExist) {
			continue
		}
		if err != nil {
			return false, err
		}
		if k == next && next != nil {
			err = v.PromoteAccountKey(ctx, t.at)
		} else if next != nil {
			err = v.DropNextAccountKey(ctx, t.at)
		}
		if err != nil {
			return false, &localError{err}
		}
		return true, t.keepAccount(ctx, found, boundBy(found))
	}
	return false, nil
}

// register makes an account. Its key is durable before the CA sees it.
func (t *turn) register(ctx context.Context) error {
	r := t.run
	if err := t.bound(nil); err != nil {
		return err // a new account never has the URL that is asked for
	}
	external, err := t.external()
	if err != nil {
		return err
	}
	basis, err := t.agreement()
	if err != nil {
		return err
	}
	key, err := r.engine.config.Vault.CreateAccountKey(ctx, t.at, t.keyType())
	if err != nil {
		return &localError{err}
	}
	t.use(key, "")
	made, err := t.client.Register(ctx, acme.Registration{Contacts: t.contacts(), AgreeTerms: basis != "", EAB: external})
	if err != nil {
		return err
	}
	keyID := ""
	if external != nil {
		keyID = external.KeyID
	}
	return t.keepAccount(ctx, made, keyID)
}

func (t *turn) contacts() []string {
	if h := t.run.hand; h != nil && h.contacts != nil {
		return h.contacts
	}
	if t.conf != nil && len(t.conf.Contacts) > 0 {
		return slices.Clone(t.conf.Contacts)
	}
	return slices.Clone(t.run.engine.config.Settings.Contacts)
}

// keyType is that of a new account's key.
func (t *turn) keyType() string {
	if t.conf != nil && t.conf.AccountKey != "" {
		return t.conf.AccountKey
	}
	return t.run.engine.config.Settings.AccountKey
}

// valid tells why an account cannot be used, if it cannot (RFC 8555 §7.1.2).
func valid(a *acme.Account) error {
	if a.Status != "" && a.Status != acme.AccountValid {
		return &inabilityError{class: ClassUnable, reason: fmt.Sprintf("the account %s is %s", guard.Shown(a.URL), a.Status),
			advice: "forget it (chancery account remove) to let a new one be made"}
	}
	return nil
}

func (t *turn) keepAccount(ctx context.Context, a *acme.Account, keyID string) error {
	r := t.run
	if err := valid(a); err != nil {
		return err
	}
	r.tell(t.event(Event{Kind: EventAccount, Account: a.URL, Message: "the account at " + t.name() + " is " + guard.Shown(a.URL)}))
	return r.update(ctx, t.at, func(c *vault.CA) {
		knownAs(c, t.offer.Issuer)
		made := vault.Account{URL: a.URL, Contacts: a.Contact, Created: r.engine.config.Now(), KeyType: install.KeyType(t.client.Key.Public()), EABKeyID: keyID, Status: string(a.Status)}
		if old := c.Account; old != nil && keyID == "" {
			made.EABKeyID, made.Created = old.EABKeyID, old.Created
		}
		c.Account = &made
	})
}

// forgotten tells whether an error means that the CA does not know the account.
func forgotten(err error) bool { return acme.HasType(err, acme.TypeAccountDoesNotExist) }

// external gives the credentials for a binding, nil if none are there and none are
// needed (D11). Those that are there are used even if the CA does not ask.
func (t *turn) external() (*acme.ExternalAccount, error) {
	e, err := t.run.engine.binding(t.run.eabNames(t.offer.Issuer, t.offer.Default)...)
	switch {
	case err == nil:
		return e, nil
	case !errors.Is(err, vault.ErrNone):
		return nil, &localError{err}
	}
	m := t.found.Directory.Meta
	switch {
	case m != nil && m.ExternalAccountRequired:
		return nil, &inabilityError{class: ClassUnable, reason: t.name() + " wants an external account binding, and none is configured",
			advice: finals[acme.TypeExternalAccountRequired]}
	case t.offer.Kind.Binding():
		return nil, &inabilityError{class: ClassUnable, reason: fmt.Sprintf("a certificate of kind %s takes an external account binding, and none is configured for %s", t.offer.Kind, t.name()),
			advice: finals[acme.TypeExternalAccountRequired]}
	}
	return nil, nil
}

// eabNames are the names under which credentials may have been entered: the directory's
// URL, the issuer's name, the label.
func (r *run) eabNames(issuer, label string) []string {
	names := []string{r.asked(issuer, label)}
	if issuer != "" {
		names = append(names, issuer)
	}
	if c := r.ca(issuer, label); c != nil {
		names = append(names, c.Issuers...)
	}
	return names
}
