package daemon_test

import (
	"crypto/x509"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"

	"chancery/acme"
	"chancery/internal/config"
)

// at the well-known place of a host, over TLS under that name.
func (s *server) wellKnown(host string) (*acme.Directory, *x509.Certificate, error) {
	c := s.http()
	defer c.CloseIdleConnections()
	res, err := c.Get("https://" + host + "/.well-known/acme")
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, nil, err
	}
	var d acme.Directory
	return &d, res.TLS.PeerCertificates[0], json.Unmarshal(text, &d)
}

// TestEachDirectoryAtItsHost asks each host over TLS for its directory, also for
// those that a reload added and took away; and a host that the authority may not
// certify closes nothing.
func TestEachDirectoryAtItsHost(t *testing.T) {
	t.Parallel()
	s := &server{setup: plan(t, newSite(t), "")}
	c := s.config()
	c.Hierarchy.Domains = []string{"corp.example"}
	c.ACME.Directories = []config.Directory{
		{Name: "ev", Hosts: []string{"ev.corp.example", "ev2.corp.example"}, Profiles: []string{"ev"}},
		{Name: "out", Hosts: []string{"ca.public.example"}},
	}
	s = startWith(t, s.setup, c)
	finds := func(host, newOrder string) {
		t.Helper()
		d, _, err := s.wellKnown(host)
		if err != nil || d.NewOrder != baseURL+newOrder {
			t.Errorf("%s: %+v, %v", host, d, err)
		}
	}
	finds("ca.localhost", "/acme/new-order")
	finds("ev.corp.example", "/acme/d/ev/new-order")
	finds("ev2.corp.example", "/acme/d/ev/new-order")
	if _, _, err := s.wellKnown("ca.public.example"); err == nil {
		t.Error("there is a certificate for a host outside of the name constraints")
	}
	if !strings.Contains(s.log.String(), "host=ca.public.example") {
		t.Error("nothing is said of a host that is left to a proxy")
	}
	next := s.config()
	next.Hierarchy = c.Hierarchy
	next.ACME.Directories = []config.Directory{{Name: "ev", Hosts: []string{"ev.corp.example", "ov.corp.example"}}}
	if err := s.daemon.Reload(next); err != nil {
		t.Fatal(err)
	}
	finds("ev.corp.example", "/acme/d/ev/new-order")
	finds("ov.corp.example", "/acme/d/ev/new-order")
	_, cert, err := s.wellKnown("ca.localhost")
	if err != nil || slices.Contains(cert.DNSNames, "ev2.corp.example") {
		t.Errorf("after the reload the certificate has %v, %v", cert.DNSNames, err)
	}
	// What does not change the hosts makes no certificate.
	next.ACME.Website = "https://about.test"
	if err := s.daemon.Reload(next); err != nil {
		t.Fatal(err)
	}
	if _, again, err := s.wellKnown("ca.localhost"); err != nil || !again.Equal(cert) {
		t.Errorf("another certificate although the hosts are the same; %v", err)
	}
}
