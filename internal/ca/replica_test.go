package ca_test

import (
	"context"
	"crypto"
	"errors"
	"testing"
	"time"

	"chancery/internal/ca"
	"chancery/internal/storetest"
)

// replica is a second process over the same store and keys, which has read the
// hierarchy once and not since.
func (c *core) replica(t *testing.T) *core {
	t.Helper()
	r := &core{store: c.store, keys: c.keys, now: c.now}
	r.Authority = storetest.Authority(t, c.store, c.keys, func() time.Time { return r.now })
	if err := r.Reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestStaleReplicaRevokesOnTheRightCRL(t *testing.T) {
	ctx := context.Background()
	plan := storetest.Plan
	plan.Shards = 8
	c := found(t, plan)
	stale := c.replica(t)
	c.now = c.now.Add(time.Minute)
	if _, err := c.RolloverIssuer(ctx, operator, "issuing"); err != nil {
		t.Fatal(err)
	}
	for n := range 8 {
		r, err := c.Issue(ctx, c.request(t, "acme:"+string(rune('a'+n)), newKey(t).Public(), "a.example"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stale.Revoke(ctx, ca.Revocation{Serial: r.Serial, By: operator}); err != nil {
			t.Fatal(err)
		}
		shard, listed := c.Issuers().ByID(r.Issuer).ShardOf(r.Serial), false
		err = c.store.Revoked(ctx, ca.CRLRecord{Issuer: r.Issuer, Shard: shard}, c.now, func(e ca.RevokedEntry) error {
			listed = listed || e.Serial == r.Serial
			return nil
		})
		if err != nil || !listed {
			t.Fatalf("%s is not on the CRL that it points to: %v", r.Serial, err)
		}
	}
}

// lose makes an intent that nobody finished, and lets its lease end.
func (c *core) lose(t *testing.T, req ca.Request) {
	t.Helper()
	c.Ledger = torn{c.store, false}
	if _, err := c.Issue(context.Background(), req); !errors.Is(err, errTorn) {
		t.Fatalf("got %v", err)
	}
	c.Ledger = c.store
	c.now = c.now.Add(2 * time.Minute)
}

func TestStaleReplicaDoesNotGiveUp(t *testing.T) {
	ctx := context.Background()
	c := found(t, storetest.Plan)
	stale := c.replica(t)
	c.now = c.now.Add(time.Minute)
	if _, err := c.RolloverIssuer(ctx, operator, "issuing"); err != nil {
		t.Fatal(err)
	}
	c.lose(t, c.request(t, "acme:lost", newKey(t).Public(), "a.example"))
	stale.now = c.now
	if n, err := stale.Recover(ctx); err != nil || n != 1 {
		t.Fatalf("Recover gave %d, %v", n, err)
	}
	if r, err := c.store.ByRequest(ctx, "acme:lost"); err != nil || !r.Settled() || !r.RevokedAt.IsZero() {
		t.Fatalf("the new issuer's intent was not finished: %+v, %v", r, err)
	}
}

// What happened since an intent was written counts when it is finished.
func TestIntentForACompromisedKeyIsGivenUp(t *testing.T) {
	ctx := context.Background()
	c := found(t, storetest.Plan)
	key := newKey(t)
	other, err := c.Issue(ctx, c.request(t, "acme:other", key.Public(), "a.example"))
	if err != nil {
		t.Fatal(err)
	}
	lost := c.request(t, "acme:lost", key.Public(), "b.example")
	c.lose(t, lost)
	if _, err := c.Revoke(ctx, ca.Revocation{Serial: other.Serial, Reason: ca.KeyCompromise, By: operator}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Recover(ctx); err != nil {
		t.Fatal(err)
	}
	r, err := c.store.ByRequest(ctx, "acme:lost")
	if err != nil || r.Settled() || r.RevokedAt.IsZero() {
		t.Fatalf("an intent for a compromised key came to %+v, %v", r, err)
	}
	lost.Evidence[0].Expires = c.now.Add(time.Hour)
	if _, err := c.Issue(ctx, lost); ca.KindOf(err) != ca.Revoked {
		t.Fatalf("asking again gave %v; want kind %s", err, ca.Revoked)
	}
	if n, err := c.Recover(ctx); err != nil || n != 0 {
		t.Fatalf("it was taken up again: %d, %v", n, err)
	}
}

func TestSameIdForSomethingElse(t *testing.T) {
	ctx := context.Background()
	c := found(t, storetest.Plan)
	key := newKey(t)
	if _, err := c.Issue(ctx, c.request(t, "admin:word", key.Public(), "a.example")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Issue(ctx, c.request(t, "admin:word", key.Public(), "b.example")); ca.KindOf(err) != ca.Conflict {
		t.Fatalf("other names under the same id gave %v; want kind %s", err, ca.Conflict)
	}
}

func TestActiveAuthorityIsNotRevoked(t *testing.T) {
	ctx := context.Background()
	c := found(t, storetest.Plan)
	issuing := c.Issuers().Line("issuing", c.now)
	serial := ca.SerialOf(issuing.Certificate().SerialNumber)
	revocation := ca.Revocation{Serial: serial, Reason: ca.KeyCompromise, By: operator}
	if _, err := c.Revoke(ctx, revocation); ca.KindOf(err) != ca.Denied {
		t.Fatalf("revoking an authority at work gave %v; want kind %s", err, ca.Denied)
	}
	c.now = c.now.Add(time.Minute)
	if _, err := c.RolloverIssuer(ctx, operator, "issuing"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Revoke(ctx, revocation); err != nil {
		t.Fatalf("revoking a retired authority gave %v", err)
	}
}

// refusing is a hierarchy that cannot be changed.
type refusing struct{ ca.Hierarchy }

func (refusing) Change(context.Context, ca.Change) error {
	return ca.Errorf(ca.Conflict, "somebody was quicker")
}

func TestOrphanedAuthoritiesAreRevoked(t *testing.T) {
	ctx := context.Background()
	c := found(t, storetest.Plan)
	c.Hierarchy = refusing{c.store}
	if _, err := c.RolloverIssuer(ctx, operator, "issuing"); ca.KindOf(err) != ca.Conflict {
		t.Fatal(err)
	}
	if n, err := c.Recover(ctx); err != nil || n != 0 {
		t.Fatalf("an authority that may still be taken up was revoked: %d, %v", n, err)
	}
	c.now = c.now.Add(time.Hour)
	if n, err := c.Recover(ctx); err != nil || n != 1 {
		t.Fatalf("Recover gave %d, %v; want the orphan revoked", n, err)
	}
	if n, err := c.Recover(ctx); err != nil || n != 0 {
		t.Fatalf("Recover gave %d, %v; want nothing left", n, err)
	}
}

// damaged is a key store in which one key cannot be read.
type damaged struct {
	ca.Keys
	name string
}

func (d damaged) Load(ctx context.Context, name string) (crypto.Signer, error) {
	if name == d.name {
		return nil, errors.New("the file is damaged")
	}
	return d.Keys.Load(ctx, name)
}

func TestOneDamagedKeyDoesNotStopTheOthers(t *testing.T) {
	ctx := context.Background()
	c := found(t, storetest.Plan)
	r := storetest.Authority(t, c.store, damaged{c.keys, c.Issuers().List()[0].Key}, time.Now)
	if err := r.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Issue(ctx, c.request(t, "acme:1", newKey(t).Public(), "a.example")); err != nil {
		t.Fatal(err)
	}
	before := r.Issuers()
	if err := r.Reload(ctx); err != nil || r.Issuers() != before {
		t.Fatalf("nothing changed, and yet the hierarchy was built anew: %v", err)
	}
}
