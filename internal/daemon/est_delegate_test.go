package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"sync"
	"testing"
	"time"

	"chancery/internal/ca"
	"chancery/internal/config"
)

// startHere gives a daemon whose insides can be looked at.
func startHere(t *testing.T) *Daemon {
	t.Helper()
	c := config.Default()
	c.Data, c.Listen.Public = t.TempDir(), "127.0.0.1:0"
	d, err := Start(context.Background(), Options{Config: c, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := d.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return d
}

// TestDelegates: one for all who ask at once, kept while it is fresh, replaced at half
// of its life and when another issuer signs, and under our roots.
func TestDelegates(t *testing.T) {
	d := startHere(t)
	for _, profile := range []string{"key-generation", "cmc-responder"} {
		keys := map[any]bool{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				k, err := d.delegates.get(t.Context(), profile)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				keys[k.Key] = true
			})
		}
		wg.Wait()
		if len(keys) != 1 {
			t.Fatalf("%s: %d keys for all who asked at once", profile, len(keys))
		}
	}
	first, err := d.delegates.get(t.Context(), "key-generation")
	if err != nil {
		t.Fatal(err)
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, root := range d.Roots() {
		roots.AddCert(root)
	}
	for _, cert := range first.Chain[1:] {
		between.AddCert(cert)
	}
	if _, err := first.Chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		t.Error(err)
	}
	if r, err := d.store.BySerial(t.Context(), ca.SerialOf(first.Chain[0].SerialNumber)); err != nil || r.Profile != "key-generation" || r.By.Room != "core" {
		t.Errorf("the ledger has %+v, %v", r, err)
	}
	d.delegates.now["key-generation"].renew = time.Now().Add(-time.Second)
	second, err := d.delegates.get(t.Context(), "key-generation")
	if err != nil || second.Key == first.Key {
		t.Errorf("at half of its life: the same, %v", err)
	}
	d.delegates.now["key-generation"].issuer = "another"
	third, err := d.delegates.get(t.Context(), "key-generation")
	if err != nil || third.Key == second.Key {
		t.Errorf("of another issuer: the same, %v", err)
	}
	// What cannot be replaced serves until it ends.
	old := *d.delegates.now["key-generation"]
	old.renew = time.Now().Add(-time.Second)
	d.delegates.now["nothere"] = &old
	if k, err := d.delegates.get(t.Context(), "nothere"); err != nil || k.Key != third.Key {
		t.Errorf("when it cannot be replaced: another, %v", err)
	}
	old.renew, old.ends = time.Now().Add(-time.Second), time.Now().Add(-time.Second)
	if _, err := d.delegates.get(t.Context(), "nothere"); ca.KindOf(err) != ca.Invalid {
		t.Errorf("one that has ended: %v", err)
	}
}

func TestWantsOwn(t *testing.T) {
	foreign := func(on bool) *foreignCertificate { return &foreignCertificate{&tls.Certificate{}, on} }
	for _, test := range []struct {
		name       string
		of         *foreignCertificate
		extensions []uint16
		want       bool
	}{
		{"none from elsewhere", nil, nil, true},
		{"nothing said", foreign(true), []uint16{0, 10, 13}, false},
		{"trusted_ca_keys", foreign(true), []uint16{0, 3}, true},
		{"certificate_authorities", foreign(true), []uint16{47}, true},
		{"off", foreign(false), []uint16{3, 47}, false},
	} {
		if got := test.of.wantsOwn(&tls.ClientHelloInfo{Extensions: test.extensions}); got != test.want {
			t.Errorf("%s: %t", test.name, got)
		}
	}
}
