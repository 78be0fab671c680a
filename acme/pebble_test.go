package acme_test

import (
	"context"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/porttest"

	"github.com/miekg/dns"
)

// TestPebble speaks with a server that others wrote. It runs if PEBBLE names the
// binary of https://github.com/letsencrypt/pebble.
func TestPebble(t *testing.T) {
	binary := os.Getenv("PEBBLE")
	if binary == "" {
		t.Skip("set PEBBLE to the pebble binary to run this")
	}
	s := newResponder(t)
	client := startPebble(t, binary, s)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	if _, err := client.Register(ctx, acme.Registration{AgreeTerms: true}); !acme.HasType(err, acme.TypeExternalAccountRequired) {
		t.Errorf("without a binding: %v", err)
	}
	eab := &acme.ExternalAccount{KeyID: "kid-1", Key: eabKey}
	account, err := client.Register(ctx, acme.Registration{AgreeTerms: true, Contacts: []string{"mailto:a@letsencrypt.org"}, EAB: eab})
	if err != nil || account.Status != acme.AccountValid {
		t.Fatalf("%+v, %v", account, err)
	}
	again, err := client.Register(ctx, acme.Registration{OnlyExisting: true})
	if err != nil || again.URL != account.URL {
		t.Fatalf("%+v, %v", again, err)
	}
	if _, err := client.UpdateAccount(ctx, []string{"mailto:b@letsencrypt.org"}); err != nil {
		t.Error(err)
	}
	newKey := newEC(t, elliptic.P384())
	if err := client.ChangeKey(ctx, newKey); err != nil {
		t.Fatal(err)
	}

	var chain *acme.Chain
	for typ, ids := range map[acme.ChallengeType][]acme.Identifier{
		acme.ChallengeDNS01:     {{Type: acme.IdentifierDNS, Value: "dns.chancery.test"}, {Type: acme.IdentifierDNS, Value: "*.dns.chancery.test"}},
		acme.ChallengeHTTP01:    {{Type: acme.IdentifierIP, Value: "127.0.0.1"}, {Type: acme.IdentifierDNS, Value: "http.chancery.test"}},
		acme.ChallengeTLSALPN01: {{Type: acme.IdentifierIP, Value: "127.0.0.1"}, {Type: acme.IdentifierDNS, Value: "alpn.chancery.test"}},
	} {
		s.only(typ)
		key := newEC(t, elliptic.P256())
		chain, err = client.Obtain(ctx, acme.ObtainRequest{Identifiers: ids, Profile: "default", Key: key, Solver: s})
		if err != nil {
			t.Fatalf("%s: %v", typ, err)
		}
		if left := s.left(); left != 0 {
			t.Errorf("%s: %d answers left behind", typ, left)
		}
		for _, id := range ids {
			if err := chain.Certificates[0].VerifyHostname(strings.Replace(id.Value, "*", "x", 1)); err != nil {
				t.Error(err)
			}
		}
	}
	if info, err := client.RenewalInfo(ctx, chain.Certificates[0]); err != nil {
		t.Error(err)
	} else if _, err := info.RenewAt(0); err != nil {
		t.Error(err)
	}
	if len(chain.Alternates) == 0 {
		t.Error("no alternate chain")
	} else if alt, err := client.Certificate(ctx, chain.Alternates[0]); err != nil || !alt.Certificates[0].Equal(chain.Certificates[0]) {
		t.Errorf("%+v, %v", alt, err)
	}
	orders, err := client.Orders(ctx)
	if err != nil || len(orders) != 3 {
		t.Errorf("%d orders, %v", len(orders), err)
	}
	reason := 4
	if err := client.Revoke(ctx, chain.Certificates[0].Raw, &reason, nil); err != nil {
		t.Error(err)
	}
	if err := client.Revoke(ctx, chain.Certificates[0].Raw, &reason, nil); !acme.HasType(err, acme.TypeAlreadyRevoked) {
		t.Errorf("the second revocation: %v", err)
	}
	if gone, err := client.Deactivate(ctx); err != nil || gone.Status != acme.AccountDeactivated {
		t.Errorf("%+v, %v", gone, err)
	}
}

// responder answers all three challenges on ephemeral ports of the loopback address.
type responder struct {
	httpPort, tlsPort int
	dnsAddr           string

	mu      sync.Mutex
	typ     acme.ChallengeType
	answers map[string][]string // path, TXT name or SNI → answers
	certs   map[string]*tls.Certificate
}

func newResponder(t *testing.T) *responder {
	s := &responder{answers: map[string][]string{}, certs: map[string]*tls.Certificate{}}
	listen := func() (net.Listener, int) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l, l.Addr().(*net.TCPAddr).Port
	}
	l, port := listen()
	s.httpPort = port
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, a := range s.find(r.URL.Path) {
			fmt.Fprint(w, a)
		}
	}))
	l, port = listen()
	s.tlsPort = port
	config := &tls.Config{NextProtos: []string{acme.TLSALPNProtocol}, GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if c := s.certs[h.ServerName]; c != nil {
			return c, nil
		}
		return nil, fmt.Errorf("no certificate for %q", h.ServerName)
	}}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = tls.Server(conn, config).Handshake()
			}()
		}
	}()
	s.serveDNS(t)
	return s
}

// serveDNS listens on TCP, which is what Pebble asks over.
func (s *responder) serveDNS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.dnsAddr = l.Addr().String()
	server := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		h := dns.RR_Header{Name: q.Question[0].Name, Rrtype: q.Question[0].Qtype, Class: dns.ClassINET, Ttl: 1}
		switch h.Rrtype {
		case dns.TypeA:
			m.Answer = append(m.Answer, &dns.A{Hdr: h, A: net.IPv4(127, 0, 0, 1)})
		case dns.TypeTXT:
			for _, a := range s.find(strings.TrimSuffix(h.Name, ".")) {
				m.Answer = append(m.Answer, &dns.TXT{Hdr: h, Txt: []string{a}})
			}
		}
		_ = w.WriteMsg(m)
	})}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = server.Shutdown() })
}

func (s *responder) find(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answers[name]
}

func (s *responder) only(typ acme.ChallengeType) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.typ = typ
}

func (s *responder) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.answers) + len(s.certs)
}

func (s *responder) Types(acme.Identifier) []acme.ChallengeType {
	s.mu.Lock()
	defer s.mu.Unlock()
	return []acme.ChallengeType{s.typ}
}

func (s *responder) Present(_ context.Context, id acme.Identifier, ch acme.Challenge, keyAuth string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch ch.Type {
	case acme.ChallengeHTTP01:
		s.answers[acme.HTTP01Path(ch.Token)] = []string{keyAuth}
	case acme.ChallengeDNS01:
		name := acme.DNS01Name(id.Value)
		s.answers[name] = append(s.answers[name], acme.DNS01Value(keyAuth))
	case acme.ChallengeTLSALPN01:
		name, err := acme.TLSALPNServerName(id)
		if err != nil {
			return err
		}
		cert, err := acme.TLSALPNCertificate(id, keyAuth)
		if err != nil {
			return err
		}
		s.certs[name] = &cert
	}
	return nil
}

func (s *responder) CleanUp(_ context.Context, id acme.Identifier, ch acme.Challenge, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.answers, acme.HTTP01Path(ch.Token))
	delete(s.answers, acme.DNS01Name(id.Value))
	if name, err := acme.TLSALPNServerName(id); err == nil {
		delete(s.certs, name)
	}
	return nil
}

func startPebble(t *testing.T, binary string, s *responder) *acme.Client {
	dir := t.TempDir()
	identity, err := acme.TLSALPNCertificate(acme.Identifier{Type: acme.IdentifierIP, Value: "127.0.0.1"}, "x")
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(identity.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	addr := porttest.Address(t)
	config := map[string]any{"pebble": map[string]any{
		"listenAddress": addr, "managementListenAddress": porttest.Address(t),
		"certificate": filepath.Join(dir, "cert.pem"), "privateKey": filepath.Join(dir, "key.pem"),
		"httpPort": s.httpPort, "tlsPort": s.tlsPort, "ocspResponderURL": "",
		"externalAccountBindingRequired": true,
		"externalAccountMACKeys":         map[string]string{"kid-1": base64.RawURLEncoding.EncodeToString(eabKey)},
		"profiles":                       map[string]any{"default": map[string]any{"description": "the only one", "validityPeriod": 7776000}},
	}}
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"cert.pem":    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: identity.Certificate[0]}),
		"key.pem":     pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		"config.json": text,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), binary, "-config", filepath.Join(dir, "config.json"), "-dnsserver", s.dnsAddr, "-strict")
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=10", "PEBBLE_AUTHZREUSE=0", "PEBBLE_ALTERNATE_ROOTS=1", "PEBBLE_WFE_ORDERS_PER_PAGE=1")
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	for { // until it listens; go test's own time limit ends this
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	// The server's certificate has the critical ACME extension, which no verifier knows.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	return &acme.Client{Directory: "https://" + addr + "/dir", Key: newEC(t, elliptic.P256()), HTTP: &http.Client{Transport: transport}}
}
