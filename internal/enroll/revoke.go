package enroll

import (
	"context"
	"crypto"
	"errors"
	"fmt"

	"chancery/acme"
	"chancery/internal/enroll/install"
	"chancery/internal/enroll/vault"
)

// Revocation is what Revoke asks for.
type Revocation struct {
	Reason int // RFC 5280 §5.3.1; 0 is unspecified
	// ByKey signs with the certificate's own key instead of the account's: for one whose
	// account is gone.
	ByKey bool
}

// Revoke has the current certificate of that name revoked by the CA that issued it (RFC
// 8555 §7.6), by the account or by the certificate's key. It is marked in the vault, so
// that the next renewal gets another one with another key. One that is revoked already is
// marked too. The error is an *AccountError where the CA is concerned, else the vault's.
func (e *Engine) Revoke(ctx context.Context, name string, what Revocation) (vault.Record, error) {
	v := e.config.Vault
	unlock, err := v.Lock(ctx, name)
	if err != nil {
		return vault.Record{}, err
	}
	defer unlock()
	rec, err := v.Record(name)
	if err != nil {
		return rec, err
	}
	if rec.Current == nil {
		return rec, fmt.Errorf("%w: no certificate was obtained for %s yet", vault.ErrNone, name)
	}
	b, err := v.CurrentBundle(name)
	if err != nil {
		return rec, err
	}
	if err := e.revoke(ctx, *rec.Current, what, b); err != nil {
		return rec, err
	}
	// The key of an order under way may be the same, and its order was made for the
	// certificate that is no more.
	ctx = context.WithoutCancel(ctx)
	if err := v.DropPending(ctx, name); err != nil {
		return rec, err
	}
	err = v.UpdateRecord(ctx, name, func(r *vault.Record) error {
		r.Revoked = e.config.Now()
		rec = *r
		return nil
	})
	return rec, err
}

func (e *Engine) revoke(ctx context.Context, c vault.Issued, what Revocation, b install.Bundle) error {
	p, err := e.placeAt(c.Directory)
	if err != nil {
		return err
	}
	d, unlock, err := e.deal(ctx, p, NewAccount{})
	if err != nil {
		return err
	}
	defer unlock()
	return d.fault(ctx, d.revoke(ctx, what, b))
}

func (d *deal) revoke(ctx context.Context, what Revocation, b install.Bundle) error {
	var signer crypto.Signer
	if what.ByKey {
		if err := d.prepare(ctx); err != nil {
			return err
		}
		signer = b.Key
	} else if err := d.open(ctx); err != nil {
		if errors.Is(err, vault.ErrNone) {
			return &inabilityError{class: ClassUnable, reason: "the account by which it was obtained is not here", advice: "revoke it by its own key: --by-key", cause: err}
		}
		return err
	}
	var reason *int
	if what.Reason != 0 {
		reason = &what.Reason
	}
	err := d.client.Revoke(ctx, b.Chain[0].Raw, reason, signer)
	if acme.HasType(err, acme.TypeAlreadyRevoked) {
		return nil
	}
	return err
}
