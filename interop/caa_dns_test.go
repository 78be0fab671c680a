package interop_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"chancery/caa"
	"chancery/internal/porttest"
	"chancery/internal/resolver"

	"github.com/miekg/dns"
)

// TestDNS has real servers answer: BIND for the zones, Unbound and BIND in front as
// validating resolvers.
func TestDNS(t *testing.T) {
	w := newDNSWorld(t)
	quiet, telling, bind := unbound(t, w, false), unbound(t, w, true), forwarder(t, w)
	t.Run("cases", func(t *testing.T) { casesOverAll(t, w, quiet, bind) })
	t.Run("IPv6", func(t *testing.T) { onlySix(t, quiet) })
	t.Run("failures", func(t *testing.T) {
		for name, s := range map[string]secured{"Unbound": quiet, "Unbound with reasons": telling, "BIND": bind} {
			t.Run(name, func(t *testing.T) { failures(t, s, name != "BIND") })
		}
	})
	t.Run("reasons", func(t *testing.T) {
		_, err := plainResolver(t, loopback(telling.plain)).CAA(t.Context(), "altered.test")
		if e := dnsError(t, err); !strings.Contains(e.Reason, "DNSSEC Bogus") && !strings.Contains(e.Reason, "Missing") {
			t.Errorf("the reason is %q", e.Reason)
		}
	})
	t.Run("failover", func(t *testing.T) { failover(t, w, quiet) })
	t.Run("truncation", func(t *testing.T) { truncation(t, quiet, w) })
	t.Run("identity", func(t *testing.T) { identity(t, quiet, bind) })
}

// casesOverAll judges the three zones by each way to each resolver.
func casesOverAll(t *testing.T, w *dnsWorld, unbound, bind secured) {
	judge := func(name string, validates bool, c resolver.Config) {
		c.Timeout, c.Attempts, c.MixCase = 20*time.Second, 1, true
		r := dnsResolver(t, c)
		for _, zone := range []string{"plain.test", "signed.test", "hashed.test"} {
			t.Run(name+"/"+zone, func(t *testing.T) { judgeZone(t, r, zone, validates) })
		}
	}
	judge("BIND itself", false, resolver.Config{Servers: []string{loopback(w.port)}})
	for name, s := range map[string]secured{"Unbound": unbound, "BIND": bind} {
		judge(name+" TCP", true, resolver.Config{Servers: []string{loopback(s.plain)}, Net: "tcp"})
		for way, server := range s.servers() {
			judge(name+" "+way, true, resolver.Config{Servers: []string{server}, Roots: s.roots})
		}
	}
}

// onlySix: a zone whose server has no IPv4.
func onlySix(t *testing.T, s secured) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("this machine has no IPv6 on loopback")
	}
	l.Close()
	set, err := caa.Find(t.Context(), plainResolver(t, loopback(s.plain)), caaSubject(t, "www.six.test"))
	if err != nil || set.Owner != "six.test" || len(set.Records) != 1 || set.Authentic {
		t.Errorf("%+v, %v", set, err)
	}
}

func dnsError(t *testing.T, err error) *resolver.Error {
	t.Helper()
	var e *resolver.Error
	if !errors.As(err, &e) {
		t.Fatalf("no failure of the resolver: %v", err)
	}
	return e
}

// failures: what is wrong with a zone is a failure at each of its names, whatever
// their parents say, and is called what it is.
func failures(t *testing.T, s secured, hole bool) {
	r := plainResolver(t, loopback(s.plain))
	kinds := map[string]resolver.Kind{
		"expired.test":         resolver.Bogus, // the signatures are of 2020
		"www.expired.test":     resolver.Bogus,
		"nothing.expired.test": resolver.Bogus,
		"altered.test":         resolver.Bogus, // the record is not the one that was signed
		"stripped.test":        resolver.Bogus, // its signature is missing
		"nothing.silent.test":  resolver.Bogus, // nothing proves that there is nothing
		"unsigned.test":        resolver.Bogus, // there is a DS record and no signature
		"www.stranger.test":    resolver.Bogus, // signed with another key
		"servfail.test":        resolver.ServFail,
		"www.servfail.test":    resolver.ServFail,
		"refused.test":         resolver.ServFail, // refused to the resolver, that is
		"*.refused.test":       resolver.ServFail,
	}
	for name, kind := range kinds {
		set, err := caa.Find(t.Context(), r, caaSubject(t, name))
		var lookup *caa.LookupError
		if !errors.As(err, &lookup) {
			t.Errorf("%s: %+v, %v", name, set, err)
			continue
		}
		if e := dnsError(t, err); e.Kind != kind {
			t.Errorf("%s: %v: %v, want %v", name, e.Kind, e, kind)
		}
	}
	if !hole {
		return
	}
	short := dnsResolver(t, resolver.Config{Servers: []string{loopback(s.plain)}, Timeout: 200 * time.Millisecond, Attempts: 1})
	_, err := caa.Find(t.Context(), short, caaSubject(t, "www.blackhole.test"))
	if e := dnsError(t, err); e.Kind != resolver.Timeout {
		t.Errorf("behind a black hole: %v", e)
	}
}

// failover: servers that do not serve are passed over; a verdict of bogus is not.
func failover(t *testing.T, w *dnsWorld, s secured) {
	good := loopback(s.plain)
	hole := strings.Replace(w.where("blackhole.test"), "@", ":", 1)
	refusing := strings.Replace(w.where("refused.test"), "@", ":", 1)
	for name, first := range map[string]string{
		"nobody": loopback(porttest.Free(t)), "nobody over TLS": "tls://" + loopback(porttest.Free(t)), "refuses": refusing,
		"silent": hole, "silent over TLS": "tls://" + hole, "silent over HTTPS": "https://" + hole + "/dns-query",
	} {
		r := dnsResolver(t, resolver.Config{Servers: []string{first, good}, Timeout: time.Second, Attempts: 30, MixCase: true})
		got, err := r.CAA(t.Context(), "deny.signed.test")
		if err != nil || !got.Authentic || len(got.Records) != 1 || got.Server != good {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	authority := loopback(w.port)
	failing := dnsResolver(t, resolver.Config{Servers: []string{authority, good}, Timeout: 500 * time.Millisecond, Attempts: 1})
	if got, err := failing.CAA(t.Context(), "blackhole.test"); err == nil { // the authority only points elsewhere
		t.Errorf("a referral was taken: %+v", got)
	}
	e := dnsError(t, func() error { _, err := plainResolver(t, authority).CAA(t.Context(), "servfail.test"); return err }())
	if e.Kind != resolver.ServFail {
		t.Errorf("servfail.test at its own server: %v", e)
	}
	careless := plainResolver(t, authority)
	if got, err := careless.CAA(t.Context(), "altered.test"); err != nil || len(got.Records) != 1 || got.Records[0].Value != "ours.example" {
		t.Errorf("who does not look takes what was altered: %+v, %v", got, err)
	}
	if _, err := plainResolver(t, good, authority).CAA(t.Context(), "altered.test"); dnsError(t, err).Kind != resolver.Bogus {
		t.Errorf("the careless server overturned the verdict of the careful one: %v", err)
	}
}

// truncation: the large set does not fit UDP, and arrives.
func truncation(t *testing.T, s secured, w *dnsWorld) {
	for _, server := range []string{loopback(s.plain), loopback(w.port)} {
		q := new(dns.Msg).SetQuestion("big.signed.test.", dns.TypeCAA)
		q.SetEdns0(1232, true)
		m, _, err := (&dns.Client{Net: "udp"}).Exchange(q, server)
		if err != nil || !m.Truncated {
			t.Errorf("the server does not truncate: %v, %v", m, err)
		}
		got, err := plainResolver(t, server).CAA(t.Context(), "big.signed.test")
		if err != nil || len(got.Records) != 1001 {
			t.Errorf("%d records, %v", len(got.Records), err)
		}
	}
}

// identity: over TLS nobody is asked who is not the one that is meant.
func identity(t *testing.T, servers ...secured) {
	_, _, others := dnsCertificate(t, t.TempDir())
	for _, s := range servers {
		for way, server := range s.servers() {
			if way == "UDP" {
				continue
			}
			for _, c := range []resolver.Config{
				{Servers: []string{server}, Roots: others},
				{Servers: []string{server}},
				{Servers: []string{strings.Replace(server, tlsHost, "other.example", 1)}, Roots: s.roots},
			} {
				if c.Roots == s.roots && !strings.Contains(server, tlsHost) {
					continue
				}
				_, err := dnsResolver(t, c).CAA(t.Context(), "deny.signed.test")
				if e := dnsError(t, err); e.Kind != resolver.Unreachable {
					t.Errorf("%s: %v", c.Servers[0], e)
				}
			}
		}
	}
}
