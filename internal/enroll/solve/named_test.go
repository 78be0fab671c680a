package solve_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/acme"
	validate "chancery/internal/challenge"
	"chancery/internal/dnstest"
	"chancery/internal/enroll/solve"
	"chancery/internal/keys"
	"chancery/internal/peertest"
	"chancery/internal/porttest"

	"github.com/miekg/dns"
)

const zoneText = `$TTL 60
@ SOA ns1.zone.test. hostmaster.zone.test. 1 3600 600 86400 60
@ NS ns1.zone.test.
ns1.zone.test. A 127.0.0.1
`

// primary is a foreign DNS server with the zone zone.test and, delegated to it by
// a CNAME, acme.test.
type primary struct {
	address string
	keyFile func(algorithm string) string
}

func (p *primary) port() uint16 {
	_, port, _ := net.SplitHostPort(p.address)
	var n uint16
	fmt.Sscan(port, &n)
	return n
}

// texts gives the TXT records that stand at a name.
func (p *primary) texts(t testing.TB, name string) []string {
	t.Helper()
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeTXT)
	reply, _, err := (&dns.Client{Net: "tcp"}).Exchange(m, p.address)
	must(t, err)
	var list []string
	for _, rr := range reply.Answer {
		if txt, ok := rr.(*dns.TXT); ok {
			list = append(list, strings.Join(txt.Txt, ""))
		}
	}
	slices.Sort(list)
	return list
}

// run starts a server and waits until it answers for both zones, which it loads one by one.
func run(t testing.TB, address string, command ...string) {
	t.Helper()
	var log bytes.Buffer
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = &log, &log
	must(t, cmd.Start())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Log(log.String())
		}
	})
	missing := []string{"acme.test.", "zone.test."}
	for {
		reply, _, err := (&dns.Client{Net: "tcp"}).Exchange(new(dns.Msg).SetQuestion(missing[0], dns.TypeSOA), address)
		if err == nil && len(reply.Answer) == 1 {
			if missing = missing[1:]; len(missing) == 0 {
				return
			}
			continue
		}
		select {
		case <-ended:
			t.Fatalf("%s ended: %s", command[0], log.String())
		case <-time.After(20 * time.Millisecond): // asked again until go test's own limit
		}
	}
}

var tsigAlgorithms = []string{"hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"}

func keySecret(algorithm string) string {
	return map[string]string{"hmac-sha1": "MTIzNDU2Nzg5MDEyMzQ1Njc4OTA="}[algorithm] + map[bool]string{
		false: "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5emFiY2RlZmdoaWprbA=="}[algorithm == "hmac-sha1"]
}

func write(t testing.TB, dir, file, text string) string {
	t.Helper()
	path := filepath.Join(dir, file)
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// startNamed runs BIND. Its keys may change TXT records at _acme-challenge names alone.
func startNamed(t testing.TB) *primary {
	t.Helper()
	program := peertest.Need(t, "named")
	dir := t.TempDir()
	p := &primary{address: porttest.Address(t), keyFile: func(a string) string { return filepath.Join(dir, a+".key") }}
	config := fmt.Sprintf(`options { directory %q; listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; }; pid-file none; session-keyfile none;
		recursion no; notify no; minimal-responses yes; dnssec-validation no; };
		controls { };
		`, dir, p.port())
	grants := ""
	for _, a := range tsigAlgorithms {
		text := fmt.Sprintf("key %q {\n\talgorithm %s;\n\tsecret %q;\n};\n", "key-"+a, a, keySecret(a))
		write(t, dir, a+".key", text)
		config += text
		grants += fmt.Sprintf("grant key-%s zonesub TXT; ", a)
	}
	for _, zone := range []string{"zone.test", "acme.test"} {
		text := zoneText
		if zone == "zone.test" {
			text += "_acme-challenge.alias CNAME alias.acme.test.\n_acme-challenge.loop CNAME _acme-challenge.loop2\n_acme-challenge.loop2 CNAME _acme-challenge.loop\n"
		}
		write(t, dir, zone, text)
		config += fmt.Sprintf("zone %q { type primary; file %q; update-policy { %s}; };\n", zone, zone, grants)
	}
	run(t, p.address, program, "-g", "-c", write(t, dir, "named.conf", config))
	return p
}

// startKnot runs Knot DNS, which takes updates by one key.
func startKnot(t testing.TB) *primary {
	t.Helper()
	program := peertest.Need(t, "knotd")
	dir := t.TempDir()
	p := &primary{address: porttest.Address(t), keyFile: func(a string) string { return filepath.Join(dir, a+".key") }}
	config := fmt.Sprintf("server:\n  listen: 127.0.0.1@%d\n  rundir: %s\ndatabase:\n  storage: %s\nlog:\n- target: stderr\n  any: info\nkey:\n", p.port(), dir, dir)
	var ids []string
	for _, a := range tsigAlgorithms {
		write(t, dir, a+".key", fmt.Sprintf("key key-%s { algorithm %s; secret %s; };", a, a, keySecret(a)))
		config += fmt.Sprintf("- id: key-%s.\n  algorithm: %s\n  secret: %s\n", a, a, keySecret(a))
		ids = append(ids, "key-"+a+".")
	}
	config += fmt.Sprintf("acl:\n- id: update\n  key: [%s]\n  action: update\nzone:\n", strings.Join(ids, ", "))
	for _, zone := range []string{"zone.test", "acme.test"} {
		write(t, dir, zone+".zone", zoneText)
		config += fmt.Sprintf("- domain: %s\n  storage: %s\n  file: %s.zone\n  acl: update\n", zone, dir, zone)
	}
	run(t, p.address, program, "-c", write(t, dir, "knot.conf", config))
	return p
}

// updating is a solver for the server.
func updating(t testing.TB, p *primary, algorithm string) *solve.DNS01 {
	t.Helper()
	k, err := solve.TSIGConfig{KeyFile: p.keyFile(algorithm)}.Load()
	must(t, err)
	return &solve.DNS01{Publisher: &solve.RFC2136{Server: p.address, Key: k}, Resolver: ask(t, p.address),
		Propagation: solve.Propagation{Port: p.port(), Interval: 20 * time.Millisecond, Timeout: 10 * time.Second}}
}

func foreign(t *testing.T, test func(*testing.T, *primary)) {
	t.Run("named", func(t *testing.T) { test(t, startNamed(t)) })
	t.Run("knotd", func(t *testing.T) { test(t, startKnot(t)) })
}

// Every algorithm, and the records as a validator sees them: a name and its wildcard have
// two at one name, others' records stay, and clean-up takes away one at a time.
func TestUpdatesOfForeignServers(t *testing.T) {
	foreign(t, func(t *testing.T, p *primary) {
		validator := validate.New(validate.Config{Resolver: ask(t, p.address)})
		ctx := t.Context()
		const at = "_acme-challenge.shop.zone.test"
		for _, algorithm := range tsigAlgorithms {
			d := updating(t, p, algorithm)
			one, two := challenge(acme.ChallengeDNS01, "one"), challenge(acme.ChallengeDNS01, "two")
			must(t, d.Present(ctx, name("shop.zone.test"), one, "one."+thumbprint))
			must(t, d.Present(ctx, name("*.Shop.zone.test"), two, "two."+thumbprint))
			for _, tok := range []string{"one", "two"} {
				job := validate.Job{Method: validate.DNS01, Target: validate.Target{Type: "dns", Value: "shop.zone.test"}, Token: tok, KeyAuthorization: tok + "." + thumbprint}
				if _, err := validator.Validate(ctx, job); err != nil {
					t.Errorf("%s: %v", algorithm, err)
				}
			}
			must(t, d.CleanUp(ctx, name("shop.zone.test"), one, "one."+thumbprint))
			if left := p.texts(t, at); !slices.Equal(left, []string{acme.DNS01Value("two." + thumbprint)}) {
				t.Errorf("%s: after the first clean-up %q is there", algorithm, left)
			}
			// As another process would after a crash: it knows nothing of the first.
			must(t, updating(t, p, algorithm).CleanUp(ctx, name("*.shop.zone.test"), two, "two."+thumbprint))
			if left := p.texts(t, at); len(left) != 0 {
				t.Errorf("%s: %q is left", algorithm, left)
			}
		}
	})
}

func TestUpdateThroughAlias(t *testing.T) {
	p := startNamed(t)
	d := updating(t, p, "hmac-sha256")
	ch := challenge(acme.ChallengeDNS01, token)
	must(t, d.Present(t.Context(), name("alias.zone.test"), ch, keyAuth))
	if got := p.texts(t, "alias.acme.test"); !slices.Equal(got, []string{acme.DNS01Value(keyAuth)}) {
		t.Errorf("at the alias' target: %q", got)
	}
	must(t, d.CleanUp(t.Context(), name("alias.zone.test"), ch, keyAuth))
	if got := p.texts(t, "alias.acme.test"); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
	if err := d.Present(t.Context(), name("loop.zone.test"), ch, keyAuth); err == nil || !strings.Contains(err.Error(), "form a loop") {
		t.Errorf("a loop of aliases: %v", err)
	}
	d.Zone = "other.test"
	if err := d.Present(t.Context(), name("shop.zone.test"), ch, keyAuth); err == nil || !strings.Contains(err.Error(), "other.test") {
		t.Errorf("a name outside of the configured zone: %v", err)
	}
}

// What the server refuses is told with its reason, and never with the key.
func TestUpdateRefused(t *testing.T) {
	p := startNamed(t)
	good, err := solve.TSIGConfig{KeyFile: p.keyFile("hmac-sha256")}.Load()
	must(t, err)
	for _, test := range []struct {
		label  string
		change func(*solve.TSIG)
		code   string
	}{
		{"wrong secret", func(k *solve.TSIG) { k.Secret = keys.NewSecret([]byte("0123456789abcdef")) }, "BADSIG"},
		{"unknown key", func(k *solve.TSIG) { k.Name = "stranger." }, "BADKEY"},
		{"wrong algorithm", func(k *solve.TSIG) { k.Algorithm = dns.HmacSHA512 }, "BADKEY"},
		{"no key", nil, "REFUSED"},
	} {
		k := *good
		u := &solve.RFC2136{Server: p.address}
		if test.change != nil {
			test.change(&k)
			u.Key = &k
		}
		d := updating(t, p, "hmac-sha256")
		d.Publisher = u
		err := d.Present(t.Context(), name("shop.zone.test"), challenge(acme.ChallengeDNS01, token), keyAuth)
		var refused *solve.UpdateError
		if !errors.As(err, &refused) || refused.Code != test.code || refused.Hint == "" || refused.Hint == "see the server's log" {
			t.Errorf("%s: %v", test.label, err)
		}
		if text := fmt.Sprintf("%v %+v %#v %x %s", err, k, &k, k, k.Secret); strings.Contains(text, k.Secret.Reveal()) ||
			strings.Contains(text, fmt.Sprintf("%x", k.Secret.Reveal())) {
			t.Errorf("%s: the secret is told: %s", test.label, text)
		}
	}
	var refused *solve.UpdateError
	u := &solve.RFC2136{Server: p.address, Key: good}
	err = u.Publish(t.Context(), solve.Answer{Name: "a.elsewhere.test.", Zone: "zone.test.", Value: "x", TTL: time.Second})
	if !errors.As(err, &refused) || refused.Code != "NOTZONE" {
		t.Errorf("a name outside of the zone: %v", err)
	}
	if got := p.texts(t, "_acme-challenge.shop.zone.test"); len(got) != 0 {
		t.Errorf("published: %q", got)
	}
}

// RFC 8945 §5.3: an answer that is not signed is nobody's.
func TestUnsignedAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := &dns.Server{Listener: l, TsigSecret: map[string]string{"key-hmac-sha256.": keySecret("hmac-sha256")},
		MsgAcceptFunc: func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept },
		Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			_ = w.WriteMsg(new(dns.Msg).SetReply(q))
		})}
	go server.ActivateAndServe()
	t.Cleanup(func() { _ = server.Shutdown() })
	all, err := solve.ParseKeyFile("key key-hmac-sha256 { algorithm hmac-sha256; secret " + keySecret("hmac-sha256") + "; };")
	must(t, err)
	u := &solve.RFC2136{Server: l.Addr().String(), Key: all[0]}
	if err := u.Publish(t.Context(), solve.Answer{Name: "a.zone.test.", Zone: "zone.test.", Value: "x"}); err == nil || !strings.Contains(err.Error(), "not to be trusted") {
		t.Errorf("believed: %v", err)
	}
}

// A second server of the zone that lags holds the challenge up, and names itself when it
// takes too long; what was published is taken away again.
func TestPropagation(t *testing.T) {
	p := startNamed(t)
	lagging, err := dnstest.Start("127.0.0.1:0")
	must(t, err)
	t.Cleanup(lagging.Close)
	d := updating(t, p, "hmac-sha256")
	ch := challenge(acme.ChallengeDNS01, token)
	const at = "_acme-challenge.shop.zone.test"

	d.Propagation.Servers = []string{p.address, lagging.Addr()}
	var late *solve.PropagationError
	// The other one has to show it by then, however busy the machine is.
	for d.Propagation.Timeout = 300 * time.Millisecond; d.Propagation.Timeout < time.Minute; d.Propagation.Timeout *= 4 {
		err = d.Present(t.Context(), name("shop.zone.test"), ch, keyAuth)
		if errors.As(err, &late) && len(late.Lacking) == 1 {
			break
		}
	}
	if !errors.As(err, &late) || len(late.Lacking) != 1 || !strings.HasPrefix(late.Lacking[0], lagging.Addr()) {
		t.Fatalf("%v", err)
	}
	if got := p.texts(t, at); len(got) != 0 {
		t.Errorf("after the failure %q is left", got)
	}

	d.Propagation.Timeout = time.Minute
	must(t, lagging.Sequence(at, "TXT", nil, []string{"old"}, []string{"old", acme.DNS01Value(keyAuth)}))
	must(t, d.Present(t.Context(), name("shop.zone.test"), ch, keyAuth))
	asked := slices.DeleteFunc(lagging.Queries(), func(q dnstest.Query) bool { return q.Name != at })
	if len(asked) < 3 {
		t.Errorf("it was asked %d times only", len(asked))
	}
	must(t, d.CleanUp(t.Context(), name("shop.zone.test"), ch, keyAuth))

	// The caller gives up: nothing stays.
	lagging.Remove(at, "TXT")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- d.Present(ctx, name("shop.zone.test"), ch, keyAuth) }()
	for len(p.texts(t, at)) == 0 {
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if got := p.texts(t, at); len(got) != 0 {
		t.Errorf("after the cancelling %q is left", got)
	}
}

// A dead server of the zone does not hold the challenge up for ever, if another shows it.
func TestPropagationPastDeadServer(t *testing.T) {
	p := startNamed(t)
	d := updating(t, p, "hmac-sha256")
	d.Propagation = solve.Propagation{Servers: []string{p.address, porttest.Address(t)}, Interval: 10 * time.Millisecond}
	ch := challenge(acme.ChallengeDNS01, token)
	// The living server has to answer in the time that the dead one costs.
	for d.Propagation.Timeout = 400 * time.Millisecond; ; d.Propagation.Timeout *= 4 {
		err := d.Present(t.Context(), name("shop.zone.test"), ch, keyAuth)
		must(t, d.CleanUp(t.Context(), name("shop.zone.test"), ch, keyAuth))
		if err == nil {
			break
		}
		if d.Propagation.Timeout > 20*time.Second {
			t.Fatal(err)
		}
	}
	d.Propagation.Servers, d.Propagation.Timeout = []string{porttest.Address(t)}, 400*time.Millisecond
	var late *solve.PropagationError
	if err := d.Present(t.Context(), name("shop.zone.test"), ch, keyAuth); !errors.As(err, &late) {
		t.Errorf("only dead servers: %v", err)
	}
	for where, good := range map[solve.Where]bool{solve.Resolvers: true, solve.Both: true, solve.Nowhere: true, "everywhere": false} {
		d.Propagation = solve.Propagation{Where: where, Port: p.port()}
		err := d.Present(t.Context(), name("shop.zone.test"), ch, keyAuth)
		if (err == nil) != good {
			t.Errorf("%s: %v", where, err)
		}
		must(t, d.CleanUp(t.Context(), name("shop.zone.test"), ch, keyAuth))
	}
}
