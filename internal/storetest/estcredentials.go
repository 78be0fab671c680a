package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"chancery/internal/ca"
	"chancery/internal/estserver"
)

// oneTime makes a one-time password for a user.
func oneTime(ctx context.Context, t *testing.T, s ESTStore, user string) estserver.Credential {
	t.Helper()
	id := ca.NewID()
	digest := sha256.Sum256([]byte("secret of " + id))
	c := estserver.Credential{ID: id, User: user, OneTime: true, Digest: digest[:], Sealed: []byte("sealed " + id), Created: base, Expires: base.Add(48 * time.Hour)}
	if err := s.AddCredential(ctx, c, eventOf("est-password.added", id)); err != nil {
		t.Fatal(err)
	}
	return c
}

func boundTo(ctx context.Context, t *testing.T, s ESTStore, c estserver.Credential) string {
	t.Helper()
	got, err := s.CredentialByDigest(ctx, c.Digest)
	if err != nil {
		t.Fatal(err)
	}
	return got.Request
}

func onePassword(ctx context.Context, t *testing.T, s ESTStore) {
	c := oneTime(ctx, t, s, "one-password")
	var wg sync.WaitGroup
	var mu sync.Mutex
	var won []string
	for _, what := range []string{"a", "b", "c", "d"} {
		wg.Go(func() {
			p := pendingOf("user:one-password", what)
			p.Password = c.ID
			stored, err := addRequest(ctx, s, p, 10)
			switch ca.KindOf(err) {
			case "":
				mu.Lock()
				won = append(won, stored.ID)
				mu.Unlock()
			case ca.Conflict:
				if _, err := s.Request(ctx, p.Digest); ca.KindOf(err) != ca.NotFound {
					t.Errorf("a request without its password is there: %v", err)
				}
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 || boundTo(ctx, t, s, c) != won[0] {
		t.Fatalf("one password is bound to %q and was taken by %v", boundTo(ctx, t, s, c), won)
	}
	p := pendingOf("user:one-password", "unknown")
	p.Password = ca.NewID()
	if _, err := addRequest(ctx, s, p, 10); ca.KindOf(err) != ca.Conflict {
		t.Errorf("a password that is not there gave %v", err)
	}
}

func passwordFree(ctx context.Context, t *testing.T, s ESTStore) {
	bind := func(user, what string) (estserver.Credential, estserver.Pending) {
		c := oneTime(ctx, t, s, user)
		p := pendingOf("user:"+user, what)
		p.Password = c.ID
		return c, mustAdd(ctx, t, s, p)
	}
	c, p := bind("refused", "1")
	decide(ctx, t, s, p.ID, estserver.Refused)
	if got := boundTo(ctx, t, s, c); got != "" {
		t.Errorf("after a refusal the password is bound to %q", got)
	}
	c, p = bind("approved", "1")
	decide(ctx, t, s, p.ID, estserver.Approved)
	if got := boundTo(ctx, t, s, c); got != p.ID {
		t.Errorf("after an approval the password is bound to %q", got)
	}
	// Asked again when the first has run out: the same digest, another request.
	c, p = bind("again", "1")
	old := p.ID
	p.ID, p.Created, p.Expires = ca.NewID(), p.Expires, p.Expires.Add(time.Hour)
	mustAdd(ctx, t, s, p)
	if got := boundTo(ctx, t, s, c); got != p.ID {
		t.Errorf("asked again, the password is bound to %q; want %q", got, p.ID)
	}
	if _, err := s.RequestByID(ctx, old); ca.KindOf(err) != ca.NotFound {
		t.Errorf("the request that ran out: %v", err)
	}
}

// issue writes a settled certificate of a request.
func issue(ctx context.Context, t *testing.T, s ca.Ledger, request string, change ...func(*ca.Intent)) ca.Record {
	t.Helper()
	in := Intent(request)
	for _, f := range change {
		f(&in)
	}
	if _, err := s.Intend(ctx, in); err != nil {
		t.Fatal(err)
	}
	r, err := s.Settle(ctx, settlement(in.Serial, 1))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func sameCredential(a, b estserver.Credential) bool {
	return a.ID == b.ID && a.User == b.User && a.OneTime == b.OneTime && slices.Equal(a.Labels, b.Labels) && slices.Equal(a.Names, b.Names) &&
		a.Hash == b.Hash && bytes.Equal(a.Digest, b.Digest) && maps.Equal(a.HA1, b.HA1) && a.Realm == b.Realm && bytes.Equal(a.Sealed, b.Sealed) && a.Request == b.Request &&
		a.Created.Equal(b.Created) && a.Expires.Equal(b.Expires)
}

// selectedCredentials leaves out what ended, for a user with a standing password and three
// others.
func selectedCredentials(ctx context.Context, t *testing.T, s ESTStore) {
	ended := estserver.Credential{ID: ca.NewID(), User: "häns", OneTime: true, Digest: []byte("ended"), Created: base, Expires: base.Add(time.Hour)}
	if err := s.AddCredential(ctx, ended, eventOf("est-password.added", ended.ID)); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Time]int{base: 5, base.Add(time.Hour): 4} {
		if list, err := s.Credentials(ctx, estserver.CredentialQuery{User: "häns", Limit: 10, Now: at, Spent: at}); err != nil || len(list) != want {
			t.Errorf("%d credentials at %v, %v; want %d", len(list), at, err, want)
		}
	}
	// None of them is spent.
	if list, err := s.Credentials(ctx, estserver.CredentialQuery{User: "häns", Limit: 3, Now: base, Spent: base}); err != nil || len(list) != 3 {
		t.Errorf("%d credentials, %v; want 3", len(list), err)
	}
	if err := s.RemoveCredential(ctx, ended.ID, eventOf("est-password.removed", ended.ID)); err != nil {
		t.Fatal(err)
	}
}

func credentials(ctx context.Context, t *testing.T, s ESTStore) {
	add := func(c estserver.Credential) error {
		return s.AddCredential(ctx, c, eventOf("est-user.added", c.ID))
	}
	standing := estserver.Credential{ID: ca.NewID(), User: "häns", Labels: []string{"", "floor"}, Names: []string{"*.iot.example"},
		Hash: "$argon2id$", HA1: map[string]string{"MD5": "aa", "SHA-256": "bb"}, Realm: "r", Sealed: []byte("sealed"), Created: base}
	if err := add(standing); err != nil {
		t.Fatal(err)
	}
	second := standing
	second.ID = ca.NewID()
	if err := add(second); ca.KindOf(err) != ca.Conflict {
		t.Errorf("a second standing password gave %v", err)
	}
	var passwords []estserver.Credential
	for range 3 {
		passwords = append(passwords, oneTime(ctx, t, s, "häns"))
	}
	twice := passwords[0]
	twice.ID = ca.NewID()
	if err := add(twice); ca.KindOf(err) != ca.Conflict {
		t.Errorf("the same secret twice gave %v", err)
	}
	all, err := s.Credentials(ctx, estserver.CredentialQuery{User: "häns", Limit: 10, Now: base})
	if err != nil || len(all) != 4 {
		t.Fatalf("%d credentials, %v", len(all), err)
	}
	if !sameCredential(all[0], standing) {
		t.Errorf("the standing password came back as %+v", all)
	}
	if few, err := s.Credentials(ctx, estserver.CredentialQuery{User: "häns", Limit: 2, Now: base}); err != nil || len(few) != 2 || few[0].ID != standing.ID {
		t.Errorf("%d of two credentials, %v", len(few), err)
	}
	selectedCredentials(ctx, t, s)
	if got, err := s.CredentialByDigest(ctx, passwords[1].Digest); err != nil || !sameCredential(got, passwords[1]) {
		t.Errorf("by digest: %+v, %v", got, err)
	}
	seen := map[string]bool{}
	for cursor := ""; ; {
		page, next, err := s.ListCredentials(ctx, cursor, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page {
			if seen[c.ID] {
				t.Errorf("%s is listed twice", c.ID)
			}
			seen[c.ID] = true
		}
		if cursor = next; next == "" {
			break
		}
	}
	for _, c := range append(passwords, standing) {
		if !seen[c.ID] {
			t.Errorf("%s is not listed", c.ID)
		}
	}
	if err := s.RemoveCredential(ctx, standing.ID, eventOf("est-user.removed", standing.ID)); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveCredential(ctx, standing.ID, eventOf("est-user.removed", standing.ID)); ca.KindOf(err) != ca.NotFound {
		t.Errorf("removing twice gave %v", err)
	}
	if err := add(second); err != nil {
		t.Errorf("a password after the first is gone: %v", err)
	}
	if _, err := s.CredentialByDigest(ctx, []byte("no")); ca.KindOf(err) != ca.NotFound {
		t.Errorf("an unknown password gave %v", err)
	}
}

func digestNonces(ctx context.Context, t *testing.T, s ESTStore) {
	won := make(chan error, 20)
	var wg sync.WaitGroup
	for range cap(won) {
		wg.Go(func() { won <- s.SpendNonce(ctx, []byte("digest nonce/00000001"), base.Add(time.Hour)) })
	}
	wg.Wait()
	close(won)
	first := 0
	for err := range won {
		if err == nil {
			first++
		} else if ca.KindOf(err) != ca.Replayed {
			t.Error(err)
		}
	}
	if first != 1 {
		t.Errorf("a nonce was used %d times", first)
	}
	if spent, err := s.Spent(ctx, []byte("digest nonce/00000002")); spent || err != nil {
		t.Errorf("spent before it was used: %v, %v", spent, err)
	}
	for range 2 { // asking spends nothing
		if spent, err := s.Spent(ctx, []byte("digest nonce/00000001")); !spent || err != nil {
			t.Errorf("a used nonce is spent: %v, %v", spent, err)
		}
	}
	if err := s.SpendNonce(ctx, []byte("digest nonce/00000002"), base.Add(time.Hour)); err != nil {
		t.Error(err)
	}
}

func sweepEST(ctx context.Context, t *testing.T, s ESTStore) {
	endless := estserver.Credential{ID: ca.NewID(), User: "sweep", OneTime: true, Digest: []byte("endless"), Created: base}
	if err := s.AddCredential(ctx, endless, eventOf("est-password.added", endless.ID)); err != nil {
		t.Fatal(err)
	}
	p := pendingOf("user:sweep", "1")
	p.Password, p.Expires = endless.ID, base.Add(100*time.Hour)
	mustAdd(ctx, t, s, p)
	late := pendingOf("user:sweep", "2")
	late.Expires = base.Add(200 * time.Hour)
	mustAdd(ctx, t, s, late)
	short := oneTime(ctx, t, s, "sweep")
	before := base.Add(150 * time.Hour)
	for range 100 {
		n, err := s.SweepEST(ctx, before, 3)
		if err != nil || n > 6 {
			t.Fatal(n, err)
		}
		if n == 0 {
			break
		}
	}
	if _, err := s.RequestByID(ctx, p.ID); ca.KindOf(err) != ca.NotFound {
		t.Errorf("a request that ran out: %v", err)
	}
	if _, err := s.RequestByID(ctx, late.ID); err != nil {
		t.Errorf("a request that did not run out: %v", err)
	}
	if _, err := s.CredentialByDigest(ctx, short.Digest); ca.KindOf(err) != ca.NotFound {
		t.Errorf("a password that ran out: %v", err)
	}
	if got := boundTo(ctx, t, s, endless); got != "" {
		t.Errorf("a password whose request ran out is bound to %q", got)
	}
}
