package acmeserver_test

import (
	"testing"

	"chancery/acme"
)

// RFC 8555 §11.1: a certificate's key may not become an account's later on, neither when
// the account is opened nor when it changes its key. It still revokes its certificate.
func TestAccountWithACertificatesKey(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client()
	chain, key := w.obtain(c, "a.example")
	for name, reg := range map[string]acme.Registration{"new": {}, "existing": {OnlyExisting: true}} {
		stranger := &acme.Client{Directory: c.Directory, Key: key}
		_, err := stranger.Register(t.Context(), reg)
		if want := map[string]string{"new": acme.TypeBadPublicKey, "existing": acme.TypeAccountDoesNotExist}[name]; !acme.HasType(err, want) {
			t.Errorf("%s: %v; want %s", name, err, want)
		}
	}
	refused(t, c.ChangeKey(t.Context(), key), acme.TypeBadPublicKey, "key of a certificate")
	if err := c.Revoke(t.Context(), chain.Certificates[0].Raw, nil, key); err != nil {
		t.Errorf("revoking by the certificate's key: %v", err)
	}
	refused(t, c.ChangeKey(t.Context(), key), acme.TypeBadPublicKey, "key of a certificate")
	if err := c.ChangeKey(t.Context(), certKey(t)); err != nil {
		t.Errorf("another key: %v", err)
	}
}
