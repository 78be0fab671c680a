package caa_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"chancery/caa"
	"chancery/internal/dnstest"
	"chancery/internal/resolver"

	"github.com/miekg/dns"
)

// wire asks a real server over a real socket.
type wire struct{ *resolver.Resolver }

func (w wire) CAA(ctx context.Context, name string) (caa.Answer, error) {
	a, err := w.Lookup(ctx, name, dns.TypeCAA)
	var e *resolver.Error
	if errors.As(err, &e) && (e.Kind == resolver.NotFound || e.Kind == resolver.NoData) {
		return caa.Answer{}, nil
	} else if err != nil {
		return caa.Answer{}, err
	}
	answer := caa.Answer{Authentic: a.Authentic, Aliases: a.Aliases, Server: a.Server}
	for _, rr := range a.Records {
		r := rr.(*dns.CAA)
		answer.Records = append(answer.Records, caa.Record{Flags: r.Flag, Tag: r.Tag, Value: r.Value})
	}
	return answer, nil
}

func serve(t *testing.T) (*dnstest.Server, wire) {
	t.Helper()
	s, err := dnstest.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	r, err := resolver.New(resolver.Config{Servers: []string{s.Addr()}, Attempts: 1, Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return s, wire{r}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func subject(t *testing.T, text string) caa.Subject {
	t.Helper()
	s, err := caa.ParseSubject(text)
	must(t, err)
	return s
}

// TestClimb goes through a tree of our own with the awkward shapes that real ones
// have.
func TestClimb(t *testing.T) {
	s, r := serve(t)
	zone := func(name, kind string, values ...string) { must(t, s.Set(name, kind, values...)) }
	zone("example", "CAA", `0 issue "tld.example"`)
	zone("own.example", "CAA", `0 issue "own-ca.example"`)
	zone("www.own.example", "A", "192.0.2.1")
	zone("a.b.own.example", "A", "192.0.2.1") // b.own.example is an empty non-terminal
	zone("alias.plain.test", "CNAME", "own.example")
	zone("bare.plain.test", "CNAME", "www.own.example")
	zone("plain.test", "CAA", `0 issue "plain-ca.example"`)
	zone("twice.plain.test", "CNAME", "alias.plain.test")
	zone("child.alias.plain.test", "A", "192.0.2.1")
	zone("*.wild.test", "CAA", `0 issue "synthesised.example"`)
	zone("wild.test", "CAA", `0 issue "wild.example"`)
	zone("xn--mnchen-3ya.test", "CAA", `0 issue "idna.example"`)

	for _, test := range []struct{ name, owner, issuer, asked string }{
		{"own.example", "own.example", "own-ca.example", "own.example"},
		{"*.own.example", "own.example", "own-ca.example", "own.example"},
		{"www.own.example", "own.example", "own-ca.example", "www.own.example own.example"},
		{"a.b.own.example", "own.example", "own-ca.example", "a.b.own.example b.own.example own.example"},
		{"not.there.own.example", "own.example", "own-ca.example", "not.there.own.example there.own.example own.example"},
		{"nothing.example", "example", "tld.example", "nothing.example example"},
		{"alias.plain.test", "alias.plain.test", "own-ca.example", "alias.plain.test"},
		{"twice.plain.test", "twice.plain.test", "own-ca.example", "twice.plain.test"},
		// RFC 6844 climbed from the alias's target, and would have found own-ca here.
		{"bare.plain.test", "plain.test", "plain-ca.example", "bare.plain.test plain.test"},
		// The alias at the parent is followed as well.
		{"child.alias.plain.test", "alias.plain.test", "own-ca.example", "child.alias.plain.test alias.plain.test"},
		// What the zone says of the asterisk itself is not asked for.
		{"*.wild.test", "wild.test", "wild.example", "wild.test"},
		{"MÜNCHEN.test", "xn--mnchen-3ya.test", "idna.example", "xn--mnchen-3ya.test"},
		{"someone@own.example", "own.example", "own-ca.example", "own.example"},
		{"none.of.it", "", "", "none.of.it of.it it"},
		{"192.0.2.1", "", "", ""},
	} {
		set, err := caa.Find(t.Context(), r, subject(t, test.name))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		var asked []string
		for _, step := range set.Steps {
			asked = append(asked, step.Name)
		}
		if set.Owner != test.owner || strings.Join(asked, " ") != test.asked {
			t.Errorf("%s: found at %q, asked %v", test.name, set.Owner, asked)
		}
		if test.issuer != "" && (len(set.Records) != 1 || set.Records[0].Value != test.issuer) {
			t.Errorf("%s: got %v, want %s", test.name, set.Records, test.issuer)
		}
	}
}

// TestClimbFails: whatever goes wrong before records were found is a failure, also
// if a parent has records; what is wrong further up does not matter.
func TestClimbFails(t *testing.T) {
	s, r := serve(t)
	must(t, s.Set("test", "CAA", `0 issue "ca.example"`))
	for _, name := range []string{"servfail.test", "refused.test", "up.test"} {
		must(t, s.Set("found."+name, "CAA", `0 issue "low.example"`))
	}
	s.Fail("servfail.test", dns.RcodeServerFailure)
	s.Fail("refused.test", dns.RcodeRefused)
	s.Fail("notimp.test", dns.RcodeNotImplemented)
	must(t, s.Set("loop.test", "CNAME", "pool.test"))
	must(t, s.Set("pool.test", "CNAME", "loop.test"))
	must(t, s.Set("to-broken.test", "CNAME", "servfail.test"))
	for _, name := range []string{
		"servfail.test", "a.servfail.test", "*.servfail.test", "x@servfail.test", "refused.test", "notimp.test", "loop.test", "a.loop.test", "to-broken.test",
	} {
		set, err := caa.Find(t.Context(), r, subject(t, name))
		var failed *caa.LookupError
		if !errors.As(err, &failed) || !reflect.DeepEqual(set, caa.Set{}) {
			t.Errorf("%s: got %+v, %v", name, set, err)
			continue
		}
		var cause *resolver.Error
		if !errors.As(err, &cause) || failed.At == "test" {
			t.Errorf("%s: the cause is lost: %v", name, err)
		}
	}
	for _, name := range []string{"found.servfail.test", "found.refused.test"} {
		if set, err := caa.Find(t.Context(), r, subject(t, name)); err != nil || set.Owner != name {
			t.Errorf("%s: got %+v, %v", name, set, err)
		}
	}
}

// TestForgive: a failure is passed over only if somebody said so, it shows, and
// the climb is not authentic any more.
func TestForgive(t *testing.T) {
	s, r := serve(t)
	s.Authentic(true)
	must(t, s.Set("test", "CAA", `0 issue "ca.example"`))
	s.Fail("a.test", dns.RcodeServerFailure)
	var asked []string
	c := caa.Climb{Resolver: r, Forgive: func(name string, err error) bool {
		asked = append(asked, name)
		return name == "a.test"
	}}
	set, err := c.Find(t.Context(), subject(t, "a.test"))
	must(t, err)
	if set.Owner != "test" || set.Authentic || len(set.Steps) != 2 || set.Steps[0].Failure == "" || !reflect.DeepEqual(asked, []string{"a.test"}) {
		t.Errorf("got %+v after asking %v", set, asked)
	}
	s.Fail("b.test", dns.RcodeServerFailure)
	if _, err := c.Find(t.Context(), subject(t, "b.test")); err == nil {
		t.Error("forgiven without permission")
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Find(over, subject(t, "a.test")); !errors.Is(err, context.Canceled) {
		t.Errorf("the end of the context was forgiven: %v", err)
	}
}

// book answers from a map, for what a real server does not say of itself.
type book map[string]caa.Answer

func (b book) CAA(_ context.Context, name string) (caa.Answer, error) { return b[name], nil }

// TestAuthentic: one unsigned answer on the way, an empty one too, spoils the set.
func TestAuthentic(t *testing.T) {
	found := []caa.Record{{Tag: "issue", Value: "ca.example"}}
	for _, test := range []struct {
		book book
		want bool
	}{
		{book{"a.b.c": {Authentic: true}, "b.c": {Authentic: true, Records: found}}, true},
		{book{"a.b.c": {}, "b.c": {Authentic: true, Records: found}}, false},
		{book{"a.b.c": {Authentic: true}, "b.c": {Records: found}}, false},
		{book{"a.b.c": {Authentic: true}, "b.c": {Authentic: true}, "c": {Authentic: true}}, true},
		{book{"a.b.c": {Authentic: true}, "b.c": {Authentic: true}}, false},
	} {
		set, err := caa.Find(t.Context(), test.book, subject(t, "a.b.c"))
		if err != nil || set.Authentic != test.want {
			t.Errorf("%v: got %+v, %v", test.book, set, err)
		}
	}
}

// TestLargeSet: a set that does not fit into a datagram is read to its end.
func TestLargeSet(t *testing.T) {
	s, r := serve(t)
	for i := range 300 {
		must(t, s.Add("big.test", "CAA", `0 issue "ca`+strings.Repeat("x", i%60)+string(rune('a'+i%26))+`.example"`))
	}
	must(t, s.Add("big.test", "CAA", `0 issue "last.example"`))
	set, err := caa.Find(t.Context(), r, subject(t, "big.test"))
	must(t, err)
	d := caa.Authorize(set, caa.Request{Issuers: []string{"last.example"}, Subject: subject(t, "big.test")})
	if !d.Allowed {
		t.Errorf("of %d records: %+v", len(set.Records), d.Reason)
	}
}
