package daemon_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/est"
	"chancery/internal/config"
	"chancery/internal/daemon"
	"chancery/internal/estserver"
)

// TestTerminatorLimits: all that the terminator hands over comes from one address, so
// that each user is limited for himself.
func TestTerminatorLimits(t *testing.T) {
	t.Parallel()
	p := plan(t, newSite(t), "")
	p.Requests = config.Rate{Count: 3, Per: config.Duration(24 * time.Hour)}
	c := p.config()
	c.Listen.ESTTerminator = filepath.Join(p.Data, "est.sock")
	c.EST.Labels = []config.Label{{Accept: []string{"srp"}, Names: []string{"{user}.iot.example"}}}
	startWith(t, p, c)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", c.Listen.ESTTerminator)
	}}
	defer transport.CloseIdleConnections()
	get := func(user string) *http.Response {
		r := must[*http.Request](t)(http.NewRequest(http.MethodGet, "http://localhost"+est.WellKnown+"/cacerts", nil))
		if user != "" {
			r.Header.Set(estserver.SRPUser, user)
		}
		res := must[*http.Response](t)(transport.RoundTrip(r))
		res.Body.Close()
		return res
	}
	for range 3 {
		for _, user := range []string{"one", "two", ""} {
			if res := get(user); res.StatusCode != http.StatusOK {
				t.Fatalf("the user %q gets %s", user, res.Status)
			}
		}
	}
	for _, user := range []string{"one", "two", ""} {
		if res := get(user); res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" {
			t.Errorf("the user %q gets %s once too often", user, res.Status)
		}
	}
	if res := get("three"); res.StatusCode != http.StatusOK {
		t.Errorf("another user gets %s", res.Status)
	}
}

// TestForeignCertificateWarnings: that a certificate from elsewhere ends, or is for
// another host, is told in the log and where people look.
func TestForeignCertificateWarnings(t *testing.T) {
	t.Parallel()
	p := plan(t, newSite(t), "")
	c := p.config()
	if err := os.Chmod(p.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	s := startWith(t, p, c)
	put := func(name string, ends time.Time) *config.Config {
		t.Helper()
		key := newKey(t)
		template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: ends}
		der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
		next := *c
		next.EST.Certificate, next.EST.Key = filepath.Join(p.Data, "tls.pem"), filepath.Join(p.Data, "tls.key")
		write := func(path, kind string, der []byte) {
			if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(next.EST.Certificate, "CERTIFICATE", der)
		write(next.EST.Key, "PRIVATE KEY", encoded(t, key))
		return &next
	}
	for _, test := range []struct {
		host string
		left time.Duration
		want []string
	}{
		{"ca.localhost", 31 * 24 * time.Hour, nil},
		{"ca.localhost", 29 * 24 * time.Hour, []string{"est.certificate ends on"}},
		{"ca.localhost", -time.Minute, []string{"est.certificate ended on"}},
		{"elsewhere.example", 29 * 24 * time.Hour, []string{"est.certificate ends on", "does not name ca.localhost"}},
	} {
		next := put(test.host, time.Now().Add(test.left))
		if err := s.daemon.Reload(next); err != nil {
			t.Fatal(err)
		}
		shown := must[estserver.LabelsShown](t)(ask[struct{}, estserver.LabelsShown](s, "est.label.list", struct{}{})).Warnings
		var checked []string
		for _, w := range daemon.Warnings(next, time.Now()) {
			checked = append(checked, w.Text)
		}
		for _, list := range [][]string{shown, checked} {
			if len(list) != len(test.want) {
				t.Fatalf("%v: the warnings are %q", test, list)
			}
			for i, want := range test.want {
				if !strings.Contains(list[i], want) || !strings.Contains(s.log.String(), want) {
					t.Errorf("%v: %q, and the log\n%s", test, list[i], s.log)
				}
			}
		}
	}
}

func encoded(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	return must[[]byte](t)(x509.MarshalPKCS8PrivateKey(key))
}
