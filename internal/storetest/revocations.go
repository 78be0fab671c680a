package storetest

import (
	"context"
	"testing"
	"time"

	"chancery/internal/ca"
)

// RevocationStore is a ledger with its revocations.
type RevocationStore interface {
	ca.Ledger
	ca.Revocations
}

// Revocations is the suite of revocation and CRLs.
func Revocations(t *testing.T, s RevocationStore) {
	ctx := context.Background()
	in := Intent("revoke")
	in.Shard = 3
	if _, err := s.Intend(ctx, in); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Settle(ctx, settlement(in.Serial, 1)); err != nil {
		t.Fatal(err)
	}
	by := ca.Principal{Room: "test", ID: "revoker"}
	revoke := func(reason ca.Reason, at time.Time) (ca.Record, error) {
		return s.Revoke(ctx, ca.Revocation{Serial: in.Serial, Reason: reason, By: by, At: at, Event: by.Event(at, "certificate.revoked", string(in.Serial))})
	}
	at := base.Add(time.Hour)
	if r, err := revoke(ca.Superseded, at); err != nil || !r.RevokedAt.Equal(at) || r.Reason != ca.Superseded {
		t.Fatalf("Revoke gave %+v, %v", r, err)
	}
	if _, err := revoke(ca.CessationOfOperation, at.Add(time.Hour)); ca.KindOf(err) != ca.Revoked {
		t.Fatalf("a second revocation gave %v; want kind %s", err, ca.Revoked)
	}
	if blocked, err := s.KeyBlocked(ctx, in.KeyHash); err != nil || blocked {
		t.Fatalf("superseded blocked the key: %v, %v", blocked, err)
	}
	if r, err := revoke(ca.KeyCompromise, at.Add(time.Hour)); err != nil || !r.RevokedAt.Equal(at) || r.Reason != ca.KeyCompromise {
		t.Fatalf("keyCompromise must replace another reason and keep the date: %+v, %v", r, err)
	}
	if blocked, err := s.KeyBlocked(ctx, in.KeyHash); err != nil || !blocked {
		t.Fatalf("keyCompromise did not block the key: %v, %v", blocked, err)
	}
	var entries []ca.RevokedEntry
	collect := func(e ca.RevokedEntry) error { entries = append(entries, e); return nil }
	if err := s.Revoked(ctx, ca.CRLRecord{Issuer: in.Issuer, Shard: 3}, base, collect); err != nil || len(entries) != 1 || entries[0].Serial != in.Serial {
		t.Fatalf("Revoked gave %v, %v", entries, err)
	}
	if err := s.Revoked(ctx, ca.CRLRecord{Issuer: in.Issuer, Shard: 3}, in.NotAfter, collect); err != nil || len(entries) != 1 {
		t.Fatalf("an ended certificate is still listed: %v, %v", entries, err)
	}
	crls(ctx, t, s, in.Issuer)
}

// crls checks numbering and the counts that tell of a CRL out of date.
func crls(ctx context.Context, t *testing.T, s RevocationStore, issuer string) {
	r, err := s.CRL(ctx, issuer, 3)
	if err != nil || r.Number != 0 || r.Noted != 2 || r.Built != 0 {
		t.Fatalf("before the first CRL: %+v, %v", r, err)
	}
	save := func(number, built int64) error {
		return s.SaveCRL(ctx, ca.CRLRecord{Issuer: issuer, Shard: 3, Number: number, After: number - 1, DER: []byte{1}, ThisUpdate: base, NextUpdate: base.Add(time.Hour), Built: built},
			ca.Principal{Room: "core"}.Event(base, "crl.signed", issuer))
	}
	if err := save(1, 2); err != nil {
		t.Fatal(err)
	}
	if err := save(1, 2); ca.KindOf(err) != ca.Conflict {
		t.Fatalf("a CRL number was used twice: %v", err)
	}
	if r, err = s.CRL(ctx, issuer, 3); err != nil || r.Number != 1 || r.Built != r.Noted {
		t.Fatalf("after the first CRL: %+v, %v", r, err)
	}
}
