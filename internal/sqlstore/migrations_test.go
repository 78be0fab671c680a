package sqlstore

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
)

// applied are the migrations that databases out there have been through, by
// the start of the SHA-256 of their SQL. Lines are added; none is ever changed,
// as a database refuses a history other than its own.
var applied = []string{
	"701b5177eea52515", // core
	"aeb080cd9479fa24", // acme accounts
	"11bd958b5b146f8a", // acme orders
	"17992fa5874c21a9", // registry
	"e8708088d2b8c2f6", // seen nonces
	"31f0aee0aade20bf", // imported revocations
	"c9fb1d5851ea76bd", // ended authorizations
	"f46f19a0fedcf251", // held authorizations
	"7656154f56645588", // people
	"068889cfc1decb94", // bindings by pair
	"42b287b231d954c8", // vetted registration
	"7e8b3a044038e065", // est
	"ae9ae9a64189913d", // certificates alike
	"16a44c5a4d6fb88f", // est shared secrets
	"b372331d2e577f23", // est passphrases
	"e08cf9020d2b1421", // pending authorizations
	"1e3742f809035a46", // domains below
	"d8216d03ea77e7a2", // est passphrases of requests
}

func TestMigrationsAreNeverChanged(t *testing.T) {
	if len(migrations) != len(applied) {
		t.Fatalf("there are %d migrations, and %d are listed here: add the new one's line", len(migrations), len(applied))
	}
	for i, m := range migrations {
		sum := sha256.Sum256([]byte(strings.Join(m.SQL, ";")))
		if got := hex.EncodeToString(sum[:8]); got != applied[i] {
			t.Errorf("migration %d (%s) is %s and was %s: make a further one instead", m.Number, m.Name, got, applied[i])
		}
	}
}
