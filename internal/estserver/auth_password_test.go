package estserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"chancery/internal/ca"
)

// The tests hash passwords by the hundred: not at the cost that everybody else has.
var shippedCost = usualCost

func init() { usualCost = argonCost{memory: 64, time: 1, threads: 1} }

func TestPasswordHashes(t *testing.T) {
	cheap := usualCost
	usualCost = shippedCost
	hash := HashPassword("open sesame")
	usualCost = cheap
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("the hash %q", hash)
	}
	if again := HashPassword("open sesame"); again == hash || strings.Contains(hash, "sesame") {
		t.Errorf("%q and %q", hash, again)
	}
	p := newPasswords()
	c := callFrom(t.Context(), "192.0.2.1")
	now := c.now
	for _, test := range []struct {
		password, hash string
		want           bool
	}{{"open sesame", hash, true}, {"open sesam", hash, false}, {"", hash, false}, {"open sesame", "", false}, {"", "", false}} {
		for range 2 {
			if got, err := p.verify(c, test.password, test.hash); got != test.want || err != nil {
				t.Errorf("%q: %v, %v", test.password, got, err)
			}
		}
	}
	if !p.remembered("open sesame", hash, now) || p.remembered("open sesame", hash, now.Add(passwordLife)) || p.remembered("open sesam", hash, now) || p.remembered("", "", now) {
		t.Error("the memory of passwords is wrong")
	}
	for _, bad := range []string{"x", "$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$c3VtMTIzNDU2Nzg5MDEyMzQ", "$argon2id$v=19$m=99999999,t=2,p=1$c2FsdHNhbHQ$c3VtMTIzNDU2Nzg5MDEyMzQ",
		"$argon2id$v=19$m=19456,t=2,p=0$c2FsdHNhbHQ$c3VtMTIzNDU2Nzg5MDEyMzQ", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$"} {
		if _, err := p.verify(c, "x", bad); !errors.Is(err, errHash) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestPasswordsAreBounded: who would be one too many is told to come back, and who
// hangs up does not wait.
func TestPasswordsAreBounded(t *testing.T) {
	p := newPasswords()
	for range argonAtOnce {
		p.working <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.verify(callFrom(ctx, "192.0.2.1"), "x", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if len(p.from) != 0 || len(p.waiting) != 0 {
		t.Error("who hung up still waits")
	}
	for range argonWaiting {
		p.waiting <- struct{}{}
	}
	if _, err := p.verify(callFrom(t.Context(), "192.0.2.1"), "x", ""); ca.KindOf(err) != ca.Unavailable {
		t.Errorf("%v", err)
	}
	if len(p.from) != 0 {
		t.Error("who was turned away is counted")
	}
}

// TestOneAddressWaitsAlone: an address takes half of the places, and leaves the others to
// others.
func TestOneAddressWaitsAlone(t *testing.T) {
	p := newPasswords()
	var ends []func()
	for range argonWaiting / 2 {
		if !p.enter("2001:db8::/64") {
			t.Fatal("an address cannot have its half")
		}
		ends = append(ends, func() { p.leave("2001:db8::/64") })
	}
	if _, err := p.verify(callFrom(t.Context(), "2001:db8::7"), "x", ""); ca.KindOf(err) != ca.Unavailable {
		t.Errorf("one more of an address gave %v", err)
	}
	if _, err := p.verify(callFrom(t.Context(), "2001:db8:0:1::7"), "x", ""); err != nil {
		t.Errorf("another address gave %v", err)
	}
	for _, end := range ends {
		end()
	}
	if _, err := p.verify(callFrom(t.Context(), "2001:db8::7"), "x", ""); err != nil || len(p.from) != 0 {
		t.Errorf("after all left: %v, %v", err, p.from)
	}
}

func callFrom(ctx context.Context, address string) *call {
	return &call{r: (&http.Request{}).WithContext(ctx), address: address, now: time.Now()}
}

func TestMemoryOfPasswordsIsBounded(t *testing.T) {
	p := newPasswords()
	now := time.Now()
	for i := range passwordsMax + 10 {
		p.remember(p.mac(fmt.Sprint(i), "hash"), now)
	}
	if len(p.known) != passwordsMax {
		t.Errorf("%d are remembered", len(p.known))
	}
	p.remember(p.mac("later", "hash"), now.Add(passwordLife))
	if len(p.known) != 1 {
		t.Errorf("%d are remembered after they ended", len(p.known))
	}
}

// FuzzDigestFields: whatever a client sends is read or not, within its length.
func FuzzDigestFields(f *testing.F) {
	f.Add(`username="a\"b", realm="r", nonce=n, uri="/", response="x", qop="auth", nc=00000001`)
	f.Add(`username="a" , , nonce="n"`)
	f.Add(`username="`)
	f.Fuzz(func(t *testing.T, fields string) {
		d, ok := parseDigest(fields)
		if ok && (d.nonce == "" || d.uri == "" || d.response == "" || len(d.user) > len(fields)) {
			t.Errorf("%q gives %+v", fields, d)
		}
	})
}

func TestSplitIdentity(t *testing.T) {
	for text, want := range map[string][2]string{
		"certificate:ab":                      {"certificate:ab", ""},
		"certificate:ab+user:x+certificate:c": {"certificate:ab", "user:x+certificate:c"},
		"maker:m:ab+one-time:1":               {"maker:m:ab", "one-time:1"},
		"user:certificate:ab":                 {"", "user:certificate:ab"},
		"":                                    {"", ""},
	} {
		if c, u := splitIdentity(text); c != want[0] || u != want[1] {
			t.Errorf("%q: %q and %q", text, c, u)
		}
	}
}
