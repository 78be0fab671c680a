package storetest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"sync"
	"testing"
	"time"

	"chancery/internal/ca"
	"chancery/internal/estserver"
)

// ESTKeyStore is what the EST room needs of a store for keys and for what was issued.
type ESTKeyStore interface {
	estserver.DeviceKeys
	estserver.Passphrases
	estserver.Certificates
	ca.Ledger
	ca.Revocations
}

// ESTKeys is the suite of device keys and of finding certificates.
func ESTKeys(t *testing.T, s ESTKeyStore) {
	ctx := context.Background()
	t.Run("device keys", func(t *testing.T) { deviceKeys(ctx, t, s) })
	t.Run("archive", func(t *testing.T) { archive(ctx, t, s) })
	t.Run("passphrases", func(t *testing.T) { passphrases(ctx, t, s) })
	t.Run("renewable", func(t *testing.T) { renewable(ctx, t, s) })
	t.Run("by key identifier", func(t *testing.T) { byKeyID(ctx, t, s) })
	t.Run("standing", func(t *testing.T) { standing(ctx, t, s) })
	t.Run("issued are counted", func(t *testing.T) { countIssued(ctx, t, s) })
}

func deviceKeys(ctx context.Context, t *testing.T, s ESTKeyStore) {
	add := func(k estserver.DeviceKey) error { return s.AddDeviceKey(ctx, k, eventOf("est-key.added", "k")) }
	id := []byte{0, ':', 0xff}
	sym := estserver.DeviceKey{Kind: estserver.Symmetric, ID: id, Sealed: []byte("sealed"), Comment: "of the line", Created: base}
	asym := estserver.DeviceKey{Kind: estserver.Asymmetric, ID: id, Public: []byte{0x30}, Created: base}
	won := make(chan error, 8)
	var wg sync.WaitGroup
	for range cap(won) {
		wg.Go(func() { won <- add(sym) })
	}
	wg.Wait()
	close(won)
	first := 0
	for err := range won {
		if err == nil {
			first++
		} else if ca.KindOf(err) != ca.Conflict {
			t.Error(err)
		}
	}
	if err := add(asym); err != nil || first != 1 {
		t.Fatalf("%d of 8 stored one key; another kind with its identifier: %v", first, err)
	}
	for _, want := range []estserver.DeviceKey{sym, asym} {
		got, err := s.DeviceKey(ctx, want.Kind, id)
		if err != nil || got.Kind != want.Kind || !bytes.Equal(got.ID, id) || !bytes.Equal(got.Sealed, want.Sealed) || !bytes.Equal(got.Public, want.Public) ||
			got.Comment != want.Comment || !got.Created.Equal(base) {
			t.Errorf("%s came back as %+v, %v", want.Kind, got, err)
		}
	}
	seen := 0
	for cursor := ""; ; seen++ {
		page, next, err := s.ListDeviceKeys(ctx, cursor, 1)
		if err != nil || len(page) != 1 {
			t.Fatal(page, err)
		}
		if cursor = next; next == "" {
			break
		}
	}
	if seen != 1 {
		t.Errorf("the list of two has %d pages more", seen)
	}
	remove := func() error { return s.RemoveDeviceKey(ctx, sym.Kind, id, eventOf("est-key.removed", "k")) }
	if err := remove(); err != nil {
		t.Fatal(err)
	}
	_, err := s.DeviceKey(ctx, sym.Kind, id)
	if err2 := remove(); ca.KindOf(err) != ca.NotFound || ca.KindOf(err2) != ca.NotFound {
		t.Errorf("a removed key gave %v, and removing it again %v", err, err2)
	}
}

func archive(ctx context.Context, t *testing.T, s ESTKeyStore) {
	serial := Intent("archive").Serial
	if err := s.Archive(ctx, serial, []byte("enveloped"), eventOf("est-key.archived", string(serial))); err != nil {
		t.Fatal(err)
	}
	if err := s.Archive(ctx, serial, []byte("another"), eventOf("est-key.archived", string(serial))); ca.KindOf(err) != ca.Conflict {
		t.Errorf("a second copy gave %v", err)
	}
	if got, err := s.Archived(ctx, serial); err != nil || string(got) != "enveloped" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := s.Archived(ctx, Intent("archive-none").Serial); ca.KindOf(err) != ca.NotFound {
		t.Errorf("an absent copy gave %v", err)
	}
}

func passphrases(ctx context.Context, t *testing.T, s ESTKeyStore) {
	serial := Intent("passphrase").Serial
	for _, hash := range []string{"first", "second"} {
		want := estserver.Passphrase{Serial: serial, Hash: hash, Created: base}
		if err := s.KeepPassphrase(ctx, want, eventOf("certificate.revocation-challenge-kept", string(serial))); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Passphrase(ctx, serial); err != nil || got.Serial != serial || got.Hash != hash || !got.Created.Equal(base) {
			t.Errorf("%+v came back as %+v, %v", want, got, err)
		}
	}
	if _, err := s.Passphrase(ctx, Intent("passphrase-none").Serial); ca.KindOf(err) != ca.NotFound {
		t.Errorf("a certificate without one gave %v", err)
	}
}

func renewable(ctx context.Context, t *testing.T, s ESTKeyStore) {
	a, _ := ca.DNS("a.renew.example")
	b, _ := ca.DNS("b.renew.example")
	made := func(request, subject, profile string, names ...ca.Identifier) ca.Record {
		return issue(ctx, t, s, request, func(in *ca.Intent) {
			in.Subject, in.Profile, in.Names = subject, profile, names
			in.At = in.At.Add(time.Duration(len(request)) * time.Second)
		})
	}
	first := made("renew-1", "CN=r", "device", a, b)
	second := made("renew-22", "CN=r", "ldevid", b, a)
	made("renew-333", "CN=r", "device", a)
	made("renew-4444", "CN=r", "other", a, b)
	bare := made("renew-55555", "CN=bare", "device")
	made("renew-666666", "", "device")
	revoked := made("renew-7777777", "CN=r", "device", a, b)
	if _, err := s.Revoke(ctx, ca.Revocation{Serial: revoked.Serial, By: approver, At: base, Event: eventOf("certificate.revoked", string(revoked.Serial))}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Intend(ctx, func() ca.Intent {
		in := Intent("renew-unsettled")
		in.Subject, in.Profile, in.Names = "CN=r", "device", []ca.Identifier{a, b}
		return in
	}()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		q    estserver.Renewal
		want []ca.Serial
	}{
		{"both profiles, newest first", estserver.Renewal{Subject: "CN=r", Names: []ca.Identifier{a, b}, Profiles: []string{"device", "ldevid"}}, []ca.Serial{second.Serial, first.Serial}},
		{"names in another order", estserver.Renewal{Subject: "CN=r", Names: []ca.Identifier{b, a}, Profiles: []string{"device"}}, []ca.Serial{first.Serial}},
		{"fewer names", estserver.Renewal{Subject: "CN=r", Names: []ca.Identifier{b}, Profiles: []string{"device"}}, nil},
		{"another subject", estserver.Renewal{Subject: "CN=R", Names: []ca.Identifier{a, b}, Profiles: []string{"device"}}, nil},
		{"no names", estserver.Renewal{Subject: "CN=bare", Profiles: []string{"device"}}, []ca.Serial{bare.Serial}},
		{"nothing", estserver.Renewal{Profiles: []string{"device"}}, nil},
		{"no profiles", estserver.Renewal{Subject: "CN=bare"}, nil},
		{"ended", estserver.Renewal{Subject: "CN=bare", Profiles: []string{"device"}, After: bare.NotAfter}, nil},
	} {
		got, err := s.Renewable(ctx, c.q)
		if err != nil || len(got) != len(c.want) {
			t.Errorf("%s: %d certificates, %v; want %d", c.name, len(got), err, len(c.want))
			continue
		}
		for i, r := range got {
			if r.Serial != c.want[i] || !r.Settled() {
				t.Errorf("%s: place %d has %s; want %s", c.name, i, r.Serial, c.want[i])
			}
		}
	}
	for n := range 12 {
		made(fmt.Sprintf("renew-many-%d", n), "CN=many", "device")
	}
	if got, err := s.Renewable(ctx, estserver.Renewal{Subject: "CN=many", Profiles: []string{"device"}}); err != nil || len(got) != 10 {
		t.Errorf("%d of twelve, %v; want ten", len(got), err)
	}
}

func byKeyID(ctx context.Context, t *testing.T, s ESTKeyStore) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id := []byte("twenty octets, about")
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, SubjectKeyId: id,
		NotBefore: base, NotAfter: base.Add(time.Hour)}, &x509.Certificate{Subject: pkix.Name{CommonName: "i"}}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	in := Intent("by-key-id")
	if _, err := s.Intend(ctx, in); err != nil {
		t.Fatal(err)
	}
	if got, err := s.ByKeyID(ctx, id, base); err != nil || len(got) != 0 {
		t.Fatalf("before it is settled: %v, %v", got, err)
	}
	if _, err := s.Settle(ctx, settlement(in.Serial, der...)); err != nil {
		t.Fatal(err)
	}
	if got, err := s.ByKeyID(ctx, id, base); err != nil || len(got) != 1 || got[0].Serial != in.Serial {
		t.Fatalf("got %v, %v", got, err)
	}
	if got, err := s.ByKeyID(ctx, id, in.NotAfter.Add(time.Second)); err != nil || len(got) != 0 {
		t.Errorf("after its end: %v, %v", got, err)
	}
	if _, err := s.Revoke(ctx, ca.Revocation{Serial: in.Serial, By: approver, At: base, Event: eventOf("certificate.revoked", "x")}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.ByKeyID(ctx, id, base); err != nil || len(got) != 0 {
		t.Errorf("after its revocation: %v, %v", got, err)
	}
}

func standing(ctx context.Context, t *testing.T, s ESTKeyStore) {
	in := Intent("standing")
	look := func(what string, at time.Time, reason ca.Reason) {
		t.Helper()
		if revoked, why, err := s.Standing(ctx, in.Serial); err != nil || !revoked.Equal(at) || why != reason {
			t.Errorf("%s: revoked %v, %v, %v", what, revoked, why, err)
		}
	}
	missing := func(what string) {
		t.Helper()
		if _, _, err := s.Standing(ctx, in.Serial); ca.KindOf(err) != ca.NotFound {
			t.Errorf("%s: %v", what, err)
		}
	}
	missing("without a record")
	if _, err := s.Intend(ctx, in); err != nil {
		t.Fatal(err)
	}
	missing("while it is not settled")
	if _, err := s.Settle(ctx, settlement(in.Serial, 0x30)); err != nil {
		t.Fatal(err)
	}
	look("settled", time.Time{}, ca.Unspecified)
	if _, err := s.Revoke(ctx, ca.Revocation{Serial: in.Serial, Reason: ca.Superseded, By: approver, At: base, Event: eventOf("certificate.revoked", "x")}); err != nil {
		t.Fatal(err)
	}
	look("revoked", base, ca.Superseded)
}

func countIssued(ctx context.Context, t *testing.T, s ESTKeyStore) {
	for _, room := range []string{"est", "other"} {
		by := ca.Principal{Room: room, ID: "user:counted"}
		for n := range 5 {
			issue(ctx, t, s, fmt.Sprintf("counted-%s-%d", room, n), func(in *ca.Intent) { in.By, in.At = by, base.Add(time.Duration(n)*time.Minute) })
		}
		in := Intent("counted-" + room + "-given-up")
		in.By = by
		if _, err := s.Intend(ctx, in); err != nil {
			t.Fatal(err)
		}
		if n, err := s.CountIssued(ctx, by, base); err != nil || n != 6 {
			t.Errorf("%s: %d with one that is being made, %v; want 6", room, n, err)
		}
		if _, err := s.Revoke(ctx, ca.Revocation{Serial: in.Serial, By: approver, At: base, Event: eventOf("certificate.revoked", "x")}); err != nil {
			t.Fatal(err)
		}
		for after, want := range map[time.Duration]int{0: 5, 2 * time.Minute: 3, time.Hour: 0} {
			if n, err := s.CountIssued(ctx, by, base.Add(after)); err != nil || n != want {
				t.Errorf("%s after %v: %d, %v; want %d", room, after, n, err, want)
			}
		}
	}
	if n, err := s.CountIssued(ctx, ca.Principal{Room: "est", ID: "user:nobody"}, base); err != nil || n != 0 {
		t.Errorf("nobody's: %d, %v", n, err)
	}
}
