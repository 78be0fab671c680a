package solve_test

import (
	"crypto/tls"
	"errors"
	"net"
	"testing"

	"chancery/acme"
	"chancery/internal/enroll/solve"
	"chancery/internal/porttest"
	"chancery/testca"
)

func TestTLSALPNIssues(t *testing.T) {
	ca := testca.Start(t)
	set := solve.NewSet(nil, solve.Choice{Solver: &solve.TLSALPN{Address: loopback(ca.TLSPort)}})
	job := solve.Job{Identifiers: []acme.Identifier{name("shop.example"), name("www.shop.example"), address("127.0.0.1")}}
	must(t, obtain(t.Context(), register(t, ca), set, job))
	if err := free(loopback(ca.TLSPort)); err != nil {
		t.Errorf("the port is not free again: %v", err)
	}
}

// RFC 8737 §3 and §4: one protocol, the name as SNI, TLS 1.2 or higher; and nothing for
// anybody else.
func TestTLSALPNAnswersValidatorsAlone(t *testing.T) {
	at := porttest.Address(t)
	s := &solve.TLSALPN{Address: at}
	ch := challenge(acme.ChallengeTLSALPN01, token)
	must(t, s.Present(t.Context(), name("a.example"), ch, keyAuth))
	must(t, s.Present(t.Context(), address("2001:db8::7"), ch, keyAuth))
	const reverse = "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
	var busy *solve.BusyError
	if err := s.Present(t.Context(), name("a.example"), challenge(acme.ChallengeTLSALPN01, "other"), "other."+thumbprint); !errors.As(err, &busy) {
		t.Errorf("a second answer for one name: %v", err)
	}
	for _, test := range []struct {
		label  string
		config *tls.Config
		good   bool
	}{
		{"validator", &tls.Config{ServerName: "a.example", NextProtos: []string{"acme-tls/1"}}, true},
		{"mixed case", &tls.Config{ServerName: "A.Example", NextProtos: []string{"acme-tls/1"}}, true},
		{"TLS 1.2", &tls.Config{ServerName: "a.example", NextProtos: []string{"acme-tls/1"}, MaxVersion: tls.VersionTLS12}, true},
		{"address", &tls.Config{ServerName: reverse, NextProtos: []string{"acme-tls/1"}}, true},
		{"TLS 1.1", &tls.Config{ServerName: "a.example", NextProtos: []string{"acme-tls/1"}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
		{"other name", &tls.Config{ServerName: "b.example", NextProtos: []string{"acme-tls/1"}}, false},
		{"no name", &tls.Config{NextProtos: []string{"acme-tls/1"}}, false},
		{"no protocol", &tls.Config{ServerName: "a.example"}, false},
		{"browser", &tls.Config{ServerName: "a.example", NextProtos: []string{"h2", "http/1.1"}}, false},
		{"another protocol after it", &tls.Config{ServerName: "a.example", NextProtos: []string{"acme-tls/1", "h2"}}, false},
		{"another protocol before it", &tls.Config{ServerName: "a.example", NextProtos: []string{"h2", "acme-tls/1"}}, false},
	} {
		test.config.InsecureSkipVerify = true
		conn, err := tls.Dial("tcp", at, test.config)
		if (err == nil) != test.good {
			t.Errorf("%s: %v", test.label, err)
		}
		if err != nil {
			continue
		}
		leaf := conn.ConnectionState().PeerCertificates[0]
		if protocol := conn.ConnectionState().NegotiatedProtocol; protocol != "acme-tls/1" || len(leaf.DNSNames)+len(leaf.IPAddresses) != 1 {
			t.Errorf("%s: protocol %q, names %q %q", test.label, protocol, leaf.DNSNames, leaf.IPAddresses)
		}
		conn.Close()
	}
	silent, err := net.Dial("tcp", at)
	must(t, err)
	defer silent.Close()
	for _, id := range []acme.Identifier{name("a.example"), address("2001:db8::7")} {
		must(t, s.CleanUp(t.Context(), id, ch, keyAuth))
		must(t, s.CleanUp(t.Context(), id, ch, keyAuth))
	}
	if err := free(at); err != nil {
		t.Error(err)
	}
}
