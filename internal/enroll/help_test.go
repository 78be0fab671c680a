package enroll_test

import (
	"testing"

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
