package solve_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/dnstest"
	"chancery/internal/enroll/solve"
	"chancery/internal/porttest"
)

const account = "https://ca.example/acct/123"

var persistRecords = []struct {
	text string
	want solve.PersistRecord // zero: refused
}{
	{"authority.example; accounturi=" + account, solve.PersistRecord{Issuer: "authority.example", Account: account}},
	{"authority.example;accounturi=" + account + ";policy=wildcard", solve.PersistRecord{Issuer: "authority.example", Account: account, Wildcard: true}},
	{" \tauthority.example ; ACCOUNTURI=" + account + " ; Policy=WildCard ; persistuntil=4102444800 ", solve.PersistRecord{Issuer: "authority.example", Account: account, Wildcard: true, Until: time.Unix(4102444800, 0).UTC()}},
	{"authority.example; accounturi=" + account + "; policy=specific; later=x", solve.PersistRecord{Issuer: "authority.example", Account: account}},
	{"authority.example; accounturi=" + account + "; persistUntil=0", solve.PersistRecord{Issuer: "authority.example", Account: account, Until: time.Unix(0, 0).UTC()}},
	{"", solve.PersistRecord{}},
	{";", solve.PersistRecord{}},
	{"authority.example", solve.PersistRecord{}},
	{"authority.example; accounturi=", solve.PersistRecord{}},
	{"Authority.example; accounturi=" + account, solve.PersistRecord{}},
	{"; accounturi=" + account, solve.PersistRecord{}},
	{"authority.example; accounturi=" + account + ";", solve.PersistRecord{}},
	{"authority.example; accounturi=" + account + "; accounturi=" + account, solve.PersistRecord{}},
	{"authority.example; accounturi=" + account + "; policy=wildcard; policy=wildcard", solve.PersistRecord{}},
	{"authority.example; accounturi=" + account + "; persistUntil=-1", solve.PersistRecord{}},
	{"authority.example; accounturi=" + account + "; persistUntil=+1", solve.PersistRecord{}},
	{"authority.example; accounturi=" + account + "; persistUntil=soon", solve.PersistRecord{}},
	{"authority.example; accounturi=" + account + "; persistUntil=", solve.PersistRecord{}},
	{"authority.example; accounturi=" + account + "; persistUntil=99999999999999999999", solve.PersistRecord{}},
	{"authority.example; accounturi=https://ca.example/a b", solve.PersistRecord{}},
	{"authority_example; accounturi=" + account, solve.PersistRecord{}},
	{"v=spf1 -all", solve.PersistRecord{}},
}

func TestParsePersistRecord(t *testing.T) {
	for _, test := range persistRecords {
		got, err := solve.ParsePersistRecord(test.text)
		if (err == nil) != (test.want != solve.PersistRecord{}) || err == nil && got != test.want {
			t.Errorf("%q: %+v, %v", test.text, got, err)
		}
	}
}

func FuzzParsePersistRecord(f *testing.F) {
	for _, test := range persistRecords {
		f.Add(test.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		record, err := solve.ParsePersistRecord(text)
		if err != nil {
			return
		}
		again, err := solve.ParsePersistRecord(record.String())
		if err != nil || again != record {
			t.Fatalf("%q was read as %+v, which as %q is %+v, %v", text, record, record.String(), again, err)
		}
	})
}

func persistChallenge(issuers ...string) acme.Challenge {
	return acme.Challenge{Type: acme.ChallengeDNSPersist01, IssuerDomainNames: issuers}
}

func TestPersistFindsItsRecord(t *testing.T) {
	d, err := dnstest.Start(":0")
	must(t, err)
	t.Cleanup(d.Close)
	p := &solve.Persist{Resolver: ask(t, d.Addr()), Account: account, Issuers: []string{"CA.example"}, Now: func() time.Time { return time.Unix(1800000000, 0) }}
	good := "ca.example; accounturi=" + account
	for _, test := range []struct {
		label    string
		name     string
		records  []string
		good     bool
		wantSeen string
	}{
		{"there", "a.example", []string{good}, true, ""},
		{"among others", "a.example", []string{"v=spf1 -all", "other.example; accounturi=" + account, good + "; persistUntil=1", good}, true, ""},
		{"until later", "a.example", []string{good + "; persistUntil=1800000000"}, true, ""},
		{"wildcard", "*.a.example", []string{good + "; policy=wildcard"}, true, ""},
		{"plain name, wildcard record", "a.example", []string{good + "; policy=wildcard"}, true, ""},
		{"none", "a.example", nil, false, ""},
		{"over", "a.example", []string{good + "; persistUntil=1799999999"}, false, "ended"},
		{"no wildcard", "*.a.example", []string{good}, false, "policy=wildcard"},
		{"another's account", "a.example", []string{"ca.example; accounturi=" + account + "4"}, false, "account"},
		{"another CA", "a.example", []string{"other.example; accounturi=" + account}, false, ""},
		{"malformed", "a.example", []string{good + ";"}, false, "grammar"},
	} {
		must(t, d.Set("_validation-persist.a.example", "TXT", test.records...))
		err := p.Present(t.Context(), name(test.name), persistChallenge("second.example", "ca.example"), "")
		if (err == nil) != test.good {
			t.Errorf("%s: %v", test.label, err)
		}
		var missing *solve.MissingRecordError
		if test.good || !errors.As(err, &missing) {
			continue
		}
		want := good
		if strings.HasPrefix(test.name, "*.") {
			want += "; policy=wildcard"
		}
		if missing.Name != "_validation-persist.a.example." || missing.Value != want || !strings.Contains(err.Error(), `_validation-persist.a.example. 3600 IN TXT "`+want+`"`) {
			t.Errorf("%s: %v", test.label, err)
		}
		if !strings.Contains(strings.Join(missing.Seen, "\n"), test.wantSeen) || (test.wantSeen == "") != (len(missing.Seen) == 0) {
			t.Errorf("%s: seen %q", test.label, missing.Seen)
		}
	}
	d.Fail("_validation-persist.a.example", 2)
	var missing *solve.MissingRecordError
	if err := p.Present(t.Context(), name("a.example"), persistChallenge("ca.example"), ""); err == nil || errors.As(err, &missing) {
		t.Errorf("a DNS that fails is taken for an empty one: %v", err)
	}
}

// A server that is not what it seems cannot have the user set a record for another CA or
// another's account.
func TestPersistHostile(t *testing.T) {
	d, err := dnstest.Start(":0")
	must(t, err)
	t.Cleanup(d.Close)
	for _, test := range []struct {
		label   string
		account string
		ch      acme.Challenge
	}{
		{"another CA", account, persistChallenge("letsencrypt.org")},
		{"no issuer", account, persistChallenge()},
		{"too many", account, persistChallenge(slices.Repeat([]string{"ca.example"}, 11)...)},
		{"upper case", account, persistChallenge("CA.example")},
		{"final dot", account, persistChallenge("ca.example.")},
		{"terminal", account, persistChallenge("ca.example\x1b[2J")},
		{"another's account", account, acme.Challenge{Type: acme.ChallengeDNSPersist01, IssuerDomainNames: []string{"ca.example"}, AccountURI: account + "/4"}},
		{"account with more in it", account + "; policy=wildcard", persistChallenge("ca.example")},
		{"account with a quote", account + `"`, persistChallenge("ca.example")},
		{"account that is none", "123", persistChallenge("ca.example")},
		{"long account", account + strings.Repeat("x", 1<<20), persistChallenge("ca.example")},
	} {
		p := &solve.Persist{Resolver: ask(t, d.Addr()), Account: test.account, Issuers: []string{"ca.example"}}
		err := p.Present(t.Context(), name("a.example"), test.ch, "")
		var refused *solve.ValueError
		if !errors.As(err, &refused) || strings.Contains(err.Error(), "\x1b") || len(err.Error()) > 1000 {
			t.Errorf("%s: %v", test.label, err)
		}
	}
	if asked := d.Queries(); len(asked) != 0 {
		t.Errorf("the DNS was asked: %v", asked)
	}
	long := &solve.MissingRecordError{Name: "x.", Value: strings.Repeat("y", 300)}
	if want := `x. 3600 IN TXT "` + strings.Repeat("y", 255) + `" "` + strings.Repeat("y", 45) + `"`; long.Zone() != want {
		t.Errorf("%s", long.Zone())
	}
}

// The whole way with a server that others wrote, which tells the account and the issuer
// names as the draft says. It runs if PEBBLE names the binary of
// https://github.com/letsencrypt/pebble.
func TestPersistPebble(t *testing.T) {
	binary := os.Getenv("PEBBLE")
	if binary == "" {
		t.Skip("set PEBBLE to the pebble binary to run this")
	}
	d, err := dnstest.Start(":0")
	must(t, err)
	t.Cleanup(d.Close)
	client := startPebble(t, binary, d.Addr())
	_, err = client.Register(t.Context(), acme.Registration{AgreeTerms: true})
	must(t, err)
	httpAt := porttest.Address(t)
	set := solve.NewSet(nil, solve.Choice{Solver: &solve.Persist{Resolver: ask(t, d.Addr())}}, solve.Choice{Solver: &solve.Standalone{Address: httpAt}})
	job := solve.Job{Identifiers: []acme.Identifier{name("lasting.example"), name("*.lasting.example")}, Issuers: []string{"pebble.letsencrypt.org"}}

	var missing *solve.MissingRecordError
	job.Methods = map[string][]string{"lasting.example": {"dns-persist-01"}}
	if err := obtain(t.Context(), client, set, job); !errors.As(err, &missing) || missing.Name != "_validation-persist.lasting.example." {
		t.Fatalf("without the record: %v", err)
	}
	// The server accepts for both names the very record that the user is told to set.
	must(t, d.Set("_validation-persist.lasting.example", "TXT", "v=spf1 -all", missing.Value))
	must(t, obtain(t.Context(), client, set, job))
	record, err := solve.ParsePersistRecord(missing.Value)
	must(t, err)
	record.Until = time.Now().Add(time.Hour)
	must(t, d.Set("_validation-persist.lasting.example", "TXT", record.String()))
	must(t, obtain(t.Context(), client, set, job))

	job.Issuers = []string{"other.example"}
	var refused *solve.ValueError
	if err := obtain(t.Context(), client, set, job); !errors.As(err, &refused) {
		t.Errorf("with another issuer: %v", err)
	}
}

// startPebble runs a server whose names come from the DNS given.
func startPebble(t *testing.T, binary, dns string) *acme.Client {
	t.Helper()
	dir := t.TempDir()
	identity, err := acme.TLSALPNCertificate(address("127.0.0.1"), keyAuth)
	must(t, err)
	key, err := x509.MarshalPKCS8PrivateKey(identity.PrivateKey)
	must(t, err)
	at := porttest.Address(t)
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": at, "managementListenAddress": porttest.Address(t), "httpPort": 1, "tlsPort": 1, "ocspResponderURL": "",
		"certificate": write(t, dir, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: identity.Certificate[0]}))),
		"privateKey":  write(t, dir, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))),
		"profiles":    map[string]any{"default": map[string]any{"description": "the only one", "validityPeriod": 7776000}},
	}})
	must(t, err)
	cmd := exec.CommandContext(t.Context(), binary, "-config", write(t, dir, "config.json", string(config)), "-dnsserver", dns, "-strict")
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0")
	var log bytes.Buffer
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
	for { // until it listens; go test's own limit ends this
		conn, err := net.Dial("tcp", at)
		if err == nil {
			conn.Close()
			break
		}
		select {
		case <-ended:
			t.Fatal("pebble ended")
		case <-time.After(20 * time.Millisecond):
		}
	}
	// The server's certificate has the critical ACME extension, which no verifier knows.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	return &acme.Client{Directory: fmt.Sprintf("https://%s/dir", at), Key: newKey(t), HTTP: &http.Client{Transport: transport}}
}
