package challenge_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"chancery/internal/challenge"
)

func TestDNS01(t *testing.T) {
	sum := sha256.Sum256([]byte(keyAuth))
	right := base64.RawURLEncoding.EncodeToString(sum[:])
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("%03d %s", i, strings.Repeat("y", 60)))
	}
	at := "_acme-challenge.x.example"
	type set map[string][]string
	cases := []struct {
		name    string
		records set
		rcode   int
		cut     bool
		kind    challenge.Kind // 0: valid
		words   []string
	}{
		{name: "one", records: set{"TXT": {right}}},
		{name: "among others", records: set{"TXT": {"other", right, ""}}},
		{name: "among very many", records: set{"TXT": append(many, right)}},
		{name: "truncated over UDP", records: set{"TXT": {right}}, cut: true},
		{name: "through an alias", records: set{"CNAME": {"elsewhere.example"}}},
		{name: "wrong", records: set{"TXT": {"wrong\x1b[31m"}}, kind: challenge.Unauthorized, words: []string{at, `"wrong\x1b[31m"`, right}},
		{name: "many wrong", records: set{"TXT": many}, kind: challenge.Unauthorized, words: []string{"none of the 100", "…"}},
		{name: "key authorization itself", records: set{"TXT": {keyAuth}}, kind: challenge.Unauthorized},
		{name: "quoted", records: set{"TXT": {`"` + right + `"`}}, kind: challenge.Unauthorized, words: []string{"remove the quotes"}},
		{name: "padded", records: set{"TXT": {right + "="}}, kind: challenge.Unauthorized},
		{name: "in two records", records: set{"TXT": {right[:20], right[20:]}}, kind: challenge.Unauthorized},
		{name: "no TXT", records: set{"A": {"192.0.2.1"}}, kind: challenge.Unauthorized, words: []string{at, "no TXT record", right}},
		{name: "no name", kind: challenge.DNS, words: []string{at, "does not exist", right}},
		{name: "SERVFAIL", rcode: 2, kind: challenge.DNS, words: []string{at}},
		{name: "REFUSED", rcode: 5, kind: challenge.DNS, words: []string{at, "refused"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.dns.Default(netip.Addr{})
			must(t, r.dns.Set("elsewhere.example", "TXT", right))
			must(t, r.dns.Set("x.example", "TXT", right)) // not where it belongs
			for rtype, values := range c.records {
				must(t, r.dns.Set(at, rtype, values...))
			}
			r.dns.Fail(at, c.rcode)
			r.dns.Truncate(at, c.cut)
			got, err := r.validate(challenge.DNS01, "x.example")
			if c.kind != 0 {
				wantFailure(t, err, c.kind, c.words...)
				return
			}
			wantResult(t, got, err, netip.Addr{}, at, r.dns.Addr(), right)
		})
	}
}

func TestDNS01ShowsDNSSECAndAliases(t *testing.T) {
	sum := sha256.Sum256([]byte(keyAuth))
	r := newRig(t)
	r.dns.Authentic(true)
	must(t, r.dns.Set("_acme-challenge.x.example", "CNAME", "y.example"))
	must(t, r.dns.Set("y.example", "TXT", base64.RawURLEncoding.EncodeToString(sum[:])))
	got, err := r.validate(challenge.DNS01, "x.example")
	wantResult(t, got, err, netip.Addr{}, "through y.example", "DNSSEC")
}
