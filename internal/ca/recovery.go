package ca

import (
	"context"
	"errors"
	"time"
)

// Recover finishes intents that a crash left behind: each is signed again from
// its recorded bytes. One whose issuer is gone is revoked, since a signature
// may exist that nobody recorded. It gives how many were finished or revoked;
// an error about one does not keep the others from being tried.
func (a *Authority) Recover(ctx context.Context) (int, error) {
	now := a.Clock()
	lapsed, err := a.Recovery.Claim(ctx, now, now.Add(lease), 100)
	if err != nil {
		return 0, err
	}
	done := 0
	var errs []error
	for _, r := range lapsed {
		if err := a.recoverOne(ctx, r, now); err != nil {
			errs = append(errs, err)
			continue
		}
		done++
	}
	return done, errors.Join(errs...)
}

func (a *Authority) recoverOne(ctx context.Context, r Record, now time.Time) error {
	if !r.RevokedAt.IsZero() {
		return nil
	}
	if _, known := a.Issuers().byID[r.Issuer]; known {
		_, err := a.finish(ctx, r)
		return err
	}
	_, err := a.Revocations.Revoke(ctx, Revocation{
		Serial: r.Serial, Reason: CessationOfOperation, By: coreItself, At: now,
		Event: coreItself.Event(now, "certificate.revoked", string(r.Serial)),
	})
	return err
}

// coreItself is who acts when nobody asked.
var coreItself = Principal{Room: "core", ID: "itself"}

// Unfinished is the age after which an intent is nobody's: the lease that
// [Authority.Issue] takes.
func Unfinished() time.Duration { return lease }
