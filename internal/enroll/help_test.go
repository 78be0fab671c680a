package enroll_test

import (
	"encoding/base64"
	"testing"

	"chancery/acme"
	"chancery/internal/enroll/vault"
)

// rec gives the record of a certificate.
func rec(t *testing.T, c *client, name string) vault.Record {
	t.Helper()
	r, err := c.vault.Record(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func sheet(names ...string) vault.Sheet { return vault.Sheet{Names: names} }

func external(t *testing.T, id, secret string) acme.ExternalAccount {
	t.Helper()
	key, err := base64.RawURLEncoding.DecodeString(secret)
	if err != nil {
		t.Fatal(err)
	}
	return acme.ExternalAccount{KeyID: id, Key: key}
}
