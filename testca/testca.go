// Package testca runs a whole chancery on loopback for the tests of Go
// programs: a certification authority with its ACME server, its status service
// and a DNS of its own, started in about a tenth of a second and gone with the
// test. It is the real daemon, not an imitation; [Awkward] makes it as tiresome
// as real servers can be.
//
//	ca := testca.Start(t)
//	client := &acme.Client{Directory: ca.Directory, HTTP: ca.HTTP(), Key: key}
//
// Every name resolves to 127.0.0.1 unless [CA.SetDNS] says otherwise; http-01
// and tls-alpn-01 look at HTTPPort and TLSPort.
package testca

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"chancery/internal/config"
	"chancery/internal/daemon"
	"chancery/internal/dnstest"
	"chancery/internal/porttest"
)

// CA is a running certification authority.
type CA struct {
	Directory string            // the ACME directory's URL
	Base      string            // the server's base URL
	Status    string            // base of the URLs in certificates: CRL, OCSP, issuers
	Socket    string            // where the command line reaches it
	Data      string            // its data directory
	Root      *x509.Certificate // what to trust
	HTTPPort  int               // where http-01 looks on 127.0.0.1
	TLSPort   int               // where tls-alpn-01 looks on 127.0.0.1

	dns *dnstest.Server
}

// Option changes what Start runs.
type Option func(*settings)

type settings struct {
	config  *config.Config
	wrap    func(http.Handler) http.Handler
	logger  *slog.Logger
	dataDir string
}

// RequireEAB makes new accounts need an external account binding.
func RequireEAB() Option { return func(s *settings) { s.config.ACME.RequireEAB = true } }

// Profiles says which profiles are offered, the default first.
func Profiles(names ...string) Option { return func(s *settings) { s.config.ACME.Profiles = names } }

// Terms sets the URL of terms of service that accounts must agree to.
func Terms(url string) Option { return func(s *settings) { s.config.ACME.Terms = url } }

// Database runs on a PostgreSQL URL instead of a fresh SQLite file.
func Database(url string) Option { return func(s *settings) { s.config.Database.URL = url } }

// Data keeps everything in a directory of the caller's, so that a second Start
// finds it again.
func Data(dir string) Option { return func(s *settings) { s.dataDir = dir } }

// Log sends the server's log somewhere; without it there is none.
func Log(l *slog.Logger) Option { return func(s *settings) { s.logger = l } }

// Start runs a CA until the test ends. It fails the test if it cannot.
func Start(t testing.TB, options ...Option) *CA {
	t.Helper()
	s := &settings{config: config.Default(), logger: slog.New(slog.DiscardHandler)}
	s.config.ACME.HTTP01Port, s.config.ACME.TLSALPN01Port = porttest.Free(t), porttest.Free(t)
	s.config.Limits = config.Limits{}
	for _, o := range options {
		o(s)
	}
	if s.dataDir == "" {
		s.dataDir = t.TempDir()
	}
	s.config.Data, s.config.Listen.Public = s.dataDir, "127.0.0.1:0"
	dns, err := dnstest.Start("127.0.0.1:0")
	if err != nil {
		t.Fatalf("testca: %v", err)
	}
	t.Cleanup(func() { dns.Close() })
	dns.Default(netip.MustParseAddr("127.0.0.1"))
	s.config.Validation.Resolvers = []string{dns.Addr()}
	d, err := daemon.Start(context.Background(), daemon.Options{Config: s.config, Logger: s.logger, Wrap: s.wrap})
	if err != nil {
		t.Fatalf("testca: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := d.Close(ctx); err != nil {
			t.Errorf("testca: %v", err)
		}
	})
	return &CA{
		Directory: d.Directory(), Base: d.BaseURL(), Status: d.StatusURL(), Socket: d.Socket(), Data: s.dataDir, Root: d.Roots()[0],
		HTTPPort: s.config.ACME.HTTP01Port, TLSPort: s.config.ACME.TLSALPN01Port, dns: dns,
	}
}

// Pool gives a pool that trusts the CA alone.
func (c *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.Root)
	return pool
}

// HTTP gives a client that trusts the CA alone.
func (c *CA) HTTP() *http.Client {
	return &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.Pool()}, MaxIdleConnsPerHost: 64},
	}
}

// SetDNS replaces what the CA's resolver answers for a name: kind is "A",
// "AAAA", "TXT", "CAA" or "CNAME"; no values remove them.
func (c *CA) SetDNS(t testing.TB, name, kind string, values ...string) {
	t.Helper()
	if len(values) == 0 {
		c.dns.Remove(name, kind)
		return
	}
	if err := c.dns.Set(name, kind, values...); err != nil {
		t.Fatalf("testca: %v", err)
	}
}

// DNS gives the address of the CA's resolver, host:port.
func (c *CA) DNS() string { return c.dns.Addr() }
