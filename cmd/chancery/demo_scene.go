package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"chancery/acme"
	"chancery/internal/config"
	"chancery/internal/daemon"
	"chancery/internal/dnstest"
	"chancery/internal/porttest"
)

const (
	demoZone = "demo.test"
	demoShop = "shop." + demoZone
)

// scene is the demo's stage: the authority, the DNS that both sides use, and the
// customer with a web server.
type scene struct {
	directory string
	program   *program
	log       *os.File
	dns       *dnstest.Server
	daemon    *daemon.Daemon
	web       *http.Server
	webPort   int
	answers   answers
	customer  *acme.Client
	roots     *x509.CertPool
	shop      *acme.Chain
}

func (s *scene) acts() []act {
	return []act{
		{"A DNS server that knows " + demoZone, s.startDNS},
		{"The customer's web server, for " + demoShop, s.startWeb},
		{"The authority: root, issuer, database, ACME server", s.startAuthority},
		{"The customer opens an ACME account", s.register},
		{"A certificate for " + demoShop + ", proven by http-01", s.obtainShop},
		{"Its chain verifies up to the root, and TLS works with it", s.handshake},
		{"OCSP is asked about it", s.askGood},
		{"A certificate for *." + demoZone + ", proven by dns-01", s.obtainWildcard},
		{"The customer revokes the first one: key compromised", s.revoke},
		{"OCSP is asked again", s.askRevoked},
		{"And the authority's CRL", s.askCRL},
	}
}

func (s *scene) path(name string) string { return filepath.Join(s.directory, name) }

// close stops what was started; the files stay.
func (s *scene) close() {
	if s.daemon != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.daemon.Close(ctx); err != nil {
			s.program.warn("the demo's server did not stop cleanly: %v", err)
		}
	}
	if s.web != nil {
		_ = s.web.Close()
	}
	if s.dns != nil {
		s.dns.Close()
	}
	if s.log != nil {
		_ = s.log.Close()
	}
}

func (s *scene) startDNS(context.Context) (string, error) {
	var err error
	if s.dns, err = dnstest.Start("127.0.0.1:0"); err != nil {
		return "", err
	}
	s.answers.dns = s.dns
	return demoShop + " is at 127.0.0.1; asked on " + s.dns.Addr(), s.dns.Set(demoShop, "A", "127.0.0.1")
}

func (s *scene) startWeb(ctx context.Context) (string, error) {
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s.webPort = l.Addr().(*net.TCPAddr).Port
	s.web = &http.Server{Handler: &s.answers, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = s.web.Serve(l) }()
	return fmt.Sprintf("http://127.0.0.1:%d, where the authority will look", s.webPort), nil
}

// startAuthority writes the configuration as a person would and starts a server
// from it. Its port is chosen beforehand, so that the file can be used again.
func (s *scene) startAuthority(ctx context.Context) (string, error) {
	port, err := freePort()
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf(demoConfig, port, demoZone, s.webPort, s.dns.Addr())
	if err := os.WriteFile(s.path("chancery.toml"), []byte(text), 0o600); err != nil {
		return "", err
	}
	c, _, err := config.Load(s.path("chancery.toml"), config.Overrides{}, nil)
	if err != nil {
		return "", err
	}
	if s.log, err = os.Create(s.path("server.log")); err != nil {
		return "", err
	}
	s.daemon, err = daemon.Start(ctx, daemon.Options{Config: c, ConfigPath: s.path("chancery.toml"), Logger: slog.New(slog.NewTextHandler(s.log, nil))})
	if err != nil {
		return "", err
	}
	s.roots = x509.NewCertPool()
	var pems []byte
	for _, root := range s.daemon.Roots() {
		s.roots.AddCert(root)
		pems = append(pems, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})...)
	}
	return s.daemon.Directory(), os.WriteFile(s.path("root.pem"), pems, 0o644)
}

const demoConfig = `# Made by chancery demo.
data = "data"

[listen]
public = "127.0.0.1:%d"

[hierarchy]
organization = "Chancery Demo"
domains = ["%s"]     # the root can certify names below this only

[acme]
http01_port = %d     # a laboratory's: everywhere else it is 80

[validation]
resolvers = ["%s"]
`

// freePort gives a port that nobody else has while the demonstration lasts.
func freePort() (int, error) {
	port, _, err := porttest.Take()
	return port, err
}

func (s *scene) register(ctx context.Context) (string, error) {
	key, err := newKey()
	if err != nil {
		return "", err
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.roots, MinVersion: tls.VersionTLS12}}
	s.customer = &acme.Client{Directory: s.daemon.Directory(), Key: key, UserAgent: "chancery-demo",
		HTTP: &http.Client{Transport: transport, Timeout: 20 * time.Second}}
	account, err := s.customer.Register(ctx, acme.Registration{Contacts: []string{"mailto:webmaster@" + demoShop}, AgreeTerms: true})
	if err != nil {
		return "", err
	}
	return account.URL, nil
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// obtain gets a certificate and leaves it in files with its key.
func (s *scene) obtain(ctx context.Context, file, name string) (*acme.Chain, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	chain, err := s.customer.Obtain(ctx, acme.ObtainRequest{
		Identifiers: []acme.Identifier{{Type: acme.IdentifierDNS, Value: name}}, Key: key, Solver: &s.answers,
	})
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(crypto.Signer(key))
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(s.path(file+".key"), text, 0o600); err != nil {
		return nil, err
	}
	return chain, os.WriteFile(s.path(file+".pem"), chain.PEM, 0o644)
}

// verify checks a chain as a relying party that trusts the root alone.
func (s *scene) verify(chain *acme.Chain, name string) (int, error) {
	above := x509.NewCertPool()
	for _, cert := range chain.Certificates[1:] {
		above.AddCert(cert)
	}
	paths, err := chain.Certificates[0].Verify(x509.VerifyOptions{Roots: s.roots, Intermediates: above, DNSName: name})
	if err != nil {
		return 0, err
	}
	return len(paths[0]), nil
}

func describe(cert *x509.Certificate) string {
	return fmt.Sprintf("serial %.12s..., valid until %s", fmt.Sprintf("%x", cert.SerialNumber), day(cert.NotAfter))
}
