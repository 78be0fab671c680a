package ca

import (
	"context"
	"errors"
	"time"
)

// Recover finishes intents that a crash left behind: each is signed again from
// its recorded bytes. One whose issuer is gone is revoked, since a signature
// may exist that nobody recorded; so are authorities that were certified and
// never took up their work. It gives how many were finished or revoked; an
// error about one does not keep the others from being tried.
func (a *Authority) Recover(ctx context.Context) (int, error) {
	// Whether an issuer is gone is for storage to say, not for what this process
	// read some seconds ago.
	if err := a.Reload(ctx); err != nil {
		return 0, err
	}
	now := a.Clock()
	lapsed, err := a.Recovery.Claim(ctx, Claim{Now: now, Until: now.Add(lease), Limit: 100, Except: a.Issuers().withoutKey()})
	if err != nil {
		return 0, err
	}
	done := 0
	var errs []error
	for _, r := range lapsed {
		if err := a.recoverOne(ctx, r); err != nil {
			errs = append(errs, err)
			continue
		}
		done++
	}
	orphans, err := a.revokeOrphans(ctx, now)
	return done + orphans, errors.Join(append(errs, err)...)
}

func (a *Authority) recoverOne(ctx context.Context, r Record) error {
	if _, known := a.Issuers().byID[r.Issuer]; !known {
		return a.giveUp(ctx, r, CessationOfOperation)
	}
	_, err := a.finish(ctx, r)
	if kind := KindOf(err); kind == BadKey || kind == Revoked {
		return nil // it was given up
	}
	return err
}

// giveUp revokes what the core itself decided not to finish.
func (a *Authority) giveUp(ctx context.Context, r Record, reason Reason) error {
	now := a.Clock()
	_, err := a.Revocations.Revoke(ctx, Revocation{
		Serial: r.Serial, Reason: reason, By: coreItself, At: now,
		Event: coreItself.Event(now, "certificate.revoked", string(r.Serial)),
	})
	if KindOf(err) == Revoked {
		return nil
	}
	return err
}

// orphanAge is how long an authority has between its certificate and its place
// in the hierarchy, which take one operation.
const orphanAge = 15 * time.Minute

// revokeOrphans revokes the certificates of authorities that are in no
// hierarchy: a founding or rollover broke off, and nobody could see or retire
// what it had signed.
func (a *Authority) revokeOrphans(ctx context.Context, now time.Time) (int, error) {
	records, err := a.Recovery.Authorities(ctx)
	if err != nil {
		return 0, err
	}
	revoked := 0
	var errs []error
	for _, r := range records {
		if r.SettledAt.After(now.Add(-orphanAge)) || a.Issuers().byKeyHash(r.KeyHash) != nil {
			continue
		}
		if err := a.giveUp(ctx, r, CessationOfOperation); err != nil {
			errs = append(errs, err)
			continue
		}
		a.Logger.WarnContext(ctx, "revoked the certificate of an authority that never took up its work", "serial", r.Serial, "subject", r.Subject)
		revoked++
	}
	return revoked, errors.Join(errs...)
}

// coreItself is who acts when nobody asked.
var coreItself = Principal{Room: "core", ID: "itself"}
